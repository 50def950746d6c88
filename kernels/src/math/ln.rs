//! The natural logarithm: `ln(2^k m) = k ln 2 + ln m` with `m` between `sqrt(1/2)` and `sqrt(2)`, and
//! `ln((1 + s) / (1 - s)) = 2 s + s R(s^2)`.

/// The first 32 bits of ln 2, so that `k * LN2_HI` is exact.
const LN2_HI: f64 = 0.6931471803691238;
/// The rest.
const LN2_LO: f64 = 1.9082149292705877e-10;

/// `R(z) / z` for `0 <= z <= 0.02945`, absolute error 3.2e-16 (which `z s` makes 1.6e-18).
const R: [f64; 7] = [
    0.666666666666667,
    0.3999999999989889,
    0.28571428626253836,
    0.22222211089379496,
    0.1818289243253687,
    0.15331611722055008,
    0.14617807153417325,
];

/// The bits of `sqrt(1/2)`.
const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
/// 2^52 + 2^51 as bits: adding a small integer to the bits adds it to the number.
const ROUND_BITS: u64 = 0x4338_0000_0000_0000;

/// The logarithm of a positive, normal number, plus `more` times ln 2.
#[inline(always)]
fn of_normal(x: f64, more: f64) -> f64 {
    let bits = x.to_bits();
    // Biased so that the shift needs no sign: k + 1023, small and positive.
    let biased = bits.wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52) >> 52;
    let k = f64::from_bits(ROUND_BITS.wrapping_add(biased)) - (super::ROUND + 1023.0) + more;
    let f = f64::from_bits(bits.wrapping_sub(biased.wrapping_sub(1023) << 52)) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let z2 = z * z;
    let even = R[6].mul_add(z2, R[4]).mul_add(z2, R[2]).mul_add(z2, R[0]);
    let odd = R[5].mul_add(z2, R[3]).mul_add(z2, R[1]);
    let r = z * odd.mul_add(z, even);
    let half_square = 0.5 * f * f;
    k * LN2_HI - ((half_square - s.mul_add(half_square + r, k * LN2_LO)) - f)
}

/// The natural logarithm of `x`, within 1 ulp; minus infinity for zeros, NaN below zero.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let small = x < f64::MIN_POSITIVE;
    let scaled = if small { x * 18_014_398_509_481_984.0 } else { x };
    let value = of_normal(scaled, if small { -54.0 } else { 0.0 });
    let value = if x < f64::INFINITY { value } else { f64::INFINITY };
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    // Also true for NaN.
    if x >= 0.0 { value } else { f64::NAN }
}

/// The natural logarithm of a number between 2^-1022 and 1, within 1 ulp: [`ln`] without its special cases.
#[inline(always)]
pub fn ln_unit(x: f64) -> f64 {
    of_normal(x, 0.0)
}
