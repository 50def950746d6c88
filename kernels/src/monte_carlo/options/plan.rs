//! What has to be simulated for one option: walks, scenes and estimates.
//!
//! A *walk* is how prices move (drift, volatility), a *scene* prices the option along one walk (today's spot, discount),
//! and an *estimate* is a fixed combination of what a path pays in each scene. All walks of an option share their
//! draws. So the standard error of a Greek is that of a mean over paths like any other, and a spot that is bumped needs
//! no walk of its own: walks are relative to the spot.

use super::closed_form::geometric_asian;
use super::growth::{LARGEST_NORMAL, SMALL};
use crate::math::{exp, ln};
use muster_spec::monte_carlo::{Contract, Monitoring, Payoff, Right};

/// The spot's bump in standard deviations of the logarithm of the price at expiry.
const SPOT_BUMP: f64 = 0.05;
/// The most that the spot is bumped by, relatively.
const MOST_SPOT_BUMP: f64 = 0.05;
/// The bump of volatility and time, relatively.
const BUMP: f64 = 0.01;
/// The bump of the rate.
const RATE_BUMP: f64 = 0.001;

/// An option, ready to be simulated.
pub(super) struct Plan {
    pub(super) contract: Contract,
    pub(super) watch: Watch,
    pub(super) walks: Vec<Walk>,
    pub(super) scenes: Vec<Scene>,
    pub(super) estimates: Vec<Estimate>,
}

/// What a walk keeps of the prices that it passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Watch {
    /// The last price.
    Last,
    /// The sum of prices; `small` where every step lies in the range of [`super::growth::growth`].
    Sum { small: bool },
    /// The sum of prices, and that of their logarithms.
    SumAndLogs,
    /// The sum of logarithms.
    Logs,
    /// The highest or the lowest logarithm at the dates.
    Extreme { up: bool },
    /// The highest or the lowest logarithm, drawn between the dates, too.
    BridgeExtreme { up: bool },
    /// The probability that the barrier was not touched between the dates either.
    BridgeBarrier { up: bool },
    /// Several prices, at expiry only.
    Basket,
}

/// How prices move, relative to the spot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Walk {
    /// What a step adds to the logarithm of each asset's price.
    pub(super) drift: Vec<f64>,
    /// What a step multiplies each asset's normal numbers with: row `i` has `i + 1` values.
    pub(super) spread: Vec<Vec<f64>>,
    /// The variance of a step of the first asset.
    pub(super) variance: f64,
    /// The logarithm of barrier over spot.
    pub(super) barrier: f64,
}

/// How an option is priced along a walk.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) walk: usize,
    /// Today's price of each asset, times its weight.
    pub(super) spot: Vec<f64>,
    pub(super) discount: f64,
    /// What is added to each path's payoff: the known price of the control variate.
    pub(super) known: f64,
}

/// A number to estimate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimate {
    /// `price`, `delta`, ...
    pub(super) name: String,
    /// Scenes and their factors.
    pub(super) parts: Vec<(usize, f64)>,
}

impl Plan {
    /// What `contract` needs.
    pub(super) fn new(contract: Contract, greeks: bool) -> Plan {
        let mut plan = Plan {
            watch: watch(&contract),
            contract,
            walks: Vec::new(),
            scenes: Vec::new(),
            estimates: Vec::new(),
        };
        let base = plan.scene(&plan.contract.clone());
        plan.estimates.push(Estimate { name: "price".into(), parts: vec![(base, 1.0)] });
        if greeks {
            plan.spot_greeks(base);
            plan.market_greeks();
        }
        if plan.contract.antithetic {
            plan.mirror();
        }
        if plan.watch == (Watch::Sum { small: false }) && plan.walks.iter().all(is_small) {
            plan.watch = Watch::Sum { small: true };
        }
        plan
    }

    /// The scene of a (bumped) contract.
    fn scene(&mut self, bumped: &Contract) -> usize {
        let walk = walk(bumped);
        let walk = self.walks.iter().position(|known| *known == walk).unwrap_or_else(|| {
            self.walks.push(walk);
            self.walks.len() - 1
        });
        self.scenes.push(Scene {
            walk,
            spot: bumped.assets.iter().map(|asset| asset.spot * asset.weight).collect(),
            discount: exp(-bumped.rate * bumped.expiry),
            known: if bumped.control_variate { geometric_asian(bumped) } else { 0.0 },
        });
        self.scenes.len() - 1
    }

    /// The scenes of a contract bumped up and down.
    fn pair(&mut self, bump: &dyn Fn(&mut Contract, f64)) -> (usize, usize) {
        let [up, down] = [1.0, -1.0].map(|sign| {
            let mut bumped = self.contract.clone();
            bump(&mut bumped, sign);
            self.scene(&bumped)
        });
        (up, down)
    }

    fn slope(&mut self, name: String, (up, down): (usize, usize), step: f64) {
        self.estimates.push(Estimate { name, parts: vec![(up, 0.5 / step), (down, -0.5 / step)] });
    }

    /// Delta and gamma of every asset.
    fn spot_greeks(&mut self, base: usize) {
        let basket = self.contract.assets.len() > 1;
        let mut gammas = Vec::new();
        for i in 0..self.contract.assets.len() {
            let asset = self.contract.assets[i];
            let deviation = asset.volatility * self.contract.expiry.sqrt();
            let relative =
                if deviation * SPOT_BUMP < MOST_SPOT_BUMP { deviation * SPOT_BUMP } else { MOST_SPOT_BUMP };
            let step = asset.spot * relative;
            let (up, down) = self.pair(&|bumped, sign| bumped.assets[i].spot += sign * step);
            let suffix = if basket { format!("-{}", i + 1) } else { String::new() };
            self.slope(format!("delta{suffix}"), (up, down), step);
            let square = 1.0 / (step * step);
            let parts = vec![(up, square), (base, -2.0 * square), (down, square)];
            gammas.push(Estimate { name: format!("gamma{suffix}"), parts });
        }
        self.estimates.extend(gammas);
    }

    /// Vega, theta and rho.
    fn market_greeks(&mut self) {
        let volatilities = self.contract.assets.iter().map(|asset| asset.volatility);
        let least = volatilities.fold(f64::INFINITY, |least, v| if v < least { v } else { least });
        let step = BUMP * least;
        let vega =
            self.pair(&|bumped, sign| bumped.assets.iter_mut().for_each(|a| a.volatility += sign * step));
        self.slope("vega".into(), vega, step);
        let step = BUMP * self.contract.expiry;
        let later = self.pair(&|bumped, sign| bumped.expiry += sign * step);
        // Time passes, so that expiry comes nearer.
        self.slope("theta".into(), later, -step);
        let rho = self.pair(&|bumped, sign| bumped.rate += sign * RATE_BUMP);
        self.slope("rho".into(), rho, RATE_BUMP);
    }

    /// Adds to every walk and scene its mirror image, and lets every estimate take the mean of both.
    fn mirror(&mut self) {
        let (walks, scenes) = (self.walks.len(), self.scenes.len());
        for i in 0..walks {
            let mut walk = self.walks[i].clone();
            walk.spread.iter_mut().flatten().for_each(|spread| *spread = -*spread);
            self.walks.push(walk);
        }
        for i in 0..scenes {
            let scene = self.scenes[i].clone();
            self.scenes.push(Scene { walk: scene.walk + walks, ..scene });
        }
        for estimate in &mut self.estimates {
            let halves =
                |&(scene, factor): &(usize, f64)| [(scene, 0.5 * factor), (scene + scenes, 0.5 * factor)];
            estimate.parts = estimate.parts.iter().flat_map(halves).collect();
        }
    }
}

/// What the walks of a contract keep.
fn watch(contract: &Contract) -> Watch {
    let extreme = |monitoring: Monitoring, up: bool| match monitoring {
        Monitoring::Discrete => Watch::Extreme { up },
        Monitoring::Continuous => Watch::BridgeExtreme { up },
    };
    let call = contract.right == Right::Call;
    match contract.payoff {
        Payoff::European => Watch::Last,
        Payoff::Asian if contract.control_variate => Watch::SumAndLogs,
        Payoff::Asian => Watch::Sum { small: false },
        Payoff::GeometricAsian => Watch::Logs,
        Payoff::Barrier { kind, monitoring: Monitoring::Discrete, .. } => Watch::Extreme { up: kind.is_up() },
        Payoff::Barrier { kind, .. } => Watch::BridgeBarrier { up: kind.is_up() },
        Payoff::Lookback(monitoring) => extreme(monitoring, call),
        Payoff::FloatingLookback(monitoring) => extreme(monitoring, !call),
        Payoff::Basket => Watch::Basket,
    }
}

fn walk(contract: &Contract) -> Walk {
    let dt = contract.expiry / f64::from(contract.steps);
    let root = dt.sqrt();
    let first = contract.assets[0];
    let level = match contract.payoff {
        Payoff::Barrier { level, .. } => level,
        _ => first.spot,
    };
    let drift = |v: f64, dividend: f64| (contract.rate - dividend - 0.5 * v * v) * dt;
    let spread = |v: f64, row: &[f64]| row.iter().map(|x| x * v * root).collect();
    Walk {
        drift: contract.assets.iter().map(|a| drift(a.volatility, a.dividend)).collect(),
        spread: contract
            .assets
            .iter()
            .zip(&contract.factor)
            .map(|(a, row)| spread(a.volatility, row))
            .collect(),
        variance: first.volatility * first.volatility * dt,
        // Of equal prices the quotient is 1 and this is 0, so that walks of bumped spots stay equal.
        barrier: ln(level / first.spot),
    }
}

/// Whether no step leaves the range of [`super::growth::growth`].
fn is_small(walk: &Walk) -> bool {
    walk.drift[0].abs() + LARGEST_NORMAL * walk.spread[0][0].abs() <= SMALL
}
