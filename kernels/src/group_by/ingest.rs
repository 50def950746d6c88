//! Rows into groups: the keys of a batch, its groups, then each column of values.

use super::Plan;
use super::groups::{AT_ONCE, Groups};
use super::keys::Keys;
use super::state::{Spill, add, bucket, far, take_far};
use crate::math::exact;
use crate::simd::{Lanes, Simd, Vectorised};
use crate::table::{Batch, Column, Values};

/// Mixed into every value of a print, so that zeros count.
const KEY: u64 = 0x9e37_79b9_7f4a_7c15;
/// What a missing value counts in a print.
const MISSING: u64 = 0x5a5a_a5a5_1234_8765;

/// The groups that rows are added to, and what is reused from batch to batch.
pub(super) struct Ingest<'a> {
    plan: &'a Plan,
    simd: Simd,
    pub(super) groups: Groups,
    /// The rows of a batch that take part.
    rows: Vec<u32>,
    keys: Keys,
    /// Where the states of some of these rows' groups begin, and the bits of a column there: 0 for what is missing.
    places: Vec<usize>,
    bits: [u64; AT_ONCE],
    /// Those numbers in units of a sum: the low and the high words.
    units: ([u64; AT_ONCE], [i64; AT_ONCE]),
    /// Sums over all rows: of the keys, then of each column of values.
    print: Vec<u64>,
}

impl<'a> Ingest<'a> {
    pub(super) fn new(plan: &'a Plan, groups: Groups, simd: Simd) -> Self {
        Ingest {
            plan,
            simd,
            groups,
            rows: Vec::new(),
            keys: Keys::new(plan.keys.len(), simd),
            places: Vec::new(),
            bits: [0; AT_ONCE],
            units: ([0; AT_ONCE], [0; AT_ONCE]),
            print: vec![0; 1 + plan.values.len()],
        }
    }

    /// What tells the rows that were added from others, whatever their order.
    pub(super) fn print(&self) -> impl Iterator<Item = u64> {
        self.print.iter().copied()
    }

    /// Adds the rows of a batch.
    pub(super) fn take(&mut self, batch: &Batch) {
        self.groups.rows += batch.rows as u64;
        match &self.plan.filter {
            Some(filter) => filter.rows(batch, self.plan.keys.len() + self.plan.values.len(), &mut self.rows),
            None if self.rows.len() == batch.rows => {}
            None => self.rows = (0..batch.rows as u32).collect(),
        }
        let (keys, values) = batch.columns.split_at(self.plan.keys.len());
        self.keys.load(keys, &self.rows, &mut self.groups);
        for first in (0..self.rows.len()).step_by(AT_ONCE) {
            let part = first..self.rows.len().min(first + AT_ONCE);
            self.keys.find(&mut self.groups, part.clone(), &mut self.places);
            let states = self.groups.states();
            self.places.iter().for_each(|&place| states[place] += 1);
            let sum = self.simd.run(Weights(&self.keys.weights()[part]));
            self.print[0] = self.print[0].wrapping_add(sum);
            for (nth, column) in values[..self.plan.values.len()].iter().enumerate() {
                self.add(nth, column, first);
            }
        }
    }

    /// Adds a column of values to the groups of the rows from `first`, one aggregate after another.
    fn add(&mut self, nth: usize, column: &Column, first: usize) {
        let slot = self.groups.layout.slots[nth];
        let (places, n) = (&self.places[..], self.places.len());
        let rows = &self.rows[first..first + n];
        let weights = &self.keys.weights()[first..first + n];
        let (whole, own) = (self.plan.filter.is_none(), &mut self.bits[..n]);
        let all = whole && column.valid.is_none();
        let mut print = 0u64;
        let bits = match column.values {
            Values::Int(x) if all => bytemuck::cast_slice(&x[first..first + n]),
            Values::Float(x) if all => bytemuck::cast_slice(&x[first..first + n]),
            _ => {
                match column.values {
                    Values::Int(x) => {
                        own.iter_mut().zip(rows).for_each(|(b, &row)| *b = x[row as usize] as u64)
                    }
                    Values::Float(x) => {
                        own.iter_mut().zip(rows).for_each(|(b, &row)| *b = x[row as usize].to_bits());
                    }
                    Values::Text(..) => own.fill(1),
                }
                print = blank(column, rows, own, weights, |row| {
                    let group = self.groups.at(places[row]);
                    self.groups.miss(group, nth, 1);
                });
                &*own
            }
        };
        print = print.wrapping_add(self.simd.run(Print { bits, weights }));
        self.print[1 + nth] = self.print[1 + nth].wrapping_add(print);
        if slot.wants.sum {
            match column.values {
                Values::Int(_) => sum_ints(self.groups.states(), places, slot.sum_at(), bits),
                Values::Float(_) => {
                    let (low, high) = &mut self.units;
                    let (low, high) = (&mut low[..n], &mut high[..n]);
                    let all = self.simd.run(Units { bits, low, high });
                    sum_floats(&mut self.groups, nth, places, (low, high));
                    if !all {
                        spill(&mut self.groups, nth, places, bits);
                    }
                }
                Values::Text(..) => {}
            }
        }
        if slot.wants.extremes || slot.wants.spread || slot.wants.sketch {
            let there = (0..n).filter(|&row| column.is_there(rows[row])).map(|row| (places[row], bits[row]));
            match column.values {
                Values::Int(_) => add_rest(&mut self.groups, nth, false, there),
                Values::Float(_) => add_rest(&mut self.groups, nth, true, there),
                Values::Text(..) => {}
            }
        }
    }
}

/// Makes the bits of missing values 0, and tells which these are: their part of the print.
fn blank(
    column: &Column,
    rows: &[u32],
    bits: &mut [u64],
    weights: &[u64],
    mut missing: impl FnMut(usize),
) -> u64 {
    let mut print = 0u64;
    if column.valid.is_some() {
        for (nth, (bits, &row)) in bits.iter_mut().zip(rows).enumerate() {
            if !column.is_there(row) {
                *bits = 0;
                print = print.wrapping_add(weights[nth].wrapping_mul(MISSING));
                missing(nth);
            }
        }
    }
    print
}

/// The two words of a sum.
#[inline(always)]
fn sum_of(states: &mut [u64], at: usize) -> &mut [u64; 2] {
    states[at..].first_chunk_mut().expect("a sum has two words")
}

/// Adds whole numbers to the sums that lie `at` words behind the places of some rows. Less than 2^64 of them fit.
fn sum_ints(states: &mut [u64], places: &[usize], at: usize, bits: &[u64]) {
    for (&place, &bits) in places.iter().zip(bits) {
        add(sum_of(states, place + at), i128::from(bits as i64));
    }
}

/// Adds units to the sums of some rows: no more of them than a sum has room for.
fn sum_floats(groups: &mut Groups, nth: usize, places: &[usize], (low, high): (&[u64], &[i64])) {
    let at = groups.layout.slots[nth].sum_at();
    let states = groups.states();
    let mut any = 0;
    for ((&place, &low), &high) in places.iter().zip(low).zip(high) {
        any |= far(add(sum_of(states, place + at), i128::from(high) << 64 | i128::from(low)));
    }
    if any >> 63 == 1 {
        for &place in places {
            if let Some(spill) = take_far(sum_of(groups.states(), place + at)) {
                groups.spill(groups.at(place), nth, &spill);
            }
        }
    }
}

/// Adds what is too large or too small for units to the registers of some rows' groups.
#[cold]
fn spill(groups: &mut Groups, nth: usize, places: &[usize], bits: &[u64]) {
    for (&place, &bits) in places.iter().zip(bits) {
        let number = f64::from_bits(bits);
        if exact::narrow(number).is_none() {
            groups.spill(groups.at(place), nth, &Spill { sum: 0, number });
        }
    }
}

/// All but sums, of the values that are there.
fn add_rest(
    groups: &mut Groups,
    nth: usize,
    float: bool,
    values: impl Iterator<Item = (usize, u64)> + Clone,
) {
    let slot = groups.layout.slots[nth];
    if slot.wants.extremes && float {
        for (place, bits) in values.clone() {
            slot.extreme_float(groups.words(place, &slot), f64::from_bits(bits));
        }
    } else if slot.wants.extremes {
        for (place, bits) in values.clone() {
            slot.extreme_int(groups.words(place, &slot), bits as i64);
        }
    }
    let number = |bits: u64| if float { f64::from_bits(bits) } else { bits as i64 as f64 };
    if slot.wants.spread {
        for (place, bits) in values.clone() {
            slot.spread_add(groups.words(place, &slot), number(bits));
        }
    }
    if slot.wants.sketch {
        for (place, bits) in values {
            let bucket = (groups.at(place), nth as u16, bucket(number(bits)));
            *groups.sketch.entry(bucket).or_default() += 1;
        }
    }
}

/// What the keys of rows make of a print.
struct Weights<'a>(&'a [u64]);

impl Vectorised for Weights<'_> {
    type Out = u64;
    #[inline(always)]
    fn run<L: Lanes>(self) -> u64 {
        self.0.iter().fold(0, |sum, weight| sum.wrapping_add(weight ^ weight >> 29))
    }
}

/// A sum over rows, in which the values of two rows of different keys cannot change places.
struct Print<'a> {
    bits: &'a [u64],
    weights: &'a [u64],
}

impl Vectorised for Print<'_> {
    type Out = u64;
    #[inline(always)]
    fn run<L: Lanes>(self) -> u64 {
        let each = |(bits, weight): (&u64, &u64)| (bits ^ KEY).wrapping_mul(weight | 1);
        self.bits.iter().zip(self.weights).fold(0, |sum, row| sum.wrapping_add(each(row)))
    }
}

/// Numbers in units of a sum, and whether all can be; those that cannot are zero there.
struct Units<'a> {
    bits: &'a [u64],
    low: &'a mut [u64],
    high: &'a mut [i64],
}

impl Vectorised for Units<'_> {
    type Out = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        // The greatest, as a loop that asks of each whether it fits is not made of vectors.
        let mut farthest = 0;
        for ((&bits, low), high) in self.bits.iter().zip(self.low).zip(self.high) {
            let units = exact::units(bits);
            (*low, *high) = (units.low, units.high);
            farthest = units.moved.max(farthest);
        }
        farthest <= exact::FARTHEST
    }
}
