//! Jobs as the queue keeps them.
//!
//! A job's state is a fold of events: [`Job::apply`] is the only way to change it, and a restart is a replay. Invariant:
//! what [`Job::check`] has let pass, `apply` can do. A job that is no array is one [`Run`]; an array keeps codes for its
//! elements, and objects for those alone that run.

pub mod array;
pub mod dependency;
pub mod event;
pub mod hold;
pub mod id;
pub mod indices;
pub mod inputs;
pub mod outcome;
pub mod placement;
pub mod state;
pub mod tape;
pub mod update;
pub mod usage;

mod change;

#[cfg(test)]
mod state_tests;

use crate::job::array::Array;
use crate::job::dependency::{Fate, Join, Status, Target, Unmet};
use crate::job::hold::HeldBy;
use crate::job::id::{JobId, RunId};
use crate::job::state::{Change, ChangeError, Gate, Run, State};
use crate::jobspec::JobSpec;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// Who submitted a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The user's name.
    pub user: String,
}

/// A job that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    id: JobId,
    submitted: Time,
    owner: Arc<Owner>,
    spec: Arc<JobSpec>,
    /// When what waits may start: its begin time, the delays of what it depends on, the end of a hold.
    from: Time,
    /// What it waits for of other jobs.
    unmet: Option<Box<Unmet>>,
    body: Body,
}

/// What there is of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// One thing to be placed.
    One(Run),
    /// Many.
    Array(Box<Array>),
}

/// Why something cannot happen to a job.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobError {
    /// Its state does not let it.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It is an array, or none, or has no such element.
    #[error("it has no such element: see `scontrol show job` for its elements")]
    NoElement,
    /// It asks for too many elements, for none, or for a range that ends before it begins.
    #[error("an array has 1 to {most} elements: split it into several")]
    Size {
        /// How many it may have.
        most: u32,
    },
    /// A field cannot be changed now.
    #[error(
        "{field} cannot be changed: it is {state}, and keeps what it was given until it ends or is requeued"
    )]
    Fixed {
        /// Slurm's name for the field.
        field: &'static str,
        /// Its state.
        state: &'static str,
    },
    /// An update that changes nothing.
    #[error("an update names no field")]
    EmptyUpdate,
}

impl Job {
    /// A job as it is submitted. What it depends on is settled by the books.
    ///
    /// # Errors
    ///
    /// When it is an array of more than `most` elements, or of none.
    pub fn new(id: JobId, at: Time, request: Submitted, most: u32) -> Result<Job, JobError> {
        let Submitted { owner, spec } = request;
        let hold = spec.when.hold.then_some(HeldBy::User);
        let from = spec.when.begin.map_or(at, |begin| begin.max(at));
        let body = match &spec.array {
            None => {
                let pending = State::Pending { from };
                Body::One(Run::new(hold.map_or(pending, State::Held)))
            }
            Some(array) => {
                Body::Array(Box::new(Array::new(array, most, hold).ok_or(JobError::Size { most })?))
            }
        };
        Ok(Job { id, submitted: at, owner, spec, from, unmet: None, body })
    }

    /// Its number.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// When it was submitted.
    pub fn submitted(&self) -> Time {
        self.submitted
    }

    /// Who submitted it.
    pub fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// What it asks for.
    pub fn spec(&self) -> &Arc<JobSpec> {
        &self.spec
    }

    /// What there is of it.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// What it waits for of other jobs.
    pub fn unmet(&self) -> Option<&Unmet> {
        self.unmet.as_deref()
    }

    /// When what waits of it may start; that of elements that were started before may be later.
    pub fn from(&self) -> Time {
        self.from
    }

    /// What waits of it, and is not held, waits for this.
    pub fn gate(&self) -> Gate {
        match self.unmet.as_deref().map(|unmet| unmet.whole) {
            Some(Status::Open | Status::Failed) => Gate::Depends,
            Some(Status::Met(_)) | None => Gate::From(self.from),
        }
    }

    /// The place of an element in its array; none for a job that is none, and for an element that there is not.
    pub fn place(&self, element: Option<u32>) -> Option<u32> {
        match &self.body {
            Body::Array(array) => array.indices().ordinal(element?),
            Body::One(_) => None,
        }
    }

    /// What it does, in a word: of an array, what its first element does that is not over.
    pub fn summary(&self) -> &'static str {
        match &self.body {
            Body::One(run) => run.state.name(),
            Body::Array(array) => {
                let all = array.spans(self.gate()).map(|(.., run)| run.state);
                all.into_iter()
                    .find(|state| !matches!(state, State::Done(_)))
                    .map_or("done", |state| state.name())
            }
        }
    }

    /// The job, or an element of it, as a value; none when there is no such thing.
    pub fn run(&self, element: Option<u32>) -> Option<Run> {
        match (&self.body, element) {
            (Body::One(run), None) => Some(run.clone()),
            (Body::Array(array), Some(index)) => {
                Some(array.run(array.indices().ordinal(index)?, self.gate()))
            }
            _ => None,
        }
    }

    /// Its elements, when it is an array.
    pub fn array(&self) -> Option<&Array> {
        match &self.body {
            Body::One(_) => None,
            Body::Array(array) => Some(array),
        }
    }

    /// What was given hosts of it.
    pub fn live(&self) -> impl Iterator<Item = (RunId, &Run)> {
        let (one, array) = match &self.body {
            Body::One(run) => (Some(run), None),
            Body::Array(array) => (None, Some(array)),
        };
        let job = self.id;
        let one = one.map(|run| (RunId { job, element: None }, run));
        let many = array.into_iter().flat_map(move |array| {
            let id = move |at| RunId { job, element: Some(array.indices().index(at)) };
            array.apart().map(move |(at, run)| (id(at), run))
        });
        one.into_iter().chain(many).filter(|(_, run)| run.state.placed().is_some())
    }

    /// How many things of it hold hosts.
    pub fn live_count(&self) -> u32 {
        match &self.body {
            Body::One(run) => u32::from(run.state.placed().is_some()),
            Body::Array(array) => array.live(),
        }
    }

    /// How many things of it wait, held ones included.
    pub fn waiting_count(&self) -> u32 {
        match &self.body {
            Body::One(run) => u32::from(run.state.waits()),
            Body::Array(array) => array.indices().len() - array.over() - array.live(),
        }
    }

    /// The first time from which something of it may start; none when all of it is held, waits for others, runs or is
    /// over. A throttle may keep it back still.
    pub fn earliest(&self) -> Option<Time> {
        match &self.body {
            Body::One(Run { state: State::Pending { from }, .. }) => Some(*from),
            Body::One(_) => None,
            Body::Array(array) => {
                let alike = match self.gate() {
                    Gate::From(from) if array.alike() > 0 => Some(from),
                    _ => None,
                };
                let again = array.again().next().map(|(from, _)| from);
                alike.into_iter().chain(again).min()
            }
        }
    }

    /// The first time after `now` from which something of it may start that may not yet.
    pub fn next_start(&self, now: Time) -> Option<Time> {
        match &self.body {
            Body::One(_) => self.earliest().filter(|from| *from > now),
            Body::Array(array) => {
                let alike = match self.gate() {
                    Gate::From(from) if array.alike() > 0 && from > now => Some(from),
                    _ => None,
                };
                alike.into_iter().chain(array.again_after(now)).min()
            }
        }
    }

    /// When all of it was over; none while something is not.
    pub fn ended(&self) -> Option<Time> {
        match &self.body {
            Body::One(Run { state: State::Done(done), .. }) => Some(done.ended),
            Body::One(_) => None,
            Body::Array(array) => array.ended(),
        }
    }

    /// Whether it, or some elements of it, wait for what cannot be any more.
    pub fn is_hopeless(&self) -> bool {
        let never = match &self.body {
            Body::Array(array) => array.blocked().1 > 0,
            Body::One(_) => false,
        };
        never || self.is_hopeless_as_a_whole()
    }

    /// Whether all that waits of it waits for what cannot be any more.
    pub fn is_hopeless_as_a_whole(&self) -> bool {
        let Some(unmet) = self.unmet().filter(|_| self.waiting_count() > 0) else { return false };
        let open = unmet.clauses.iter().any(|(_, status)| *status == Status::Open);
        unmet.whole == Status::Failed && (unmet.join == Join::All || !open)
    }

    /// The fate of it, or of one element, as far as other jobs ask for it; none when it has no such element.
    pub fn fate(&self, target: Target) -> Option<Fate> {
        match (&self.body, target.element) {
            (Body::Array(array), None) => Some(array.fate()),
            (Body::Array(array), Some(index)) => Some(array.fate_of(array.indices().ordinal(index)?)),
            (Body::One(_), Some(_)) => None,
            (Body::One(run), None) => Some(match &run.state {
                State::Done(done) => Fate {
                    started: Some(done.started.unwrap_or(done.ended)),
                    ended: Some((done.ended, done.outcome.is_success())),
                },
                state => Fate { started: state.placed().map(|placed| placed.started), ended: None },
            }),
        }
    }

    /// Bytes that it holds on the heap, without its jobspec and what running attempts share with the journal.
    pub fn heap_bytes(&self) -> usize {
        match &self.body {
            Body::One(_) => 0,
            Body::Array(array) => size_of::<Array>() + array.heap_bytes(),
        }
    }
}

/// What is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// By whom.
    pub owner: Arc<Owner>,
    /// What.
    pub spec: Arc<JobSpec>,
}
