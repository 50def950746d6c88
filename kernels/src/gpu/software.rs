//! The software device: what `asian.cu` says, on a CPU, thread for thread and sum for sum.
//!
//! Its mathematics is Muster's own rounded to f32 where a card has approximate instructions, so that its bits are the
//! same on every host. It is for tests and for looking into an answer, not for speed.

use super::asian::{Asian, ROUNDS, THREADS};
use crate::math::philox::Philox;
use crate::math::{exp, ln, sin_cos_turns};
use crate::simd::{Lanes, Vectorised};
use muster_spec::monte_carlo::GPU_TILE;
use std::f64::consts::{LN_2, LOG2_E};

/// Threads of a warp.
const WARP: usize = 32;

/// Walks all paths of a launch: the sums of each CUDA block.
pub(super) struct Launch<'a>(pub(super) &'a Asian);

impl Vectorised for Launch<'_> {
    type Out = Vec<[f64; 2]>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<[f64; 2]> {
        (0..self.0.tiles()).map(|tile| block(self.0, tile as u64)).collect()
    }
}

/// One CUDA block.
#[inline(always)]
fn block(a: &Asian, tile: u64) -> [f64; 2] {
    let (mut sums, mut squares) = ([0.0; THREADS], [0.0; THREADS]);
    for thread in 0..THREADS {
        for half in 0..2 * ROUNDS {
            let path = a.first + tile * GPU_TILE + (half * THREADS + thread) as u64;
            if path < a.end {
                let apart = a.pays(f64::from(walk(a, path))) - a.pivot;
                sums[thread] += apart;
                squares[thread] = apart.mul_add(apart, squares[thread]);
            }
        }
    }
    [total(sums), total(squares)]
}

/// Adds one number of each thread: in a warp neighbours at a distance of 16, 8, 4, 2, 1, then the warps in order.
#[inline(always)]
fn total(mut threads: [f64; THREADS]) -> f64 {
    let mut sum = 0.0;
    for warp in threads.chunks_exact_mut(WARP) {
        let mut apart = WARP / 2;
        while apart > 0 {
            for i in 0..apart {
                warp[i] += warp[i + apart];
            }
            apart /= 2;
        }
        sum += warp[0];
    }
    sum
}

/// Walks one price to expiry: the sum of its prices over spot.
#[inline(always)]
fn walk(a: &Asian, path: u64) -> f32 {
    let (mut price, mut seen) = (0f32, 0f32);
    for group in 0..a.steps.div_ceil(4) {
        let w = Philox::words_by(&a.key, [path as u32, (path >> 32) as u32, group, a.stream]);
        let ([m0, m1], [m2, m3]) = (moves(a, w[0], w[1]), moves(a, w[2], w[3]));
        let now = (a.steps - group * 4).min(4) as usize;
        let mut four = 0f32;
        for m in &[m0, m1, m2, m3][..now] {
            price += m;
            four += exp(f64::from(price) * LN_2) as f32;
        }
        seen += four;
    }
    seen
}

/// What two steps add to the binary logarithm.
#[inline(always)]
fn moves(a: &Asian, w0: u32, w1: u32) -> [f32; 2] {
    let u = (w0 as f32).mul_add(2.328_306_4e-10, 1.164_153_2e-10);
    let square = -1.386_294_4_f32 * (ln(f64::from(u)) * LOG2_E) as f32;
    let radius = if square > 1e-30 { square } else { 1e-30 }.sqrt() * a.spread;
    let (sine, cosine) = sin_cos_turns((f64::from(w1) + 0.5) / 4_294_967_296.0);
    [radius.mul_add(cosine as f32, a.drift), radius.mul_add(sine as f32, a.drift)]
}
