//! Conservative backfilling: every job is promised a start when it arrives, and no promise is put off for another
//! (Mu'alem, Feitelson 2001). When a job ends early, each promise in turn, in the order of submission, is made anew with
//! all others in place, so it comes earlier or stays.
//!
//! Invariant: at no time do what runs and what is promised add up to more than the machine, by the estimates. Estimates
//! are limits: nothing runs longer.

use super::machine::Running;
use crate::time::Time;

/// Counted processors, with a promise for all that waits.
#[derive(Clone, Debug)]
pub struct Conservative {
    size: u32,
    profile: Profile,
    /// What waits, in the order of submission.
    waiting: Vec<Promised>,
    /// Whether something ended before its estimate, so that promises are to be made anew.
    stale: bool,
}

/// A job that waits, with the start that it was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The number under which it will run.
    pub running: Running,
    /// How many processors it takes.
    pub width: u32,
    /// How long it runs at most, ticks.
    pub estimate: i64,
    /// When it starts at the latest.
    pub at: Time,
}

impl Conservative {
    /// So many processors, all free.
    pub fn new(size: u32) -> Self {
        Conservative { size, profile: Profile::new(size), waiting: Vec::new(), stale: false }
    }

    /// What waits, in the order of submission.
    pub fn waiting(&self) -> &[Promised] {
        &self.waiting
    }

    /// When the next job is to start. Promises that come earlier leave gaps, so nothing else need happen then.
    pub fn due(&self) -> Option<Time> {
        self.waiting.iter().map(|job| job.at).min()
    }

    /// A job of this width ended at `now`; `estimated` is when it was to end at the latest.
    pub fn finish(&mut self, width: u32, estimated: Time, now: Time) {
        if now < estimated {
            self.profile.give(now, estimated, width);
            self.stale = true;
        }
    }

    /// A job joins the queue and is promised the earliest start that delays nobody, which is told.
    ///
    /// # Panics
    /// When it is wider than the machine.
    pub fn submit(&mut self, running: Running, width: u32, estimate: i64, now: Time) -> Time {
        assert!(width <= self.size, "a job that no machine can run does not wait");
        self.renew(now);
        let at = self.profile.hole(width, estimate, now, Time::NEVER).expect("in the end all is free");
        self.profile.take(at, at.after(estimate), width);
        self.waiting.push(Promised { running, width, estimate, at });
        at
    }

    /// Starts all whose promised time has come, and says which.
    pub fn pass(&mut self, now: Time, mut started: impl FnMut(&Promised)) {
        self.renew(now);
        self.waiting.retain(|job| {
            let begins = job.at <= now;
            if begins {
                started(job);
            }
            !begins
        });
    }

    /// Makes all promises anew where something ended early.
    fn renew(&mut self, now: Time) {
        self.profile.forget(now);
        if !self.stale {
            return;
        }
        self.stale = false;
        for job in &mut self.waiting {
            // What it was promised is its own, so only what is before that has to be free.
            if let Some(at) = self.profile.hole(job.width, job.estimate, now, job.at) {
                self.profile.give(job.at, job.at.after(job.estimate), job.width);
                self.profile.take(at, at.after(job.estimate), job.width);
                job.at = at;
            }
        }
    }
}

/// How many processors are free from each of `times` until the next; from the last on, for ever. Neighbours differ.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    times: Vec<Time>,
    free: Vec<u32>,
}

impl Profile {
    /// So many are free always.
    pub(crate) fn new(free: u32) -> Profile {
        Profile { times: vec![Time(i64::MIN)], free: vec![free] }
    }

    /// From `at` on, which is not before any other time, so many are free.
    pub(crate) fn goes_on(&mut self, at: Time, free: u32) {
        let last = self.cut(at);
        self.free[last] = free;
        self.join(last);
    }

    /// How many are free throughout a time.
    pub(crate) fn least(&self, from: Time, to: Time) -> u32 {
        let first = self.segment(from);
        let within = self.times[first + 1..].iter().take_while(|start| **start < to).count();
        self.free[first..=first + within].iter().copied().min().unwrap_or(0)
    }

    /// Drops what is past.
    fn forget(&mut self, now: Time) {
        let past = self.segment(now);
        self.times.drain(..past);
        self.free.drain(..past);
    }

    /// The earliest time from `now` to before `limit` from which `width` are free until `estimate` ticks later or `limit`.
    pub(crate) fn hole(&self, width: u32, estimate: i64, now: Time, limit: Time) -> Option<Time> {
        let mut at = self.segment(now);
        loop {
            at += self.free[at..].iter().position(|free| *free >= width)?;
            let start = self.times[at].max(now);
            if start >= limit {
                return None;
            }
            let end = start.after(estimate).min(limit);
            let narrow = self.free[at..].iter().position(|free| *free < width);
            match narrow {
                Some(ahead) if self.times[at + ahead] < end => at += ahead,
                _ => return Some(start),
            }
        }
    }

    /// Takes `width` processors from `from` until `to`; so many are free there.
    pub(crate) fn take(&mut self, from: Time, to: Time, width: u32) {
        self.change(from, to, |free| free - width);
    }

    /// Gives `width` processors back from `from` until `to`.
    pub(crate) fn give(&mut self, from: Time, to: Time, width: u32) {
        self.change(from, to, |free| free + width);
    }

    fn change(&mut self, from: Time, to: Time, new: impl Fn(u32) -> u32) {
        let first = self.cut(from);
        let last = self.cut(to);
        self.free[first..last].iter_mut().for_each(|free| *free = new(*free));
        self.join(last);
        self.join(first);
    }

    /// The segment that `time` is in.
    fn segment(&self, time: Time) -> usize {
        self.times.partition_point(|start| *start <= time).saturating_sub(1)
    }

    /// Makes `time` the start of a segment, and says of which.
    fn cut(&mut self, time: Time) -> usize {
        let at = self.segment(time);
        if self.times[at] == time {
            return at;
        }
        self.times.insert(at + 1, time);
        self.free.insert(at + 1, self.free[at]);
        at + 1
    }

    /// Joins a segment to the one before where both are alike.
    fn join(&mut self, at: usize) {
        if at > 0 && self.free[at] == self.free[at - 1] {
            self.times.remove(at);
            self.free.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Jobs of (width, estimate) that arrive at time 0 at a pool of 10.
    fn at_once(jobs: &[(u32, i64)]) -> Conservative {
        let mut all = Conservative::new(10);
        for (i, &(width, estimate)) in (0..).zip(jobs) {
            all.submit(Running(i), width, estimate, Time(0));
        }
        all
    }

    fn promises(all: &Conservative) -> Vec<i64> {
        all.waiting().iter().map(|job| job.at.0).collect()
    }

    #[test]
    fn everybody_is_promised_the_earliest_hole() {
        // The last fits beside the first, and not beside the second.
        let mut all = at_once(&[(6, 100), (6, 50), (10, 10), (4, 100), (4, 60)]);
        assert_eq!(promises(&all), [0, 100, 150, 0, 160]);
        let mut started = Vec::new();
        all.pass(Time(0), |job| started.push(job.running.0));
        assert_eq!((started, all.due()), (vec![0, 3], Some(Time(100))));
    }

    #[test]
    fn promises_come_earlier_when_a_job_ends_early_and_none_comes_later() {
        let mut all = at_once(&[(6, 100), (6, 50), (10, 10), (4, 100), (4, 60)]);
        all.pass(Time(0), |_| ());
        all.finish(6, Time(100), Time(20));
        let mut started = Vec::new();
        all.pass(Time(20), |job| started.push(job.running.0));
        // The second begins; the third still waits for the fourth; and the last would delay it.
        assert_eq!((started, promises(&all)), (vec![1], vec![100, 110]));
        all.finish(6, Time(70), Time(70));
        assert_eq!(all.due(), Some(Time(100)), "who ends by the estimate changes nothing");
    }

    proptest! {
        /// Whoever ends early, no promise comes later, and what runs and is promised never exceeds the machine.
        #[test]
        fn promises_only_come_earlier_and_fit(
            jobs in prop::collection::vec((1_u32..11, 1_i64..30, 0_i64..5, 1_i64..30), 1..25),
        ) {
            let mut all = Conservative::new(10);
            // (width, start, estimated end, end), by number.
            let mut running: Vec<(u32, i64, i64, i64)> = Vec::new();
            let mut arrivals = jobs.iter().scan(0, |now, job| { *now += job.2; Some(*now) }).zip(0..).peekable();
            for now in 0..1000 {
                for job in running.iter().filter(|job| job.3 == now) {
                    all.finish(job.0, Time(job.2), Time(now));
                }
                running.retain(|job| job.3 > now);
                while let Some((_, i)) = arrivals.next_if(|(at, _)| *at == now) {
                    all.submit(Running(i), jobs[i as usize].0, jobs[i as usize].1, Time(now));
                }
                let before: Vec<(Running, Time)> = all.waiting().iter().map(|j| (j.running, j.at)).collect();
                all.pass(Time(now), |job| {
                    let run = jobs[job.running.0 as usize].3.min(job.estimate);
                    running.push((job.width, now, now + job.estimate, now + run));
                });
                for job in all.waiting() {
                    let old = before.iter().find(|old| old.0 == job.running).map(|old| old.1);
                    prop_assert!(old.is_some_and(|old| job.at <= old) && job.at.0 > now);
                }
                let spans = running.iter().map(|job| (job.1, job.2, job.0));
                let promised = all.waiting().iter().map(|job| (job.at.0, job.at.0 + job.estimate, job.width));
                let spans: Vec<(i64, i64, u32)> = spans.chain(promised).collect();
                for (at, ..) in &spans {
                    let taken = |span: &&(i64, i64, u32)| span.0 <= *at && *at < span.1;
                    prop_assert!(spans.iter().filter(taken).map(|span| span.2).sum::<u32>() <= 10);
                }
            }
            prop_assert!(all.waiting().is_empty() && running.is_empty());
        }
    }
}
