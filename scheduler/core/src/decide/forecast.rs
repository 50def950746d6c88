//! Forecasts: the same decisions, run forward over the estimates of what runs and waits.
//!
//! Books, hosts and scheduler are copied, and time goes from end to end: every job ends at its time limit, well. So a
//! forecast knows of arrays, throttles, dependencies, limits and reservations what the decisions know.

use super::{FOREVER, Scheduler};
use crate::books::Books;
use crate::books::error::BooksError;
use crate::books::event::{Event, Fact};
use crate::cluster::Hosts;
use crate::job::event::RunEvent;
use crate::job::id::{JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::usage::Usage;
use crate::time::Time;
use std::collections::BTreeSet;

/// How far a forecast goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// It is over when so many have started,
    pub starts: usize,
    /// or when nothing could start before this time.
    pub until: Time,
    /// Ends that are not further apart than this, in ticks, count as one: starts may be foretold so much too late.
    pub grain: i64,
}

impl Horizon {
    /// So many starts within ten years, to the minute.
    pub fn starts(starts: usize, now: Time) -> Horizon {
        Horizon { starts, until: now.after(FOREVER), grain: 60_000 }
    }
}

/// A start that is foretold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foretold {
    /// What starts.
    pub run: RunId,
    /// When.
    pub at: Time,
}

/// When what waits will start, in the order of the starts. `now` is not before the last record. What is not said does not
/// start before the horizon, by the estimates.
pub fn forecast(
    (scheduler, books, hosts): (&Scheduler, &Books, &Hosts),
    now: Time,
    horizon: Horizon,
) -> Vec<Foretold> {
    Future::new(scheduler, books, hosts, now).starts(horizon, |_| false)
}

/// When a job, or its first element, would start if this were recorded now: a job changed, or another submitted.
///
/// # Errors
///
/// When the record cannot follow.
pub fn what_if(
    (scheduler, books, hosts): (&Scheduler, &Books, &Hosts),
    (job, event): (JobId, Event),
    now: Time,
    horizon: Horizon,
) -> Result<Option<Time>, BooksError> {
    let mut future = Future::new(scheduler, books, hosts, now);
    let fact = Fact { at: now, event };
    future.books.check(&fact)?;
    future.record(fact);
    let starts = future.starts(horizon, |run| run.job == job);
    Ok(starts.into_iter().find(|start| start.run.job == job).map(|start| start.at))
}

/// Copies of everything, ahead of time.
struct Future {
    scheduler: Scheduler,
    books: Books,
    hosts: Hosts,
    now: Time,
    /// When what runs ends.
    ends: BTreeSet<(Time, RunId)>,
}

impl Future {
    fn new(scheduler: &Scheduler, books: &Books, hosts: &Hosts, now: Time) -> Future {
        let now = books.last().map_or(now, |last| last.max(now));
        let end = |state: &crate::job::state::State| state.expected_end().unwrap_or(now.after(FOREVER));
        let ends = books.live().map(|(run, live)| (end(&live.state).max(now), run)).collect();
        Future { scheduler: scheduler.clone(), books: books.clone(), hosts: hosts.clone(), now, ends }
    }

    fn record(&mut self, fact: Fact) {
        self.books.apply(&fact);
        self.scheduler.observe(&self.books, &mut self.hosts, &fact);
    }

    /// What starts until the horizon, or until something that is asked for has.
    fn starts(mut self, horizon: Horizon, asked: impl Fn(RunId) -> bool) -> Vec<Foretold> {
        let mut told = Vec::new();
        loop {
            let passed = self.scheduler.pass(&mut self.books, &mut self.hosts, self.now);
            for start in &passed.starts {
                let started = RunEvent::Started { attempt: start.attempt, on: start.on.clone(), after: None };
                self.record(Fact { at: self.now, event: Event::Run(start.run, started) });
                told.push(Foretold { run: start.run, at: self.now });
                let end = self.books.run(start.run).and_then(|run| run.state.expected_end());
                self.ends.insert((end.unwrap_or(self.now.after(FOREVER)), start.run));
            }
            let found = passed.starts.iter().any(|start| asked(start.run));
            if found || told.len() >= horizon.starts || self.books.waiting().next().is_none() {
                break;
            }
            let Some(next) = self.next(horizon.grain).filter(|next| *next <= horizon.until) else { break };
            self.now = next;
            self.end_until(next);
        }
        told.truncate(horizon.starts);
        told
    }

    /// The next moment at which something may be otherwise: the last end within a grain, or what time alone brings.
    fn next(&self, grain: i64) -> Option<Time> {
        let first = self.ends.first().map(|(end, _)| (*end).max(self.now));
        let within = (first.unwrap_or(self.now).after(grain), RunId { job: JobId(u32::MAX), element: None });
        let last = self.ends.range(..=within).next_back().map(|(end, _)| (*end).max(self.now));
        self.scheduler.next_start(&self.books, self.now).into_iter().chain(last).min()
    }

    fn end_until(&mut self, until: Time) {
        while let Some((end, run)) = self.ends.first().copied()
            && end <= until
        {
            self.ends.pop_first();
            let Some(attempt) = self.books.run(run).and_then(|run| Some(run.state.placed()?.attempt)) else {
                continue;
            };
            let ended = RunEvent::Ended { attempt, outcome: Outcome::Completed, usage: Usage::default() };
            self.record(Fact { at: until, event: Event::Run(run, ended) });
        }
    }
}
