//! What is kept of the values of a group: words of 64 bits, one group's after another's.
//!
//! Word 0 counts the rows. Each column of values has a slot behind it: as far as they are wanted, their sum, extremes, and
//! their count, mean and squared distances.

use serde::{Deserialize, Serialize};

/// Binary digits of a value that the sketch of quantiles keeps behind the first: right within 1 part in 2^8.
const SKETCH_DIGITS: u32 = 7;

/// What is wanted of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wants {
    pub(super) sum: bool,
    pub(super) extremes: bool,
    pub(super) spread: bool,
    pub(super) sketch: bool,
}

/// Where the words of a column lie in a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) wants: Wants,
    /// Whether its values are floating point.
    pub(super) float: bool,
    pub(super) at: u16,
    pub(super) width: u16,
}

/// The words of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub(super) slots: Vec<Slot>,
    pub(super) width: usize,
}

impl Layout {
    /// Of columns and what is wanted of them.
    pub(super) fn new(columns: &[(Wants, bool)]) -> Layout {
        let mut at = 1;
        let slot = |&(wants, float): &(Wants, bool)| {
            let words = [(wants.sum, 2), (wants.extremes, 2), (wants.spread, 3)];
            let width = words.iter().map(|&(wanted, words)| u16::from(wanted) * words).sum::<u16>();
            at += width;
            Slot { wants, float, at: at - width, width }
        };
        let slots: Vec<Slot> = columns.iter().map(slot).collect();
        let width = slots.iter().map(|s| usize::from(s.width)).sum::<usize>() + 1;
        Layout { slots, width }
    }

    /// The words of a group without rows.
    pub(super) fn empty(&self) -> Vec<u64> {
        let mut words = vec![0; self.width];
        for slot in self.slots.iter().filter(|s| s.wants.extremes) {
            let at = usize::from(slot.at) + slot.extremes();
            (words[at], words[at + 1]) = match slot.float {
                true => (f64::INFINITY.to_bits(), f64::NEG_INFINITY.to_bits()),
                false => (i64::MAX as u64, i64::MIN as u64),
            };
        }
        words
    }
}

impl Slot {
    pub(super) fn of<'a>(&self, words: &'a [u64]) -> &'a [u64] {
        &words[usize::from(self.at)..usize::from(self.at + self.width)]
    }

    #[inline(always)]
    pub(super) fn of_mut<'a>(&self, words: &'a mut [u64]) -> &'a mut [u64] {
        &mut words[usize::from(self.at)..usize::from(self.at + self.width)]
    }

    /// Where extremes and spread lie behind the sum.
    pub(super) fn extremes(&self) -> usize {
        2 * usize::from(self.wants.sum)
    }

    pub(super) fn spread(&self) -> usize {
        self.extremes() + 2 * usize::from(self.wants.extremes)
    }

    /// Where the sum lies behind the beginning of a state.
    pub(super) fn sum_at(&self) -> usize {
        usize::from(self.at)
    }

    #[inline(always)]
    pub(super) fn extreme_int(&self, words: &mut [u64], x: i64) {
        let at = self.extremes();
        words[at] = (words[at] as i64).min(x) as u64;
        words[at + 1] = (words[at + 1] as i64).max(x) as u64;
    }

    #[inline(always)]
    pub(super) fn extreme_float(&self, words: &mut [u64], x: f64) {
        let at = self.extremes();
        // Adding zero turns minus zero into zero.
        let x = x + 0.0;
        let (min, max) = (f64::from_bits(words[at]), f64::from_bits(words[at + 1]));
        words[at] = if x < min { x } else { min }.to_bits();
        words[at + 1] = if x > max { x } else { max }.to_bits();
    }

    /// Mean and squared distances, a value after another (Welford 1962).
    #[inline(always)]
    pub(super) fn spread_add(&self, words: &mut [u64], x: f64) {
        let at = self.spread();
        words[at] += 1;
        let (mean, m2) = (f64::from_bits(words[at + 1]), f64::from_bits(words[at + 2]));
        let d = x - mean;
        let moved = mean + d / words[at] as f64;
        words[at + 1] = moved.to_bits();
        words[at + 2] = d.mul_add(x - moved, m2).to_bits();
    }

    /// Adds the values of another group's words.
    pub(super) fn merge(&self, words: &mut [u64], other: &[u64]) -> Result<(), Spill> {
        if self.wants.spread && other[self.spread()] > 0 {
            self.spread_merge(words, other);
        }
        if self.wants.extremes {
            let at = self.extremes();
            let pick = |a: u64, b: u64, less: bool| match self.float {
                true if (f64::from_bits(b) < f64::from_bits(a)) == less && a != b => b,
                false if ((b as i64) < a as i64) == less && a != b => b,
                _ => a,
            };
            words[at] = pick(words[at], other[at], true);
            words[at + 1] = pick(words[at + 1], other[at + 1], false);
        }
        if !self.wants.sum {
            return Ok(());
        }
        let sum = words.first_chunk_mut().expect("a sum has two words");
        add(sum, get_sum(other));
        take_far(sum).map_or(Ok(()), Err)
    }

    /// Chan, Golub and LeVeque 1979.
    fn spread_merge(&self, words: &mut [u64], other: &[u64]) {
        let at = self.spread();
        let read = |w: &[u64]| (w[at] as f64, f64::from_bits(w[at + 1]), f64::from_bits(w[at + 2]));
        let ((a, mean, m2), (b, their_mean, their_m2)) = (read(words), read(other));
        let d = their_mean - mean;
        let share = b / (a + b);
        words[at] += other[at];
        words[at + 1] = d.mul_add(share, mean).to_bits();
        words[at + 2] = (d * d).mul_add(a * share, m2 + their_m2).to_bits();
    }
}

/// What goes into the wide register of a group instead.
pub(super) struct Spill {
    /// Units of the narrow sum.
    pub(super) sum: i128,
    /// A number.
    pub(super) number: f64,
}

#[inline(always)]
pub(super) fn get_sum(words: &[u64]) -> i128 {
    (u128::from(words[0]) | u128::from(words[1]) << 64) as i128
}

/// Adds whole numbers, or units, to the two words of a sum, and returns the high one: see [`far`].
#[inline(always)]
pub(super) fn add(sum: &mut [u64; 2], more: i128) -> u64 {
    let held = (u128::from(sum[0]) | u128::from(sum[1]) << 64) as i128;
    let all = held.wrapping_add(more);
    *sum = [all as u64, (all >> 64) as u64];
    sum[1]
}

/// Not zero in its first bit when a sum with this high word is 2^126 or more in size. One that is not takes another such,
/// or a thousand units of one number, without an overflow.
#[inline(always)]
pub(super) fn far(high: u64) -> u64 {
    high ^ (high << 1)
}

/// Empties a sum that is too large to take more, if it is.
pub(super) fn take_far(sum: &mut [u64; 2]) -> Option<Spill> {
    let held = (u128::from(sum[0]) | u128::from(sum[1]) << 64) as i128;
    (far(sum[1]) >> 63 == 1).then(|| {
        *sum = [0; 2];
        Spill { sum: held, number: 0.0 }
    })
}

/// The bucket of a number: buckets are ordered as the numbers in them.
#[inline(always)]
pub(super) fn bucket(x: f64) -> i32 {
    let size = (x.abs().to_bits() >> (52 - SKETCH_DIGITS)) as i32;
    if x < 0.0 { -size - 1 } else { size }
}

/// The number that stands for a bucket.
pub(super) fn middle(bucket: i32) -> f64 {
    let size = if bucket < 0 { -bucket - 1 } else { bucket };
    let bits = (size as u64) << (52 - SKETCH_DIGITS);
    let half = if size == 0 { 0 } else { 1 << (51 - SKETCH_DIGITS) };
    let x = f64::from_bits(bits | half);
    if bucket < 0 { -x } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn buckets_are_ordered_and_narrow(a in -1e9f64..1e9, b in -1e9f64..1e9) {
            prop_assert!((a < b) <= (bucket(a) <= bucket(b)));
            if a.abs() > 1e-300 {
                prop_assert!((middle(bucket(a)) / a - 1.0).abs() <= 1.0 / 256.0);
            }
        }
    }

    #[test]
    fn zeros_share_a_bucket() {
        assert_eq!((bucket(0.0), bucket(-0.0), middle(0)), (0, 0, 0.0));
    }
}
