//! The hot loops: scenarios of a block under each model, 256 at a time, and their losses into a tally.
//!
//! A chunk is 64 lanes of four scenarios: scenario `256 c + 64 q + l` is quarter `q` of lane `l`, and lane
//! `l` of chunk `c` draws as path `64 c + l` of the counter-based generator. A lane's draws are numbered, and
//! number `j` is row `j % 4` of group `j / 4`; since four scenarios need a multiple of four draws, none is
//! wasted. So a scenario's loss depends on seed, model and its own number alone, never on blocks, threads or
//! vector width.

use super::fit::Fit;
use super::histogram::Tally;
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox, uniforms};
use crate::math::{exp_bounded, ln, sin_cos_turns};
use crate::simd::{Lanes, Vectorised};
use muster_spec::monte_carlo::risk::{CHUNK, Model};
use std::ops::Range;

/// One value for each lane.
type Batch = [f64; BATCH];

/// The scenarios of a chunk that one lane holds.
const QUARTERS: usize = CHUNK as usize / BATCH;

/// Every use of random numbers has a stream of its own.
const DAYS: u32 = 0x100;
const NORMAL: u32 = 0x200;
const STUDENT: u32 = 0x300;
const CHI_NORMAL: u32 = 0x400;
const CHI_UNIFORM: u32 = 0x500;
/// And every further try of a chi-square one more: this plus the try.
const CHI_AGAIN: u32 = 0x1_0000;

/// What all scenarios share.
pub(super) struct Market {
    /// Whose random numbers.
    pub rng: Philox,
    /// Each asset's share of the gross value, negative for short positions; their absolute values add up to
    /// 1.
    pub weights: Vec<f64>,
    /// Over how many days the loss is taken.
    pub horizon: u32,
    /// The history: `returns[asset][day]`.
    pub returns: Vec<Vec<f64>>,
    /// The normal distribution over the horizon, where it is asked for.
    pub normal: Option<Shape>,
    /// The Student-t distribution over the horizon, where it is asked for.
    pub student_t: Option<(Shape, ChiSquare)>,
}

/// How standard numbers become log returns over the horizon: `drift + root * z`.
pub(super) struct Shape {
    drift: Vec<f64>,
    root: Vec<Vec<f64>>,
}

impl Shape {
    /// For the normal distribution: one draw stands for all days, N(h mu, h Sigma).
    pub(super) fn of_normal(fit: &Fit, horizon: u32) -> Shape {
        let growth = f64::from(horizon).sqrt();
        let root = fit.root.iter().map(|row| row.iter().map(|r| r * growth).collect()).collect();
        Shape { root, ..Shape::of_sum(fit, horizon) }
    }

    /// For any sum of daily draws.
    pub(super) fn of_sum(fit: &Fit, horizon: u32) -> Shape {
        let drift = fit.location.iter().map(|mu| mu * f64::from(horizon)).collect();
        Shape { drift, root: fit.root.clone() }
    }
}

/// The scenarios `range` of one block under one model.
pub(super) struct Scenarios<'a> {
    /// What all scenarios share.
    pub market: &'a Market,
    /// From which distribution.
    pub model: Model,
    /// Starts at a multiple of [`CHUNK`].
    pub range: Range<u64>,
}

impl Vectorised for Scenarios<'_> {
    type Out = Tally;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Tally {
        let market = self.market;
        let assets = market.weights.len();
        let mut draws = vec![[0.0; BATCH]; QUARTERS * assets];
        let mut tally = Tally::new();
        for chunk in self.range.start / CHUNK..self.range.end.div_ceil(CHUNK) {
            let path = chunk * BATCH as u64;
            let shape = match (self.model, &market.normal, &market.student_t) {
                (Model::Normal, Some(shape), _) => {
                    normal::<L>(market, path, &mut draws);
                    Some(shape)
                }
                (Model::StudentT, _, Some((shape, chi))) => {
                    student_t::<L>(market, chi, path, &mut draws);
                    Some(shape)
                }
                _ => {
                    bootstrap::<L>(market, path, &mut draws);
                    None
                }
            };
            for (quarter, draws) in draws.chunks_exact(assets).enumerate() {
                let first = chunk * CHUNK + (quarter * BATCH) as u64;
                let live = self.range.end.saturating_sub(first).min(BATCH as u64) as usize;
                tally.add(&losses::<L>(market, shape, draws), live);
            }
        }
        tally
    }
}

/// Sums of log returns of drawn days: `draws[q * assets + a]` of quarter `q` and asset `a`.
///
/// The uniform of word `w` is `(w + 1/2) / 2^32`, so its product with the number of days `n < 2^21` is exact
/// in f64 and truncates to `(2 w + 1) n >> 33`. A day's probability differs from `1 / n` by at most 2^-32.
#[inline(always)]
fn bootstrap<L: Lanes>(market: &Market, path: u64, draws: &mut [Batch]) {
    draws.fill([0.0; BATCH]);
    let (assets, horizon) = (market.weights.len(), market.horizon as usize);
    let days = market.returns[0].len() as f64;
    let mut words = [[0.0; BATCH]; 4];
    for group in 0..market.horizon {
        uniforms::<L>(market.rng, Draw { path, group, stream: DAYS }, &mut words);
        for (row, uniforms) in words.iter().enumerate() {
            let quarter = (4 * group as usize + row) / horizon;
            let mut drawn = [0u32; BATCH];
            for (day, &u) in drawn.iter_mut().zip(uniforms) {
                *day = L::pass(u * days) as u32;
            }
            for (sums, returns) in draws[quarter * assets..].iter_mut().zip(&market.returns) {
                for (sum, &day) in sums.iter_mut().zip(&drawn) {
                    *sum += returns[day as usize];
                }
            }
        }
    }
}

/// Standard normals: `draws[q * assets + a]` of quarter `q` and asset `a`.
#[inline(always)]
fn normal<L: Lanes>(market: &Market, path: u64, draws: &mut [Batch]) {
    for (group, rows) in (0..).zip(draws.as_chunks_mut::<4>().0) {
        normals::<L>(market.rng, Draw { path, group, stream: NORMAL }, rows);
    }
}

/// Sums over the days of standard normals, each divided by the root of its day's chi-square over its degrees
/// of freedom: uncorrelated Student-t draws that share one chi-square, `draws[q * assets + a]`.
#[inline(always)]
fn student_t<L: Lanes>(market: &Market, chi: &ChiSquare, path: u64, draws: &mut [Batch]) {
    draws.fill([0.0; BATCH]);
    let assets = market.weights.len();
    let (mut rows, mut scales) = ([[0.0; BATCH]; 4], [[0.0; BATCH]; QUARTERS]);
    for day in 0..market.horizon {
        chi.scales::<L>(market.rng, Draw { path, group: day, stream: CHI_NORMAL }, &mut scales);
        for (g, sums) in draws.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let group = day * assets as u32 + g as u32;
            normals::<L>(market.rng, Draw { path, group, stream: STUDENT }, &mut rows);
            for (row, (sum, z)) in sums.iter_mut().zip(&rows).enumerate() {
                let scale = &scales[(4 * g + row) / assets];
                for i in 0..BATCH {
                    sum[i] = L::pass(z[i].mul_add(scale[i], sum[i]));
                }
            }
        }
    }
}

/// The losses of one quarter, as shares of the gross value: the weighted sum of `1 - exp(r)` over the assets'
/// log returns `r`, which are `draws` themselves or follow from them by `shape`.
#[inline(always)]
fn losses<L: Lanes>(market: &Market, shape: Option<&Shape>, draws: &[Batch]) -> Batch {
    // Beyond this a gain is larger than any that is counted, and below its negative a loss is all there was.
    const MOST: f64 = 700.0;
    let mut losses = [0.0; BATCH];
    for (i, &weight) in market.weights.iter().enumerate() {
        let mut sums = draws[i];
        if let Some(shape) = shape {
            sums = [shape.drift[i]; BATCH];
            for (&factor, z) in shape.root[i].iter().zip(draws) {
                for (sum, &z) in sums.iter_mut().zip(z) {
                    *sum = L::pass(z.mul_add(factor, *sum));
                }
            }
        }
        for (loss, &r) in losses.iter_mut().zip(&sums) {
            *loss = L::pass((1.0 - exp_bounded(r.clamp(-MOST, MOST))).mul_add(weight, *loss));
        }
    }
    losses
}

/// Chi-square numbers by the method of Marsaglia and Tsang (2000) for gamma numbers of shape `dof / 2`, at
/// least 1.
pub(super) struct ChiSquare {
    /// `shape - 1/3` and `1 / sqrt(9 d)` of the paper.
    d: f64,
    c: f64,
    /// `dof / (2 d)`: what is divided by an accepted cube to give degrees of freedom over chi-square.
    numerator: f64,
}

impl ChiSquare {
    /// For `dof` of 2 or more.
    pub(super) fn new(dof: f64) -> ChiSquare {
        let d = 0.5 * dof - 1.0 / 3.0;
        ChiSquare { d, c: 1.0 / (9.0 * d).sqrt(), numerator: dof / (2.0 * d) }
    }

    /// The root of degrees of freedom over chi-square, for each quarter of each lane. The path and group of
    /// `draw` say which day.
    ///
    /// The first try of all lanes goes by vectors, with the paper's quick acceptance. One in ten needs the
    /// exact test, and one in twenty or fewer another try: those are told by NaN and done one by one.
    #[inline(always)]
    fn scales<L: Lanes>(&self, rng: Philox, draw: Draw, scales: &mut [Batch; QUARTERS]) {
        let (mut x, mut u) = ([[0.0; BATCH]; 4], [[0.0; BATCH]; 4]);
        normals::<L>(rng, draw, &mut x);
        uniforms::<L>(rng, Draw { stream: CHI_UNIFORM, ..draw }, &mut u);
        for q in 0..QUARTERS {
            for i in 0..BATCH {
                let (v, squared) = (self.cube(x[q][i]), x[q][i] * x[q][i]);
                let quick = u[q][i] < (squared * squared).mul_add(-0.0331, 1.0);
                scales[q][i] =
                    L::pass(if quick & (v > 0.0) { (self.numerator / v).sqrt() } else { f64::NAN });
            }
        }
        let (mut open, mut count) = ([0u8; CHUNK as usize], 0);
        for (at, scale) in scales.as_flattened().iter().enumerate() {
            open[count] = at as u8;
            count += usize::from(scale.is_nan());
        }
        for &at in &open[..count] {
            let (q, i) = (at as usize / BATCH, at as usize % BATCH);
            let lane =
                Draw { path: draw.path + i as u64, group: draw.group * QUARTERS as u32 + q as u32, ..draw };
            scales[q][i] = self.scale(rng, lane, (x[q][i], u[q][i]));
        }
    }

    /// One scale whose first try, normal `x` and uniform `u`, may not be accepted. Inlined for its target features:
    /// without them every fused multiply-add would be a call.
    #[inline(always)]
    fn scale(&self, rng: Philox, draw: Draw, (mut x, mut u): (f64, f64)) -> f64 {
        let mut stream = CHI_AGAIN;
        loop {
            let v = self.cube(x);
            if v > 0.0 && ln(u) < 0.5 * x * x + self.d * (1.0 - v + ln(v)) {
                return (self.numerator / v).sqrt();
            }
            stream += 1;
            let words = rng.words([draw.path as u32, (draw.path >> 32) as u32, draw.group, stream]);
            let uniform = |word: u32| (f64::from(word) + 0.5) / (1u64 << 32) as f64;
            // Box and Muller (1958).
            x = (-2.0 * ln(uniform(words[0]))).sqrt() * sin_cos_turns(uniform(words[1])).1;
            u = uniform(words[2]);
        }
    }

    #[inline(always)]
    fn cube(&self, x: f64) -> f64 {
        let root = self.c.mul_add(x, 1.0);
        root * root * root
    }
}
