//! What stands in line: all that may start as far as the books know, for the policy to choose from.
//!
//! Elements of an array that wait alike are one entry with a count, however many they are.

use super::Books;
use crate::job::array::Array;
use crate::job::id::{JobId, RunId};
use crate::job::state::{Gate, Run, State};
use crate::job::{Body, Job};
use crate::time::Time;

/// A job that may start, or so many alike elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The job; with an element when that one waits in a way of its own.
    pub run: RunId,
    /// The place of that element.
    pub place: Option<u32>,
    /// How many may start now, at least 1.
    pub count: u32,
    /// Since when it may.
    pub from: Time,
}

impl Books {
    /// All that may start at `now`, by (since when, number).
    pub fn queue(&self, now: Time) -> impl Iterator<Item = Entry> + '_ {
        self.index.startable(now).flat_map(move |id| self.entries(id, now))
    }

    /// What of one job may start at `now`.
    pub fn entries(&self, id: JobId, now: Time) -> Vec<Entry> {
        let Some(job) = self.jobs.get(&id) else { return Vec::new() };
        match job.body() {
            Body::One(Run { state: State::Pending { from }, .. }) if *from <= now => {
                vec![Entry { run: RunId { job: id, element: None }, place: None, count: 1, from: *from }]
            }
            Body::One(_) => Vec::new(),
            Body::Array(array) => entries_of(job, array, now),
        }
    }
}

/// Elements that were started before go first, then the rest, as far as the throttle lets them.
fn entries_of(job: &Job, array: &Array, now: Time) -> Vec<Entry> {
    let mut left = array.may_start();
    let mut entries = Vec::new();
    for (from, ordinal) in array.again().take_while(|(from, _)| *from <= now) {
        if left == 0 {
            return entries;
        }
        let element = Some(array.indices().index(ordinal));
        let run = RunId { job: job.id(), element };
        entries.push(Entry { run, place: Some(ordinal), count: 1, from });
        left -= 1;
    }
    if let Gate::From(from) = job.gate()
        && from <= now
        && array.alike().min(left) > 0
    {
        let run = RunId { job: job.id(), element: None };
        entries.push(Entry { run, place: None, count: array.alike().min(left), from });
    }
    entries
}
