//! The same schedules in the plainest way: lists that are searched whole, no queue, no pool, no profile.

use muster_core::policy::key::{Asked, Key};
use muster_core::policy::{Candidates, Policy};
use muster_core::trace::replay::Mode;
use muster_core::trace::{Trace, TraceJob};

/// When each job of `trace` starts under `policy`.
pub(crate) fn starts(trace: &Trace, policy: Policy, mode: Mode) -> Vec<i64> {
    let mut world = World {
        jobs: trace.jobs.clone(),
        procs: i64::from(trace.procs),
        policy,
        promised: vec![None; trace.jobs.len()],
        started: vec![None; trace.jobs.len()],
        order: Vec::new(),
        ended: vec![false; trace.jobs.len()],
        arrived: 0,
    };
    while let Some(now) = world.next_moment() {
        let ends: Vec<usize> = world.running().into_iter().filter(|&j| world.real_end(j) == now).collect();
        let arrivals = world.jobs[world.arrived..].iter().filter(|job| job.submit.0 == now).count();
        match mode {
            Mode::Batch => {
                world.end(&ends, now);
                (0..arrivals).for_each(|_| world.arrive(now));
                world.pass(now);
            }
            Mode::PerEvent => {
                for _ in 0..arrivals {
                    world.arrive(now);
                    world.pass(now);
                }
                for &j in &ends {
                    world.end(&[j], now);
                    world.pass(now);
                }
                if ends.is_empty() && arrivals == 0 {
                    world.pass(now);
                }
            }
        }
    }
    world.started.into_iter().map(|start| start.expect("every job starts")).collect()
}

struct World {
    jobs: Vec<TraceJob>,
    procs: i64,
    policy: Policy,
    /// Under conservative backfilling, for what waits.
    promised: Vec<Option<i64>>,
    started: Vec<Option<i64>>,
    /// Jobs in the order in which they started.
    order: Vec<usize>,
    ended: Vec<bool>,
    arrived: usize,
}

impl World {
    fn running(&self) -> Vec<usize> {
        self.order.iter().copied().filter(|&j| !self.ended[j]).collect()
    }

    fn waiting(&self) -> Vec<usize> {
        (0..self.arrived).filter(|&j| self.started[j].is_none()).collect()
    }

    fn real_end(&self, j: usize) -> i64 {
        self.started[j].unwrap() + self.jobs[j].run
    }

    fn estimated_end(&self, j: usize) -> i64 {
        self.started[j].unwrap() + self.jobs[j].estimate
    }

    fn width(&self, j: usize) -> i64 {
        i64::from(self.jobs[j].width)
    }

    fn next_moment(&self) -> Option<i64> {
        let ends = self.running().into_iter().map(|j| self.real_end(j));
        let arrivals = self.jobs[self.arrived..].iter().map(|job| job.submit.0);
        let promises = self.waiting().into_iter().filter_map(|j| self.promised[j]);
        ends.chain(arrivals).chain(promises).min()
    }

    fn arrive(&mut self, now: i64) {
        let j = self.arrived;
        self.arrived += 1;
        if self.policy == Policy::Conservative {
            self.promised[j] = Some(self.earliest(j, now));
        }
    }

    fn end(&mut self, ends: &[usize], now: i64) {
        ends.iter().for_each(|&j| self.ended[j] = true);
        if self.policy == Policy::Conservative && ends.iter().any(|&j| self.estimated_end(j) > now) {
            for j in self.waiting() {
                self.promised[j] = None;
                self.promised[j] = Some(self.earliest(j, now));
            }
        }
    }

    /// The first moment from which `j` never meets more than the machine, among all moments in which something changes.
    fn earliest(&self, j: usize, now: i64) -> i64 {
        let mut blocks: Vec<(i64, i64, i64)> = Vec::new();
        blocks.extend(self.running().into_iter().map(|r| (now, self.estimated_end(r), self.width(r))));
        blocks.extend(
            self.waiting()
                .into_iter()
                .filter_map(|w| self.promised[w].map(|at| (at, at + self.jobs[w].estimate, self.width(w)))),
        );
        let taken = |t: i64| blocks.iter().filter(|b| b.0 <= t && t < b.1).map(|b| b.2).sum::<i64>();
        let fits = |t: &i64| {
            let during = blocks.iter().map(|b| b.0).filter(|b| t < b && *b < t + self.jobs[j].estimate);
            std::iter::once(*t).chain(during).all(|t| taken(t) + self.width(j) <= self.procs)
        };
        let mut moments: Vec<i64> = blocks.iter().map(|b| b.1).filter(|t| *t > now).collect();
        moments.push(now);
        moments.sort();
        moments.into_iter().find(fits).expect("in the end all is free")
    }

    fn start(&mut self, j: usize, now: i64) {
        self.started[j] = Some(now);
        self.order.push(j);
    }

    /// What is free at `t`, when it was not so before `now`, of what runs by its estimate.
    fn free_at(&self, t: i64) -> i64 {
        self.procs
            - self
                .running()
                .into_iter()
                .filter(|&j| self.estimated_end(j) > t)
                .map(|j| self.width(j))
                .sum::<i64>()
    }

    fn pass(&mut self, now: i64) {
        let mut queue = self.waiting();
        let (key, candidates) = match self.policy {
            Policy::Conservative => {
                queue.retain(|&j| self.promised[j] == Some(now));
                queue.into_iter().for_each(|j| self.start(j, now));
                return;
            }
            Policy::Fcfs => (Key::Submit, None),
            Policy::Easy(key, candidates) => (key, Some(candidates)),
        };
        let value = |j: usize| value(key, &self.jobs[j], now);
        queue.sort_by(|&a, &b| value(a).partial_cmp(&value(b)).unwrap());
        while let Some(&j) = queue.first()
            && self.width(j) <= self.free_at(now)
        {
            self.start(j, now);
            queue.remove(0);
        }
        let (Some(&head), Some(candidates)) = (queue.first(), candidates) else { return };
        let mut moments: Vec<i64> = self.running().into_iter().map(|j| self.estimated_end(j)).collect();
        moments.sort();
        let shadow = moments.into_iter().find(|&t| self.free_at(t) >= self.width(head)).unwrap();
        let mut extra = self.free_at(shadow) - self.width(head);
        queue.remove(0);
        if candidates == Candidates::Shortest {
            queue.sort_by_key(|&j| self.jobs[j].estimate);
        }
        for j in queue {
            let outlives = now + self.jobs[j].estimate > shadow;
            if self.width(j) <= self.free_at(now) && (!outlives || self.width(j) <= extra) {
                self.start(j, now);
                extra -= if outlives { self.width(j) } else { 0 };
            }
        }
    }
}

fn value(key: Key, job: &TraceJob, now: i64) -> f64 {
    let (w, e, n) = ((now - job.submit.0) as f64, job.estimate as f64, f64::from(job.width));
    match key {
        Key::Submit => 0.0,
        Key::Sjf => e,
        Key::Saf => e * n,
        Key::Sqf => n,
        Key::Wfp3 => -((w / e) * (w / e) * (w / e)) * n,
        Key::Unicep => -w / (libm::log2(n + 1.0) * e),
        // These do not age: their formulas have tests of their own.
        key => key.fixed(&Asked { submit_s: job.submit.0 as f64, estimate_s: e, width: n }),
    }
}
