//! What the store of a pool is given to keep of a kernel step, and how much of it.
//!
//! Part of step 8 of a job's way (DESIGN section 4). Invariant: a successor goes on from this alone, on any host: each
//! partial comes with the hashes of its leaves.

use crate::ledger::Book;
use crate::wire::{Finished, LeafRun, Record, TeamShape};
use muster_core::protocol::ledger::STEP_BYTES;
use muster_kernels::hash::Hash16;
use serde::{Deserialize, Serialize};

/// How much of what is done the store is given to keep, at most, in bytes: it takes no more of a step than
/// [`STEP_BYTES`], and what is larger than a message would never arrive.
pub(crate) const MOST_BYTES: u64 = STEP_BYTES / 4 * 3;

/// What the store keeps of finished nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Kept {
    /// Their partial, and the hashes of their leaves.
    Part(Vec<u8>, Vec<LeafRun>),
    /// All nodes: the answer.
    Answer(Box<Whole>),
    /// All nodes, and an answer that is too large: who needs it computes it again.
    Unkept,
}

/// An answer, and what its receipt needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Whole {
    pub(crate) finished: Finished,
    pub(crate) leaves: Vec<Hash16>,
    pub(crate) team: TeamShape,
    /// How many rounds it took, and what the last began from.
    pub(crate) round: u32,
    pub(crate) state: Vec<u8>,
}

/// Whether all that is done is small enough to be kept.
pub(crate) fn fits(book: &Book) -> bool {
    let size = |record: &Record| {
        let blocks = record.nodes.iter().map(|node| node.blocks(book.grid()).len() as u64).sum::<u64>();
        (record.partial.len() + 8 * record.nodes.len()) as u64 + 24 * blocks + 64
    };
    let state = book.state().map_or(0, <[u8]>::len) as u64;
    state + book.records().iter().map(size).sum::<u64>() <= MOST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Commit, decode, encode};
    use muster_spec::{BlockSet, Grid};

    fn book(bytes: usize) -> Book {
        let grid = Grid::new(8);
        let nodes = BlockSet::empty(grid).missing();
        let leaves = vec![LeafRun { first: 0, hashes: vec![[7; 16]; 8] }];
        let mut book = Book::new(grid);
        let records = vec![Record { nodes, partial: vec![1; bytes] }];
        assert!(book.apply(Commit { round: 1, state: None, records, leaves }));
        book
    }

    #[test]
    fn what_is_larger_than_a_message_is_not_kept() {
        assert!(fits(&book(1 << 20)));
        assert!(!fits(&book(MOST_BYTES as usize)));
    }

    #[test]
    fn a_partial_is_kept_with_its_leaves() {
        let book = book(3);
        let nodes = &book.records()[0].nodes;
        let kept = encode(&Kept::Part(book.records()[0].partial.clone(), book.leaves_of(nodes)));
        let Ok(Kept::Part(partial, leaves)) = decode::<Kept>(&kept) else { panic!("it was a part") };
        let mut again = Book::new(book.grid());
        let records = vec![Record { nodes: nodes.clone(), partial }];
        assert!(again.apply(Commit { round: 1, state: None, records, leaves }));
        assert_eq!(again, book);
    }
}
