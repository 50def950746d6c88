//! The market that an option is priced in: today's, and those of the bumps that its Greeks need.
//!
//! Greeks are central differences over common random numbers: every market of an option is priced on the same draws,
//! and an estimate is a fixed combination of the payoffs of one path, so that its standard error is known.

use crate::math::{exp_bounded, ln};
use muster_spec::monte_carlo::option::cholesky;
use muster_spec::monte_carlo::{Knock, OptionSpec};

/// Relative bump of prices, volatilities and time; the rate is bumped by as much absolutely.
const BUMP: f64 = 0.01;

/// One set of market parameters, as a path needs them.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    /// Today's price of each asset.
    pub(crate) spot: Vec<f64>,
    /// What each step adds to the logarithm of each price.
    pub(crate) drift: Vec<f64>,
    /// What each step multiplies the (correlated) normals with: row by asset.
    pub(crate) spread: Vec<Vec<f64>>,
    /// Variance of one step of the first asset.
    pub(crate) variance: f64,
    /// The factor that makes the payoff's value of today.
    pub(crate) discount: f64,
    /// The logarithm of barrier over spot; positive for a barrier above.
    pub(crate) barrier: f64,
}

/// A number to estimate: a combination of the payoffs under the option's markets.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    /// `price`, `delta`, ...
    pub(crate) name: String,
    /// Pairs of market and factor.
    pub(crate) parts: Vec<(usize, f64)>,
}

/// What is changed for a bump.
#[derive(Clone, Copy)]
enum Bump {
    Spot(usize, f64),
    Volatility(f64),
    Rate(f64),
    Expiry(f64),
}

/// The markets of an option, today's first, and what is estimated from them.
pub(crate) fn markets(option: &OptionSpec, greeks: bool) -> (Vec<Market>, Vec<Estimate>) {
    let mut markets = vec![market(option, None)];
    let mut estimates = vec![Estimate { name: "price".into(), parts: vec![(0, 1.0)] }];
    if !greeks {
        return (markets, estimates);
    }
    let mut pair = |make: &dyn Fn(f64) -> Bump| {
        markets.push(market(option, Some(make(1.0))));
        markets.push(market(option, Some(make(-1.0))));
        (markets.len() - 2, markets.len() - 1)
    };
    let slope = |(up, down): (usize, usize), step: f64| vec![(up, 0.5 / step), (down, -0.5 / step)];
    for asset in 0..option.assets() {
        let step = option.spot[asset] * BUMP;
        let (up, down) = pair(&|sign| Bump::Spot(asset, sign * BUMP));
        let suffix = if option.assets() > 1 { format!("_{}", asset + 1) } else { String::new() };
        estimates.push(Estimate { name: format!("delta{suffix}"), parts: slope((up, down), step) });
        let square = 1.0 / (step * step);
        let parts = vec![(up, square), (0, -2.0 * square), (down, square)];
        estimates.push(Estimate { name: format!("gamma{suffix}"), parts });
    }
    // Absolute for volatility and rate, since a basket has several volatilities and a rate may be zero.
    let vega = slope(pair(&|sign| Bump::Volatility(sign * BUMP)), BUMP);
    let rho = slope(pair(&|sign| Bump::Rate(sign * BUMP)), BUMP);
    let later = slope(pair(&|sign| Bump::Expiry(sign * BUMP)), option.expiry * BUMP);
    // Theta is the loss as time passes.
    let theta = later.into_iter().map(|(m, f)| (m, -f)).collect();
    for (name, parts) in [("vega", vega), ("theta", theta), ("rho", rho)] {
        estimates.push(Estimate { name: name.into(), parts });
    }
    (markets, estimates)
}

fn market(option: &OptionSpec, bump: Option<Bump>) -> Market {
    let n = option.assets();
    let each = |list: &[f64], i: usize| if list.len() == 1 { list[0] } else { list[i] };
    let (mut spot, mut rate, mut expiry) = (option.spot.clone(), option.rate, option.expiry);
    let mut volatility: Vec<f64> = (0..n).map(|i| each(&option.volatility, i)).collect();
    match bump {
        Some(Bump::Spot(asset, by)) => spot[asset] *= 1.0 + by,
        Some(Bump::Volatility(by)) => {
            volatility.iter_mut().for_each(|v| *v = if *v + by > 1e-6 { *v + by } else { 1e-6 })
        }
        Some(Bump::Rate(by)) => rate += by,
        Some(Bump::Expiry(by)) => expiry *= 1.0 + by,
        None => {}
    }
    let dt = expiry / f64::from(option.path_steps());
    let root = dt.sqrt();
    let l = cholesky(&option.correlation_matrix()).expect("the spec was checked");
    let scaled = |row: &[f64], v: f64| row.iter().map(|x| x * v * root).collect();
    Market {
        drift: (0..n)
            .map(|i| (rate - each(&option.dividend, i) - 0.5 * volatility[i] * volatility[i]) * dt)
            .collect(),
        spread: (0..n).map(|i| scaled(&l[i][..=i], volatility[i])).collect(),
        variance: volatility[0] * volatility[0] * dt,
        discount: exp_bounded(-rate * expiry),
        barrier: option.barrier.map_or(0.0, |b| ln(b / spot[0])),
        spot,
    }
}

/// Whether the barrier lies above, and whether touching it brings the option to life.
pub(crate) fn above_and_in(knock: Knock) -> (bool, bool) {
    match knock {
        Knock::UpAndIn => (true, true),
        Knock::UpAndOut => (true, false),
        Knock::DownAndIn => (false, true),
        Knock::DownAndOut => (false, false),
    }
}
