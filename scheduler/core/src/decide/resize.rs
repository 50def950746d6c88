//! Resizing: hosts that nobody waits for are lent to running kernels, those of scripts included, and taken back when a
//! waiting job can start with them.
//!
//! Plans alone: nothing has changed until the new places are recorded. Hosts that leave are free when nothing of the
//! kernel is left there, and are planned as its own until then; those that join are its own from the record on. Invariant:
//! a kernel keeps its first host, where its foreman is.

use super::{Passed, Scheduler, TRIAL, number};
use crate::books::Books;
use crate::cluster::{Allocation, ClassId, Hosts, Part, Request};
use crate::job::Job;
use crate::job::id::{Attempt, RunId};
use crate::job::placement::Placement;
use crate::job::state::{Placed, Run, State};
use crate::policy::machine::{Machine, Running};
use std::cmp::Reverse;
use std::sync::Arc;

/// A running kernel that shall have other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Which.
    pub run: RunId,
    /// Its attempt.
    pub attempt: Attempt,
    /// What it shall have.
    pub on: Arc<Placement>,
}

/// A running kernel whose hosts may come and go.
struct Malleable<'a> {
    run: RunId,
    running: Running,
    job: &'a Job,
    placed: Placed,
    parts: Vec<Part>,
}

impl Malleable<'_> {
    /// What is to be done so that it has the hosts of `parts`; none when it has.
    fn resized(self) -> Option<Resize> {
        let before = &self.placed.on.allocation;
        if before.parts == self.parts {
            return None;
        }
        let allocation = Arc::new(Allocation { class: before.class, parts: self.parts });
        let on = Arc::new(Placement { allocation, ..Placement::clone(&self.placed.on) });
        Some(Resize { run: self.run, attempt: self.placed.attempt, on })
    }

    /// Gives it the hosts of `parts` in a cluster that is a copy.
    fn place(&self, hosts: &mut Hosts) {
        let Some((end, held)) = hosts.allocation(self.running) else { return };
        let (end, class) = (end, held.class);
        hosts.finish(self.running);
        hosts.take(self.running, end, &Arc::new(Allocation { class, parts: self.parts.clone() }));
    }
}

impl Scheduler {
    /// Who shall have other hosts after a pass whose starts are recorded: fewer, so that the first that could not start
    /// can; or more, when none waits for room.
    pub fn resize(&self, books: &Books, hosts: &Hosts, passed: &Passed) -> Vec<Resize> {
        let all = self.malleable(books, hosts);
        if all.is_empty() {
            return Vec::new();
        }
        let mut trial = hosts.clone();
        let Some(head) = passed.head else { return self.grown(&mut trial, all) };
        let listed = self.listed.get(&head.job).map_or(&[][..], |listed| &listed.entries);
        let class = listed.iter().find(|(waiting, ..)| *waiting == head.waiting);
        class.map_or(Vec::new(), |&(_, class, _)| shrunk(&mut trial, all, class))
    }
}

/// The youngest give hosts back, one by one, until the class fits; nothing when it would not.
fn shrunk(trial: &mut Hosts, mut all: Vec<Malleable<'_>>, class: ClassId) -> Vec<Resize> {
    all.sort_by_key(|one| Reverse((one.placed.started, one.running)));
    let mut fits = false;
    for one in &mut all {
        while !fits && one.parts.len() > one.job.spec().size.nodes as usize {
            one.parts.pop();
            one.place(trial);
            fits = trial.fits(class);
        }
    }
    if !fits {
        return Vec::new();
    }
    // Who gave what turned out not to help keeps it.
    for one in &mut all {
        let given = std::mem::replace(&mut one.parts, one.placed.on.allocation.parts.clone());
        if given.len() == one.parts.len() {
            continue;
        }
        let mut without = trial.clone();
        // The hosts are free in the copy unless the class was started there, which it was not.
        one.place(&mut without);
        if without.fits(class) {
            *trial = without;
        } else {
            one.parts = given;
        }
    }
    all.into_iter().filter_map(Malleable::resized).collect()
}

impl Scheduler {
    /// Running kernels, and scripts that have one under way, with so many tasks on each host that they have, the oldest
    /// first.
    fn malleable<'a>(&self, books: &'a Books, hosts: &Hosts) -> Vec<Malleable<'a>> {
        let one = |(run, live): (RunId, &Run)| {
            let State::Running { placed, .. } = &live.state else { return None };
            let is = |job: &&Job| {
                let spec = job.spec();
                (spec.work.is_kernel() || self.stepping.contains(&run)) && spec.size.is_malleable()
            };
            let job = books.job(run.job).filter(is)?;
            let running = number::running(run.job, job.place(run.element));
            let (_, held) = hosts.allocation(running)?;
            Some(Malleable { run, running, job, placed: placed.clone(), parts: held.parts.clone() })
        };
        let mut all: Vec<Malleable<'_>> = books.live().filter_map(one).collect();
        all.sort_by_key(|one| (one.placed.started, one.running));
        all
    }

    /// The same when these scripts have kernel steps under way, as a snapshot says.
    #[must_use]
    pub fn with_stepping(self, stepping: impl IntoIterator<Item = RunId>) -> Scheduler {
        Scheduler { stepping: stepping.into_iter().collect(), ..self }
    }

    /// The scripts that have kernel steps under way.
    pub fn stepping(&self) -> impl Iterator<Item = RunId> {
        self.stepping.iter().copied()
    }

    /// A script has kernel steps under way, or has not any more.
    pub fn steps(&mut self, run: RunId, steps: bool) {
        if steps {
            self.stepping.insert(run)
        } else {
            self.stepping.remove(&run)
        };
    }

    /// The oldest get as many hosts more as they may have and there are.
    fn grown(&self, trial: &mut Hosts, all: Vec<Malleable<'_>>) -> Vec<Resize> {
        let grow = |mut one: Malleable<'_>| {
            let most = one.job.spec().size.most_nodes() as usize;
            let mut more = most.saturating_sub(one.parts.len());
            while more > 0 {
                if let Some(parts) = self.more_hosts(trial, &one, more as u32) {
                    // Its first host is that of its foreman: who came last goes first.
                    one.parts.extend(parts);
                    one.place(trial);
                    break;
                }
                more /= 2;
            }
            one.resized()
        };
        all.into_iter().filter_map(grow).collect()
    }

    /// So many hosts more that a kernel does not have.
    fn more_hosts(&self, trial: &mut Hosts, one: &Malleable<'_>, more: u32) -> Option<Vec<Part>> {
        // Where its files are must be known to lend it a host.
        if self.missing_inputs(one.job).is_some() {
            return None;
        }
        let request = self.request(one.job, &one.placed.on.partition, None).ok()?;
        let class = trial.intern(&Request { hosts_min: more, hosts_max: more, ..request }).ok()?;
        let (end, _) = trial.allocation(one.running)?;
        let allocation = trial.start(TRIAL, class, end, None)?;
        trial.finish(TRIAL);
        let has = |part: &Part| one.parts.iter().any(|other| other.host == part.host);
        if allocation.parts.iter().any(has) { None } else { Some(allocation.parts.clone()) }
    }
}
