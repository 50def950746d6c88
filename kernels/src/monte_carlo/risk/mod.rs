//! The risk of a portfolio: value at risk and expected shortfall from daily prices.
//!
//! Partials are exact: losses are fixed-point numbers counted and summed in bins, so they merge in any order.

mod answer;
mod draw;
mod fit;
mod losses;
mod prices;

pub use answer::{Measure, ModelRisk, RiskAnswer};
pub use losses::{Losses, RiskPartial};

use crate::fold::Fold;
use crate::kernel::{Input, Work};
use draw::Sampler;
use losses::Tally;
use muster_spec::monte_carlo::{Model, RiskSpec};
use muster_spec::{Grid, Problems};
use prices::History;

/// Scenarios times days times assets times models in a block: 10 to 40 ms of a core.
const BLOCK_WORK: u64 = 1 << 20;
/// Blocks that a job has at least, when it has enough scenarios.
const LEAST_BLOCKS: u64 = 32;

/// A prepared portfolio.
pub struct Risk {
    history: History,
    samplers: Vec<(Model, Sampler)>,
    positions: Vec<f64>,
    horizon: u32,
    levels: Vec<f64>,
    scenarios: u64,
    block: u64,
}

impl Risk {
    /// Reads the prices and fits the models.
    ///
    /// # Errors
    /// Everything that is wrong with request and files.
    pub fn prepare(spec: &RiskSpec, scenarios: u64, seed: u64) -> Result<Risk, Problems> {
        Problems::check(spec.problems())?;
        let history = prices::read(spec)?;
        let positions = spec.positions();
        let gross: f64 = positions.iter().map(|p| p.abs()).sum();
        let weights: Vec<f64> = positions.iter().map(|p| p / gross).collect();
        let mut samplers = Vec::new();
        for model in spec.models() {
            samplers.push((model, Sampler::new(model, &history, (&weights, spec.horizon, seed))?));
        }
        let weight = u64::from(spec.horizon) * positions.len() as u64 * samplers.len() as u64;
        let least = scenarios.div_ceil(u64::from(muster_spec::MAX_BLOCKS));
        let block = (BLOCK_WORK / weight)
            .min(scenarios.div_ceil(LEAST_BLOCKS))
            .max(least)
            .max(1)
            .next_multiple_of(64);
        Ok(Risk {
            history,
            samplers,
            positions,
            horizon: spec.horizon,
            levels: spec.level.clone(),
            scenarios,
            block,
        })
    }

    /// How the scenarios are cut.
    pub fn grid(&self) -> Grid {
        Grid::new(self.scenarios.div_ceil(self.block))
    }

    /// Scenarios, of all models.
    pub fn work(&self) -> Work {
        Work { total: self.scenarios as f64 * self.samplers.len() as f64, unit: "scenarios".into() }
    }

    /// The price files.
    pub fn inputs(&self) -> Vec<Input> {
        self.history.inputs.clone()
    }

    /// Simulates the scenarios of one block under every model.
    pub fn fold(&self, block: u32, cx: &mut Fold) -> RiskPartial {
        cx.note_read(&self.history.hash);
        let start = u64::from(block) * self.block;
        let end = (start + self.block).min(self.scenarios);
        let one = |(_, sampler): &(Model, Sampler)| {
            let mut tally = Tally::new();
            cx.simd.run(draw::Scenarios { sampler, range: start..end, tally: &mut tally });
            tally.into_losses()
        };
        RiskPartial(self.samplers.iter().map(one).collect())
    }

    /// The measures of every model.
    pub fn finish(&self, root: &RiskPartial) -> RiskAnswer {
        let gross: f64 = self.positions.iter().map(|p| p.abs()).sum();
        let models = self.samplers.iter().zip(&root.0);
        RiskAnswer {
            models: models
                .map(|((m, s), losses)| answer::model(*m, s, losses, (&self.levels, gross)))
                .collect(),
            positions: self.history.names.iter().cloned().zip(self.positions.iter().copied()).collect(),
            gross,
            horizon_days: self.horizon,
            scenarios: self.scenarios,
            returns: self.history.days() as u64,
            first_day: self.history.first_day.clone(),
            last_day: self.history.last_day.clone(),
            left_out_days: self.history.left_out,
            resolution: losses::WIDTH * gross,
        }
    }
}

#[cfg(test)]
mod tests;
