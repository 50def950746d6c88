//! Tests of the risk measures against closed forms and enumeration.

use super::losses::Bin;
use super::*;
use crate::kernel::Partial;
use crate::math::normal;
use crate::math::philox::{Philox, unit};
use crate::simd::Simd;
use muster_spec::quantity::InputPath;
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("muster-risk-{}-{}.csv", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        TempFile(path)
    }

    /// Prices whose logarithmic returns are given.
    fn of_returns(returns: &[f64]) -> Self {
        let (mut text, mut log) = ("Date,Close\n2000-01-01,100\n".to_owned(), 0.0);
        for (i, r) in returns.iter().enumerate() {
            log += r;
            let day = i + 1;
            let date = format!("{}-{:02}-{:02}", 2000 + day / 336, day / 28 % 12 + 1, day % 28 + 1);
            text += &format!("{date},{:e}\n", 100.0 * crate::math::exp(log));
        }
        TempFile::new(&text)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn spec(files: &[&TempFile], models: &[Model]) -> RiskSpec {
    RiskSpec {
        prices: files.iter().map(|f| InputPath(f.0.clone())).collect(),
        model: models.to_vec(),
        horizon: 1,
        level: vec![0.95, 0.99],
        ..RiskSpec::default()
    }
}

fn answer(spec: &RiskSpec, scenarios: u64, simd: Simd) -> RiskAnswer {
    let risk = Risk::prepare(spec, scenarios, 5).unwrap();
    let fold = |block| risk.fold(block, &mut Fold::new(simd, 1 << 20));
    let root = (1..risk.grid().blocks()).fold(fold(0), |all, block| all.merge(fold(block)));
    risk.finish(&root)
}

fn normals(n: u32, key: u64) -> Vec<f64> {
    (0..n).map(|i| normal::quantile(unit(u64::from(Philox::new(key).words([i, 0, 0, 0])[0])))).collect()
}

fn within(m: &Measure, var: f64, shortfall: f64) -> bool {
    // Four standard errors instead of two.
    let near = |x: f64, [low, high]: [f64; 2]| (x - 0.5 * (low + high)).abs() < high - low + 10.0;
    near(var, m.value_at_risk_95) && near(shortfall, m.expected_shortfall_95)
}

#[test]
fn the_normal_model_has_the_normal_quantile() {
    let returns: Vec<f64> = normals(2000, 1).iter().map(|z| 0.0005 + 0.01 * z).collect();
    let file = TempFile::of_returns(&returns);
    let n = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / n;
    let sigma = (returns.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / (n - 1.0)).sqrt();
    for horizon in [1, 10] {
        let answer =
            answer(&RiskSpec { horizon, ..spec(&[&file], &[Model::Normal]) }, 400_000, Simd::all()[0]);
        let (m, s) = (mean * f64::from(horizon), sigma * f64::from(horizon).sqrt());
        for measure in &answer.models[0].measures {
            let z = normal::quantile(measure.level);
            let var = 1.0 - crate::math::exp(m - s * z);
            // The mean of a lognormal below its quantile.
            let tail = crate::math::exp(m + 0.5 * s * s) * normal::cdf(-z - s) / (1.0 - measure.level);
            assert!(within(measure, var * 1e6, (1.0 - tail) * 1e6), "{horizon} days: {measure:?}, {var}");
        }
    }
}

#[test]
fn one_day_of_the_bootstrap_is_the_past() {
    let returns: Vec<f64> = normals(500, 2).iter().map(|z| 0.02 * z).collect();
    let file = TempFile::of_returns(&returns);
    let answer = answer(&spec(&[&file], &[Model::Bootstrap]), 400_000, Simd::all()[0]);
    let mut losses: Vec<f64> = returns.iter().map(|r| 1.0 - crate::math::exp(*r)).collect();
    losses.sort_by(f64::total_cmp);
    for measure in &answer.models[0].measures {
        let at = (measure.level * 500.0) as usize;
        // The quantile of the simulation lies between neighbouring past losses.
        let (low, high) = (losses[at - 4] * 1e6, losses[(at + 3).min(499)] * 1e6);
        assert!(
            low - 8.0 <= measure.value_at_risk && measure.value_at_risk <= high + 8.0,
            "{measure:?} {low} {high}"
        );
        let shortfall = losses[at..].iter().sum::<f64>() / (500 - at) as f64 * 1e6;
        assert!(within(measure, measure.value_at_risk, shortfall), "{measure:?} {shortfall}");
    }
}

#[test]
fn degrees_of_freedom_are_found_again() {
    // Student t with 4 degrees of freedom: a normal over the root of a mean of squares.
    let z: Vec<Vec<f64>> = (0..5).map(|k| normals(4000, 10 + k)).collect();
    let t = |i: usize| z[0][i] / ((1..5).map(|k| z[k][i] * z[k][i]).sum::<f64>() / 4.0).sqrt();
    let returns: Vec<f64> = (0..4000).map(|i| 0.01 * t(i)).collect();
    let (fitted, dof) = fit::student_t(std::slice::from_ref(&returns)).unwrap();
    assert!((3.4..4.7).contains(&dof), "{dof} degrees of freedom");
    assert!((fitted.root[0][0] / 0.01 - 1.0).abs() < 0.06, "scale {}", fitted.root[0][0]);
    let file = TempFile::of_returns(&returns);
    let answer = answer(&spec(&[&file], &[Model::StudentT]), 300_000, Simd::all()[0]);
    let mut past: Vec<f64> = returns.iter().map(|r| 1.0 - crate::math::exp(*r)).collect();
    past.sort_by(f64::total_cmp);
    let m = &answer.models[0].measures[1];
    assert!((m.value_at_risk / 1e6 / past[3960] - 1.0).abs() < 0.12, "{m:?}, past {}", past[3960]);
}

#[test]
fn every_level_counts_the_same_losses() {
    let a = TempFile::of_returns(&normals(300, 3).iter().map(|z| 0.01 * z).collect::<Vec<_>>());
    let b = TempFile::of_returns(&normals(300, 4).iter().map(|z| 0.02 * z).collect::<Vec<_>>());
    let spec = RiskSpec { position: vec![3e5, -1e5], horizon: 3, ..spec(&[&a, &b], &[]) };
    let all = Simd::all();
    let first = answer(&spec, 10_001, all[0]);
    assert_eq!(first.models.len(), 3);
    for &level in &all {
        assert_eq!(answer(&spec, 10_001, level), first, "{}", level.name());
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    let fine = TempFile::of_returns(&normals(50, 6).iter().map(|z| 0.01 * z).collect::<Vec<_>>());
    let cases = [
        ("Date,Close\n2020-01-01,1\n2020-01-01,2\n2020-01-02,-3\n2020-02-xx,4\n", 3, "does not come after"),
        ("Date,Close\r\n2020-01-01,1,2\r\n", 1, ":2: has 3 fields, and the header 2"),
        ("Date,Close\n2020-01-01,NaN\n", 1, "'NaN' is not a positive price"),
        ("Date\n2020-01-01\n", 1, "needs a header"),
        ("Date,Close\n2020-01-01,1\n2020-01-02,1\n", 1, "have 0 days in common"),
        ("", 1, "header"),
    ];
    for (text, count, wanted) in cases {
        let file = TempFile::new(text);
        let error = Risk::prepare(&spec(&[&fine, &file], &[]), 1000, 1).err().unwrap();
        assert_eq!(error.0.len(), count, "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let column = RiskSpec { price_column: Some("Clse".into()), ..spec(&[&fine], &[]) };
    assert!(Risk::prepare(&column, 1000, 1).err().unwrap().to_string().contains("the nearest is 'Close'"));
    let wrong =
        RiskSpec { horizon: 0, level: vec![0.2, 1.0], position: vec![1.0, 2.0], ..spec(&[&fine], &[]) };
    assert_eq!(Risk::prepare(&wrong, 1000, 1).err().unwrap().0.len(), 4, "all at once");
    let twice = Risk::prepare(&spec(&[&fine, &fine], &[Model::Normal]), 1000, 1).err().unwrap();
    assert!(twice.to_string().contains("follow from those before it"), "{twice}");
}

fn losses() -> impl Strategy<Value = Losses> {
    prop::collection::vec(-2.0f64..2.0, 0..200).prop_map(|values| {
        let mut tally = Tally::new();
        tally.add(&values);
        tally.into_losses()
    })
}

proptest! {
    #[test]
    fn losses_merge_in_any_order(a in losses(), b in losses(), c in losses()) {
        let [a, b, c] = [a, b, c].map(|l| RiskPartial(vec![l]));
        let left = a.clone().merge(b.clone()).merge(c.clone());
        prop_assert_eq!(&left, &c.merge(a.merge(b)));
        let bytes = postcard::to_stdvec(&left).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<RiskPartial>(&bytes).unwrap(), &left);
        let bins: &[Bin] = &left.0[0].bins;
        prop_assert!(bins.windows(2).all(|w| w[0].number < w[1].number));
        prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), left.0[0].count);
    }
}
