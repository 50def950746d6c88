//! Rows into groups: the keys of a batch, its groups, then each column of values.

use super::Plan;
use super::groups::{AT_ONCE, Groups};
use super::keys::Keys;
use super::state::{Slot, Spill, bucket};
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
            self.places.iter().for_each(|&place| self.groups.count(place));
            let weights = &self.keys.weights()[part];
            let sum = weights.iter().fold(0u64, |sum, weight| sum.wrapping_add(weight ^ weight >> 29));
            self.print[0] = self.print[0].wrapping_add(sum);
            for (nth, column) in values[..self.plan.values.len()].iter().enumerate() {
                self.add(nth, column, first);
            }
        }
    }

    /// Adds a column of values to the groups of the rows from `first`, one aggregate after another.
    fn add(&mut self, nth: usize, column: &Column, first: usize) {
        let slot = self.groups.layout.slots[nth];
        let n = self.places.len();
        let rows = &self.rows[first..first + n];
        let weights = &self.keys.weights()[first..first + n];
        let whole = self.plan.filter.is_none();
        let bits = &mut self.bits[..n];
        match column.values {
            Values::Int(x) if whole => bits.iter_mut().zip(&x[first..]).for_each(|(b, &x)| *b = x as u64),
            Values::Float(x) if whole => bits.iter_mut().zip(&x[first..]).for_each(|(b, x)| *b = x.to_bits()),
            Values::Int(x) => bits.iter_mut().zip(rows).for_each(|(b, &row)| *b = x[row as usize] as u64),
            Values::Float(x) => {
                bits.iter_mut().zip(rows).for_each(|(b, &row)| *b = x[row as usize].to_bits())
            }
            Values::Text(..) => bits.fill(1),
        }
        let mut print = 0u64;
        if column.valid.is_some() {
            for ((bits, &row), (&place, weight)) in
                bits.iter_mut().zip(rows).zip(self.places.iter().zip(weights))
            {
                if !column.is_there(row) {
                    *bits = 0;
                    print = print.wrapping_add(weight.wrapping_mul(MISSING));
                    self.groups.words(place, &slot)[0] += 1;
                }
            }
        }
        print = print.wrapping_add(self.simd.run(Print { bits, weights }));
        self.print[1 + nth] = self.print[1 + nth].wrapping_add(print);
        match column.values {
            Values::Int(_) if slot.wants.sum => {
                for (&place, &bits) in self.places.iter().zip(&self.bits) {
                    Slot::sum_int(self.groups.words(place, &slot), bits as i64);
                }
            }
            Values::Float(_) if slot.wants.sum => self.sum(nth),
            _ => {}
        }
        if slot.wants.extremes || slot.wants.spread || slot.wants.sketch {
            self.add_rest(nth, column, first);
        }
    }

    /// Adds floating-point numbers to the sums of some rows.
    fn sum(&mut self, nth: usize) {
        let slot = self.groups.layout.slots[nth];
        let n = self.places.len();
        let (low, high) = &mut self.units;
        let bits = &self.bits[..n];
        let all = self.simd.run(Units { bits, low: &mut low[..n], high: &mut high[..n] });
        for ((&place, &low), &high) in self.places.iter().zip(&*low).zip(&*high) {
            let units = i128::from(high) << 64 | i128::from(low);
            if let Err(spill) = Slot::sum_units(self.groups.words(place, &slot), units) {
                self.groups.spill(self.groups.at(place), nth, &spill);
            }
        }
        if !all {
            for (&place, &bits) in self.places.iter().zip(bits) {
                let number = f64::from_bits(bits);
                if exact::narrow(number).is_none() {
                    self.groups.spill(self.groups.at(place), nth, &Spill { sum: 0, number });
                }
            }
        }
    }

    /// All but sums.
    fn add_rest(&mut self, nth: usize, column: &Column, first: usize) {
        let slot = self.groups.layout.slots[nth];
        let rows = self.rows[first..].iter().zip(self.places.iter().zip(&self.bits));
        let rows = rows.filter(|&(&row, _)| column.is_there(row)).map(|(_, (&place, &bits))| (place, bits));
        let float = match column.values {
            Values::Int(_) => false,
            Values::Float(_) => true,
            Values::Text(..) => return,
        };
        if slot.wants.extremes && float {
            for (place, bits) in rows.clone() {
                slot.extreme_float(self.groups.words(place, &slot), f64::from_bits(bits));
            }
        } else if slot.wants.extremes {
            for (place, bits) in rows.clone() {
                slot.extreme_int(self.groups.words(place, &slot), bits as i64);
            }
        }
        let number = |bits: u64| if float { f64::from_bits(bits) } else { bits as i64 as f64 };
        if slot.wants.spread {
            for (place, bits) in rows.clone() {
                slot.spread_add(self.groups.words(place, &slot), number(bits));
            }
        }
        if slot.wants.sketch {
            for (place, bits) in rows {
                let bucket = (self.groups.at(place), nth as u16, bucket(number(bits)));
                *self.groups.sketch.entry(bucket).or_default() += 1;
            }
        }
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
        let mut misfits = 0;
        for ((&bits, low), high) in self.bits.iter().zip(self.low).zip(self.high) {
            let units = exact::units(bits);
            (*low, *high) = (units.low, units.high);
            misfits |= units.misfit;
        }
        misfits == 0
    }
}
