//! What can be asked of the kernel `monte-carlo`: one option by flags, a book of options, or the risk of a portfolio.

pub mod option;
pub mod risk;

pub use option::{Kind, Knock, Monitoring, OptionSpec, Right};
pub use risk::{Model, RiskSpec};

use crate::problem::Problem;
use crate::quantity::{Count, InputPath};
use crate::tree::MAX_BLOCKS;
use serde::{Deserialize, Serialize};

/// Path-steps in a block: 5 to 10 ms of a core.
const BLOCK_STEPS: u64 = 1 << 21;
/// Blocks that a job has at least, when it has enough paths: small jobs must spread over cores, too.
const LEAST_BLOCKS: u64 = 32;
/// Paths are drawn in batches of this size, and no block ends inside one.
pub const BATCH: u64 = 64;

/// Monte Carlo: prices and Greeks of options under geometric Brownian motion, or value at risk of a portfolio.
///
/// Price one option with --option and the flags of the option, a book with --book, or the risk of a portfolio with
/// --prices. The answer's standard errors are those of the simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct MonteCarloSpec {
    /// Paths of each option, or scenarios of the portfolio
    #[arg(long, visible_alias = "scenarios", value_name = "N", default_value = "1e6")]
    pub paths: Count,
    /// Seed of the random numbers: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Estimate delta, gamma, vega, theta and rho, too (central differences over common random numbers)
    #[arg(long)]
    #[serde(default)]
    pub greeks: bool,
    /// A book of options: a TOML or JSON file with a list `option`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "prices"])]
    #[serde(skip)]
    pub book: Option<InputPath>,
    /// The option that the flags describe.
    #[command(flatten)]
    #[serde(skip)]
    pub flags: OptionSpec,
    /// The portfolio whose risk is wanted.
    #[command(flatten)]
    #[serde(default, skip_serializing_if = "RiskSpec::is_unused")]
    pub risk: RiskSpec,
    /// The options to price, once the request is resolved.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionSpec>,
}

impl MonteCarloSpec {
    /// Everything that is wrong with a resolved request.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        if self.paths.0 < 2 {
            out.push(Problem::new("--paths", "must be at least 2, or there is no standard error"));
        }
        if self.paths.0 > 1 << 50 {
            out.push(Problem::new("--paths", "must be at most 2^50"));
        }
        let many = self.options.len() > 1;
        for (i, option) in self.options.iter().enumerate() {
            let place = |key: &str| match many || !option.name.is_empty() {
                true => format!("option {} ({}), {key}", i + 1, option.label()),
                false => format!("--{key}"),
            };
            option.check(&place, &mut out);
        }
        out
    }
}

/// Paths in a block of an option whose path costs `weight` steps: a multiple of [`BATCH`].
pub fn block_paths(paths: u64, weight: u64, options: u64) -> u64 {
    let by_cost = (BLOCK_STEPS / weight.max(1)).max(BATCH);
    let by_count = paths.div_ceil(LEAST_BLOCKS.div_ceil(options.max(1)));
    // All options together must not have more than MAX_BLOCKS blocks.
    let least = paths.div_ceil((u64::from(MAX_BLOCKS) / options.max(1)).max(1));
    by_cost.min(by_count).max(least).max(1).next_multiple_of(BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_of_a_good_size() {
        assert_eq!(block_paths(1 << 40, 252, 1), (1u64 << 20).next_multiple_of(64));
        assert_eq!(block_paths(10_000_000, 252, 1), (BLOCK_STEPS / 252).next_multiple_of(64));
        assert_eq!(block_paths(1_000_000, 1, 1), 31_296, "32 blocks, though one would do");
        assert_eq!(block_paths(2, 1, 1), 64);
        for options in [1, 7, 1000] {
            for paths in [2u64, 1_000, 10_000_000, 1 << 50] {
                let each = paths.div_ceil(block_paths(paths, 252, options));
                assert!(
                    each * options <= u64::from(MAX_BLOCKS) && each >= 1,
                    "{options} options, {paths} paths"
                );
            }
        }
    }
}
