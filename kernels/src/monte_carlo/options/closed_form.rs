//! Prices that are known: the control variate of the arithmetic Asian option.

use crate::math::normal::cdf;
use crate::math::{exp, ln};
use muster_spec::monte_carlo::{Contract, Right};

/// The price of the geometric Asian option with the market, dates and strike of `contract` (Kemna and Vorst 1990, for
/// discrete dates: Turnbull and Wakeman 1991). The logarithm of the mean is normal with mean
/// `ln S + (r - q - v^2/2) T (n + 1) / 2n` and variance `v^2 T (n + 1)(2n + 1) / 6n^2`.
pub(super) fn geometric_asian(contract: &Contract) -> f64 {
    let asset = contract.assets[0];
    let (v, t, n) = (asset.volatility, contract.expiry, f64::from(contract.steps));
    let drift = contract.rate - asset.dividend - 0.5 * v * v;
    let mean = ln(asset.spot) + drift * t * (n + 1.0) / (2.0 * n);
    let variance = v * v * t * (n + 1.0) * (2.0 * n + 1.0) / (6.0 * n * n);
    let deviation = variance.sqrt();
    let discount = exp(-contract.rate * t);
    let forward = exp(mean + 0.5 * variance);
    let strike = contract.strike;
    // A strike of 0 makes these infinite, which the distribution function takes.
    let d2 = (mean - ln(strike)) / deviation;
    let d1 = d2 + deviation;
    match contract.right {
        Right::Call => discount * (forward * cdf(d1) - strike * cdf(d2)),
        Right::Put => discount * (strike * cdf(-d2) - forward * cdf(-d1)),
    }
}
