//! The moments of one column: sub-blocks of 4,096 values, each in two passes, merged pairwise.
//!
//! The first pass over a sub-block sums and finds the extremes, the second sums powers of the distance from the mean;
//! the second reads from the first-level cache, so that memory is read once. An exact accumulator free of order takes
//! 1.5 times as long as memory does, so the sums are ordered instead: 32 lanes, then a fixed tree.

use crate::simd::{Lanes, Simd, Vectorised};
use muster_spec::moments::SUB_BLOCK;
use serde::{Deserialize, Serialize};

const LANES: usize = 32;

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

/// The moments of at most [`SUB_BLOCK`] values.
struct SubBlock<'a>(&'a [f64]);

impl Vectorised for SubBlock<'_> {
    type Out = ColumnMoments;

    #[inline(always)]
    fn run<L: Lanes>(self) -> ColumnMoments {
        let values = self.0;
        if values.is_empty() {
            return ColumnMoments::EMPTY;
        }
        let (mut sum, mut min, mut max) = ([0.0; LANES], [f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        let (whole, rest) = values.as_chunks::<LANES>();
        let first = |x: f64, sum: &mut f64, min: &mut f64, max: &mut f64| {
            // Adding zero turns minus zero into zero.
            let x = L::pass(x + 0.0);
            *sum += x;
            *min = if x < *min { x } else { *min };
            *max = if x > *max { x } else { *max };
        };
        for chunk in whole {
            for i in 0..LANES {
                first(chunk[i], &mut sum[i], &mut min[i], &mut max[i]);
            }
        }
        for (i, &x) in rest.iter().enumerate() {
            first(x, &mut sum[i], &mut min[i], &mut max[i]);
        }
        let n = values.len() as f64;
        let mean = fold(sum, |a, b| a + b) / n;
        let (mut m2, mut m3, mut m4) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let second = |x: f64, m2: &mut f64, m3: &mut f64, m4: &mut f64| {
            let d = L::pass(x - mean);
            let d2 = d * d;
            *m2 += d2;
            *m3 = d2.mul_add(d, *m3);
            *m4 = d2.mul_add(d2, *m4);
        };
        for chunk in whole {
            for i in 0..LANES {
                second(chunk[i], &mut m2[i], &mut m3[i], &mut m4[i]);
            }
        }
        for (i, &x) in rest.iter().enumerate() {
            second(x, &mut m2[i], &mut m3[i], &mut m4[i]);
        }
        ColumnMoments {
            count: values.len() as u64,
            missing: 0,
            mean,
            m2: fold(m2, |a, b| a + b),
            m3: fold(m3, |a, b| a + b),
            m4: fold(m4, |a, b| a + b),
            min: fold(min, |a, b| if b < a { b } else { a }),
            max: fold(max, |a, b| if b > a { b } else { a }),
        }
    }
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
    /// Adds the values of one sub-block.
    pub fn push(&mut self, simd: Simd, values: &[f64]) {
        let mut partial = simd.run(SubBlock(values));
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
    for sub_block in values.chunks(SUB_BLOCK as usize) {
        pairwise.push(simd, sub_block);
    }
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
