//! The moments of one column: sub-blocks of 4,096 values, merged pairwise.
//!
//! A sub-block is read once: 16 lanes sum powers of the distance from a pivot, and the moments about the mean follow
//! from them. The pivot is the mean of the sub-block's first 64 values. It lies far from the mean only where those
//! values lie far from the rest, and then they spread the sub-block as widely: at worst the variance loses six bits.
//! Measured on two cores with AVX-512: 0.95 of the bandwidth of reading, where a second pass about the mean reached
//! 0.60, as it computes while memory waits, and an exact accumulator free of order 0.1.

use crate::simd::{Lanes, Simd, Vectorised, prefetch};
use muster_spec::moments::SUB_BLOCK;
use serde::{Deserialize, Serialize};

const LANES: usize = 16;

/// How many values give the pivot.
const PIVOT: usize = 64;

/// How many values ahead of the sums memory is asked for: 8 KiB, two pages, as the processor's own
/// prefetch stops at each.
const AHEAD: usize = 1024;

/// Count, mean, sums of powers of the distance from the mean, and extremes. Minus zero counts as zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnMoments {
    /// How many values.
    pub count: u64,
    /// How many were missing.
    pub missing: u64,
    /// Their mean; 0 without values.
    pub mean: f64,
    /// The sum of squared distances.
    pub m2: f64,
    /// The sum of cubed distances.
    pub m3: f64,
    /// The sum of fourth powers of the distances.
    pub m4: f64,
    /// The smallest; infinity without values.
    pub min: f64,
    /// The largest; minus infinity without values.
    pub max: f64,
}

impl ColumnMoments {
    /// Of no value.
    pub const EMPTY: ColumnMoments = ColumnMoments {
        count: 0,
        missing: 0,
        mean: 0.0,
        m2: 0.0,
        m3: 0.0,
        m4: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
    };

    /// Adds the values of `other` (Pebay 2008).
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let missing = self.missing + other.missing;
        if self.count == 0 || other.count == 0 {
            let kept = if self.count == 0 { other } else { self };
            return ColumnMoments { missing, ..kept };
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        let (pa, pb) = (a / n, b / n);
        let d = other.mean - self.mean;
        let d2 = d * d;
        let m2 = self.m2 + other.m2 + d2 * (a * pb);
        let m3 =
            self.m3 + other.m3 + d * d2 * (a * pb) * (pa - pb) + 3.0 * d * (pa * other.m2 - pb * self.m2);
        let m4 = self.m4
            + other.m4
            + d2 * d2 * (a * pb) * (pa * pa - pa * pb + pb * pb)
            + 6.0 * d2 * (pa * pa * other.m2 + pb * pb * self.m2)
            + 4.0 * d * (pa * other.m3 - pb * self.m3);
        ColumnMoments {
            count: self.count + other.count,
            missing,
            mean: self.mean + d * pb,
            m2,
            m3,
            m4,
            min: if other.min < self.min { other.min } else { self.min },
            max: if other.max > self.max { other.max } else { self.max },
        }
    }

    /// The sample variance, divided by `n - 1`.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.m2 / (self.count as f64 - 1.0))
    }

    /// The skewness `g1`, without correction for small samples; none for constant values.
    pub fn skewness(&self) -> Option<f64> {
        let n = self.count as f64;
        (self.count > 1 && self.m2 > 0.0).then(|| (self.m3 / n) / ((self.m2 / n) * (self.m2 / n).sqrt()))
    }

    /// The excess kurtosis `g2`, without correction for small samples; none for constant values.
    pub fn kurtosis(&self) -> Option<f64> {
        let n = self.count as f64;
        (self.count > 1 && self.m2 > 0.0).then(|| (self.m4 / n) / ((self.m2 / n) * (self.m2 / n)) - 3.0)
    }
}

/// Sums over a sub-block, by lane: the first four powers of the distance from a pivot, and the extremes.
#[derive(Clone, Copy)]
struct Sums {
    powers: [[f64; LANES]; 4],
    min: [f64; LANES],
    max: [f64; LANES],
}

impl Sums {
    const NONE: Sums =
        Sums { powers: [[0.0; LANES]; 4], min: [f64::INFINITY; LANES], max: [f64::NEG_INFINITY; LANES] };

    /// Adds a row of values, as many as there are lanes or fewer. By value, so that the lanes stay in registers.
    #[inline(always)]
    fn add<L: Lanes>(mut self, values: &[f64], pivot: f64) -> Sums {
        for (i, &x) in values.iter().enumerate().take(LANES) {
            let x = L::pass(x);
            let d = x - pivot;
            let d2 = d * d;
            self.powers[0][i] += d;
            self.powers[1][i] = d.mul_add(d, self.powers[1][i]);
            self.powers[2][i] = d2.mul_add(d, self.powers[2][i]);
            self.powers[3][i] = d2.mul_add(d2, self.powers[3][i]);
            self.min[i] = if x < self.min[i] { x } else { self.min[i] };
            self.max[i] = if x > self.max[i] { x } else { self.max[i] };
        }
        self
    }

    /// The moments of the `count` values added.
    #[inline(always)]
    fn moments(&self, count: usize, pivot: f64) -> ColumnMoments {
        let n = count as f64;
        let [s1, s2, s3, s4] = self.powers.map(|lanes| fold(lanes, |a, b| a + b));
        let d = s1 / n;
        let d2 = d * d;
        ColumnMoments {
            count: count as u64,
            missing: 0,
            mean: pivot + d,
            m2: (s2 - n * d2).max(0.0),
            m3: s3 - 3.0 * d * s2 + 2.0 * n * d2 * d,
            m4: (s4 - 4.0 * d * s3 + 6.0 * d2 * s2 - 3.0 * n * d2 * d2).max(0.0),
            // Adding zero turns minus zero into zero.
            min: fold(self.min, |a, b| if b < a { b } else { a }) + 0.0,
            max: fold(self.max, |a, b| if b > a { b } else { a }) + 0.0,
        }
    }
}

/// The moments of every sub-block of a slice, in order.
struct SubBlocks<'a>(&'a [f64], &'a mut Vec<ColumnMoments>);

impl Vectorised for SubBlocks<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for values in self.0.chunks(SUB_BLOCK as usize) {
            let pivot = pivot(values);
            let (rows, rest) = values.as_chunks::<LANES>();
            let mut sums = Sums::NONE;
            for row in rows {
                prefetch(row.as_ptr().wrapping_add(AHEAD));
                prefetch(row.as_ptr().wrapping_add(AHEAD + LANES / 2));
                sums = sums.add::<L>(row, pivot);
            }
            self.1.push(sums.add::<L>(rest, pivot).moments(values.len(), pivot));
        }
    }
}

/// The mean of the first values, as many as the largest power of two that is there and is not above
/// [`PIVOT`]: equal values have no distance from it.
#[inline(always)]
fn pivot(values: &[f64]) -> f64 {
    let mut width = 1 << values.len().min(PIVOT).ilog2();
    let mut sums = [0.0; PIVOT];
    sums[..width].copy_from_slice(&values[..width]);
    let n = width as f64;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0] / n
}

/// Combines the lanes pairwise, neighbours first.
#[inline(always)]
fn fold(mut lanes: [f64; LANES], op: impl Fn(f64, f64) -> f64) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = op(lanes[2 * i], lanes[2 * i + 1]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Merges sub-blocks pairwise as they come: a binary counter of partials.
#[derive(Clone, Debug, Default)]
pub struct Pairwise {
    /// Partials of descending size: each stands for `2^level` sub-blocks.
    held: Vec<(u32, ColumnMoments)>,
}

impl Pairwise {
    /// Adds values; all but the last call with a multiple of [`SUB_BLOCK`] of them.
    pub fn push(&mut self, simd: Simd, values: &[f64]) {
        // So many at once that the partials stay in the cache.
        for values in values.chunks(256 * SUB_BLOCK as usize) {
            let mut partials = Vec::with_capacity(values.len().div_ceil(SUB_BLOCK as usize));
            simd.run(SubBlocks(values, &mut partials));
            partials.into_iter().for_each(|partial| self.hold(partial));
        }
    }

    fn hold(&mut self, mut partial: ColumnMoments) {
        let mut level = 0;
        while let Some(&(top, before)) = self.held.last()
            && top == level
        {
            partial = before.merge(partial);
            level += 1;
            self.held.pop();
        }
        self.held.push((level, partial));
    }

    /// Everything merged.
    pub fn total(&self) -> ColumnMoments {
        let mut all = self.held.iter().rev().map(|(_, partial)| *partial);
        let last = all.next().unwrap_or(ColumnMoments::EMPTY);
        all.fold(last, |right, left| left.merge(right))
    }
}

/// The moments of numbers in memory, by one thread.
pub fn of_slice(simd: Simd, values: &[f64]) -> ColumnMoments {
    let mut pairwise = Pairwise::default();
    pairwise.push(simd, values);
    pairwise.total()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook's two passes.
    fn naive(values: &[f64]) -> ColumnMoments {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let power = |k: i32| values.iter().map(|x| (0..k).fold(1.0, |p, _| p * (x - mean))).sum::<f64>();
        ColumnMoments {
            count: values.len() as u64,
            missing: 0,
            mean,
            m2: power(2),
            m3: power(3),
            m4: power(4),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    fn close(a: &ColumnMoments, b: &ColumnMoments) -> bool {
        let scale = (b.m2 / b.count as f64).sqrt() + 1e-300;
        let n = b.count as f64;
        let near = |x: f64, y: f64, unit: f64| (x - y).abs() <= 1e-9 * unit + 1e-9 * y.abs();
        a.count == b.count
            && near(a.mean, b.mean, scale)
            && near(a.m2, b.m2, n * scale * scale)
            && near(a.m3, b.m3, n * scale * scale * scale)
            && near(a.m4, b.m4, n * scale * scale * scale * scale)
            && a.min == b.min
            && a.max == b.max
    }

    fn noise(n: usize, offset: f64) -> Vec<f64> {
        (0..n).map(|i| offset + ((i as f64) * 0.618_033_988_75).fract() * 2.0 - 0.7).collect()
    }

    #[test]
    fn agrees_with_two_passes_and_at_every_level() {
        for (n, offset) in
            [(1, 0.0), (2, 3.0), (31, 0.0), (4096, 1.0), (4097, 0.0), (50_000, 0.0), (50_000, 1e6)]
        {
            let values = noise(n, offset);
            let all = Simd::all();
            let ours = of_slice(all[0], &values);
            assert!(close(&ours, &naive(&values)), "{n} values at {offset}: {ours:?}, {:?}", naive(&values));
            for &level in &all {
                assert_eq!(of_slice(level, &values), ours, "{}", level.name());
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_drown_the_variance() {
        let near_zero = of_slice(Simd::all()[0], &noise(100_000, 0.0));
        let far = of_slice(Simd::all()[0], &noise(100_000, 1e9));
        let (a, b) = (near_zero.variance().unwrap(), far.variance().unwrap());
        assert!((a / b - 1.0).abs() < 1e-6, "{a} and {b}");
    }

    #[test]
    fn a_pivot_far_from_the_mean_loses_little() {
        for jump in [1e3, 1e9, -1e12] {
            let mut values = noise(4096, jump);
            values[..PIVOT].copy_from_slice(&noise(PIVOT, 0.0));
            let (ours, theirs) = (of_slice(Simd::all()[0], &values), naive(&values));
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
            assert!(near(ours.m2, theirs.m2) && near(ours.m4, theirs.m4), "{jump}: {ours:?}, {theirs:?}");
        }
        for n in [1, 3, 63, 100, 4096, 5000] {
            assert_eq!(of_slice(Simd::all()[0], &vec![0.1; n]).m2, 0.0, "{n} equal values");
        }
    }

    #[test]
    fn minus_zero_is_zero() {
        let m = of_slice(Simd::all()[0], &[-0.0, 0.0, -0.0]);
        assert_eq!((m.min.to_bits(), m.max.to_bits(), m.mean.to_bits()), (0, 0, 0));
        assert_eq!((m.variance(), m.skewness(), m.kurtosis()), (Some(0.0), None, None));
        assert_eq!(of_slice(Simd::all()[0], &[5.0]).variance(), None);
    }

    proptest! {
        #[test]
        fn merging_any_split_agrees_with_the_whole(
            values in prop::collection::vec(-1e3f64..1e3, 1..300), at in 0usize..300, offset in -1e5f64..1e5,
        ) {
            let values: Vec<f64> = values.iter().map(|x| x + offset).collect();
            let at = at.min(values.len());
            let simd = Simd::all()[0];
            let merged = of_slice(simd, &values[..at]).merge(of_slice(simd, &values[at..]));
            prop_assert!(close(&merged, &of_slice(simd, &values)), "{:?} {:?}", merged, of_slice(simd, &values));
            let bytes = postcard::to_stdvec(&merged).unwrap();
            prop_assert_eq!(postcard::from_bytes::<ColumnMoments>(&bytes).unwrap(), merged);
        }
    }
}
