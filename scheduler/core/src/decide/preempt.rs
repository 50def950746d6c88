//! Preemption: which running jobs make room for one that cannot start, by the list of its quality of service, or because
//! its partition is of a higher tier.
//!
//! As Slurm does: the lowest quality of service first, then the lowest tier, of one the youngest; then those that turn
//! out not to be needed are spared. The machine is asked, so that whatever a job needs counts: domains, GPUs, licences.
//! Kernels that can do with fewer hosts are not asked here: they give hosts back before anybody is ended
//! ([`Scheduler::resize`]).

use super::dues::Dues;
use super::reason::Reason;
use super::{Passed, Scheduler, follow, number};
use crate::books::Books;
use crate::books::partition::{Partition, PreemptMode};
use crate::cluster::{ClassId, Hosts};
use crate::job::id::{JobId, RunId};
use crate::job::state::{Placed, Run, State};
use crate::jobspec::Requeue;
use crate::policy::machine::{Machine, Running};
use crate::share::accounts::Qos;
use crate::time::Time;
use std::cmp::Reverse;

/// How many running jobs are looked at for one that waits.
const MOST_LOOKED_AT: usize = 10_000;
/// Of so many victims it is asked for each whether it could be spared; of more, for none.
const MOST_SPARED: usize = 32;

/// Who makes room for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// For whom.
    pub job: JobId,
    /// Who, in the order in which they were chosen.
    pub victims: Vec<Victim>,
}

/// A running job that makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub run: RunId,
    /// How.
    pub how: Preempt,
    /// How long it may go on to save its work, seconds.
    pub grace_s: u32,
}

/// What is done to a job that makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// Its team ends, and goes on from the ledger on other hosts or later: nothing is lost.
    Checkpoint,
    /// It is ended, and waits again.
    Requeue,
    /// It is stopped, and goes on where it is.
    Suspend,
    /// It is ended.
    Cancel,
}

impl Preemption {
    /// What is said of the job that is waited for.
    pub fn reason(&self) -> Reason {
        let mode = |how| match how {
            Preempt::Checkpoint | Preempt::Requeue => PreemptMode::Requeue,
            Preempt::Suspend => PreemptMode::Suspend,
            Preempt::Cancel => PreemptMode::Cancel,
        };
        Reason::Preempting {
            victims: self.victims.iter().map(|victim| (victim.run, mode(victim.how))).collect(),
        }
    }
}

struct Candidate {
    running: Running,
    way: Way,
    started: Time,
    victim: Victim,
}

/// Why a job may be asked to make room: who is asked first is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// The other's quality of service may preempt its own, which has this priority.
    Qos(u32),
    /// Its partition is of this tier, which is lower.
    Tier(u16),
}

/// For whom room is made.
struct Claim<'a> {
    scheduler: &'a Scheduler,
    books: &'a Books,
    tier: u16,
    qos: Option<&'a Qos>,
    now: Time,
}

impl Scheduler {
    /// Who makes room for the job that a pass found first and could not start; none when nobody may, or all that may would
    /// not be enough.
    pub fn preempt(&self, books: &Books, hosts: &Hosts, passed: &Passed) -> Option<Preemption> {
        let head = passed.head?;
        let listed = self.listed.get(&head.job)?;
        let (_, class, _) = listed.entries.iter().find(|(waiting, ..)| *waiting == head.waiting)?;
        let job = books.job(head.job)?;
        let partitions = books.partitions_of(job.spec()).ok()?;
        let tier = partitions.get(usize::from(number::partition_of(head.waiting)))?.tier;
        let qos = self.dues.as_ref().and_then(|dues| dues.qos(job));
        let (now, _) = self.seen?;
        let claim = Claim { scheduler: self, books, tier, qos, now };
        if !claim.may_preempt() {
            return None;
        }
        let mut candidates: Vec<Candidate> =
            books.live().filter_map(|(run, live)| claim.candidate(run, live)).collect();
        candidates.sort_by_key(|c| (c.way, Reverse(c.started), Reverse(c.running)));
        candidates.truncate(MOST_LOOKED_AT);
        let chosen = enough(hosts, *class, candidates)?;
        let victims = spared(hosts, *class, chosen);
        Some(Preemption { job: head.job, victims: victims.into_iter().map(|c| c.victim).collect() })
    }

    /// When the next running job may be asked to make room that may not at `now`.
    pub(super) fn next_exempt_end(&self, books: &Books, now: Time) -> Option<Time> {
        let qos = self.dues.iter().flat_map(|dues| dues.all_qos());
        let exempts = books.rules().exempt_s > 0 || qos.filter_map(|qos| qos.entry.exempt_s).any(|s| s > 0);
        if !exempts || books.waiting().next().is_none() {
            return None;
        }
        let end = |(run, live): (RunId, &Run)| {
            let qos = self.dues.as_ref().and_then(|dues| dues.qos_of_run(run));
            Some(exempt_end(books, live.state.placed()?, qos))
        };
        books.live().filter_map(end).filter(|end| *end > now).min()
    }
}

impl Claim<'_> {
    /// Whether anybody could be asked at all.
    fn may_preempt(&self) -> bool {
        let off = |partition: &Partition| partition.preempt == PreemptMode::Off;
        let of_qos =
            || self.scheduler.dues.iter().flat_map(Dues::all_qos).any(|qos| qos.entry.preempt.is_some());
        let below = |other: &Partition| other.tier < self.tier && (!off(other) || of_qos());
        self.qos.is_some_and(|qos| !qos.preempts.is_empty()) || self.books.partitions().any(below)
    }

    /// A running job as one that makes room; none when it may not be asked.
    fn candidate(&self, run: RunId, live: &Run) -> Option<Candidate> {
        let (State::Running { placed, .. } | State::Starting(placed)) = &live.state else { return None };
        let partition = self.books.partition(&placed.on.partition)?;
        let job = self.books.job(run.job)?;
        let dues = self.scheduler.dues.as_ref();
        let qos = dues.and_then(|dues| dues.qos_of_run(run));
        let way = self.way(partition, qos)?;
        if exempt_end(self.books, placed, qos) > self.now {
            return None;
        }
        let mode = match (qos.and_then(|qos| qos.entry.preempt), way, partition.preempt) {
            (Some(mode), ..) => mode,
            // The list of the quality of service is enough: the partition need not allow it again.
            (None, Way::Qos(_), PreemptMode::Off) => PreemptMode::Requeue,
            (None, _, mode) => mode,
        };
        let again = job.spec().queue.requeue == Requeue::Allowed;
        let how = match mode {
            PreemptMode::Off => return None,
            PreemptMode::Requeue if again && job.spec().work.is_kernel() => Preempt::Checkpoint,
            PreemptMode::Requeue if again => Preempt::Requeue,
            PreemptMode::Requeue | PreemptMode::Cancel => Preempt::Cancel,
            PreemptMode::Suspend => Preempt::Suspend,
        };
        let running = number::running(run.job, job.place(run.element));
        let grace_s = partition.grace_s.max(qos.map_or(0, |qos| qos.entry.grace_s));
        let victim = Victim { run, how, grace_s };
        Some(Candidate { running, way, started: placed.started, victim })
    }

    /// Why a job of a partition and a quality of service may be asked. Nobody makes room for one that would have to make
    /// room again: else the two would take turns for ever.
    fn way(&self, partition: &Partition, qos: Option<&Qos>) -> Option<Way> {
        let preempts = |by: Option<&Qos>, of: Option<&Qos>| {
            let dues = self.scheduler.dues.as_ref();
            dues.zip(by.zip(of)).is_some_and(|(dues, (by, of))| dues.preempts(by, of))
        };
        if preempts(qos, self.qos) {
            return None;
        }
        let by_tier = (partition.tier < self.tier).then_some(Way::Tier(partition.tier));
        let of_list = qos.filter(|_| preempts(self.qos, qos)).map(|qos| Way::Qos(qos.entry.priority));
        of_list.or(by_tier)
    }
}

/// Until when what runs on `placed` is safe from those that it would make room for.
fn exempt_end(books: &Books, placed: &Placed, qos: Option<&Qos>) -> Time {
    let exempt_s = qos.and_then(|qos| qos.entry.exempt_s).unwrap_or(books.rules().exempt_s);
    placed.started.after(follow::ticks(u64::from(exempt_s)))
}

/// The first of the candidates whose ends let the class fit.
fn enough(hosts: &Hosts, class: ClassId, candidates: Vec<Candidate>) -> Option<Vec<Candidate>> {
    let mut trial = hosts.clone();
    let mut chosen = Vec::new();
    for candidate in candidates {
        trial.finish(candidate.running);
        chosen.push(candidate);
        if trial.fits(class) {
            return Some(chosen);
        }
    }
    None
}

/// Those of the chosen without whom it would not do: the first chosen are spared last.
fn spared(hosts: &Hosts, class: ClassId, mut chosen: Vec<Candidate>) -> Vec<Candidate> {
    // The last one made it fit, so it is needed.
    let mut at = chosen.len().saturating_sub(1);
    while at > 0 && chosen.len() <= MOST_SPARED {
        at -= 1;
        let mut trial = hosts.clone();
        let others = chosen.iter().enumerate().filter(|(number, _)| *number != at);
        others.for_each(|(_, candidate)| trial.finish(candidate.running));
        if trial.fits(class) {
            chosen.remove(at);
        }
    }
    chosen
}
