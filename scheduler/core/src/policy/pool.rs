//! A pool of processors that are counted and nothing else: the machine of workload traces.
//!
//! Invariants: the three lists are parallel and ordered by (end, running); `free` and what the running hold add up to
//! the size.

use super::machine::{Machine, Promise, Running};
use crate::time::Time;

/// Counted processors.
#[derive(Clone, Debug)]
pub struct Pool {
    size: u32,
    free: u32,
    ends: Vec<Time>,
    running: Vec<Running>,
    widths: Vec<u32>,
}

/// Processors promised to one waiting job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolPromise {
    at: Time,
    spare: u32,
}

impl Pool {
    /// So many processors, all free.
    pub fn new(size: u32) -> Self {
        Pool { size, free: size, ends: Vec::new(), running: Vec::new(), widths: Vec::new() }
    }

    /// How many processors there are.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What runs by its estimated end: when it gives back how many processors.
    pub fn ends(&self) -> impl Iterator<Item = (Time, u32)> {
        self.ends.iter().copied().zip(self.widths.iter().copied())
    }
}

impl Machine for Pool {
    /// How many processors.
    type Request = u32;
    type Place = ();
    type Promise = PoolPromise;

    fn class(&self, request: u32) -> usize {
        request as usize
    }

    fn free(&self) -> u32 {
        self.free
    }

    fn fits(&mut self, request: u32) -> bool {
        request <= self.free
    }

    fn start(
        &mut self,
        running: Running,
        request: u32,
        end: Time,
        beside: Option<&mut PoolPromise>,
    ) -> Option<()> {
        if request > self.free {
            return None;
        }
        if let Some(promise) = beside
            && end > promise.at
        {
            promise.spare = promise.spare.checked_sub(request)?;
        }
        let at = self.ends.partition_point(|e| *e < end);
        let at = at
            + self.running[at..]
                .iter()
                .zip(&self.ends[at..])
                .take_while(|&(r, e)| *e == end && *r < running)
                .count();
        self.ends.insert(at, end);
        self.running.insert(at, running);
        self.widths.insert(at, request);
        self.free -= request;
        Some(())
    }

    fn finish(&mut self, running: Running) {
        // A scan of numbers side by side is faster here than an index would be.
        if let Some(at) = self.running.iter().position(|r| *r == running) {
            self.ends.remove(at);
            self.running.remove(at);
            self.free += self.widths.remove(at);
        }
    }

    fn promise(&mut self, request: u32, now: Time, _: i64) -> Option<PoolPromise> {
        if request > self.size {
            return None;
        }
        let (mut at, mut free, mut next) = (now, self.free, 0);
        while free < request {
            at = self.ends[next].max(now);
            free += self.widths[next];
            next += 1;
        }
        // All that has ended by then counts, also what ends in the same moment.
        let more = self.ends[next..].iter().take_while(|end| **end <= at).count();
        free += self.widths[next..next + more].iter().sum::<u32>();
        Some(PoolPromise { at, spare: free - request })
    }
}

impl Promise for PoolPromise {
    fn at(&self) -> Time {
        self.at
    }

    fn spare(&self) -> u32 {
        self.spare
    }
}
