//! What can be asked of the kernel `quantile`: exact quantiles of columns.

use crate::problem::Problem;
use crate::table::TableSpec;
use serde::{Deserialize, Serialize};

/// Quantiles of one column that may be asked for at once.
pub const MAX_SHARES: usize = 1000;
/// Columns that may be asked for at once.
pub const MAX_COLUMNS: usize = 64;

/// Exact quantiles of columns, however many rows there are.
///
/// Of CSV and Parquet, in two or three rounds as a rule: the first counts values in buckets, the next ones look only
/// into the buckets that hold a quantile. Missing values are left out, and counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct QuantileSpec {
    /// The table.
    #[command(flatten)]
    #[serde(flatten)]
    pub table: TableSpec,
    /// Columns by name [default: every column that holds numbers]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    #[serde(default)]
    pub of: Vec<String>,
    /// Shares from 0 to 1: 0 is the smallest value, 0.5 the median, 1 the largest
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "0.25,0.5,0.75")]
    pub at: Vec<f64>,
    /// What a quantile is where it falls between two values
    #[arg(long, value_enum, default_value_t = Method::Nearest)]
    pub method: Method,
    /// Rows that take part, such as 'delay > 0 and carrier in (''AA'', ''UA'')' [default: all]
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
}

/// What a quantile is where it falls between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A value that is there: the smallest of which the share is not smaller (nearest rank)
    Nearest,
    /// On the line between the two, as numpy's default and DuckDB's quantile_cont
    Linear,
}

impl QuantileSpec {
    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.table.problems();
        for (flag, count, most) in [("--of", self.of.len(), MAX_COLUMNS), ("--at", self.at.len(), MAX_SHARES)]
        {
            if count > most {
                out.push(Problem::new(flag, format!("names {count}, and at most {most} are taken")));
            }
        }
        for (i, name) in self.of.iter().enumerate() {
            if self.of[..i].contains(name) {
                out.push(Problem::new("--of", format!("names '{name}' twice")));
            }
        }
        for share in self.at.iter().filter(|share| !(0.0..=1.0).contains(*share)) {
            let problem = Problem::new("--at", format!("{share} is not a share from 0 to 1"));
            out.push(problem.hint("the 99th percentile is 0.99"));
        }
        out
    }
}
