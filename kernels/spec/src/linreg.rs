//! What can be asked of the kernel `linreg`: least squares of one column on others.

use crate::problem::Problem;
use crate::table::TableSpec;
use serde::{Deserialize, Serialize};

/// Columns that may explain another.
pub const MAX_COLUMNS: usize = 100;

/// Least squares of a column on others: coefficients, standard errors, t, R2, residual standard error.
///
/// Of CSV and Parquet, in one pass. Sums of products carry twice the digits of f64. Rows in which one of the columns is
/// missing are left out, and counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct LinregSpec {
    /// The table.
    #[command(flatten)]
    #[serde(flatten)]
    pub table: TableSpec,
    /// The column to be explained
    #[arg(long, value_name = "COLUMN", required = true)]
    pub y: String,
    /// The columns that explain it
    #[arg(long, value_name = "COLUMNS", required = true, value_delimiter = ',')]
    pub x: Vec<String>,
    /// Fit a plane through the origin; R2 is then measured from zero, not from the mean
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_intercept: bool,
    /// Rows that take part, such as 'delay > 0 and carrier in (''AA'', ''UA'')' [default: all]
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
}

impl LinregSpec {
    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.table.problems();
        if self.x.len() > MAX_COLUMNS {
            let what = format!("names {} columns, and at most {MAX_COLUMNS} are taken", self.x.len());
            out.push(Problem::new("--x", what));
        }
        for (i, name) in self.x.iter().enumerate() {
            if self.x[..i].contains(name) {
                out.push(Problem::new("--x", format!("names '{name}' twice")));
            }
            if *name == self.y {
                out.push(Problem::new("--x", format!("names '{name}', which is --y")));
            }
        }
        out
    }
}
