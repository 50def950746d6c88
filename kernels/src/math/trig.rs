//! Sine and cosine, by reduction to `|r| <= pi/4` with a remainder in two parts.

use super::ROUND;

/// pi/2 in three parts; the first two have 33 bits each, so that their products with `n < 2^20` are exact.
const HALF_PI: [f64; 3] = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21];

/// Up to here the three parts suffice.
const NEAR: f64 = 1_000_000.0;

/// `(sin(r) / r - 1) / r^2` over `z = r^2 <= 0.6175`, absolute error 2.1e-17.
const SIN: [f64; 6] = [
    -0.16666666666666666,
    0.008333333333330936,
    -0.00019841269836740532,
    2.7557316093198404e-06,
    -2.5051129896450185e-08,
    1.5917988979397435e-10,
];

/// `(cos(r) - 1 + z/2) / z^2` over `z = r^2 <= 0.6175`, absolute error 1.3e-18.
const COS: [f64; 6] = [
    0.041666666666666664,
    -0.0013888888888887389,
    2.48015872987544e-05,
    -2.755731726587808e-07,
    2.087614504941318e-09,
    -1.138254464534925e-11,
];

/// `sin(pi/2 t) / t` over `z = t^2 <= 1/4`, absolute error 5e-18.
const SIN_QUARTER: [f64; 7] = [
    std::f64::consts::FRAC_PI_2,
    -0.6459640975062443,
    0.07969262624604301,
    -0.004681754132340976,
    0.0001604411507421909,
    -3.59864335298231e-06,
    5.633933781537854e-08,
];

/// `(cos(pi/2 t) - 1) / z` over `z = t^2 <= 1/4`, absolute error 5e-19.
const COS_QUARTER: [f64; 7] = [
    -1.2337005501361697,
    0.2536695079010478,
    -0.020863480763340773,
    0.0009192602745468447,
    -2.5202039028029178e-05,
    4.710678405505227e-07,
    -6.329396344967424e-09,
];

/// The first 1,280 binary digits of 2/pi, after 64 zeros.
const TWO_OVER_PI: [u64; 21] = [
    0,
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
];

/// An angle as `quadrant * pi/2 + head + tail`, `|head| <= pi/4`.
struct Reduced {
    quadrant: u64,
    head: f64,
    tail: f64,
}

/// Reduction for `|x| <= NEAR` (Cody and Waite 1980).
#[inline(always)]
fn near(x: f64) -> Reduced {
    let magic = x.mul_add(std::f64::consts::FRAC_2_PI, ROUND);
    let n = magic - ROUND;
    let a = n.mul_add(-HALF_PI[0], x);
    let p = n * HALF_PI[1];
    let r = a - p;
    // The error of that subtraction (Knuth 1969): nothing is assumed of which is larger.
    let q = a - r;
    let lost = (a - (r + q)) + (q - p);
    let rest = n.mul_add(-HALF_PI[2], lost);
    let head = r + rest;
    Reduced { quadrant: magic.to_bits(), head, tail: (r - head) + rest }
}

/// Reduction for any finite `x` (Payne and Hanek 1983): `|x| = m 2^e` times the digits of 2/pi that matter.
#[cold]
#[inline(never)]
fn far(x: f64) -> Reduced {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1075;
    let mantissa = u128::from((bits & 0x000f_ffff_ffff_ffff) | 0x0010_0000_0000_0000);
    // Digits of 2/pi above 2^-(exponent - 2) give whole turns: they are skipped.
    let skip = (exponent + 64 - 2) as usize;
    let digits = |from: usize| -> u64 {
        let (word, shift) = (from / 64, from % 64);
        let (hi, lo) = (TWO_OVER_PI[word], TWO_OVER_PI.get(word + 1).copied().unwrap_or(0));
        if shift == 0 { hi } else { hi << shift | lo >> (64 - shift) }
    };
    // mantissa * 192 digits, kept modulo 2^192: two digits before the point, 190 behind it.
    let low = mantissa * u128::from(digits(skip + 128));
    let mid = mantissa * u128::from(digits(skip + 64)) + (low >> 64);
    let top = (mantissa as u64).wrapping_mul(digits(skip)).wrapping_add((mid >> 64) as u64);
    let (mid, low) = (mid as u64, low as u64);
    let fraction = u128::from(top << 2 | mid >> 62) << 64 | u128::from(mid << 2 | low >> 62);
    rest(top >> 62, fraction, x < 0.0)
}

/// `quadrant + fraction 2^-128` quadrants, rounded to the nearest quadrant; the rest times pi/2 in double-double
/// arithmetic.
fn rest(quadrant: u64, fraction: u128, negative: bool) -> Reduced {
    let up = fraction >> 127 == 1;
    let quadrant = quadrant + u64::from(up);
    let magnitude = if up { fraction.wrapping_neg() } else { fraction };
    let unit = f64::from_bits((1023 - 128) << 52);
    let below = 75u32.saturating_sub(magnitude.leading_zeros());
    let head_bits = magnitude >> below << below;
    let (a, b) = (head_bits as f64 * unit, (magnitude - head_bits) as f64 * unit);
    let sign = if up != negative { -1.0 } else { 1.0 };
    let (c, d) = (std::f64::consts::FRAC_PI_2, 6.123233995736766e-17);
    let p = a * c;
    let e = a.mul_add(c, -p) + a.mul_add(d, b * c);
    let head = p + e;
    let tail = (p - head) + e;
    Reduced {
        quadrant: if negative { quadrant.wrapping_neg() } else { quadrant },
        head: sign * head,
        tail: sign * tail,
    }
}

#[inline(always)]
fn sin_kernel(x: f64, tail: f64) -> f64 {
    let z = x * x;
    let p =
        SIN[5].mul_add(z, SIN[4]).mul_add(z, SIN[3]).mul_add(z, SIN[2]).mul_add(z, SIN[1]).mul_add(z, SIN[0]);
    let cube = z * x;
    // The tail acts with the slope cos(x), of which 1 - z/2 is enough.
    x + cube.mul_add(p, tail * z.mul_add(-0.5, 1.0))
}

#[inline(always)]
fn cos_kernel(x: f64, tail: f64) -> f64 {
    let z = x * x;
    let p =
        COS[5].mul_add(z, COS[4]).mul_add(z, COS[3]).mul_add(z, COS[2]).mul_add(z, COS[1]).mul_add(z, COS[0]);
    let half = 0.5 * z;
    let one = 1.0 - half;
    one + (((1.0 - one) - half) + (z * z).mul_add(p, -(x * tail)))
}

#[inline(always)]
fn value(reduced: &Reduced, turn: u64) -> f64 {
    let quadrant = reduced.quadrant.wrapping_add(turn);
    let (s, c) = (sin_kernel(reduced.head, reduced.tail), cos_kernel(reduced.head, reduced.tail));
    let v = if quadrant & 1 == 0 { s } else { c };
    f64::from_bits(v.to_bits() ^ (quadrant & 2) << 62)
}

#[inline(always)]
fn reduce(x: f64) -> Reduced {
    if x.abs() <= NEAR { near(x) } else { far(x) }
}

/// The sine of `x` radians, within 1 ulp for every finite `x`; NaN for the infinities.
#[inline(always)]
pub fn sin(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    // Keeps the sign of zero.
    if x == 0.0 { x } else { value(&reduce(x), 0) }
}

/// The cosine of `x` radians, within 1 ulp for every finite `x`; NaN for the infinities.
#[inline(always)]
pub fn cos(x: f64) -> f64 {
    if x.is_finite() { value(&reduce(x), 1) } else { f64::NAN }
}

/// Sine and cosine of `u` turns, `0 <= u < 1`, within 2 ulp: nothing has to be reduced but the quadrant.
#[inline(always)]
pub fn sin_cos_turns(u: f64) -> (f64, f64) {
    let magic = u.mul_add(4.0, ROUND);
    let t = u.mul_add(4.0, -(magic - ROUND));
    let z = t * t;
    let z2 = z * z;
    let (s, c) = (SIN_QUARTER, COS_QUARTER);
    let sin_even = s[6].mul_add(z2, s[4]).mul_add(z2, s[2]).mul_add(z2, s[0]);
    let sin_odd = s[5].mul_add(z2, s[3]).mul_add(z2, s[1]);
    let cos_even = c[6].mul_add(z2, c[4]).mul_add(z2, c[2]).mul_add(z2, c[0]);
    let cos_odd = c[5].mul_add(z2, c[3]).mul_add(z2, c[1]);
    let sin_t = t * sin_odd.mul_add(z, sin_even);
    let cos_t = z.mul_add(cos_odd.mul_add(z, cos_even), 1.0);
    let quadrant = magic.to_bits();
    let odd = quadrant & 1 == 1;
    let (a, b) = if odd { (cos_t, sin_t) } else { (sin_t, cos_t) };
    let sine = f64::from_bits(a.to_bits() ^ (quadrant & 2) << 62);
    let cosine = f64::from_bits(b.to_bits() ^ (quadrant.wrapping_add(1) & 2) << 62);
    (sine, cosine)
}
