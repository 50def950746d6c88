//! What can be asked of the kernel `k-means`: columns of a table, or a generated mixture, and how many clusters.

use crate::problem::Problem;
use crate::quantity::{Count, InputPath};
use crate::table::TableSpec;
use crate::tree::MAX_BLOCKS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Clusters that a job may have.
pub const MAX_CLUSTERS: u32 = 65_536;
/// Columns that a row may have.
pub const MAX_COLUMNS: u32 = 4096;
/// Numbers that all centroids together may have: each thread holds their sums.
const MAX_CENTROIDS: u64 = 1 << 22;
/// Rows that are held and computed together; no block of generated rows ends inside one.
pub const TILE_ROWS: usize = 4096;
/// Generated numbers in a block: about 5 to 20 ms of a core.
const BLOCK_NUMBERS: u64 = 1 << 20;
/// Blocks that a job has at least, when it has enough rows.
const LEAST_BLOCKS: u64 = 32;

/// Clusters of rows by k-means (Lloyd 1982): centroids, sizes, inertia.
///
/// Of columns of CSV or Parquet, or of a generated mixture. The start is that of k-means++ on a sample of the rows, or a
/// file's. Rows with a missing value are left out and counted. Distances are Euclidean, in the columns' own units unless
/// --scale is given; inertia is the sum of squared distances of rows from their centroids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct KMeansSpec {
    /// The table.
    #[command(flatten)]
    #[serde(flatten)]
    pub table: TableSpec,
    /// Columns by name [default: those of --start, else every column that holds numbers]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// How many clusters [default: as many as --start has rows]
    #[arg(long, value_name = "N")]
    pub clusters: Option<u32>,
    /// Rounds at most; each moves every centroid once
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub rounds: u32,
    /// Stop when the squared distances that the centroids move in a round add up to at most this share of the columns'
    /// mean variance; with 0, when no centroid moves
    #[arg(long, value_name = "SHARE", default_value_t = 1e-4)]
    pub tolerance: f64,
    /// Divide each column by its standard deviation before distances are taken
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scale: bool,
    /// Rows that take part, such as 'delay > 0 and carrier in (''AA'', ''UA'')' [default: all]
    #[arg(long = "where", value_name = "FILTER")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Centroids to start from, one for each row: CSV or Parquet with a column of the same name for each of --columns
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<InputPath>,
    /// The centroids of that file, row by row, once it was read.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub centroids: Vec<Vec<f64>>,
    /// Generated rows instead of a file: mixture:ROWSxCOLUMNSxPARTS, such as mixture:1e7x16x32. A row is the centre of a
    /// random part plus noise, both of standard normal numbers
    #[arg(long, value_name = "WHAT:SIZE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<Mixture>,
    /// Seed of the start and of generated rows
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Rows to generate: of normal distributions around centres that are normal numbers themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mixture {
    /// How many rows.
    pub rows: Count,
    /// How many numbers in each.
    pub columns: u32,
    /// How many centres.
    pub parts: u32,
}

impl FromStr for Mixture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("'{text}' is not mixture:ROWSxCOLUMNSxPARTS, such as mixture:1e7x16x32");
        let sizes: Vec<&str> = text.strip_prefix("mixture:").ok_or_else(form)?.split('x').collect();
        let [rows, columns, parts] = sizes[..] else { return Err(form()) };
        let number = |text: &str| text.parse::<Count>().ok().and_then(|n| u32::try_from(n.0).ok());
        Ok(Mixture {
            rows: rows.parse()?,
            columns: number(columns).ok_or_else(form)?,
            parts: number(parts).ok_or_else(form)?,
        })
    }
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mixture:{}x{}x{}", self.rows, self.columns, self.parts)
    }
}

impl Mixture {
    /// Rows in a block: a multiple of [`TILE_ROWS`].
    pub fn block_rows(&self) -> u64 {
        let least = self.rows.0.div_ceil(u64::from(MAX_BLOCKS));
        let wanted = (BLOCK_NUMBERS / u64::from(self.columns.max(1))).min(self.rows.0.div_ceil(LEAST_BLOCKS));
        wanted.max(least).max(1).next_multiple_of(TILE_ROWS as u64)
    }

    fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        let mut wrong = |what: String| out.push(Problem::new("--generate", what));
        if self.rows.0 == 0 || self.rows.0 > 1 << 40 {
            wrong("must have from 1 to 2^40 rows".into());
        }
        if !(1..=MAX_COLUMNS).contains(&self.columns) {
            wrong(format!("must have from 1 to {MAX_COLUMNS} columns"));
        }
        if !(1..=MAX_CLUSTERS).contains(&self.parts) {
            wrong(format!("must have from 1 to {MAX_CLUSTERS} parts"));
        }
        out
    }
}

impl KMeansSpec {
    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.table.reading_problems();
        match (self.table.files.is_empty(), self.generate) {
            (true, None) => out.push(Problem::new("FILE", "is missing, and so is --generate")),
            (false, Some(_)) => out.push(Problem::new("FILE", "and --generate exclude each other")),
            (true, Some(generate)) => {
                out.extend(generate.problems());
                if !self.columns.is_empty() || self.filter.is_some() {
                    let what = "and --where are for files; generated columns are x1, x2, ...";
                    out.push(Problem::new("--columns", what));
                }
            }
            (false, None) => {}
        }
        for (i, name) in self.columns.iter().enumerate() {
            if self.columns[..i].contains(name) {
                out.push(Problem::new("--columns", format!("names '{name}' twice")));
            }
        }
        out.extend(self.limits());
        out
    }

    fn limits(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        match self.clusters {
            None if self.start.is_none() && self.centroids.is_empty() => out.push(
                Problem::new("--clusters", "is missing")
                    .hint("such as --clusters 8; or --start names centroids"),
            ),
            Some(n) if !(1..=MAX_CLUSTERS).contains(&n) => {
                out.push(Problem::new("--clusters", format!("is {n}, but must be from 1 to {MAX_CLUSTERS}")));
            }
            _ => {}
        }
        if self.rounds == 0 {
            out.push(Problem::new("--rounds", "must be at least 1"));
        }
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            let what = format!("is {}, but must be 0 or more, as a share of the variance", self.tolerance);
            out.push(Problem::new("--tolerance", what));
        }
        out
    }

    /// What is wrong with the number of columns, once they are known.
    pub fn size_problem(&self, columns: usize) -> Option<Problem> {
        let clusters = self.clusters.map_or(self.centroids.len() as u64, u64::from);
        if columns > MAX_COLUMNS as usize {
            return Some(Problem::new(
                "--columns",
                format!("are {columns}, and at most {MAX_COLUMNS} are possible"),
            ));
        }
        let numbers = clusters * columns as u64;
        (numbers > MAX_CENTROIDS).then(|| {
            let what = format!("times columns is {numbers}, and must be at most {MAX_CENTROIDS}");
            Problem::new("--clusters", what).hint("ask for fewer clusters, or name fewer --columns")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixtures_are_read_and_written() {
        let mixture: Mixture = "mixture:1e6x16x3_2".parse().unwrap();
        assert_eq!(mixture, Mixture { rows: Count(1_000_000), columns: 16, parts: 32 });
        assert_eq!(mixture.to_string(), "mixture:1000000x16x32");
        for text in [
            "",
            "mixture",
            "mixture:1e6",
            "mixture:1e6x16",
            "normal:1x2x3",
            "mixture:1x2x3x4",
            "mixture:1x-2x3",
        ] {
            assert!(text.parse::<Mixture>().is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_of_a_mixture_end_between_tiles() {
        for (rows, columns) in [(1, 1), (5000, 3), (10_000_000, 16), (1 << 40, 4096), (200_000, 4096)] {
            let mixture = Mixture { rows: Count(rows), columns, parts: 1 };
            let block = mixture.block_rows();
            assert!(block.is_multiple_of(TILE_ROWS as u64) && rows.div_ceil(block) <= u64::from(MAX_BLOCKS));
        }
    }
}
