//! Folding one span on a pool: `rayon::join` down the block tree, merging on the way up.
//!
//! Step 10 of a job's way (DESIGN section 4). The stop flag is read before every block, so a drain or a failure ends a
//! span within one block; what is finished by then is handed back as the largest finished subtrees.

use crate::placement::Watch;
use muster_kernels::hash::{self, Hash16};
use muster_kernels::{Fold, Grid, Iterate, Node, Order, Problems, Simd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A prepared kernel and what its folds need.
pub struct Prepared<K> {
    /// The kernel.
    pub kernel: K,
    /// Its grid.
    pub grid: Grid,
    /// Vector instructions.
    pub simd: Simd,
    /// Scratch for each thread, in bytes.
    pub tile_bytes: usize,
    /// What the rank may keep between rounds, in bytes.
    pub keep_bytes: usize,
    /// Set to end folding at the next block.
    pub stop: AtomicBool,
    /// Sees where threads run and memory lies, where somebody wants to know.
    pub watch: Option<Watch>,
}

/// A finished subtree.
pub struct Finished<P> {
    /// Its node.
    pub node: Node,
    /// Its partial.
    pub partial: P,
    /// Its leaves' hashes, in order.
    pub leaves: Vec<Hash16>,
    /// Thread-seconds that its blocks took.
    pub busy_s: f64,
}

impl<K: Iterate> Prepared<K> {
    /// Folds one block in the round that began from `state`: its partial and its leaf hash.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub fn leaf(&self, state: &K::State, block: u32) -> Result<(K::Partial, Hash16), Problems> {
        let fold = |mut cx: Fold| {
            let partial = self.kernel.fold(state, block, &mut cx)?;
            let own = (self.kernel.order() != Order::Running).then_some(&partial);
            let hash = hash::leaf(block, cx.reads(), own);
            Ok((partial, hash))
        };
        let cx = Fold::new(self.simd, self.tile_bytes).keeping(self.keep_bytes);
        let Some(watch) = &self.watch else { return fold(cx) };
        let watched = |cx| {
            let folded = fold(cx);
            let encoded =
                folded.as_ref().map(|(partial, _)| postcard::to_stdvec(partial).expect("a partial encodes"));
            let encoded = encoded.unwrap_or_default();
            (folded, encoded)
        };
        watch.over(cx, watched).0
    }

    /// Adds one block to the partial of others, in the round that began from `state`: its leaf hash.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub(crate) fn leaf_into(
        &self,
        state: &K::State,
        block: u32,
        to: &mut Option<K::Partial>,
    ) -> Result<Hash16, Problems> {
        let mut fold = |mut cx: Fold| {
            self.kernel.add(state, block, &mut cx, to)?;
            Ok(hash::leaf::<K::Partial>(block, cx.reads(), None))
        };
        let cx = Fold::new(self.simd, self.tile_bytes);
        match &self.watch {
            Some(watch) => watch.over(cx, |cx| (fold(cx), Vec::new())).0,
            None => fold(cx),
        }
    }

    /// Folds `node` on the current pool: its largest finished subtrees, in order; `node` itself unless stopped.
    ///
    /// # Errors
    /// What is wrong with the input; the other threads of the job stop.
    pub fn span(&self, state: &K::State, node: Node) -> Result<Vec<Finished<K::Partial>>, Problems> {
        let Some((left, right)) = node.children() else {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            let began = Instant::now();
            let (partial, hash) =
                self.leaf(state, node.index).inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            return Ok(vec![Finished {
                node,
                partial,
                leaves: vec![hash],
                busy_s: began.elapsed().as_secs_f64(),
            }]);
        };
        if !right.exists(self.grid) {
            return Ok(raised(self.span(state, left)?, left, node));
        }
        let (left_done, right_done) = rayon::join(|| self.span(state, left), || self.span(state, right));
        let (mut done, mut more) = (left_done?, right_done?);
        let whole = |list: &[Finished<K::Partial>], child| list.len() == 1 && list[0].node == child;
        if whole(&done, left) && whole(&more, right) {
            let (mut a, b) = (done.remove(0), more.remove(0));
            a.leaves.extend(b.leaves);
            let merged = self.kernel.merge(a.partial, b.partial);
            let partial = merged.inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            let busy_s = a.busy_s + b.busy_s;
            return Ok(vec![Finished { node, partial, leaves: a.leaves, busy_s }]);
        }
        done.extend(more);
        Ok(done)
    }
}

/// The partial of an only child is its parent's.
fn raised<P>(mut list: Vec<Finished<P>>, child: Node, parent: Node) -> Vec<Finished<P>> {
    if let [only] = &mut list[..]
        && only.node == child
    {
        only.node = parent;
    }
    list
}
