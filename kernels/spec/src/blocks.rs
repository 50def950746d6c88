//! A set of finished blocks, one bit a block: 128 KiB for the largest grid.

use crate::tree::{Grid, Node};

/// Which blocks of one grid are in, for example which are finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSet {
    grid: Grid,
    words: Vec<u64>,
    count: u32,
}

impl BlockSet {
    /// No block of `grid`.
    pub fn empty(grid: Grid) -> Self {
        BlockSet { grid, words: vec![0; (grid.blocks() as usize).div_ceil(64)], count: 0 }
    }

    /// How many blocks are in.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether no block is in.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every block of the grid is in.
    pub fn is_full(&self) -> bool {
        self.count == self.grid.blocks()
    }

    /// Whether `block` is in; a block outside the grid is not.
    pub fn contains(&self, block: u32) -> bool {
        self.words.get(block as usize / 64).is_some_and(|w| w >> (block % 64) & 1 == 1)
    }

    /// Puts every block below `node` in. Returns false, and changes nothing, when one of them is in already or the
    /// node lies outside the grid: a block is never counted twice.
    #[must_use]
    pub fn insert(&mut self, node: Node) -> bool {
        if !node.exists(self.grid) || node.blocks(self.grid).any(|b| self.contains(b)) {
            return false;
        }
        for block in node.blocks(self.grid) {
            self.words[block as usize / 64] |= 1 << (block % 64);
            self.count += 1;
        }
        true
    }

    /// The largest nodes that hold only blocks which are not in, in order of their blocks.
    pub fn missing(&self) -> Vec<Node> {
        let mut out = Vec::new();
        self.maximal(self.grid.root(), false, &mut out);
        out
    }

    /// The largest nodes that hold only blocks which are in, in order of their blocks.
    pub fn nodes(&self) -> Vec<Node> {
        let mut out = Vec::new();
        self.maximal(self.grid.root(), true, &mut out);
        out
    }

    fn maximal(&self, node: Node, wanted: bool, out: &mut Vec<Node>) {
        if !node.exists(self.grid) {
            return;
        }
        if node.blocks(self.grid).all(|b| self.contains(b) == wanted) {
            out.push(node);
        } else if let Some((left, right)) = node.children() {
            self.maximal(left, wanted, out);
            self.maximal(right, wanted, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_goes_in_once() {
        let grid = Grid::new(5);
        let mut set = BlockSet::empty(grid);
        assert!(set.insert(Node { level: 1, index: 1 }));
        assert!(!set.insert(Node::leaf(2)), "block 2 is in already");
        assert!(!set.insert(grid.root()), "the root covers block 2");
        assert!(!set.insert(Node::leaf(5)), "outside the grid");
        assert_eq!(set.len(), 2);
        assert_eq!(set.missing(), [Node { level: 1, index: 0 }, Node { level: 2, index: 1 }]);
    }

    proptest! {
        #[test]
        fn missing_and_present_partition_the_grid(blocks in 1u64..400, picks in prop::collection::vec(0u32..400, 0..60)) {
            let grid = Grid::new(blocks);
            let mut set = BlockSet::empty(grid);
            for pick in picks {
                let _ = set.insert(Node::leaf(pick));
            }
            let mut rest = set.clone();
            for node in set.missing() {
                prop_assert!(rest.insert(node));
            }
            prop_assert!(rest.is_full());
            let mut again = BlockSet::empty(grid);
            for node in set.nodes() {
                prop_assert!(again.insert(node));
            }
            prop_assert_eq!(again, set);
        }
    }
}
