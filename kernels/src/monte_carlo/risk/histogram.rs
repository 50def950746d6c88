//! Losses in fixed bins: the partial of value at risk, exact and free of order.
//!
//! A loss is a share of the portfolio's gross value, rounded once to a whole number of units of 2^-28 (0.004
//! in a million) and limited to +-2^22 (four million times the portfolio). A bin is 2^10 units wide, 2^-18 of
//! the portfolio, and keeps how many losses fell into it and the sum of their distances from its lower edge.
//! Everything else is integer addition, minimum and maximum.
//!
//! Nothing can overflow: a job has at most 2^40 scenarios, so a count is at most 2^40 and a sum of distances,
//! each below 2^10, stays below 2^50. A block has at most 2^20 scenarios, so the two fit in one word of 64
//! bits while it is folded: the count needs 21 bits, the sum of distances 30.

use crate::kernel::Partial;
use crate::math::philox::BATCH;
use serde::{Deserialize, Serialize};

/// Units of one whole portfolio value.
const UNITS: f64 = (1u64 << 28) as f64;
/// A bin's width in units is two to this power.
const BIN_BITS: u32 = 10;
/// The width of a bin as a share of the portfolio's gross value.
pub(super) const BIN_WIDTH: f64 = (1u64 << BIN_BITS) as f64 / UNITS;
/// The largest loss and gain, as a share of the portfolio's gross value.
const LIMIT: f64 = (1u64 << 22) as f64;

/// One bin that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    /// The bin holds losses from `index` to `index + 1` bin widths.
    pub index: i64,
    /// How many losses, at least 1.
    pub count: u64,
    /// The sum of their distances from the lower edge, in units; less than `count << 22`.
    pub above: u64,
}

impl Bin {
    /// The mean of the losses in the bin, as a share of the portfolio's gross value.
    pub(super) fn mean(&self) -> f64 {
        (self.index as f64 * (1u64 << BIN_BITS) as f64 + self.above as f64 / self.count as f64) / UNITS
    }

    /// The sum of the losses in the bin, in units.
    fn sum(&self) -> i128 {
        (i128::from(self.index) << BIN_BITS) * i128::from(self.count) + i128::from(self.above)
    }
}

/// The losses of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub(super) struct Histogram {
    least: i64,
    most: i64,
    bins: Vec<Bin>,
}

impl Histogram {
    /// The bins that are not empty, by increasing loss.
    pub(super) fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// How many losses there are.
    pub(super) fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// The mean loss, as a share of the portfolio's gross value.
    pub(super) fn mean(&self) -> f64 {
        share(self.bins.iter().map(Bin::sum).sum()) / self.count() as f64
    }

    /// The least and the greatest loss, as shares of the portfolio's gross value.
    pub(super) fn extremes(&self) -> (f64, f64) {
        (share(i128::from(self.least)), share(i128::from(self.most)))
    }

    /// The sum of the losses of whole bins, as a share of the portfolio's gross value.
    pub(super) fn sum_of<'a>(bins: impl Iterator<Item = &'a Bin>) -> f64 {
        share(bins.map(Bin::sum).sum())
    }
}

fn share(units: i128) -> f64 {
    units as f64 / UNITS
}

impl Partial for Histogram {
    /// Adds the shorter list of bins to the longer in place: most bins are in both.
    fn merge(self, right: Self) -> Self {
        let (least, most) = (self.least.min(right.least), self.most.max(right.most));
        let (mut bins, other) = if self.bins.len() >= right.bins.len() {
            (self.bins, right.bins)
        } else {
            (right.bins, self.bins)
        };
        let (mut at, mut new) = (0, Vec::new());
        for bin in other {
            while at < bins.len() && bins[at].index < bin.index {
                at += 1;
            }
            match bins.get_mut(at).filter(|same| same.index == bin.index) {
                Some(same) => (same.count, same.above) = (same.count + bin.count, same.above + bin.above),
                None => new.push(bin),
            }
        }
        insert(&mut bins, &new);
        Histogram { least, most, bins }
    }
}

/// Puts `new` bins, none of which is in `bins`, in their places, from the last to the first.
fn insert(bins: &mut Vec<Bin>, new: &[Bin]) {
    let mut read = bins.len();
    bins.extend_from_slice(new);
    let mut write = bins.len();
    for bin in new.iter().rev() {
        while read > 0 && bins[read - 1].index > bin.index {
            (read, write) = (read - 1, write - 1);
            bins[write] = bins[read];
        }
        write -= 1;
        bins[write] = *bin;
    }
}

/// How a histogram is written: for each bin its distance from the bin before (the first from 0, zigzag),
/// count and sum, as LEB128 numbers one after the other. Four bytes for most bins.
#[derive(Serialize, Deserialize)]
struct Wire {
    least: i64,
    most: i64,
    #[serde(with = "serde_bytes")]
    bins: Vec<u8>,
}

impl From<Histogram> for Wire {
    fn from(histogram: Histogram) -> Wire {
        let mut bytes = Vec::with_capacity(5 * histogram.bins.len() + 16);
        let mut before = None;
        for bin in &histogram.bins {
            let step = before.map_or(zigzag(bin.index), |before| bin.index.abs_diff(before));
            before = Some(bin.index);
            [step, bin.count, bin.above].into_iter().for_each(|number| write(&mut bytes, number));
        }
        Wire { least: histogram.least, most: histogram.most, bins: bytes }
    }
}

impl TryFrom<Wire> for Histogram {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Histogram, &'static str> {
        let mut bytes = wire.bins.iter();
        let mut bins: Vec<Bin> = Vec::with_capacity(wire.bins.len() / 4);
        while !bytes.as_slice().is_empty() {
            let mut number = || read(&mut bytes).ok_or("the bins of a histogram break off");
            let (step, count, above) = (number()?, number()?, number()?);
            let index = match bins.last() {
                None => Some((step >> 1) as i64 ^ -((step & 1) as i64)),
                Some(_) if step == 0 => return Err("the bins of a histogram do not increase"),
                Some(before) => before.index.checked_add_unsigned(step),
            };
            let index = index.filter(|i| i.unsigned_abs() <= 1 << 40).ok_or("a bin lies out of range")?;
            if count == 0 || count > 1 << 40 || above >= count << BIN_BITS {
                return Err("a bin of a histogram has an impossible count or sum");
            }
            bins.push(Bin { index, count, above });
        }
        Ok(Histogram { least: wire.least, most: wire.most, bins })
    }
}

/// Small numbers for small distances from zero: 0, -1, 1, -2, 2, ...
fn zigzag(x: i64) -> u64 {
    ((x << 1) ^ (x >> 63)) as u64
}

/// Appends a number, seven bits to a byte, the low ones first.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The next number; `None` where the bytes end within it or it has more than 63 bits.
fn read(bytes: &mut std::slice::Iter<u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The histogram of one block while it is folded. Memory follows the bins that are hit: pages of 4,096 bins
/// (32 KiB) within twice the portfolio's value, and a list of the rare losses beyond, so it never exceeds 32
/// MiB.
pub(super) struct Tally {
    /// For each page of bins, one more than its place in `cells`; 0 where no loss has fallen yet.
    pages: [u32; PAGES],
    /// Bins in pages: the count above bit 32, the sum of distances below.
    cells: Vec<u64>,
    beyond: Vec<i64>,
    least: i64,
    most: i64,
}

const PAGE_BITS: u32 = 12;
const PAGES: usize = 256;
const SUM_BITS: u32 = 32;

impl Tally {
    /// No losses.
    pub(super) fn new() -> Tally {
        Tally { pages: [0; PAGES], cells: Vec::new(), beyond: Vec::new(), least: i64::MAX, most: i64::MIN }
    }

    /// Adds the first `live` losses of a batch, shares of the portfolio's gross value and not NaN. A tally
    /// takes at most 2^20 losses.
    #[inline(always)]
    pub(super) fn add(&mut self, losses: &[f64; BATCH], live: usize) {
        // Added to a number below 2^51, this leaves the number, rounded to even, in the low bits of the sum.
        const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
        let mut units = [0i64; BATCH];
        for (unit, &loss) in units.iter_mut().zip(losses) {
            *unit = (loss.clamp(-LIMIT, LIMIT) * UNITS + ROUND).to_bits() as i64 - ROUND.to_bits() as i64;
        }
        for &unit in &units[..live] {
            self.least = self.least.min(unit);
            self.most = self.most.max(unit);
        }
        for &unit in &units[..live] {
            let bin = unit >> BIN_BITS;
            let page = (bin >> PAGE_BITS) + (PAGES / 2) as i64;
            let Some(&place) = usize::try_from(page).ok().and_then(|p| self.pages.get(p)) else {
                self.beyond.push(unit);
                continue;
            };
            let place = if place == 0 { self.open(page as usize) } else { place };
            let cell = ((place as usize - 1) << PAGE_BITS) + (bin as usize & ((1 << PAGE_BITS) - 1));
            self.cells[cell] += 1 << SUM_BITS | (unit as u64 & ((1 << BIN_BITS) - 1));
        }
    }

    #[cold]
    #[inline(never)]
    fn open(&mut self, page: usize) -> u32 {
        self.cells.resize(self.cells.len() + (1 << PAGE_BITS), 0);
        self.pages[page] = (self.cells.len() >> PAGE_BITS) as u32;
        self.pages[page]
    }

    /// What was added.
    pub(super) fn finish(mut self) -> Histogram {
        let (least, most) = (self.least, self.most);
        let mut near = Vec::new();
        for (page, &place) in self.pages.iter().enumerate().filter(|(_, place)| **place > 0) {
            let start = (place as usize - 1) << PAGE_BITS;
            let first = (page as i64 - (PAGES / 2) as i64) << PAGE_BITS;
            for (cell, index) in self.cells[start..start + (1 << PAGE_BITS)].iter().zip(first..) {
                if *cell > 0 {
                    near.push(Bin { index, count: cell >> SUM_BITS, above: cell & ((1 << SUM_BITS) - 1) });
                }
            }
        }
        self.beyond.sort_unstable();
        let mut far: Vec<Bin> = Vec::new();
        for unit in self.beyond {
            let (index, above) = (unit >> BIN_BITS, unit as u64 & ((1 << BIN_BITS) - 1));
            match far.last_mut().filter(|bin| bin.index == index) {
                Some(bin) => (bin.count, bin.above) = (bin.count + 1, bin.above + above),
                None => far.push(Bin { index, count: 1, above }),
            }
        }
        let near = Histogram { least, most, bins: near };
        if far.is_empty() { near } else { near.merge(Histogram { least, most, bins: far }) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The histogram of `losses`, added 64 at a time.
    pub(in super::super) fn histogram(losses: &[f64]) -> Histogram {
        let mut tally = Tally::new();
        for batch in losses.chunks(BATCH) {
            let mut all = [0.0; BATCH];
            all[..batch.len()].copy_from_slice(batch);
            tally.add(&all, batch.len());
        }
        tally.finish()
    }

    /// The same, one loss after the other into a map, in wide integers.
    fn naive(losses: &[f64]) -> Histogram {
        let units = losses.iter().map(|x| (x.clamp(-LIMIT, LIMIT) * UNITS).round_ties_even() as i128);
        let mut bins: BTreeMap<i128, (u64, i128)> = BTreeMap::new();
        for unit in units.clone() {
            let bin = bins.entry(unit.div_euclid(1 << 10)).or_default();
            *bin = (bin.0 + 1, bin.1 + unit.rem_euclid(1 << 10));
        }
        Histogram {
            least: units.clone().min().map_or(i64::MAX, |x| x as i64),
            most: units.max().map_or(i64::MIN, |x| x as i64),
            bins: bins
                .iter()
                .map(|(&i, &(count, s))| Bin { index: i as i64, count, above: s as u64 })
                .collect(),
        }
    }

    fn losses() -> impl Strategy<Value = Vec<f64>> {
        let loss = prop_oneof![
            6 => -0.1f64..0.1,
            2 => -3.0f64..3.0,
            1 => -1e8f64..1e8,
            1 => prop::sample::select(vec![0.0, -0.0, BIN_WIDTH, -BIN_WIDTH, 2.0, -2.0, f64::INFINITY]),
        ];
        prop::collection::vec(loss, 0..300)
    }

    #[test]
    fn the_widest_sums_fit() {
        let full = Bin { index: 1 << 40, count: 1 << 40, above: ((1 << 10) - 1) << 40 };
        assert!(full.above < 1 << 50);
        assert!(full.sum().unsigned_abs() < 1 << 91, "so even 2^36 such bins add up in 128 bits");
        let mut tally = Tally::new();
        let near_edge = [BIN_WIDTH - 1.0 / UNITS; BATCH];
        for _ in 0..(1 << 20) / BATCH {
            tally.add(&near_edge, BATCH);
        }
        let want = Bin { index: 0, count: 1 << 20, above: ((1 << 10) - 1) << 20 };
        assert_eq!(tally.finish().bins, [want]);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let bins = |numbers: &[u64]| {
            let mut bins = Vec::new();
            numbers.iter().for_each(|&number| write(&mut bins, number));
            Histogram::try_from(Wire { least: 0, most: 0, bins })
        };
        let good = bins(&[zigzag(-3), 1, 5, 2, 2, 0]).unwrap();
        assert_eq!(good.bins, [Bin { index: -3, count: 1, above: 5 }, Bin { index: -1, count: 2, above: 0 }]);
        let table: [&[u64]; 8] = [
            &[4, 1],
            &[4, 1, 0, 1, 1],
            &[4, 1, 0, 0, 1, 0],
            &[4, 0, 0],
            &[4, 1, 1 << 10],
            &[4, (1 << 40) + 1, 0],
            &[4, 1, 0, 1 << 41, 1, 0],
            &[u64::MAX, 1, 0],
        ];
        for wrong in table {
            assert!(bins(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_tally_is_the_naive_histogram(losses in losses()) {
            let got = histogram(&losses);
            prop_assert_eq!(got.count(), losses.len() as u64);
            prop_assert_eq!(got, naive(&losses));
        }

        #[test]
        fn merging_is_exact_and_free_of_order(a in losses(), b in losses(), c in losses()) {
            let all = histogram(&[a.clone(), b.clone(), c.clone()].concat());
            let [a, b, c] = [a, b, c].map(|x| histogram(&x));
            prop_assert_eq!(&a.clone().merge(b.clone()), &b.clone().merge(a.clone()));
            prop_assert_eq!(&a.clone().merge(b.clone()).merge(c.clone()), &all);
            prop_assert_eq!(&a.merge(b.merge(c)), &all);
        }

        #[test]
        fn an_encoded_histogram_comes_back(losses in losses()) {
            let histogram = histogram(&losses);
            let bytes = postcard::to_stdvec(&histogram).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Histogram>(&bytes).unwrap(), histogram);
        }
    }
}
