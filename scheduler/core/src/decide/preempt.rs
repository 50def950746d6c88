//! Preemption: which running jobs make room for one of a higher tier that cannot start.
//!
//! As Slurm does: the lowest tier first, of a tier the youngest; then those that turn out not to be needed are spared. The
//! machine is asked, so that whatever a job needs counts: domains, GPUs, licences.

use super::reason::Reason;
use super::{Passed, Scheduler, number};
use crate::books::Books;
use crate::books::partition::{Partition, PreemptMode};
use crate::cluster::{ClassId, Hosts};
use crate::job::id::{JobId, RunId};
use crate::job::state::{Run, State};
use crate::jobspec::{Requeue, Work};
use crate::policy::machine::{Machine, Running};
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
    tier: u16,
    started: Time,
    victim: Victim,
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
        let below = |other: &Partition| other.tier < tier && other.preempt != PreemptMode::Off;
        if !books.partitions().any(below) {
            return None;
        }
        let mut candidates = candidates(books, tier);
        candidates.sort_by_key(|c| (c.tier, Reverse(c.started), Reverse(c.running)));
        candidates.truncate(MOST_LOOKED_AT);
        let chosen = enough(hosts, *class, candidates)?;
        let victims = spared(hosts, *class, chosen);
        Some(Preemption { job: head.job, victims: victims.into_iter().map(|c| c.victim).collect() })
    }
}

/// Running jobs of lower tiers that may be preempted.
fn candidates(books: &Books, tier: u16) -> Vec<Candidate> {
    let candidate = |(run, live): (RunId, &Run)| {
        let (State::Running { placed, .. } | State::Starting(placed)) = &live.state else { return None };
        let partition = books.partition(&placed.on.partition).filter(|partition| partition.tier < tier)?;
        let job = books.job(run.job)?;
        let again = job.spec().queue.requeue == Requeue::Allowed;
        let how = match partition.preempt {
            PreemptMode::Off => return None,
            PreemptMode::Requeue if again && job.spec().work == Work::Kernel => Preempt::Checkpoint,
            PreemptMode::Requeue if again => Preempt::Requeue,
            PreemptMode::Requeue | PreemptMode::Cancel => Preempt::Cancel,
            PreemptMode::Suspend => Preempt::Suspend,
        };
        let running = number::running(run.job, job.place(run.element));
        let victim = Victim { run, how, grace_s: partition.grace_s };
        Some(Candidate { running, tier: partition.tier, started: placed.started, victim })
    };
    books.live().filter_map(candidate).collect()
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
