//! Answers beside those of independent tools on the same files: DuckDB, numpy, scipy, scikit-learn, grep and awk.
//!
//! `tools/setup --test` fetches the packages and the data. Where there are none, a test says so and passes over.

mod k_means;
mod logs;
mod tables;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where one test keeps its files and state; gone when the test ends.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("muster-answers-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        Place(place)
    }

    /// What `muster kernel WORDS --json` answers.
    fn kernel(&self, words: &[&str]) -> Value {
        let mut command = Command::new(MUSTER);
        command.arg("kernel").args(words).args(["--json", "--progress", "none"]);
        json(command.current_dir(&self.0).env("MUSTER_STATE", self.0.join("state")).output().unwrap(), words)
    }

    /// What a script of this folder prints.
    fn python(&self, script: &str, arguments: &[&str]) -> Value {
        let mut command = python();
        command.arg(Path::new(ROOT).join("tests/answers").join(script)).args(arguments);
        json(command.current_dir(&self.0).output().unwrap(), arguments)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn json(output: Output, of: &[&str]) -> Value {
    assert!(output.status.success(), "{of:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Python that finds the fetched packages: they lie in the target folder.
fn python() -> Command {
    let target = Path::new(MUSTER).ancestors().nth(2).unwrap();
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", target.join("python"));
    command
}

/// Whether the packages that `tools/setup --test` fetches are there.
fn packages() -> bool {
    let there = python().args(["-c", "import duckdb, scipy, sklearn"]).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("passed over: no Python with duckdb, scipy and scikit-learn (tools/setup --test)");
    }
    there
}

/// The table of flights.
fn flights() -> Option<PathBuf> {
    let path = Path::new(ROOT).join(".demo/flights.csv");
    if !path.exists() {
        eprintln!("passed over: no {} (demo/data flights)", path.display());
    }
    path.exists().then_some(path)
}

/// The numbers of a list.
fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}
