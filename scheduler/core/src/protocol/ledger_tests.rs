//! Tests of the ledger: what replaces what, what comes in which order, and what is too much.

use super::*;
use crate::job::id::{Attempt, JobId, RunId};
use proptest::prelude::*;

fn attempt(number: u32) -> AttemptId {
    AttemptId { run: RunId { job: JobId(1), element: None }, attempt: Attempt(number) }
}

fn ledger(blocks: u32) -> Ledger {
    Ledger::new(Step { spec: [0; 16], class: "exact".into(), blocks, hosts: (1, 1) }, None)
}

fn node(level: u8, index: u32) -> Node {
    Node { level, index }
}

fn commit(number: u32, nodes: &[Node]) -> Commit {
    Commit { number, nodes: nodes.to_vec(), partial: vec![number as u8; 10] }
}

fn nodes(ledger: &Ledger) -> Vec<Vec<Node>> {
    ledger.list().done.into_iter().map(|listed| listed.nodes).collect()
}

const OVERLAPS: Verdict = Verdict::Wrong(Refusal::Overlaps);

#[test]
fn a_parent_replaces_its_children() {
    let (mut ledger, id) = (ledger(5), attempt(1));
    for (number, leaf) in (1..).zip(0..3) {
        ledger.apply(id, commit(number, &[node(0, leaf)]));
    }
    let parent = commit(4, &[node(1, 0)]);
    assert_eq!(ledger.judge(id, &parent), Verdict::New);
    ledger.apply(id, parent);
    assert_eq!(nodes(&ledger), [vec![node(0, 2)], vec![node(1, 0)]]);
    // A child that comes late is known by its number, though it is not there any more.
    assert_eq!(ledger.judge(id, &commit(1, &[node(0, 0)])), Verdict::NotNext);
    // Half of a parent is no part to put something in the place of.
    assert_eq!(ledger.judge(id, &commit(5, &[node(0, 0)])), OVERLAPS);
    assert_eq!(ledger.judge(id, &commit(5, &[node(0, 1), node(0, 2)])), OVERLAPS);
    assert_eq!(ledger.judge(id, &commit(5, &[node(0, 3), node(0, 3)])), OVERLAPS);
    assert_eq!(ledger.judge(id, &commit(5, &[node(0, 5)])), OVERLAPS, "outside the grid");
    assert_eq!(ledger.judge(id, &commit(5, &[])), OVERLAPS);
    assert_eq!(ledger.judge(id, &commit(6, &[node(0, 3)])), Verdict::NotNext, "before its turn");
    // A successor merges what it found with what it folded.
    let root = commit(1, &[node(3, 0)]);
    assert_eq!(ledger.judge(attempt(2), &root), Verdict::New);
    ledger.apply(attempt(2), root);
    assert_eq!(nodes(&ledger), [vec![node(3, 0)]]);
}

#[test]
fn a_round_ends_those_before_it() {
    let (mut ledger, id) = (ledger(4), attempt(1));
    ledger.apply(id, commit(1, &[node(2, 0)]));
    let round = |number, round| Round { number, round, state: vec![7; 3] };
    let wrong = Verdict::Wrong(Refusal::OtherRound { is: 1, said: 1 });
    assert_eq!(ledger.judge_round(id, &round(2, 1)), wrong);
    // Entries 2 and 3 were of the round that is over, and never came.
    assert_eq!(ledger.judge_round(id, &round(4, 2)), Verdict::New);
    ledger.begin_round(id, round(4, 2));
    let Opened { round: is, state, done } = ledger.list();
    assert_eq!((is, state.map(|state| state.bytes), done), (2, Some(3), Vec::new()));
    assert_eq!(ledger.judge(id, &commit(3, &[node(0, 0)])), Verdict::NotNext, "of the round before");
    assert_eq!(ledger.judge_round(id, &round(4, 2)), Verdict::NotNext);
    assert_eq!(ledger.judge(id, &commit(5, &[node(0, 0)])), Verdict::New);
    let other = Verdict::Wrong(Refusal::OtherRound { is: 2, said: 2 });
    assert_eq!(ledger.judge_round(attempt(2), &round(1, 2)), other);
}

#[test]
fn a_ledger_has_a_limit() {
    let (mut ledger, id) = (ledger(4), attempt(1));
    let half = STEP_BYTES as usize / 2;
    let of = |number, leaf, bytes| Commit { number, nodes: vec![node(0, leaf)], partial: vec![0; bytes] };
    ledger.apply(id, of(1, 0, half));
    assert_eq!(ledger.too_large(&of(2, 1, half - 16)), None);
    let why = ledger.too_large(&of(2, 1, half - 15)).expect("it is a byte too much");
    assert_eq!(why, Refusal::TooLarge { bytes: STEP_BYTES + 1, limit: STEP_BYTES });
    assert!(why.is_final() && why.to_string().contains("smaller partials"), "{why}");
    // What takes the place of something does not come on top of it.
    let parent = Commit { number: 2, nodes: vec![node(1, 0)], partial: vec![0; half + 100] };
    assert_eq!(ledger.too_large(&parent), None);
    let state = Round { number: 2, round: 2, state: vec![0; STEP_BYTES as usize + 1] };
    assert!(state.too_large().is_some());
}

#[test]
fn a_partial_goes_out_in_pieces() {
    let (mut ledger, id) = (ledger(4), attempt(1));
    let partial: Vec<u8> = (0..PIECE_BYTES + 5).map(|i| i as u8).collect();
    ledger.apply(id, Commit { number: 1, nodes: vec![node(0, 0)], partial: partial.clone() });
    let key = Key { by: id, number: 1 };
    let piece = |from, most| ledger.piece(Want { key, from, most }).map(|piece| piece.bytes);
    let first = piece(0, u32::MAX).expect("it is there");
    assert_eq!(first.len(), PIECE_BYTES as usize, "however much is wanted");
    let rest = piece(first.len() as u64, u32::MAX).expect("it is there");
    assert_eq!([first, rest].concat(), partial);
    assert_eq!(piece(partial.len() as u64, 9), Some(Vec::new()));
    assert_eq!(piece(partial.len() as u64 + 1, 9), None);
    assert_eq!(ledger.piece(Want { key: Key { number: 2, ..key }, from: 0, most: 9 }), None);
}

proptest! {
    /// Whatever is committed, no block lies in two commits, and a block that was done stays done.
    #[test]
    fn each_block_lies_in_one_commit(blocks in 1u32..40, said in prop::collection::vec((0u8..6, 0u32..40), 0..80)) {
        let (mut ledger, id) = (ledger(blocks), attempt(1));
        let grid = Grid::new(u64::from(blocks));
        let mut before = 0;
        for (level, index) in said {
            let next = commit(ledger.last(id) + 1, &[node(level, index)]);
            if ledger.judge(id, &next) == Verdict::New {
                ledger.apply(id, next);
            }
            let mut done = BlockSet::empty(grid);
            prop_assert!(nodes(&ledger).iter().flatten().all(|node| done.insert(*node)));
            prop_assert!(done.len() >= before);
            before = done.len();
            prop_assert!(nodes(&ledger).len() <= done.len() as usize);
        }
    }
}
