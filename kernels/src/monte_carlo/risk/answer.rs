//! From counted losses to value at risk and expected shortfall, with the error of the simulation.

use super::draw::Sampler;
use super::losses::{Losses, WIDTH};
use muster_spec::monte_carlo::Model;
use serde::Serialize;
use std::fmt;

/// The two-sided 95 % quantile of the standard normal.
const Z95: f64 = 1.959963984540054;

/// The risk of a portfolio.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RiskAnswer {
    /// Under every model.
    pub models: Vec<ModelRisk>,
    /// Price file and money held.
    pub positions: Vec<(String, f64)>,
    /// The sum of the positions' sizes, in money.
    pub gross: f64,
    /// Days held.
    pub horizon_days: u32,
    /// Scenarios of each model.
    pub scenarios: u64,
    /// Past daily returns.
    pub returns: u64,
    /// The first day of the past.
    pub first_day: String,
    /// The last.
    pub last_day: String,
    /// Days that were left out because not every file has a price.
    pub left_out_days: u64,
    /// Losses are counted in bins of so much money.
    pub resolution: f64,
}

/// The risk under one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelRisk {
    /// The model's name.
    pub model: &'static str,
    /// Fitted degrees of freedom, of Student's t.
    pub degrees_of_freedom: Option<f64>,
    /// One for each level.
    pub measures: Vec<Measure>,
    /// The mean loss, in money; negative for a gain.
    pub mean_loss: f64,
    /// The largest loss of all scenarios, in money.
    pub largest_loss: f64,
}

/// The risk at one level, in money.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// The level of confidence.
    pub level: f64,
    /// The loss that is not exceeded with this probability.
    pub value_at_risk: f64,
    /// Its 95 % interval, by the binomial distribution of ranks: the error of the simulation, not of the model.
    pub value_at_risk_95: [f64; 2],
    /// The mean of the losses beyond it.
    pub expected_shortfall: f64,
    /// Its 95 % interval, by the asymptotic variance (Manistre and Hancock 2005).
    pub expected_shortfall_95: [f64; 2],
}

pub(super) fn model(
    model: Model,
    sampler: &Sampler,
    losses: &Losses,
    (levels, gross): (&[f64], f64),
) -> ModelRisk {
    let sum = losses.bins.iter().fold(0.0, |sum, bin| sum + bin.mean() * bin.count as f64);
    ModelRisk {
        model: model.name(),
        degrees_of_freedom: sampler.dof(),
        measures: levels.iter().map(|&level| measure(losses, level, gross)).collect(),
        mean_loss: sum / losses.count as f64 * gross,
        largest_loss: losses.range().map_or(0.0, |range| range.1) * gross,
    }
}

/// The loss of rank `rank`, counted from 0.5 for the smallest; losses of a bin are spread evenly over it.
fn ranked(losses: &Losses, rank: f64) -> f64 {
    let (low, high) = losses.range().unwrap_or((0.0, 0.0));
    let mut before = 0.0;
    for bin in &losses.bins {
        let count = bin.count as f64;
        if before + count >= rank {
            let inside = (bin.number as f64 + (rank - before) / count) * WIDTH;
            return if inside > high {
                high
            } else if inside < low {
                low
            } else {
                inside
            };
        }
        before += count;
    }
    high
}

fn measure(losses: &Losses, level: f64, gross: f64) -> Measure {
    let n = losses.count as f64;
    let tail = n * (1.0 - level);
    let value_at_risk = ranked(losses, n * level);
    let spread = Z95 * (n * level * (1.0 - level)).sqrt();
    let bound = |rank: f64| {
        ranked(
            losses,
            if rank < 0.5 {
                0.5
            } else if rank > n {
                n
            } else {
                rank
            },
        )
    };
    // The tail from above: whole bins, then a part of the bin that the quantile lies in.
    let (mut left, mut sum, mut square) = (tail, 0.0, 0.0);
    for bin in losses.bins.iter().rev() {
        let taken = if (bin.count as f64) < left { bin.count as f64 } else { left };
        // Of the last bin the upper part alone: its mean lies half way to the bin's end.
        let part = taken / bin.count as f64;
        let top = (bin.number + 1) as f64 * WIDTH;
        let mean = if part < 1.0 { top - 0.5 * part * WIDTH } else { bin.mean() };
        sum += taken * mean;
        square += taken * mean * mean;
        left -= taken;
        if left <= 0.0 {
            break;
        }
    }
    let shortfall = sum / tail;
    let variance = square / tail - shortfall * shortfall;
    let beyond = shortfall - value_at_risk;
    let error =
        Z95 * (((if variance > 0.0 { variance } else { 0.0 }) + level * beyond * beyond) / tail).sqrt();
    Measure {
        level,
        value_at_risk: value_at_risk * gross,
        value_at_risk_95: [bound(n * level - spread) * gross, bound(n * level + spread) * gross],
        expected_shortfall: shortfall * gross,
        expected_shortfall_95: [(shortfall - error) * gross, (shortfall + error) * gross],
    }
}

impl fmt::Display for RiskAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held: Vec<String> =
            self.positions.iter().map(|(name, money)| format!("{name} {money:.0}")).collect();
        writeln!(
            f,
            "portfolio  {} (gross {:.0}), held {} day(s)",
            held.join(", "),
            self.gross,
            self.horizon_days
        )?;
        writeln!(f, "past       {} returns, {} to {}", self.returns, self.first_day, self.last_day)?;
        writeln!(
            f,
            "scenarios  {} for each model; losses in bins of {:.2}\n",
            self.scenarios, self.resolution
        )?;
        writeln!(
            f,
            "{:<18} {:>6} {:>13}  {:<23} {:>13}  95 % interval",
            "model", "level", "value at risk", "95 % interval", "shortfall"
        )?;
        for model in &self.models {
            for (i, m) in model.measures.iter().enumerate() {
                let name = match (i, model.degrees_of_freedom) {
                    (0, Some(dof)) => format!("{} ({dof:.2})", model.model),
                    (0, None) => model.model.to_owned(),
                    _ => String::new(),
                };
                let interval = |[low, high]: [f64; 2]| format!("{low:.1} to {high:.1}");
                writeln!(
                    f,
                    "{name:<18} {:>5}% {:>13.1}  {:<23} {:>13.1}  {}",
                    (m.level * 1e4).round() / 100.0,
                    m.value_at_risk,
                    interval(m.value_at_risk_95),
                    m.expected_shortfall,
                    interval(m.expected_shortfall_95)
                )?;
            }
        }
        Ok(())
    }
}
