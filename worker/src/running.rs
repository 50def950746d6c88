//! Running partials: what the threads of a pool have added up and not handed in, under `Order::Running`.
//!
//! Step 10 of a job's way (DESIGN section 4). A partial that is large beside a block is not merged a span at a time:
//! every thread adds its blocks to one of its own. When the hub wants a commit, and at the end of a round, a pool merges
//! those of its threads and hands in the result, with the blocks that are in it.

use crate::span::{Finished, Prepared};
use crate::wire::{Added, LeafRun};
use muster_kernels::{Iterate, Node, Partial, Problems, hash::Hash16};
use muster_spec::{BlockSet, Grid};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The running partials of a pool, one for each thread.
pub(crate) struct Running<P>(Vec<Mutex<Slot<P>>>);

/// What one thread has added up.
struct Slot<P> {
    partial: Option<P>,
    leaves: BTreeMap<u32, Hash16>,
}

impl<P> Default for Slot<P> {
    fn default() -> Self {
        Slot { partial: None, leaves: BTreeMap::new() }
    }
}

impl<P> Running<P> {
    /// Of a pool of `threads` threads, nothing yet.
    pub(crate) fn new(threads: u32) -> Self {
        Running((0..threads.max(1)).map(|_| Mutex::default()).collect())
    }
}

fn both(a: Added, b: Added) -> Added {
    Added { blocks: a.blocks + b.blocks, busy_s: a.busy_s + b.busy_s, bytes: a.bytes.max(b.bytes) }
}

/// Running partials that were merged.
pub(crate) struct Gathered<P> {
    /// The blocks that are in it, as the fewest nodes.
    pub(crate) nodes: Vec<Node>,
    /// Their partial.
    pub(crate) partial: P,
    /// The hashes of their leaves.
    pub(crate) leaves: Vec<LeafRun>,
}

impl<P> From<Finished<P>> for Gathered<P> {
    fn from(done: Finished<P>) -> Self {
        let leaves = vec![LeafRun { first: done.node.first(), hashes: done.leaves }];
        Gathered { nodes: vec![done.node], partial: done.partial, leaves }
    }
}

impl<K: Iterate> Prepared<K> {
    /// Adds the blocks of `node` to the running partials of the current pool.
    ///
    /// # Errors
    /// What is wrong with the input; the other threads of the job stop.
    pub(crate) fn add_span(
        &self,
        state: &K::State,
        node: Node,
        running: &Running<K::Partial>,
    ) -> Result<Added, Problems> {
        let add = |block: u32| -> Result<Added, Problems> {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Added::default());
            }
            let began = Instant::now();
            let thread = rayon::current_thread_index().unwrap_or(0);
            // Nothing below here waits for another thread, so nobody holds two of these.
            let mut slot = running.0[thread].lock().expect("a kernel that panics ends the job");
            let Slot { partial, leaves } = &mut *slot;
            let hash = self.leaf_into(state, block, partial).inspect_err(|_| {
                (*partial, *leaves) = (None, BTreeMap::new());
                self.stop.store(true, Ordering::Relaxed);
            })?;
            leaves.insert(block, hash);
            let bytes = partial.as_ref().map_or(0, Partial::bytes);
            Ok(Added { blocks: 1, busy_s: began.elapsed().as_secs_f64(), bytes })
        };
        let blocks = node.blocks(self.grid).into_par_iter().with_max_len(1);
        blocks.map(add).try_reduce(Added::default, |a, b| Ok(both(a, b)))
    }

    /// Merges the running partials of the current pool and takes them out; `None` when there are none.
    ///
    /// # Errors
    /// Why two of them do not merge.
    pub(crate) fn gather(
        &self,
        running: &Running<K::Partial>,
    ) -> Result<Option<Gathered<K::Partial>>, Problems> {
        let take = |slot: &Mutex<Slot<_>>| {
            std::mem::take(&mut *slot.lock().expect("a kernel that panics ends the job"))
        };
        let slots: Vec<Slot<K::Partial>> = running.0.iter().map(take).collect();
        let parts = slots.into_par_iter().filter_map(|slot| Some(Ok((slot.partial?, slot.leaves))));
        let merged = parts.try_reduce_with(|(left, mut leaves), (right, more)| {
            leaves.extend(more);
            Ok::<_, Problems>((self.kernel.merge(left, right)?, leaves))
        });
        Ok(merged.transpose()?.map(|(partial, leaves)| Gathered {
            nodes: nodes(self.grid, leaves.keys().copied()),
            partial,
            leaves: runs(leaves),
        }))
    }
}

/// The fewest nodes of these blocks.
fn nodes(grid: Grid, blocks: impl Iterator<Item = u32>) -> Vec<Node> {
    let mut set = BlockSet::empty(grid);
    for block in blocks {
        let _ = set.insert(Node::leaf(block));
    }
    set.nodes()
}

/// Leaf hashes, consecutive blocks together.
fn runs(leaves: BTreeMap<u32, Hash16>) -> Vec<LeafRun> {
    let mut runs = Vec::<LeafRun>::new();
    for (block, hash) in leaves {
        match runs.last_mut() {
            Some(run) if run.first + run.hashes.len() as u32 == block => run.hashes.push(hash),
            _ => runs.push(LeafRun { first: block, hashes: vec![hash] }),
        }
    }
    runs
}
