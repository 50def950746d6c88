//! The rules for one Rust source: length, name, opening, unsafe code, sleep, ignored tests, mathematics, MPI; and the
//! one rule that looks at all sources together: who imports a foreign library.

use crate::code::{self, Word};
use crate::{Breach, File, Rule};
use std::ops::Range;

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["util", "utils", "helper", "helpers", "common", "types", "misc"];

/// Foreign libraries, by the names of their crates. Each is imported in one file.
const FOREIGN: &[(&str, &[&str])] =
    &[("MPI", &["mpi", "mpi_sys"]), ("hwloc", &["hwloc2", "hwlocality"]), ("the CUDA driver", &["cudarc"])];

/// Methods of f64 that differ between systems.
const TRANSCENDENTAL: &[&str] = &[
    "exp", "exp2", "exp_m1", "ln", "ln_1p", "log", "log2", "log10", "sin", "cos", "tan", "sin_cos", "asin",
    "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "powf", "powi", "cbrt",
    "hypot",
];

/// The breaches of one Rust source.
pub(crate) fn breaches(file: &File) -> Vec<Breach> {
    let code = code::blank(&file.text);
    let source = Source { file, words: code::words(&code), tests: tests(file, &code), code: &code };
    [lengths, name, opening, unsafe_code, sleeps, ignored, mathematics, reductions]
        .into_iter()
        .flat_map(|rule| rule(&source))
        .collect()
}

struct Source<'a> {
    file: &'a File,
    /// The text without comments and literals.
    code: &'a str,
    words: Vec<Word<'a>>,
    /// What is compiled for tests alone.
    tests: Vec<Range<usize>>,
}

impl Source<'_> {
    fn at(&self, rule: Rule, at: usize, what: impl Into<String>) -> Breach {
        self.file.breach(rule, code::line_of(self.code, at), what)
    }

    fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|part| part.contains(&at))
    }

    fn before(&self, word: &Word<'_>) -> &str {
        self.code[..word.at].trim_end()
    }

    fn after(&self, word: &Word<'_>) -> &str {
        self.code[word.at + word.text.len()..].trim_start()
    }
}

fn tests(file: &File, code: &str) -> Vec<Range<usize>> {
    if code::is_test_file(&file.path) {
        std::iter::once(0..code.len()).collect()
    } else {
        code::test_parts(code)
    }
}

fn lengths(source: &Source<'_>) -> Vec<Breach> {
    let file = source.file;
    let mut out = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES {
        out.push(file.breach(
            Rule::FileLength,
            0,
            format!("{lines} lines, more than {FILE_LINES}: split it"),
        ));
    }
    for (name, first, lines) in code::functions(source.code) {
        if lines > FUNCTION_LINES {
            let what =
                format!("`{name}` has {lines} lines, more than {FUNCTION_LINES}: give its parts names");
            out.push(file.breach(Rule::FunctionLength, first, what));
        }
    }
    out
}

fn name(source: &Source<'_>) -> Vec<Breach> {
    let drawer = source.file.path.split('/').find(|part| DRAWERS.contains(&part.trim_end_matches(".rs")));
    let what = |part: &str| format!("`{part}` says nothing: name it by its one noun");
    drawer.map(|part| source.file.breach(Rule::FileName, 0, what(part))).into_iter().collect()
}

fn opening(source: &Source<'_>) -> Vec<Breach> {
    let first = source.file.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|rest| rest.trim().len() > 1);
    let what = "opens without `//!` and what the file is";
    (!says).then(|| source.file.breach(Rule::Opening, 1, what)).into_iter().collect()
}

fn unsafe_code(source: &Source<'_>) -> Vec<Breach> {
    // A macro may hide the word itself, but not the permission.
    let allows = |word: &Word<'_>| word.text == "unsafe_code" && source.before(word).ends_with("allow(");
    let found = source.words.iter().find(|word| word.text == "unsafe" || allows(word));
    let what =
        "unsafe code outside the files that bind something; list it in tests/tidy/main.rs or do without";
    found.map(|word| source.at(Rule::Unsafe, word.at, what)).into_iter().collect()
}

fn sleeps(source: &Source<'_>) -> Vec<Breach> {
    let sleep = |word: &&Word<'_>| matches!(word.text, "sleep" | "sleep_ms" | "sleep_until");
    source
        .words
        .iter()
        .filter(sleep)
        .filter(|word| source.after(word).starts_with('(') && source.in_tests(word.at))
        .map(|word| source.at(Rule::Sleep, word.at, "a test sleeps: wait for the event instead"))
        .collect()
}

fn ignored(source: &Source<'_>) -> Vec<Breach> {
    let attribute = |word: &Word<'_>| {
        let (before, after) = (source.before(word), source.after(word));
        before.ends_with("#[") || (before.ends_with(',') && after.starts_with(")]"))
    };
    source
        .words
        .iter()
        .filter(|word| word.text == "ignore" && attribute(word))
        .map(|word| source.at(Rule::Ignored, word.at, "a test that never runs: mend it or delete it"))
        .collect()
}

/// Answers must not depend on the system's mathematical library. Tests may compare with it.
fn mathematics(source: &Source<'_>) -> Vec<Breach> {
    if !source.file.path.starts_with("kernels/") {
        return Vec::new();
    }
    let called = |word: &Word<'_>| {
        let before = source.before(word);
        let method = before.ends_with('.') || before.ends_with("f64::") || before.ends_with("f32::");
        method && (source.after(word).starts_with('(') || !before.ends_with('.'))
    };
    source
        .words
        .iter()
        .filter(|word| TRANSCENDENTAL.contains(&word.text) && called(word) && !source.in_tests(word.at))
        .map(|word| {
            let what = format!("std's `{}` differs between systems: use crate::math", word.text);
            source.at(Rule::Transcendental, word.at, what)
        })
        .collect()
}

fn reductions(source: &Source<'_>) -> Vec<Breach> {
    let reduces = |text: &str| {
        let name = text.to_ascii_lowercase();
        let kind = name.contains("reduce") || name.contains("scan");
        kind && (name.starts_with("mpi_") || name.ends_with("_into") || name.ends_with("_into_root"))
    };
    source
        .words
        .iter()
        .filter(|word| reduces(word.text))
        .map(|word| {
            let what = format!("`{}`: reductions follow the block tree, never MPI's order", word.text);
            source.at(Rule::MpiReduction, word.at, what)
        })
        .collect()
}

/// The files after the first that import a foreign library.
pub(crate) fn imported_twice(files: &[File]) -> Vec<Breach> {
    let mut out = Vec::new();
    for (library, crates) in FOREIGN {
        let mut importers = files
            .iter()
            .filter(|f| f.path.ends_with(".rs"))
            .filter_map(|file| Some((file, imports(&code::blank(&file.text), crates)?)));
        let Some((first, _)) = importers.next() else { continue };
        for (file, line) in importers {
            let what = format!("{library} is imported here and in {}: one file binds it", first.path);
            out.push(file.breach(Rule::OneImport, line, what));
        }
    }
    out
}

/// The line where blanked code names one of `crates`, if it does.
fn imports(code: &str, crates: &[&str]) -> Option<usize> {
    let words = code::words(code);
    let own = |name: &str| words.windows(2).any(|w| w[0].text == "mod" && w[1].text == name);
    let names_crate = |word: &&Word<'_>| {
        let (before, after) = (code[..word.at].trim_end(), code[word.at + word.text.len()..].trim_start());
        let root = before.ends_with("use") || before.ends_with("crate") || after.starts_with("::");
        // `::mpi::x` names the crate, `crate::mpi::x` a module.
        let inside =
            before.strip_suffix("::").is_some_and(|rest| rest.ends_with(|c: char| c.is_alphanumeric()));
        root && !inside
    };
    let found = words.iter().filter(|w| crates.contains(&w.text) && !own(w.text)).find(names_crate)?;
    Some(code::line_of(code, found.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that a source at `path` breaks, with the lines.
    fn broken(path: &str, text: &str) -> Vec<(Rule, usize)> {
        let file = File { path: path.into(), text: text.into() };
        breaches(&file).into_iter().map(|b| (b.rule, b.line)).collect()
    }

    #[test]
    fn a_tidy_source_breaks_nothing() {
        let text = "//! What it is.\n\n/// Not unsafe, does not .exp() and never sleeps: sleep().\nfn a() { say(\"unsafe\") }\n";
        assert_eq!(broken("kernels/src/a.rs", text), []);
    }

    #[test]
    fn long_files_and_functions_are_seen() {
        let body = "    call();\n".repeat(69);
        assert_eq!(broken("a.rs", &format!("//! It.\nfn a() {{\n{}}}\n", &body[..body.len() - 12])), []);
        assert_eq!(broken("a.rs", &format!("//! It.\nfn a() {{\n{body}}}\n")), [(Rule::FunctionLength, 2)]);
        let lines = |n: usize| format!("//! It.\n{}", "\n".repeat(n - 1));
        assert_eq!(broken("a.rs", &lines(800)), []);
        assert_eq!(broken("a.rs", &lines(801)), [(Rule::FileLength, 0)]);
    }

    #[test]
    fn drawers_are_seen() {
        for path in ["src/utils.rs", "worker/tests/common/mod.rs", "a/types.rs", "helpers.rs"] {
            assert_eq!(broken(path, "//! It.\n"), [(Rule::FileName, 0)], "{path}");
        }
        assert_eq!(broken("src/common_ground.rs", "//! It.\n"), []);
    }

    #[test]
    fn a_missing_opening_is_seen() {
        for text in ["", "use a;\n", "//!\n", "\n//! It.\n"] {
            assert_eq!(broken("a.rs", text), [(Rule::Opening, 1)], "{text:?}");
        }
    }

    #[test]
    fn unsafe_code_is_seen() {
        assert_eq!(broken("a.rs", "//! It.\n#![allow(unsafe_code)]\n"), [(Rule::Unsafe, 2)]);
        assert_eq!(broken("a.rs", "//! It.\nfn a() { unsafe { b() } }\n"), [(Rule::Unsafe, 2)]);
        assert_eq!(broken("a.rs", "//! It.\n#![deny(unsafe_code)]\n"), []);
    }

    #[test]
    fn sleep_is_seen_in_tests_alone() {
        let call = "fn a() { std::thread::sleep(ONE); }";
        assert_eq!(broken("a.rs", &format!("//! It.\n{call}\n")), []);
        assert_eq!(
            broken("a.rs", &format!("//! It.\n#[cfg(test)]\nmod t {{\n{call}\n}}\n")),
            [(Rule::Sleep, 4)]
        );
        assert_eq!(broken("worker/tests/a.rs", &format!("//! It.\n{call}\n")), [(Rule::Sleep, 2)]);
    }

    #[test]
    fn ignored_tests_are_seen() {
        let all = "//! It.\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n#[cfg_attr(x, ignore)]\nfn c() {}\n";
        assert_eq!(broken("a.rs", all), [(Rule::Ignored, 2), (Rule::Ignored, 4), (Rule::Ignored, 6)]);
        assert_eq!(broken("a.rs", "//! It.\nfn ignore(ignore: u8) { b(a, ignore); }\n"), []);
    }

    #[test]
    fn the_systems_mathematics_is_seen_in_kernels() {
        let text = "//! It.\nfn a(x: f64) -> f64 { x.exp() + f64::ln(x) + x\n    .powi(2) }\nfn b() { v.map(f64::sin) }\n";
        let expected = [2, 2, 3, 4].map(|line| (Rule::Transcendental, line));
        assert_eq!(broken("kernels/src/a.rs", text), expected);
        assert_eq!(broken("worker/src/a.rs", text), []);
        assert_eq!(
            broken("kernels/src/a.rs", "//! It.\nfn a() { crate::math::exp(x) + s.exp + x.sqrt() }\n"),
            []
        );
        let test = "//! It.\n#[cfg(test)]\nmod tests { fn a() { 1.0_f64.exp(); } }\n";
        assert_eq!(broken("kernels/src/a.rs", test), []);
    }

    #[test]
    fn mpi_reductions_are_seen() {
        for call in [
            "ffi::MPI_Allreduce(a)",
            "ffi::MPI_Exscan(a)",
            "ffi::MPI_Ireduce_scatter(a)",
            "w.all_reduce_into(a)",
        ] {
            assert_eq!(
                broken("a.rs", &format!("//! It.\nfn a() {{ {call} }}\n")),
                [(Rule::MpiReduction, 2)],
                "{call}"
            );
        }
        assert_eq!(broken("a.rs", "//! It.\nfn a() { x.reduce(f); MPI_Send(); scan_into_memory() }\n"), []);
    }

    #[test]
    fn a_second_import_is_seen() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let twice = [
            file("a.rs", "use mpi::ffi;"),
            file("b.rs", "fn a() {\n mpi_sys::MPI_Init() }"),
            file("c.rs", "use crate::mpi::Comm; // use mpi::ffi;"),
            file("d.rs", "mod mpi; fn a() { mpi::init() }"),
            file("e.rs", "use hwloc2::Topology;"),
        ];
        let found = imported_twice(&twice);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].rule, found[0].path.as_str(), found[0].line), (Rule::OneImport, "b.rs", 2));
    }
}
