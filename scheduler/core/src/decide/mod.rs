//! Decisions about the jobs in the books, on the hosts of a cluster.
//!
//! Step 5 of a job's way (DESIGN section 4). A [`Scheduler`] follows the books: its queue costs what has changed. A pass
//! says what starts; [`decision`] says of every pending job exactly one thing. Pure: the same values give the same
//! decisions, and nothing that it keeps cannot be made anew from books and hosts.

pub mod asks;
pub mod reason;

mod admission;
mod follow;
mod gate;
mod number;

use crate::books::Books;
use crate::cluster::{Allocation, ClassId, Hosts, ReservationId};
use crate::decide::admission::Admission;
use crate::decide::reason::Reason;
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::placement::Placement;
use crate::policy::key::Key;
use crate::policy::machine::Promise;
use crate::policy::pass::Pass;
use crate::policy::queue::{Queue, Waiting};
use crate::policy::{Backfill, Policy};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use number::{run_of, running};

/// Ticks of a second: the controller counts milliseconds.
const TICKS: u32 = 1000;

/// The estimate of a job without a time limit: ten years.
const FOREVER: i64 = 10 * 365 * 24 * 3_600_000;

/// What follows the books and decides.
#[derive(Clone, Debug)]
pub struct Scheduler {
    backfill: Backfill,
    queue: Queue<ClassId>,
    pass: Pass,
    /// Up to when the books were looked at, and at which of their terms.
    seen: Option<(Time, u64)>,
    /// What stands in the queue, or may not, of each job something of which may start as far as the books know.
    listed: BTreeMap<JobId, Listed>,
    windows: BTreeMap<String, ReservationId>,
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
    /// Those that no hosts that are up could run.
    pub hopeless: Vec<JobId>,
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

impl Scheduler {
    /// One that has not looked at any books.
    pub fn new(policy: Policy) -> Scheduler {
        let (key, backfill) = match policy {
            Policy::Fcfs => (Key::Submit, Backfill::None),
            Policy::Easy(key, candidates) => (key, Backfill::Easy(candidates)),
            // Promises to all are for machines that are counted; on hosts, the head's is kept.
            Policy::Conservative => (Key::Submit, Backfill::Easy(crate::policy::Candidates::InOrder)),
        };
        Scheduler {
            backfill,
            queue: Queue::new(key, TICKS),
            pass: Pass::default(),
            seen: None,
            listed: BTreeMap::new(),
            windows: BTreeMap::new(),
        }
    }

    /// Starts what may start now. The hosts have it from then on; the books have it when the starts are recorded, which
    /// must be before the next pass.
    pub fn pass(&mut self, books: &mut Books, hosts: &mut Hosts, now: Time) -> Passed {
        self.follow(books, hosts, now);
        let mut admission = Admission::new(books);
        let outcome = self.pass.run(self.backfill, &mut self.queue, hosts, (now, &mut admission));
        let head = outcome.head.map(|(waiting, promise)| Head {
            job: number::job_of(waiting),
            waiting,
            at: promise.map(|promise| promise.at()),
        });
        let hopeless = outcome.hopeless.into_iter().map(number::job_of).collect();
        Passed { starts: admission.into_starts(), head, hopeless }
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
