//! What one launch of `asian.cu` is given, and what becomes of its sums.

use crate::math::{exp, philox::Philox};
use muster_spec::monte_carlo::{Contract, GPU_TILE, Right};
use std::ops::Range;

/// The CUDA source: the one description of threads, rounds and sums that the software device follows, too.
#[cfg(any(feature = "gpu", test))]
pub(super) const SOURCE: &str = include_str!("asian.cu");
/// The name of its entry.
#[cfg(feature = "gpu")]
pub(super) const ENTRY: &str = "asian";
/// Threads of a CUDA block.
pub(super) const THREADS: usize = 256;
/// Pairs of paths that a thread walks, one after the other.
pub(super) const ROUNDS: usize = GPU_TILE as usize / (2 * THREADS);

/// One launch. Field by field the `Asian` of `asian.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Asian {
    pub(super) key: [u32; 20],
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) spot_per_date: f64,
    pub(super) strike: f64,
    pub(super) sign: f64,
    pub(super) discount: f64,
    pub(super) pivot: f64,
    pub(super) drift: f32,
    pub(super) spread: f32,
    pub(super) steps: u32,
    pub(super) stream: u32,
}

/// Sums over the paths of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Of deviations from the pivot.
    pub sum: f64,
    /// Of their squares.
    pub square: f64,
}

impl Asian {
    /// The launches of an option that pays on an arithmetic mean (of one price, where there is one date), before paths
    /// are chosen. `stream` is its place in the book.
    pub fn new(contract: &Contract, rng: Philox, stream: u32) -> Asian {
        let asset = contract.assets[0];
        let dt = contract.expiry / f64::from(contract.steps);
        let drift = (contract.rate - asset.dividend - 0.5 * asset.volatility * asset.volatility) * dt;
        let log2_e = std::f64::consts::LOG2_E;
        let mut asian = Asian {
            key: rng.keys(),
            first: 0,
            end: 0,
            spot_per_date: asset.spot / f64::from(contract.steps),
            strike: contract.strike,
            sign: if contract.right == Right::Call { 1.0 } else { -1.0 },
            discount: exp(-contract.rate * contract.expiry),
            pivot: 0.0,
            drift: (drift * log2_e) as f32,
            spread: (asset.volatility * dt.sqrt() * log2_e) as f32,
            steps: contract.steps,
            stream,
        };
        // What the path without chance pays lies near what the others pay.
        let seen = (1..=contract.steps).fold(0.0, |seen, step| seen + exp(drift * f64::from(step)));
        asian.pivot = asian.pays(seen);
        asian
    }

    /// The launch of these paths.
    #[must_use]
    pub fn over(mut self, paths: &Range<u64>) -> Asian {
        (self.first, self.end) = (paths.start, paths.end);
        self
    }

    /// How many CUDA blocks the launch has, and so how many pairs of sums.
    pub(super) fn tiles(&self) -> usize {
        (self.end - self.first).div_ceil(GPU_TILE) as usize
    }

    /// What a path pays in today's money whose prices over spot add up to `seen`.
    pub(super) fn pays(&self, seen: f64) -> f64 {
        let gain = self.sign * (self.spot_per_date * seen - self.strike);
        self.discount * if gain > 0.0 { gain } else { 0.0 }
    }

    /// Mean and sum of squared deviations from it.
    pub fn moments(&self, sums: Sums) -> (f64, f64) {
        let n = (self.end - self.first) as f64;
        let m2 = sums.square - sums.sum * (sums.sum / n);
        (self.pivot + sums.sum / n, if m2 < 0.0 { 0.0 } else { m2 })
    }
}

/// Adds the sums of CUDA blocks in the order of their indices.
pub(super) fn add_up(parts: impl Iterator<Item = [f64; 2]>) -> Sums {
    parts.fold(Sums::default(), |all, [sum, square]| Sums { sum: all.sum + sum, square: all.square + square })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_and_host_agree_on_the_geometry() {
        for line in [format!("#define THREADS {THREADS}"), format!("#define ROUNDS {ROUNDS}")] {
            assert!(SOURCE.contains(&line), "{line}");
        }
        assert_eq!((THREADS * ROUNDS * 2) as u64, GPU_TILE);
        assert!(SOURCE.contains("#define TILE (2 * THREADS * ROUNDS)"));
        assert_eq!(size_of::<Asian>(), 80 + 16 + 40 + 16, "as the compiler of the card lays it out");
    }
}
