//! Conservative backfilling: every job is promised a start when it arrives, and no promise is put off for another
//! (Mu'alem, Feitelson 2001). Jobs that end early make all promises be given again, in the order of submission.
//!
//! Invariant: at no time do what runs and what is promised add up to more than the machine, by the estimates.

use super::machine::{Machine, Running};
use super::pool::Pool;
use crate::time::Time;

/// A pool of counted processors with a promise for all that waits.
#[derive(Clone, Debug)]
pub struct Conservative {
    pool: Pool,
    profile: Profile,
    /// What waits, in the order of submission.
    waiting: Vec<Promised>,
    /// Whether something ended before its estimate, so that promises are to be given again.
    stale: bool,
}

/// A job that waits, with the start that it was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The number under which it will run.
    pub running: Running,
    /// How many processors it takes.
    pub width: u32,
    /// How long it runs by its estimate, ticks.
    pub estimate: i64,
    /// When it starts at the latest.
    pub at: Time,
}

impl Conservative {
    /// So many processors, all free.
    pub fn new(size: u32) -> Self {
        let profile = Profile { times: vec![Time(i64::MIN)], free: vec![size] };
        Conservative { pool: Pool::new(size), profile, waiting: Vec::new(), stale: false }
    }

    /// What waits, in the order of submission.
    pub fn waiting(&self) -> &[Promised] {
        &self.waiting
    }

    /// `running` ended at `now`; `estimated` is when it was expected to.
    pub fn finish(&mut self, running: Running, estimated: Time, now: Time) {
        self.pool.finish(running);
        self.stale |= now < estimated;
    }

    /// A job joins the queue and is promised the earliest start that delays nobody.
    ///
    /// # Panics
    /// When it is wider than the machine.
    pub fn submit(&mut self, running: Running, width: u32, estimate: i64, now: Time) {
        assert!(width <= self.pool.size(), "a job that no machine can run does not wait");
        self.renew(now);
        let at = self.profile.take(width, estimate, now);
        self.waiting.push(Promised { running, width, estimate, at });
    }

    /// Starts all whose promised time has come, and says which.
    pub fn pass(&mut self, now: Time, mut started: impl FnMut(&Promised)) {
        self.renew(now);
        self.profile.forget(now);
        let pool = &mut self.pool;
        self.waiting.retain(|job| {
            let begins = job.at <= now
                && pool.start(job.running, job.width, now.after(job.estimate), None).is_some();
            if begins {
                started(job);
            }
            !begins
        });
    }

    /// Gives all promises again where something ended early.
    fn renew(&mut self, now: Time) {
        if !self.stale {
            return;
        }
        self.stale = false;
        self.profile.reset(&self.pool, now);
        for job in &mut self.waiting {
            job.at = self.profile.take(job.width, job.estimate, now);
        }
    }
}

/// How many processors are free from each of `times` until the next; from the last on, for ever.
#[derive(Clone, Debug)]
struct Profile {
    times: Vec<Time>,
    free: Vec<u32>,
}

impl Profile {
    /// What is free when only what runs in `pool` is taken.
    fn reset(&mut self, pool: &Pool, now: Time) {
        self.times.clear();
        self.free.clear();
        let mut free = pool.free();
        self.times.push(now);
        self.free.push(free);
        for (end, width) in pool.ends() {
            free += width;
            if self.times.last().is_some_and(|last| *last >= end) {
                *self.free.last_mut().expect("the lists are parallel") = free;
            } else {
                self.times.push(end);
                self.free.push(free);
            }
        }
    }

    /// Drops what is past.
    fn forget(&mut self, now: Time) {
        let past = self.times.partition_point(|time| *time <= now).saturating_sub(1);
        self.times.drain(..past);
        self.free.drain(..past);
    }

    /// Takes `width` processors for `estimate` ticks as early as possible, and says when.
    fn take(&mut self, width: u32, estimate: i64, now: Time) -> Time {
        let (at, start) = self.hole(width, estimate, now);
        let end = start.after(estimate);
        let first = self.cut(at, start);
        let mut next = first;
        while next < self.times.len() && self.times[next] < end {
            next += 1;
        }
        let last = self.cut(next - 1, end);
        self.free[first..last].iter_mut().for_each(|free| *free -= width);
        start
    }

    /// The earliest time from `now` on from which `width` are free for `estimate` ticks, with the segment it is in.
    fn hole(&self, width: u32, estimate: i64, now: Time) -> (usize, Time) {
        let mut at = self.times.partition_point(|time| *time <= now).saturating_sub(1);
        loop {
            while self.free[at] < width {
                at += 1;
            }
            let start = self.times[at].max(now);
            let end = start.after(estimate);
            let mut next = at + 1;
            while next < self.times.len() && self.times[next] < end && self.free[next] >= width {
                next += 1;
            }
            if next == self.times.len() || self.times[next] >= end {
                return (at, start);
            }
            at = next;
        }
    }

    /// Makes `time`, which lies in segment `at` or at its end, the start of a segment, and says of which.
    fn cut(&mut self, at: usize, time: Time) -> usize {
        if self.times[at] == time {
            return at;
        }
        if self.times.get(at + 1) == Some(&time) {
            return at + 1;
        }
        self.times.insert(at + 1, time);
        self.free.insert(at + 1, self.free[at]);
        at + 1
    }
}
