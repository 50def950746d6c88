//! Value at risk and expected shortfall of a portfolio from its daily prices: history resampled, normal and
//! Student-t distributions fitted, all over one set of scenario numbers.
//!
//! Steps 10 to 12 of a job's way (DESIGN section 4). The partial is exact, so it merges in any order; what a
//! scenario loses depends on spec, seed, history and the scenario's number alone.

mod answer;
mod day;
mod fit;
mod histogram;
mod history;
mod prices;
mod scenarios;
mod tail;
#[cfg(test)]
mod tests;

pub use answer::{Amount, FitAnswer, HistoryAnswer, LevelAnswer, ModelAnswer, PositionAnswer, RiskAnswer};

use crate::fold::Fold;
use crate::kernel::{Input, Partial, Work};
use crate::math;
use crate::math::philox::Philox;
use fit::Fit;
use histogram::{BIN_WIDTH, Histogram};
use history::History;
use muster_spec::monte_carlo::risk::{CHUNK, DEFAULT_SCENARIOS, Model, RiskSpec};
use muster_spec::quantity::Count;
use muster_spec::{Grid, Problems};
use scenarios::{ChiSquare, Market, Scenarios, Shape};
use serde::{Deserialize, Serialize};
use tail::{Estimate, Tail};

/// Trading days of a year, by which means and volatilities are told.
const YEAR: f64 = 252.0;

/// The losses of some blocks: one histogram for each model, in the order of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskPartial {
    models: Vec<Histogram>,
}

impl Partial for RiskPartial {
    /// Exact, commutative and associative: [`crate::Order::Free`].
    fn merge(self, right: Self) -> Self {
        let pairs = self.models.into_iter().zip(right.models);
        RiskPartial { models: pairs.map(|(a, b)| a.merge(b)).collect() }
    }
}

/// A portfolio with its history and fitted distributions, ready to be simulated.
pub struct Risk {
    spec: RiskSpec,
    scenarios: u64,
    history: History,
    digest: [u8; 32],
    gross_value: f64,
    market: Market,
    normal: Option<Fit>,
    student_t: Option<Fit>,
}

impl Risk {
    /// Fills in defaults, columns and positions, and checks everything, the price files included. Any seed
    /// will do.
    ///
    /// # Errors
    /// Every problem of the spec and of its files at once.
    pub fn resolve(spec: RiskSpec, scenarios: Option<Count>, _seed: u64) -> Result<RiskSpec, Problems> {
        let (spec, history, _) = load(&spec, scenarios.map_or(DEFAULT_SCENARIOS, |count| count.0))?;
        Ok(RiskSpec { columns: history.columns, ..spec })
    }

    /// Reads the prices and fits the distributions.
    ///
    /// # Errors
    /// As [`Risk::resolve`].
    pub fn prepare(spec: &RiskSpec, scenarios: u64, seed: u64) -> Result<Risk, Problems> {
        let (spec, history, moments) = load(spec, scenarios)?;
        let asked = |model| spec.models.contains(&model);
        let normal = moments.filter(|_| asked(Model::Normal));
        let student_t = if asked(Model::StudentT) { Some(fitted(&history, Fit::student_t)?) } else { None };
        let horizon = spec.days();
        let gross_value = spec.positions.iter().map(|p| p.value.abs()).sum::<f64>();
        let market = Market {
            rng: Philox::new(seed),
            weights: spec.positions.iter().map(|p| p.value / gross_value).collect(),
            horizon,
            returns: history.returns.clone(),
            normal: normal.as_ref().map(|fit| Shape::of_normal(fit, horizon)),
            student_t: student_t.as_ref().map(|fit| (Shape::of_sum(fit, horizon), ChiSquare::new(fit.dof))),
        };
        Ok(Risk {
            spec,
            scenarios,
            digest: history.digest(),
            history,
            gross_value,
            market,
            normal,
            student_t,
        })
    }

    /// How the scenarios are cut ([`RiskSpec::grid`]).
    pub fn grid(&self) -> Grid {
        self.spec.grid(self.scenarios)
    }

    /// Scenarios times models.
    pub fn work(&self) -> Work {
        Work { total: self.scenarios as f64 * self.spec.models.len() as f64, unit: "scenarios".into() }
    }

    /// The price files.
    pub fn inputs(&self) -> Vec<Input> {
        self.history.inputs.clone()
    }

    /// The losses of one block's scenarios under every model.
    ///
    /// # Errors
    /// None: all that could be wrong with the prices was told by [`Risk::prepare`].
    pub fn fold(&self, block: u32, cx: &mut Fold) -> Result<RiskPartial, Problems> {
        cx.note_read(&self.digest);
        let chunks = self.grid().share(self.scenarios.div_ceil(CHUNK), block);
        let range = chunks.start * CHUNK..(chunks.end * CHUNK).min(self.scenarios);
        let losses = |&model| {
            let work = Scenarios { market: &self.market, model, range: range.clone() };
            cx.simd.run(work).finish()
        };
        Ok(RiskPartial { models: self.spec.models.iter().map(losses).collect() })
    }

    /// Value at risk and expected shortfall from the losses of all scenarios.
    ///
    /// # Errors
    /// None.
    pub fn finish(&self, root: RiskPartial) -> Result<RiskAnswer, Problems> {
        let models = self.spec.models.iter().zip(&root.models);
        Ok(RiskAnswer {
            scenarios: self.scenarios,
            horizon_days: self.spec.days(),
            gross_value: self.gross_value,
            resolution: BIN_WIDTH * self.gross_value,
            positions: self.positions(),
            history: self.history_answer(),
            models: models.map(|(&model, histogram)| self.model_answer(model, histogram)).collect(),
        })
    }

    fn positions(&self) -> Vec<PositionAnswer> {
        let both = self.spec.positions.iter().zip(&self.history.columns);
        both.map(|(p, column)| PositionAnswer {
            asset: p.asset.clone(),
            column: column.clone(),
            value: p.value,
        })
        .collect()
    }

    fn history_answer(&self) -> HistoryAnswer {
        let History { days, returns, left_out, .. } = &self.history;
        let loss = |day: usize| -> f64 {
            self.market.weights.iter().zip(returns).map(|(w, r)| w * (1.0 - math::exp(r[day]))).sum()
        };
        // Of equal losses the first day counts.
        let (mut worst, mut at) = (loss(0), 0);
        for day in 1..self.history.len() {
            let new = loss(day);
            if new > worst {
                (worst, at) = (new, day);
            }
        }
        HistoryAnswer {
            first_day: days[0].to_string(),
            last_day: days[days.len() - 1].to_string(),
            returns: self.history.len() as u64,
            days_left_out: *left_out as u64,
            worst_day: days[at + 1].to_string(),
            worst_loss: worst * self.gross_value,
            worst_loss_percent: worst * 100.0,
        }
    }

    fn model_answer(&self, model: Model, histogram: &Histogram) -> ModelAnswer {
        let (least, greatest) = histogram.extremes();
        let level = |&level: &f64| {
            let tail = Tail::of(histogram, level);
            LevelAnswer {
                level,
                value_at_risk: self.amount(tail.value_at_risk),
                expected_shortfall: self.amount(tail.expected_shortfall),
            }
        };
        let fit = match model {
            Model::Bootstrap => None,
            Model::Normal => self.normal.as_ref(),
            Model::StudentT => self.student_t.as_ref(),
        };
        ModelAnswer {
            model,
            fit: fit.map(|fit| FitAnswer {
                degrees_of_freedom: (fit.dof < f64::INFINITY).then_some(fit.dof),
                mean_percent: fit.location.iter().map(|mu| mu * YEAR * 100.0).collect(),
                volatility_percent: fit.volatility().iter().map(|s| s * YEAR.sqrt() * 100.0).collect(),
            }),
            mean_loss: histogram.mean() * self.gross_value,
            least_loss: least * self.gross_value,
            greatest_loss: greatest * self.gross_value,
            levels: self.spec.levels.iter().map(level).collect(),
        }
    }

    fn amount(&self, estimate: Estimate) -> Amount {
        let Estimate { value, low, high } = estimate;
        let [money, low_money, high_money] = [value, low, high].map(|share| share * self.gross_value);
        let [percent, low_percent, high_percent] = [value, low, high].map(|share| share * 100.0);
        Amount { money, low: low_money, high: high_money, percent, low_percent, high_percent }
    }
}

/// The spec with its defaults and positions, its history, and the normal fit where a model needs a
/// covariance.
fn load(spec: &RiskSpec, scenarios: u64) -> Result<(RiskSpec, History, Option<Fit>), Problems> {
    let mut spec = spec.clone().with_defaults();
    let mut problems = spec.problems(scenarios);
    // Without a file there is nothing to read, and that is a problem of its own already.
    let read = (!spec.is_unused()).then(|| History::read(&spec));
    let history = read.and_then(|read| read.map_err(|more| problems.extend(more.0)).ok());
    let mut fit = None;
    if let Some(history) = history.as_ref().filter(|_| spec.models.iter().any(|&m| m != Model::Bootstrap)) {
        match fitted(history, Fit::normal) {
            Ok(normal) => fit = Some(normal),
            Err(more) => problems.extend(more.0),
        }
    }
    Problems::check(problems)?;
    let history = history.expect("a history that cannot be read is a problem");
    spec.positions.clone_from(&history.positions);
    Ok((spec, history, fit))
}

/// A fit of the history's returns, or which asset stands in its way.
fn fitted(
    history: &History,
    fit: impl Fn(&[Vec<f64>]) -> Result<Fit, fit::Singular>,
) -> Result<Fit, Problems> {
    fit(&history.returns).map_err(|s| s.problem(&history.positions[s.asset].asset).into())
}
