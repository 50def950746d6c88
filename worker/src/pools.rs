//! One rayon pool for each NUMA domain of a rank; its threads are bound before the pool is used.
//!
//! Step 9 of a job's way (DESIGN section 4). Memory is first touched by the thread that folds a block, so it lies on
//! the domain that uses it; a pool is built on its domain, so that its queues and its threads' stacks lie there, too. Spans are spawned onto a pool from the rank's main thread, never from another pool.

use crate::{pages, pin};
use muster_core::plan::{Pinning, PoolPlan};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The pools of one rank.
pub struct Pools {
    pools: Vec<(PoolPlan, rayon::ThreadPool)>,
    /// The pool of each thread, by the operating system's number.
    threads: BTreeMap<u32, u32>,
    warnings: Vec<String>,
}

impl Pools {
    /// Starts the pools and binds their threads. A binding that fails is a warning: the answer is the same, slower.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn start(plans: &[PoolPlan]) -> Result<Pools, String> {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let bound = plans.iter().any(|plan| plan.pinning != Pinning::Free);
        // In a container the call is often forbidden; where all is on one domain, that is not worth a line.
        if bound
            && let Err(why) = pages::stay()
            && plans.len() > 1
        {
            let text = format!("memory may move between NUMA domains: {why} (set_mempolicy)");
            warnings.lock().expect("nobody panics with it").push(text);
        }
        pages::keep();
        let (mut pools, mut threads) = (Vec::new(), BTreeMap::new());
        for plan in plans {
            let (to_bind, noted) = (plan.clone(), warnings.clone());
            let builder = rayon::ThreadPoolBuilder::new()
                .num_threads(plan.threads as usize)
                .thread_name(move |i| format!("fold-{i}"))
                .start_handler(move |i| {
                    if let Err(warning) = bind(&to_bind, i) {
                        noted.lock().expect("nobody panics with it").push(warning);
                    }
                });
            let pool = match plan.pinning {
                Pinning::Free => builder.build(),
                _ => pin::while_bound(&plan.cores, || builder.build())?,
            }
            .map_err(|e| format!("cannot start {} threads: {e}", plan.threads))?;
            // `build` returns before the threads have run their start handlers; a broadcast waits for all of them.
            let started = pool.broadcast(|_| rustix::thread::gettid().as_raw_nonzero().get() as u32);
            threads.extend(started.into_iter().map(|thread| (thread, pools.len() as u32)));
            pools.push((plan.clone(), pool));
        }
        let warnings = std::mem::take(&mut *warnings.lock().expect("nobody panics with it"));
        Ok(Pools { pools, threads, warnings })
    }

    /// What went wrong with bindings.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many pools there are.
    pub fn len(&self) -> usize {
        self.pools.len()
    }

    /// Whether there is none; a plan always has one.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The threads of pool `i`.
    pub fn threads(&self, i: usize) -> u32 {
        self.pools[i].0.threads
    }

    /// The pool that has a thread of this number.
    pub(crate) fn pool_of(&self, thread: u32) -> Option<u32> {
        self.threads.get(&thread).copied()
    }

    /// Starts `work` on pool `i`.
    pub fn spawn(&self, i: usize, work: impl FnOnce() + Send + 'static) {
        self.pools[i].1.spawn(work);
    }
}

fn bind(plan: &PoolPlan, thread: usize) -> Result<(), String> {
    match plan.pinning {
        Pinning::Cores => pin::bind_thread(&plan.cores[thread..=thread]),
        Pinning::Domain => pin::bind_thread(&plan.cores),
        Pinning::Free => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::plan::{Seat, pools};

    #[test]
    fn every_thread_is_bound_where_the_plan_says() {
        let shape = crate::topology::discover().unwrap();
        let plans = pools(&shape, Seat { ranks: 1, index: 0 }, None);
        let started = Pools::start(&plans).unwrap();
        assert_eq!(started.warnings(), &[] as &[String]);
        for (plan, pool) in &started.pools {
            let cpus = pool.broadcast(|_| rustix::thread::sched_getcpu() as u32);
            assert!(plan.pinning != Pinning::Cores || cpus == plan.cores, "{cpus:?} for {plan:?}");
        }
    }
}
