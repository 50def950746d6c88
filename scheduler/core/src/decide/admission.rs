//! What a pass may start of an entry, beside what is free: each element once, whichever of its partitions is first.

use super::dues::Dues;
use super::reason::Reason;
use super::{Start, number, placement};
use crate::books::Books;
use crate::cluster::{Allocation, ClassId, Hosts};
use crate::job::Body;
use crate::job::id::{Attempt, JobId, RunId};
use crate::policy::machine::Running;
use crate::policy::pass::Starts;
use crate::policy::queue::{Entry, Waiting};
use crate::share::holdings::Holdings;
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a pass let start.
pub(super) struct Admitted {
    pub(super) starts: Vec<Start>,
    /// Limits that kept jobs from starting.
    pub(super) limited: BTreeMap<JobId, Vec<Reason>>,
    /// Entries of which nothing waits any more.
    pub(super) gone: Vec<Waiting>,
}

/// What may start in one pass, and what did.
pub(super) struct Admission<'a> {
    books: &'a Books,
    /// Accounts at work, and what everybody holds with what has started in this pass.
    dues: Option<(&'a Dues, Holdings)>,
    now: Time,
    /// If one is named, nothing else may start.
    only: Option<Waiting>,
    admitted: Admitted,
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
    pub(super) fn new(books: &'a Books, dues: Option<&'a Dues>, now: Time) -> Admission<'a> {
        let dues = dues.map(|dues| (dues, dues.holdings.clone()));
        let admitted = Admitted { starts: Vec::new(), limited: BTreeMap::new(), gone: Vec::new() };
        Admission { books, dues, now, only: None, admitted, started: BTreeMap::new() }
    }

    /// The same when, if one is named, nothing else may start.
    pub(super) fn only(self, only: Option<Waiting>) -> Admission<'a> {
        Admission { only, ..self }
    }

    pub(super) fn into_admitted(self) -> Admitted {
        self.admitted
    }

    /// Whether limits let one more of an entry start; if not, why is noted.
    fn within_limits(&mut self, entry: &Entry<ClassId>) -> bool {
        let Some((dues, holdings)) = &self.dues else { return true };
        let id = number::job_of(entry.job);
        let Some(job) = self.books.job(id) else { return false };
        let Ok(partitions) = self.books.partitions_of(job.spec()) else { return false };
        let Some(partition) = partitions.get(usize::from(number::partition_of(entry.job))) else {
            return false;
        };
        let obstacles = dues.obstacles(holdings, job, partition, self.now);
        if obstacles.is_empty() {
            return true;
        }
        self.admitted.limited.insert(id, obstacles);
        false
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
        if self.only.is_some_and(|only| only != entry.job) {
            return None;
        }
        let place = self.next(entry)?;
        self.within_limits(entry).then(|| number::running(number::job_of(entry.job), place))
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
        if let Some((dues, holdings)) = &mut self.dues {
            dues.note(holdings, job, &on, self.now.after(entry.estimate));
        }
        if entry.count == 1 {
            self.admitted.gone.push(entry.job);
        }
        self.admitted.starts.push(Start {
            run: RunId { job: id, element },
            attempt: Attempt(attempts + 1),
            on,
        });
        let begun = self.started.entry(id).or_default();
        begun.count += 1;
        match number::place_of(entry.job) {
            Some(_) => begun.places.push(place),
            None => begun.next = place.map_or(0, |place| place + 1),
        }
    }
}
