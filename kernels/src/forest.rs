//! The forest: the finished nodes of the block tree and their partials. Siblings merge as soon as both are there.
//!
//! Invariant: no block lies below two entries, so no block is counted twice.

use crate::kernel::{Order, Partial};
use muster_spec::{BlockSet, Grid, Node};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Finished nodes of one grid.
pub struct Forest<P> {
    grid: Grid,
    done: BlockSet,
    held: Held<P>,
}

enum Held<P> {
    /// One partial for each of the largest finished subtrees.
    Tree(BTreeMap<Node, P>),
    /// One partial for everything that is finished.
    Free(Option<P>),
}

impl<P: Partial> Forest<P> {
    /// Nothing finished yet.
    pub fn new(grid: Grid, order: Order) -> Self {
        let held = match order {
            Order::Tree => Held::Tree(BTreeMap::new()),
            Order::Free | Order::Running => Held::Free(None),
        };
        Forest { grid, done: BlockSet::empty(grid), held }
    }

    /// Which blocks are finished.
    pub fn done(&self) -> &BlockSet {
        &self.done
    }

    /// Adds the partial of `nodes`: one node under [`Order::Tree`], any number where the order is free. Returns false,
    /// and changes nothing, when one of their blocks is finished already, lies outside the grid or is named twice.
    #[must_use]
    pub fn insert(&mut self, nodes: &[Node], partial: P) -> bool {
        let merged =
            self.insert_by(nodes, partial, &mut |left, right| Ok::<_, Infallible>(left.merge(right)));
        merged.unwrap_or_else(|never| match never {})
    }

    /// [`Forest::insert`] with a merge that may fail.
    ///
    /// # Errors
    /// The merge's; what was being merged is lost then, and the forest must not be used any more.
    pub fn insert_by<E>(
        &mut self,
        nodes: &[Node],
        partial: P,
        merge: &mut dyn FnMut(P, P) -> Result<P, E>,
    ) -> Result<bool, E> {
        let mut done = self.done.clone();
        if nodes.is_empty() || !nodes.iter().all(|&node| done.insert(node)) {
            return Ok(false);
        }
        match &mut self.held {
            Held::Tree(held) => {
                let &[node] = nodes else { return Ok(false) };
                let (node, partial) = climb(self.grid, held, (node, partial), merge)?;
                held.insert(node, partial);
            }
            Held::Free(held) => {
                *held = Some(match held.take() {
                    Some(before) => merge(before, partial)?,
                    None => partial,
                });
            }
        }
        self.done = done;
        Ok(true)
    }

    /// What is held: nodes and the partial that belongs to them, in the order of the tree.
    pub fn entries(&self) -> Vec<(Vec<Node>, &P)> {
        match &self.held {
            Held::Tree(held) => held.iter().map(|(&node, partial)| (vec![node], partial)).collect(),
            Held::Free(held) => held.iter().map(|partial| (self.done.nodes(), partial)).collect(),
        }
    }

    /// The partial of the whole grid, once every block is finished.
    ///
    /// # Errors
    /// The forest itself, while blocks are missing.
    pub fn into_root(self) -> Result<P, Self> {
        if !self.done.is_full() {
            return Err(self);
        }
        let root = match self.held {
            Held::Tree(held) => held.into_values().next(),
            Held::Free(held) => held,
        };
        Ok(root.expect("a full forest holds the root's partial"))
    }
}

/// Merges `node` with its sibling, its parent with the parent's sibling, and so on, while they are held.
fn climb<P, E>(
    grid: Grid,
    held: &mut BTreeMap<Node, P>,
    (mut node, mut partial): (Node, P),
    merge: &mut dyn FnMut(P, P) -> Result<P, E>,
) -> Result<(Node, P), E> {
    while node != grid.root() {
        let sibling = node.sibling();
        if sibling.exists(grid) {
            let Some(other) = held.remove(&sibling) else { break };
            partial = if node.is_left() { merge(partial, other)? } else { merge(other, partial)? };
        }
        node = node.parent();
    }
    Ok((node, partial))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    /// Records the shape of the merges, so that any other order shows.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Shape(String);

    impl Partial for Shape {
        fn merge(self, right: Self) -> Self {
            Shape(format!("({} {})", self.0, right.0))
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Sum(u64);

    impl Partial for Sum {
        fn merge(self, right: Self) -> Self {
            Sum(self.0 + right.0)
        }
    }

    fn leaf_shape(block: u32) -> Shape {
        Shape(block.to_string())
    }

    #[test]
    fn five_leaves_merge_along_the_tree() {
        let mut forest = Forest::new(Grid::new(5), Order::Tree);
        for block in [4, 1, 3, 0, 2] {
            assert!(forest.insert(&[Node::leaf(block)], leaf_shape(block)));
        }
        assert_eq!(forest.into_root().ok().unwrap(), Shape("(((0 1) (2 3)) 4)".into()));
    }

    #[test]
    fn a_block_is_not_counted_twice() {
        let mut forest = Forest::new(Grid::new(4), Order::Free);
        assert!(forest.insert(&[Node::leaf(0), Node::leaf(2)], Sum(2)));
        assert!(!forest.insert(&[Node::leaf(1), Node::leaf(2)], Sum(2)));
        assert!(!forest.insert(&[Node::leaf(1), Node::leaf(1)], Sum(2)));
        assert!(forest.insert(&[Node::leaf(1), Node::leaf(3)], Sum(2)));
        assert_eq!(forest.into_root().ok().unwrap(), Sum(4));
    }

    proptest! {
        #[test]
        fn any_order_of_leaves_gives_one_shape(blocks in 1u64..70, seed in any::<u64>()) {
            let grid = Grid::new(blocks);
            let mut order: Vec<u32> = (0..grid.blocks()).collect();
            order.sort_by_key(|&b| (u64::from(b) + 1).wrapping_mul(seed | 1).rotate_left(17));
            let (mut shuffled, mut straight) = (Forest::new(grid, Order::Tree), Forest::new(grid, Order::Tree));
            for &b in &order {
                prop_assert!(shuffled.insert(&[Node::leaf(b)], leaf_shape(b)));
            }
            for b in 0..grid.blocks() {
                prop_assert!(straight.insert(&[Node::leaf(b)], leaf_shape(b)));
            }
            prop_assert_eq!(shuffled.into_root().ok(), straight.into_root().ok());
        }
    }
}
