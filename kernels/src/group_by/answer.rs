//! The answer: a row for each group, in the order of the keys.

use super::Plan;
use super::groups::Groups;
use super::keys::unordered;
use super::state::{Slot, get_sum, middle};
use crate::math::exact;
use crate::table::{as_float, power_of_ten, value};
use muster_spec::group_by::{Aggregate, Function};
use muster_spec::table::Kind;
use serde::Serialize;
use std::fmt;

/// Rows that are shown to people.
const SHOWN: usize = 50;

/// Aggregates for each key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupByAnswer {
    /// The key columns, then the aggregates.
    pub columns: Vec<String>,
    /// How many groups there are, whether they are all in the table or not.
    pub groups: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows that took part.
    pub used: u64,
    /// How far quantiles may lie from the true ones, as a share of their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile_error: Option<f64>,
    /// A row for each group, in the order of the keys.
    pub table: Vec<Vec<Cell>>,
}

/// A value of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A missing key, or an aggregate of no value.
    Missing,
    /// A whole number.
    Int(i128),
    /// Floating point.
    Float(f64),
    /// A text, a truth, a decimal or a time, as people write it.
    Text(String),
}

pub(super) fn of(groups: &Groups, plan: &Plan, limit: Option<u64>) -> GroupByAnswer {
    let order = groups.sorted(limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)));
    let mut sketch: Vec<(u32, u16, i32, u64)> =
        groups.sketch.iter().map(|(&(g, s, b), &n)| (g, s, b, n)).collect();
    sketch.sort_unstable();
    let row = |&group: &u32| -> Vec<Cell> {
        let keys = (0..plan.keys.len()).map(|nth| key(groups, plan, group, nth));
        let computed = plan.compute.iter().map(|(a, nth)| cell(groups, plan, group, (a, *nth), &sketch));
        keys.chain(computed).collect()
    };
    let names = plan.keys.iter().map(|k| k.name.clone());
    let sketched = groups.layout.slots.iter().any(|s| s.wants.sketch);
    GroupByAnswer {
        columns: names.chain(plan.compute.iter().map(|(a, _)| a.to_string())).collect(),
        groups: groups.len() as u64,
        rows: groups.rows,
        used: (0..groups.len() as u32).map(|g| groups.state(g)[0]).sum(),
        quantile_error: sketched.then_some(1.0 / 256.0),
        table: order.iter().map(row).collect(),
    }
}

fn key(groups: &Groups, plan: &Plan, group: u32, nth: usize) -> Cell {
    let key = groups.key(group);
    if key[plan.keys.len()] >> nth & 1 == 1 {
        return Cell::Missing;
    }
    match (&groups.texts[nth], plan.keys[nth].kind) {
        (Some(texts), _) => {
            Cell::Text(String::from_utf8_lossy(texts.words().get(key[nth] as u32)).into_owned())
        }
        (None, Kind::Float) => Cell::Float(unordered(key[nth])),
        (None, kind) => whole(kind, key[nth] as i64),
    }
}

/// A value that is kept as an integer.
fn whole(kind: Kind, x: i64) -> Cell {
    match kind {
        Kind::Int => Cell::Int(x.into()),
        kind => Cell::Text(value::show(kind, x)),
    }
}

fn cell(
    groups: &Groups,
    plan: &Plan,
    group: u32,
    (aggregate, nth): (&Aggregate, Option<usize>),
    sketch: &[(u32, u16, i32, u64)],
) -> Cell {
    let Some(nth) = nth else { return Cell::Int(groups.state(group)[0].into()) };
    let (slot, kind) = (groups.layout.slots[nth], plan.values[nth].kind);
    let words = slot.of(groups.state(group));
    let count = groups.state(group)[0] - groups.missing(group, nth);
    let scale = |x: f64| match kind {
        Kind::Decimal(digits) => x / power_of_ten(digits),
        _ => x,
    };
    if aggregate.function == Function::Count {
        return Cell::Int(count.into());
    }
    if count == 0 {
        return Cell::Missing;
    }
    let spread = || f64::from_bits(words[slot.spread() + 2]) / (count as f64 - 1.0);
    let square = match kind {
        Kind::Decimal(_) => scale(scale(1.0)),
        _ => 1.0,
    };
    match aggregate.function {
        Function::Count => Cell::Int(count.into()),
        Function::Sum => sum(groups, (group, nth), words, kind),
        Function::Mean => Cell::Float(scale(sum_as_float(groups, (group, nth), words, slot)) / count as f64),
        Function::Min | Function::Max => {
            let word = words[slot.extremes() + usize::from(aggregate.function == Function::Max)];
            if slot.float { Cell::Float(f64::from_bits(word)) } else { whole(kind, word as i64) }
        }
        Function::Variance | Function::Stddev if count < 2 => Cell::Missing,
        Function::Variance => Cell::Float(spread() * square),
        Function::Stddev => Cell::Float((spread() * square).sqrt()),
        Function::Quantile(share) => {
            Cell::Float(scale(quantile((group, nth), (&slot, words), (share, count), sketch)))
        }
    }
}

fn sum_as_float(groups: &Groups, (group, nth): (u32, usize), words: &[u64], slot: Slot) -> f64 {
    if !slot.float {
        return get_sum(words) as f64;
    }
    match groups.registers.get(&(group, nth as u16)) {
        None => exact::widen(get_sum(words)),
        Some(register) => {
            let mut whole = register.clone();
            whole.add_narrow(get_sum(words));
            whole.value()
        }
    }
}

fn sum(groups: &Groups, at: (u32, usize), words: &[u64], kind: Kind) -> Cell {
    match kind {
        Kind::Float => Cell::Float(sum_as_float(groups, at, words, groups.layout.slots[at.1])),
        Kind::Decimal(_) => match i64::try_from(get_sum(words)) {
            Ok(sum) => Cell::Text(value::show(kind, sum)),
            Err(_) => Cell::Float(as_float(kind, 1) * get_sum(words) as f64),
        },
        _ => Cell::Int(get_sum(words)),
    }
}

/// The value of nearest rank, as far as the sketch tells; the extremes are exact.
fn quantile(
    (group, nth): (u32, usize),
    (slot, words): (&Slot, &[u64]),
    (share, count): (f64, u64),
    sketch: &[(u32, u16, i32, u64)],
) -> f64 {
    let number = |word: u64| if slot.float { f64::from_bits(word) } else { word as i64 as f64 };
    let (min, max) = (number(words[slot.extremes()]), number(words[slot.extremes() + 1]));
    let rank = ((share * count as f64).ceil() as u64).clamp(1, count);
    if rank == 1 || rank == count {
        return if rank == 1 { min } else { max };
    }
    let first = sketch.partition_point(|e| (e.0, e.1) < (group, nth as u16));
    let mut seen = 0;
    for &(_, _, bucket, count) in &sketch[first..] {
        seen += count;
        if seen >= rank {
            return middle(bucket).clamp(min, max);
        }
    }
    max
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Missing => f.pad("-"),
            Cell::Int(x) => f.pad(&x.to_string()),
            Cell::Float(x) if *x == 0.0 || (1e-4..1e12).contains(&x.abs()) => f.pad(&format!("{x:.6}")),
            Cell::Float(x) => f.pad(&format!("{x:.9e}")),
            Cell::Text(text) => f.pad(text),
        }
    }
}

impl fmt::Display for GroupByAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<Vec<String>> =
            self.table.iter().take(SHOWN).map(|row| row.iter().map(Cell::to_string).collect()).collect();
        let width = |i: usize| {
            let cells = shown.iter().map(|row| row[i].chars().count());
            cells.chain([self.columns[i].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, row: &[String]| {
            for (i, (text, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if i > 0 { "  " } else { "" };
                write!(f, "{gap}{text:>width$}")?;
            }
            writeln!(f)
        };
        line(f, &self.columns)?;
        shown.iter().try_for_each(|row| line(f, row))?;
        if self.table.len() > SHOWN {
            writeln!(f, "... and {} more in the answer; --json shows all", self.table.len() - SHOWN)?;
        }
        let plural = if self.groups == 1 { "" } else { "s" };
        write!(f, "{} group{plural} of {} rows", self.groups, self.used)?;
        if self.used < self.rows {
            write!(f, " that took part, of {}", self.rows)?;
        }
        writeln!(f)
    }
}
