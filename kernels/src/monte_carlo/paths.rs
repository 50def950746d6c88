//! The hot loop: paths in batches of 64 lanes, all markets of an option over the same draws.
//!
//! Lanes run over paths, so the order of every sum is fixed whatever the vector width: each lane keeps its own sums
//! over the batches of a block, and the 64 lanes are added pairwise at the end.

use super::market::{Estimate, Market, above_and_in};
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox, uniforms};
use crate::math::{exp_bounded, ln_unit};
use crate::simd::{Lanes, Vectorised};
use muster_spec::monte_carlo::{Kind, Monitoring, OptionSpec, Right};
use std::ops::Range;

type Row = [f64; BATCH];

/// An option, ready to be simulated.
pub(crate) struct Model {
    pub(crate) spec: OptionSpec,
    pub(crate) kind: Kind,
    pub(crate) markets: Vec<Market>,
    pub(crate) estimates: Vec<Estimate>,
    pub(crate) weights: Vec<f64>,
    pub(crate) seed: u64,
    /// Distinguishes the draws of the options of a book.
    pub(crate) stream: u32,
}

/// Sums over paths of one estimate: of the values and of their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) sum: f64,
    pub(crate) square: f64,
}

/// The sums of a range of paths that begins at a batch.
pub(crate) struct Block<'a> {
    pub(crate) model: &'a Model,
    pub(crate) paths: Range<u64>,
}

/// What a path carries under one market.
#[derive(Clone)]
struct State {
    /// Logarithm of price over spot, of each asset.
    log: Vec<Row>,
    /// Sum of prices, or of logarithms, or an extreme of the logarithm, or the probability that the barrier was not
    /// touched: by the option's kind.
    seen: Row,
}

impl Vectorised for Block<'_> {
    type Out = Vec<Sums>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<Sums> {
        let model = self.model;
        let mut states = vec![
            State { log: vec![[0.0; BATCH]; model.spec.assets()], seen: [0.0; BATCH] };
            model.markets.len()
        ];
        let mut lanes = vec![([0.0; BATCH], [0.0; BATCH]); model.estimates.len()];
        let mut paid = vec![[0.0; BATCH]; model.markets.len()];
        let mut path = self.paths.start;
        while path < self.paths.end {
            let lanes_used = (self.paths.end - path).min(BATCH as u64) as usize;
            if model.kind == Kind::Basket {
                basket::<L>(model, path, &mut states);
            } else {
                walk::<L>(model, path, &mut states);
            }
            for ((market, state), paid) in model.markets.iter().zip(&states).zip(&mut paid) {
                pay::<L>(model, market, state, paid);
            }
            for (estimate, (sum, square)) in model.estimates.iter().zip(&mut lanes) {
                estimate_into::<L>(estimate, &paid, lanes_used, (sum, square));
            }
            path += BATCH as u64;
        }
        lanes.iter().map(|(sum, square)| Sums { sum: pairwise(sum), square: pairwise(square) }).collect()
    }
}

/// Adds 64 lanes, neighbours first.
fn pairwise(lanes: &Row) -> f64 {
    let mut lanes = *lanes;
    let mut width = BATCH / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = lanes[2 * i] + lanes[2 * i + 1];
        }
        width /= 2;
    }
    lanes[0]
}

/// Where an option's running value starts.
fn start(kind: Kind, right: Right, monitoring: Monitoring) -> f64 {
    match (kind, right, monitoring) {
        (Kind::Barrier, _, Monitoring::Continuous) => 1.0,
        // Nothing has been seen yet; the first date replaces it.
        (Kind::Barrier, ..) => f64::NAN,
        // Today's price counts when the price is watched all the time.
        (Kind::Lookback | Kind::FloatingLookback, _, Monitoring::Continuous) => 0.0,
        (Kind::Lookback, Right::Call, _) | (Kind::FloatingLookback, Right::Put, _) => f64::MIN,
        (Kind::Lookback, Right::Put, _) | (Kind::FloatingLookback, Right::Call, _) => f64::MAX,
        _ => 0.0,
    }
}

/// Walks a batch of paths of one price to expiry.
#[inline(always)]
fn walk<L: Lanes>(model: &Model, path: u64, states: &mut [State]) {
    let rng = Philox::new(model.seed);
    let steps = model.spec.path_steps();
    let watches = model.spec.monitoring == Monitoring::Continuous;
    let bridged = watches && matches!(model.kind, Kind::Lookback | Kind::FloatingLookback);
    for (state, market) in states.iter_mut().zip(&model.markets) {
        state.log[0] = [0.0; BATCH];
        state.seen = [start_of(model, market); BATCH];
    }
    let mut z = [[0.0; BATCH]; 4];
    let mut u = [[0.5; BATCH]; 4];
    for group in 0..steps.div_ceil(4) {
        normals::<L>(rng, Draw { path, group, stream: model.stream }, &mut z);
        if bridged {
            // Uniforms of their own, from the upper half of the streams.
            uniforms::<L>(rng, Draw { path, group, stream: model.stream | 1 << 31 }, &mut u);
        }
        let now = (steps - group * 4).min(4) as usize;
        for (z, u) in z.iter().zip(&u).take(now) {
            for (state, market) in states.iter_mut().zip(&model.markets) {
                step::<L>(model, market, state, (z, u));
            }
        }
    }
}

fn start_of(model: &Model, market: &Market) -> f64 {
    let first = start(model.kind, model.spec.right, model.spec.monitoring);
    if model.kind != Kind::Barrier {
        return first;
    }
    let (above, _) = above_and_in(model.spec.knock.expect("a barrier option has a knock"));
    match model.spec.monitoring {
        // Touched from the start: the price is beyond the barrier today.
        Monitoring::Continuous => {
            f64::from(u8::from(if above { market.barrier > 0.0 } else { market.barrier < 0.0 }))
        }
        Monitoring::Discrete => {
            if above {
                f64::MIN
            } else {
                f64::MAX
            }
        }
    }
}

/// One step of a batch of paths.
#[inline(always)]
fn step<L: Lanes>(model: &Model, market: &Market, state: &mut State, (z, u): (&Row, &Row)) {
    let (drift, spread) = (market.drift[0], market.spread[0][0]);
    let (log, seen) = (&mut state.log[0], &mut state.seen);
    match (model.kind, model.spec.monitoring) {
        (Kind::European | Kind::Basket, _) => {
            for i in 0..BATCH {
                log[i] = L::pass(spread.mul_add(z[i], log[i] + drift));
            }
        }
        (Kind::Asian, _) => {
            for i in 0..BATCH {
                let next = L::pass(spread.mul_add(z[i], log[i] + drift));
                log[i] = next;
                seen[i] += exp_bounded(next);
            }
        }
        (Kind::GeometricAsian, _) => {
            for i in 0..BATCH {
                log[i] = L::pass(spread.mul_add(z[i], log[i] + drift));
                seen[i] += log[i];
            }
        }
        (Kind::Barrier, Monitoring::Continuous) => bridge_barrier::<L>(model, market, (log, seen), z),
        (_, Monitoring::Discrete) => {
            let up = watches_maximum(model);
            for i in 0..BATCH {
                let next = L::pass(spread.mul_add(z[i], log[i] + drift));
                log[i] = next;
                seen[i] = extreme(up, seen[i], next);
            }
        }
        (Kind::Lookback | Kind::FloatingLookback, Monitoring::Continuous) => {
            let up = watches_maximum(model);
            let sign = if up { 1.0 } else { -1.0 };
            for i in 0..BATCH {
                let next = L::pass(spread.mul_add(z[i], log[i] + drift));
                let rise = next - log[i];
                // The extreme of a Brownian bridge between the two prices (Beaglehole, Dybvig, Zhou 1997).
                let beyond = (rise * rise - 2.0 * market.variance * ln_unit(u[i])).sqrt();
                seen[i] = extreme(up, seen[i], 0.5 * (log[i] + next + sign * beyond));
                log[i] = next;
            }
        }
    }
}

/// Whether the highest price matters; else the lowest does.
fn watches_maximum(model: &Model) -> bool {
    match (model.kind, model.spec.right) {
        (Kind::Barrier, _) => above_and_in(model.spec.knock.expect("a barrier option has a knock")).0,
        (Kind::Lookback, Right::Call) | (Kind::FloatingLookback, Right::Put) => true,
        _ => false,
    }
}

#[inline(always)]
fn extreme(up: bool, seen: f64, next: f64) -> f64 {
    if up == (next > seen) { next } else { seen }
}

/// A step that multiplies the probability that a Brownian bridge has not touched the barrier.
#[inline(always)]
fn bridge_barrier<L: Lanes>(model: &Model, market: &Market, (log, seen): (&mut Row, &mut Row), z: &Row) {
    let (drift, spread, barrier) = (market.drift[0], market.spread[0][0], market.barrier);
    let (above, _) = above_and_in(model.spec.knock.expect("a barrier option has a knock"));
    let sign = if above { 1.0 } else { -1.0 };
    let factor = -2.0 / market.variance;
    for i in 0..BATCH {
        let next = L::pass(spread.mul_add(z[i], log[i] + drift));
        let (before, after) = (sign * (barrier - log[i]), sign * (barrier - next));
        let exponent = factor * before * after;
        let touches = exp_bounded(if exponent < -700.0 { -700.0 } else { exponent });
        let free = if before > 0.0 && after > 0.0 { 1.0 - touches } else { 0.0 };
        seen[i] *= free;
        log[i] = next;
    }
}

/// The prices of a basket at expiry, in one step.
#[inline(always)]
fn basket<L: Lanes>(model: &Model, path: u64, states: &mut [State]) {
    let rng = Philox::new(model.seed);
    let assets = model.spec.assets();
    for (state, market) in states.iter_mut().zip(&model.markets) {
        for (log, drift) in state.log.iter_mut().zip(&market.drift) {
            *log = [*drift; BATCH];
        }
    }
    let mut z = [[0.0; BATCH]; 4];
    for factor in 0..assets {
        if factor % 4 == 0 {
            normals::<L>(rng, Draw { path, group: factor as u32 / 4, stream: model.stream }, &mut z);
        }
        let z = &z[factor % 4];
        for (state, market) in states.iter_mut().zip(&model.markets) {
            for (log, spread) in state.log.iter_mut().zip(&market.spread).skip(factor) {
                for i in 0..BATCH {
                    log[i] = L::pass(spread[factor].mul_add(z[i], log[i]));
                }
            }
        }
    }
}

/// What a batch of paths pays, discounted.
#[inline(always)]
fn pay<L: Lanes>(model: &Model, market: &Market, state: &State, paid: &mut Row) {
    let (spot, discount) = (market.spot[0], market.discount);
    let dates = 1.0 / f64::from(model.spec.path_steps());
    let strike = model.spec.strike;
    let sign = if model.spec.right == Right::Call { 1.0 } else { -1.0 };
    let (log, seen) = (&state.log[0], &state.seen);
    let vanilla = |price: f64, strike: f64| {
        let gain = sign * (price - strike);
        discount * if gain > 0.0 { gain } else { 0.0 }
    };
    match model.kind {
        Kind::European => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(vanilla(spot * exp_bounded(log[i]), strike)))
        }
        Kind::Asian => (0..BATCH).for_each(|i| paid[i] = L::pass(vanilla(spot * (seen[i] * dates), strike))),
        Kind::GeometricAsian => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(vanilla(spot * exp_bounded(seen[i] * dates), strike)));
        }
        Kind::Lookback => {
            (0..BATCH).for_each(|i| paid[i] = L::pass(vanilla(spot * exp_bounded(seen[i]), strike)))
        }
        Kind::FloatingLookback => (0..BATCH).for_each(|i| {
            paid[i] = L::pass(vanilla(spot * exp_bounded(log[i]), spot * exp_bounded(seen[i])));
        }),
        Kind::Barrier => {
            let (above, is_in) = above_and_in(model.spec.knock.expect("a barrier option has a knock"));
            let watches = model.spec.monitoring == Monitoring::Continuous;
            for i in 0..BATCH {
                let touched = if above { seen[i] >= market.barrier } else { seen[i] <= market.barrier };
                let free = if watches { seen[i] } else { f64::from(u8::from(!touched)) };
                let alive = if is_in { 1.0 - free } else { free };
                paid[i] = L::pass(alive * vanilla(spot * exp_bounded(log[i]), strike));
            }
        }
        Kind::Basket => {
            let mut sum = [0.0; BATCH];
            for ((log, spot), weight) in state.log.iter().zip(&market.spot).zip(&model.weights) {
                for i in 0..BATCH {
                    sum[i] = L::pass((weight * spot).mul_add(exp_bounded(log[i]), sum[i]));
                }
            }
            (0..BATCH).for_each(|i| paid[i] = vanilla(sum[i], strike));
        }
    }
}

/// Adds a batch to the sums of one estimate.
#[inline(always)]
fn estimate_into<L: Lanes>(
    estimate: &Estimate,
    paid: &[Row],
    used: usize,
    (sum, square): (&mut Row, &mut Row),
) {
    let mut value = [0.0; BATCH];
    for &(market, factor) in &estimate.parts {
        for i in 0..BATCH {
            value[i] = L::pass(factor.mul_add(paid[market][i], value[i]));
        }
    }
    // The last batch of the last block may be cut.
    value[used..].fill(0.0);
    for i in 0..BATCH {
        sum[i] += L::pass(value[i]);
        square[i] = value[i].mul_add(value[i], square[i]);
    }
}
