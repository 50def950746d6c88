//! Tests of the ledger: cuts at every byte, damage, replacement, locks, other jobs.

use super::*;
use crate::scratch::Scratch;
use muster_spec::Node;
use proptest::prelude::*;

fn header(blocks: u64) -> Header {
    Header {
        kernel: "sum".into(),
        class: Class::Exact,
        spec_json: "{}".into(),
        grid: Grid::new(blocks),
        inputs: Vec::new(),
        program: None,
    }
}

fn commit(node: Node, grid: Grid, fresh: bool) -> Commit {
    let blocks = node.blocks(grid);
    let hashes = blocks.clone().map(|b| [b as u8; 16]).collect();
    Commit {
        round: 1,
        state: None,
        records: vec![Record { nodes: vec![node], partial: vec![node.level, node.index as u8] }],
        leaves: if fresh { vec![LeafRun { first: blocks.start, hashes }] } else { Vec::new() },
    }
}

#[test]
fn a_log_cut_at_any_byte_is_a_prefix() {
    let scratch = Scratch::new("ledger-cut");
    let (dir, header) = (scratch.path().join("k"), header(8));
    let mut states = Vec::new();
    {
        let mut ledger = Ledger::open(&dir, &header).unwrap();
        states.push((ledger.bytes, ledger.book().clone()));
        for index in [0, 1, 3] {
            ledger.append(commit(Node { level: 1, index }, header.grid, true)).unwrap();
            states.push((ledger.bytes, ledger.book().clone()));
        }
        ledger.append(commit(Node { level: 2, index: 0 }, header.grid, false)).unwrap();
        states.push((ledger.bytes, ledger.book().clone()));
    }
    let whole = std::fs::read(dir.join(LOG)).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(dir.join(LOG), &whole[..cut]).unwrap();
        let ledger = Ledger::open(&dir, &header).unwrap();
        let wanted = states.iter().rev().find(|s| s.0 <= cut as u64);
        let empty = Book::new(header.grid);
        assert_eq!(ledger.book(), wanted.map_or(&empty, |s| &s.1), "cut at {cut}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(dir.join(LOG), &damaged).unwrap();
        if let Ok(ledger) = Ledger::open(&dir, &header) {
            assert!(states.iter().any(|s| &s.1 == ledger.book()), "damaged at {at}");
        }
    }
}

/// The first commit of a round.
fn turn(round: u32, node: Node, grid: Grid) -> Commit {
    Commit { round, state: Some(vec![round as u8; 40]), ..commit(node, grid, true) }
}

#[test]
fn a_log_of_rounds_cut_at_any_byte_is_a_prefix() {
    let scratch = Scratch::new("ledger-rounds");
    let (dir, header) = (scratch.path().join("k"), header(4));
    let mut states = vec![(0, Book::new(header.grid))];
    {
        let mut ledger = Ledger::open(&dir, &header).unwrap();
        let mut append = |commit: Commit| {
            ledger.append(commit).unwrap();
            states.push((ledger.bytes, ledger.book().clone()));
        };
        append(turn(1, Node::leaf(0), header.grid));
        append(turn(2, Node::leaf(3), header.grid));
        append(Commit { round: 2, ..commit(Node::leaf(1), header.grid, true) });
        append(Commit { round: 7, state: Some(Vec::new()), records: Vec::new(), leaves: Vec::new() });
    }
    let whole = std::fs::read(dir.join(LOG)).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(dir.join(LOG), &whole[..cut]).unwrap();
        let ledger = Ledger::open(&dir, &header).unwrap();
        let wanted = states.iter().rev().find(|s| s.0 <= cut as u64).unwrap();
        assert_eq!(ledger.book(), &wanted.1, "cut at {cut}");
    }
    let ledger = Ledger::open(&dir, &header).unwrap();
    let book = ledger.book();
    assert_eq!((book.round(), book.done().len(), book.records().len()), (7, 0, 0));
    assert!(!book.is_new(), "the state of a later round is work");
}

#[test]
fn a_round_that_is_over_takes_no_commit() {
    let scratch = Scratch::new("ledger-over");
    let header = header(4);
    let mut ledger = Ledger::open(&scratch.path().join("k"), &header).unwrap();
    ledger.append(turn(1, Node::leaf(0), header.grid)).unwrap();
    ledger.append(turn(3, Node::leaf(1), header.grid)).unwrap();
    let before = ledger.book().clone();
    assert!(ledger.append(Commit { round: 2, ..commit(Node::leaf(2), header.grid, true) }).is_err());
    assert!(ledger.append(Commit { round: 4, ..commit(Node::leaf(2), header.grid, true) }).is_err());
    assert!(ledger.append(turn(3, Node::leaf(2), header.grid)).is_err(), "a round begins once");
    assert!(ledger.append(turn(2, Node::leaf(2), header.grid)).is_err());
    assert!(ledger.append(turn(4, Node::leaf(9), header.grid)).is_err(), "outside the grid");
    assert_eq!(ledger.book(), &before);
}

#[test]
fn old_rounds_do_not_pile_up() {
    let scratch = Scratch::new("ledger-pile");
    let (dir, header) = (scratch.path().join("k"), header(4));
    let mut ledger = Ledger::open(&dir, &header).unwrap();
    for round in 1..200 {
        let state = Some(vec![round as u8; 100_000]);
        ledger.append(Commit { state, ..turn(round, Node::leaf(0), header.grid) }).unwrap();
    }
    let bytes = std::fs::metadata(dir.join(LOG)).unwrap().len();
    assert!(bytes < 2 * COMPACT_BYTES, "{bytes} bytes for one live state of 100,000");
    let before = ledger.book().clone();
    drop(ledger);
    assert_eq!(Ledger::open(&dir, &header).unwrap().book(), &before);
}

#[test]
fn work_goes_on_after_a_torn_tail() {
    let scratch = Scratch::new("ledger-torn");
    let (dir, header) = (scratch.path().join("k"), header(4));
    Ledger::open(&dir, &header).unwrap().append(commit(Node::leaf(0), header.grid, true)).unwrap();
    let mut text = std::fs::read(dir.join(LOG)).unwrap();
    text.extend([7; 30]);
    std::fs::write(dir.join(LOG), text).unwrap();
    Ledger::open(&dir, &header).unwrap().append(commit(Node::leaf(2), header.grid, true)).unwrap();
    assert_eq!(Ledger::open(&dir, &header).unwrap().book().done().len(), 2);
}

#[test]
fn a_block_is_not_committed_twice() {
    let scratch = Scratch::new("ledger-twice");
    let header = header(8);
    let mut ledger = Ledger::open(&scratch.path().join("k"), &header).unwrap();
    let wide = Record { nodes: vec![Node::leaf(0), Node::leaf(5)], partial: vec![1] };
    let hashes = |first: u32| LeafRun { first, hashes: vec![[first as u8; 16]] };
    ledger
        .append(Commit { round: 1, state: None, records: vec![wide], leaves: vec![hashes(0), hashes(5)] })
        .unwrap();
    let before = ledger.book().clone();
    let half = commit(Node { level: 1, index: 0 }, header.grid, true);
    assert!(ledger.append(half).is_err(), "covers block 0 but not block 5 of the earlier record");
    assert!(ledger.append(commit(Node::leaf(9), header.grid, false)).is_err(), "outside the grid");
    assert!(ledger.append(commit(Node::leaf(2), header.grid, false)).is_err(), "no leaf hash");
    assert_eq!(ledger.book(), &before);
}

#[test]
fn a_second_foreman_is_refused() {
    let scratch = Scratch::new("ledger-lock");
    let dir = scratch.path().join("k");
    let first = Ledger::open(&dir, &header(4)).unwrap();
    let error = Ledger::open(&dir, &header(4)).unwrap_err();
    assert!(matches!(&error, LedgerError::Locked { holder } if *holder == std::process::id().to_string()));
    // As a process has that is just being born.
    let twin = first._lock.0.try_clone().unwrap();
    drop(first);
    Ledger::open(&dir, &header(4)).unwrap().remove().unwrap();
    drop(twin);
    assert!(!dir.exists());
}

#[test]
fn other_jobs_versions_and_inputs_are_refused() {
    let scratch = Scratch::new("ledger-other");
    let dir = scratch.path().join("k");
    let input = Input { path: "/data/a.csv".into(), bytes: 10, modified_ns: 1 };
    let mine = Header { inputs: vec![input.clone()], ..header(4) };
    drop(Ledger::open(&dir, &mine).unwrap());
    let changed = Header { inputs: vec![Input { bytes: 11, ..input }], ..header(4) };
    assert!(matches!(Ledger::open(&dir, &changed).unwrap_err(), LedgerError::InputChanged { .. }));
    let other = Header { spec_json: "{\"a\":1}".into(), ..mine.clone() };
    assert!(matches!(Ledger::open(&dir, &other).unwrap_err(), LedgerError::OtherJob { .. }));
    let rebuilt = Header { program: Some("00".into()), ..mine.clone() };
    assert!(matches!(Ledger::open(&dir, &rebuilt).unwrap_err(), LedgerError::OtherBuild));
    let mut text = std::fs::read(dir.join(LOG)).unwrap();
    text[8] = 99;
    std::fs::write(dir.join(LOG), &text).unwrap();
    let error = Ledger::open(&dir, &mine).unwrap_err().to_string();
    assert!(error.contains("format 99") && error.contains("muster ledger prune k"), "{error}");
    std::fs::write(dir.join(LOG), b"something else entirely").unwrap();
    assert!(matches!(Ledger::open(&dir, &mine).unwrap_err(), LedgerError::Foreign { .. }));
}

#[test]
fn a_long_log_is_compacted() {
    let scratch = Scratch::new("ledger-compact");
    let (dir, header) = (scratch.path().join("k"), header(64));
    let mut ledger = Ledger::open(&dir, &header).unwrap();
    let leaves = vec![LeafRun { first: 0, hashes: vec![[0; 16]; 64] }];
    assert!(ledger.book.add_leaves(&leaves));
    for blocks in 1..=64u32 {
        let nodes = (0..blocks).map(Node::leaf).collect();
        let record = Record { nodes, partial: vec![blocks as u8; 100_000] };
        ledger
            .append(Commit { round: 1, state: None, records: vec![record], leaves: leaves.clone() })
            .unwrap();
    }
    let bytes = std::fs::metadata(dir.join(LOG)).unwrap().len();
    assert!(bytes < 2 * COMPACT_BYTES, "{bytes} bytes for one live record of 100,000");
    let before = ledger.book().clone();
    drop(ledger);
    assert_eq!(Ledger::open(&dir, &header).unwrap().book(), &before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn replay_equals_memory(blocks in 1u64..40, order in prop::collection::vec((0u8..4, 0u32..40), 1..40)) {
        let scratch = Scratch::new("ledger-replay");
        let (dir, header) = (scratch.path().join("k"), header(blocks));
        let mut ledger = Ledger::open(&dir, &header).unwrap();
        for (level, index) in order {
            let node = Node { level, index };
            if node.exists(header.grid) {
                let _ = ledger.append(commit(node, header.grid, true));
            }
        }
        let before = ledger.book().clone();
        drop(ledger);
        let after = Ledger::open(&dir, &header).unwrap();
        prop_assert_eq!(after.book(), &before);
    }
}
