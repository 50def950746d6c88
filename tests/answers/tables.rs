//! The table of flights, in four kinds of files, against DuckDB and Python's exact arithmetic.

use super::{MUSTER, Place, flights, packages};
use serde_json::Value;
use std::process::Command;

const FILES: [&str; 4] = ["flights.csv", "flights.csv.gz", "flights.csv.zst", "flights.parquet"];

/// Groups the table by a key; all kinds of files give one hash, and this table. What rounds depends on where blocks are
/// cut, and rows of Parquet are cut elsewhere.
fn grouped(place: &Place, by: &str, compute: &str, filter: &str) -> Vec<Vec<Value>> {
    let of = |file| {
        let words =
            ["group-by", file, "--missing", "NA", "--by", by, "--compute", compute, "--where", filter];
        place.kernel(if filter.is_empty() { &words[..8] } else { &words })
    };
    let answers = FILES.map(of);
    for (file, answer) in FILES.iter().zip(&answers) {
        if file.contains("csv") || answer["class"] == "exact" {
            assert_eq!(answer["hash"], answers[0]["hash"], "{file}");
        }
    }
    serde_json::from_value(answers[0]["answer"]["table"].clone()).unwrap()
}

/// Compares rows cell by cell.
fn compare(ours: &[Vec<Value>], theirs: &Value, same: impl Fn(&Value, &Value) -> bool) {
    let theirs = theirs.as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        let cells = theirs.as_array().unwrap();
        let alike = ours.len() == cells.len() && ours.iter().zip(cells).all(|(a, b)| same(a, b));
        assert!(alike, "{ours:?} is not {theirs}");
    }
}

/// Equal, but for a number's kind.
fn equal(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some() && a.as_f64() == b.as_f64()
}

/// Equal, or numbers that differ by this share.
fn within(share: f64) -> impl Fn(&Value, &Value) -> bool {
    move |a, b| {
        equal(a, b) || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= share * b.abs())
    }
}

#[test]
fn group_by_agrees_with_duckdb() {
    let (true, Some(flights)) = (packages(), flights()) else { return };
    let place = Place::new("tables");
    let peer = place.python("tables.py", &[flights.to_str().unwrap(), "."]);
    let counts = "count,count(arr_delay),sum(distance),min(dep_delay),max(dep_delay),min(time_hour)";
    compare(&grouped(&place, "carrier", counts, ""), &peer["counts"], equal);
    let filter = "distance > 500 and (carrier in ('UA', 'DL') or not dep_delay <= 30)";
    let filtered = grouped(&place, "origin,dest", "count,mean(arr_delay)", filter);
    compare(&filtered, &peer["filtered"], equal);
    compare(&grouped(&place, "tailnum", "count,min(air_time)", ""), &peer["missing"], equal);
    compare(&grouped(&place, "carrier", "sum(speed)", ""), &peer["speeds"], equal);
    let spread = grouped(&place, "month", "variance(speed),stddev(arr_delay)", "");
    compare(&spread, &peer["spread"], within(1e-11));
    let quantiles = "quantile(speed,0.5),quantile(speed,0.9),quantile(speed,0.01)";
    compare(&grouped(&place, "dest", quantiles, ""), &peer["quantiles"], within(1.0 / 256.0));
}

/// The answer for CSV; Parquet has the same.
fn both(place: &Place, words: &[&str]) -> Value {
    let of = |file| place.kernel(&[&words[..1], &[file, "--missing", "NA"], &words[1..]].concat());
    let [csv, parquet] = ["flights.csv", "flights.parquet"].map(of);
    if csv["class"] == "exact" {
        assert_eq!(csv["hash"], parquet["hash"], "{words:?}");
    }
    parquet["answer"].clone()
}

#[test]
fn columns_agree_with_numpy_scipy_and_duckdb() {
    let (true, Some(flights)) = (packages(), flights()) else { return };
    let place = Place::new("columns");
    let peer = place.python("tables.py", &[flights.to_str().unwrap(), "."]);
    let one = both(&place, &["histogram", "--of", "dep_delay", "--bins", "20"]);
    assert_eq!(one["counts"], peer["bins"]["one"]);
    let edges = ["--bins", "6", "--bins", "0,500,1000,5000"];
    let two = both(&place, &[&["histogram", "--of", "air_time,distance"][..], &edges].concat());
    assert_eq!(two["counts"], peer["bins"]["two"]);
    for (nth, (column, method)) in [("arr_delay", "nearest"), ("speed", "linear")].into_iter().enumerate() {
        let words = ["quantile", "--of", column, "--at", "0.001,0.5,0.99", "--method", method];
        let answer = both(&place, &words);
        let found = answer["columns"][0]["quantiles"].as_array().unwrap().iter();
        let found: Vec<Value> = found.map(|quantile| quantile["value"].clone()).collect();
        compare(&[found], &Value::Array(vec![peer["exact"][nth].clone()]), within(1e-15));
    }
    let fit = both(&place, &["linreg", "--y", "arr_delay", "--x", "dep_delay,distance,air_time"]);
    assert_eq!(fit["n"], peer["fit"]["n"]);
    let of = |name: &str| -> Vec<Value> {
        fit["coefficients"].as_array().unwrap().iter().map(|c| c[name].clone()).collect()
    };
    // What an orthogonal decomposition in f64 has of 17 digits.
    for (ours, theirs) in [("estimate", "coefficients"), ("standard_error", "errors")] {
        compare(&[of(ours)], &Value::Array(vec![peer["fit"][theirs].clone()]), within(1e-9));
    }
    assert!(within(1e-9)(&fit["r2"], &peer["fit"]["r2"]), "{fit}");
}

/// The most memory that a process was given, in MiB: `PROGRAM WORDS...`.
const PEAK: &str = "import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)";

#[test]
fn memory_follows_the_groups_and_not_the_files() {
    let Some(flights) = flights() else { return };
    let place = Place::new("memory");
    let names: Vec<String> = (0..8).map(|nth| format!("{nth}.csv")).collect();
    for name in &names {
        std::fs::copy(&flights, place.0.join(name)).unwrap();
    }
    let peak = |files: &str, by: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", PEAK, MUSTER, "kernel", "group-by", files, "--missing", "NA", "--by", by]);
        command.args(["--compute", "count,sum(arr_delay),mean(distance)", "--threads", "2", "--fresh"]);
        command.args(["--limit", "3", "--progress", "none"]).current_dir(&place.0);
        let output = command.env("MUSTER_STATE", place.0.join("state")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap()
    };
    // 30 MB and 250 MB of few groups; then a group for every two flights.
    let (one, all) = (peak("0.csv", "carrier"), peak("*.csv", "carrier"));
    assert!(all <= one + 24, "{one} MiB for one file, {all} MiB for eight");
    let many = peak("*.csv", "tailnum,dep_time");
    assert!(many > all + 8 && many < all + 300, "{all} MiB for few groups, {many} MiB for many");
}
