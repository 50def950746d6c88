//! The answer: which ranks a quantile is made of, and the quantiles.

use super::key::{as_int, as_number};
use super::search::{Search, Target};
use crate::group_by::Cell;
use crate::table::value;
use muster_spec::quantile::{Method, QuantileSpec};
use muster_spec::table::Kind;
use serde::Serialize;
use std::fmt;

/// Columns side by side for people, and the characters of each.
const BESIDE: usize = 4;
const WIDTH: usize = 16;

/// Quantiles of columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantileAnswer {
    /// What a quantile between two values is.
    pub method: Method,
    /// In the order in which they were asked for.
    pub columns: Vec<ColumnQuantiles>,
    /// Rows read.
    pub rows: u64,
    /// Rows that took part.
    pub used: u64,
}

/// Quantiles of a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnQuantiles {
    /// The column's name.
    pub column: String,
    /// Values that are there, in the rows that took part.
    pub values: u64,
    /// Values that are missing there.
    pub missing: u64,
    /// In the order in which they were asked for.
    pub quantiles: Vec<Quantile>,
}

/// One quantile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantile {
    /// The share of values that are not larger.
    pub at: f64,
    /// In the column's units; missing where there is no value.
    pub value: Cell,
}

/// Where among `n` values in order, from 0, a quantile lies: `(n - 1) share`, as numpy's `linear`
/// (Hyndman and Fan 1996, definition 7).
fn place(share: f64, n: u64) -> f64 {
    (n - 1) as f64 * share
}

/// The ranks, from 0, whose values the quantiles of `n` values are made of: one for each share, or two.
pub(super) fn ranks(spec: &QuantileSpec, n: u64) -> Vec<u64> {
    if n == 0 {
        return Vec::new();
    }
    let nearest = |&share: &f64| ((share * n as f64).ceil() as u64).clamp(1, n) - 1;
    let both = |&share: &f64| {
        let place = place(share, n);
        [place.floor(), place.ceil()].map(|rank| (rank as u64).min(n - 1))
    };
    match spec.method {
        Method::Nearest => spec.at.iter().map(nearest).collect(),
        Method::Linear => spec.at.iter().flat_map(both).collect(),
    }
}

/// A share of the way from `a` to `b`, from the nearer end.
fn between(a: f64, b: f64, share: f64) -> f64 {
    let way = b - a;
    match way.is_finite() {
        true if share < 0.5 => a + way * share,
        true => b - way * (1.0 - share),
        false => a * (1.0 - share) + b * share,
    }
}

pub(super) fn of(
    spec: &QuantileSpec,
    kinds: &[Kind],
    found: &[Search],
    (rows, used): (u64, u64),
) -> QuantileAnswer {
    let column = |((column, &kind), search): ((&String, &Kind), &Search)| {
        let key = |target: &Target| match *target {
            Target::Found(key) => key,
            Target::In(..) => unreachable!("no window is left"),
        };
        let keys: Vec<u64> = search.targets.iter().map(key).collect();
        let exact = |key: u64| match kind {
            Kind::Float => Cell::Float(as_number(kind, key)),
            Kind::Int => Cell::Int(as_int(key).into()),
            kind => Cell::Text(value::show(kind, as_int(key))),
        };
        let value = |nth: usize, share: f64| match spec.method {
            _ if keys.is_empty() => Cell::Missing,
            Method::Nearest => exact(keys[nth]),
            Method::Linear => {
                let [a, b] = [keys[2 * nth], keys[2 * nth + 1]].map(|key| as_number(kind, key));
                let place = place(share, search.values);
                Cell::Float(if a == b { a } else { between(a, b, place - place.floor()) })
            }
        };
        let shares = spec.at.iter().enumerate();
        ColumnQuantiles {
            column: column.clone(),
            values: search.values,
            missing: used - search.values,
            quantiles: shares.map(|(nth, &at)| Quantile { at, value: value(nth, at) }).collect(),
        }
    };
    let columns = spec.of.iter().zip(kinds).zip(found).map(column).collect();
    QuantileAnswer { method: spec.method, columns, rows, used }
}

/// A name in at most [`WIDTH`] characters.
fn cut(name: &str) -> String {
    if name.chars().count() <= WIDTH {
        name.to_owned()
    } else {
        name.chars().take(WIDTH - 1).chain(['…']).collect()
    }
}

impl fmt::Display for QuantileAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.columns.chunks(BESIDE) {
            let mut line = |name: &str, cells: Vec<String>| {
                write!(f, "{name:>9}")?;
                cells.iter().try_for_each(|cell| write!(f, " {cell:>WIDTH$}"))?;
                writeln!(f)
            };
            line("at", part.iter().map(|column| cut(&column.column)).collect())?;
            for (nth, quantile) in part[0].quantiles.iter().enumerate() {
                let values = part.iter().map(|column| column.quantiles[nth].value.to_string()).collect();
                line(&quantile.at.to_string(), values)?;
            }
            line("values", part.iter().map(|column| column.values.to_string()).collect())?;
            if part.iter().any(|column| column.missing > 0) {
                line("missing", part.iter().map(|column| column.missing.to_string()).collect())?;
            }
        }
        if self.used < self.rows {
            writeln!(f, "{} rows took part, of {}", self.used, self.rows)?;
        }
        Ok(())
    }
}
