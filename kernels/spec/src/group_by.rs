//! What can be asked of the kernel `group-by`: aggregates of columns for each key.

use crate::class::Class;
use crate::problem::Problem;
use crate::table::TableSpec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Columns that may make up a key.
pub const MAX_KEYS: usize = 8;

/// Aggregates of a table's columns for each key: counts, sums, means, extremes, variances, quantiles.
///
/// Of CSV and Parquet. Sums, and means from them, are exact, then rounded once; quantiles come from a sketch that merges
/// exactly and is right within 1 part in 256. Rows whose key is missing make a group of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct GroupBySpec {
    /// The table.
    #[command(flatten)]
    #[serde(flatten)]
    pub table: TableSpec,
    /// Columns whose values make the key [default: none, the whole table is one group]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub by: Vec<String>,
    /// What to compute: count, count(X), sum(X), mean(X), min(X), max(X), variance(X), stddev(X), median(X), quantile(X,P)
    #[arg(long, value_name = "LIST", default_value = "count")]
    pub compute: Aggregates,
    /// Rows that take part, such as 'delay > 0 and carrier in (''AA'', ''UA'')' [default: all]
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
    /// Groups in the answer at most, the first by key [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Groups to hold at most; each takes 50 to 300 bytes in every thread
    #[arg(long, value_name = "N", default_value_t = 50_000_000)]
    pub max_groups: u64,
}

/// One column of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What is computed.
    pub function: Function,
    /// Of which column; `None` for the number of rows.
    pub column: Option<String>,
}

/// What is computed of a group's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// How many are there.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The sample variance (divided by n - 1).
    Variance,
    /// Its root.
    Stddev,
    /// The value of which this share is not larger (nearest rank).
    Quantile(f64),
}

/// A list of aggregates, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregates(pub Vec<Aggregate>);

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.as_deref().unwrap_or_default();
        match self.function {
            Function::Count if self.column.is_none() => f.write_str("count"),
            Function::Count => write!(f, "count({column})"),
            Function::Sum => write!(f, "sum({column})"),
            Function::Mean => write!(f, "mean({column})"),
            Function::Min => write!(f, "min({column})"),
            Function::Max => write!(f, "max({column})"),
            Function::Variance => write!(f, "variance({column})"),
            Function::Stddev => write!(f, "stddev({column})"),
            Function::Quantile(share) => write!(f, "quantile({column},{share})"),
        }
    }
}

impl FromStr for Aggregate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "count" {
            return Ok(Aggregate { function: Function::Count, column: None });
        }
        let parts =
            text.split_once('(').and_then(|(name, rest)| Some((name.trim(), rest.strip_suffix(')')?.trim())));
        let (name, inner) = parts
            .filter(|(_, inner)| !inner.is_empty())
            .ok_or_else(|| format!("'{text}' is no aggregate: write it as sum(COLUMN), or count"))?;
        let (mut column, mut function) = (inner, None);
        if name == "quantile" {
            let (before, share) =
                inner.rsplit_once(',').ok_or("quantile takes a column and a share, as in quantile(x,0.9)")?;
            let share: f64 =
                share.trim().parse().map_err(|_| format!("'{share}' is not a share from 0 to 1"))?;
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("'{share}' is not a share from 0 to 1"));
            }
            (column, function) = (before.trim(), Some(Function::Quantile(share)));
        }
        let function = match name {
            "quantile" => function.expect("it was just read"),
            "count" => Function::Count,
            "sum" => Function::Sum,
            "mean" | "avg" => Function::Mean,
            "min" => Function::Min,
            "max" => Function::Max,
            "variance" | "var" => Function::Variance,
            "stddev" | "std" => Function::Stddev,
            "median" => Function::Quantile(0.5),
            _ => {
                return Err(format!(
                    "'{name}' is not among count, sum, mean, min, max, variance, stddev, median, quantile"
                ));
            }
        };
        Ok(Aggregate { function, column: Some(column.to_owned()) })
    }
}

impl fmt::Display for Aggregates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, aggregate) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{aggregate}")?;
        }
        Ok(())
    }
}

impl FromStr for Aggregates {
    type Err = String;

    /// Splits at commas outside parentheses.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut out, mut depth, mut from) = (Vec::new(), 0i32, 0);
        for (i, c) in text.char_indices() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if c == ',' && depth == 0 {
                out.push(text[from..i].parse()?);
                from = i + 1;
            }
        }
        out.push(text[from..].parse()?);
        Ok(Aggregates(out))
    }
}

impl Serialize for Aggregates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Aggregates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl GroupBySpec {
    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.table.problems();
        if self.by.len() > MAX_KEYS {
            out.push(Problem::new(
                "--by",
                format!("names {} columns, and at most {MAX_KEYS} make a key", self.by.len()),
            ));
        }
        for (i, name) in self.by.iter().enumerate() {
            if self.by[..i].contains(name) {
                out.push(Problem::new("--by", format!("names '{name}' twice")));
            }
        }
        if self.max_groups == 0 || self.max_groups > 1 << 31 {
            out.push(Problem::new("--max-groups", "must be from 1 to 2^31"));
        }
        out
    }

    /// Whether the answer is exact: all but variances are.
    pub fn class(&self) -> Class {
        let rounds = |a: &Aggregate| matches!(a.function, Function::Variance | Function::Stddev);
        if self.compute.0.iter().any(rounds) { Class::PortableF64 } else { Class::Exact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_read_and_written() {
        let text = "count,sum(a),count(b c),quantile(x,0.25),stddev(y)";
        let all: Aggregates = " count, sum(a) ,count(b c),quantile( x , 0.25),std(y)".parse().unwrap();
        assert_eq!(all.to_string(), text);
        assert_eq!("median(x)".parse::<Aggregates>().unwrap().to_string(), "quantile(x,0.5)");
        for text in ["", "sum", "sum()", "total(x)", "quantile(x)", "quantile(x,2)", "sum(x"] {
            assert!(text.parse::<Aggregates>().is_err(), "{text}");
        }
    }
}
