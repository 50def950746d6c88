//! The controller's replica of the ledgers of kernel steps: which blocks are done, with their partials.
//!
//! Invariants: each block lies in at most one commit; a commit is of the newest attempt of its run, or it is refused;
//! what a foreman has been told is stored is on disk. So an old foreman that nobody could reach does no harm, and its
//! successor starts from all that counts.

use super::guard::Guard;
use super::stamp::AttemptId;
use crate::cluster::HostId;
use muster_spec::{BlockSet, Grid, Node};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// Finished blocks, and their partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Which of its attempt's, from 1.
    pub number: u32,
    /// The nodes of the block tree that it covers.
    pub nodes: Vec<Node>,
    /// Their partial, encoded.
    pub partial: Vec<u8>,
}

/// Foreman to controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToStore {
    /// It has this step to do: what is done of it?
    Open(AttemptId, Step),
    /// More of the step with this spec is done.
    Commit(AttemptId, [u8; 16], Commit),
    /// For the controller itself: its teams use these hosts, and what others had done for it is handed in.
    Uses(AttemptId, Vec<HostId>),
}

/// Controller to foreman.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromStore {
    /// This is done.
    Opened(AttemptId, Vec<Vec<Node>>),
    /// The commit of this number is on disk.
    Stored(AttemptId, u32),
    /// The attempt is not the newest, or the step is another: end.
    Refused(AttemptId),
}

/// The replica of one step's ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The step.
    pub step: Step,
    /// What is done, each by the attempt that did it.
    commits: BTreeMap<(AttemptId, u32), Commit>,
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new.
    New,
    /// It is there.
    Known,
    /// A block of it is done already, or outside the grid.
    Wrong,
}

impl Ledger {
    /// Nothing is done.
    pub fn new(step: Step) -> Self {
        Ledger { step, commits: BTreeMap::new() }
    }

    /// The commits, by attempt and number.
    pub fn commits(&self) -> impl Iterator<Item = (AttemptId, &Commit)> {
        self.commits.iter().map(|((id, _), commit)| (*id, commit))
    }

    /// Whether a commit can follow.
    pub fn judge(&self, id: AttemptId, commit: &Commit) -> Verdict {
        if self.commits.contains_key(&(id, commit.number)) && Guard::BlockOnce.stands() {
            return Verdict::Known;
        }
        let mut done = self.done();
        let disjoint = !commit.nodes.is_empty() && commit.nodes.iter().all(|node| done.insert(*node));
        if disjoint || !Guard::BlockOnce.stands() { Verdict::New } else { Verdict::Wrong }
    }

    /// Takes a commit in that has been judged new.
    pub fn apply(&mut self, id: AttemptId, commit: Commit) {
        self.commits.insert((id, commit.number), commit);
    }

    fn done(&self) -> BlockSet {
        let mut done = BlockSet::empty(Grid::new(u64::from(self.step.blocks)));
        for node in self.commits.values().flat_map(|commit| &commit.nodes) {
            let new = done.insert(*node);
            debug_assert!(new || !Guard::BlockOnce.stands(), "a block lies in one commit");
        }
        done
    }
}
