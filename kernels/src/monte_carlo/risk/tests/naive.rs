//! The naive reference: one scenario after the other, straight from the definition, over the same random
//! words.

use super::*;

/// The words of draw number `j` of scenario `s`, and which of the four it is.
fn words(risk: &Risk, s: u64, j: u64, stream: u32) -> ([u32; 4], usize) {
    let path = s / 256 * 64 + s % 64;
    ((risk.market.rng).words([path as u32, (path >> 32) as u32, (j / 4) as u32, stream]), (j % 4) as usize)
}

fn unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

fn box_muller(radius: u32, angle: u32, sine: bool) -> f64 {
    let turn = std::f64::consts::TAU * unit(angle);
    (-2.0 * math::ln(unit(radius))).sqrt() * if sine { math::sin(turn) } else { math::cos(turn) }
}

fn normal(risk: &Risk, s: u64, j: u64, stream: u32) -> f64 {
    let (words, row) = words(risk, s, j, stream);
    box_muller(words[row & 2], words[row | 1], row & 1 == 1)
}

/// Degrees of freedom over chi-square, without the quick test.
fn student_scale(risk: &Risk, s: u64, day: u64, dof: f64) -> f64 {
    let quarter = s % 256 / 64;
    let d = dof / 2.0 - 1.0 / 3.0;
    let (mut x, (mut w, mut row)) =
        (normal(risk, s, 4 * day + quarter, 0x400), words(risk, s, 4 * day + quarter, 0x500));
    for again in 0x1_0001.. {
        let v = 1.0 + x / (9.0 * d).sqrt();
        let v = v * v * v;
        if v > 0.0 && math::ln(unit(w[row])) < x * x / 2.0 + d - d * v + d * math::ln(v) {
            return dof / (2.0 * d * v);
        }
        (w, row) = (words(risk, s, 4 * (4 * day + quarter), again).0, 2);
        x = box_muller(w[0], w[1], false);
    }
    unreachable!()
}

/// The log returns of one scenario.
fn log_returns(risk: &Risk, model: Model, s: u64) -> Vec<f64> {
    let (assets, horizon) = (risk.history.returns.len() as u64, u64::from(risk.spec.days()));
    let quarter = s % 256 / 64;
    let correlated = |fit: &Fit, z: &[f64]| -> Vec<f64> {
        fit.root.iter().map(|row| row.iter().zip(z).map(|(r, z)| r * z).sum()).collect()
    };
    let mut sums = vec![0.0; assets as usize];
    match model {
        Model::Bootstrap => {
            for day in 0..horizon {
                let (w, row) = words(risk, s, quarter * horizon + day, 0x100);
                let n = risk.history.len() as u64;
                let drawn = (((2 * u64::from(w[row]) + 1) * n) >> 33) as usize;
                sums.iter_mut().zip(&risk.history.returns).for_each(|(sum, r)| *sum += r[drawn]);
            }
        }
        Model::Normal => {
            let fit = risk.normal.as_ref().unwrap();
            let z: Vec<f64> = (0..assets).map(|a| normal(risk, s, quarter * assets + a, 0x200)).collect();
            for (i, y) in correlated(fit, &z).into_iter().enumerate() {
                sums[i] = fit.location[i] * horizon as f64 + y * (horizon as f64).sqrt();
            }
        }
        Model::StudentT => {
            let fit = risk.student_t.as_ref().unwrap();
            for day in 0..horizon {
                let j = |a: u64| 4 * day * assets + quarter * assets + a;
                let z: Vec<f64> = (0..assets).map(|a| normal(risk, s, j(a), 0x300)).collect();
                let scale = student_scale(risk, s, day, fit.dof).sqrt();
                for (i, y) in correlated(fit, &z).into_iter().enumerate() {
                    sums[i] += fit.location[i] + scale * y;
                }
            }
        }
    }
    sums
}

fn loss(risk: &Risk, model: Model, s: u64) -> f64 {
    let returns = log_returns(risk, model, s);
    let gain = risk.spec.positions.iter().zip(&returns).map(|(p, r)| p.value * (math::exp(*r) - 1.0));
    -gain.sum::<f64>() / risk.gross_value
}

#[test]
fn every_loss_is_the_reference_loss() {
    let folder = Folder::new();
    for (assets, horizon) in [(1, 1), (2, 1), (3, 2), (5, 3), (2, 7)] {
        let file = |k: u64| folder.prices(&format!("x{k}.csv"), &returns(45, 10 + k, 0.02));
        let files: Vec<InputPath> = (0..assets).map(file).collect();
        let mut asked = spec(&files, &[], horizon);
        asked.positions =
            (0..assets).map(|k| format!("x{k}={}", 100.0 * (1.5 - k as f64)).parse().unwrap()).collect();
        asked.levels = vec![0.9];
        let risk = prepared(asked, 700);
        let root = root(&risk, Simd::all()[0]);
        for (&model, histogram) in risk.spec.models.iter().zip(&root.models) {
            let mut want: Vec<f64> = (0..700).map(|s| loss(&risk, model, s)).collect();
            want.sort_by(f64::total_cmp);
            let mut want = want.into_iter();
            for bin in histogram.bins() {
                let mean = want.by_ref().take(bin.count as usize).sum::<f64>() / bin.count as f64;
                assert!((bin.mean() - mean).abs() < 2e-9, "{model} {assets} {horizon}: {bin:?} {mean}");
            }
            assert_eq!(want.next(), None);
        }
    }
}
