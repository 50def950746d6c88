//! What is looked up often, kept up with each event: which jobs wait, which depend on which, what is due when.
//!
//! Invariant: it is a function of the jobs, made anew after a restart, and a change of one job costs a few insertions
//! however many others there are. Only the list of changed jobs is not: it is for those who follow the books.

use crate::job::Job;
use crate::job::dependency::{Clause, Status};
use crate::job::id::JobId;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Sets of jobs by what they wait for or do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Jobs that ask something of a job that has not decided it.
    dependents: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Jobs that are not over, by user and name.
    names: BTreeSet<(NameKey, JobId)>,
    /// Jobs that wait for all earlier ones of their name.
    singletons: BTreeSet<(NameKey, JobId)>,
    /// Jobs something of which may start from a time on.
    startable: BTreeSet<(Time, JobId)>,
    /// Jobs something of which waits, for whatever.
    waiting: BTreeSet<JobId>,
    /// Jobs something of which holds hosts.
    live: BTreeSet<JobId>,
    /// Jobs that are of no use when they do not start by a time, or have not ended by one.
    deadlines: BTreeSet<(Time, JobId)>,
    /// Jobs that are over, since when.
    ended: BTreeSet<(Time, JobId)>,
    /// Jobs that wait for what cannot be any more.
    hopeless: BTreeSet<JobId>,
}

/// A user and the hash of a job's name. That two names of one user have one hash is as good as impossible, and would make
/// one job of that user wait for another.
type NameKey = (u32, u64);

/// What the index says of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    asks: Vec<JobId>,
    name: Option<NameKey>,
    singleton: bool,
    startable: Option<Time>,
    waits: bool,
    live: bool,
    deadline: Option<Time>,
    ended: Option<Time>,
    hopeless: bool,
}

impl Marks {
    /// What there is to say of `job`.
    pub(crate) fn of(job: &Job) -> Marks {
        let waits = job.waiting_count() > 0;
        let ended = job.ended();
        let open = |clause: &Clause| {
            job.unmet().is_some_and(|unmet| unmet.clauses.iter().any(|c| c == &(*clause, Status::Open)))
        };
        let clauses = job.unmet().filter(|_| waits).map_or(&[][..], |unmet| &unmet.clauses);
        Marks {
            asks: clauses.iter().filter(|(c, _)| open(c)).filter_map(|(c, _)| c.job()).collect(),
            name: ended.is_none().then(|| name_key(job.owner().uid, &job.spec().name)),
            singleton: waits && open(&Clause::Singleton),
            startable: job.earliest(),
            waits,
            live: job.live_count() > 0,
            deadline: deadline(job),
            ended,
            hopeless: job.is_hopeless(),
        }
    }
}

impl Index {
    /// The index of these jobs.
    pub(crate) fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Index {
        let mut index = Index::default();
        jobs.for_each(|job| index.change(job.id(), &Marks::default(), &Marks::of(job)));
        index
    }

    /// One job is another than before.
    pub(crate) fn change(&mut self, id: JobId, before: &Marks, after: &Marks) {
        if before.asks != after.asks {
            for on in &before.asks {
                if let Some(all) = self.dependents.get_mut(on) {
                    all.remove(&id);
                    if all.is_empty() {
                        self.dependents.remove(on);
                    }
                }
            }
            for on in &after.asks {
                self.dependents.entry(*on).or_default().insert(id);
            }
        }
        let keyed = |key: Option<NameKey>| key.map(|key| (key, id));
        let timed = |time: Option<Time>| time.map(|time| (time, id));
        let plain = |is: bool| is.then_some(id);
        let single = |marks: &Marks| marks.name.filter(|_| marks.singleton);
        replace(&mut self.names, keyed(before.name), keyed(after.name));
        replace(&mut self.singletons, keyed(single(before)), keyed(single(after)));
        replace(&mut self.startable, timed(before.startable), timed(after.startable));
        replace(&mut self.waiting, plain(before.waits), plain(after.waits));
        replace(&mut self.live, plain(before.live), plain(after.live));
        replace(&mut self.deadlines, timed(before.deadline), timed(after.deadline));
        replace(&mut self.ended, timed(before.ended), timed(after.ended));
        replace(&mut self.hopeless, plain(before.hopeless), plain(after.hopeless));
    }

    /// Jobs that ask something of `job` that it has not decided.
    pub(crate) fn dependents(&self, job: JobId) -> impl Iterator<Item = JobId> + '_ {
        self.dependents.get(&job).into_iter().flatten().copied()
    }

    /// Jobs of this user and name that are not over, and were submitted before `job`.
    pub(crate) fn namesakes_before(&self, key: NameKey, job: JobId) -> impl Iterator<Item = JobId> + '_ {
        self.names.range((key, JobId(0))..(key, job)).map(|&(_, id)| id)
    }

    /// The first job after `job` that waits for all earlier ones of this user and name.
    pub(crate) fn singleton_after(&self, key: NameKey, job: JobId) -> Option<JobId> {
        let after = (Bound::Excluded((key, job)), Bound::Included((key, JobId(u32::MAX))));
        self.singletons.range(after).next().map(|&(_, id)| id)
    }

    /// Jobs something of which may start not later than `until`, by (since when, number).
    pub(crate) fn startable(&self, until: Time) -> impl Iterator<Item = JobId> + '_ {
        self.startable.range(..=(until, JobId(u32::MAX))).map(|&(_, id)| id)
    }

    /// Jobs something of which waits, ascending.
    pub(crate) fn waiting(&self) -> &BTreeSet<JobId> {
        &self.waiting
    }

    /// Jobs something of which holds hosts, ascending.
    pub(crate) fn live(&self) -> &BTreeSet<JobId> {
        &self.live
    }

    /// Jobs that wait for what cannot be any more, ascending.
    pub(crate) fn hopeless(&self) -> &BTreeSet<JobId> {
        &self.hopeless
    }

    /// Jobs whose deadline, or the last moment to start by it, is not later than `now`.
    pub(crate) fn overdue(&self, now: Time) -> impl Iterator<Item = JobId> + '_ {
        self.deadlines.range(..=(now, JobId(u32::MAX))).map(|&(_, id)| id)
    }

    /// Jobs that were over not later than `until`.
    pub(crate) fn ended(&self, until: Time) -> impl Iterator<Item = JobId> + '_ {
        self.ended.range(..=(until, JobId(u32::MAX))).map(|&(_, id)| id)
    }

    /// The first time after `now` at which a job may start.
    pub(crate) fn next_startable(&self, now: Time) -> Option<Time> {
        first_after(&self.startable, now)
    }

    /// The first time after `now` at which a job misses its deadline or, kept so many ticks, may be forgotten.
    pub(crate) fn next_wake(&self, now: Time, keep: i64) -> Option<Time> {
        let ended = first_after(&self.ended, Time(now.0.saturating_sub(keep))).map(|at| at.after(keep));
        first_after(&self.deadlines, now).into_iter().chain(ended).min()
    }
}

/// The key of a user's jobs of one name (FNV-1a; Fowler, Noll, Vo 1991).
pub(crate) fn name_key(uid: u32, name: &str) -> NameKey {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (uid, hash)
}

/// The last moment at which a waiting job may start so that it ends by its deadline; the deadline itself while it runs and
/// nothing of it waits.
fn deadline(job: &Job) -> Option<Time> {
    let when = &job.spec().when;
    let deadline = when.deadline?;
    if job.waiting_count() == 0 {
        return (job.live_count() > 0).then_some(deadline);
    }
    let least_s = when.least_time_s.or(job.spec().time_limit_s).unwrap_or(0);
    let least = i64::try_from(least_s).unwrap_or(i64::MAX).saturating_mul(1000);
    Some(Time(deadline.0.saturating_sub(least)))
}

fn first_after(set: &BTreeSet<(Time, JobId)>, after: Time) -> Option<Time> {
    let later = (Bound::Excluded((after, JobId(u32::MAX))), Bound::Unbounded);
    set.range(later).next().map(|&(at, _)| at)
}

fn replace<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, after: Option<T>) {
    if before == after {
        return;
    }
    before.map(|before| set.remove(&before));
    after.map(|after| set.insert(after));
}
