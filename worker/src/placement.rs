//! Where threads ran and memory lay while a team folded: what `--placement` tells.
//!
//! Looks at step 9 of a job's way from inside: around every block, the folding thread asks on which CPU it runs and
//! to which it is bound, and on which NUMA domain the block's memory lies: the stack that it used, its encoded
//! partial where that is large, and what the kernel notes as scratch. Nothing is asked unless somebody wants to know.

use crate::pages;
use crate::wire::Hello;
use muster_core::plan::PoolPlan;
use muster_kernels::Fold;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_getcpu};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Mutex;

/// How much stack below a block's first frame is looked at, in bytes. What was never used has no pages.
const STACK: usize = 64 << 10;

/// What was seen of one thread that folds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSeen {
    /// The operating system's number of the thread.
    pub thread: u32,
    /// The CPUs that it is bound to.
    pub bound: BTreeSet<u32>,
    /// The CPUs that it was seen on.
    pub ran_on: BTreeSet<u32>,
    /// Blocks that it folded.
    pub blocks: u32,
    /// Pages that it worked in, by NUMA domain; counted again for every block.
    pub pages: BTreeMap<u32, u64>,
    /// Why the operating system does not tell where pages lie.
    pub untold: Option<String>,
}

impl ThreadSeen {
    fn add(&mut self, later: ThreadSeen) {
        self.thread = later.thread;
        self.bound = later.bound;
        self.ran_on.extend(later.ran_on);
        self.blocks += later.blocks;
        for (domain, pages) in later.pages {
            *self.pages.entry(domain).or_default() += pages;
        }
        self.untold = self.untold.take().or(later.untold);
    }

    fn look(&mut self, start: usize, bytes: usize) {
        let counted = pages::domains(start, bytes, |domain| *self.pages.entry(domain).or_default() += 1);
        if let Err(why) = counted {
            self.untold = Some(why.to_string());
        }
    }

    /// Asks which CPU the calling thread is on.
    fn stand(&mut self) {
        self.ran_on.insert(sched_getcpu() as u32);
    }
}

/// One pool of a rank, and what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSeen {
    /// The rank.
    pub rank: u32,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// The NUMA domain that the pool is planned for.
    pub domain: u32,
    /// The CPUs that its threads are planned for.
    pub cpus: Vec<u32>,
    /// Blocks that it folded.
    pub blocks: u32,
    /// Pages that its threads worked in, by NUMA domain.
    pub pages: BTreeMap<u32, u64>,
    /// Why the operating system does not tell where pages lie.
    pub untold: Option<String>,
    /// Its threads that folded a block, by number.
    pub threads: Vec<ThreadSeen>,
}

/// Gathers what the threads of one rank see.
#[derive(Default)]
pub struct Watch(Mutex<BTreeMap<u32, ThreadSeen>>);

impl Watch {
    /// Runs `fold` with a context that looks at its scratch. It returns the block's encoded partial beside its own
    /// result.
    pub(crate) fn over<T>(&self, cx: Fold, fold: impl FnOnce(Fold) -> (T, Vec<u8>)) -> (T, Vec<u8>) {
        let seen = Rc::new(RefCell::new(ThreadSeen { blocks: 1, ..ThreadSeen::default() }));
        let scratch = seen.clone();
        seen.borrow_mut().stand();
        let (out, encoded) =
            fold(cx.looking(Box::new(move |start, bytes| scratch.borrow_mut().look(start, bytes))));
        let here = std::hint::black_box(0u8);
        let mut seen = seen.take();
        seen.stand();
        seen.look((&raw const here).addr() - STACK, STACK);
        // The allocator hands small pieces from thread to thread: where they lie says nothing of this one.
        if encoded.len() >= rustix::param::page_size() {
            seen.look(encoded.as_ptr().addr(), encoded.len());
        }
        seen.thread = gettid().as_raw_nonzero().get() as u32;
        if let Ok(bound) = sched_getaffinity(None) {
            seen.bound =
                (0..CpuSet::MAX_CPU).filter(|&cpu| bound.is_set(cpu)).map(|cpu| cpu as u32).collect();
        }
        self.0.lock().expect("nobody panics with it").entry(seen.thread).or_default().add(seen);
        (out, encoded)
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> Vec<ThreadSeen> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it")).into_values().collect()
    }
}

/// What was seen of a whole team, on rank 0.
pub(crate) struct TeamSeen(Vec<PoolSeen>);

impl TeamSeen {
    pub(crate) fn new(hellos: &[Hello], plans: &[Vec<PoolPlan>]) -> Self {
        let mut pools = Vec::new();
        for (rank, (hello, plans)) in hellos.iter().zip(plans).enumerate() {
            pools.extend(plans.iter().map(|plan| PoolSeen {
                rank: rank as u32,
                host: hello.host.clone(),
                pid: hello.pid,
                domain: plan.domain,
                cpus: plan.cores.clone(),
                blocks: 0,
                pages: BTreeMap::new(),
                untold: None,
                threads: Vec::new(),
            }));
        }
        TeamSeen(pools)
    }

    /// Adds what the threads of pool `pool` of `rank` saw.
    pub(crate) fn add(&mut self, rank: usize, pool: u32, seen: Vec<ThreadSeen>) {
        let Some(first) = self.0.iter().position(|p| p.rank as usize == rank) else { return };
        let Some(into) = self.0.get_mut(first + pool as usize) else { return };
        for later in seen {
            into.blocks += later.blocks;
            for (&domain, &pages) in &later.pages {
                *into.pages.entry(domain).or_default() += pages;
            }
            into.untold = into.untold.take().or_else(|| later.untold.clone());
            match into.threads.binary_search_by_key(&later.thread, |t| t.thread) {
                Ok(at) => into.threads[at].add(later),
                Err(at) => into.threads.insert(at, later),
            }
        }
    }

    pub(crate) fn pools(&self) -> Vec<PoolSeen> {
        self.0.clone()
    }
}

/// A pool as a line for people.
pub fn line(pool: &PoolSeen) -> String {
    let all = |each: fn(&ThreadSeen) -> &BTreeSet<u32>| -> String {
        list(&pool.threads.iter().flat_map(each).copied().collect())
    };
    let place = format!("muster: rank {} on {}, NUMA domain {}", pool.rank, pool.host, pool.domain);
    if pool.threads.is_empty() {
        return format!("{place}: folded nothing");
    }
    let count = |n: u64, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    let ran = format!(
        "{} bound to CPUs {} ran on {}; {}",
        count(pool.threads.len() as u64, "thread"),
        all(|t| &t.bound),
        all(|t| &t.ran_on),
        count(u64::from(pool.blocks), "block"),
    );
    let lay: Vec<String> =
        pool.pages.iter().map(|(domain, &n)| format!("{} on domain {domain}", count(n, "page"))).collect();
    let memory = match &pool.untold {
        Some(why) => format!("where its memory lies, the operating system does not say ({why})"),
        None => lay.join(", "),
    };
    format!("{place}: {ran}; {memory}")
}

/// The kernel's list format: `0-3,8`.
pub fn list(cpus: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::plan::{HostShape, Pinning};
    use muster_kernels::Simd;

    fn thread(thread: u32, cpu: u32, pages: &[(u32, u64)]) -> ThreadSeen {
        ThreadSeen {
            thread,
            bound: [cpu].into(),
            ran_on: [cpu].into(),
            blocks: 1,
            pages: pages.iter().copied().collect(),
            untold: None,
        }
    }

    #[test]
    fn what_threads_saw_adds_up_by_pool() {
        let shape = HostShape { domains: Vec::new(), real: true };
        let hello = Hello { version: 0, host: "n1".into(), pid: 7, shape, program: [0; 16] };
        let plan = |domain, cores| PoolPlan { domain, cores, threads: 2, pinning: Pinning::Cores };
        let plans = vec![plan(0, vec![0, 1]), plan(1, vec![2, 3])];
        let mut team = TeamSeen::new(&[hello.clone(), hello], &[plans.clone(), plans]);
        team.add(1, 1, vec![thread(40, 3, &[(1, 5)]), thread(39, 2, &[(1, 4), (0, 1)])]);
        team.add(1, 1, vec![thread(40, 3, &[(1, 5)])]);
        let pools = team.pools();
        assert_eq!(pools.iter().map(|p| p.blocks).collect::<Vec<_>>(), [0, 0, 0, 3]);
        let text = "muster: rank 1 on n1, NUMA domain 1: 2 threads bound to CPUs 2-3 ran on 2-3; 3 blocks; \
                    1 page on domain 0, 14 pages on domain 1";
        assert_eq!(line(&pools[3]), text);
        assert_eq!(line(&pools[0]), "muster: rank 0 on n1, NUMA domain 0: folded nothing");
        let untold = PoolSeen { untold: Some("EPERM".into()), ..pools[3].clone() };
        assert!(line(&untold).ends_with("the operating system does not say (EPERM)"));
    }

    #[test]
    fn a_block_is_watched_while_it_folds() {
        let watch = Watch::default();
        let cx = || Fold::new(Simd::all()[0], 0);
        for _ in 0..2 {
            let (bytes, _) = watch.over(cx(), |mut cx| {
                let scratch = vec![1u8; 1 << 16];
                cx.note_scratch(&scratch);
                (scratch.len(), vec![1, 2, 3])
            });
            assert_eq!(bytes, 1 << 16);
        }
        let seen = watch.take();
        assert_eq!((seen.len(), seen[0].blocks), (1, 2));
        assert!(!seen[0].bound.is_empty() && seen[0].ran_on.is_subset(&seen[0].bound));
        assert!(seen[0].untold.is_some() || seen[0].pages.values().sum::<u64>() >= 2 * 16);
        assert!(watch.take().is_empty());
    }

    #[test]
    fn lists_are_short() {
        assert_eq!(list(&[0, 1, 2, 5, 7, 8].into()), "0-2,5,7-8");
        assert_eq!(list(&BTreeSet::new()), "");
    }
}
