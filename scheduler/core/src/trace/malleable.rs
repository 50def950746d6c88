//! The replay with malleable jobs: some of a trace's jobs may change their sizes while they run.
//!
//! The model. A job is malleable if its number, scattered over 32 bits (Knuth 1973: multiplied by 2,654,435,761), is in
//! the share that is asked for. It may have from half to twice the processors it asked for, at most the machine's. Its
//! work is its run time times the processors it asked for, and is done the faster the more it has, in proportion. A resize
//! adds to the work, and to the estimated work, the resize cost times the size that it has then: it stands still for so
//! long. Rigid jobs run as ever. The rule is [`crate::policy::malleable`], asked
//! once for each moment, after all that ends and all that arrives in it.
//!
//! Invariants: what runs holds no more than the machine; every job's processors, summed over the time in which it runs,
//! are its work and what its resizes cost, rounded up to the end of a second.

use super::replay::Schedule;
use super::{Trace, TraceJob};
use crate::policy::machine::Running;
use crate::policy::malleable::{Asks, Held, Sizes, plan};
use crate::policy::queue::Waiting;
use crate::time::Time;
use std::fmt;
use std::str::FromStr;

/// The multiplier that scatters numbers of jobs (Knuth 1973).
const SCATTER: u64 = 2_654_435_761;

/// A share of all jobs, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// Whether the job of this number is in the share.
    pub fn holds(self, id: i64) -> bool {
        // Two's complement: the same as the remainder of whole numbers.
        let scattered = (id as u64).wrapping_mul(SCATTER) & u64::from(u32::MAX);
        (scattered as f64) < self.0 * 2_f64.powi(32)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0 * 100.0)
    }
}

/// What is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a share of the jobs: give a number from 0 to 1, such as 0.2, or a percentage, such as 20%"
)]
pub struct NoShare(String);

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(given: &str) -> Result<Share, NoShare> {
        let text = given.trim();
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().map(|percent: f64| percent / 100.0),
            None => text.parse(),
        };
        match share {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Share(share)),
            _ => Err(NoShare(given.to_owned())),
        }
    }
}

/// What became of a trace of which some jobs are malleable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malleable {
    /// When each job started and ended.
    pub schedule: Schedule,
    /// How often each job was resized, in the order of the trace.
    pub resizes: Vec<u32>,
    /// What each job held, summed over its time: processors times seconds.
    pub held: Vec<i128>,
}

/// Replays `trace` under EASY, with a share of malleable jobs whose every resize costs so many seconds of its size.
///
/// # Panics
/// When a job is wider than the machine: no trace has such a one.
pub fn replay(trace: &Trace, share: Share, resize_cost_s: u32) -> Malleable {
    let mut replay = Replay::new(trace, resize_cost_s);
    let mut arrived = 0;
    let ends = |replay: &Replay| replay.seats.iter().map(Seat::ends_in).min();
    loop {
        let arrival = trace.jobs.get(arrived).map(|job| job.submit);
        let end = ends(&replay).map(|ticks| replay.now + ticks);
        let Some(now) = arrival.into_iter().chain(end).min() else { break };
        replay.go_to(now);
        while let Some(job) = trace.jobs.get(arrived)
            && job.submit == now
        {
            let sizes = sizes(job, share, trace.procs);
            replay.waiting.push(Asks { job: Waiting(arrived as u64), sizes, estimate: job.estimate });
            arrived += 1;
        }
        replay.pass();
    }
    assert!(replay.waiting.is_empty(), "jobs wait that nothing will ever start");
    replay.result
}

/// The sizes that a job may have.
fn sizes(job: &TraceJob, share: Share, procs: u32) -> Sizes {
    if !share.holds(job.id) {
        return Sizes::rigid(job.width);
    }
    Sizes {
        least: job.width.div_ceil(2),
        asked: job.width,
        most: job.width.saturating_mul(2).min(procs).max(job.width),
    }
}

/// What runs.
struct Seat {
    /// What the policy knows of it.
    held: Held,
    /// The work that it really has left, processors times seconds.
    left: i128,
}

impl Seat {
    /// Seconds until it ends.
    fn ends_in(&self) -> i64 {
        let size = i128::from(self.held.size);
        i64::try_from((self.left + size - 1) / size).expect("work is bounded by what a trace may hold")
    }

    fn index(&self) -> usize {
        self.held.running.0 as usize
    }
}

struct Replay<'a> {
    trace: &'a Trace,
    resize_cost_s: u32,
    now: Time,
    free: u32,
    /// In the order of the starts.
    seats: Vec<Seat>,
    waiting: Vec<Asks>,
    result: Malleable,
}

impl<'a> Replay<'a> {
    fn new(trace: &'a Trace, resize_cost_s: u32) -> Self {
        let jobs = trace.jobs.len();
        let never = vec![Time::NEVER; jobs];
        let schedule = Schedule { starts: never.clone(), ends: never, max_queue: 0 };
        let result = Malleable { schedule, resizes: vec![0; jobs], held: vec![0; jobs] };
        let (now, free) = (trace.jobs[0].submit, trace.procs);
        Replay { trace, resize_cost_s, now, free, seats: Vec::new(), waiting: Vec::new(), result }
    }

    /// Lets time pass: work is done, and what is finished gives its processors back.
    fn go_to(&mut self, now: Time) {
        let seconds = i128::from(now - self.now);
        self.now = now;
        let (free, result) = (&mut self.free, &mut self.result);
        self.seats.retain_mut(|seat| {
            let done = i128::from(seat.held.size) * seconds;
            seat.left -= done;
            seat.held.left -= done;
            result.held[seat.index()] += done;
            if seat.left <= 0 {
                *free += seat.held.size;
                result.schedule.ends[seat.index()] = now;
            }
            seat.left > 0
        });
    }

    /// Asks the policy, and does what it says.
    fn pass(&mut self) {
        let held: Vec<Held> = self.seats.iter().map(|seat| seat.held).collect();
        let plan = plan(self.resize_cost_s, self.free, &held, &self.waiting);
        for (running, size) in plan.resizes {
            self.resize(running, size);
        }
        let mut started: Vec<Waiting> = plan.starts.iter().map(|(job, _)| *job).collect();
        for (job, size) in plan.starts {
            self.start(job, size);
        }
        started.sort_unstable();
        self.waiting.retain(|asks| started.binary_search(&asks.job).is_err());
        let max_queue = &mut self.result.schedule.max_queue;
        *max_queue = self.waiting.len().max(*max_queue);
        let held: u64 = self.seats.iter().map(|seat| u64::from(seat.held.size)).sum();
        self.free = u64::from(self.trace.procs)
            .checked_sub(held)
            .and_then(|free| u32::try_from(free).ok())
            .expect("a plan hands out no more than there is");
    }

    fn resize(&mut self, running: Running, size: u32) {
        let seat = self.seats.iter_mut().find(|seat| seat.held.running == running);
        let seat = seat.expect("a plan resizes what runs");
        let cost = i128::from(self.resize_cost_s) * i128::from(size);
        seat.held.size = size;
        seat.held.left += cost;
        seat.left += cost;
        self.result.resizes[running.0 as usize] += 1;
    }

    fn start(&mut self, job: Waiting, size: u32) {
        let index = job.0 as usize;
        let traced = &self.trace.jobs[index];
        let asks = self.waiting.iter().find(|asks| asks.job == job).expect("a plan starts what waits");
        let work = |seconds: i64| i128::from(seconds) * i128::from(traced.width);
        let left = work(traced.estimate);
        let held = Held { running: Running(job.0), size, sizes: asks.sizes, left };
        self.seats.push(Seat { held, left: work(traced.run) });
        self.result.schedule.starts[index] = self.now;
    }
}
