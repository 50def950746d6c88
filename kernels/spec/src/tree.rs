//! The block tree: one canonical binary tree over the blocks of a grid, fixed by the number of blocks alone.
//!
//! A [`Node`] of level `l` and index `i` covers the blocks `i * 2^l .. min((i + 1) * 2^l, blocks)`. Leaves are level
//! 0. A node whose right half lies outside the grid has the partial of its left child, unmerged, so every partial of
//! the tree is determined by the grid: `left.merge(right)`, always that pair, whoever computed them.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The most blocks a grid may have.
pub const MAX_BLOCKS: u32 = 1 << 20;

/// How a kernel's index space is cut: the number of blocks, at least 1 and at most [`MAX_BLOCKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    blocks: u32,
}

impl Grid {
    /// A grid of `blocks` blocks, clamped into `1..=MAX_BLOCKS`.
    pub fn new(blocks: u64) -> Self {
        Grid { blocks: blocks.clamp(1, u64::from(MAX_BLOCKS)) as u32 }
    }

    /// The number of blocks.
    pub fn blocks(self) -> u32 {
        self.blocks
    }

    /// The node that covers every block.
    pub fn root(self) -> Node {
        Node { level: self.blocks.next_power_of_two().trailing_zeros() as u8, index: 0 }
    }

    /// The items `0..items` that belong to `block` when they are spread evenly over the grid: the first
    /// `items % blocks` blocks hold one more.
    pub fn share(self, items: u64, block: u32) -> Range<u64> {
        let (blocks, block) = (u64::from(self.blocks), u64::from(block));
        let (each, more) = (items / blocks, items % blocks);
        let start = block * each + block.min(more);
        start..start + each + u64::from(block < more)
    }
}

/// A node of the block tree: an aligned subtree of `2^level` leaves. The derived order is by level, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node {
    /// Height above the leaves.
    pub level: u8,
    /// Position among the nodes of this level.
    pub index: u32,
}

impl Node {
    /// The leaf of one block.
    pub fn leaf(block: u32) -> Self {
        Node { level: 0, index: block }
    }

    /// The blocks below this node.
    pub fn blocks(self, grid: Grid) -> Range<u32> {
        let end = (u64::from(self.index) + 1) << self.level;
        self.first()..end.min(u64::from(grid.blocks())) as u32
    }

    /// The first block below this node.
    pub fn first(self) -> u32 {
        ((u64::from(self.index)) << self.level).min(u64::from(u32::MAX)) as u32
    }

    /// Whether any block of the grid lies below this node.
    pub fn exists(self, grid: Grid) -> bool {
        self.level <= grid.root().level && self.first() < grid.blocks()
    }

    /// The node above.
    pub fn parent(self) -> Self {
        Node { level: self.level + 1, index: self.index / 2 }
    }

    /// The other child of the parent.
    pub fn sibling(self) -> Self {
        Node { level: self.level, index: self.index ^ 1 }
    }

    /// Whether this is the left child of its parent.
    pub fn is_left(self) -> bool {
        self.index.is_multiple_of(2)
    }

    /// Left and right child; `None` for a leaf. The right child may lie outside the grid ([`Node::exists`]).
    pub fn children(self) -> Option<(Self, Self)> {
        let level = self.level.checked_sub(1)?;
        Some((Node { level, index: self.index * 2 }, Node { level, index: self.index * 2 + 1 }))
    }

    /// Whether `other` is this node or lies below it.
    pub fn covers(self, other: Node) -> bool {
        self.level >= other.level && other.index >> (self.level - other.level) == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_root_covers_its_grid() {
        for blocks in [1, 2, 3, 5, 8, 1000, u64::from(MAX_BLOCKS)] {
            let grid = Grid::new(blocks);
            assert_eq!(grid.root().blocks(grid), 0..grid.blocks());
        }
        assert_eq!(Grid::new(0).blocks(), 1);
        assert_eq!(Grid::new(u64::MAX).blocks(), MAX_BLOCKS);
    }

    proptest! {
        #[test]
        fn children_split_their_parent(blocks in 2u64..5000, up in 0u8..14, along in 0u32..5000) {
            let grid = Grid::new(blocks);
            let level = 1 + up % grid.root().level;
            let node = Node { level, index: along % (grid.blocks().div_ceil(1 << level)) };
            prop_assert!(node.exists(grid));
            let (left, right) = node.children().unwrap();
            prop_assert_eq!(left.sibling(), right);
            prop_assert_eq!(right.parent(), node);
            prop_assert!(node.covers(left) && node.covers(right) && !left.covers(right));
            let whole: Vec<u32> = node.blocks(grid).collect();
            let mut parts: Vec<u32> = left.blocks(grid).collect();
            if right.exists(grid) {
                parts.extend(right.blocks(grid));
            }
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn shares_partition_the_items(items in 0u64..1_000_000, blocks in 1u64..300) {
            let grid = Grid::new(blocks);
            let mut next = 0;
            for block in 0..grid.blocks() {
                let share = grid.share(items, block);
                prop_assert_eq!(share.start, next);
                next = share.end;
            }
            prop_assert_eq!(next, items);
        }
    }
}
