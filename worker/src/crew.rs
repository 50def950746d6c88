//! One rank's hands: its pools, the spans on them, and the channel on which finished spans come back.
//!
//! Step 10 of a job's way (DESIGN section 4). The rank's main thread alone uses a crew.

use crate::memory;
use crate::placement::{ThreadSeen, Watch};
use crate::pools::Pools;
use crate::running::{Gathered, Running};
use crate::span::{Finished, Prepared};
use crate::wire::{Added, Failure, TeamJob, decode};
use crossbeam_channel::{Receiver, Sender, unbounded};
use muster_core::plan::PoolPlan;
use muster_kernels::{Iterate, Node, Order, Problem, Problems, Simd, Turn};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Scratch for each thread, unless a limit leaves less.
const TILE_BYTES: u64 = 4 << 20;
/// The least scratch a thread can work with.
const LEAST_TILE_BYTES: u64 = 64 << 10;

/// What came back from a pool.
pub(crate) struct Returned<P> {
    pool: usize,
    /// It, or why the job cannot be done.
    pub(crate) result: Result<Back<P>, Failure>,
    /// The span that is off the pool, if one is.
    span: Option<Node>,
}

/// What a pool was asked for.
pub(crate) enum Back<P> {
    /// A span and its finished subtrees.
    Finished(Node, Vec<Finished<P>>),
    /// A span that was added to the running partials.
    Added(Node, Added),
    /// The pool's running partials.
    Gathered(Option<Gathered<P>>),
}

/// The pools of a rank and what is on them.
pub(crate) struct Crew<K: Iterate> {
    pub(crate) prepared: Arc<Prepared<K>>,
    /// What the round began from, once rank 0 has said so.
    state: Option<Arc<K::State>>,
    pools: Pools,
    /// By pool.
    running: Vec<Arc<Running<K::Partial>>>,
    /// Blocks on each pool.
    load: Vec<u32>,
    back: Sender<Returned<K::Partial>>,
    pub(crate) returned: Receiver<Returned<K::Partial>>,
}

impl<K: Iterate> Crew<K> {
    /// Starts the pools and prepares the kernel; in this order, since the allocator hands the memory of threads that
    /// are gone, pages and all, to those that start next: preparing has threads of its own, on any domain.
    ///
    /// # Errors
    /// What is wrong with the spec, its inputs, or this machine.
    pub(crate) fn start(job: &TeamJob, plans: &[PoolPlan]) -> Result<Crew<K>, Failure> {
        let threads = plans.iter().map(|p| u64::from(p.threads)).sum::<u64>().max(1);
        let pools = Pools::start(plans).map_err(Failure::Broken)?;
        let prepared = guarded::<K, _>(|| prepare::<K>(job, threads))?;
        let (back, returned) = unbounded();
        let load = vec![0; pools.len()];
        let running = (0..pools.len()).map(|i| Arc::new(Running::new(pools.threads(i)))).collect();
        Ok(Crew { prepared: Arc::new(prepared), state: None, pools, running, load, back, returned })
    }

    /// Begins a round. The state is used as it was encoded, on rank 0 too: every rank of every team has the same one.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn begin(&mut self, state: &[u8]) -> Result<(), Failure> {
        self.state = Some(Arc::new(decode(state)?));
        Ok(())
    }

    /// What the round leads to: rank 0 alone asks.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) fn finish(&self, root: K::Partial) -> Result<Turn<K::State, K::Answer>, Failure> {
        guarded::<K, _>(|| self.prepared.kernel.finish(self.state(), root))
    }

    /// The state that the first round begins from: rank 0 alone asks.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn start_state(&self) -> Result<K::State, Failure> {
        guarded::<K, _>(|| self.prepared.kernel.start())
    }

    fn state(&self) -> &Arc<K::State> {
        self.state.as_ref().expect("a round begins before its spans")
    }

    /// Bindings that failed.
    pub(crate) fn warnings(&self) -> &[String] {
        self.pools.warnings()
    }

    /// What the threads of each pool have seen since the last call, where it was asked for.
    pub(crate) fn seen(&self) -> Vec<(u32, Vec<ThreadSeen>)> {
        let Some(watch) = &self.prepared.watch else { return Vec::new() };
        let mut pools: BTreeMap<u32, Vec<ThreadSeen>> = BTreeMap::new();
        for thread in watch.take() {
            let pool = self.pools.pool_of(thread.thread).expect("the threads of pools alone fold spans");
            pools.entry(pool).or_default().push(thread);
        }
        pools.into_iter().collect()
    }

    /// Puts a span on the pool that has the least to do.
    pub(crate) fn take(&mut self, span: Node) {
        let each = |i: usize| f64::from(self.load[i]) / f64::from(self.pools.threads(i));
        let pool =
            (0..self.pools.len()).min_by(|&a, &b| each(a).total_cmp(&each(b))).expect("a rank has a pool");
        self.load[pool] += span.blocks(self.prepared.grid).len() as u32;
        let (prepared, state) = (self.prepared.clone(), self.state().clone());
        let running = (prepared.kernel.order() == Order::Running).then(|| self.running[pool].clone());
        self.spawn(pool, Some(span), move || match running {
            Some(running) => prepared.add_span(&state, span, &running).map(|added| Back::Added(span, added)),
            None => prepared.span(&state, span).map(|done| Back::Finished(span, done)),
        });
    }

    /// Has every pool hand in its running partials: there will be an answer of each.
    pub(crate) fn gather(&self) {
        for (pool, running) in self.running.iter().enumerate() {
            let (prepared, running) = (self.prepared.clone(), running.clone());
            self.spawn(pool, None, move || prepared.gather(&running).map(Back::Gathered));
        }
    }

    fn spawn(
        &self,
        pool: usize,
        span: Option<Node>,
        work: impl FnOnce() -> Result<Back<K::Partial>, Problems> + Send + 'static,
    ) {
        let back = self.back.clone();
        self.pools.spawn(pool, move || {
            let result = guarded::<K, _>(work);
            // The rank may have ended; then nobody wants the result.
            let _ = back.send(Returned { pool, result, span });
        });
    }

    /// Notes that a span is off its pool.
    pub(crate) fn off(&mut self, returned: &Returned<K::Partial>) {
        let blocks = returned.span.map_or(0, |span| span.blocks(self.prepared.grid).len());
        self.load[returned.pool] -= blocks as u32;
    }
}

/// Calls the kernel's own code: a panic there is its failure, not the rank's.
fn guarded<K: Iterate, T>(call: impl FnOnce() -> Result<T, Problems>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|problems| match problems.0.iter().any(|problem| problem.of_host) {
            true => Failure::Host(problems.to_string()),
            false => Failure::BadInput(problems),
        }),
        Err(panic) => Err(Failure::Broken(format!("the kernel {} panicked: {}", K::NAME, said(&*panic)))),
    }
}

/// Opens the spec of a job on this host, for `threads` threads that share its memory limit.
///
/// # Errors
/// What is wrong with the spec, its inputs, or the limits.
pub(crate) fn prepare<K: Iterate>(job: &TeamJob, threads: u64) -> Result<Prepared<K>, Problems> {
    let spec: K::Spec = serde_json::from_str(&job.spec_json)
        .map_err(|e| Problem::new("spec", format!("cannot be read by the kernel {}: {e}", K::NAME)))?;
    let tile_bytes = job.memory_limit.map_or(TILE_BYTES, |limit| TILE_BYTES.min(limit / threads));
    if tile_bytes < LEAST_TILE_BYTES {
        let least = (LEAST_TILE_BYTES * threads) >> 10;
        return Err(Problem::new(
            "--memory-limit",
            format!("too small for {threads} threads: at least {least}K"),
        )
        .into());
    }
    // Without a limit, half of what is there is left to others and to the page cache.
    let to_keep = || memory::available() / 2 / u64::from(job.sharers.max(1));
    let keep_bytes = job.memory_limit.map_or_else(to_keep, |limit| limit - threads * tile_bytes);
    let simd = Simd::choose(job.simd.as_deref())?;
    let kernel = K::prepare(&spec)?;
    let grid = kernel.grid();
    Ok(Prepared {
        kernel,
        grid,
        simd,
        tile_bytes: tile_bytes as usize,
        keep_bytes: usize::try_from(keep_bytes).unwrap_or(usize::MAX),
        stop: AtomicBool::new(false),
        watch: job.placement.then(Watch::default),
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "without a message",
    }
}
