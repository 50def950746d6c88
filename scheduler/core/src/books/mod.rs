//! The books: all jobs, partitions and reservations, as the fold of all records.
//!
//! Part of steps 4 and 5 of a job's way (DESIGN section 4). [`Books::apply`] is the only writer, and a restart is a
//! replay. Invariants: what [`Books::check`] has let pass, `apply` can do; the same records give equal books; what an
//! event costs follows what it changes, never how many jobs wait.

pub mod accounting;
pub mod due;
pub mod error;
pub mod event;
pub mod line;
pub mod partition;
pub mod reservation;
pub mod rules;

mod apply;
mod check;
mod index;
mod settle;

#[cfg(test)]
mod books_tests;

use crate::books::accounting::Accounting;
use crate::books::index::Index;
use crate::books::partition::Partition;
use crate::books::reservation::Reservation;
use crate::books::rules::Rules;
use crate::cluster::Host;
use crate::job::Job;
use crate::job::id::{JobId, RunId};
use crate::job::state::Run;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All that a controller knows of its jobs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Books {
    /// When the last record was written.
    last: Option<Time>,
    /// The lowest number that no job had.
    next: u32,
    rules: Rules,
    jobs: BTreeMap<JobId, Job>,
    partitions: BTreeMap<String, Partition>,
    reservations: BTreeMap<String, Reservation>,
    hosts: Vec<Host>,
    /// Who may use how much; none where nobody is accounted for.
    accounting: Option<Box<Accounting>>,
    /// How often partitions, reservations, rules and accounts were changed.
    terms: u64,
    /// The numbers of hosts, by name.
    numbers: BTreeMap<String, u32>,
    index: Index,
    /// Jobs that have changed since somebody last asked which.
    changed: BTreeSet<JobId>,
}

/// The books as a snapshot has them: what cannot be computed from the rest.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    last: Option<Time>,
    next: u32,
    rules: Rules,
    jobs: BTreeMap<JobId, Job>,
    partitions: BTreeMap<String, Partition>,
    reservations: BTreeMap<String, Reservation>,
    hosts: Vec<Host>,
    accounting: Option<Box<Accounting>>,
    terms: u64,
}

impl From<Books> for Written {
    fn from(books: Books) -> Written {
        let Books { last, next, rules, jobs, partitions, reservations, hosts, accounting, terms, .. } = books;
        Written { last, next, rules, jobs, partitions, reservations, hosts, accounting, terms }
    }
}

impl From<Written> for Books {
    fn from(written: Written) -> Books {
        let Written { last, next, rules, jobs, partitions, reservations, hosts, accounting, terms } = written;
        let index = Index::of(jobs.values());
        let changed = jobs.keys().copied().collect();
        let numbers = hosts.iter().map(|host| host.name.clone()).zip(0..).collect();
        Books {
            last,
            next,
            rules,
            jobs,
            partitions,
            reservations,
            hosts,
            accounting,
            terms,
            numbers,
            index,
            changed,
        }
    }
}

/// Books are equal when the records that they are the fold of say the same; who has looked at them does not count.
impl PartialEq for Books {
    fn eq(&self, other: &Books) -> bool {
        (self.last, self.next, self.terms) == (other.last, other.next, other.terms)
            && self.rules == other.rules
            && self.jobs == other.jobs
            && self.partitions == other.partitions
            && self.reservations == other.reservations
            && self.hosts == other.hosts
            && self.accounting == other.accounting
            && self.index == other.index
    }
}

impl Books {
    /// Books without a job, a partition or a reservation.
    pub fn new(rules: Rules) -> Books {
        Books { rules, next: 1, ..Books::default() }
    }

    /// The number of the next job that is submitted.
    pub fn next_id(&self) -> JobId {
        JobId(self.next.max(1))
    }

    /// When the last record was written; none when there was none.
    pub fn last(&self) -> Option<Time> {
        self.last
    }

    /// What the site says about all its jobs.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What the site says of accounts; none where nobody is accounted for.
    pub fn accounting(&self) -> Option<&Accounting> {
        self.accounting.as_deref()
    }

    /// The job of a number; none when it never was, or is forgotten.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// All jobs that are not forgotten, by their numbers.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// A job, or an element of an array, as a value.
    pub fn run(&self, id: RunId) -> Option<Run> {
        self.jobs.get(&id.job)?.run(id.element)
    }

    /// Those that begin one after another when an element is over, where that is.
    pub fn followers(&self, run: RunId) -> impl Iterator<Item = RunId> {
        let array = self.jobs.get(&run.job).and_then(Job::array);
        let next = move |last: &u32| array.and_then(|array| array.follower(*last));
        std::iter::successors(run.element, next)
            .skip(1)
            .map(move |index| RunId { element: Some(index), ..run })
    }

    /// All that was given hosts, by number.
    pub fn live(&self) -> impl Iterator<Item = (RunId, &Run)> {
        self.index.live().iter().flat_map(|id| self.jobs[id].live())
    }

    /// All jobs something of which waits, for whatever, by their numbers.
    pub fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.index.waiting().iter().map(|id| &self.jobs[id])
    }

    /// A partition by its name.
    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.get(name)
    }

    /// All partitions, by their names.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.values()
    }

    /// The partition of jobs that name none.
    pub fn default_partition(&self) -> Option<&Partition> {
        self.partitions.values().find(|partition| partition.is_default)
    }

    /// A reservation by its name.
    pub fn reservation(&self, name: &str) -> Option<&Reservation> {
        self.reservations.get(name)
    }

    /// All reservations, by their names.
    pub fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.reservations.values()
    }

    /// All hosts, in the order of their numbers.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.numbers.get(name).map(|number| &self.hosts[*number as usize])
    }

    /// How often partitions, reservations, rules and accounts were changed: whoever follows the books looks at all jobs
    /// again.
    pub fn terms(&self) -> u64 {
        self.terms
    }

    /// Jobs that have changed since this was last asked, for one who follows the books. After a restart, all.
    pub fn take_changed(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.changed)
    }
}
