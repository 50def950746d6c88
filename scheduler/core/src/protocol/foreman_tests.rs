//! Tests of the foreman: what it fetches, what it hands on, and when it ends.

use super::*;
use crate::job::id::{Attempt, JobId, RunId};
use crate::protocol::ledger::{Ledger, Want};
use proptest::prelude::*;

const BLOCKS: u32 = 8;

fn attempt(number: u32) -> AttemptId {
    AttemptId { run: RunId { job: JobId(1), element: None }, attempt: Attempt(number) }
}

fn step() -> Step {
    Step { spec: [3; 16], class: "exact".into(), blocks: BLOCKS, hosts: (1, 1) }
}

fn leaf(block: u32) -> Vec<Node> {
    vec![Node::leaf(block)]
}

/// A ledger in its second round, with partials of these lengths.
fn ledger(lengths: &[usize]) -> Ledger {
    let (mut ledger, id) = (Ledger::new(step(), None), attempt(1));
    ledger.begin_round(id, Round { number: 1, round: 2, state: (0..20).collect() });
    for (number, length) in (2..).zip(lengths) {
        let partial = (0..*length).map(|at| (at * 7 + number as usize) as u8).collect();
        ledger.apply(id, Commit { number, nodes: leaf(number - 2), partial });
    }
    ledger
}

fn sent(out: &[ForemanOutput]) -> Vec<ToStore> {
    let sent = out.iter().filter_map(|output| match output {
        // The store has no part in that.
        ForemanOutput::Send(ToStore::Uses(..)) => None,
        ForemanOutput::Send(message) => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

fn team(out: &[ForemanOutput]) -> Option<Team> {
    out.iter().find_map(|output| match output {
        ForemanOutput::StartTeam(team) => Some(team.clone()),
        _ => None,
    })
}

/// What the store of the open attempt says.
fn answer(ledger: &Ledger, message: &ToStore) -> FromStore {
    match message {
        ToStore::Open(id, of) => FromStore::Opened((*id, of.spec), ledger.list()),
        ToStore::Fetch(id, of, want) => {
            FromStore::Piece((*id, *of), ledger.piece(*want).expect("it is there"))
        }
        other => panic!("{other:?} before the team was started"),
    }
}

/// The team that a foreman starts when messages are lost, doubled and late as `luck` says.
fn fetched(ledger: &Ledger, foreman: &mut Foreman, luck: &[u8]) -> Team {
    let mut answers: Vec<FromStore> = Vec::new();
    let mut out = foreman.handle(Time(0), ForemanInput::Begin);
    for now in 1.. {
        answers.extend(sent(&out).iter().map(|message| answer(ledger, message)));
        if let Some(team) = team(&out) {
            for late in answers {
                assert_eq!(foreman.handle(Time(now), ForemanInput::Store(late)), [], "it changes nothing");
            }
            return team;
        }
        // Nothing goes wrong once the luck is out.
        let luck = luck.get(now as usize).copied().unwrap_or(3);
        let at = usize::from(luck / 4) % answers.len().max(1);
        out = match (answers.get(at).cloned(), luck % 4) {
            (None, _) => foreman.handle(Time(now), ForemanInput::Woken),
            (Some(_), 0) => {
                answers.remove(at);
                Vec::new()
            }
            (Some(doubled), 1) => foreman.handle(Time(now), ForemanInput::Store(doubled)),
            (Some(_), _) => {
                let message = answers.remove(at);
                foreman.handle(Time(now), ForemanInput::Store(message))
            }
        };
    }
    unreachable!()
}

proptest! {
    /// A successor has what the store has, whatever the network does, and whenever its own predecessor was killed.
    #[test]
    fn a_successor_fetches_what_is_done(
        lengths in prop::collection::vec(0usize..40, 0..8), piece_bytes in 1u32..30,
        luck in prop::collection::vec(any::<u8>(), 0..200), killed in 0usize..20,
    ) {
        let ledger = ledger(&lengths);
        let foreman = |number| {
            Foreman::new(attempt(number), step(), vec![HostId(0)]).with_piece_bytes(piece_bytes)
        };
        let mut first = foreman(2);
        let mut out = first.handle(Time(0), ForemanInput::Begin);
        for _ in 0..killed {
            let Some(message) = sent(&out).pop() else { break };
            out = first.handle(Time(0), ForemanInput::Store(answer(&ledger, &message)));
        }
        let team = fetched(&ledger, &mut foreman(3), &luck);
        prop_assert_eq!((team.round, team.state), (2, Some((0..20).collect())));
        prop_assert_eq!(team.done.len(), lengths.len());
        for (listed, done) in ledger.list().done.into_iter().zip(&team.done) {
            let whole = Want { key: listed.key, from: 0, most: u32::MAX };
            let stored = ledger.piece(whole).map(|piece| piece.bytes);
            prop_assert_eq!(Some(&done.partial), stored.as_ref());
            prop_assert_eq!(&done.nodes, &listed.nodes);
        }
        let left: Vec<u32> = team.missing.iter().flat_map(|node| node.blocks(Grid::new(u64::from(BLOCKS)))).collect();
        prop_assert_eq!(left, (lengths.len() as u32..BLOCKS).collect::<Vec<u32>>());
    }
}

fn working() -> Foreman {
    let mut foreman = Foreman::new(attempt(1), step(), vec![HostId(0)]);
    foreman.handle(Time(0), ForemanInput::Begin);
    let opened =
        FromStore::Opened((attempt(1), step().spec), Opened { round: 1, state: None, done: Vec::new() });
    assert!(team(&foreman.handle(Time(0), ForemanInput::Store(opened))).is_some());
    foreman
}

#[test]
fn what_a_team_merges_replaces_what_it_was_merged_from() {
    let mut foreman = working();
    let mut hand_in = |nodes: Vec<Node>| {
        let out = foreman.handle(Time(0), ForemanInput::Finished(1, nodes, vec![1]));
        (sent(&out).len(), foreman.clone())
    };
    assert_eq!(hand_in(leaf(0)).0, 1);
    assert_eq!(hand_in(leaf(1)).0, 1);
    let parent = Node { level: 1, index: 0 };
    assert_eq!(hand_in(vec![parent]).0, 1);
    assert_eq!(hand_in(leaf(0)).0, 0, "part of what is done");
    let (_, mut foreman) = hand_in(vec![Node { level: 1, index: 1 }]);
    let next = team(&foreman.handle(Time(0), ForemanInput::TeamEnded(1))).expect("blocks are missing");
    let nodes: Vec<&[Node]> = next.done.iter().map(|done| &done.nodes[..]).collect();
    assert_eq!(nodes, [&[parent][..], &[Node { level: 1, index: 1 }]]);
    assert_eq!(next.missing, [Node { level: 2, index: 1 }]);
}

#[test]
fn it_ends_well_when_a_team_has_the_answer_and_the_store_has_it_all() {
    let mut foreman = working();
    let root = vec![Node { level: 3, index: 0 }];
    let stored = |number| ForemanInput::Store(FromStore::Stored((attempt(1), step().spec), number));
    foreman.handle(Time(0), ForemanInput::Answered(1));
    assert_ne!(foreman.state, State::Over, "there is no answer without the blocks");
    foreman.handle(Time(0), ForemanInput::Finished(1, root.clone(), vec![1]));
    // What is not stored of a round that is over need not be.
    let out = foreman.handle(Time(0), ForemanInput::Round(1, 2, vec![9]));
    assert!(matches!(&sent(&out)[..], [ToStore::Round(_, _, Round { number: 2, round: 2, .. })]));
    assert_eq!(sent(&foreman.handle(Time(0), ForemanInput::Woken)).len(), 1);
    assert_eq!(
        foreman.handle(Time(0), ForemanInput::Round(1, 2, vec![8])).len(),
        1,
        "it has begun: it only waits"
    );
    foreman.handle(Time(0), ForemanInput::Finished(1, root, vec![2]));
    foreman.handle(Time(0), ForemanInput::Answered(1));
    assert_ne!(foreman.state, State::Over);
    foreman.handle(Time(0), stored(2));
    assert_ne!(foreman.state, State::Over, "the last blocks are not stored");
    let out = foreman.handle(Time(0), stored(3));
    assert_eq!(out, [ForemanOutput::Exit(Outcome::Completed)]);
}

#[test]
fn a_refusal_is_told_to_the_user() {
    let why = Refusal::TooLarge { bytes: 9, limit: 8 };
    for (why, outcome) in [(why, Outcome::Failed(2)), (Refusal::Stale, Outcome::HostFailed)] {
        let mut foreman = working();
        let out =
            foreman.handle(Time(0), ForemanInput::Store(FromStore::Refused((attempt(1), step().spec), why)));
        assert_eq!(out, [ForemanOutput::Complain(why), ForemanOutput::Exit(outcome)]);
    }
}

#[test]
fn it_says_which_hosts_its_teams_use() {
    let mut foreman = working();
    let hosts = |numbers: &[u32]| numbers.iter().copied().map(HostId).collect::<Vec<HostId>>();
    let uses = |numbers: &[u32]| ForemanOutput::Send(ToStore::Uses(attempt(1), hosts(numbers)));
    let mut resize = |numbers: &[u32]| foreman.handle(Time(0), ForemanInput::Resize(hosts(numbers)));
    assert_eq!(resize(&[0]), [uses(&[0])], "it knows that already");
    assert_eq!(resize(&[0, 1]), [ForemanOutput::StopTeam(1)], "the team has not handed in");
    assert_eq!(resize(&[0, 2]), []);
    let entry = foreman.handle(Time(0), ForemanInput::Finished(1, leaf(0), vec![1]));
    assert!(matches!(&sent(&entry)[..], [ToStore::Commit(_, _, Commit { number: 1, .. })]));
    let out = foreman.handle(Time(0), ForemanInput::TeamEnded(1));
    assert_eq!(out[0], uses(&[0, 2]));
    assert_eq!(team(&out).map(|team| (team.number, team.hosts)), Some((2, hosts(&[0, 2]))));
    // A word is no entry: the next one follows the first.
    let entry = foreman.handle(Time(0), ForemanInput::Finished(2, leaf(1), vec![1]));
    assert!(matches!(&sent(&entry)[..], [ToStore::Commit(_, _, Commit { number: 2, .. })]));
}
