//! What clippy cannot see: the shape of the house. One test walks the tree and reports every breach of the rules of
//! CONTRIBUTING.md at once; each rule is a pure function over text, with tests of its own that show it biting.
//!
//! Invariant: a rule that has exceptions has them in [`EXCEPTIONS`], and one that excuses nothing is itself a breach.

mod code;
mod pages;
mod source;
mod workspace;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// Path prefixes that a rule passes over: rule, prefix, why.
const EXCEPTIONS: &[(Rule, &str, &str)] = &[
    (Rule::Unsafe, "kernels/src/gpu/cuda.rs", "binds the CUDA driver and NVRTC"),
    (Rule::Unsafe, "kernels/src/memory.rs", "binds madvise, which is given addresses"),
    (Rule::Unsafe, "kernels/src/simd.rs", "compiles a kernel under the target features that pulp has found"),
    (Rule::Unsafe, "worker/src/agent/devices.rs", "binds bpf, for which no crate of ours has anything"),
    (
        Rule::Unsafe,
        "worker/src/agent/guise.rs",
        "binds the rights of one thread, and getpwnam_r, of which rustix has none",
    ),
    (
        Rule::Unsafe,
        "worker/src/agent/leader.rs",
        "binds clone3, execve, wait4 and signalfd, for which rustix has nothing safe",
    ),
    (
        Rule::Unsafe,
        "worker/src/pages.rs",
        "binds move_pages, set_mempolicy and mallopt, of which rustix has none",
    ),
    (Rule::Unsafe, "worker/rank/src/mpi_comm.rs", "binds MPI: the checked layer over its functions"),
];

/// What a breach is a breach of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// At most 800 lines a file.
    FileLength,
    /// At most 70 lines a function.
    FunctionLength,
    /// One noun per file, no drawer for the rest.
    FileName,
    /// Each file opens with what it is.
    Opening,
    /// One file binds a foreign library.
    OneImport,
    /// Reductions follow the block tree.
    MpiReduction,
    /// Unsafe code only where it is listed.
    Unsafe,
    /// Tests do not sleep.
    Sleep,
    /// No test is switched off.
    Ignored,
    /// Blocks are computed with our own mathematics.
    Transcendental,
    /// Packages depend one way.
    Dependency,
    /// Each step of a job's way is claimed where it happens.
    StepChain,
    /// Links lead somewhere.
    Link,
}

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Breach {
    rule: Rule,
    /// The file, relative to the root.
    path: String,
    /// The line, from 1; 0 where it is the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// A file of the tree.
struct File {
    /// Relative to the root, with forward slashes.
    path: String,
    text: String,
}

impl File {
    fn breach(&self, rule: Rule, line: usize, what: impl Into<String>) -> Breach {
        Breach { rule, path: self.path.clone(), line, what: what.into() }
    }
}

/// The texts of the tree in the order of their paths, without hidden folders, `shared` and what cargo built.
fn walk(root: &Path) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the tree can be read") {
            let path = entry.expect("an entry of the tree can be read").path();
            let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if name.starts_with('.') || path.is_symlink() || path == root.join("shared") {
                continue;
            }
            if path.is_dir() {
                if name != "target" && !path.join("CACHEDIR.TAG").exists() {
                    folders.push(path);
                }
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path.strip_prefix(root).expect("the walk stays in the tree");
                files.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Every breach in the tree, before exceptions.
fn breaches(files: &[File]) -> Vec<Breach> {
    let mut all = Vec::new();
    for file in files.iter().filter(|f| f.path.ends_with(".rs")) {
        all.extend(source::breaches(file));
    }
    all.extend(source::imported_twice(files));
    all.extend(workspace::breaches(files));
    all.extend(pages::breaches(files));
    all
}

/// Takes out what `exceptions` excuse, and adds a breach for each of them that excuses nothing.
fn excuse(all: Vec<Breach>, exceptions: &[(Rule, &str, &str)]) -> Vec<Breach> {
    let mut used = BTreeSet::new();
    let mut left = Vec::new();
    for breach in all {
        match exceptions
            .iter()
            .position(|(rule, prefix, _)| *rule == breach.rule && breach.path.starts_with(prefix))
        {
            Some(index) => drop(used.insert(index)),
            None => left.push(breach),
        }
    }
    for (index, (rule, prefix, _)) in exceptions.iter().enumerate() {
        if !used.contains(&index) {
            let what = "an exception in tests/tidy/main.rs that excuses nothing: remove it".to_owned();
            left.push(Breach { rule: *rule, path: (*prefix).to_owned(), line: 0, what });
        }
    }
    left
}

#[test]
fn the_tree_is_tidy() {
    let files = walk(Path::new(env!("CARGO_MANIFEST_DIR")));
    let found = excuse(breaches(&files), EXCEPTIONS);
    let lines: Vec<String> = found.iter().map(Breach::to_string).collect();
    assert!(found.is_empty(), "{} breaches of the house's rules:\n{}", found.len(), lines.join("\n"));
}

#[test]
fn the_walk_sees_the_tree_and_nothing_built() {
    let files = walk(Path::new(env!("CARGO_MANIFEST_DIR")));
    let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    for path in ["Cargo.toml", "README.md", "kernels/spec/src/tree.rs", "src/main.rs", "tests/tidy/main.rs"] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
    assert!(!paths.iter().any(|p| p.starts_with("target/") || p.starts_with('.')), "{paths:?}");
}

#[test]
fn an_exception_excuses_its_rule_under_its_prefix_alone() {
    let breach = |rule, path: &str| Breach { rule, path: path.into(), line: 1, what: String::new() };
    let all = vec![
        breach(Rule::Unsafe, "a/mpi.rs"),
        breach(Rule::Sleep, "a/mpi.rs"),
        breach(Rule::Unsafe, "b/mpi.rs"),
    ];
    let left = excuse(all.clone(), &[(Rule::Unsafe, "a/", "binds MPI")]);
    assert_eq!(left, all[1..]);
    let stale = excuse(Vec::new(), &[(Rule::Unsafe, "gone.rs", "was there")]);
    assert_eq!((stale.len(), stale[0].path.as_str()), (1, "gone.rs"));
}
