//! What a core can do at most: read memory, and multiply and add. Whoever tells how fast something is tells it beside these.
//!
//! Step 13 of a job's way (DESIGN section 4). Both are hot loops of their own kind, at the level of the host's vectors, with
//! enough that is independent to keep the units busy.

use crate::simd::{Lanes, Simd, Vectorised};
use std::hint::black_box;

/// The sum of numbers that lie in memory, read from several places at once: what is read is a ceiling for all that reads.
pub fn read(simd: Simd, numbers: &[f64]) -> f64 {
    simd.run(Sum(numbers))
}

struct Sum<'a>(&'a [f64]);

/// Places that are read at once. One sequence of cache lines does not keep the memory busy on every host, and the reading
/// that is a ceiling has to be the fastest that can be had.
const STREAMS: usize = 4;

impl Vectorised for Sum<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let mut lanes = [[0.0; 32]; STREAMS];
        let streams: [&[[f64; 32]]; STREAMS] =
            std::array::from_fn(|s| self.0[s * (self.0.len() / STREAMS)..].as_chunks().0);
        for at in 0..self.0.len() / STREAMS / 32 {
            for (lanes, stream) in lanes.iter_mut().zip(streams) {
                for (lane, number) in lanes.iter_mut().zip(&stream[at]) {
                    *lane += L::pass(*number);
                }
            }
        }
        lanes.as_flattened().iter().sum()
    }
}

/// Multiplies and adds so many rounds of independent vectors of f64; how many operations that were, two to a fused
/// multiply-add, and a number that keeps them from being left out.
pub fn multiply_add(simd: Simd, rounds: u32) -> (u64, f64) {
    simd.wide(MultiplyAdd(rounds))
}

struct MultiplyAdd(u32);

/// Vectors in flight: two units with a latency of up to five cycles, and some to spare.
const IN_FLIGHT: usize = 12;

impl pulp::WithSimd for MultiplyAdd {
    type Output = (u64, f64);
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> (u64, f64) {
        // It stays near one, whatever the number of rounds.
        let (by, plus) = (simd.splat_f64s(black_box(0.999_999)), simd.splat_f64s(black_box(0.000_001)));
        let mut vectors: [S::f64s; IN_FLIGHT] =
            std::array::from_fn(|at| simd.splat_f64s(black_box(1.0 + at as f64 * 1e-9)));
        for _ in 0..self.0 {
            for vector in &mut vectors {
                *vector = simd.mul_add_f64s(*vector, by, plus);
            }
        }
        let sum = vectors.into_iter().fold(simd.splat_f64s(0.0), |sum, vector| simd.add_f64s(sum, vector));
        let lanes = size_of::<S::f64s>() / size_of::<f64>();
        (u64::from(self.0) * (IN_FLIGHT * lanes) as u64 * 2, simd.reduce_sum_f64s(sum) / lanes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_read_and_all_is_counted() {
        for simd in Simd::all() {
            let numbers = vec![1.0; 4 * 32 * 5];
            assert_eq!(read(simd, &numbers), 640.0);
            let (operations, about) = multiply_add(simd, 100);
            assert!(operations >= 100 * 12 * 2 && operations % 2400 == 0, "{operations}");
            assert!((about - 12.0).abs() < 1e-6, "{about}");
        }
    }
}
