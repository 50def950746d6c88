//! The replay: a trace's jobs arrive, start under a policy and end, in the time of the trace.
//!
//! Invariant: every job starts exactly once, not before its submission, and what runs never takes more than the machine.

use super::{Trace, TraceJob};
use crate::policy::conservative::Conservative;
use crate::policy::history::History;
use crate::policy::key::Key;
use crate::policy::machine::{Machine, Running};
use crate::policy::outlook::{Ahead, Outlook};
use crate::policy::pass::{Pass, Starts};
use crate::policy::pool::Pool;
use crate::policy::queue::{Entry, Queue, Waiting};
use crate::policy::{Backfill, Policy};
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When the policy is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Once for each moment, after all that ends and all that arrives in it.
    #[default]
    Batch,
    /// After each arrival and then after each end; what is to end in a moment does not stand in the way of what arrives
    /// in it. So were published schedules made.
    PerEvent,
}

/// When each job of a trace started and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// In the order of the trace.
    pub starts: Vec<Time>,
    /// In the order of the trace.
    pub ends: Vec<Time>,
    /// The most jobs that waited after a pass.
    pub max_queue: usize,
}

/// Replays `trace` on a pool of its processors.
pub fn replay(trace: &Trace, policy: Policy, mode: Mode) -> Schedule {
    let (key, backfill) = match policy {
        Policy::Fcfs => (Key::Submit, Backfill::None),
        Policy::Easy(key, candidates) => (key, Backfill::Easy(candidates)),
        Policy::Default => (Key::Unicep, Backfill::Predicted),
        Policy::Conservative => return run(trace, mode, &mut Promising(Conservative::new(trace.procs))),
    };
    let widths = trace.jobs.iter().map(|job| job.width).collect();
    run(trace, mode, &mut Queued::new(Pool::new(trace.procs), widths, key, backfill))
}

/// Replays `trace` on `system`.
///
/// # Panics
/// When `system` lets a job wait for ever: every job of a trace must fit the empty machine.
pub fn run(trace: &Trace, mode: Mode, system: &mut impl System) -> Schedule {
    let mut clock = Clock::new(trace);
    while let Some(now) = clock.tick(system.due()) {
        match mode {
            Mode::Batch => {
                while let Some(job) = clock.ending() {
                    system.end(job, &trace.jobs[job], now);
                }
                while let Some(job) = clock.arriving() {
                    system.arrive(job, &trace.jobs[job], now);
                }
                clock.pass(system);
            }
            Mode::PerEvent => {
                let ending: Vec<usize> = std::iter::from_fn(|| clock.ending()).collect();
                for job in ending.iter().copied().filter(|job| clock.estimated(*job) <= now) {
                    system.end(job, &trace.jobs[job], now);
                }
                while let Some(job) = clock.arriving() {
                    system.arrive(job, &trace.jobs[job], now);
                    clock.pass(system);
                }
                for job in ending {
                    if clock.estimated(job) > now {
                        system.end(job, &trace.jobs[job], now);
                    }
                    clock.pass(system);
                }
                if system.due().is_some_and(|due| due <= now) {
                    clock.pass(system);
                }
            }
        }
    }
    assert_eq!(clock.waiting, 0, "jobs wait that nothing will ever start");
    let ends = trace.jobs.iter().zip(&clock.starts).map(|(job, start)| *start + job.run).collect();
    Schedule { starts: clock.starts, ends, max_queue: clock.max_queue }
}

/// What a replay drives. Jobs go by their position in the trace.
pub trait System {
    /// A job arrives.
    fn arrive(&mut self, index: usize, job: &TraceJob, now: Time);

    /// A job ends.
    fn end(&mut self, index: usize, job: &TraceJob, now: Time);

    /// When the next job is to start, though nothing ends or arrives then.
    fn due(&self) -> Option<Time> {
        None
    }

    /// Starts what may start now, and tells the clock.
    fn pass(&mut self, clock: &mut Clock<'_>);
}

/// The time of a replay, and all that started in it.
#[derive(Clone, Debug)]
pub struct Clock<'a> {
    trace: &'a Trace,
    now: Time,
    arrived: usize,
    waiting: usize,
    begun: usize,
    max_queue: usize,
    starts: Vec<Time>,
    ends: BinaryHeap<Reverse<(Time, usize, usize)>>,
}

impl<'a> Clock<'a> {
    fn new(trace: &'a Trace) -> Self {
        let starts = vec![Time::NEVER; trace.jobs.len()];
        let (now, ends) = (trace.jobs[0].submit, BinaryHeap::new());
        Clock { trace, now, arrived: 0, waiting: 0, begun: 0, max_queue: 0, starts, ends }
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// A job starts now.
    pub fn begin(&mut self, index: usize) {
        self.starts[index] = self.now;
        self.ends.push(Reverse((self.now + self.trace.jobs[index].run, self.begun, index)));
        self.begun += 1;
        self.waiting -= 1;
    }

    /// Goes on to the next moment in which something happens.
    fn tick(&mut self, due: Option<Time>) -> Option<Time> {
        let end = self.ends.peek().map(|Reverse((end, ..))| *end);
        let arrival = self.trace.jobs.get(self.arrived).map(|job| job.submit);
        self.now = end.into_iter().chain(arrival).chain(due).min()?;
        Some(self.now)
    }

    /// The next job that ends now.
    fn ending(&mut self) -> Option<usize> {
        let Reverse((end, _, index)) = *self.ends.peek()?;
        (end == self.now).then(|| {
            self.ends.pop();
            index
        })
    }

    /// The next job that arrives now.
    fn arriving(&mut self) -> Option<usize> {
        let index = self.arrived;
        (self.trace.jobs.get(index)?.submit == self.now).then(|| {
            self.arrived += 1;
            self.waiting += 1;
            index
        })
    }

    /// When a job that started is to end at the latest.
    fn estimated(&self, index: usize) -> Time {
        self.starts[index] + self.trace.jobs[index].estimate
    }

    fn pass(&mut self, system: &mut impl System) {
        if self.waiting > 0 {
            system.pass(self);
            self.max_queue = self.max_queue.max(self.waiting);
        }
    }
}

/// A queue before a machine, under any policy that goes over the queue.
pub struct Queued<M: Machine> {
    machine: M,
    /// What each job of the trace asks of the machine.
    requests: Vec<M::Request>,
    queue: Queue<M::Request>,
    backfill: Backfill,
    pass: Pass,
    /// What ended, where the policy predicts.
    history: History<i64>,
}

impl<M: Machine> Queued<M> {
    /// An empty queue before `machine`; `requests` is what each job of the trace asks of it.
    pub fn new(machine: M, requests: Vec<M::Request>, key: Key, backfill: Backfill) -> Self {
        // A trace counts seconds.
        let (queue, pass, history) = (Queue::new(key, 1), Pass::default(), History::default());
        Queued { machine, requests, queue, backfill, pass, history }
    }
}

impl<M: Machine> System for Queued<M> {
    fn arrive(&mut self, index: usize, job: &TraceJob, now: Time) {
        let entry = Entry {
            job: Waiting(index as u64),
            rank: 0,
            submit: job.submit,
            estimate: job.estimate,
            width: job.width,
            count: 1,
            request: self.requests[index],
        };
        if self.backfill != Backfill::Predicted {
            return self.queue.insert(entry, now);
        }
        let ahead = Ahead {
            work: self.queue.work(),
            processors: self.machine.size(),
            drain: self.machine.drained(now) - now,
        };
        let predicted = self.history.predict(user(job).as_ref(), job.estimate);
        self.queue.insert_with(entry, Outlook::new(predicted, now, ahead), now);
    }

    fn end(&mut self, index: usize, job: &TraceJob, _: Time) {
        self.machine.finish(Running(index as u64));
        if self.backfill == Backfill::Predicted {
            self.history.record(user(job), job.run, job.estimate);
        }
    }

    fn pass(&mut self, clock: &mut Clock<'_>) {
        // Most passes of a busy machine can start nothing, and nobody asks for their promise.
        if self.queue.narrowest() > self.machine.free() {
            return;
        }
        let now = clock.now();
        self.queue.refresh(now);
        self.pass.run(self.backfill, &mut self.queue, &mut self.machine, (now, clock));
    }
}

/// Who submitted a job, if the trace says so.
fn user(job: &TraceJob) -> Option<i64> {
    (job.user >= 0).then_some(job.user)
}

impl<M: Machine> Starts<M> for Clock<'_> {
    fn admit(&mut self, entry: &Entry<M::Request>) -> Option<Running> {
        Some(Running(entry.job.0))
    }

    fn started(&mut self, _: &Entry<M::Request>, running: Running, _: M::Place) {
        self.begin(running.0 as usize);
    }
}

/// Jobs that are promised a start when they arrive.
struct Promising(Conservative);

impl System for Promising {
    fn arrive(&mut self, index: usize, job: &TraceJob, now: Time) {
        self.0.submit(Running(index as u64), job.width, job.estimate, now);
    }

    fn end(&mut self, _: usize, job: &TraceJob, now: Time) {
        self.0.finish(job.width, now + (job.estimate - job.run), now);
    }

    fn due(&self) -> Option<Time> {
        self.0.due()
    }

    fn pass(&mut self, clock: &mut Clock<'_>) {
        self.0.pass(clock.now(), |job| clock.begin(job.running.0 as usize));
    }
}
