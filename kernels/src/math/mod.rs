//! Portable mathematics in f64: the same bits on every host that has fused multiply-add, whatever its vectors.
//!
//! The functions are branch-free and `#[inline(always)]`, so that a plain loop over an array becomes vector code under
//! [`crate::Simd::run`]. `exp`, `ln`, `sin` and `cos` are within 1 ulp of the true value for every argument (checked
//! against a big-float oracle in `tests/oracle.rs`). Polynomial coefficients are Chebyshev fits of our own, computed
//! with 200 bits; each comment gives the fit's domain and error.

pub mod double;
pub mod exact;
mod exp;
mod ln;
pub mod normal;
pub mod philox;
mod trig;

pub use exp::{exp, exp_bounded};
pub use ln::{ln, ln_unit};
pub use trig::{cos, sin, sin_cos_turns};

/// `x` to the power `y` for positive, normal `x`, within a few ulp times `|y ln x|`: for set-up work, not hot loops.
pub fn pow(x: f64, y: f64) -> f64 {
    exp(y * ln(x))
}

/// 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits.
pub(crate) const ROUND: f64 = 6_755_399_441_055_744.0;
