//! What is measured inside this process: numbers in memory, and the generator alone.

use muster_kernels::ceiling;
use muster_kernels::math::normal::normals;
use muster_kernels::math::philox::{BATCH, Draw, Philox};
use muster_kernels::moments::of_slice;
use muster_kernels::simd::{Lanes, Simd, Vectorised};
use std::hint::black_box;
use std::time::Instant;

/// Numbers, an equal part for each thread, first touched by it.
pub(crate) struct Numbers(Vec<Vec<f64>>);

impl Numbers {
    /// `each` numbers for each of `threads`.
    pub(crate) fn new(threads: usize, each: usize) -> Self {
        let fill = |t: usize| (0..each).map(|i| ((i * 7919 + t) % 65_536) as f64 - 32_768.5).collect();
        Numbers(std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|t| scope.spawn(move || fill(t))).collect();
            handles.into_iter().map(|h| h.join().expect("filling does not fail")).collect()
        }))
    }

    /// Bytes a second, in thousand millions, of `work` over all parts at once.
    fn rate(&self, work: impl Fn(&[f64]) -> f64 + Sync) -> f64 {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for part in &self.0 {
                let work = &work;
                scope.spawn(move || black_box(work(part)));
            }
        });
        let bytes: usize = self.0.iter().map(|part| size_of_val(&part[..])).sum();
        bytes as f64 / began.elapsed().as_secs_f64() / 1e9
    }

    /// The rate of all moments.
    pub(crate) fn moments(&self, simd: Simd) -> f64 {
        self.rate(|part| of_slice(simd, part).m4)
    }

    /// The rate of the plainest sum: the ceiling.
    pub(crate) fn read(&self, simd: Simd) -> f64 {
        self.rate(|part| ceiling::read(simd, part))
    }
}

struct Draws(u64);

impl Vectorised for Draws {
    type Out = f64;
    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let mut out = [[0.0; BATCH]; 4];
        for group in 0..self.0 as u32 {
            normals::<L>(Philox::new(1), Draw { path: 0, group, stream: 0 }, &mut out);
            black_box(&mut out);
        }
        out[0][0]
    }
}

/// Normals a second of `threads` threads.
pub(crate) fn normals_rate(threads: u64) -> f64 {
    const GROUPS: u64 = 1 << 20;
    let simd = Simd::choose(None).expect("this host runs the suite");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || black_box(simd.run(Draws(GROUPS))));
        }
    });
    (threads * GROUPS * 4 * BATCH as u64) as f64 / began.elapsed().as_secs_f64()
}
