//! The kernel `k-means` against scikit-learn on the same file, from the same start.

use super::{Place, numbers, packages};
use serde_json::Value;

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
    if !packages() {
        return;
    }
    let place = Place::new("k-means");
    let text = rows();
    let start: Vec<&str> = text.lines().take(9).collect();
    std::fs::write(place.0.join("rows.csv"), &text).unwrap();
    std::fs::write(place.0.join("start.csv"), start.join("\n")).unwrap();
    for (rounds, tolerance, scale) in
        [("3", "0", false), ("300", "1e-4", false), ("300", "0", true), ("40", "1e-2", true)]
    {
        let scaled = if scale { "scale" } else { "plain" };
        let theirs = place.python("k_means.py", &["rows.csv", "start.csv", rounds, tolerance, scaled]);
        let mut words = vec!["k-means", "rows.csv", "--start", "start.csv"];
        words.extend(["--rounds", rounds, "--tolerance", tolerance]);
        words.extend(scale.then_some("--scale"));
        let ours = place.kernel(&words)["answer"].clone();
        let clusters = ours["clusters"].as_array().unwrap();
        let sizes: Vec<&Value> = clusters.iter().map(|c| &c["size"]).collect();
        assert_eq!(sizes, theirs["sizes"].as_array().unwrap().iter().collect::<Vec<_>>(), "{words:?}");
        assert_eq!(ours["rounds"], theirs["rounds"], "{words:?}");
        let (a, b) = (ours["inertia"].as_f64().unwrap(), theirs["inertia"].as_f64().unwrap());
        assert!((a / b - 1.0).abs() < 1e-9, "inertia {a} and {b}");
        for (ours, theirs) in clusters.iter().zip(theirs["centroids"].as_array().unwrap()) {
            for (a, b) in numbers(&ours["centroid"]).into_iter().zip(numbers(theirs)) {
                assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "a centroid has {a} and {b}");
            }
        }
    }
}
