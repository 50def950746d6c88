//! What is stopped to make room: who goes on when its place is its own again, and who starts on it meanwhile.
//!
//! Invariants: what is stopped holds of its cores those that nobody else has, and gives them only to one that may ask it
//! to make room; so when that is over nobody has come between. It goes on when it has all of them and nobody asks.

use super::preempt::{Preemption, are_up};
use super::{Passed, Scheduler, number};
use crate::books::Books;
use crate::cluster::{Allocation, Hosts};
use crate::job::id::{Attempt, RunId};
use crate::job::state::State;
use crate::time::Time;
use std::collections::BTreeSet;

/// What makes room by standing still.
#[derive(Clone, Debug, Default)]
pub(super) struct Halted {
    /// What is being stopped.
    stopping: BTreeSet<RunId>,
    /// What is stopped; perhaps also what goes on since, or is over.
    suspended: BTreeSet<RunId>,
}

impl Halted {
    /// It stands still.
    pub(super) fn stood_still(&mut self, run: RunId) {
        self.suspended.insert(run);
    }

    /// Whether it is being stopped.
    pub(super) fn is_stopping(&self, run: RunId) -> bool {
        self.stopping.contains(&run)
    }
}

impl Scheduler {
    /// The same when this is being stopped to make room, as a snapshot says.
    #[must_use]
    pub fn with_stopping(self, stopping: impl IntoIterator<Item = RunId>) -> Scheduler {
        let halted = Halted { stopping: stopping.into_iter().collect(), ..Halted::default() };
        Scheduler { halted, ..self }
    }

    /// What is being stopped to make room, for a snapshot.
    pub fn stopping(&self) -> impl Iterator<Item = RunId> {
        self.halted.stopping.iter().copied()
    }

    /// It is being stopped, or not any more: it stands still, goes on, or ends.
    pub fn stops(&mut self, run: RunId, stopping: bool) {
        if stopping {
            self.halted.stopping.insert(run);
        } else {
            self.halted.stopping.remove(&run);
        }
    }

    /// Gives what is stopped the cores back that are free again, who was stopped first before others; and tells who has
    /// all of them, and can go on. The books are followed up to now.
    pub fn retake(&mut self, books: &Books, hosts: &mut Hosts) -> Vec<(RunId, Attempt)> {
        let mut stopped = Vec::new();
        self.halted.suspended.retain(|run| {
            let Some(live) = books.run(*run) else { return false };
            let State::Suspended { placed, since, .. } = live.state else { return false };
            stopped.push((since, *run, placed));
            true
        });
        stopped.sort_by_key(|(since, run, _)| (*since, *run));
        let whole = stopped.into_iter().filter_map(|(_, run, placed)| {
            let job = books.job(run.job)?;
            let running = number::running(run.job, job.place(run.element));
            let (end, held) = hosts.allocation(running)?;
            let wanted = Allocation { class: held.class, parts: placed.on.allocation.parts.clone() };
            // Where nobody is heard of, nothing can be told to go on.
            (hosts.hold(running, end, &wanted) && are_up(hosts, running)).then_some((run, placed.attempt))
        });
        whole.collect()
    }

    /// Starts the one for whom room is made, now that all who make it are stopped. Hosts and books are as after a pass.
    pub fn start_on_room(
        &mut self,
        books: &mut Books,
        hosts: &mut Hosts,
        (passed, plan): (&Passed, &Preemption),
        now: Time,
    ) -> Passed {
        for victim in &plan.victims {
            let place = books.job(victim.run.job).and_then(|job| job.place(victim.run.element));
            hosts.give_cores(number::running(victim.run.job, place));
        }
        self.pass_of(books, hosts, (now, passed.head.map(|head| head.waiting)))
    }
}
