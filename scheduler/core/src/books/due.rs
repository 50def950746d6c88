//! What is due by itself: jobs that missed their deadlines, that wait for what cannot be, that may be forgotten.

use super::Books;
use super::event::Event;
use crate::job::event::{Elements, JobEvent, RunEvent};
use crate::job::outcome::Outcome;
use crate::job::state::State;
use crate::job::{Body, Job};
use crate::jobspec::InvalidDependency;
use crate::time::Time;

impl Books {
    /// What must be recorded at `now` though nobody asks for it. Each record can follow those before it in the list.
    pub fn due(&self, now: Time) -> Vec<Event> {
        let mut due = Vec::new();
        for id in self.index.overdue(now) {
            self.overdue(&self.jobs[&id], now, &mut due);
        }
        for id in self.index.hopeless() {
            let job = &self.jobs[id];
            let is_due = due.iter().any(|event| matches!(event, Event::Job(other, _) if other == id));
            if !is_due && self.ends_when_hopeless(job) {
                due.push(Event::Job(*id, closed(hopeless_elements(job), Outcome::DependencyNeverSatisfied)));
            }
        }
        let keep = i64::from(self.rules.keep_s) * 1000;
        let until = Time(now.0.saturating_sub(keep));
        let forgotten = self.index.ended(until).filter(|id| self.index.dependents(*id).next().is_none());
        due.extend(forgotten.map(Event::Purged));
        due
    }

    /// The first time after `now` at which something may start, or is due, by itself. Elements of an array that may start
    /// again are left out when others of it may already: a scheduler, which follows the books, knows of them.
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        let by_itself = self.index.next_wake(now, i64::from(self.rules.keep_s) * 1000);
        let edges = self.reservations.values().flat_map(|reservation| [reservation.from, reservation.to]);
        let starts = self.index.next_startable(now).into_iter().chain(edges.filter(|edge| *edge > now));
        starts.chain(by_itself).min()
    }

    /// A job whose deadline, or the last moment to start by it, has passed.
    fn overdue(&self, job: &Job, now: Time, due: &mut Vec<Event>) {
        if job.waiting_count() > 0 {
            due.push(Event::Job(job.id(), closed(Elements::All, Outcome::Deadline)));
        }
        if job.spec().when.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        for (run, live) in job.live() {
            if let (Some(placed), false) =
                (live.state.placed(), matches!(live.state, State::Completing { .. }))
            {
                let completing = RunEvent::Completing { attempt: placed.attempt, outcome: Outcome::Deadline };
                due.push(Event::Run(run, completing));
            }
        }
    }

    fn ends_when_hopeless(&self, job: &Job) -> bool {
        match job.spec().when.invalid_dependency {
            InvalidDependency::Site => self.rules.end_invalid_dependency,
            InvalidDependency::End => true,
            InvalidDependency::Keep => false,
        }
    }
}

fn closed(of: Elements, outcome: Outcome) -> JobEvent {
    JobEvent::Closed { of, outcome }
}

/// The elements that wait for what cannot be: all, unless others of the array still may start.
fn hopeless_elements(job: &Job) -> Elements {
    match job.body() {
        Body::Array(array) if !job.is_hopeless_as_a_whole() => {
            let index = |ordinal| array.indices().index(ordinal);
            Elements::Ranges(array.never().iter().map(|&(first, last)| (index(first), index(last))).collect())
        }
        _ => Elements::All,
    }
}
