//! Foresight: how long jobs are expected to run by those that ended before them, and for how long each may be overtaken.
//!
//! Always: a fold of the records alone, so a replay of the journal foresees the same; what a snapshot leaves out of the
//! journal, it has to keep.

use super::{FOREVER, follow};
use crate::books::Books;
use crate::books::event::{Event, Fact};
use crate::job::event::RunEvent;
use crate::job::id::{JobId, RunId};
use crate::policy::history::History;
use crate::policy::outlook::{Ahead, Outlook};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the records so far say of jobs to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foresight {
    history: History<String>,
    /// CPUs of all hosts.
    processors: u32,
    /// Jobs of which something waits or runs.
    expected: BTreeMap<JobId, Expected>,
    /// The work of all that waits, by prediction: processors times ticks.
    work: i128,
    /// When what runs was started, and how long it may run.
    running: BTreeMap<RunId, (Time, i64)>,
    /// How much of it ends when, by its limit.
    ends: BTreeMap<Time, u32>,
}

/// What is expected of each element of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    /// How long it will run, ticks.
    predicted: i64,
    /// For how long it may be overtaken, ticks.
    patience: i64,
    /// Its CPUs.
    width: u32,
    /// How many elements wait.
    waiting: u32,
}

impl Expected {
    fn work(&self) -> i128 {
        i128::from(self.predicted) * i128::from(self.width) * i128::from(self.waiting)
    }
}

impl Foresight {
    /// What is expected of a job that has been able to start since `from`, and may run `estimate` ticks.
    pub fn outlook(&self, id: JobId, estimate: i64, from: Time) -> Outlook {
        self.expected.get(&id).map_or(Outlook::by_estimate(estimate), |expected| Outlook {
            predicted: expected.predicted.min(estimate),
            urgent: from.after(expected.patience),
        })
    }

    /// Keeps up with a record, after the books have it.
    pub fn observe(&mut self, books: &Books, fact: &Fact) {
        match &fact.event {
            Event::Submitted(id, _) => {
                self.expect(books, *id, fact.at);
                self.count(books, *id);
            }
            Event::Job(id, _) | Event::Purged(id) => self.count(books, *id),
            Event::Run(run, event) => {
                self.run(books, *run, (event, fact.at));
                self.count(books, run.job);
            }
            Event::Host(_) => {
                let cpus = books.hosts().iter().map(|host| host.shape.cores());
                self.processors = cpus.fold(0, u32::saturating_add);
            }
            _ => {}
        }
    }

    fn expect(&mut self, books: &Books, id: JobId, now: Time) {
        let Some(job) = books.job(id) else { return };
        let partition = books.partitions_of(job.spec()).ok().and_then(|all| all.first().copied());
        let estimate = partition.map_or(FOREVER, |partition| follow::estimate(partition, job));
        let predicted = self.history.predict(Some(&job.owner().user), estimate);
        let drain = self.ends.last_key_value().map_or(0, |(end, _)| *end - now);
        let ahead = Ahead { work: self.work, processors: self.processors, drain };
        let Outlook { predicted, urgent } = Outlook::new(predicted, Time(0), ahead);
        let width = job.spec().size.cpus();
        self.expected.insert(id, Expected { predicted, patience: urgent.0, width, waiting: 0 });
    }

    /// Makes the number of elements that wait what it is now.
    fn count(&mut self, books: &Books, id: JobId) {
        let Some(expected) = self.expected.get_mut(&id) else { return };
        let job = books.job(id);
        self.work -= expected.work();
        expected.waiting = job.map_or(0, |job| job.waiting_count());
        self.work += expected.work();
        if expected.waiting == 0 && job.is_none_or(|job| job.live_count() == 0) {
            self.expected.remove(&id);
        }
    }

    fn run(&mut self, books: &Books, id: RunId, (event, now): (&RunEvent, Time)) {
        let Some((start, limit)) = self.running.remove(&id) else { return self.started(books, id) };
        let end = start.after(limit);
        if let Some(count) = self.ends.get_mut(&end) {
            *count -= 1;
            if *count == 0 {
                self.ends.remove(&end);
            }
        }
        self.started(books, id);
        // What has no limit, and what is started again, says nothing of how much of a limit is used.
        if matches!(event, RunEvent::Ended { .. }) && limit < FOREVER {
            let user = books.job(id.job).map(|job| job.owner().user.clone());
            self.history.record(user, now - start, limit);
        }
    }

    fn started(&mut self, books: &Books, id: RunId) {
        let live = books.run(id);
        let Some(placed) = live.as_ref().and_then(|live| live.state.placed()) else { return };
        let limit = placed.on.limit_s.map_or(FOREVER, follow::ticks);
        self.running.insert(id, (placed.started, limit));
        *self.ends.entry(placed.started.after(limit)).or_default() += 1;
    }
}
