//! Drawing scenarios: 64 at a time, from counters alone.

use super::fit;
use super::losses::Tally;
use super::prices::History;
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox, unit};
use crate::math::{exp, ln, sin_cos_turns};
use crate::simd::{Lanes, Vectorised};
use muster_spec::Problems;
use muster_spec::monte_carlo::Model;
use std::ops::Range;

/// The streams of the models.
const BOOTSTRAP: u32 = 1 << 28;
const NORMAL: u32 = 2 << 28;
const STUDENT: u32 = 3 << 28;
const CHI_SQUARE: u32 = 4 << 28;
/// Tries that a chi-square draw may take; one is rejected with a probability below 0.05.
const TRIES: u32 = 64;

type Row = [f64; BATCH];

/// A fitted model, ready to draw from.
pub(super) struct Sampler {
    weights: Vec<f64>,
    rng: Philox,
    kind: Kind,
}

enum Kind {
    /// The days of the past: one row of returns for each asset.
    Bootstrap { returns: Vec<Vec<f64>>, horizon: u32 },
    /// Mean and root of the covariance over the whole horizon.
    Normal { mean: Vec<f64>, root: Vec<Vec<f64>> },
    /// Mean and root of the scatter of one day, degrees of freedom.
    StudentT { mean: Vec<f64>, root: Vec<Vec<f64>>, dof: f64, horizon: u32 },
}

impl Sampler {
    /// Fits a model to the past; `(weights, horizon, seed)` say what for.
    ///
    /// # Errors
    /// When the prices move together so closely that no multivariate model fits.
    pub(super) fn new(
        model: Model,
        past: &History,
        (weights, horizon, seed): (&[f64], u32, u64),
    ) -> Result<Sampler, Problems> {
        let kind = match model {
            Model::Bootstrap => Kind::Bootstrap { returns: past.returns.clone(), horizon },
            Model::Normal => {
                let fitted = fit::normal(&past.returns)?;
                let days = f64::from(horizon);
                let scaled = |row: &Vec<f64>| row.iter().map(|x| x * days.sqrt()).collect();
                Kind::Normal {
                    mean: fitted.mean.iter().map(|m| m * days).collect(),
                    root: fitted.root.iter().map(scaled).collect(),
                }
            }
            Model::StudentT => {
                let (fitted, dof) = fit::student_t(&past.returns)?;
                Kind::StudentT { mean: fitted.mean, root: fitted.root, dof, horizon }
            }
        };
        Ok(Sampler { weights: weights.to_vec(), rng: Philox::new(seed), kind })
    }

    /// The fitted degrees of freedom.
    pub(super) fn dof(&self) -> Option<f64> {
        match self.kind {
            Kind::StudentT { dof, .. } => Some(dof),
            _ => None,
        }
    }

    /// The sum of logarithmic returns over the horizon of each asset, for 64 scenarios.
    #[inline(always)]
    fn draw<L: Lanes>(&self, path: u64, sums: &mut [Row]) {
        match &self.kind {
            Kind::Bootstrap { returns, horizon } => self.bootstrap::<L>(path, (returns, *horizon), sums),
            Kind::Normal { mean, root } => {
                correlated::<L>(self.rng, (path, 0, NORMAL), root, sums);
                for (sum, mean) in sums.iter_mut().zip(mean) {
                    (0..BATCH).for_each(|i| sum[i] += mean);
                }
            }
            Kind::StudentT { mean, root, dof, horizon } => {
                let mut day_sums = vec![[0.0; BATCH]; sums.len()];
                sums.fill([0.0; BATCH]);
                for day in 0..*horizon {
                    correlated::<L>(self.rng, (path, day, STUDENT), root, &mut day_sums);
                    let mut stretch = [0.0; BATCH];
                    for (i, stretch) in stretch.iter_mut().enumerate() {
                        *stretch = (dof / chi_square(self.rng, path + i as u64, day, *dof)).sqrt();
                    }
                    for ((sum, day_sum), mean) in sums.iter_mut().zip(&day_sums).zip(mean) {
                        (0..BATCH).for_each(|i| sum[i] += L::pass(day_sum[i].mul_add(stretch[i], *mean)));
                    }
                }
            }
        }
    }

    /// Days of the past, the same for all assets. A day is drawn as `word * days / 2^32`, rounded down: no day is
    /// likelier than another by more than `days / 2^32`.
    #[inline(always)]
    fn bootstrap<L: Lanes>(&self, path: u64, (returns, horizon): (&[Vec<f64>], u32), sums: &mut [Row]) {
        let days = returns[0].len() as u64;
        let mut words = [[0; BATCH]; 4];
        sums.fill([0.0; BATCH]);
        for day in 0..horizon {
            if day % 4 == 0 {
                self.rng.batch::<L>(Draw { path, group: day / 4, stream: BOOTSTRAP }, &mut words);
            }
            let words = &words[day as usize % 4];
            for (sum, returns) in sums.iter_mut().zip(returns) {
                for i in 0..BATCH {
                    sum[i] += returns[((words[i] * days) >> 32) as usize];
                }
            }
        }
    }
}

/// Correlated normals: `root` times independent ones.
#[inline(always)]
fn correlated<L: Lanes>(
    rng: Philox,
    (path, day, stream): (u64, u32, u32),
    root: &[Vec<f64>],
    out: &mut [Row],
) {
    let groups = root.len().div_ceil(4) as u32;
    let mut z = [[0.0; BATCH]; 4];
    out.fill([0.0; BATCH]);
    for factor in 0..root.len() {
        if factor % 4 == 0 {
            let group = day * groups + factor as u32 / 4;
            normals::<L>(rng, Draw { path, group, stream }, &mut z);
        }
        let z = &z[factor % 4];
        for (out, row) in out.iter_mut().zip(root).skip(factor) {
            (0..BATCH).for_each(|i| out[i] = L::pass(row[factor].mul_add(z[i], out[i])));
        }
    }
}

/// A chi-square number with `dof >= 2` degrees of freedom: twice a gamma number by Marsaglia and Tsang (2000), every
/// try from a counter of its own.
fn chi_square(rng: Philox, scenario: u64, day: u32, dof: f64) -> f64 {
    let d = 0.5 * dof - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut kept = 2.0 * d;
    for attempt in 0..TRIES {
        let words = rng.words([scenario as u32, (scenario >> 32) as u32, day * TRIES + attempt, CHI_SQUARE]);
        let [u1, u2, u, _] = words.map(|w| unit(u64::from(w)));
        let x = (-2.0 * ln(u1)).sqrt() * sin_cos_turns(u2).1;
        let root = c.mul_add(x, 1.0);
        let v = root * root * root;
        if v > 0.0 && ln(u) < (0.5 * x).mul_add(x, d * (1.0 - v + ln(v))) {
            kept = 2.0 * d * v;
            break;
        }
    }
    kept
}

/// The losses of a range of scenarios that begins at a batch.
pub(super) struct Scenarios<'a> {
    pub(super) sampler: &'a Sampler,
    pub(super) range: Range<u64>,
    pub(super) tally: &'a mut Tally,
}

impl Vectorised for Scenarios<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut sums = vec![[0.0; BATCH]; self.sampler.weights.len()];
        let mut path = self.range.start;
        while path < self.range.end {
            self.sampler.draw::<L>(path, &mut sums);
            let mut loss = [0.0; BATCH];
            for (sum, weight) in sums.iter().zip(&self.sampler.weights) {
                for i in 0..BATCH {
                    loss[i] = L::pass((1.0 - exp(sum[i])).mul_add(*weight, loss[i]));
                }
            }
            let used = (self.range.end - path).min(BATCH as u64) as usize;
            self.tally.add(&loss[..used]);
            path += BATCH as u64;
        }
    }
}
