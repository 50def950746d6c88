//! The kernel `k-means` against scikit-learn on the same file, from the same start.
//!
//! Where there is no Python with scikit-learn in `target/venv`, the test says so and passes over.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Reads the file, clusters it, and prints what came out: `FILE START ROUNDS TOLERANCE SCALE`.
const PEER: &str = r#"
import json, sys
import numpy as np
from sklearn.cluster import KMeans
read = lambda path: np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
x, start = read(sys.argv[1]), read(sys.argv[2])
scale = x.std(axis=0) if sys.argv[5] == "scale" else np.ones(x.shape[1])
model = KMeans(len(start), init=start / scale, n_init=1, max_iter=int(sys.argv[3]), tol=float(sys.argv[4]),
               algorithm="lloyd").fit(x / scale)
print(json.dumps({"rounds": int(model.n_iter_), "inertia": float(model.inertia_),
                  "sizes": np.bincount(model.labels_, minlength=len(start)).tolist(),
                  "centroids": (model.cluster_centers_ * scale).tolist()}))
"#;

/// Python with scikit-learn.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let there =
        Command::new(&python).args(["-c", "import sklearn"]).output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("passed over: no scikit-learn in target/venv");
    }
    there.then_some(python)
}

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Rows around some centres, wider in one column, far from zero in another.
fn rows() -> String {
    let mut seed = 11u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut text = "a,b,c\n".to_owned();
    for row in 0..20_000 {
        let (a, b, c) = (draw() + draw(), draw() - draw(), draw());
        let part = f64::from(row % 6);
        text += &format!("{},{},{}\n", a + part, 300.0 * (b + (part / 2.0).floor()), 1e5 + c);
    }
    text
}

#[test]
fn k_means_agrees_with_scikit_learn() {
    let Some(python) = python() else { return };
    let place = std::env::temp_dir().join(format!("mk-answers-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let text = rows();
    let start: Vec<&str> = text.lines().take(9).collect();
    std::fs::write(place.join("rows.csv"), &text).unwrap();
    std::fs::write(place.join("start.csv"), start.join("\n")).unwrap();
    std::fs::write(place.join("peer.py"), PEER).unwrap();
    for (rounds, tolerance, scale) in
        [("3", "0", false), ("300", "1e-4", false), ("300", "0", true), ("40", "1e-2", true)]
    {
        let scaled = if scale { "scale" } else { "plain" };
        let theirs = json(Command::new(&python).current_dir(&place).args([
            "peer.py",
            "rows.csv",
            "start.csv",
            rounds,
            tolerance,
            scaled,
        ]));
        let flags = format!(
            "kernel k-means rows.csv --start start.csv --rounds {rounds} --tolerance {tolerance} --json"
        );
        let mut command = Command::new(MUSTER);
        command.current_dir(&place).env("MUSTER_STATE", place.join("state"));
        command.args(flags.split(' ')).args(scale.then_some("--scale"));
        let ours = json(&mut command)["answer"].clone();
        let clusters = ours["clusters"].as_array().unwrap();
        let sizes: Vec<&Value> = clusters.iter().map(|c| &c["size"]).collect();
        assert_eq!(sizes, theirs["sizes"].as_array().unwrap().iter().collect::<Vec<_>>(), "{flags} {scaled}");
        assert_eq!(ours["rounds"], theirs["rounds"], "{flags} {scaled}");
        let (a, b) = (ours["inertia"].as_f64().unwrap(), theirs["inertia"].as_f64().unwrap());
        assert!((a / b - 1.0).abs() < 1e-9, "inertia {a} and {b}");
        for (ours, theirs) in clusters.iter().zip(theirs["centroids"].as_array().unwrap()) {
            for (a, b) in numbers(&ours["centroid"]).into_iter().zip(numbers(theirs)) {
                assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "a centroid has {a} and {b}");
            }
        }
    }
    std::fs::remove_dir_all(&place).unwrap();
}
