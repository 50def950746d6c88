//! A pool of processors that are counted and nothing else: the machine of workload traces.
//!
//! Invariants: the three lists are parallel and ordered by end; `free` and what the running hold add up to the size.

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

    fn free(&self) -> u32 {
        self.free
    }

    fn size(&self) -> u32 {
        self.size
    }

    fn drained(&self, now: Time) -> Time {
        self.ends.last().map_or(now, |end| now.max(*end))
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
        let at = self.ends.partition_point(|other| *other <= end);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A pool of 10 in which 3 end at 50, 2 at 40 and 4 at 50.
    fn pool() -> Pool {
        let mut pool = Pool::new(10);
        for (running, width, end) in [(1, 3, 50), (2, 2, 40), (3, 4, 50)] {
            assert_eq!(pool.start(Running(running), width, Time(end), None), Some(()));
        }
        pool
    }

    #[test]
    fn a_promise_is_the_earliest_and_counts_all_that_ends_by_then() {
        let mut pool = pool();
        let mut promise = |width, now| pool.promise(width, Time(now), 1).map(|p| (p.at().0, p.spare()));
        assert_eq!(promise(1, 0), Some((0, 0)));
        assert_eq!(promise(3, 0), Some((40, 0)));
        assert_eq!(promise(4, 0), Some((50, 6)), "both that end at 50 count");
        assert_eq!(promise(10, 0), Some((50, 0)));
        assert_eq!(promise(3, 45), Some((45, 0)), "what should have ended counts as ending now");
        assert_eq!(promise(11, 0), None);
    }

    #[test]
    fn what_outlives_a_promise_takes_what_is_spare_beside_it() {
        let mut pool = pool();
        pool.finish(Running(2));
        let mut promise = pool.promise(6, Time(0), 1).expect("it fits the empty pool");
        assert_eq!((promise.at().0, promise.spare(), pool.free()), (50, 4, 3));
        assert_eq!(pool.start(Running(4), 1, Time(50), Some(&mut promise)), Some(()));
        assert_eq!((promise.spare(), pool.free()), (4, 2), "it ends in time");
        assert_eq!(pool.start(Running(5), 1, Time(51), Some(&mut promise)), Some(()));
        assert_eq!((promise.spare(), pool.free()), (3, 1), "it does not");
        assert_eq!(pool.start(Running(6), 2, Time(50), Some(&mut promise)), None, "there is no room for two");
        let mut narrow = pool.promise(10, Time(0), 1).expect("it fits the empty pool");
        assert_eq!(pool.start(Running(6), 1, Time(52), Some(&mut narrow)), None, "nothing is spare");
        assert_eq!(pool.free(), 1, "who is refused takes nothing");
    }

    proptest! {
        /// What is started and finished in any order adds up, and the ends are in order.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0_u64..8, 1_u32..6, 1_i64..20), 1..60)) {
            let mut pool = Pool::new(12);
            let mut held = std::collections::BTreeMap::new();
            for (running, width, end) in steps {
                if held.remove(&running).is_some() {
                    pool.finish(Running(running));
                } else if pool.start(Running(running), width, Time(end), None).is_some() {
                    held.insert(running, (Time(end), width));
                }
                let mut wanted: Vec<(Time, u32)> = held.values().copied().collect();
                wanted.sort();
                let mut found: Vec<(Time, u32)> = pool.ends().collect();
                prop_assert!(found.is_sorted_by_key(|end| end.0));
                found.sort();
                prop_assert_eq!(pool.free(), 12 - wanted.iter().map(|end| end.1).sum::<u32>());
                prop_assert_eq!(found, wanted);
            }
            pool.finish(Running(99));
            prop_assert_eq!(pool.ends().count(), held.len());
        }
    }
}
