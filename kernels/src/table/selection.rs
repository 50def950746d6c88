//! A selection of columns, and of the rows that take part: what kernels over numbers ask of a table.

use super::filter::Filter;
use super::{Batch, Column, Table, Values, as_float, column};
use crate::fold::Fold;
use crate::simd::{Lanes, Simd, Vectorised};
use muster_spec::table::{ColumnType, Kind};
use muster_spec::{Problem, Problems};

/// Columns whose names, types and filter are checked.
pub struct Selection {
    /// Positions in the table: the columns selected, then those of the filter.
    wanted: Vec<usize>,
    columns: Vec<ColumnType>,
    filter: Option<Filter>,
}

/// Rows of a batch by their number in it; `None` stands for all.
pub type Rows<'a> = Option<&'a [u32]>;

impl Selection {
    /// The columns called `names`, each behind the flag that asks for it, of types that `fits` takes.
    ///
    /// # Errors
    /// Every column that is not there or of another type, and what is wrong with the filter.
    pub fn new<'a>(
        schema: &[ColumnType],
        names: impl IntoIterator<Item = (&'a str, &'a str)>,
        fits: fn(Kind) -> bool,
        filter: Option<&str>,
    ) -> Result<Selection, Problems> {
        let (mut wanted, mut problems) = (Vec::new(), Vec::new());
        for (flag, name) in names {
            match column(flag, schema, name) {
                Ok(at) if fits(schema[at].kind) => wanted.push(at),
                Ok(at) => problems.push(misfit(flag, &schema[at])),
                Err(problem) => problems.push(problem),
            }
        }
        let filter = filter.map(|text| Filter::parse("--where", text, schema));
        let filter = filter.transpose().map_err(|problem| problems.push(problem)).unwrap_or_default();
        Problems::check(problems)?;
        let columns = wanted.iter().map(|&at| schema[at].clone()).collect();
        wanted.extend(filter.iter().flat_map(|f| f.columns().iter().copied()));
        Ok(Selection { wanted, columns, filter })
    }

    /// Names and types of the columns selected.
    pub fn columns(&self) -> &[ColumnType] {
        &self.columns
    }

    /// Gives `each` a block batch by batch, with the rows that take part. The batch begins with the columns selected.
    ///
    /// # Errors
    /// As [`Table::scan`].
    pub fn scan(
        &self,
        table: &Table,
        block: u32,
        cx: &mut Fold,
        each: &mut dyn FnMut(&Batch, Rows<'_>),
    ) -> Result<(), Problems> {
        let mut rows = Vec::new();
        table.scan(block, &self.wanted, cx, &mut |batch| {
            if let Some(filter) = &self.filter {
                filter.rows(batch, self.columns.len(), &mut rows);
            }
            each(batch, self.filter.is_some().then_some(&rows[..]));
            Ok(())
        })
    }
}

fn misfit(flag: &str, column: &ColumnType) -> Problem {
    let ColumnType { name, kind } = column;
    Problem::new(flag, format!("needs numbers, and '{name}' is of type {kind}"))
        .hint(format!("--types '{name}=float' reads CSV as numbers, --missing leaves words out"))
}

/// The rows in which every one of the columns has a value; `out` holds them where they are not those of before.
pub fn complete<'a>(columns: &[Column], rows: Rows<'a>, out: &'a mut Vec<u32>) -> Rows<'a> {
    let masks: Vec<&[bool]> = columns.iter().filter_map(|c| c.valid).collect();
    let [first, rest @ ..] = &masks[..] else { return rows };
    let there = |row: u32| masks.iter().all(|mask| mask[row as usize]);
    out.clear();
    match rows {
        Some(rows) => out.extend(rows.iter().copied().filter(|&row| there(row))),
        None if rest.is_empty() => {
            out.extend((0u32..).zip(*first).filter(|(_, there)| **there).map(|(row, _)| row))
        }
        None => out.extend((0..first.len() as u32).filter(|&row| there(row))),
    }
    Some(out)
}

/// How many rows there are among `all`.
pub fn count(rows: Rows<'_>, all: usize) -> usize {
    rows.map_or(all, <[u32]>::len)
}

/// Appends the numbers of a column in these rows, where none is missing.
pub fn floats(column: &Column, kind: Kind, rows: Rows<'_>, out: &mut Vec<f64>) {
    match (column.values, rows) {
        (Values::Float(x), None) => out.extend_from_slice(x),
        (Values::Float(x), Some(rows)) => out.extend(rows.iter().map(|&row| x[row as usize])),
        (Values::Int(x), None) => out.extend(x.iter().map(|&x| as_float(kind, x))),
        (Values::Int(x), Some(rows)) => out.extend(rows.iter().map(|&row| as_float(kind, x[row as usize]))),
        (Values::Text(..), _) => {}
    }
}

/// What tells the values of a block from others: a sum, in which each weighs another odd number.
#[derive(Default)]
pub struct Print {
    values: u64,
    sum: u64,
}

/// The golden ratio in 64 bits, and another odd number without a pattern.
const WEIGHTS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

impl Print {
    /// Adds values by their bits.
    pub fn add(&mut self, simd: Simd, bits: impl ExactSizeIterator<Item = u64>) {
        let (first, count) = (self.values, bits.len() as u64);
        self.sum = self.sum.wrapping_add(simd.run(Weighted(bits, first)));
        self.values += count;
    }

    /// Notes the values and other numbers as read.
    pub fn note(&self, others: &[u64], cx: &mut Fold) {
        [self.sum, self.values].iter().chain(others).for_each(|number| cx.note_read(&number.to_le_bytes()));
    }
}

/// Words, and how many were before them.
struct Weighted<I>(I, u64);

impl<I: Iterator<Item = u64>> Vectorised for Weighted<I> {
    type Out = u64;

    #[inline(always)]
    fn run<L: Lanes>(self) -> u64 {
        let each =
            |(bits, nth): (u64, u64)| (bits ^ WEIGHTS[0]).wrapping_mul(nth.wrapping_mul(WEIGHTS[1]) | 1);
        self.0.zip(self.1..).fold(0, |sum, row| sum.wrapping_add(each(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_rows_have_every_value() {
        let values = Values::Float(&[1.0, 2.0, 3.0, 4.0]);
        let column = |valid| Column { values, valid };
        let (a, b) = ([true, true, false, true], [false, true, true, true]);
        let (plain, a, b) = (column(None), column(Some(&a[..])), column(Some(&b[..])));
        for (columns, rows, want) in [
            (&[plain, plain][..], None, None),
            (&[plain], Some(&[2u32][..]), Some(&[2u32][..])),
            (&[a, plain], None, Some(&[0, 1, 3])),
            (&[a, b], None, Some(&[1, 3])),
            (&[a, b], Some(&[0, 2, 3]), Some(&[3])),
        ] {
            let mut out = Vec::new();
            assert_eq!(complete(columns, rows, &mut out), want);
        }
        let mut out = vec![0.0];
        floats(&b, Kind::Float, Some(&[1, 3]), &mut out);
        floats(&Column { values: Values::Int(&[250]), valid: None }, Kind::Decimal(2), None, &mut out);
        assert_eq!(out, [0.0, 2.0, 4.0, 2.5]);
    }
}
