//! Lines of text counted: a generated access log against DuckDB, and this distribution's package index against grep and awk.

use super::{Place, ROOT, packages, python};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What was counted, the most frequent first.
fn counted(answer: &Value) -> Value {
    let rows = answer["answer"]["by"]["table"].as_array().unwrap().iter();
    rows.map(|row| json!([row["key"][0], row["lines"]])).collect()
}

#[test]
fn an_access_log_agrees_with_duckdb() {
    if !packages() {
        return;
    }
    let place = Place::new("access");
    let peer = |words: &[&str]| -> Value {
        let script = Path::new(ROOT).join("benches/peers/log_scan.py");
        let output = python().arg(script).args(words).current_dir(&place.0).output().unwrap();
        super::json(output, words)
    };
    peer(&["make", "access.log", "200000"]);
    // A status, a path, an address; the last has a class that ends where it has to be tried twice.
    for pattern in [r#"" (\d{3}) "#, r#""[A-Z]+ (\S+) HTTP"#, r"^(\S+) ", r"(\w+/\d\.\d)"] {
        let ours = place.kernel(&["log-scan", pattern, "access.log", "--group-by", "1", "--top", "100"]);
        assert_eq!(counted(&ours), peer(&["group", "access.log", pattern]), "{pattern}");
    }
    let packed = Command::new("gzip").args(["--keep", "--fast", "access.log"]).current_dir(&place.0).status();
    assert!(packed.unwrap().success());
    let of = |file| place.kernel(&["log-scan", r#"" 50\d "#, file])["hash"].clone();
    assert_eq!(of("access.log"), of("access.log.gz"));
}

/// The largest list of packages of this host's distribution, or what is installed of it.
fn index() -> Option<PathBuf> {
    let lists = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    let lists = lists.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with("_Packages"));
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let largest = lists.max_by_key(size).unwrap_or_else(|| "/var/lib/dpkg/status".into());
    let there = size(&largest) > 0;
    if !there {
        eprintln!("passed over: no list of packages of a distribution on this host");
    }
    there.then_some(largest)
}

fn shell(script: &str, index: &Path) -> Vec<String> {
    let output =
        Command::new("sh").args(["-c", script, "sh"]).arg(index).env("LC_ALL", "C").output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_package_index_agrees_with_grep_and_awk() {
    let Some(index) = index() else { return };
    let place = Place::new("index");
    let path = index.to_str().unwrap();
    for (pattern, words) in [
        ("^Package: ", "-c '^Package: '"),
        ("^Depends:.*libc6", "-c '^Depends:.*libc6'"),
        ("python", "-ci python"),
    ] {
        let case: &[&str] = if words.starts_with("-ci") { &["--ignore-case"] } else { &[] };
        let ours = place.kernel(&[&["log-scan", pattern, path], case].concat());
        let theirs = shell(&format!("grep -a {words} \"$1\""), &index);
        assert_eq!(ours["answer"]["lines"].to_string(), theirs[0], "{pattern}");
    }
    let ours = place.kernel(&["log-scan", r"^Section: (\S+)$", path, "--group-by", "1", "--top", "1000"]);
    let theirs = shell(
        "awk '/^Section: / { n[$2]++ } END { for (s in n) print n[s], s }' \"$1\" | sort -k1,1nr -k2,2",
        &index,
    );
    let ours: Vec<String> = counted(&ours)
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row[1], row[0].as_str().unwrap()))
        .collect();
    assert_eq!(ours, theirs);
}
