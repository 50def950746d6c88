//! The rules for the workspace: in which direction packages depend on each other, and who may depend on MPI.

use crate::{Breach, File, Rule};
use toml::{Table, Value};

/// Each package of the workspace by its folder, with the packages of ours that it may depend on.
const MAY_DEPEND: &[(&str, &str, &[&str])] = &[
    ("kernels/spec", "muster-spec", &[]),
    ("kernels", "muster-kernels", &["muster-spec"]),
    // Its tests ask it for the feature that lets them take guards out.
    ("scheduler/core", "muster-core", &["muster-spec", "muster-core"]),
    ("slurm", "muster-slurm", &["muster-spec", "muster-core"]),
    ("scheduler", "muster-scheduler", &["muster-spec", "muster-core", "muster-slurm"]),
    ("worker", "muster-worker", &["muster-spec", "muster-kernels", "muster-core", "muster-slurm"]),
    ("worker/rank", "muster-rank", &["muster-spec", "muster-kernels", "muster-worker"]),
    // As a user's own: nothing of ours but the two packages that a kernel needs.
    ("examples/pi", "pi-rank", &["muster-kernels", "muster-rank"]),
    ("examples/power", "power-rank", &["muster-kernels", "muster-rank"]),
    ("examples/words", "words-rank", &["muster-kernels", "muster-rank"]),
    (
        "",
        "muster",
        &[
            "muster-spec",
            "muster-kernels",
            "muster-core",
            "muster-slurm",
            "muster-scheduler",
            "muster-worker",
        ],
    ),
    (
        "benches",
        "muster-benches",
        &[
            "muster-spec",
            "muster-kernels",
            "muster-core",
            "muster-slurm",
            "muster-scheduler",
            "muster-worker",
            "muster",
        ],
    ),
];

/// Foreign packages that one folder alone may depend on.
const KEPT_APART: &[(&str, &str)] = &[("mpi", "worker/rank"), ("hwloc2", "worker"), ("cudarc", "kernels")];

/// The breaches of every Cargo.toml.
pub(crate) fn breaches(files: &[File]) -> Vec<Breach> {
    let manifest = |f: &&File| f.path == "Cargo.toml" || f.path.ends_with("/Cargo.toml");
    files.iter().filter(manifest).flat_map(manifest_breaches).collect()
}

fn manifest_breaches(file: &File) -> Vec<Breach> {
    let folder = file.path.strip_suffix("Cargo.toml").unwrap_or_default().trim_end_matches('/');
    let breach = |what: String| file.breach(Rule::Dependency, 0, what);
    let table: Table = match file.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![breach(format!("does not parse: {error}"))],
    };
    let name = table.get("package").and_then(|p| p.get("name")).and_then(Value::as_str).unwrap_or_default();
    let Some((_, _, allowed)) = MAY_DEPEND.iter().find(|(f, n, _)| *f == folder && *n == name) else {
        return vec![breach(format!("`{name}` has no place in the table of tests/tidy/workspace.rs"))];
    };
    let mut out = Vec::new();
    for dependency in dependencies(&table) {
        if dependency.starts_with("muster") && !allowed.contains(&dependency.as_str()) {
            out.push(breach(format!("`{name}` must not depend on `{dependency}`: dependencies run one way")));
        }
        if let Some((_, only)) = KEPT_APART.iter().find(|(d, only)| *d == dependency && *only != folder) {
            out.push(breach(format!("`{name}` must not depend on `{dependency}`: only {only} does")));
        }
    }
    out
}

/// The names of all dependencies: ordinary, of tests, of build scripts, of single targets; by package, where renamed
/// ones of ours hide.
fn dependencies(table: &Table) -> Vec<String> {
    let mut out = Vec::new();
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            out.extend(inner.iter().map(|(name, value)| {
                let package = value.get("package").and_then(Value::as_str);
                package.filter(|p| p.starts_with("muster")).unwrap_or(name).to_owned()
            }));
        } else if key == "target" {
            out.extend(inner.values().filter_map(Value::as_table).flat_map(dependencies));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.into(), text: text.into() };
        breaches(&[file]).into_iter().map(|b| b.what).collect()
    }

    #[test]
    fn the_right_direction_is_allowed() {
        let text = "[package]\nname = \"muster-worker\"\n[dependencies]\nmuster-spec.workspace = true\nhwloc2 = \"1\"\n";
        assert_eq!(whats("worker/Cargo.toml", text), [""; 0]);
    }

    #[test]
    fn the_wrong_direction_is_seen_in_every_kind_of_dependency() {
        for kind in
            ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"]
        {
            let text = format!("[package]\nname = \"muster-kernels\"\n[{kind}]\nmuster-worker = \"1\"\n");
            let found = whats("kernels/Cargo.toml", &text);
            assert!(found.len() == 1 && found[0].contains("`muster-worker`"), "{kind}: {found:?}");
        }
        let renamed =
            "[package]\nname = \"muster-worker\"\n[dependencies]\ns = { package = \"muster-scheduler\" }\n";
        assert_eq!(whats("worker/Cargo.toml", renamed).len(), 1);
    }

    #[test]
    fn mpi_is_kept_apart() {
        let text = "[package]\nname = \"muster-worker\"\n[dependencies]\nmpi.workspace = true\n";
        let found = whats("worker/Cargo.toml", text);
        assert!(found.len() == 1 && found[0].contains("only worker/rank"), "{found:?}");
    }

    #[test]
    fn a_package_outside_the_table_is_seen() {
        assert_eq!(whats("extra/Cargo.toml", "[package]\nname = \"muster-extra\"\n").len(), 1);
        assert_eq!(whats("worker/Cargo.toml", "[package]\nname = \"muster-extra\"\n").len(), 1);
        assert!(whats("Cargo.toml", "[package\n")[0].starts_with("does not parse"));
    }
}
