//! Filters: which rows take part, as an expression over columns.
//!
//! ```text
//! price > 3.5 and (carrier = 'AA' or carrier in ('UA', 'DL')) and not dep_time is missing
//! ```
//!
//! A comparison with a missing value is neither true nor false, and a row takes part only where the whole is true (the
//! three-valued logic of SQL).

mod parse;

use super::value;
use super::{Batch, Column, Values, as_float};
use muster_spec::Problem;
use muster_spec::table::{ColumnType, Kind};
use std::cmp::Ordering;

/// A filter whose columns are settled.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Expr,
    /// The columns it reads, by their position in the table.
    columns: Vec<usize>,
}

/// What a filter says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    False,
    True,
    Unknown,
}

use Truth::{False, True, Unknown};

#[derive(Clone, Debug)]
enum Expr {
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Compare(Operand, Test, Operand),
    In(Operand, Vec<Operand>),
    Missing(Operand),
}

/// A column (its position among those of the filter), or a value.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Column(usize, Kind),
    /// With the kind of the column that it is compared with.
    Int(i64, Kind),
    Float(f64),
    Text(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Test {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Test::Equal => order.is_eq(),
            Test::NotEqual => order.is_ne(),
            Test::Less => order.is_lt(),
            Test::LessEqual => order.is_le(),
            Test::Greater => order.is_gt(),
            Test::GreaterEqual => order.is_ge(),
        }
    }
}

/// A value of one row.
#[derive(Clone, Copy)]
enum Datum<'a> {
    Int(i64, Kind),
    Float(f64),
    Text(&'a [u8]),
    Missing,
}

impl Filter {
    /// Reads the text of a filter over these columns; `flag` is where it was given.
    ///
    /// # Errors
    /// What does not parse, with its position; a column that is not there; values that cannot be compared.
    pub fn parse(flag: &str, text: &str, columns: &[ColumnType]) -> Result<Filter, Problem> {
        let (root, columns) = parse::filter(flag, text, columns)?;
        Ok(Filter { root, columns })
    }

    /// The columns it reads, by their position in the table.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The rows of a batch that take part; its columns from `first` on are those of the filter.
    pub fn rows(&self, batch: &Batch, first: usize, out: &mut Vec<u32>) {
        let columns = &batch.columns[first..first + self.columns.len()];
        out.clear();
        out.extend((0..batch.rows as u32).filter(|&row| self.root.of(columns, row as usize) == True));
    }
}

impl Expr {
    fn of(&self, columns: &[Column], row: usize) -> Truth {
        match self {
            Expr::And(a, b) => match a.of(columns, row) {
                False => False,
                True => b.of(columns, row),
                Unknown if b.of(columns, row) == False => False,
                Unknown => Unknown,
            },
            Expr::Or(a, b) => match a.of(columns, row) {
                True => True,
                False => b.of(columns, row),
                Unknown if b.of(columns, row) == True => True,
                Unknown => Unknown,
            },
            Expr::Not(a) => match a.of(columns, row) {
                True => False,
                False => True,
                Unknown => Unknown,
            },
            Expr::Missing(a) => truth(matches!(a.at(columns, row), Datum::Missing)),
            Expr::Compare(a, test, b) => match compare(a.at(columns, row), b.at(columns, row)) {
                Some(order) => truth(test.holds(order)),
                None => Unknown,
            },
            Expr::In(a, list) => match a.at(columns, row) {
                Datum::Missing => Unknown,
                value => {
                    truth(list.iter().any(|b| compare(value, b.at(columns, row)) == Some(Ordering::Equal)))
                }
            },
        }
    }
}

fn truth(holds: bool) -> Truth {
    if holds { True } else { False }
}

impl Operand {
    fn at<'a>(&'a self, columns: &[Column<'a>], row: usize) -> Datum<'a> {
        match self {
            Operand::Column(at, kind) => {
                let column = columns[*at];
                if column.valid.is_some_and(|valid| !valid[row]) {
                    return Datum::Missing;
                }
                match column.values {
                    Values::Int(x) => Datum::Int(x[row], *kind),
                    Values::Float(x) => Datum::Float(x[row]),
                    Values::Text(codes, words) => Datum::Text(words.get(codes[row])),
                }
            }
            Operand::Int(x, kind) => Datum::Int(*x, *kind),
            Operand::Float(x) => Datum::Float(*x),
            Operand::Text(text) => Datum::Text(text),
        }
    }

    /// The kind of what it stands for.
    fn kind(&self) -> Kind {
        match self {
            Operand::Column(_, kind) | Operand::Int(_, kind) => *kind,
            Operand::Float(_) => Kind::Float,
            Operand::Text(_) => Kind::Text,
        }
    }

    /// This value as one of `kind`, if it can be: a text as a timestamp or a truth, a number as a decimal.
    fn seen_as(self, kind: Kind) -> Operand {
        let converted = match (&self, kind) {
            (Operand::Text(text), Kind::Timestamp) => value::timestamp(text).ok(),
            (Operand::Text(text), Kind::Bool) => value::boolean(text).ok(),
            (Operand::Int(x, Kind::Int), Kind::Decimal(scale)) => {
                10i64.checked_pow(u32::from(scale)).and_then(|unit| x.checked_mul(unit))
            }
            _ => None,
        };
        converted.map_or(self, |x| Operand::Int(x, kind))
    }
}

fn compare(a: Datum, b: Datum) -> Option<Ordering> {
    match (a, b) {
        (Datum::Int(x, k), Datum::Int(y, l)) if k == l => Some(x.cmp(&y)),
        (Datum::Text(x), Datum::Text(y)) => Some(x.cmp(y)),
        (a, b) => number(a)?.partial_cmp(&number(b)?),
    }
}

fn number(x: Datum) -> Option<f64> {
    match x {
        Datum::Int(x, kind) => Some(as_float(kind, x)),
        Datum::Float(x) => Some(x),
        Datum::Text(_) | Datum::Missing => None,
    }
}

#[cfg(test)]
mod tests;
