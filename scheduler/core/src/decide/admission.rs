//! What a pass may start of an entry, beside what is free: each element once, whichever of its partitions is first.

use super::{Start, number, placement};
use crate::books::Books;
use crate::cluster::{Allocation, ClassId, Hosts};
use crate::job::Body;
use crate::job::id::{Attempt, JobId, RunId};
use crate::policy::machine::Running;
use crate::policy::pass::Starts;
use crate::policy::queue::Entry;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What may start in one pass, and what did.
pub(super) struct Admission<'a> {
    books: &'a Books,
    starts: Vec<Start>,
    /// Of each job that started: how many did, and from which place on others wait.
    started: BTreeMap<JobId, Begun>,
}

#[derive(Clone, Debug, Default)]
struct Begun {
    count: u32,
    next: u32,
    /// Places that were entries of their own.
    places: Vec<Option<u32>>,
}

impl<'a> Admission<'a> {
    pub(super) fn new(books: &'a Books) -> Admission<'a> {
        Admission { books, starts: Vec::new(), started: BTreeMap::new() }
    }

    pub(super) fn into_starts(self) -> Vec<Start> {
        self.starts
    }

    /// The place of the element that an entry would start next; none when none may, whatever is free.
    fn next(&self, entry: &Entry<ClassId>) -> Option<Option<u32>> {
        let id = number::job_of(entry.job);
        let place = number::place_of(entry.job);
        let begun = self.started.get(&id);
        match self.books.job(id)?.body() {
            Body::One(_) => begun.is_none().then_some(None),
            Body::Array(array) => {
                if begun.is_some_and(|begun| begun.count >= array.may_start()) {
                    return None;
                }
                match place {
                    Some(_) if begun.is_some_and(|begun| begun.places.contains(&place)) => None,
                    Some(_) => Some(place),
                    None => Some(Some(array.next(begun.map_or(0, |begun| begun.next))?)),
                }
            }
        }
    }
}

impl Starts<Hosts> for Admission<'_> {
    fn admit(&mut self, entry: &Entry<ClassId>) -> Option<Running> {
        let place = self.next(entry)?;
        Some(number::running(number::job_of(entry.job), place))
    }

    fn started(&mut self, entry: &Entry<ClassId>, running: Running, allocation: Arc<Allocation>) {
        let id = number::job_of(entry.job);
        let place = (running.0 as u32).checked_sub(1);
        let Some(job) = self.books.job(id) else { return };
        let element = match job.body() {
            Body::Array(array) => place.map(|place| array.indices().index(place)),
            Body::One(_) => None,
        };
        let attempts = job.run(element).map_or(0, |run| run.attempts);
        let on = placement(self.books, id, number::partition_of(entry.job), allocation);
        self.starts.push(Start { run: RunId { job: id, element }, attempt: Attempt(attempts + 1), on });
        let begun = self.started.entry(id).or_default();
        begun.count += 1;
        match number::place_of(entry.job) {
            Some(_) => begun.places.push(place),
            None => begun.next = place.map_or(0, |place| place + 1),
        }
    }
}
