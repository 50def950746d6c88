//! The controller's replica of the ledgers of kernel steps: which blocks are done, with their partials.
//!
//! Invariants: each block of a round lies in at most one commit; what a foreman writes is a sequence of entries, numbered
//! from 1 and taken in order, so an entry that is doubled or late is known by its number, whatever has been merged since;
//! an entry is of the newest attempt of its run, or it is refused; what a foreman has been told is stored is on disk. So
//! an old foreman that nobody could reach does no harm, and its successor starts from all that counts.

use super::guard::Guard;
use super::stamp::AttemptId;
use crate::cluster::HostId;
use muster_spec::{BlockSet, Grid, Node};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the controller keeps of one step, at most, in bytes: partials, and eight for each node that they cover.
pub const STEP_BYTES: u64 = 16 << 20;

/// How many steps the controller keeps of one run, at most.
pub const MOST_STEPS: usize = 64;

/// How much of a partial goes into one message, at most, in bytes.
pub const PIECE_BYTES: u32 = 256 << 10;

/// A kernel step as it is registered, from a kernel's own foreman or from inside a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The hash of the resolved spec: it is the step's name.
    pub spec: [u8; 16],
    /// The arithmetic class.
    pub class: String,
    /// How many blocks its grid has.
    pub blocks: u32,
    /// Hosts that it needs at least, and can use at most.
    pub hosts: (u32, u32),
}

/// Finished blocks of the round under way, and their partial. It takes the place of the commits whose blocks it has: so a
/// parent's partial replaces those of its children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Which entry of its attempt's, from 1.
    pub number: u32,
    /// The nodes of the block tree that it covers.
    pub nodes: Vec<Node>,
    /// Their partial, encoded.
    pub partial: Vec<u8>,
}

/// A round begins, and those before it are over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Which entry of its attempt's, from 1. Entries between it and the last that the store has are of rounds that are
    /// over, and need not follow.
    pub number: u32,
    /// Which round, from 1.
    pub round: u32,
    /// What it begins from, encoded.
    pub state: Vec<u8>,
}

/// Which entry of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The attempt that wrote it.
    pub by: AttemptId,
    /// Which of the attempt's.
    pub number: u32,
}

/// Foreman to controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToStore {
    /// It has this step to do: what is done of it?
    Open(AttemptId, Step),
    /// More of the step with this spec is done.
    Commit(AttemptId, [u8; 16], Commit),
    /// The step with this spec begins a round.
    Round(AttemptId, [u8; 16], Round),
    /// It wants this of the step with this spec.
    Fetch(AttemptId, [u8; 16], Want),
    /// For the controller itself: its teams use these hosts, and what others had done for it is handed in.
    Uses(AttemptId, Vec<HostId>),
    /// The step with this spec has no team any more, and its foreman goes. Said until that is heard.
    Close(AttemptId, [u8; 16]),
}

impl ToStore {
    /// For which attempt it is said.
    pub fn attempt(&self) -> AttemptId {
        match self {
            ToStore::Open(id, _)
            | ToStore::Commit(id, ..)
            | ToStore::Round(id, ..)
            | ToStore::Fetch(id, ..)
            | ToStore::Uses(id, _)
            | ToStore::Close(id, _) => *id,
        }
    }
}

/// Some bytes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which entry.
    pub key: Key,
    /// From which byte on.
    pub from: u64,
    /// How many bytes, at most.
    pub most: u32,
}

/// A step of an attempt, by the hash of its spec: a script may have several at once.
pub type StepId = (AttemptId, [u8; 16]);

/// Controller to foreman.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromStore {
    /// This is done.
    Opened(StepId, Opened),
    /// Its entries up to this number are on disk.
    Stored(StepId, u32),
    /// It cannot be: end.
    Refused(StepId, Refusal),
    /// What it wanted.
    Piece(StepId, Piece),
    /// The step is closed, and the hosts of a script are those that it began with, as far as it has them.
    Closed(StepId),
}

impl FromStore {
    /// For which step's foreman it is.
    pub fn step(&self) -> StepId {
        match self {
            FromStore::Opened(id, _)
            | FromStore::Stored(id, _)
            | FromStore::Refused(id, _)
            | FromStore::Piece(id, _)
            | FromStore::Closed(id) => *id,
        }
    }
}

/// What there is of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The round under way, from 1.
    pub round: u32,
    /// The entry with the state that the round begins from; none for a first round that nobody said to begin.
    pub state: Option<Listed>,
    /// What is done of the round.
    pub done: Vec<Listed>,
}

/// An entry whose bytes can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which.
    pub key: Key,
    /// The nodes that it covers; none for a state.
    pub nodes: Vec<Node>,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Bytes of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Which entry.
    pub key: Key,
    /// The place of the first byte.
    pub from: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why the store does not take what a foreman says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Its attempt is not the open one of its run.
    #[error(
        "this attempt is over, and another may have taken its place: nothing of it is lost that was stored"
    )]
    Stale,
    /// The step is registered, and otherwise.
    #[error(
        "a step of this spec is registered with another grid, class or size: cancel the job and submit it again"
    )]
    OtherStep,
    /// The step is not that of the files that were probed.
    #[error(
        "the input files changed after they were looked for (they made {found} blocks, and make {said}), or the spec \
         did: submit the job again"
    )]
    OtherGrid {
        /// How many blocks they made.
        found: u32,
        /// How many they make now.
        said: u32,
    },
    /// What is done was done with other files.
    #[error(
        "the input files changed after part of the work was done, and what is done cannot be merged with what is not: \
         submit the job again"
    )]
    OtherInputs,
    /// Nobody has registered the step.
    #[error("no step of this spec is registered: open it first")]
    NoStep,
    /// The job has many steps already.
    #[error("the controller keeps the first {MOST_STEPS} steps of a job")]
    TooManySteps,
    /// A block of it is done, or outside the grid.
    #[error("a block of it is done already, or outside the grid")]
    Overlaps,
    /// The round is not one that can begin.
    #[error("round {said} cannot begin in round {is}")]
    OtherRound {
        /// The round under way.
        is: u32,
        /// The one that should begin.
        said: u32,
    },
    /// The controller keeps no ledger of this size.
    #[error(
        "the ledger of this step would have {bytes} bytes, and the controller keeps {limit} at most: ask for smaller \
         partials (fewer bins or groups)"
    )]
    TooLarge {
        /// How many bytes it would have.
        bytes: u64,
        /// How many it may have.
        limit: u64,
    },
}

impl Refusal {
    /// Whether another attempt would be refused as well.
    pub fn is_final(self) -> bool {
        match self {
            Refusal::OtherStep
            | Refusal::OtherGrid { .. }
            | Refusal::OtherInputs
            | Refusal::TooManySteps
            | Refusal::TooLarge { .. } => true,
            Refusal::Stale | Refusal::NoStep | Refusal::Overlaps | Refusal::OtherRound { .. } => false,
        }
    }
}

/// The replica of one step's ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The step.
    pub step: Step,
    /// What tells the files that it reads from others, where they were looked for.
    inputs: Option<[u8; 16]>,
    round: u32,
    /// What the round begins from.
    state: Option<(Key, Vec<u8>)>,
    /// What is done of the round, and not replaced.
    commits: BTreeMap<Key, Commit>,
    /// The last entry of each attempt.
    heard: BTreeMap<AttemptId, u32>,
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new, and next.
    New,
    /// It is there, or comes before its turn.
    NotNext,
    /// It cannot follow.
    Wrong(Refusal),
}

impl Ledger {
    /// Nothing is done of a step that reads these files, if it is known which.
    pub fn new(step: Step, inputs: Option<[u8; 16]>) -> Self {
        Ledger { step, inputs, round: 1, state: None, commits: BTreeMap::new(), heard: BTreeMap::new() }
    }

    /// Whether what is done was done with these files, as far as is known.
    pub fn is_of(&self, inputs: Option<[u8; 16]>) -> bool {
        self.inputs.is_none() || inputs.is_none() || self.inputs == inputs
    }

    /// The last entry of an attempt; 0 before the first.
    pub fn last(&self, id: AttemptId) -> u32 {
        self.heard.get(&id).copied().unwrap_or(0)
    }

    /// What there is.
    pub fn list(&self) -> Opened {
        let listed = |key: &Key, nodes: &[Node], bytes: &[u8]| Listed {
            key: *key,
            nodes: nodes.to_vec(),
            bytes: bytes.len() as u64,
        };
        let done = self.commits.iter().map(|(key, commit)| listed(key, &commit.nodes, &commit.partial));
        let state = self.state.as_ref().map(|(key, state)| listed(key, &[], state));
        Opened { round: self.round, state, done: done.collect() }
    }

    /// Some bytes of an entry; none if it has been replaced.
    pub fn piece(&self, want: Want) -> Option<Piece> {
        let Want { key, from, most } = want;
        let state = self.state.as_ref().filter(|(of, _)| *of == key).map(|(_, state)| state);
        let all = state.or_else(|| Some(&self.commits.get(&key)?.partial))?;
        let rest = all.get(usize::try_from(from).ok()?..)?;
        let bytes = rest[..rest.len().min(most.min(PIECE_BYTES) as usize)].to_vec();
        Some(Piece { key, from, bytes })
    }

    /// Whether a commit can follow.
    pub fn judge(&self, id: AttemptId, commit: &Commit) -> Verdict {
        let last = self.last(id);
        let (known, early) = (commit.number <= last, commit.number > last.saturating_add(1));
        if known && Guard::BlockOnce.stands() || early && Guard::CommitInOrder.stands() {
            return Verdict::NotNext;
        }
        let nodes = self.kept(commit).chain([commit]).flat_map(|commit| &commit.nodes);
        let mut done = BlockSet::empty(self.grid());
        let mut disjoint = !commit.nodes.is_empty();
        nodes.for_each(|node| disjoint &= done.insert(*node));
        if disjoint || !Guard::BlockOnce.stands() { Verdict::New } else { Verdict::Wrong(Refusal::Overlaps) }
    }

    /// Whether a round can begin.
    pub fn judge_round(&self, id: AttemptId, round: &Round) -> Verdict {
        let first = self.state.is_none() && self.commits.is_empty();
        if round.number <= self.last(id) {
            Verdict::NotNext
        } else if round.round > self.round || (first && round.round == self.round) {
            Verdict::New
        } else {
            Verdict::Wrong(Refusal::OtherRound { is: self.round, said: round.round })
        }
    }

    /// Why a commit that could follow is too much to keep, if it is.
    pub fn too_large(&self, commit: &Commit) -> Option<Refusal> {
        let state = self.state.as_ref().map_or(0, |(_, state)| state.len() as u64);
        over_limit(state + self.kept(commit).chain([commit]).map(size).sum::<u64>())
    }

    /// Takes a commit in that has been judged new.
    pub fn apply(&mut self, id: AttemptId, commit: Commit) {
        let blocks = self.blocks(&commit);
        let grid = self.grid();
        self.commits.retain(|_, old| !is_within(&old.nodes, &blocks, grid));
        self.note(id, commit.number);
        self.commits.insert(Key { by: id, number: commit.number }, commit);
    }

    /// Takes a round in that has been judged new.
    pub fn begin_round(&mut self, id: AttemptId, round: Round) {
        self.note(id, round.number);
        self.commits.clear();
        self.round = round.round;
        self.state = Some((Key { by: id, number: round.number }, round.state));
    }

    fn note(&mut self, id: AttemptId, number: u32) {
        let last = self.heard.entry(id).or_default();
        *last = number.max(*last);
    }

    /// The commits that `new` does not replace.
    fn kept(&self, new: &Commit) -> impl Iterator<Item = &Commit> {
        let (blocks, grid) = (self.blocks(new), self.grid());
        self.commits.values().filter(move |old| !is_within(&old.nodes, &blocks, grid))
    }

    fn blocks(&self, commit: &Commit) -> BlockSet {
        let mut blocks = BlockSet::empty(self.grid());
        for node in &commit.nodes {
            // One that is there twice is refused when all that is done is put together.
            let _ = blocks.insert(*node);
        }
        blocks
    }

    fn grid(&self) -> Grid {
        Grid::new(u64::from(self.step.blocks))
    }
}

/// Whether all blocks of these nodes are in a set.
pub(super) fn is_within(nodes: &[Node], blocks: &BlockSet, grid: Grid) -> bool {
    nodes.iter().all(|node| node.blocks(grid).all(|block| blocks.contains(block)))
}

impl Round {
    /// Why it is too much to keep, if it is.
    pub fn too_large(&self) -> Option<Refusal> {
        over_limit(self.state.len() as u64)
    }
}

fn size(commit: &Commit) -> u64 {
    commit.partial.len() as u64 + commit.nodes.len() as u64 * size_of::<Node>() as u64
}

fn over_limit(bytes: u64) -> Option<Refusal> {
    (bytes > STEP_BYTES).then_some(Refusal::TooLarge { bytes, limit: STEP_BYTES })
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
