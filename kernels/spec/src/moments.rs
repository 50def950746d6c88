//! What can be asked of the kernel `moments`: columns of a table, or generated numbers.

use crate::problem::Problem;
use crate::quantity::Count;
use crate::table::TableSpec;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Numbers that are folded together; no block of generated numbers ends inside one.
pub const SUB_BLOCK: u64 = 4096;
/// Generated numbers in a block: about 5 ms of a core.
const BLOCK_NUMBERS: u64 = 1 << 20;
/// Blocks that a job has at least, when it has enough numbers.
const LEAST_BLOCKS: u64 = 32;

/// Moments of columns: count, mean, variance, skewness, kurtosis, minimum, maximum.
///
/// Of columns of CSV or Parquet, or of generated numbers. Variance is the sample's (divided by
/// n - 1); skewness is g1 and kurtosis is the excess g2, both without correction for small samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct MomentsSpec {
    /// The table.
    #[command(flatten)]
    #[serde(flatten)]
    pub table: TableSpec,
    /// Columns by name [default: every column that holds numbers]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Generated numbers instead of a file: normal:COUNT or uniform:COUNT, such as normal:1e9
    #[arg(long, value_name = "WHAT:COUNT")]
    pub generate: Option<Generate>,
    /// Seed of the generated numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// A distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Standard normal.
    Normal,
    /// Uniform between 0 and 1.
    Uniform,
}

/// Numbers to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generate {
    /// From which distribution.
    pub distribution: Distribution,
    /// How many.
    pub count: Count,
}

impl FromStr for Generate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = text.split_once(':').ok_or("expected WHAT:COUNT, such as normal:1e9")?;
        let distribution = match name {
            "normal" => Distribution::Normal,
            "uniform" => Distribution::Uniform,
            _ => return Err(format!("'{name}' is not a distribution: normal or uniform")),
        };
        Ok(Generate { distribution, count: count.parse()? })
    }
}

impl MomentsSpec {
    /// Everything that is wrong, as far as it shows without the file.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.table.reading_problems();
        match (self.table.files.is_empty(), self.generate) {
            (true, None) => out.push(Problem::new("FILE", "is missing, and so is --generate")),
            (false, Some(_)) => out.push(Problem::new("FILE", "and --generate exclude each other")),
            (true, Some(g)) if g.count.0 == 0 => {
                out.push(Problem::new("--generate", "must count at least 1 number"))
            }
            (true, Some(g)) if g.count.0 > 1 << 50 => {
                out.push(Problem::new("--generate", "counts at most 2^50"))
            }
            _ => {}
        }
        out
    }
}

/// Generated numbers in a block: a multiple of [`SUB_BLOCK`].
pub fn block_numbers(count: u64) -> u64 {
    let least = count.div_ceil(u64::from(crate::tree::MAX_BLOCKS));
    BLOCK_NUMBERS.min(count.div_ceil(LEAST_BLOCKS)).max(least).max(1).next_multiple_of(SUB_BLOCK)
}
