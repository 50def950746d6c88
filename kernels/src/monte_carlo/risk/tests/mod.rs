//! Whole jobs: against closed forms, exact enumeration and a naive reference, over vector widths and block
//! cuts.

mod bad_input;
mod naive;

use super::*;
use crate::math::normal::{cdf, quantile};
use crate::simd::Simd;
use muster_spec::Class;
use muster_spec::quantity::InputPath;
use std::path::PathBuf;
use tempfile::TempDir;

/// 300 days of the S&P 500 index from March 2008.
fn fixture() -> InputPath {
    InputPath(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/sp500.csv"))
}

/// A folder of price files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    /// Writes `text` as a file and says where.
    fn file(&self, name: &str, text: &str) -> InputPath {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        InputPath(path)
    }

    /// A file of one price for each return given and one more, on days of January 2000 and after.
    fn prices(&self, name: &str, returns: &[f64]) -> InputPath {
        let mut text = format!("Date,Close\n{},100\n", day(0));
        let mut price = 100.0;
        for (i, r) in returns.iter().enumerate() {
            price *= math::exp(*r);
            text += &format!("{},{price}\n", day(i + 1));
        }
        self.file(name, &text)
    }
}

/// Increasing days, 28 to a month.
fn day(i: usize) -> String {
    format!("{:04}-{:02}-{:02}", 2000 + i / 336, i / 28 % 12 + 1, i % 28 + 1)
}

/// Returns that look like nothing in particular, about `size` large.
fn returns(days: usize, seed: u64, size: f64) -> Vec<f64> {
    let rng = Philox::new(seed);
    let share = |i: usize| f64::from(rng.words([i as u32, 0, 0, 77])[0]) / 4_294_967_296.0 - 0.45;
    (0..days).map(|i| size * share(i)).collect()
}

fn spec(prices: &[InputPath], models: &[Model], horizon: u32) -> RiskSpec {
    RiskSpec {
        prices: prices.to_vec(),
        models: models.to_vec(),
        horizon: Some(horizon),
        ..RiskSpec::default()
    }
}

fn prepared(spec: RiskSpec, scenarios: u64) -> Risk {
    let spec = Risk::resolve(spec, Some(Count(scenarios)), 5).unwrap();
    Risk::prepare(&spec, scenarios, 5).unwrap()
}

/// All blocks of a job, merged.
fn root(risk: &Risk, simd: Simd) -> RiskPartial {
    let block = |block| risk.fold(block, &mut Fold::new(simd, 1 << 20)).unwrap();
    (0..risk.grid().blocks()).map(block).reduce(Partial::merge).unwrap()
}

fn answer(risk: &Risk) -> RiskAnswer {
    risk.finish(root(risk, Simd::all()[0])).unwrap()
}

/// Asserts that a true value lies within twice the 95 % interval: four standard errors.
fn assert_within(amount: Amount, truth_percent: f64, what: &str) {
    let Amount { percent, low_percent, high_percent, .. } = amount;
    let bin = 100.0 * BIN_WIDTH;
    let (low, high) = (2.0 * (percent - low_percent) + bin, 2.0 * (high_percent - percent) + bin);
    assert!(
        percent - low < truth_percent && truth_percent < percent + high,
        "{what}: {amount:?} {truth_percent}"
    );
    assert!(
        high_percent - low_percent < 0.1 * percent,
        "{what}: an interval that says something: {amount:?}"
    );
}

#[test]
fn a_normal_portfolio_has_the_closed_form() {
    for horizon in [1, 10] {
        let risk = prepared(spec(&[fixture()], &[Model::Normal], horizon), 1_000_000);
        let fit = risk.normal.as_ref().unwrap();
        let h = f64::from(horizon);
        let (mean, deviation) = (fit.location[0] * h, fit.root[0][0] * h.sqrt());
        for row in &answer(&risk).models[0].levels {
            let z = quantile(1.0 - row.level);
            let var = 1.0 - math::exp(mean + deviation * z);
            let kept = math::exp(mean + 0.5 * deviation * deviation) * cdf(z - deviation) / (1.0 - row.level);
            assert_within(row.value_at_risk, 100.0 * var, "value at risk");
            assert_within(row.expected_shortfall, 100.0 * (1.0 - kept), "expected shortfall");
        }
    }
}

#[test]
fn four_degrees_of_freedom_have_the_closed_form() {
    let mut risk = prepared(spec(&[fixture()], &[Model::StudentT], 1), 1_000_000);
    let fit = Fit { location: vec![0.0005], root: vec![vec![0.01]], dof: 4.0 };
    risk.market.student_t = Some((Shape::of_sum(&fit, 1), ChiSquare::new(4.0)));
    // The quantile of four degrees of freedom in closed form (Shaw 2006), left of the median.
    let quantile = |p: f64| {
        let a = 4.0 * p * (1.0 - p);
        let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if math::cos(middle) > a.sqrt() { low = middle } else { high = middle }
        }
        -2.0 * (math::cos(low / 3.0) / a.sqrt() - 1.0).sqrt()
    };
    assert!((quantile(0.05) + 2.131_846_786).abs() < 1e-8 && (quantile(0.01) + 3.746_947_388).abs() < 1e-8);
    let loss = |p: f64| 1.0 - math::exp(0.0005 + 0.01 * quantile(p));
    for row in &answer(&risk).models[0].levels {
        let tail = 1.0 - row.level;
        // The mean loss over the tail by the midpoint rule; squared nodes take the edge off the pole at zero.
        let n = 4000;
        let nodes = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n));
        let shortfall = nodes.map(|s| loss(tail * s * s) * 2.0 * s).sum::<f64>() / f64::from(n);
        assert_within(row.value_at_risk, 100.0 * loss(tail), "value at risk");
        assert_within(row.expected_shortfall, 100.0 * shortfall, "expected shortfall");
    }
}

#[test]
fn a_day_of_bootstrap_is_the_empirical_distribution() {
    let folder = Folder::new();
    let files =
        [folder.prices("a.csv", &returns(50, 1, 0.02)), folder.prices("b.csv", &returns(50, 2, 0.03))];
    let mut asked = spec(&files, &[Model::Bootstrap], 1);
    asked.levels = vec![0.75, 0.91, 0.97];
    asked.positions = vec!["a=3000".parse().unwrap(), "b=-1000".parse().unwrap()];
    let risk = prepared(asked, 2_000_000);
    let loss = |i: usize| {
        let [a, b] = [0, 1].map(|k: usize| 1.0 - math::exp(risk.history.returns[k][i]));
        0.75 * a - 0.25 * b
    };
    let mut losses: Vec<f64> = (0..50).map(loss).collect();
    losses.sort_by(f64::total_cmp);
    let answer = answer(&risk);
    assert_eq!(answer.gross_value, 4000.0);
    for row in &answer.models[0].levels {
        // No level is a multiple of 1/50, so the quantile is one of the days and not between two.
        let rank = (row.level * 50.0).ceil() as usize;
        assert!((row.value_at_risk.percent / 100.0 - losses[rank - 1]).abs() < BIN_WIDTH, "{row:?}");
        assert_eq!(row.value_at_risk.low, row.value_at_risk.high);
        let rest = rank as f64 - 50.0 * row.level;
        let shortfall =
            (losses[rank..].iter().sum::<f64>() + rest * losses[rank - 1]) / (50.0 - 50.0 * row.level);
        assert_within(row.expected_shortfall, 100.0 * shortfall, "expected shortfall");
    }
    let model = &answer.models[0];
    assert!((model.greatest_loss / 4000.0 - losses[49]).abs() < 1e-8);
    assert!((model.least_loss / 4000.0 - losses[0]).abs() < 1e-8);
    assert!((answer.history.worst_loss / 4000.0 - losses[49]).abs() < 1e-8);
}

#[test]
fn two_days_of_bootstrap_are_all_pairs() {
    let folder = Folder::new();
    let file = folder.prices("a.csv", &returns(31, 3, 0.1));
    let risk = prepared(spec(&[file], &[Model::Bootstrap], 2), 1_000_000);
    let r = &risk.history.returns[0];
    let mut losses: Vec<f64> = r.iter().flat_map(|a| r.iter().map(move |b| 1.0 - math::exp(a + b))).collect();
    losses.sort_by(f64::total_cmp);
    for row in &answer(&risk).models[0].levels {
        let exact = row.level * losses.len() as f64;
        let rank = exact.ceil() as usize;
        let rest = (rank as f64 - exact) * losses[rank - 1];
        let shortfall = (losses[rank..].iter().sum::<f64>() + rest) / (losses.len() as f64 - exact);
        assert_within(row.value_at_risk, 100.0 * losses[rank - 1], "value at risk");
        assert_within(row.expected_shortfall, 100.0 * shortfall, "expected shortfall");
    }
}

#[test]
fn bits_depend_on_neither_vector_width_nor_cut() {
    let folder = Folder::new();
    let files = [0, 1, 2].map(|k| folder.prices(&format!("{k}.csv"), &returns(60, k, 0.02)));
    for horizon in [1, 3] {
        let risk = prepared(spec(&files, &[], horizon), 140_001);
        let whole = root(&risk, Simd::all()[0]);
        assert_eq!(risk.grid().blocks(), 2);
        for simd in Simd::all() {
            assert_eq!(root(&risk, simd), whole, "{}", simd.name());
            for (model, histogram) in risk.spec.models.iter().zip(&whole.models) {
                let cuts = [0, 256, 7680, 140_001].windows(2).map(|cut| {
                    let work = Scenarios { market: &risk.market, model: *model, range: cut[0]..cut[1] };
                    simd.run(work).finish()
                });
                assert_eq!(&cuts.reduce(|a, b| b.merge(a)).unwrap(), histogram, "{model} {}", simd.name());
                assert_eq!(histogram.count(), 140_001);
            }
        }
    }
}

#[test]
fn another_seed_is_another_answer_and_the_same_is_the_same() {
    let spec = Risk::resolve(spec(&[fixture()], &[], 1), None, 1).unwrap();
    let answers = [1, 1, 2].map(|seed| answer(&Risk::prepare(&spec, 10_000, seed).unwrap()));
    assert_eq!(answers[0], answers[1]);
    for (one, two) in answers[0].models.iter().zip(&answers[2].models) {
        assert_ne!(one.mean_loss, two.mean_loss);
    }
}

#[test]
fn a_resolved_spec_is_complete_and_stays_as_it_is() {
    let folder = Folder::new();
    let files = [fixture(), folder.file("b.csv", &std::fs::read_to_string(fixture().path()).unwrap())];
    let mut asked = spec(&files, &[Model::Bootstrap], 1);
    let resolved = Risk::resolve(asked.clone(), None, 1).unwrap();
    assert_eq!(resolved.columns, ["Adj Close", "Adj Close"]);
    assert_eq!(resolved.positions, ["sp500=500000", "b=5e5"].map(|text| text.parse().unwrap()));
    assert_eq!(Risk::resolve(resolved.clone(), None, 1).unwrap(), resolved);
    let json = serde_json::to_string(&resolved).unwrap();
    assert_eq!(serde_json::from_str::<RiskSpec>(&json).unwrap(), resolved);
    // One file, two columns: two assets by the columns' names.
    asked.prices.truncate(1);
    asked.columns = vec!["Open".into(), "Close".into()];
    let resolved = Risk::resolve(asked, None, 1).unwrap();
    assert_eq!(resolved.positions.iter().map(|p| p.asset.as_str()).collect::<Vec<_>>(), ["Open", "Close"]);
}

#[test]
fn files_are_joined_by_day_and_empty_prices_left_out() {
    let folder = Folder::new();
    let (mut a, mut b) = (String::from("\u{feff}When,Price,Note\n"), String::from("Volume,Close,Date\n"));
    for i in 0..40 {
        // Prices double every day, so that a day left out shows as a factor of four.
        let price = if i == 7 { String::new() } else { format!("{}", 1u64 << i) };
        a += &format!("{}, {price} ,x\n", day(i));
        if i != 20 {
            b += &format!("5,{},{}\n", 3u64 << i, day(i));
        }
    }
    // The files call their days differently, so the dates of `a` come first in both and `b` is turned.
    let b: String = b.lines().map(|line| line.rsplit(',').collect::<Vec<_>>().join(",") + "\n").collect();
    let files = [folder.file("a.csv", &a), folder.file("b.csv", &b)];
    let risk = prepared(spec(&files, &[Model::Bootstrap], 1), 10_000);
    assert_eq!((risk.history.len(), risk.history.left_out), (37, 2));
    assert_eq!(risk.inputs().len(), 2);
    for returns in &risk.history.returns {
        for (i, r) in returns.iter().enumerate() {
            let days = if i == 6 || i == 18 { 2.0 } else { 1.0 };
            assert!((r - days * std::f64::consts::LN_2).abs() < 1e-14, "{i} {r}");
        }
    }
    let history = answer(&risk).history;
    assert_eq!((history.first_day.as_str(), history.days_left_out), ("2000-01-01", 2));
}

#[test]
fn a_leaf_depends_on_the_prices() {
    let folder = Folder::new();
    let reads = |last: f64| {
        let mut returns = returns(40, 4, 0.01);
        returns[39] = last;
        let risk = prepared(spec(&[folder.prices("a.csv", &returns)], &[Model::Bootstrap], 1), 3000);
        let mut cx = Fold::new(Simd::all()[0], 0);
        risk.fold(0, &mut cx).unwrap();
        cx.reads()
    };
    assert_eq!(reads(0.01), reads(0.01));
    assert_ne!(reads(0.01), reads(0.010_000_001));
    assert!(reads(0.01).is_some());
}

#[test]
fn the_index_of_2008() {
    let levels = vec![0.975, 0.99];
    let answer = answer(&prepared(RiskSpec { levels, ..spec(&[fixture()], &[], 1) }, 200_000));
    let history = &answer.history;
    assert_eq!((history.returns, history.days_left_out), (299, 0));
    assert_eq!((history.first_day.as_str(), history.last_day.as_str()), ("2008-03-03", "2009-05-08"));
    assert_eq!(history.worst_day, "2008-10-15");
    // Computed from the file by a few lines of another language.
    assert!((history.worst_loss_percent - 9.034_977_815).abs() < 1e-8);
    let [bootstrap, normal, student] = &answer.models[..] else { panic!("three models") };
    let fit = normal.fit.as_ref().unwrap();
    assert!((fit.mean_percent[0] + 30.306_155_696).abs() < 1e-8);
    assert!((fit.volatility_percent[0] - 42.393_805_442).abs() < 1e-8);
    assert!((bootstrap.levels[0].value_at_risk.percent - 5.739_484_160).abs() < 100.0 * BIN_WIDTH);
    let dof = student.fit.as_ref().unwrap().degrees_of_freedom.unwrap();
    assert!((2.5..4.5).contains(&dof), "{dof}");
    let shortfall = |m: &ModelAnswer| m.levels[1].expected_shortfall.percent;
    assert!(shortfall(student) > shortfall(normal), "fat tails");
    // The same bits on every system; a change of the mathematics or of the answer's shape changes them on purpose.
    let hash = crate::hash::answer("monte-carlo", Class::PortableF64, &answer);
    assert_eq!(&hash[..16], "9dcf98061b0cc9d2");
}
