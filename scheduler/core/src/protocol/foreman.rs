//! The foreman: owns a kernel step. Starts teams, hands what they finish to the store, and counts as done what the
//! store has on disk.
//!
//! Part of step 8 of a job's way (DESIGN section 4). Invariants: it starts a team only when it has every partial that
//! the store has; what a team finishes counts only while it is the current one; no block lies in two of its partials; it
//! ends well only when its team has the answer and the store has every block.

use super::fetch::Fetch;
use super::guard::Guard;
use super::ledger::{Commit, FromStore, Opened, PIECE_BYTES, Refusal, Round, Step, ToStore, is_within};
use super::stamp::AttemptId;
use crate::cluster::HostId;
use crate::job::outcome::Outcome;
use crate::time::Time;
use muster_spec::{BlockSet, Grid, Node};
use std::collections::BTreeMap;

/// After how long without an answer a foreman asks the store again, in milliseconds.
const ASK_AGAIN_MS: i64 = 5_000;

/// The same when it waits to be let go.
const CLOSE_AGAIN_MS: i64 = 100;

/// How the foreman ends where another attempt would be refused as well: its input is at fault.
const REFUSED: Outcome = Outcome::Failed(2);

/// What a foreman hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForemanInput {
    /// It has been started.
    Begin,
    /// The store speaks.
    Store(FromStore),
    /// The team of this number has finished these nodes of its round, with this partial. It may be merged from partials
    /// that were finished before, whose place it takes.
    Finished(u32, Vec<Node>, Vec<u8>),
    /// The team of this number has finished its rounds up to this one, and begins it from a state, encoded.
    Round(u32, u32, Vec<u8>),
    /// The team of this number has the answer.
    Answered(u32),
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
    /// Start a team.
    StartTeam(Team),
    /// Let the team of this number stop at the next block, hand in what it has, and end.
    StopTeam(u32),
    /// Say why it cannot be done, where the job's errors go.
    Complain(Refusal),
    /// Exit.
    Exit(Outcome),
    /// Wake me then, and not at the time asked for before.
    Wake(Time),
}

/// What a team is to do: fold what is missing, merge it with what is done, and go on from round to round to the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Its number, from 1.
    pub number: u32,
    /// Where.
    pub hosts: Vec<HostId>,
    /// The round under way, from 1.
    pub round: u32,
    /// What the round begins from, encoded; none where that is in the spec.
    pub state: Option<Vec<u8>>,
    /// What is done of the round.
    pub done: Vec<Done>,
    /// What is not; nothing when only the answer is to be found.
    pub missing: Vec<Node>,
}

/// Finished nodes, and their partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Their partial, encoded.
    pub partial: Vec<u8>,
}

/// The foreman of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreman {
    id: AttemptId,
    step: Step,
    hosts: Vec<HostId>,
    piece_bytes: u32,
    /// Whether its step is a script's, which goes on.
    of_script: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the store to say what is done.
    Opening,
    /// Waits for the partials of it.
    Fetching(Fetch),
    Working(Work),
    /// Waits for the store to hear that it goes; then it ends so.
    Closing(Outcome),
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Work {
    round: u32,
    state: Option<Vec<u8>>,
    /// What is done of the round: in the store, or on the way to it.
    forest: Vec<Done>,
    /// The blocks of it.
    taken: BlockSet,
    /// On the way to the store.
    sent: BTreeMap<u32, Entry>,
    /// How many entries there were.
    entries: u32,
    /// The number of the current team.
    team: u32,
    /// Whether the current team was told to stop, for other hosts.
    stopping: bool,
    /// Whether a team has the answer.
    answered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Commit(Commit),
    Round(Round),
}

impl Foreman {
    /// The foreman of `id`, for a step, with these hosts to begin with.
    pub fn new(id: AttemptId, step: Step, hosts: Vec<HostId>) -> Self {
        Foreman { id, step, hosts, piece_bytes: PIECE_BYTES, of_script: false, state: State::Opening }
    }

    /// The same for a step of a script, which goes on with its own hosts when the step is over.
    #[must_use]
    pub fn of_script(self) -> Self {
        Foreman { of_script: true, ..self }
    }

    /// Fetches what is done in pieces of so many bytes, at least 1.
    #[must_use]
    pub fn with_piece_bytes(self, piece_bytes: u32) -> Self {
        Foreman { piece_bytes, ..self }
    }

    /// Hears one thing, and says what to do.
    pub fn handle(&mut self, now: Time, input: ForemanInput) -> Vec<ForemanOutput> {
        let mut out = Vec::new();
        match input {
            ForemanInput::Begin => self.ask(&mut out),
            ForemanInput::Woken => self.ask(&mut out),
            ForemanInput::Store(message) if message.step() == (self.id, self.step.spec) => {
                self.stored(message, &mut out)
            }
            ForemanInput::Store(_) => {}
            ForemanInput::Finished(team, nodes, partial) => {
                self.finished(team, Done { nodes, partial }, &mut out);
            }
            ForemanInput::Round(team, round, state) => self.goes_round(team, (round, state), &mut out),
            ForemanInput::Answered(team) => self.answered(team, &mut out),
            ForemanInput::TeamEnded(team) => self.team_ended(team, &mut out),
            ForemanInput::Resize(hosts) => self.resize(hosts, &mut out),
        }
        let waits = match &self.state {
            State::Opening | State::Fetching(_) => Some(ASK_AGAIN_MS),
            State::Working(work) => (!work.sent.is_empty()).then_some(ASK_AGAIN_MS),
            State::Closing(_) => Some(CLOSE_AGAIN_MS),
            State::Over => None,
        };
        out.extend(waits.map(|ms| ForemanOutput::Wake(now.after(ms))));
        out
    }

    /// Says again what the store has not answered.
    fn ask(&self, out: &mut Vec<ForemanOutput>) {
        match &self.state {
            State::Opening => out.push(ForemanOutput::Send(ToStore::Open(self.id, self.step.clone()))),
            State::Fetching(fetch) => {
                let want = fetch.want(self.piece_bytes);
                let fetch = want.map(|want| ToStore::Fetch(self.id, self.step.spec, want));
                out.extend(fetch.map(ForemanOutput::Send));
            }
            State::Working(work) => out.extend(work.sent.values().map(|entry| self.entry(entry))),
            State::Closing(_) => {
                out.push(ForemanOutput::Send(ToStore::Close(self.id, self.step.spec)));
            }
            State::Over => {}
        }
    }

    fn entry(&self, entry: &Entry) -> ForemanOutput {
        let (id, spec) = (self.id, self.step.spec);
        ForemanOutput::Send(match entry {
            Entry::Commit(commit) => ToStore::Commit(id, spec, commit.clone()),
            Entry::Round(round) => ToStore::Round(id, spec, round.clone()),
        })
    }

    fn stored(&mut self, message: FromStore, out: &mut Vec<ForemanOutput>) {
        match (message, &mut self.state) {
            (FromStore::Opened(_, opened), State::Opening) => self.opened(opened, out),
            (FromStore::Piece(_, piece), State::Fetching(fetch)) => {
                let next = fetch.take(piece);
                self.fetched(next, out);
            }
            (FromStore::Stored(_, number), State::Working(work)) => {
                work.sent.retain(|other, _| *other > number);
                self.look_whether_done(out);
            }
            (FromStore::Closed(_), State::Closing(outcome)) => {
                let outcome = *outcome;
                self.exit(outcome, out);
            }
            (FromStore::Refused(_, why), State::Opening | State::Fetching(_) | State::Working(_)) => {
                out.push(ForemanOutput::Complain(why));
                self.end(if why.is_final() { REFUSED } else { Outcome::HostFailed }, out);
            }
            _ => {}
        }
    }

    fn opened(&mut self, opened: Opened, out: &mut Vec<ForemanOutput>) {
        self.state = State::Fetching(Fetch::new(opened));
        self.fetched(true, out);
    }

    /// Goes on to work if everything that is done is here, and asks for more of it if not. Only what is new is an
    /// occasion to ask: a piece that is doubled would double all that follow.
    fn fetched(&mut self, is_new: bool, out: &mut Vec<ForemanOutput>) {
        let State::Fetching(fetch) = &mut self.state else { return };
        if !is_new {
            return;
        }
        let Some((round, state, forest)) = fetch.whole() else { return self.ask(out) };
        let mut taken = BlockSet::empty(self.grid());
        if !forest.iter().flat_map(|done| &done.nodes).all(|node| taken.insert(*node)) {
            return self.end(Outcome::HostFailed, out);
        }
        let (sent, entries, team, stopping, answered) = (BTreeMap::new(), 0, 0, false, false);
        let work = Work { round, state, forest, taken, sent, entries, team, stopping, answered };
        self.state = State::Working(work);
        self.start_team(out);
    }

    fn finished(&mut self, team: u32, done: Done, out: &mut Vec<ForemanOutput>) {
        let grid = self.grid();
        let State::Working(work) = &mut self.state else { return };
        // A team that is not the current one may have folded blocks that the current one folds, too.
        if team != work.team || !work.take(&done, grid) {
            return;
        }
        let Done { nodes, partial } = done;
        let commit = Commit { number: work.entries + 1, nodes, partial };
        self.send(Entry::Commit(commit), out);
    }

    fn goes_round(&mut self, team: u32, (round, state): (u32, Vec<u8>), out: &mut Vec<ForemanOutput>) {
        let grid = self.grid();
        let State::Working(work) = &mut self.state else { return };
        if team != work.team || round <= work.round {
            return;
        }
        (work.round, work.state) = (round, Some(state.clone()));
        (work.forest, work.taken) = (Vec::new(), BlockSet::empty(grid));
        // What the store has not heard of the rounds before, it need not hear any more.
        work.sent.clear();
        let round = Round { number: work.entries + 1, round, state };
        self.send(Entry::Round(round), out);
    }

    fn answered(&mut self, team: u32, out: &mut Vec<ForemanOutput>) {
        if let State::Working(work) = &mut self.state {
            work.answered |= team == work.team && work.taken.is_full();
            self.look_whether_done(out);
        }
    }

    fn send(&mut self, entry: Entry, out: &mut Vec<ForemanOutput>) {
        out.push(self.entry(&entry));
        if let State::Working(work) = &mut self.state {
            work.entries += 1;
            work.sent.insert(work.entries, entry);
        }
    }

    fn team_ended(&mut self, team: u32, out: &mut Vec<ForemanOutput>) {
        if matches!(&self.state, State::Working(work) if work.team == team && !work.answered) {
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
        let hosts = self.hosts.clone();
        let State::Working(work) = &mut self.state else { return };
        work.team += 1;
        work.stopping = false;
        out.push(ForemanOutput::StartTeam(Team {
            number: work.team,
            hosts,
            round: work.round,
            state: work.state.clone(),
            done: work.forest.clone(),
            missing: work.taken.missing(),
        }));
    }

    fn look_whether_done(&mut self, out: &mut Vec<ForemanOutput>) {
        let State::Working(work) = &self.state else { return };
        let stored = work.sent.is_empty() || !Guard::DoneWhenStored.stands();
        if work.answered && stored {
            self.end(Outcome::Completed, out);
        }
    }

    /// Ends, once the store knows where a script goes on: what is lent to it goes back, and what was taken is gone.
    fn end(&mut self, outcome: Outcome, out: &mut Vec<ForemanOutput>) {
        if self.of_script && !matches!(self.state, State::Opening) {
            self.state = State::Closing(outcome);
            return self.ask(out);
        }
        self.exit(outcome, out);
    }

    fn exit(&mut self, outcome: Outcome, out: &mut Vec<ForemanOutput>) {
        self.state = State::Over;
        out.push(ForemanOutput::Exit(outcome));
    }

    fn grid(&self) -> Grid {
        Grid::new(u64::from(self.step.blocks))
    }
}

impl Work {
    /// Takes in what is done, in the place of what it has in it. Returns false, and changes nothing, where it has a block
    /// of what was done without having all of that.
    fn take(&mut self, done: &Done, grid: Grid) -> bool {
        let mut blocks = BlockSet::empty(grid);
        let sound =
            done.nodes.iter().fold(!done.nodes.is_empty(), |sound, node| blocks.insert(*node) && sound);
        let kept: Vec<bool> = self.forest.iter().map(|old| !is_within(&old.nodes, &blocks, grid)).collect();
        let of_kept =
            self.forest.iter().zip(&kept).filter(|(_, kept)| **kept).flat_map(|(old, _)| &old.nodes);
        let mut taken = BlockSet::empty(grid);
        if !sound || !of_kept.chain(&done.nodes).all(|node| taken.insert(*node)) {
            return false;
        }
        let mut kept = kept.into_iter();
        self.forest.retain(|_| kept.next().is_some_and(|kept| kept));
        self.forest.push(done.clone());
        self.taken = taken;
        true
    }
}

#[cfg(test)]
#[path = "foreman_tests.rs"]
mod tests;
