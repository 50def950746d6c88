//! The hot loop: paths in batches of 64 lanes, all walks of an option over the same draws.
//!
//! Invariants: lanes run over paths, so the order of every sum is the same whatever the vector width; each lane keeps
//! its own sums over the batches of a block, and 64 lanes are added pairwise at the end. Nothing is allocated after a
//! block has begun. The normal numbers of a path's steps `4g .. 4g + 4` (or of its assets, for a basket) are those of
//! counter `[path, g, stream]`; uniform numbers for bridges are those of `[path, g + 2^31, stream]`.

use super::growth::growth;
use super::plan::{Estimate, Plan, Scene, Walk, Watch};
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox, uniforms};
use crate::math::{exp, exp_bounded, ln_unit};
use crate::simd::{Lanes, Vectorised};
use muster_spec::monte_carlo::{Payoff, Right};
use std::ops::Range;

/// One number of each path of a batch, aligned as the widest vectors are.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Row([f64; BATCH]);

/// Four numbers of each path of a batch.
#[repr(C, align(64))]
struct Rows([[f64; BATCH]; 4]);

const ZERO: Row = Row([0.0; BATCH]);

/// Mean and sum of squared deviations from it of one estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) m2: f64,
}

/// Which paths of an option to simulate: the first begins a batch, the last batch may be cut.
pub(super) struct Block<'a> {
    pub(super) plan: &'a Plan,
    pub(super) rng: Philox,
    pub(super) stream: u32,
    pub(super) paths: Range<u64>,
}

/// Sums over the batches of a block, of one estimate. Deviations from a pivot, the first path's value, are summed
/// rather than values: squares of large values would swallow a small variance.
struct Sums {
    pivot: f64,
    sum: Row,
    square: Row,
}

impl Vectorised for Block<'_> {
    type Out = Vec<Spread>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<Spread> {
        let plan = self.plan;
        let rows = match plan.watch {
            Watch::SumAndLogs => 3,
            Watch::Basket => plan.contract.assets.len(),
            _ => 2,
        };
        let mut walked = vec![vec![ZERO; rows]; plan.walks.len()];
        let mut paid = vec![ZERO; plan.scenes.len()];
        let mut sums: Vec<Sums> =
            plan.estimates.iter().map(|_| Sums { pivot: f64::NAN, sum: ZERO, square: ZERO }).collect();
        let mut path = self.paths.start;
        while path < self.paths.end {
            match plan.watch {
                Watch::Basket => jump::<L>(&self, path, &mut walked),
                _ => walk::<L>(&self, path, &mut walked),
            }
            for (scene, paid) in plan.scenes.iter().zip(&mut paid) {
                pay::<L>(plan, scene, &walked[scene.walk], paid);
            }
            let used = (self.paths.end - path).min(BATCH as u64) as usize;
            for (estimate, sums) in plan.estimates.iter().zip(&mut sums) {
                add::<L>(estimate, &paid, used, sums);
            }
            path += BATCH as u64;
        }
        let n = (self.paths.end - self.paths.start) as f64;
        sums.iter().map(|sums| spread(sums, n)).collect()
    }
}

/// Walks one price of a batch of paths to expiry.
#[inline(always)]
fn walk<L: Lanes>(block: &Block, path: u64, walked: &mut [Vec<Row>]) {
    let plan = block.plan;
    for (walk, rows) in plan.walks.iter().zip(walked.iter_mut()) {
        let first = start(plan.watch, walk);
        rows.iter_mut().zip(first).for_each(|(row, first)| row.0 = [first; BATCH]);
    }
    let mut z = Rows([[0.0; BATCH]; 4]);
    let mut u = Rows([[0.5; BATCH]; 4]);
    let steps = plan.contract.steps;
    for group in 0..steps.div_ceil(4) {
        let draw = Draw { path, group, stream: block.stream };
        normals::<L>(block.rng, draw, &mut z.0);
        if matches!(plan.watch, Watch::BridgeExtreme { .. }) {
            uniforms::<L>(block.rng, Draw { group: group | 1 << 31, ..draw }, &mut u.0);
        }
        let now = (steps - group * 4).min(4) as usize;
        for (z, u) in z.0.iter().zip(&u.0).take(now) {
            for (walk, rows) in plan.walks.iter().zip(walked.iter_mut()) {
                step::<L>(plan.watch, walk, rows, (z, u));
            }
        }
    }
}

/// What the rows of a walk hold before its first step. Today's price counts for extremes and barriers.
fn start(watch: Watch, walk: &Walk) -> [f64; 3] {
    match watch {
        Watch::Sum { small: true } => [1.0, 0.0, 0.0],
        Watch::BridgeBarrier { up } => {
            let untouched = if up { walk.barrier > 0.0 } else { walk.barrier < 0.0 };
            [0.0, f64::from(u8::from(untouched)), 0.0]
        }
        _ => [0.0; 3],
    }
}

/// One step of one walk. The first row is the logarithm of price over spot, except for sums of small steps, where it is
/// price over spot.
#[inline(always)]
fn step<L: Lanes>(watch: Watch, walk: &Walk, rows: &mut [Row], (z, u): (&[f64; BATCH], &[f64; BATCH])) {
    let (drift, spread) = (walk.drift[0], walk.spread[0][0]);
    let (Row(price), more) = rows.split_first_mut().expect("a walk has rows");
    let (Row(seen), more) = more.split_first_mut().expect("a walk has two rows");
    match watch {
        Watch::Sum { small: true } => {
            for i in 0..BATCH {
                price[i] *= L::pass(growth(spread.mul_add(z[i], drift)));
                seen[i] += price[i];
            }
        }
        Watch::Sum { small: false } => {
            for i in 0..BATCH {
                price[i] += L::pass(spread.mul_add(z[i], drift));
                seen[i] += exp(price[i]);
            }
        }
        Watch::SumAndLogs => {
            let Row(logs) = &mut more[0];
            for i in 0..BATCH {
                price[i] += L::pass(spread.mul_add(z[i], drift));
                seen[i] += exp(price[i]);
                logs[i] += price[i];
            }
        }
        Watch::Logs => {
            for i in 0..BATCH {
                price[i] += L::pass(spread.mul_add(z[i], drift));
                seen[i] += price[i];
            }
        }
        Watch::Extreme { up: true } => extreme::<L, true>(walk, (price, seen), z),
        Watch::Extreme { up: false } => extreme::<L, false>(walk, (price, seen), z),
        Watch::BridgeExtreme { up: true } => bridge_extreme::<L, true>(walk, (price, seen), (z, u)),
        Watch::BridgeExtreme { up: false } => bridge_extreme::<L, false>(walk, (price, seen), (z, u)),
        Watch::BridgeBarrier { up } => {
            bridge_barrier::<L>(walk, if up { 1.0 } else { -1.0 }, (price, seen), z);
        }
        Watch::Last | Watch::Basket => {
            for i in 0..BATCH {
                price[i] += L::pass(spread.mul_add(z[i], drift));
            }
        }
    }
}

type Pair<'a> = (&'a mut [f64; BATCH], &'a mut [f64; BATCH]);

/// The larger (`UP`) or the smaller of two.
#[inline(always)]
fn outer<const UP: bool>(a: f64, b: f64) -> f64 {
    if UP == (b > a) { b } else { a }
}

#[inline(always)]
fn extreme<L: Lanes, const UP: bool>(walk: &Walk, (log, seen): Pair, z: &[f64; BATCH]) {
    let (drift, spread) = (walk.drift[0], walk.spread[0][0]);
    for i in 0..BATCH {
        log[i] += L::pass(spread.mul_add(z[i], drift));
        seen[i] = outer::<UP>(seen[i], log[i]);
    }
}

/// The extreme of a Brownian bridge from `a` to `b` with variance `s`: `(a + b + sqrt((b - a)^2 - 2 s ln u)) / 2` is
/// distributed as its maximum (Beaglehole, Dybvig and Zhou 1997); mirrored, as its minimum.
#[inline(always)]
fn bridge_extreme<L: Lanes, const UP: bool>(
    walk: &Walk,
    (log, seen): Pair,
    (z, u): (&[f64; BATCH], &[f64; BATCH]),
) {
    let (drift, spread) = (walk.drift[0], walk.spread[0][0]);
    let twice = -2.0 * walk.variance;
    let sign: f64 = if UP { 1.0 } else { -1.0 };
    for i in 0..BATCH {
        let rise = L::pass(spread.mul_add(z[i], drift));
        let next = log[i] + rise;
        let width = rise.mul_add(rise, twice * ln_unit(u[i])).sqrt();
        seen[i] = outer::<UP>(seen[i], 0.5 * sign.mul_add(width, log[i] + next));
        log[i] = next;
    }
}

/// Multiplies the probability that a Brownian bridge has not touched the barrier: from `a` to `b`, both on this side
/// of the barrier `h`, with variance `s` it touches with probability `exp(-2 (h - a)(h - b) / s)` (Karatzas and Shreve
/// 1991). A path so counts by the probability that it was never touched, which is smooth where a draw would not be.
#[inline(always)]
fn bridge_barrier<L: Lanes>(walk: &Walk, side: f64, (log, untouched): Pair, z: &[f64; BATCH]) {
    let (drift, spread, barrier) = (walk.drift[0], walk.spread[0][0], walk.barrier);
    let factor = -2.0 / walk.variance;
    for i in 0..BATCH {
        let next = log[i] + L::pass(spread.mul_add(z[i], drift));
        let (before, after) = (side * (barrier - log[i]), side * (barrier - next));
        let exponent = factor * before * after;
        let touches = exp_bounded(if exponent > -700.0 { exponent } else { -700.0 });
        let free = if after > 0.0 { 1.0 - touches } else { 0.0 };
        // Beyond the barrier from the start, the factor means nothing and the probability is 0.
        untouched[i] = if before > 0.0 { untouched[i] * free } else { 0.0 };
        log[i] = next;
    }
}

/// The logarithms of a basket's prices at expiry, in one step.
#[inline(always)]
fn jump<L: Lanes>(block: &Block, path: u64, walked: &mut [Vec<Row>]) {
    let plan = block.plan;
    for (walk, rows) in plan.walks.iter().zip(walked.iter_mut()) {
        rows.iter_mut().zip(&walk.drift).for_each(|(row, drift)| row.0 = [*drift; BATCH]);
    }
    let mut z = Rows([[0.0; BATCH]; 4]);
    for factor in 0..plan.contract.assets.len() {
        if factor % 4 == 0 {
            let draw = Draw { path, group: factor as u32 / 4, stream: block.stream };
            normals::<L>(block.rng, draw, &mut z.0);
        }
        let z = &z.0[factor % 4];
        for (walk, rows) in plan.walks.iter().zip(walked.iter_mut()) {
            for (Row(log), spread) in rows.iter_mut().zip(&walk.spread).skip(factor) {
                let spread = spread[factor];
                for i in 0..BATCH {
                    log[i] = L::pass(spread.mul_add(z[i], log[i]));
                }
            }
        }
    }
}

/// What a batch of paths pays in one scene, in today's money.
#[inline(always)]
fn pay<L: Lanes>(plan: &Plan, scene: &Scene, rows: &[Row], Row(paid): &mut Row) {
    let contract = &plan.contract;
    let (spot, strike, discount) = (scene.spot[0], contract.strike, scene.discount);
    let per_date = 1.0 / f64::from(contract.steps);
    let sign = if contract.right == Right::Call { 1.0 } else { -1.0 };
    // Captured by value, and without a product in a branch, this becomes vector code.
    let gain = move |price: f64, strike: f64| {
        let gain = sign * (price - strike);
        discount * if gain > 0.0 { gain } else { 0.0 }
    };
    let Row(price) = &rows[0];
    let Row(seen) = &rows[rows.len().min(2) - 1];
    match contract.payoff {
        Payoff::European => (0..BATCH).for_each(|i| paid[i] = L::pass(gain(spot * exp(price[i]), strike))),
        Payoff::Asian if contract.control_variate => {
            let Row(logs) = &rows[2];
            for i in 0..BATCH {
                let geometric = gain(spot * exp(logs[i] * per_date), strike);
                paid[i] = L::pass(gain(spot * (seen[i] * per_date), strike) - geometric) + scene.known;
            }
        }
        Payoff::Asian => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(gain(spot * (seen[i] * per_date), strike)));
        }
        Payoff::GeometricAsian => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(gain(spot * exp(seen[i] * per_date), strike)));
        }
        Payoff::Lookback(_) => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(gain(spot * exp(seen[i]), strike)));
        }
        Payoff::FloatingLookback(_) => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(gain(spot * exp(price[i]), spot * exp(seen[i]))));
        }
        Payoff::Barrier { kind, .. } => {
            let barrier = plan.walks[scene.walk].barrier;
            let bridged = matches!(plan.watch, Watch::BridgeBarrier { .. });
            for i in 0..BATCH {
                let touched = if kind.is_up() { seen[i] >= barrier } else { seen[i] <= barrier };
                let free = if touched { 0.0 } else { 1.0 };
                let free = if bridged { seen[i] } else { free };
                let alive = if kind.is_in() { 1.0 - free } else { free };
                paid[i] = L::pass(alive * gain(spot * exp(price[i]), strike));
            }
        }
        Payoff::Basket => {
            let mut total = ZERO.0;
            for (Row(log), spot) in rows.iter().zip(&scene.spot) {
                (0..BATCH).for_each(|i| total[i] = L::pass(spot.mul_add(exp(log[i]), total[i])));
            }
            (0..BATCH).for_each(|i| paid[i] = gain(total[i], strike));
        }
    }
}

/// Adds a batch to the sums of one estimate; lanes from `used` on do not count.
#[inline(always)]
fn add<L: Lanes>(estimate: &Estimate, paid: &[Row], used: usize, sums: &mut Sums) {
    let mut value = ZERO.0;
    for &(scene, factor) in &estimate.parts {
        let Row(paid) = &paid[scene];
        for i in 0..BATCH {
            value[i] = L::pass(factor.mul_add(paid[i], value[i]));
        }
    }
    if sums.pivot.is_nan() {
        sums.pivot = value[0];
    }
    value[used..].fill(sums.pivot);
    let (Row(sum), Row(square), pivot) = (&mut sums.sum, &mut sums.square, sums.pivot);
    for i in 0..BATCH {
        let apart = L::pass(value[i] - pivot);
        sum[i] += apart;
        square[i] = apart.mul_add(apart, square[i]);
    }
}

/// The statistics of `n` paths.
fn spread(sums: &Sums, n: f64) -> Spread {
    let (sum, square) = (pairwise(sums.sum), pairwise(sums.square));
    let m2 = square - sum * (sum / n);
    Spread { mean: sums.pivot + sum / n, m2: if m2 < 0.0 { 0.0 } else { m2 } }
}

/// Adds 64 lanes, neighbours first.
fn pairwise(Row(mut lanes): Row) -> f64 {
    let mut width = BATCH;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = lanes[2 * i] + lanes[2 * i + 1];
        }
    }
    lanes[0]
}
