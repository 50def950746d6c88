//! What can be asked of the kernel `histogram`: counts of one column's values, or of two columns' pairs, in bins.

use crate::problem::Problem;
use crate::table::TableSpec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Bins at most, those of two columns multiplied.
pub const MAX_CELLS: usize = 1 << 20;

/// Counts of a column's values in bins, or of two columns' pairs of values.
///
/// Of CSV and Parquet. A bin holds its lower edge and not its upper one; the last bin holds both. Where neither edges nor
/// a range are given, a first round finds the smallest and the largest value. Rows in which a column is missing are left
/// out, and counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct HistogramSpec {
    /// The table.
    #[command(flatten)]
    #[serde(flatten)]
    pub table: TableSpec,
    /// The column, or two
    #[arg(long, value_name = "COLUMN", required = true, value_delimiter = ',')]
    pub of: Vec<String>,
    /// Bins: how many (50), how wide (width=0.5), or their edges (0,1,10,100); for two columns once, or once for each
    #[arg(long, value_name = "BINS", default_value = "20", allow_hyphen_values = true)]
    pub bins: Vec<Bins>,
    /// From where to where they go, in the column's units; for two columns once, or once for each [default: all values]
    #[arg(long, value_name = "LOW:HIGH", allow_hyphen_values = true)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub range: Vec<Range>,
    /// Rows that take part, such as 'delay > 0 and carrier in (''AA'', ''UA'')' [default: all]
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
}

/// The bins of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Bins {
    /// So many, of one width.
    Count(usize),
    /// As many as it takes of this width.
    Width(f64),
    /// Between these edges, which rise.
    Edges(Vec<f64>),
}

/// From where to where bins go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lower edge of the first bin.
    pub low: f64,
    /// The upper edge of the last bin; more than `low`.
    pub high: f64,
}

fn finite(text: &str) -> Result<f64, String> {
    let x: Result<f64, _> = text.trim().parse();
    x.ok().filter(|x| x.is_finite()).ok_or_else(|| format!("'{text}' is not a finite number"))
}

impl FromStr for Bins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(width) = text.strip_prefix("width=") {
            let width = finite(width)?;
            return if width > 0.0 { Ok(Bins::Width(width)) } else { Err("a width is more than 0".into()) };
        }
        if !text.contains(',') {
            let count = text.parse().ok().filter(|n| (1..=MAX_CELLS).contains(n));
            return count.map(Bins::Count).ok_or_else(|| {
                format!(
                    "'{text}' is neither a number of bins up to {MAX_CELLS}, nor width=W, nor edges A,B,C"
                )
            });
        }
        let edges: Vec<f64> = text.split(',').map(finite).collect::<Result<_, _>>()?;
        match edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(format!("edges must rise, and {} comes before {}", pair[0], pair[1])),
            None => Ok(Bins::Edges(edges)),
        }
    }
}

impl fmt::Display for Bins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bins::Count(count) => write!(f, "{count}"),
            Bins::Width(width) => write!(f, "width={width}"),
            Bins::Edges(edges) => {
                let texts: Vec<String> = edges.iter().map(f64::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once(':').ok_or("expected LOW:HIGH, such as 0:100")?;
        let range = Range { low: finite(low)?, high: finite(high)? };
        let wide = range.low < range.high && (range.high - range.low).is_finite();
        if wide { Ok(range) } else { Err(format!("'{text}': LOW must be less than HIGH")) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.low, self.high)
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Bins, Range);

impl HistogramSpec {
    /// The bins of the `nth` column.
    pub fn bins_of(&self, nth: usize) -> &Bins {
        &self.bins[nth.min(self.bins.len() - 1)]
    }

    /// The range of the `nth` column's bins, where one is given.
    pub fn range_of(&self, nth: usize) -> Option<Range> {
        self.range.get(nth).or(self.range.last()).copied()
    }

    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.table.problems();
        let columns = self.of.len();
        if columns > 2 {
            out.push(Problem::new("--of", format!("names {columns} columns, and at most 2 are taken")));
        } else if columns == 2 && self.of[0] == self.of[1] {
            out.push(Problem::new("--of", format!("names '{}' twice", self.of[0])));
        }
        for (flag, given) in [("--bins", self.bins.len()), ("--range", self.range.len())] {
            if given > columns {
                out.push(Problem::new(flag, format!("is given {given} times for {columns} columns")));
            }
        }
        if self.bins.is_empty() {
            out.push(Problem::new("--bins", "is missing"));
            return out;
        }
        let edges = |bins: &Bins| matches!(bins, Bins::Edges(_));
        if !self.range.is_empty() && (0..columns).all(|nth| edges(self.bins_of(nth))) {
            out.push(Problem::new("--range", "goes with a number or a width of bins, not with edges"));
        }
        let known = |nth| match self.bins_of(nth) {
            Bins::Count(count) => *count,
            Bins::Edges(edges) => edges.len() - 1,
            Bins::Width(_) => 1,
        };
        let cells: usize = (0..columns.min(2)).map(known).product();
        if cells > MAX_CELLS {
            out.push(Problem::new(
                "--bins",
                format!("makes {cells} bins, and at most {MAX_CELLS} are taken"),
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_and_ranges_are_read_and_written() {
        for text in ["50", "width=0.5", "0,1,10.5,100", "-3,-1"] {
            let bins: Bins = text.parse().unwrap();
            assert_eq!(bins.to_string(), text);
            assert_eq!(serde_json::from_str::<Bins>(&serde_json::to_string(&bins).unwrap()).unwrap(), bins);
        }
        for text in ["", "0", "-1", "1.5", "width=0", "width=nan", "1,1", "2,1", "1,inf", "1,", "2000000"] {
            assert!(text.parse::<Bins>().is_err(), "{text}");
        }
        assert_eq!("-1:2.5".parse(), Ok(Range { low: -1.0, high: 2.5 }));
        for text in ["", "1", "1:", "2:1", "1:1", "0:inf", "-1e308:1e308"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
