//! Decisions about the jobs in the books, on the hosts of a cluster.
//!
//! Step 5 of a job's way (DESIGN section 4). A [`Scheduler`] follows the books: its queue costs what has changed. A pass
//! says what starts; [`decision`] says of every pending job exactly one thing. Pure: the same values give the same
//! decisions. What it keeps can be made anew from books and hosts, but for the promises of conservative backfilling, which
//! are what went before ([`crate::policy::reserve`]): they begin anew with a restart.

pub mod ahead;
pub mod asks;
pub mod decision;
pub mod dues;
pub mod files;
pub mod forecast;
pub mod foresight;
pub mod preempt;
pub mod reason;
pub mod refusal;
pub mod resize;
pub mod suspend;
pub mod used;

mod admission;
mod follow;
mod gate;
mod limit_word;
mod number;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod dues_tests;
#[cfg(test)]
mod preempt_tests;
#[cfg(test)]
mod promise_tests;

use crate::books::Books;
use crate::cluster::{Allocation, ClassId, Earmark, Hosts, ReservationId};
use crate::decide::admission::{Admission, Admitted};
use crate::decide::ahead::Lines;
use crate::decide::dues::Dues;
use crate::decide::files::Files;
use crate::decide::foresight::Foresight;
use crate::decide::reason::Reason;
use crate::decide::suspend::Halted;
use crate::decide::used::Used;
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::placement::Placement;
use crate::policy::key::Key;
use crate::policy::machine::{Promise, Running};
use crate::policy::pass::{Hopeless, Pass};
use crate::policy::queue::{Queue, Waiting};
use crate::policy::reserve::{self, Reserving};
use crate::policy::{Backfill, Policy};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use number::{run_of, running};

/// Ticks of a second: the controller counts milliseconds.
const TICKS: u32 = 1000;

/// Ticks between two orders of the queue by keys that age: to order a long queue anew at each event would cost more than
/// it is worth.
const STEP: i64 = 5 * TICKS as i64;

/// The estimate of a job without a time limit: ten years.
const FOREVER: i64 = 10 * 365 * 24 * 3_600_000;

/// The number under which something is tried on a copy of the cluster: no job's.
const TRIAL: Running = Running(u64::MAX);

/// What follows the books and decides.
#[derive(Clone, Debug)]
pub struct Scheduler {
    way: Way,
    queue: Queue<ClassId>,
    /// Up to when the books were looked at, and at which of their terms.
    seen: Option<(Time, u64)>,
    /// The step as of which the queue is in order.
    ordered: Option<Time>,
    /// What stands in the queue, or may not, of each job something of which may start as far as the books know.
    listed: BTreeMap<JobId, Listed>,
    /// Jobs more of which may start from a time on, by that time and by job.
    later: BTreeSet<(Time, JobId)>,
    later_of: BTreeMap<JobId, Time>,
    windows: BTreeMap<String, ReservationId>,
    /// Accounts at work; none where the site has none.
    dues: Option<Dues>,
    foresight: Foresight,
    files: Files,
    halted: Halted,
    /// Scripts that have kernel steps under way: their hosts may come and go.
    stepping: BTreeSet<RunId>,
    lines: Lines,
}

/// How those who start are found.
#[derive(Clone, Debug)]
enum Way {
    /// The first is promised a start, or nobody is.
    First(Backfill, Pass),
    /// Everybody is.
    All(Reserving),
}

/// One job in the queue.
#[derive(Clone, Debug, Default)]
struct Listed {
    /// Its entries.
    entries: Vec<(Waiting, ClassId, i64)>,
    /// Why it may not start in some of its partitions.
    barred: Vec<Reason>,
}

/// What a pass decided.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// What starts, in the order in which it was decided.
    pub starts: Vec<Start>,
    /// The first that could not, and what it was promised.
    pub head: Option<Head>,
    /// What no hosts that are up could run.
    pub hopeless: Vec<Hopeless>,
    /// Limits that kept jobs from starting.
    pub limited: BTreeMap<JobId, Vec<Reason>>,
    /// What everybody was promised, in queue order, and whether some are too far behind; none under a policy that
    /// promises only the head something.
    promised: Option<(Vec<(Waiting, Time)>, bool)>,
}

/// A job or element that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub run: RunId,
    /// The attempt.
    pub attempt: Attempt,
    /// On what.
    pub on: Arc<Placement>,
}

/// The first of those that wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which.
    pub job: JobId,
    /// Its place in the queue's numbers.
    waiting: Waiting,
    /// When it can start by the estimates; none under a policy that promises nothing.
    pub at: Option<Time>,
}

impl Passed {
    /// What it said beside its starts, which are recorded soon.
    #[must_use]
    pub fn without_starts(&self) -> Passed {
        Passed { starts: Vec::new(), ..self.clone() }
    }
}

impl Default for Scheduler {
    /// One that decides by the shipped policy, and has not looked at any books.
    fn default() -> Scheduler {
        Scheduler::new(Policy::Default)
    }
}

impl Scheduler {
    /// One that has not looked at any books.
    pub fn new(policy: Policy) -> Scheduler {
        let (key, way) = match policy.queued() {
            Some((key, backfill)) => (key, Way::First(backfill, Pass::default())),
            None => (Key::Submit, Way::All(Reserving::new(number::whole, STEP))),
        };
        Scheduler {
            way,
            queue: Queue::new(key, TICKS),
            seen: None,
            ordered: None,
            listed: BTreeMap::new(),
            later: BTreeSet::new(),
            later_of: BTreeMap::new(),
            windows: BTreeMap::new(),
            dues: None,
            foresight: Foresight::default(),
            files: Files::default(),
            halted: Halted::default(),
            stepping: BTreeSet::new(),
            lines: Lines::default(),
        }
    }

    /// The same on a site with accounts, before it has looked at any books.
    #[must_use]
    pub fn with_dues(self, dues: Dues) -> Scheduler {
        Scheduler { dues: Some(dues), ..self }
    }

    /// The same that foresees what `foresight` does, which is that of a snapshot, before it has looked at any books.
    #[must_use]
    pub fn with_foresight(self, foresight: Foresight) -> Scheduler {
        Scheduler { foresight, ..self }
    }

    /// The same with the accounts of the books, and what everybody has used by a snapshot of the same time; without any
    /// where the books have none.
    #[must_use]
    pub fn with_used(self, books: &Books, used: Option<Used>) -> Scheduler {
        Scheduler { dues: Dues::resumed(books, used), ..self }
    }

    /// What everybody has used, for a snapshot; none where nobody is accounted for.
    pub fn used(&self, books: &Books) -> Option<Used> {
        self.dues.as_ref().map(|dues| dues.used(books))
    }

    /// What the records so far say of jobs to come, for a snapshot.
    pub fn foresight(&self) -> &Foresight {
        &self.foresight
    }

    /// When to run a pass again though nothing happens, after one at `now`.
    pub fn next_wake(&self, books: &Books, now: Time) -> Option<Time> {
        let exempt = self.next_exempt_end(books, now);
        let waits = books.waiting().next().is_some();
        let fade = self.dues.as_ref().filter(|_| waits).and_then(|dues| dues.next_fade(now));
        self.next_start(books, now).into_iter().chain(books.next_wake(now)).chain(exempt).chain(fade).min()
    }

    /// When time alone lets something start, after a pass at `now`.
    fn next_start(&self, books: &Books, now: Time) -> Option<Time> {
        let edges = books.reservations().flat_map(|reservation| [reservation.from, reservation.to]);
        let promised = match &self.way {
            Way::First(..) => None,
            Way::All(reserving) => reserving.due(),
        };
        let later = self.later.first().map(|(at, _)| *at);
        edges.filter(|edge| *edge > now).chain(later).chain(promised).min()
    }

    /// Accounts at work; none where the site has none.
    pub fn dues(&self) -> Option<&Dues> {
        self.dues.as_ref()
    }

    /// Charges what runs up to now, and orders the queue by priorities made anew: every few minutes, by the times of the
    /// records.
    pub fn tick(&mut self, books: &Books, now: Time) {
        let Some(dues) = &mut self.dues else { return };
        dues.tick(now);
        let dues = &*dues;
        self.queue.rerank(|entry| {
            let job = books.job(number::job_of(entry.job));
            let partition = job.and_then(|job| {
                let partitions = books.partitions_of(job.spec()).ok()?;
                Some((job, *partitions.get(usize::from(number::partition_of(entry.job)))?))
            });
            partition.map_or(entry.rank, |(job, partition)| follow::rank(Some(dues), job, partition))
        });
    }

    /// Starts what may start now. The hosts have it from then on; the books have it when the starts are recorded, which
    /// must be before the next pass.
    pub fn pass(&mut self, books: &mut Books, hosts: &mut Hosts, now: Time) -> Passed {
        self.pass_of(books, hosts, (now, None))
    }

    /// A pass in which, if one is named, nothing else may start.
    fn pass_of(
        &mut self,
        books: &mut Books,
        hosts: &mut Hosts,
        (now, only): (Time, Option<Waiting>),
    ) -> Passed {
        self.follow(books, hosts, now);
        let mut admission = Admission::new(books, self.dues.as_ref(), now).only(only);
        let (first, hopeless, promised) = match &mut self.way {
            Way::First(backfill, pass) => {
                let outcome = pass.run(*backfill, &mut self.queue, hosts, (now, &mut admission));
                let at = |promise: Option<Earmark>| promise.map(|promise| promise.at());
                (outcome.head.map(|(waiting, promise)| (waiting, at(promise))), outcome.hopeless, None)
            }
            Way::All(reserving) => {
                // Others who wait keep their promises for the next pass: they are kept out of this one alone.
                let before = only.map(|_| reserving.clone());
                let outcome = reserving.run(&mut self.queue, hosts, (now, &mut admission));
                if let Some(before) = before {
                    *reserving = before;
                }
                let reserve::Outcome { promised, hopeless, is_full } = outcome;
                let first = promised.first().map(|(waiting, at)| (*waiting, Some(*at)));
                (first, hopeless, Some((promised, is_full)))
            }
        };
        let head = first.map(|(waiting, at)| Head { job: number::job_of(waiting), waiting, at });
        let Admitted { starts, limited, gone } = admission.into_admitted();
        for waiting in gone {
            if let Some(listed) = self.listed.get_mut(&number::job_of(waiting)) {
                listed.entries.retain(|(other, ..)| *other != waiting);
            }
        }
        Passed { starts, head, hopeless, limited, promised }
    }
}

/// What a started job is given, in its partition.
fn placement(books: &Books, job: JobId, partition: u8, allocation: Arc<Allocation>) -> Arc<Placement> {
    let spec = books.job(job).map(|job| job.spec());
    let partitions = spec.and_then(|spec| Some((spec, books.partitions_of(spec).ok()?)));
    let (name, limit_s) = partitions.map_or((String::new(), None), |(spec, partitions)| {
        let partition = partitions[usize::from(partition)];
        (partition.name.clone(), partition.granted_s(spec))
    });
    Arc::new(Placement { partition: name, limit_s, allocation })
}
