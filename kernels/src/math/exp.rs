//! The exponential: `exp(x) = 2^k exp(r)` with `|r| <= ln 2 / 2`.

use super::ROUND;

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// The first 32 bits of ln 2, so that `k * LN2_HI` is exact.
const LN2_HI: f64 = 0.6931471803691238;
/// The rest.
const LN2_LO: f64 = 1.9082149292705877e-10;

/// `(exp(r) - 1 - r) / r^2` for `|r| <= 0.3469`, absolute error 1.4e-18.
const Q: [f64; 11] = [
    0.5,
    0.1666666666666667,
    0.04166666666666667,
    0.008333333333326084,
    0.0013888888888883711,
    0.0001984126987500228,
    2.480158732567746e-05,
    2.755725517000089e-06,
    2.755727347871858e-07,
    2.5105312729622103e-08,
    2.09147553258932e-09,
];

/// Splits `x` into `k` and the exponential of the rest, `k` as `ROUND + k`.
#[inline(always)]
fn reduced(x: f64) -> (f64, f64) {
    let magic = x.mul_add(LOG2_E, ROUND);
    let k = magic - ROUND;
    let hi = k.mul_add(-LN2_HI, x);
    let lo = k * LN2_LO;
    let r = hi - lo;
    // What the subtraction lost.
    let c = (hi - r) - lo;
    let r2 = r * r;
    let r4 = r2 * r2;
    let q01 = Q[1].mul_add(r, Q[0]);
    let q23 = Q[3].mul_add(r, Q[2]);
    let q45 = Q[5].mul_add(r, Q[4]);
    let q67 = Q[7].mul_add(r, Q[6]);
    let q89 = Q[9].mul_add(r, Q[8]);
    let low = q23.mul_add(r2, q01);
    let mid = q67.mul_add(r2, q45);
    let top = Q[10].mul_add(r2, q89);
    let q = top.mul_add(r4, mid).mul_add(r4, low);
    (magic, 1.0 + (r + r2.mul_add(q, c)))
}

/// `e` to the power `x`, within 1 ulp, subnormal results included; infinity from 709.79 on, 0 below -745.14.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let low = if x < -746.0 { -746.0 } else { x };
    let bounded = if low > 710.0 { 710.0 } else { low };
    let (magic, e) = reduced(bounded);
    // 2^k in two factors: k may lie outside the exponents of normal numbers.
    let half = (magic - ROUND).mul_add(0.5, ROUND);
    let rest = (magic - ROUND) - (half - ROUND) + ROUND;
    let value = e * power_of_two(half) * power_of_two(rest);
    if x.is_nan() { f64::NAN } else { value }
}

/// `e` to the power `x` for `|x| <= 700`, within 1 ulp; outside that range the result means nothing.
#[inline(always)]
pub fn exp_bounded(x: f64) -> f64 {
    let (magic, e) = reduced(x);
    e * power_of_two(magic)
}

/// `2^k` for `magic = ROUND + k` and a normal result.
#[inline(always)]
fn power_of_two(magic: f64) -> f64 {
    f64::from_bits((magic.to_bits().wrapping_add(1023)) << 52)
}
