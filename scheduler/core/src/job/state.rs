//! The state of one thing that is placed on hosts, and what may happen to it in each.
//!
//! Invariant: [`Run::next`] is the only way from a state to another, and it is a pure function. Every pair of state and
//! change is in the table of its tests.

use super::hold::HeldBy;
use super::id::Attempt;
use super::outcome::Outcome;
use super::placement::Placement;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// A job that is no array, or one element of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How often it was started.
    pub attempts: u32,
    /// Where it stands.
    pub state: State,
}

/// Where a job stands: what it waits for, or what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Waits for somebody to release it.
    Held(HeldBy),
    /// Waits for other jobs.
    Depends,
    /// May start from a time on: waits for that time, or for the policy.
    Pending {
        /// The time.
        from: Time,
    },
    /// Was given hosts, and its agents have not said that it runs.
    Starting(Placed),
    /// Runs.
    Running {
        /// Where.
        placed: Placed,
        /// Since when.
        began: Time,
    },
    /// Has its hosts, and is stopped.
    Suspended {
        /// Where.
        placed: Placed,
        /// When it began to run.
        began: Time,
        /// Since when it is stopped.
        since: Time,
    },
    /// Is over or shall be, and holds its hosts until they are clean.
    Completing {
        /// Where.
        placed: Placed,
        /// When it began to run, if it did.
        began: Option<Time>,
        /// Since when.
        since: Time,
        /// How it ends.
        outcome: Outcome,
    },
    /// Over.
    Done(Done),
}

/// One attempt that holds hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Which attempt.
    pub attempt: Attempt,
    /// On what, and for how long.
    pub on: Arc<Placement>,
    /// When it was given them.
    pub started: Time,
    /// How long it has been stopped, ticks.
    pub paused: i64,
    /// The element of its array whose hosts these are until it is over; none once they are its own.
    pub after: Option<u32>,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How.
    pub outcome: Outcome,
    /// When the last attempt was given hosts, if there was one.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Time,
}

/// What can happen to one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Somebody holds it back.
    Hold(HeldBy),
    /// Who may lifts the hold; it waits for `then`.
    Release {
        /// Who.
        by: HeldBy,
        /// What it waits for without the hold.
        then: Gate,
    },
    /// What it waits for has changed.
    Gate(Gate),
    /// It is given hosts, at once or when this element of its array is over.
    Start(Attempt, Arc<Placement>, Option<u32>),
    /// It runs.
    Begin(Attempt),
    /// It has other hosts, or another time limit.
    Replace(Attempt, Arc<Placement>),
    /// It is stopped.
    Suspend(Attempt),
    /// It goes on.
    Resume(Attempt),
    /// It is over or shall be, and its hosts are not yet clean.
    Complete(Attempt, Outcome),
    /// Its hosts are clean.
    End(Attempt, Outcome),
    /// The attempt is over and its hosts are free; it waits for another.
    Requeue {
        /// The attempt; 0 when there was none.
        attempt: Attempt,
        /// Whether it is held.
        hold: Option<HeldBy>,
        /// When it may start again.
        from: Time,
    },
    /// A user cancels it.
    Cancel(u32),
    /// It ends without having been started.
    Close(Outcome),
}

/// What a run waits for when nobody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Other jobs.
    Depends,
    /// A time, which may have passed.
    From(Time),
}

/// Why a change cannot happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// It waits no more.
    #[error("it is {state}, and only what waits can be {what}")]
    NotWaiting {
        /// What it is.
        state: &'static str,
        /// What was to happen.
        what: &'static str,
    },
    /// It holds no hosts, or not in that way.
    #[error("it is {state}, and cannot be {what}")]
    NotLive {
        /// What it is.
        state: &'static str,
        /// What was to happen.
        what: &'static str,
    },
    /// Nobody holds it.
    #[error("nobody holds it")]
    NotHeld,
    /// The hold is an operator's.
    #[error("an operator holds it: ask one to release it")]
    OperatorsHold,
    /// The record is of another attempt.
    #[error("its attempt is {is}, and this is of attempt {said}: a stale message, or a journal with a gap")]
    OtherAttempt {
        /// Its attempt.
        is: u32,
        /// That of the record.
        said: u32,
    },
    /// It has ended.
    #[error("it has already ended")]
    Ended,
    /// The element after which it is to begin has no such hosts, or is followed by another.
    #[error("it cannot follow element {0}, which does not hold what it is given, or is followed by another")]
    NothingToFollow(u32),
}

impl State {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            State::Held(_) => "held",
            State::Depends => "waiting for other jobs",
            State::Pending { .. } => "pending",
            State::Starting(_) => "starting",
            State::Running { .. } => "running",
            State::Suspended { .. } => "suspended",
            State::Completing { .. } => "completing",
            State::Done(_) => "done",
        }
    }

    /// Slurm's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            State::Held(_) | State::Depends | State::Pending { .. } => "PENDING",
            State::Starting(_) => "CONFIGURING",
            State::Running { .. } => "RUNNING",
            State::Suspended { .. } => "SUSPENDED",
            State::Completing { .. } => "COMPLETING",
            State::Done(done) => done.outcome.word(),
        }
    }

    /// Whether it waits to be given hosts.
    pub fn waits(&self) -> bool {
        matches!(self, State::Held(_) | State::Depends | State::Pending { .. })
    }

    /// What it was given; none when it waits or is over.
    pub fn placed(&self) -> Option<&Placed> {
        match self {
            State::Starting(placed)
            | State::Running { placed, .. }
            | State::Suspended { placed, .. }
            | State::Completing { placed, .. } => Some(placed),
            State::Held(_) | State::Depends | State::Pending { .. } | State::Done(_) => None,
        }
    }

    /// The same, when it has it, and it is not another's yet.
    pub fn holds(&self) -> Option<&Placed> {
        self.placed().filter(|placed| placed.after.is_none())
    }

    fn placed_mut(&mut self) -> Option<&mut Placed> {
        match self {
            State::Starting(placed)
            | State::Running { placed, .. }
            | State::Suspended { placed, .. }
            | State::Completing { placed, .. } => Some(placed),
            State::Held(_) | State::Depends | State::Pending { .. } | State::Done(_) => None,
        }
    }

    /// When it ends by its time limit, as far as that can be told now; none while it is stopped, without a limit, or when
    /// it holds nothing. What is completing should be gone at once.
    pub fn expected_end(&self) -> Option<Time> {
        let after = |from: &Time, placed: &Placed| {
            let limit_ms = i64::try_from(placed.on.limit_s?).ok()?.saturating_mul(1000);
            Some(from.after(limit_ms).after(placed.paused))
        };
        match self {
            State::Starting(placed) => after(&placed.started, placed),
            State::Running { placed, began } => after(began, placed),
            State::Completing { since, .. } => Some(*since),
            _ => None,
        }
    }
}

impl Run {
    /// One that has never been started.
    pub fn new(state: State) -> Run {
        Run { attempts: 0, state }
    }

    /// The element that it was to follow is over: it follows another, or the hosts are its own from now on.
    pub(super) fn move_up(&mut self, after: Option<u32>, at: Time) {
        let unbegun = matches!(self.state, State::Starting(_));
        if let Some(placed) = self.state.placed_mut() {
            placed.after = after;
            if after.is_none() && unbegun {
                placed.started = at;
            }
        }
    }

    /// What it is after a change.
    ///
    /// # Errors
    ///
    /// When the change cannot happen in this state.
    pub fn next(&self, at: Time, change: &Change) -> Result<Run, ChangeError> {
        let state = match change {
            Change::Hold(by) => self.hold(*by)?,
            Change::Release { by, then } => self.release(*by, *then)?,
            Change::Gate(gate) => self.gate(*gate)?,
            Change::Start(attempt, on, after) => return self.start(at, *attempt, (on, *after)),
            Change::Begin(attempt) => match self.of(*attempt, "begun")? {
                State::Starting(placed) => State::Running { placed: placed.clone(), began: at },
                state => return Err(not_live(state, "begun")),
            },
            Change::Replace(attempt, on) => self.replace(*attempt, on)?,
            Change::Suspend(attempt) => match self.of(*attempt, "suspended")? {
                State::Running { placed, began } => {
                    State::Suspended { placed: placed.clone(), began: *began, since: at }
                }
                state => return Err(not_live(state, "suspended")),
            },
            Change::Resume(attempt) => match self.of(*attempt, "resumed")? {
                State::Suspended { placed, began, since } => {
                    let paused = placed.paused.saturating_add((at.0 - since.0).max(0));
                    State::Running { placed: Placed { paused, ..placed.clone() }, began: *began }
                }
                state => return Err(not_live(state, "resumed")),
            },
            Change::Complete(attempt, outcome) => self.complete(*attempt, *outcome, at)?,
            Change::End(attempt, outcome) => self.end(*attempt, *outcome, at)?,
            Change::Requeue { attempt, hold, from } => self.requeue(*attempt, *hold, *from)?,
            Change::Cancel(by) => self.cancel(*by, at)?,
            Change::Close(outcome) => {
                self.waiting("ended so")?;
                State::Done(Done { outcome: *outcome, started: None, ended: at })
            }
        };
        Ok(Run { attempts: self.attempts, state })
    }

    fn waiting(&self, what: &'static str) -> Result<(), ChangeError> {
        match &self.state {
            State::Done(_) => Err(ChangeError::Ended),
            state if state.waits() => Ok(()),
            state => Err(ChangeError::NotWaiting { state: state.name(), what }),
        }
    }

    /// The state, when it is one of this attempt that holds hosts.
    fn of(&self, attempt: Attempt, what: &'static str) -> Result<&State, ChangeError> {
        match (&self.state, self.state.placed()) {
            (State::Done(_), _) => Err(ChangeError::Ended),
            (state, None) => Err(not_live(state, what)),
            (_, Some(placed)) if placed.attempt != attempt => {
                Err(ChangeError::OtherAttempt { is: placed.attempt.0, said: attempt.0 })
            }
            (state, Some(_)) => Ok(state),
        }
    }

    fn hold(&self, by: HeldBy) -> Result<State, ChangeError> {
        self.waiting("held")?;
        Ok(State::Held(match self.state {
            State::Held(already) => already.max(by),
            _ => by,
        }))
    }

    fn release(&self, by: HeldBy, then: Gate) -> Result<State, ChangeError> {
        self.waiting("released")?;
        match self.state {
            State::Held(held) if held > by => Err(ChangeError::OperatorsHold),
            State::Held(_) => Ok(then.state()),
            _ => Err(ChangeError::NotHeld),
        }
    }

    /// A held run stays held: what it waits for is asked when it is released.
    fn gate(&self, gate: Gate) -> Result<State, ChangeError> {
        self.waiting("made to wait")?;
        Ok(match self.state {
            State::Held(by) => State::Held(by),
            _ => gate.state(),
        })
    }

    fn start(
        &self,
        at: Time,
        attempt: Attempt,
        (on, after): (&Arc<Placement>, Option<u32>),
    ) -> Result<Run, ChangeError> {
        match &self.state {
            State::Pending { .. } => {}
            State::Done(_) => return Err(ChangeError::Ended),
            state if state.waits() => return Err(not_live(state, "started")),
            state => return Err(ChangeError::NotWaiting { state: state.name(), what: "started" }),
        }
        if attempt.0 != self.attempts + 1 {
            return Err(ChangeError::OtherAttempt { is: self.attempts + 1, said: attempt.0 });
        }
        let placed = Placed { attempt, on: on.clone(), started: at, paused: 0, after };
        Ok(Run { attempts: attempt.0, state: State::Starting(placed) })
    }

    fn replace(&self, attempt: Attempt, on: &Arc<Placement>) -> Result<State, ChangeError> {
        let state = self.of(attempt, "resized")?;
        let moved = |placed: &Placed| Placed { on: on.clone(), ..placed.clone() };
        match state {
            State::Starting(placed) => Ok(State::Starting(moved(placed))),
            State::Running { placed, began } => Ok(State::Running { placed: moved(placed), began: *began }),
            State::Suspended { placed, began, since } => {
                Ok(State::Suspended { placed: moved(placed), began: *began, since: *since })
            }
            state => Err(not_live(state, "resized")),
        }
    }

    fn complete(&self, attempt: Attempt, outcome: Outcome, at: Time) -> Result<State, ChangeError> {
        let (placed, began) = match self.of(attempt, "completed")? {
            State::Starting(placed) => (placed, None),
            State::Running { placed, began } | State::Suspended { placed, began, .. } => {
                (placed, Some(*began))
            }
            state => return Err(not_live(state, "completed")),
        };
        Ok(State::Completing { placed: placed.clone(), began, since: at, outcome })
    }

    /// What was decided or reported first stays: the signal by which a cancelled job ends is not its outcome.
    fn end(&self, attempt: Attempt, outcome: Outcome, at: Time) -> Result<State, ChangeError> {
        let state = self.of(attempt, "ended")?;
        let outcome = match state {
            // Who was told to make room and came to its own end before it had to has ended well.
            State::Completing { outcome: Outcome::Preempted, .. } if outcome == Outcome::Completed => outcome,
            State::Completing { outcome, .. } => *outcome,
            _ => outcome,
        };
        let started = state.placed().map(|placed| placed.started);
        Ok(State::Done(Done { outcome, started, ended: at }))
    }

    fn requeue(&self, attempt: Attempt, hold: Option<HeldBy>, from: Time) -> Result<State, ChangeError> {
        if self.state.waits() {
            return Err(not_live(&self.state, "requeued"));
        }
        if attempt.0 != self.attempts {
            return Err(ChangeError::OtherAttempt { is: self.attempts, said: attempt.0 });
        }
        Ok(hold.map_or(State::Pending { from }, State::Held))
    }

    fn cancel(&self, by: u32, at: Time) -> Result<State, ChangeError> {
        let outcome = Outcome::Cancelled(by);
        match &self.state {
            State::Done(_) => Err(ChangeError::Ended),
            // It was to be started again, and is not.
            State::Completing { placed, began, since, outcome: before } if before.may_run_again() => {
                Ok(State::Completing { placed: placed.clone(), began: *began, since: *since, outcome })
            }
            State::Completing { .. } => Err(not_live(&self.state, "cancelled")),
            state => match state.placed() {
                None => Ok(State::Done(Done { outcome, started: None, ended: at })),
                Some(placed) => self.complete(placed.attempt, outcome, at),
            },
        }
    }
}

impl Gate {
    /// The state of what waits at it.
    pub fn state(self) -> State {
        match self {
            Gate::Depends => State::Depends,
            Gate::From(from) => State::Pending { from },
        }
    }
}

fn not_live(state: &State, what: &'static str) -> ChangeError {
    ChangeError::NotLive { state: state.name(), what }
}
