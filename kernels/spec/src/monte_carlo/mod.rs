//! What can be asked of the kernel `monte-carlo`: the price of one option by flags, the prices of a book of options,
//! or the risk of a portfolio. The three exclude each other.
//!
//! A resolved request holds no path of a book and no default left to fill in: what it asks for follows from it alone.

pub mod contract;
pub mod cut;
pub mod gpu;
pub mod options;
pub mod risk;

pub use contract::{Asset, Contract, Payoff};
pub use cut::{BATCH, Cut, GPU_TILE};
pub use options::{BarrierKind, Correlation, KEYS, Kind, Market, Monitoring, OptionSpec, Right, Terms};
pub use risk::{Model, RiskSpec};

use crate::device::{DeviceWord, Target};
use crate::problem::{Problem, Problems};
use crate::quantity::{Count, InputPath};
use serde::{Deserialize, Serialize};

/// Paths where the user names no number.
pub const DEFAULT_PATHS: Count = Count(1_000_000);
/// The most paths of an option.
pub const MAX_PATHS: u64 = 1 << 50;
/// The most options of a book.
pub const MAX_OPTIONS: usize = 10_000;

/// Monte Carlo: prices and Greeks of options under geometric Brownian motion, or value at risk of a portfolio.
///
/// Price one option with --option and the flags that describe it, a book of options with --book, or ask for the risk
/// of a portfolio with --prices. Money is in any one currency, time in years, rates and volatilities are fractions a
/// year. Standard errors are those of the simulation.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MonteCarloSpec {
    /// Paths of each option, or scenarios of the portfolio [default: 1e6]
    #[arg(long, visible_alias = "scenarios", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Count>,
    /// Seed of the random numbers: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Estimate the Greeks of options, too, by central differences over the same draws: delta and gamma (spot bumped by
    /// a twentieth of its standard deviation until expiry, at most 5 %), vega for 1.00 of volatility (bumped by 1 % of
    /// itself), theta for a year (expiry bumped by 1 %), rho for 1.00 of interest (bumped by 0.001). For options that
    /// pay or do not pay on a touch at a date, gamma needs many paths
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub greeks: bool,
    /// Where paths are walked: cpu; gpu, those of this machine (`muster doctor` shows them); auto, gpu where there is one
    /// that can do it; sm_90, GPUs of this architecture wherever the job runs; software, a GPU's arithmetic in slow
    /// motion, for tests. GPUs walk in f32, so that their answer is of another class. They price Asian and European
    /// options, without Greeks and variance reduction [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceWord>,
    /// A book: a TOML or JSON file with a list `option`, whose entries have a kind, a name, a quantity and the keys of
    /// the flags below
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub book: Option<InputPath>,
    /// The option that flags describe.
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
    /// Paths, or scenarios.
    pub fn paths(&self) -> u64 {
        self.paths.unwrap_or(DEFAULT_PATHS).0
    }

    /// What the blocks of a resolved request are folded on, where it is no CPU.
    pub fn target(&self) -> Option<Target> {
        match self.device {
            Some(DeviceWord::On(target)) => Some(target),
            _ => None,
        }
    }

    /// What is wrong with the flags that all requests share, or with mixing the three kinds of requests.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |place: &str, what: String, hint: &str| {
            problems.push(Problem::new(place, what).hint(hint));
        };
        if !(2..=MAX_PATHS).contains(&self.paths()) {
            let what = format!("is {}, but must be 2 to 2^50", self.paths());
            wrong("--paths", what, "one path has no standard error; 1e6 is a good start");
        }
        let (booked, risky) = (self.book.is_some(), !self.risk.is_unused());
        let given = self.flags.given();
        if booked && risky {
            wrong("--book", "and --prices ask for two different jobs".into(), "run one after the other");
        }
        for flag in given.iter().filter(|_| booked || risky) {
            let (other, hint) = match booked {
                true => ("--book", "write it into the entries of the book"),
                false => ("--prices", "run one after the other"),
            };
            wrong(flag, format!("describes one option and does not go with {other}"), hint);
        }
        for flag in self.risk.given().iter().filter(|_| !risky) {
            wrong(
                flag,
                "describes a portfolio, of which no prices are given".into(),
                "add --prices FILE.csv",
            );
        }
        if risky && self.greeks {
            wrong("--greeks", "are of options and do not go with --prices".into(), "leave it out");
        }
        let asked = booked || risky || !self.options.is_empty();
        if !asked && given.is_empty() {
            let hint =
                "--option european prices an option, --book FILE a book, --prices FILE.csv asks for risk";
            wrong("--option", "what to compute is missing".into(), hint);
        }
        problems
    }

    /// The contracts of a resolved request, and how their paths are cut into blocks.
    ///
    /// # Errors
    /// Everything that is wrong with any of the options.
    pub fn contracts(&self) -> Result<(Vec<Contract>, Cut), Problems> {
        let (mut contracts, mut problems) = (Vec::new(), self.problems());
        for (i, option) in self.options.iter().enumerate() {
            let place = |key: &str| format!("option {} ({}), {key}", i + 1, option.label());
            match option.contract(&place) {
                Ok(contract) => contracts.push(contract),
                Err(more) => problems.extend(more),
            }
        }
        if self.options.len() > MAX_OPTIONS {
            let what =
                format!("has {} options, but at most {MAX_OPTIONS} are priced at once", self.options.len());
            problems.push(Problem::new("--book", what).hint("cut it into several books"));
        }
        if self.target().is_some() {
            problems.extend(self.not_on_gpu());
        }
        Problems::check(problems)?;
        let costs: Vec<u64> = contracts.iter().map(|contract| contract.path_cost(self.greeks)).collect();
        let cut = match self.target() {
            Some(_) => Cut::for_gpu(self.paths(), &costs),
            None => Cut::new(self.paths(), &costs),
        };
        Ok((contracts, cut))
    }
}

#[cfg(test)]
mod tests;
