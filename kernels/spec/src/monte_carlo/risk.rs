//! What can be asked of a portfolio's value at risk: the price files, positions, models, horizon and levels,
//! their limits, and the rule by which the scenarios are cut into blocks.
//!
//! A resolved spec has every default filled in and one position for each asset, so the grid follows from it
//! alone.

use crate::problem::Problem;
use crate::quantity::InputPath;
use crate::tree::Grid;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How many scenarios are drawn where the user names no number.
pub const DEFAULT_SCENARIOS: u64 = 1_000_000;
/// The most scenarios of one job. The exactness of a partial's integers is proved for this many.
pub const MAX_SCENARIOS: u64 = 1 << 40;
/// Scenarios are drawn in chunks of this many, four batches of 64, and a chunk never straddles two blocks.
pub const CHUNK: u64 = 256;
/// The longest horizon in days.
pub const MAX_HORIZON: u32 = 10_000;
/// The most assets of a portfolio.
pub const MAX_ASSETS: usize = 256;
/// How many scenarios must lie beyond a level for its interval to mean anything.
pub const MIN_TAIL: f64 = 20.0;
/// The gross value of a portfolio for which no positions are given.
pub const DEFAULT_VALUE: f64 = 1_000_000.0;

/// A distribution of the portfolio's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Days of the history drawn with replacement, the same day for all assets
    Bootstrap,
    /// Log returns with the history's mean and covariance, normally distributed
    Normal,
    /// Log returns with a multivariate Student-t distribution fitted by maximum likelihood
    StudentT,
}

impl Model {
    /// Every model, in the order of the answer.
    pub const ALL: [Model; 3] = [Model::Bootstrap, Model::Normal, Model::StudentT];
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Model::Bootstrap => "bootstrap",
            Model::Normal => "normal",
            Model::StudentT => "student-t",
        })
    }
}

/// How much of an asset the portfolio holds, written `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The asset: the file's name without its extension, or the column where one file gives several assets.
    pub asset: String,
    /// Money today; negative for a short position.
    pub value: f64,
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not NAME=VALUE, such as sp500=600000 or sp500=-2.5e5");
        let (asset, value) = text.rsplit_once('=').ok_or_else(wrong)?;
        let value: f64 = value.replace('_', "").parse().map_err(|_| wrong())?;
        if asset.is_empty() || !value.is_finite() {
            return Err(wrong());
        }
        Ok(Position { asset: asset.to_owned(), value })
    }
}

/// Parameters of value at risk and expected shortfall.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[command(next_help_heading = "Value at risk of a portfolio")]
pub struct RiskSpec {
    /// Daily prices: CSV files with a header. May be repeated; days that all files have are used
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub prices: Vec<InputPath>,
    /// The column of dates, written 2018-12-31 or 12/31/2018 [default: the first]
    #[arg(long, value_name = "NAME")]
    pub date_column: Option<String>,
    /// The column of prices. Once for all files or once for each; several of one file are several assets
    /// [default: "Adj Close", else "Close", else the only column of numbers]
    #[arg(long = "column", value_name = "NAME")]
    pub columns: Vec<String>,
    /// What the portfolio holds of an asset, in money; negative is short. May be repeated [default: 1000000
    /// split equally over the assets]
    #[arg(long = "position", value_name = "NAME=VALUE", value_delimiter = ',')]
    pub positions: Vec<Position>,
    /// Distributions of the loss, all from one job [default: bootstrap,normal,student-t]
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',', value_enum)]
    pub models: Vec<Model>,
    /// Over how many trading days the loss is taken [default: 1]
    #[arg(long, value_name = "DAYS")]
    pub horizon: Option<u32>,
    /// Confidence levels between 0.5 and 1 [default: 0.95,0.99]
    #[arg(long = "level", value_name = "LEVEL", value_delimiter = ',')]
    pub levels: Vec<f64>,
}

impl RiskSpec {
    /// Whether no value at risk is asked for: whether there is no price file.
    pub fn is_unused(&self) -> bool {
        self.prices.is_empty()
    }

    /// The flags of this group that are given, to name them where they have no meaning.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("--prices", !self.prices.is_empty()),
            ("--date-column", self.date_column.is_some()),
            ("--column", !self.columns.is_empty()),
            ("--position", !self.positions.is_empty()),
            ("--model", !self.models.is_empty()),
            ("--horizon", self.horizon.is_some()),
            ("--level", !self.levels.is_empty()),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// The same spec with the defaults that need no file filled in, and models and levels named once each.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        if self.models.is_empty() {
            self.models = Model::ALL.to_vec();
        }
        if self.levels.is_empty() {
            self.levels = vec![0.95, 0.99];
        }
        self.horizon.get_or_insert(1);
        keep_first(&mut self.models);
        keep_first(&mut self.levels);
        self
    }

    /// The horizon in days.
    pub fn days(&self) -> u32 {
        self.horizon.unwrap_or(1)
    }

    /// Everything that is wrong and can be seen without reading a file. The spec has its defaults filled in.
    pub fn problems(&self, scenarios: u64) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |place: &str, what: String, hint: &str| {
            problems.push(Problem::new(place, what).hint(hint));
        };
        if self.prices.is_empty() {
            wrong("--prices", "a price file is needed".into(), "give a CSV file with dates and prices");
        }
        let (files, columns) = (self.prices.len(), self.columns.len());
        if files > 1 && columns > 1 && columns != files {
            let what = format!("{columns} columns for {files} files");
            wrong("--column", what, "give one for all files, or one for each file in their order");
        }
        if !(1..=MAX_HORIZON).contains(&self.days()) {
            let what = format!("{} days, but a horizon has 1 to {MAX_HORIZON} days", self.days());
            wrong("--horizon", what, "1 is a day, 10 is two weeks of trading");
        }
        if !(1..=MAX_SCENARIOS).contains(&scenarios) {
            let what = format!("{scenarios} scenarios, but a job has 1 to {MAX_SCENARIOS}");
            wrong("--scenarios", what, "1e6 is a good start");
        }
        for &level in &self.levels {
            if !(level > 0.5 && level < 1.0) {
                wrong("--level", format!("{level} does not lie between 0.5 and 1"), "0.99 is 99 %");
            } else if (scenarios as f64) * (1.0 - level) < MIN_TAIL - 1e-6 {
                let needed = (MIN_TAIL / (1.0 - level)).ceil();
                let what = format!("{scenarios} scenarios leave fewer than {MIN_TAIL} beyond {level}");
                wrong("--scenarios", what, &format!("give at least {needed}"));
            }
        }
        self.position_problems(&mut problems);
        problems
    }

    fn position_problems(&self, problems: &mut Vec<Problem>) {
        for (i, position) in self.positions.iter().enumerate() {
            if self.positions[..i].iter().any(|p| p.asset == position.asset) {
                let what = format!("'{}' is given twice", position.asset);
                problems.push(Problem::new("--position", what).hint("add the two values up"));
            }
            if !position.value.is_finite() {
                problems.push(Problem::new("--position", format!("'{}' is not a number", position.asset)));
            }
        }
        let gross = self.positions.iter().map(|p| p.value.abs()).sum::<f64>();
        if !self.positions.is_empty() && (gross <= 0.0 || gross == f64::INFINITY) {
            let what = format!("the positions have a gross value of {gross}, and a loss has no measure");
            problems
                .push(Problem::new("--position", what).hint("give at least one a value, such as NAME=1e6"));
        }
    }

    /// How `scenarios` of a resolved spec are cut into blocks: chunks of [`CHUNK`] scenarios spread evenly
    /// ([`Grid::share`] over `scenarios.div_ceil(CHUNK)`), about 40 ms of a core to a block, and at least 32
    /// blocks while each has 65,536 scenarios: a block's partial has some ten thousand bins for each model,
    /// and writing and merging them should cost little beside the scenarios. No block has more than 2^20
    /// scenarios.
    pub fn grid(&self, scenarios: u64) -> Grid {
        const BLOCK_NS: u64 = 40_000_000;
        const LEAST_BLOCKS: u64 = 32;
        const SMALLEST_BLOCK: u64 = 1 << 16;
        const LARGEST_BLOCK: u64 = 1 << 20;
        let per_block = (BLOCK_NS / self.scenario_ns()).clamp(CHUNK, LARGEST_BLOCK);
        let for_speed = scenarios.div_ceil(per_block);
        let for_spread = (scenarios / SMALLEST_BLOCK).min(LEAST_BLOCKS);
        let chunks = scenarios.div_ceil(CHUNK).max(1);
        Grid::new(for_speed.max(for_spread).clamp(1, chunks))
    }

    /// What one scenario costs over all models, in nanoseconds of a core with AVX-512, roughly: it only sizes
    /// blocks.
    fn scenario_ns(&self) -> u64 {
        let (days, assets) = (u64::from(self.days()), self.positions.len().max(1) as u64);
        let losses = 5 + 2 * assets + assets * assets / 16;
        let model_ns = |model: &Model| match model {
            Model::Bootstrap => losses + days * (2 + assets),
            Model::Normal => losses + 3 * assets,
            Model::StudentT => losses + days * (8 + 3 * assets),
        };
        self.models.iter().map(model_ns).sum::<u64>().max(1)
    }
}

/// Drops all but the first of equal values.
fn keep_first<T: PartialEq + Copy>(values: &mut Vec<T>) {
    let mut seen = Vec::new();
    values.retain(|&value| {
        let new = !seen.contains(&value);
        seen.push(value);
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use proptest::prelude::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        spec: RiskSpec,
    }

    fn parse(line: &str) -> RiskSpec {
        Cli::try_parse_from(line.split_whitespace()).unwrap().spec
    }

    #[test]
    fn flags_repeat_and_take_lists() {
        let spec = parse(
            "x --prices a.csv,b.csv --prices c.csv --model normal,student-t --model normal --level 0.9,0.99 \
             --position a=-1_000,b=2e6 --position c=0 --column Close",
        )
        .with_defaults();
        assert_eq!(spec.prices.len(), 3);
        assert_eq!(spec.models, [Model::Normal, Model::StudentT]);
        assert_eq!(spec.levels, [0.9, 0.99]);
        assert_eq!(spec.positions[0], Position { asset: "a".into(), value: -1000.0 });
        assert_eq!(spec.days(), 1);
        assert_eq!(spec.problems(1_000_000), []);
        assert_eq!(spec.given(), ["--prices", "--column", "--position", "--model", "--horizon", "--level"]);
    }

    #[test]
    fn defaults_are_all_models_a_day_and_two_levels() {
        let spec = parse("x --prices a.csv").with_defaults();
        assert_eq!((spec.models.as_slice(), spec.days()), (Model::ALL.as_slice(), 1));
        assert_eq!(spec.levels, [0.95, 0.99]);
        assert!(!spec.is_unused() && parse("x").is_unused());
    }

    #[test]
    fn words_that_are_no_position() {
        for text in ["a", "=5", "a=", "a=five", "a=nan", "a=inf"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let line = "x --horizon 0 --level 0.5,1,0.99999 --position a=0 --position a=0 --column p --column q";
        let mut spec = parse(line).with_defaults();
        spec.levels.push(f64::NAN);
        spec.positions.push(Position { asset: "b".into(), value: f64::NAN });
        let places: Vec<String> = spec.problems(1000).into_iter().map(|p| p.place).collect();
        let expected =
            ["--prices", "--horizon", "--level", "--level", "--scenarios", "--level", "--position"];
        assert_eq!(places[..7], expected);
        assert_eq!(places.len(), 8, "the position that is not a number: {places:?}");
        assert_eq!(spec.problems(0)[2].place, "--scenarios");
        spec.prices = parse("x --prices a --prices b --prices c").prices;
        assert_eq!(
            spec.problems(1_000_000)[0].to_string(),
            "--column: 2 columns for 3 files (give one for all \
             files, or one for each file in their order)"
        );
    }

    #[test]
    fn small_jobs_spread_and_large_ones_have_blocks_of_a_moment() {
        let mut spec = parse("x --prices a --position a=1").with_defaults();
        assert_eq!(spec.grid(1).blocks(), 1);
        assert_eq!(spec.grid(1_000_000).blocks(), 15);
        assert_eq!(spec.grid(10_000_000).blocks(), 32);
        let blocks = u64::from(spec.grid(10_000_000_000).blocks());
        let block_ns = 10_000_000_000 / blocks * spec.scenario_ns();
        assert!((30_000_000..42_000_000).contains(&block_ns), "{block_ns}");
        spec.horizon = Some(MAX_HORIZON);
        assert!(u64::from(spec.grid(1_000_000).blocks()) > 500);
    }

    proptest! {
        #[test]
        fn no_block_is_empty_or_too_large(
            scenarios in 1u64..=MAX_SCENARIOS,
            shift in 0u32..40,
            days in 1u32..=MAX_HORIZON,
        ) {
            let scenarios = (scenarios >> shift).max(1);
            let mut spec = parse("x --prices a --position a=1").with_defaults();
            spec.horizon = Some(days);
            let grid = spec.grid(scenarios);
            let chunks = scenarios.div_ceil(CHUNK);
            prop_assert!(u64::from(grid.blocks()) <= chunks);
            let largest = grid.share(chunks, 0);
            prop_assert!((largest.end - largest.start) * CHUNK <= 1 << 20);
        }
    }
}
