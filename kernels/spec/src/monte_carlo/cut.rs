//! How the paths of a book are cut into blocks: by the request alone, never by the machine.
//!
//! Invariants: every path of every option lies in exactly one block, a block has paths of one option, and no block
//! begins inside a batch.

use crate::tree::{Grid, MAX_BLOCKS};
use std::ops::Range;

/// Paths are drawn in batches of this size.
pub const BATCH: u64 = 64;
/// What a block costs, in steps of plain paths: about 8 ms of a core with AVX-512.
const BLOCK_COST: u64 = 1 << 22;
/// Blocks that a job has at least, where they are not smaller than [`LEAST_COST`]: small jobs must spread, too.
const LEAST_BLOCKS: u64 = 32;
/// A block is not made smaller than this for the sake of [`LEAST_BLOCKS`]: about 0.1 ms.
const LEAST_COST: u64 = 1 << 16;
/// Paths that a thread block of a GPU walks.
pub const GPU_TILE: u64 = 2048;
/// What a block costs on a GPU: one launch, 4 ms of the largest cards and a tenth of a second of small ones.
const GPU_BLOCK_COST: u64 = 1 << 32;
/// As [`LEAST_COST`], on a GPU.
const GPU_LEAST_COST: u64 = 1 << 18;

/// The blocks of a book: those of its first option, then those of its second, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    paths: u64,
    /// Paths in a block of each option.
    sizes: Vec<u64>,
    /// The first block of each option, and one past the last.
    first: Vec<u64>,
}

impl Cut {
    /// Cuts `paths` paths of each option; `costs` says what one path of each costs ([`super::Contract::path_cost`]).
    ///
    /// # Panics
    /// When there are more options than blocks may be.
    pub fn new(paths: u64, costs: &[u64]) -> Self {
        Cut::into_blocks(paths, costs, (LEAST_COST, BLOCK_COST), BATCH)
    }

    /// As [`Cut::new`], into the larger blocks of a GPU. Its class is another, so its grid may be, too.
    ///
    /// # Panics
    /// When there are more options than blocks may be.
    pub fn for_gpu(paths: u64, costs: &[u64]) -> Self {
        Cut::into_blocks(paths, costs, (GPU_LEAST_COST, GPU_BLOCK_COST), GPU_TILE)
    }

    /// Blocks that cost as much as `bounds` say, and begin at multiples of `batch` paths.
    fn into_blocks(paths: u64, costs: &[u64], (least, most): (u64, u64), batch: u64) -> Self {
        assert!(costs.len() <= MAX_BLOCKS as usize, "every option has at least one block");
        let total = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(cost.saturating_mul(paths)));
        let mut block_cost = (total / LEAST_BLOCKS).clamp(least, most);
        loop {
            let size =
                |cost: &u64| (block_cost / cost).max(1).checked_next_multiple_of(batch).unwrap_or(paths);
            let sizes: Vec<u64> = costs.iter().map(size).collect();
            let mut first = vec![0];
            for size in &sizes {
                first.push(first[first.len() - 1] + paths.div_ceil(*size).max(1));
            }
            if first[costs.len()] <= u64::from(MAX_BLOCKS) {
                return Cut { paths, sizes, first };
            }
            block_cost = block_cost.saturating_mul(2);
        }
    }

    /// The blocks as a grid.
    pub fn grid(&self) -> Grid {
        Grid::new(self.first[self.sizes.len()])
    }

    /// The option that `block` belongs to, and its paths.
    ///
    /// # Panics
    /// When the grid has no such block.
    pub fn block(&self, block: u32) -> (usize, Range<u64>) {
        let block = u64::from(block);
        let option = self.first.partition_point(|&first| first <= block) - 1;
        let start = (block - self.first[option]) * self.sizes[option];
        (option, start..start.saturating_add(self.sizes[option]).min(self.paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_of_a_good_size() {
        let blocks = |paths, cost| Cut::new(paths, &[cost]).grid().blocks();
        assert_eq!(blocks(10_000_000, 252), 599, "about 10e6 * 252 / 2^22");
        assert_eq!(blocks(1_000_000, 4), 32, "a European option spreads over 32 blocks");
        assert_eq!(blocks(1_000, 4), 1, "too little to spread");
        assert!(
            (MAX_BLOCKS / 2..=MAX_BLOCKS).contains(&blocks(1 << 50, 252)),
            "large jobs have larger blocks"
        );
        assert_eq!(blocks(2, 1 << 30), 1, "a path is not cut");
    }

    #[test]
    fn blocks_of_a_gpu_are_large_launches() {
        let blocks = |paths, cost| Cut::for_gpu(paths, &[cost]).grid().blocks();
        assert_eq!(blocks(1_000_000_000, 252), 59, "17 million paths in each");
        assert_eq!(blocks(1_000_000, 252), 31);
        assert_eq!(blocks(1_000, 252), 1);
        let (_, paths) = Cut::for_gpu(1_000_000_000, &[252]).block(1);
        assert!(paths.start % GPU_TILE == 0);
        assert!((MAX_BLOCKS / 2..=MAX_BLOCKS).contains(&blocks(1 << 50, 252)));
    }

    proptest! {
        #[test]
        fn every_path_lies_in_one_block(
            paths in 2u64..3_000_000,
            shift in 0u32..30,
            costs in prop::collection::vec(1u64..100_000, 1..20),
        ) {
            let paths = (paths << shift).min(1 << 50);
            let cut = Cut::new(paths, &costs);
            prop_assert!(cut.grid().blocks() <= MAX_BLOCKS);
            let (mut option, mut next) = (0, 0);
            for block in 0..cut.grid().blocks() {
                let (of, range) = cut.block(block);
                if of != option {
                    prop_assert_eq!((of, next), (option + 1, paths));
                    (option, next) = (of, 0);
                }
                prop_assert_eq!(range.start, next);
                prop_assert!(range.start < range.end && range.start % BATCH == 0);
                next = range.end;
            }
            prop_assert_eq!((option + 1, next), (costs.len(), paths));
        }
    }
}
