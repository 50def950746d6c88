//! The foreman: owns a kernel step. Starts teams, hands what they finish to the store, and counts as done what the
//! store has on disk.
//!
//! Part of step 8 of a job's way (DESIGN section 4). Invariants: what a team finishes counts only while it is the
//! current one; no block is committed twice by one foreman; it ends well only when the store has every block.

use super::guard::Guard;
use super::ledger::{Commit, FromStore, Step, ToStore};
use super::stamp::AttemptId;
use crate::cluster::HostId;
use crate::job::outcome::Outcome;
use crate::time::Time;
use muster_spec::{BlockSet, Grid, Node};
use std::collections::BTreeMap;

/// After how long without an answer a foreman asks the store again, in milliseconds.
const ASK_AGAIN_MS: i64 = 5_000;

/// What a foreman hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForemanInput {
    /// It has been started.
    Begin,
    /// The store speaks.
    Store(FromStore),
    /// The team of this number has finished these nodes, with this partial.
    Finished(u32, Vec<Node>, Vec<u8>),
    /// The team of this number is no more: it stopped, or was lost.
    TeamEnded(u32),
    /// Use these hosts from now on.
    Resize(Vec<HostId>),
    /// The time that it asked for has come.
    Woken,
}

/// What a foreman does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForemanOutput {
    /// Tell the store.
    Send(ToStore),
    /// Start a team of this number on these hosts, to fold these nodes.
    StartTeam(u32, Vec<HostId>, Vec<Node>),
    /// Let the team of this number stop at the next block, hand in what it has, and end.
    StopTeam(u32),
    /// Exit.
    Exit(Outcome),
    /// Wake me then, and not at the time asked for before.
    Wake(Time),
}

/// The foreman of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreman {
    id: AttemptId,
    step: Step,
    hosts: Vec<HostId>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the store to say what is done.
    Opening,
    Working(Work),
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Work {
    /// In the store, or on the way to it.
    taken: BlockSet,
    /// On the way to it.
    sent: BTreeMap<u32, Commit>,
    /// How many commits there were.
    commits: u32,
    /// The number of the current team.
    team: u32,
    /// Whether the current team was told to stop, for other hosts.
    stopping: bool,
}

impl Foreman {
    /// The foreman of `id`, for a step, with these hosts to begin with.
    pub fn new(id: AttemptId, step: Step, hosts: Vec<HostId>) -> Self {
        Foreman { id, step, hosts, state: State::Opening }
    }

    /// Hears one thing, and says what to do.
    pub fn handle(&mut self, now: Time, input: ForemanInput) -> Vec<ForemanOutput> {
        let mut out = Vec::new();
        match input {
            ForemanInput::Begin => self.ask(&mut out),
            ForemanInput::Woken => self.ask(&mut out),
            ForemanInput::Store(message) => self.stored(message, &mut out),
            ForemanInput::Finished(team, nodes, partial) => self.finished(team, nodes, partial, &mut out),
            ForemanInput::TeamEnded(team) => self.team_ended(team, &mut out),
            ForemanInput::Resize(hosts) => self.resize(hosts, &mut out),
        }
        let waits = match &self.state {
            State::Opening => true,
            State::Working(work) => !work.sent.is_empty(),
            State::Over => false,
        };
        if waits {
            out.push(ForemanOutput::Wake(now.after(ASK_AGAIN_MS)));
        }
        out
    }

    /// Says again what the store has not answered.
    fn ask(&self, out: &mut Vec<ForemanOutput>) {
        match &self.state {
            State::Opening => out.push(ForemanOutput::Send(ToStore::Open(self.id, self.step.clone()))),
            State::Working(work) => out.extend(work.sent.values().map(|commit| self.commit(commit))),
            State::Over => {}
        }
    }

    fn commit(&self, commit: &Commit) -> ForemanOutput {
        ForemanOutput::Send(ToStore::Commit(self.id, self.step.spec, commit.clone()))
    }

    fn stored(&mut self, message: FromStore, out: &mut Vec<ForemanOutput>) {
        match (message, &mut self.state) {
            (FromStore::Opened(id, done), State::Opening) if id == self.id => {
                let mut taken = BlockSet::empty(self.grid());
                let sound = done.iter().flatten().all(|node| taken.insert(*node));
                if !sound {
                    return self.end(Outcome::HostFailed, out);
                }
                let (sent, commits, team, stopping) = (BTreeMap::new(), 0, 0, false);
                self.state = State::Working(Work { taken, sent, commits, team, stopping });
                self.start_team(out);
            }
            (FromStore::Stored(id, number), State::Working(work)) if id == self.id => {
                work.sent.remove(&number);
                self.look_whether_done(out);
            }
            (FromStore::Refused(id), State::Opening | State::Working(_)) if id == self.id => {
                self.end(Outcome::HostFailed, out);
            }
            _ => {}
        }
    }

    fn finished(&mut self, team: u32, nodes: Vec<Node>, partial: Vec<u8>, out: &mut Vec<ForemanOutput>) {
        let State::Working(work) = &mut self.state else { return };
        let mut taken = work.taken.clone();
        // A team that is not the current one may have folded blocks that the current one folds, too.
        if team != work.team || !nodes.iter().all(|node| taken.insert(*node)) {
            return;
        }
        work.taken = taken;
        work.commits += 1;
        let commit = Commit { number: work.commits, nodes, partial };
        work.sent.insert(commit.number, commit.clone());
        out.push(self.commit(&commit));
        self.look_whether_done(out);
    }

    fn team_ended(&mut self, team: u32, out: &mut Vec<ForemanOutput>) {
        if matches!(&self.state, State::Working(work) if work.team == team && !work.taken.is_full()) {
            self.start_team(out);
        }
    }

    fn resize(&mut self, hosts: Vec<HostId>, out: &mut Vec<ForemanOutput>) {
        // A new session of its agent says again what it knows.
        let known = self.hosts == hosts;
        self.hosts = hosts;
        match &mut self.state {
            State::Working(work) if work.stopping => {}
            State::Working(work) if !known => {
                work.stopping = true;
                out.push(ForemanOutput::StopTeam(work.team));
            }
            // No team uses any other.
            _ => out.push(self.uses()),
        }
    }

    /// Tells the controller which hosts are used.
    fn uses(&self) -> ForemanOutput {
        ForemanOutput::Send(ToStore::Uses(self.id, self.hosts.clone()))
    }

    /// Starts the next team on what is missing.
    fn start_team(&mut self, out: &mut Vec<ForemanOutput>) {
        out.push(self.uses());
        let State::Working(work) = &mut self.state else { return };
        work.team += 1;
        work.stopping = false;
        if !work.taken.is_full() {
            out.push(ForemanOutput::StartTeam(work.team, self.hosts.clone(), work.taken.missing()));
        }
        self.look_whether_done(out);
    }

    fn look_whether_done(&mut self, out: &mut Vec<ForemanOutput>) {
        let State::Working(work) = &self.state else { return };
        let stored = work.sent.is_empty() || !Guard::DoneWhenStored.stands();
        if work.taken.is_full() && stored {
            self.end(Outcome::Completed, out);
        }
    }

    fn end(&mut self, outcome: Outcome, out: &mut Vec<ForemanOutput>) {
        self.state = State::Over;
        out.push(ForemanOutput::Exit(outcome));
    }

    fn grid(&self) -> Grid {
        Grid::new(u64::from(self.step.blocks))
    }
}
