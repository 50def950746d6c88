//! The ceilings of this host, measured: how fast all its cores read memory, and multiply and add.
//!
//! Step 13 of a job's way (DESIGN section 4): what a job reached is told as a share of these.

use crate::pin::bind_thread;
use muster_core::ceilings::Ceilings;
use muster_core::plan::HostShape;
use muster_kernels::ceiling::{multiply_add, read};
use muster_kernels::simd::Simd;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most numbers that a core reads over and over, in all caches' despite: 64 MiB.
const MOST_NUMBERS: u64 = 8 << 20;
/// The share of the host's memory that is used, one part in so many.
const SHARE: u64 = 16;
/// Rounds of multiplications between two looks at the clock: about a tenth of a millisecond.
const ROUNDS: u32 = 10_000;

/// Measures for about so long, half of it each; nothing when `stop` is set meanwhile, or this host lacks what kernels need.
/// `memory_mib` is what the host has.
pub(crate) fn measure(
    host: &HostShape,
    memory_mib: u64,
    most: Duration,
    stop: &AtomicBool,
) -> Option<Ceilings> {
    let simd = Simd::choose(None).ok()?;
    let cores: Vec<u32> = host.domains.iter().flat_map(|domain| domain.cores.iter().copied()).collect();
    let each = (memory_mib << 20) / 8 / SHARE / cores.len().max(1) as u64;
    let each = usize::try_from(each.min(MOST_NUMBERS)).ok()?;
    let together = Barrier::new(cores.len());
    let one = |core: u32| {
        if host.real {
            let _ = bind_thread(&[core]);
        }
        // Touched first by the core that reads it.
        let numbers: Vec<f64> = (0..each).map(|at| at as f64).collect();
        let goes_on = |began: Instant| began.elapsed() < most / 2 && !stop.load(Ordering::Relaxed);
        together.wait();
        let (began, mut bytes) = (Instant::now(), 0);
        // In pieces, so that it stops at once.
        for piece in numbers.chunks(1 << 17).cycle().take_while(|_| goes_on(began)) {
            black_box(read(simd, piece));
            bytes += size_of_val(piece) as u64;
        }
        let read = bytes as f64 / began.elapsed().as_secs_f64();
        together.wait();
        let (began, mut operations) = (Instant::now(), 0);
        while goes_on(began) {
            let (some, sum) = black_box(multiply_add(simd, ROUNDS));
            black_box(sum);
            operations += some;
        }
        [read, operations as f64 / began.elapsed().as_secs_f64()]
    };
    let each: Vec<[f64; 2]> = std::thread::scope(|scope| {
        let threads: Vec<_> = cores.iter().map(|&core| scope.spawn(move || one(core))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let sum = |of: usize| each.iter().map(|rates| rates[of]).sum::<f64>() as u64;
    let measured = Ceilings { read_bytes_per_s: sum(0), flops_per_s: sum(1) };
    (!stop.load(Ordering::Relaxed)).then_some(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_until_it_is_stopped() {
        let host = crate::topology::discover().unwrap();
        let (stop, some) = (AtomicBool::new(false), Duration::from_millis(60));
        let found = measure(&host, 64, some, &stop).unwrap();
        assert!(found.read_bytes_per_s > 0 && found.flops_per_s > 0, "{found:?}");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(measure(&host, 64, Duration::from_secs(3600), &stop), None);
    }
}
