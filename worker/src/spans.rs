//! Which span to hand out next: coarse first, fine towards the end, so that fast and slow ranks finish together.
//!
//! Step 8 of a job's way (DESIGN section 4). Pure. Which rank folds which span changes no bit of the answer, so the
//! planner may be guided by measured speed.

use muster_spec::{Grid, Node};

/// The longest that one span should take, in seconds: what a killed rank loses, and what a drain may have to cut.
const LONGEST_S: f64 = 0.5;

/// The share of the remaining work, per thread of the team, that is handed out at once.
const SHARE: f64 = 0.25;

/// What is not handed out yet.
pub struct Planner {
    grid: Grid,
    /// Nodes still to do, the next one last.
    todo: Vec<Node>,
    left: u64,
    block_s: Option<f64>,
}

impl Planner {
    /// Plans over `missing` nodes of `grid`, in this order.
    pub fn new(grid: Grid, mut missing: Vec<Node>) -> Self {
        let left = missing.iter().map(|n| n.blocks(grid).len() as u64).sum();
        missing.reverse();
        Planner { grid, todo: missing, left, block_s: None }
    }

    /// Begins the next round: every block is to be done again, at the speed that was learnt.
    pub fn again(&mut self) {
        let block_s = self.block_s;
        *self = Planner { block_s, ..Planner::new(self.grid, vec![self.grid.root()]) };
    }

    /// Blocks that are not handed out.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Learns how long blocks take: `blocks` of them took `busy_s` thread-seconds.
    pub fn learn(&mut self, blocks: u32, busy_s: f64) {
        if blocks > 0 {
            let each = busy_s / f64::from(blocks);
            self.block_s = Some(self.block_s.map_or(each, |before| 0.7 * before + 0.3 * each));
        }
    }

    /// The next span for a pool of `threads` threads in a team of `team_threads`, `None` when all is handed out. The
    /// first spans are small, until the speed is known.
    pub fn next(&mut self, threads: u32, team_threads: u32) -> Option<Node> {
        let threads = f64::from(threads.max(1));
        let fair = self.left as f64 * SHARE * threads / f64::from(team_threads.max(1));
        let bound = self.block_s.map_or(threads, |each| LONGEST_S * threads / each.max(1e-6));
        let size = fair.min(bound).max(1.0) as u64;
        let level = size.ilog2() as u8;
        let mut node = self.todo.pop()?;
        while node.level > level {
            let (left, right) = node.children().expect("a node above the leaves has children");
            if right.exists(self.grid) {
                self.todo.push(right);
            }
            node = left;
        }
        self.left -= node.blocks(self.grid).len() as u64;
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_spec::BlockSet;
    use proptest::prelude::*;

    #[test]
    fn spans_go_from_coarse_to_fine() {
        let grid = Grid::new(4096);
        let mut planner = Planner::new(grid, vec![grid.root()]);
        planner.learn(1, 0.001);
        let sizes: Vec<usize> =
            std::iter::from_fn(|| planner.next(2, 4)).map(|n| n.blocks(grid).len()).collect();
        assert_eq!((sizes[0], *sizes.last().unwrap()), (512, 1));
        assert!(sizes.windows(8).all(|w| w[7] <= w[0] * 2), "{sizes:?}");
    }

    #[test]
    fn slow_blocks_make_short_spans() {
        let grid = Grid::new(1 << 20);
        let mut planner = Planner::new(grid, vec![grid.root()]);
        planner.learn(10, 0.5);
        let span = planner.next(2, 4).unwrap();
        assert!(span.blocks(grid).len() as f64 * 0.05 / 2.0 <= LONGEST_S);
    }

    proptest! {
        #[test]
        fn every_missing_block_is_handed_out_once(
            blocks in 1u64..3000, done in prop::collection::vec(0u32..3000, 0..40), threads in 1u32..9, each in 1e-6f64..1.0,
        ) {
            let grid = Grid::new(blocks);
            let mut set = BlockSet::empty(grid);
            for block in done {
                let _ = set.insert(Node::leaf(block));
            }
            let mut planner = Planner::new(grid, set.missing());
            prop_assert_eq!(planner.left(), u64::from(grid.blocks() - set.len()));
            while let Some(span) = planner.next(threads, threads * 2) {
                prop_assert!(set.insert(span));
                planner.learn(span.blocks(grid).len() as u32, each);
            }
            prop_assert!(set.is_full() && planner.left() == 0);
        }
    }
}
