//! The desk: what the controller does not know of jobs itself: what they ask for, and which of them begins next.
//!
//! The protocol is written over this, so that it can be tested with a queue of a few lines, and run with the books.

use super::message::{Conduct, Role};
use super::pause::Pace;
use super::probe::{Probe, Wanted};
use super::stamp::AttemptId;
use crate::cluster::HostId;
use crate::job::id::{JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::usage::Usage;
use crate::time::Time;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Who decides about jobs. Its state is a fold of what it is told: the same words in the same order give the same state.
pub trait Desk: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// What a client may ask.
    type Request: Clone + Debug;
    /// What a client is told.
    type Answer: Clone + Debug;
    /// What changes, on request.
    type Event: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    /// What a request leads to; nothing has changed yet.
    fn ask(&mut self, now: Time, request: &Self::Request) -> Asked<Self::Event, Self::Answer>;

    /// Whether the event can follow from what is known; asked of a journal that is read back.
    fn follows(&self, event: &Self::Event) -> bool;

    /// Whether this attempt can follow from what is known; asked of a journal that is read back.
    fn may_begin(&self, begun: &Begun) -> bool;

    /// A request changed this.
    fn apply(&mut self, at: Time, event: &Self::Event);

    /// What must be noted now though nobody asks.
    fn due(&self, now: Time) -> Due<Self::Event>;

    /// Whether new work may go to a host; none may before this is said. Not part of the fold: forgotten with the
    /// controller.
    fn usable(&mut self, host: HostId, usable: bool);

    /// What changes as a host says that it is not fit for what it was to begin; nothing has changed yet.
    fn unfit(&self, host: HostId, why: &str) -> Option<Self::Event>;

    /// What begins now, on hosts that are usable. Each attempt has a number that its run never had before. All of it is
    /// noted before this is asked again.
    fn decide(&mut self, now: Time) -> Decided;

    /// Whether an open attempt can have other hosts, as far as is known; asked of a journal that is read back.
    fn may_resize(&self, resized: &Resized) -> bool;

    /// Jobs whose input files must be looked for before they begin, and the hosts that they may have. It may name hosts
    /// that have told, and that are not usable.
    fn wanted(&self) -> Vec<Wanted>;

    /// This is known of a job's input files from now on; nothing when the job is over. Not part of the fold: forgotten
    /// with the controller, and said again by the next.
    fn found(&mut self, job: JobId, probe: Option<&Probe>);

    /// The job that an event changes or ends, if it is about one that was submitted before.
    fn changes(&self, event: &Self::Event) -> Option<JobId>;

    /// Whether a job is known and not over.
    fn lives(&self, job: JobId) -> bool;

    /// Whether a job that lives reads files that must be looked for.
    fn is_probed(&self, job: JobId) -> bool;

    /// What the host of a place is to launch, encoded for whoever does.
    fn launch(&self, begun: &Begun, place: &Place) -> Vec<u8>;

    /// When to ask for decisions again though nothing happens.
    fn wake(&self, now: Time) -> Option<Time>;

    /// This has been decided and noted.
    fn begun(&mut self, at: Time, begun: &Begun);

    /// Its batch host says that it runs.
    fn up(&mut self, at: Time, id: AttemptId);

    /// It has hosts that join from now on; those that leave are its own until [`Desk::left`] says so.
    fn resized(&mut self, at: Time, resized: &Resized);

    /// Nothing of it is left, or can do harm, on a host that leaves.
    fn left(&mut self, at: Time, id: AttemptId, host: HostId);

    /// A script has kernel steps under way, or has not any more: meanwhile its hosts may come and go.
    fn stepped(&mut self, at: Time, id: AttemptId, steps: bool);

    /// An open attempt on these of its hosts alone, in their order; none where it has no others.
    fn keeping(&self, id: AttemptId, hosts: &[HostId]) -> Option<Resized>;

    /// It is to stop, stands still, or goes on.
    fn paced(&mut self, at: Time, id: AttemptId, pace: Pace);

    /// It comes to an end, and something of it may still run. Said again when a user's word changes how it ends.
    fn ends(&mut self, at: Time, id: AttemptId, end: AttemptEnd);

    /// Nothing of it runs any more, or can do harm; what it used, as far as its agents have said.
    fn closed(&mut self, at: Time, id: AttemptId, end: AttemptEnd, usage: Usage);
}

/// What is decided.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// What begins.
    pub begun: Vec<Begun>,
    /// What shall have other hosts. What cannot now is left out: hosts are still on their way out of it, or it ends.
    pub resized: Vec<Resized>,
    /// What shall stop to make room, or go on: what cannot now is left out.
    pub paced: Vec<(AttemptId, Pace)>,
    /// What shall end to make room, why, and how many milliseconds after it is told.
    pub end: Vec<(RunId, Why, i64)>,
    /// Whether to ask again once this is noted: only if something begins.
    pub again: bool,
}

/// What must be noted though nobody asks.
#[derive(Clone, Debug)]
pub struct Due<E> {
    /// What changes, to be noted in this order.
    pub events: Vec<E>,
    /// What shall end if it runs, and why.
    pub end: Vec<(RunId, Why)>,
}

impl<E> Default for Due<E> {
    fn default() -> Self {
        Due { events: Vec::new(), end: Vec::new() }
    }
}

/// What a request leads to.
#[derive(Clone, Debug)]
pub struct Asked<E, A> {
    /// What changes, to be noted in this order.
    pub events: Vec<E>,
    /// What shall end if it runs, and why.
    pub end: Vec<(RunId, Why)>,
    /// The answer, once all that is on disk.
    pub answer: A,
}

/// An attempt that begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Which.
    pub id: AttemptId,
    /// What becomes of it in silence.
    pub conduct: Conduct,
    /// Its time limit in milliseconds.
    pub limit_ms: Option<i64>,
    /// Where, the batch host first.
    pub places: Vec<Place>,
    /// What it follows there: its host begins it when that is over, and nothing of it before.
    pub after: Option<AttemptId>,
    /// What the desk wants to be told when the journal is read back, encoded by it.
    pub plan: Vec<u8>,
}

/// An open attempt of a kernel step that shall have other hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resized {
    /// Which.
    pub id: AttemptId,
    /// Where, all of it, the batch host first, which it keeps.
    pub places: Vec<Place>,
    /// What the desk wants to be told when the journal is read back, encoded by it.
    pub plan: Vec<u8>,
}

/// What an attempt does on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where.
    pub host: HostId,
    /// What.
    pub role: Role,
}

/// Why an attempt is ended that could go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Why {
    /// A user has cancelled it, of this number.
    Cancelled(u32),
    /// Somebody else needs the room.
    Preempted,
    /// Somebody else needs the room, and it does not run again.
    Evicted,
    /// A user wants it to run again.
    Requeued,
    /// Its deadline has passed.
    Deadline,
}

impl Why {
    /// Whether it shall run again.
    pub fn runs_again(self) -> bool {
        matches!(self, Why::Preempted | Why::Requeued)
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// By itself, or at a limit of its own.
    Exited(Outcome),
    /// By our will.
    Ended(Why),
    /// With a host, a shepherd or a lease. It may have done part of its work.
    Lost,
    /// It never began, and never will.
    NeverBegan,
}

impl AttemptEnd {
    /// How the attempt ended, in the words of jobs.
    pub fn outcome(self) -> Outcome {
        match self {
            AttemptEnd::Exited(outcome) => outcome,
            AttemptEnd::Ended(Why::Cancelled(user)) => Outcome::Cancelled(user),
            AttemptEnd::Ended(Why::Preempted | Why::Requeued | Why::Evicted) => Outcome::Preempted,
            AttemptEnd::Ended(Why::Deadline) => Outcome::Deadline,
            AttemptEnd::Lost => Outcome::HostFailed,
            AttemptEnd::NeverBegan => Outcome::NotStarted,
        }
    }

    /// Whether another attempt may follow, if the job lets it.
    pub fn may_run_again(self) -> bool {
        match self {
            AttemptEnd::Exited(_) => false,
            AttemptEnd::Ended(why) => why.runs_again(),
            AttemptEnd::Lost | AttemptEnd::NeverBegan => true,
        }
    }
}
