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
        learnt: Vec::new(),
        outlook: vec![(0, i64::MAX); trace.jobs.len()],
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
                world.learn(ends.iter().copied().filter(|&j| world.estimated_end(j) <= now).collect());
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
    /// Jobs in the order in which they became known to have ended.
    learnt: Vec<usize>,
    /// How long each that came was to run, and for how long it may wait.
    outlook: Vec<(i64, i64)>,
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
        if self.policy == Policy::Default {
            self.outlook[j] = self.expect(j, now);
        }
    }

    fn end(&mut self, ends: &[usize], now: i64) {
        ends.iter().for_each(|&j| self.ended[j] = true);
        self.learn(ends.to_vec());
        if self.policy == Policy::Conservative && ends.iter().any(|&j| self.estimated_end(j) > now) {
            for j in self.waiting() {
                self.promised[j] = None;
                self.promised[j] = Some(self.earliest(j, now));
            }
        }
    }

    fn learn(&mut self, ends: Vec<usize>) {
        for j in ends {
            if !self.learnt.contains(&j) {
                self.learnt.push(j);
            }
        }
    }

    /// How long `j`, which comes now, will run, and for how long it may wait.
    fn expect(&self, j: usize, now: i64) -> (i64, i64) {
        let share = |&l: &usize| (self.jobs[l].run * 65536 / self.jobs[l].estimate).max(1);
        let of_user = |l: &usize| self.jobs[j].user >= 0 && self.jobs[*l].user == self.jobs[j].user;
        let recent: Vec<i64> = self.learnt.iter().rev().filter(|l| of_user(l)).take(8).map(share).collect();
        assert!(self.learnt.len() < 2048, "the site's mean forgets nothing yet");
        let site = (self.learnt.iter().map(share).sum::<i64>() + 65536) / (self.learnt.len() as i64 + 1);
        let mean = (recent.iter().sum::<i64>() + site) as f64 / (65536 * (recent.len() + 1)) as f64;
        let predicted = (self.jobs[j].estimate as f64 * mean).ceil() as i64;
        let waits: i64 =
            self.waiting().into_iter().filter(|&w| w != j).map(|w| self.outlook[w].0 * self.width(w)).sum();
        let drain = self.running().into_iter().map(|r| self.estimated_end(r) - now).max().unwrap_or(0).max(0);
        (predicted.max(1), (3 * (waits / self.procs + drain) + 1) / 2)
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

    fn urgent(&self, j: usize, now: i64) -> bool {
        now - self.jobs[j].submit.0 > self.outlook[j].1
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
            Policy::Default => (Key::Unicep, Some(Candidates::InOrder)),
        };
        let value = |j: usize| match self.policy {
            Policy::Default if self.urgent(j, now) => f64::NEG_INFINITY,
            Policy::Default => value(key, &TraceJob { estimate: self.outlook[j].0, ..self.jobs[j] }, now),
            _ => value(key, &self.jobs[j], now),
        };
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
        let predicting = self.policy == Policy::Default && !self.urgent(head, now);
        for j in queue {
            let lasts = if predicting { self.outlook[j].0 } else { self.jobs[j].estimate };
            let outlives = now + lasts > shadow;
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
