//! An option that was checked: every value is there and makes sense, so that the mathematics need not ask again.

use super::options::{BarrierKind, Correlation, Kind, Monitoring, OptionSpec, Right};
use crate::problem::Problem;

/// The most monitoring dates.
pub const MAX_STEPS: u32 = 1 << 20;
/// The most assets of a basket.
pub const MAX_ASSETS: usize = 64;
/// How far the logarithm of a price may get away from today's, by drift and eight standard deviations: beyond it, an
/// average over paths says nothing, and the numbers overflow.
const MAX_LOG_RANGE: f64 = 600.0;

/// A checked option.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// What it pays on.
    pub payoff: Payoff,
    /// Call or put.
    pub right: Right,
    /// In money; 0 for a floating lookback.
    pub strike: f64,
    /// In years.
    pub expiry: f64,
    /// Interest a year.
    pub rate: f64,
    /// Monitoring dates; 1 where only the price at expiry matters.
    pub steps: u32,
    /// One, or those of a basket.
    pub assets: Vec<Asset>,
    /// Lower triangle whose product with its transpose is the correlation matrix: row `i` has `i + 1` values.
    pub factor: Vec<Vec<f64>>,
    /// Whether each path is averaged with its mirror image.
    pub antithetic: bool,
    /// Whether only the difference to the geometric Asian option is simulated.
    pub control_variate: bool,
}

/// What an option pays on, with what only this kind has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payoff {
    /// The price at expiry.
    European,
    /// The arithmetic mean.
    Asian,
    /// The geometric mean.
    GeometricAsian,
    /// The price at expiry, if the barrier at `level` was or was not touched.
    Barrier {
        /// In money.
        level: f64,
        /// Where it lies and what touching does.
        kind: BarrierKind,
        /// When it is looked at.
        monitoring: Monitoring,
    },
    /// An extreme against the strike.
    Lookback(Monitoring),
    /// The price at expiry against an extreme.
    FloatingLookback(Monitoring),
    /// The weighted sum.
    Basket,
}

/// One underlying price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asset {
    /// Price today, in money.
    pub spot: f64,
    /// A year.
    pub volatility: f64,
    /// Yield a year.
    pub dividend: f64,
    /// How many a basket counts; 1 for other options.
    pub weight: f64,
}

impl Contract {
    /// What a path costs, in units of one step of one plain path (2 to 3 ns of a core with AVX-512): it sizes blocks.
    pub fn path_cost(&self, greeks: bool) -> u64 {
        let (steps, assets) = (u64::from(self.steps), self.assets.len() as u64);
        // Normal numbers are drawn in fours.
        let draws = (steps * assets).next_multiple_of(4);
        // Greeks walk six or eight more paths over the same draws.
        let walks = if greeks { 8 } else { 1 } * if self.antithetic { 2 } else { 1 };
        let walking = steps * (assets + assets * assets / 4);
        (draws + walks * walking).div_ceil(2)
    }
}

/// Collects what is wrong with one option.
struct Check<'a> {
    place: &'a dyn Fn(&str) -> String,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn wrong(&mut self, key: &str, what: impl Into<String>, hint: &str) {
        let problem = Problem::new((self.place)(key), what);
        self.problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    /// The value, if it is there and `fits`.
    fn number(&mut self, key: &str, value: Option<f64>, (fits, expected): (bool, &str)) -> f64 {
        match value {
            None => self.wrong(key, "is missing", &format!("give {expected}")),
            Some(x) if !x.is_finite() || !fits => {
                self.wrong(key, format!("is {x}, but must be {expected}"), "")
            }
            Some(x) => return x,
        }
        f64::NAN
    }
}

impl OptionSpec {
    /// The contract of an option whose defaults are filled in. `place` says where the value of a key stands, for
    /// messages: `--strike`, or file, line and entry.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn contract(&self, place: &dyn Fn(&str) -> String) -> Result<Contract, Vec<Problem>> {
        let mut check = Check { place, problems: Vec::new() };
        let Some(kind) = self.terms.kind else {
            check.wrong("kind", "is missing", "european, asian, barrier, lookback, basket, ...");
            return Err(check.problems);
        };
        let (terms, market) = (&self.terms, &self.market);
        let strike = self.strike(kind, &mut check);
        let years = terms.expiry.is_some_and(|t| t > 0.0 && t <= 1000.0);
        let expiry = check.number("expiry", terms.expiry, (years, "more than 0 and at most 1000 years"));
        let rated = market.rate.is_some_and(|r| r.abs() <= 10.0);
        let rate =
            check.number("rate", market.rate, (rated, "a rate between -10 and 10, where 0.05 is 5 % a year"));
        let quantity = self.quantity.unwrap_or(1.0);
        check.number("quantity", Some(quantity), (true, "a finite number of options"));
        let payoff = self.payoff(kind, &mut check);
        let assets = self.assets(kind, &mut check);
        let factor = self.factor(kind, assets.len(), &mut check);
        self.no_meaning(kind, &mut check);
        if check.problems.is_empty() {
            in_range(&assets, (rate, expiry), &mut check);
        }
        if !check.problems.is_empty() {
            return Err(check.problems);
        }
        Ok(Contract {
            payoff,
            right: terms.right.unwrap_or(Right::Call),
            strike,
            expiry,
            rate,
            steps: terms.steps.unwrap_or(1),
            assets,
            factor,
            antithetic: self.antithetic,
            control_variate: self.control_variate,
        })
    }

    fn strike(&self, kind: Kind, check: &mut Check) -> f64 {
        match kind {
            Kind::FloatingLookback => 0.0,
            Kind::Basket => check.number("strike", self.terms.strike, (true, "a finite number, in money")),
            _ => {
                let fits = self.terms.strike.is_some_and(|k| k >= 0.0);
                check.number("strike", self.terms.strike, (fits, "a number that is not negative, in money"))
            }
        }
    }

    fn payoff(&self, kind: Kind, check: &mut Check) -> Payoff {
        let terms = &self.terms;
        let monitoring = terms.monitoring.unwrap_or(Monitoring::Discrete);
        if kind.watches_the_path() {
            match terms.steps {
                Some(1..=MAX_STEPS) => {}
                Some(n) => check.wrong("steps", format!("is {n}, but must be 1 to {MAX_STEPS} dates"), ""),
                None => check.wrong("steps", "is missing", "252 are the trading days of a year"),
            }
        }
        match kind {
            Kind::European => Payoff::European,
            Kind::Asian => Payoff::Asian,
            Kind::GeometricAsian => Payoff::GeometricAsian,
            Kind::Lookback => Payoff::Lookback(monitoring),
            Kind::FloatingLookback => Payoff::FloatingLookback(monitoring),
            Kind::Basket => Payoff::Basket,
            Kind::Barrier => {
                let above = terms.barrier.is_some_and(|b| b > 0.0);
                let level = check.number("barrier", terms.barrier, (above, "more than 0, in money"));
                let Some(kind) = terms.barrier_kind else {
                    let hint = "up-and-in, up-and-out, down-and-in or down-and-out";
                    check.wrong("barrier-kind", "is missing", hint);
                    return Payoff::European;
                };
                Payoff::Barrier { level, kind, monitoring }
            }
        }
    }

    fn assets(&self, kind: Kind, check: &mut Check) -> Vec<Asset> {
        let (terms, market) = (&self.terms, &self.market);
        let assets = market.spot.len();
        match kind {
            Kind::Basket if assets > MAX_ASSETS => {
                check.wrong(
                    "spot",
                    format!("has {assets} prices, but a basket has at most {MAX_ASSETS}"),
                    "",
                );
            }
            Kind::Basket => {}
            _ if assets > 1 => {
                let hint = "only --option basket depends on several prices";
                check.wrong("spot", format!("has {assets} prices, but this option depends on one"), hint);
            }
            _ => {}
        }
        if assets == 0 {
            check.wrong("spot", "is missing", "give the price today, in money");
        }
        let positive = |list: &[f64], most: f64| list.iter().copied().find(|x| !(*x > 0.0 && *x <= most));
        let small = |list: &[f64], most: f64| list.iter().copied().find(|x| x.is_nan() || x.abs() > most);
        for (key, list, bad, expected) in [
            ("spot", &market.spot, positive(&market.spot, 1e100), "more than 0, in money"),
            (
                "volatility",
                &market.volatility,
                positive(&market.volatility, 10.0),
                "more than 0 and at most 10",
            ),
            ("dividend", &market.dividend, small(&market.dividend, 10.0), "a yield between -10 and 10"),
            ("weights", &terms.weights, small(&terms.weights, 1e100), "finite numbers"),
        ] {
            if let Some(x) = bad {
                check.wrong(key, format!("is {x}, but must be {expected}"), "");
            }
            let wanted = if key == "weights" && kind != Kind::Basket { 0 } else { assets };
            if key != "spot" && list.len() != wanted && wanted > 0 {
                let hint =
                    if kind == Kind::Basket { "give one for each asset" } else { "this option has one" };
                check.wrong(key, format!("has {} values for {assets} assets", list.len()), hint);
            }
        }
        let at = |list: &[f64], i: usize, default: f64| list.get(i).copied().unwrap_or(default);
        let asset = |(i, &spot): (usize, &f64)| Asset {
            spot,
            volatility: at(&market.volatility, i, f64::NAN),
            dividend: at(&market.dividend, i, 0.0),
            weight: at(&terms.weights, i, 1.0),
        };
        market.spot.iter().enumerate().map(asset).collect()
    }

    fn factor(&self, kind: Kind, assets: usize, check: &mut Check) -> Vec<Vec<f64>> {
        if kind != Kind::Basket {
            return vec![vec![1.0]];
        }
        let correlation = self.market.correlation.clone().unwrap_or(Correlation::Common(0.0));
        if assets > MAX_ASSETS {
            return Vec::new();
        }
        match lower_triangle(&correlation.matrix(assets), assets) {
            Ok(factor) => return factor,
            Err(what) => {
                check.wrong("correlation", what, "ones on the diagonal, symmetric, positive definite")
            }
        }
        Vec::new()
    }

    /// What was given and would be ignored.
    fn no_meaning(&self, kind: Kind, check: &mut Check) {
        let terms = &self.terms;
        let basket = kind == Kind::Basket;
        let barred = kind == Kind::Barrier;
        for (key, ignored, who) in [
            ("strike", terms.strike.is_some() && kind == Kind::FloatingLookback, "has no strike"),
            (
                "steps",
                terms.steps.is_some() && !kind.watches_the_path(),
                "looks at the price at expiry alone",
            ),
            ("monitoring", terms.monitoring.is_some() && !kind.has_monitoring(), "is not monitored"),
            ("barrier", terms.barrier.is_some() && !barred, "has no barrier"),
            ("barrier-kind", terms.barrier_kind.is_some() && !barred, "has no barrier"),
            ("weights", !terms.weights.is_empty() && !basket, "is no basket"),
            ("correlation", self.market.correlation.is_some() && !basket, "is no basket"),
            ("control-variate", self.control_variate && kind != Kind::Asian, "is no arithmetic Asian option"),
        ] {
            if ignored {
                let hint = "leave it out, or choose another kind of option";
                check.wrong(
                    key,
                    format!("has no meaning: this option is of the kind {kind} and {who}"),
                    hint,
                );
            }
        }
    }
}

/// Prices must stay in the range of numbers.
fn in_range(assets: &[Asset], (rate, expiry): (f64, f64), check: &mut Check) {
    for asset in assets {
        let variance = asset.volatility * asset.volatility * expiry;
        let drift = (rate - asset.dividend) * expiry - 0.5 * variance;
        if drift.abs() + 8.0 * variance.sqrt() > MAX_LOG_RANGE {
            let what = "and expiry together let the price grow or shrink beyond what numbers can hold";
            check.wrong(
                "volatility",
                what,
                "rates and volatilities are fractions a year, expiry is in years",
            );
            return;
        }
    }
}

/// The lower triangle `L` with `L L^T = matrix` (Cholesky's decomposition, row by row).
fn lower_triangle(matrix: &[Vec<f64>], n: usize) -> Result<Vec<Vec<f64>>, String> {
    if matrix.len() != n || matrix.iter().any(|row| row.len() != n) {
        return Err(format!("is not a matrix of {n} rows with {n} numbers each"));
    }
    for (i, row) in matrix.iter().enumerate() {
        for (j, &x) in row[..=i].iter().enumerate() {
            if i == j && x != 1.0 {
                return Err(format!("has {x} on its diagonal, in row {}", i + 1));
            }
            if x.is_nan() || x.abs() > 1.0 {
                return Err(format!("is {x}, but must lie between -1 and 1"));
            }
            if x != matrix[j][i] {
                return Err(format!("is not symmetric: row {} and column {} differ", i + 1, j + 1));
            }
        }
    }
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(n);
    for wanted in matrix {
        let mut row: Vec<f64> = Vec::with_capacity(n);
        for (above, wanted) in lower.iter().zip(wanted) {
            let dot: f64 = row.iter().zip(above).map(|(a, b)| a * b).sum();
            row.push((wanted - dot) / above[above.len() - 1]);
        }
        let rest = 1.0 - row.iter().map(|x| x * x).sum::<f64>();
        // Below this, rounding decides about the sign.
        if rest <= 1e-12 {
            return Err("is not positive definite: no prices can move together like this".into());
        }
        row.push(rest.sqrt());
        lower.push(row);
    }
    Ok(lower)
}
