//! Preemption: which running jobs make room for one that cannot start, by the list of its quality of service, or because
//! its partition is of a higher tier.
//!
//! As Slurm does: the lowest quality of service first, then the lowest tier, of one the youngest; then those that turn
//! out not to be needed are spared. Before anybody is asked, those count that are stopped already or on their way out.
//! The machine is asked, so that whatever a job needs counts: domains, GPUs, licences.
//! Kernels that can do with fewer hosts are not asked here: they give hosts back before anybody is ended
//! ([`Scheduler::resize`]).

use super::dues::Dues;
use super::reason::Reason;
use super::{Passed, Scheduler, TRIAL, follow, number};
use crate::books::Books;
use crate::books::partition::{Partition, PreemptMode};
use crate::cluster::{ClassId, HostId, HostState, Hosts};
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
    /// Whether all of them are stopped already: it can start on what they have given up.
    pub is_ready: bool,
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
    /// It is stopped already, and stays so.
    Suspended,
    /// It is ended.
    Cancel,
}

impl Preemption {
    /// What is said of the job that is waited for.
    pub fn reason(&self) -> Reason {
        let mode = |how| match how {
            Preempt::Checkpoint | Preempt::Requeue => PreemptMode::Requeue,
            Preempt::Suspend | Preempt::Suspended => PreemptMode::Suspend,
            Preempt::Cancel => PreemptMode::Cancel,
        };
        Reason::Preempting {
            victims: self.victims.iter().map(|victim| (victim.run, mode(victim.how))).collect(),
        }
    }
}

struct Candidate {
    running: Running,
    stage: Stage,
    started: Time,
    /// Whether it keeps all but its cores.
    keeps: bool,
    victim: Victim,
}

/// How far a job is on its way: who is counted on first is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It is stopped.
    Suspended(Way),
    /// It is being ended or stopped: nobody else has to, if that is enough.
    Leaves,
    /// It may be asked.
    Runs(Way),
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
        let &(_, class, lasts) = listed.entries.iter().find(|(waiting, ..)| *waiting == head.waiting)?;
        let job = books.job(head.job)?;
        let partitions = books.partitions_of(job.spec()).ok()?;
        let partition = *partitions.get(usize::from(number::partition_of(head.waiting)))?;
        let qos = self.dues.as_ref().and_then(|dues| dues.qos(job));
        let (now, _) = self.seen?;
        let claim = Claim { scheduler: self, books, tier: partition.tier, qos, now };
        let limited =
            || self.dues.iter().any(|dues| !dues.obstacles(&dues.holdings, job, partition, now).is_empty());
        // Room is of no use to one that something else keeps from starting.
        if !claim.may_preempt() || limited() {
            return None;
        }
        let mut candidates: Vec<Candidate> =
            books.live().filter_map(|(run, live)| claim.candidate(run, live)).collect();
        candidates.sort_by_key(|c| (c.stage, Reverse(c.started), Reverse(c.running)));
        candidates.truncate(MOST_LOOKED_AT);
        let wish = Wish { books, class, end: now.after(lasts) };
        let chosen = spared(hosts, wish, enough(hosts, wish, candidates)?);
        let still = |c: &Candidate| matches!(c.stage, Stage::Suspended(_)) && are_up(hosts, c.running);
        let is_ready = chosen.iter().all(still);
        let victims = chosen.into_iter().filter(|c| c.stage != Stage::Leaves).map(|c| c.victim);
        let victims: Vec<Victim> = victims.collect();
        (!victims.is_empty()).then_some(Preemption { job: head.job, victims, is_ready })
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
        let placed = live.state.holds()?;
        let partition = self.books.partition(&placed.on.partition)?;
        let job = self.books.job(run.job)?;
        let dues = self.scheduler.dues.as_ref();
        let qos = dues.and_then(|dues| dues.qos_of_run(run));
        let running = number::running(run.job, job.place(run.element));
        let stands = |how, stage, keeps| {
            let victim = Victim { run, how, grace_s: 0 };
            Some(Candidate { running, stage, started: placed.started, keeps, victim })
        };
        if let State::Completing { .. } = live.state {
            return stands(Preempt::Cancel, Stage::Leaves, false);
        }
        let way = self.way(partition, qos)?;
        if let State::Suspended { .. } = live.state {
            return stands(Preempt::Suspended, Stage::Suspended(way), true);
        }
        if self.scheduler.halted.is_stopping(run) {
            return stands(Preempt::Suspend, Stage::Leaves, true);
        }
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
        let grace_s = partition.grace_s.max(qos.map_or(0, |qos| qos.entry.grace_s));
        let (stage, keeps) = (Stage::Runs(way), how == Preempt::Suspend);
        let victim = Victim { run, how, grace_s };
        Some(Candidate { running, stage, started: placed.started, keeps, victim })
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

/// What the one for whom room is made asks for, and until when.
#[derive(Clone, Copy)]
struct Wish<'a> {
    books: &'a Books,
    class: ClassId,
    end: Time,
}

impl Wish<'_> {
    /// Whether it could start. A window that opens later may keep it from hosts that have room now.
    fn fits(self, trial: &mut Hosts) -> bool {
        let starts = |trial: &Hosts| trial.clone().start(TRIAL, self.class, self.end, None).is_some();
        trial.fits(self.class) && (!trial.minds_ends() || starts(trial))
    }
}

impl Candidate {
    /// Makes room in a cluster that is a copy. A host that is not heard of now gives up all the same what leaves it: a
    /// restarted controller hears them one by one, and nobody has to end for that.
    fn leave(&self, books: &Books, trial: &mut Hosts) {
        if !matches!(self.stage, Stage::Runs(_)) {
            let up =
                |host: HostId| books.hosts().get(host.0 as usize).is_some_and(|h| h.state == HostState::Up);
            hosts_of(trial, self.running).into_iter().filter(|host| up(*host)).for_each(|host| {
                trial.set_state(host, HostState::Up);
            });
        }
        if self.keeps { trial.give_cores(self.running) } else { trial.finish(self.running) }
    }
}

fn hosts_of(hosts: &Hosts, running: Running) -> Vec<HostId> {
    let held = hosts.allocation(running).map_or(&[][..], |(_, held)| &held.parts);
    held.iter().map(|part| part.host).collect()
}

/// Whether no host of something is down.
pub(super) fn are_up(hosts: &Hosts, running: Running) -> bool {
    let down = |host| matches!(hosts.state(host), HostState::Down { .. });
    !hosts_of(hosts, running).into_iter().any(down)
}

/// The first of the candidates who make room enough.
fn enough(hosts: &Hosts, wish: Wish<'_>, candidates: Vec<Candidate>) -> Option<Vec<Candidate>> {
    let mut trial = hosts.clone();
    let mut chosen = Vec::new();
    for candidate in candidates {
        candidate.leave(wish.books, &mut trial);
        chosen.push(candidate);
        if wish.fits(&mut trial) {
            return Some(chosen);
        }
    }
    None
}

/// Those of the chosen without whom it would not do: the first chosen are spared last.
fn spared(hosts: &Hosts, wish: Wish<'_>, mut chosen: Vec<Candidate>) -> Vec<Candidate> {
    // The last one made it fit, so it is needed.
    let mut at = chosen.len().saturating_sub(1);
    let asked = chosen.iter().filter(|candidate| candidate.stage != Stage::Leaves).count();
    while at > 0 && asked <= MOST_SPARED {
        at -= 1;
        if chosen[at].stage == Stage::Leaves {
            continue;
        }
        let mut trial = hosts.clone();
        let others = chosen.iter().enumerate().filter(|(number, _)| *number != at);
        others.for_each(|(_, candidate)| candidate.leave(wish.books, &mut trial));
        if wish.fits(&mut trial) {
            chosen.remove(at);
        }
    }
    chosen
}
