//! A book of options: blocks of paths, the statistics that merge, and the prices.

use super::market::markets;
use super::paths::{Block, Model};
use crate::kernel::{Partial, Work};
use crate::simd::Simd;
use muster_spec::monte_carlo::{MonteCarloSpec, block_paths};
use muster_spec::{Grid, Problems};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A prepared book.
pub struct Book {
    models: Vec<Model>,
    /// The first block of each option, and one past the last.
    first: Vec<u64>,
    block_paths: Vec<u64>,
    paths: u64,
}

/// Count, mean and sum of squared deviations of one estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The mean.
    pub mean: f64,
    /// The sum of squared deviations from it.
    pub m2: f64,
}

/// The statistics of one option over some of its paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionPartial {
    /// Which option.
    pub option: u32,
    /// How many paths.
    pub paths: u64,
    /// One for each estimate.
    pub moments: Vec<Moment>,
}

/// The statistics of consecutive options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BookPartial(pub Vec<OptionPartial>);

impl Partial for BookPartial {
    fn merge(mut self, right: Self) -> Self {
        let mut rest = right.0.into_iter().peekable();
        if let (Some(last), Some(next)) = (self.0.last_mut(), rest.peek())
            && last.option == next.option
        {
            last.merge(&rest.next().expect("it was there"));
        }
        self.0.extend(rest);
        self
    }
}

impl OptionPartial {
    /// Adds the paths of `other` (Chan, Golub, LeVeque 1979).
    fn merge(&mut self, other: &OptionPartial) {
        let (a, b) = (self.paths as f64, other.paths as f64);
        for (mine, theirs) in self.moments.iter_mut().zip(&other.moments) {
            let apart = theirs.mean - mine.mean;
            mine.mean += apart * (b / (a + b));
            mine.m2 = mine.m2 + theirs.m2 + apart * apart * (a * b / (a + b));
        }
        self.paths += other.paths;
    }
}

impl Book {
    /// Prepares the options of a checked spec.
    ///
    /// # Errors
    /// Never for a checked spec.
    pub fn prepare(spec: &MonteCarloSpec) -> Result<Book, Problems> {
        let mut models = Vec::new();
        let (mut first, mut sizes) = (vec![0], Vec::new());
        for (i, option) in spec.options.iter().enumerate() {
            let (markets, estimates) = markets(option, spec.greeks);
            let weight = u64::from(option.path_steps()) * option.assets() as u64 * markets.len() as u64;
            let size = block_paths(spec.paths.0, weight, spec.options.len() as u64);
            first.push(first[i] + spec.paths.0.div_ceil(size));
            sizes.push(size);
            let equal = 1.0 / option.assets() as f64;
            models.push(Model {
                kind: option.kind.expect("the spec was checked"),
                markets,
                estimates,
                weights: if option.weights.is_empty() {
                    vec![equal; option.assets()]
                } else {
                    option.weights.clone()
                },
                seed: spec.seed,
                stream: i as u32,
                spec: option.clone(),
            });
        }
        Ok(Book { models, first, block_paths: sizes, paths: spec.paths.0 })
    }

    /// How the paths of all options are cut.
    pub fn grid(&self) -> Grid {
        Grid::new(self.first[self.models.len()])
    }

    /// Paths times steps, of all options.
    pub fn work(&self) -> Work {
        let steps: u64 =
            self.models.iter().map(|m| u64::from(m.spec.path_steps()) * m.spec.assets() as u64).sum();
        Work { total: steps as f64 * self.paths as f64, unit: "path-steps".into() }
    }

    /// Simulates the paths of one block.
    pub fn fold(&self, block: u32, simd: Simd) -> BookPartial {
        let block = u64::from(block);
        let option = self.first.partition_point(|&f| f <= block) - 1;
        let start = (block - self.first[option]) * self.block_paths[option];
        let paths = start..(start + self.block_paths[option]).min(self.paths);
        let n = paths.end - paths.start;
        let sums = simd.run(Block { model: &self.models[option], paths });
        let moment = |s: super::paths::Sums| {
            let mean = s.sum / n as f64;
            let m2 = s.square - mean * s.sum;
            Moment { mean, m2: if m2 > 0.0 { m2 } else { 0.0 } }
        };
        let moments = sums.into_iter().map(moment).collect();
        BookPartial(vec![OptionPartial { option: option as u32, paths: n, moments }])
    }

    /// The prices.
    pub fn finish(&self, root: &BookPartial) -> BookAnswer {
        let priced = |(partial, model): (&OptionPartial, &Model)| {
            let estimates = model.estimates.iter().zip(&partial.moments).map(|(estimate, moment)| {
                let n = partial.paths as f64;
                let standard_error = (moment.m2 / (n - 1.0) / n).sqrt();
                let half = 1.959963984540054 * standard_error;
                Estimated {
                    name: estimate.name.clone(),
                    value: moment.mean,
                    standard_error,
                    interval_95: [moment.mean - half, moment.mean + half],
                }
            });
            Priced {
                option: model.spec.label(),
                quantity: model.spec.quantity,
                paths: partial.paths,
                estimates: estimates.collect(),
            }
        };
        let options: Vec<Priced> = root.0.iter().zip(&self.models).map(priced).collect();
        let value = options.iter().fold(0.0, |sum, o| sum + o.quantity * o.estimates[0].value);
        let variance = options.iter().fold(0.0, |sum, o| {
            let error = o.quantity * o.estimates[0].standard_error;
            sum + error * error
        });
        BookAnswer { options, value, standard_error: variance.sqrt() }
    }
}

/// The prices of a book.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BookAnswer {
    /// Each option.
    pub options: Vec<Priced>,
    /// The value of the book: quantities times prices.
    pub value: f64,
    /// Its standard error; the draws of different options are independent.
    pub standard_error: f64,
}

/// The estimates of one option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Priced {
    /// Its name, or its kind.
    pub option: String,
    /// How many of it the book holds.
    pub quantity: f64,
    /// How many paths were simulated.
    pub paths: u64,
    /// Price, and Greeks on request.
    pub estimates: Vec<Estimated>,
}

/// One estimate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimated {
    /// `price`, `delta`, `gamma`, `vega` (for one unit of volatility), `theta` (a year), `rho` (for one unit of rate).
    pub name: String,
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Its 95 % confidence interval.
    pub interval_95: [f64; 2],
}

impl fmt::Display for BookAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:<8} {:>16} {:>14}  95 % interval", "option", "", "estimate", "standard error")?;
        for option in &self.options {
            for (i, e) in option.estimates.iter().enumerate() {
                let name = if i == 0 { &option.option[..] } else { "" };
                let [low, high] = e.interval_95;
                writeln!(
                    f,
                    "{name:<20} {:<8} {:>16.6} {:>14.6}  {low:.6} to {high:.6}",
                    e.name, e.value, e.standard_error
                )?;
            }
        }
        if self.options.len() > 1 {
            writeln!(f, "{:<20} {:<8} {:>16.6} {:>14.6}", "book", "value", self.value, self.standard_error)?;
        }
        Ok(())
    }
}
