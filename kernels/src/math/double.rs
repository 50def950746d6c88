//! Numbers of twice the digits of f64: an unevaluated sum of two (Dekker 1971; Ogita, Rump and Oishi 2005).
//!
//! About 32 decimal digits, in the range of f64. The same bits on every host: additions, multiplications and fused
//! multiply-adds, where they are written.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `high + low`, where `low` is at most half a unit in the last place of `high`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Double {
    high: f64,
    low: f64,
}

/// The rounded sum, and what rounding lost (Knuth 1969).
#[inline(always)]
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let from_b = sum - a;
    (sum, (a - (sum - from_b)) + (b - from_b))
}

/// The rounded product, and what rounding lost, where nothing underflows.
#[inline(always)]
pub fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

impl Double {
    /// Zero.
    pub const ZERO: Double = Double { high: 0.0, low: 0.0 };

    /// The sum of two numbers.
    #[inline(always)]
    pub fn sum(a: f64, b: f64) -> Double {
        let (high, low) = two_sum(a, b);
        Double { high, low }
    }

    /// The number of f64 nearest to it.
    pub fn value(self) -> f64 {
        self.high
    }

    /// The root of a number that is not negative; one step of Newton's from that of f64.
    #[must_use]
    pub fn sqrt(self) -> Double {
        if self.high <= 0.0 {
            return Double::ZERO;
        }
        let root = Double::from(self.high.sqrt());
        root + (self - root * root) / (root + root)
    }
}

impl From<f64> for Double {
    fn from(high: f64) -> Double {
        Double { high, low: 0.0 }
    }
}

impl Add for Double {
    type Output = Double;

    fn add(self, other: Double) -> Double {
        let (high, lost) = two_sum(self.high, other.high);
        let (low, least) = two_sum(self.low, other.low);
        let (high, lost) = two_sum(high, lost + low);
        Double::sum(high, lost + least)
    }
}

impl Neg for Double {
    type Output = Double;

    fn neg(self) -> Double {
        Double { high: -self.high, low: -self.low }
    }
}

impl Sub for Double {
    type Output = Double;

    fn sub(self, other: Double) -> Double {
        self + -other
    }
}

impl Mul for Double {
    type Output = Double;

    fn mul(self, other: Double) -> Double {
        let (high, lost) = two_product(self.high, other.high);
        Double::sum(high, lost + (self.high * other.low + self.low * other.high))
    }
}

impl Div for Double {
    type Output = Double;

    fn div(self, other: Double) -> Double {
        let first = self.high / other.high;
        let rest = self - other * Double::from(first);
        let second = rest.high / other.high;
        let rest = rest - other * Double::from(second);
        Double::sum(first, second) + Double::from(rest.high / other.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    /// The number as units of 2^-200.
    fn units(x: Double) -> BigInt {
        let part = |x: f64| {
            let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1075;
            let mantissa = (x.to_bits() & ((1 << 52) - 1)) | 1 << 52;
            let size = if x == 0.0 { BigInt::ZERO } else { BigInt::from(mantissa) << (exponent + 200) };
            if x < 0.0 { -size } else { size }
        };
        part(x.high) + part(x.low)
    }

    /// Whether they agree in all but the last bits of 106.
    fn near(ours: &BigInt, truth: &BigInt, scale: &BigInt) -> bool {
        let apart = if ours > truth { ours - truth } else { truth - ours };
        let scale = if *scale < BigInt::ZERO { -scale } else { scale.clone() };
        (apart << 100) <= scale + 2
    }

    fn any_double() -> impl Strategy<Value = Double> {
        (-1e3f64..1e3, -1.0f64..1.0)
            .prop_filter("of a size", |(x, _)| x.abs() > 1e-3)
            .prop_map(|(x, y)| Double::sum(x, x * y * 2f64.recip() * f64::EPSILON))
    }

    proptest! {
        #[test]
        fn arithmetic_has_a_hundred_bits(a in any_double(), b in any_double()) {
            let (ua, ub) = (units(a), units(b));
            let one = BigInt::from(1) << 200;
            let (sum, apart, product, ratio) = (&ua + &ub, &ua - &ub, &ua * &ub / &one, &ua * &one / &ub);
            let larger = if a.high * b.high < 0.0 { apart } else { sum.clone() };
            prop_assert!(near(&units(a + b), &sum, &larger));
            prop_assert!(near(&units(a * b), &product, &product));
            prop_assert!(near(&units(a / b), &ratio, &ratio));
            let square = a * a;
            let root = if a.high < 0.0 { -ua } else { ua };
            prop_assert!(near(&units(square.sqrt()), &root, &root));
        }
    }

    #[test]
    fn what_cancels_leaves_what_f64_would_lose() {
        let third = Double::from(1.0) / Double::from(3.0);
        assert!((third * Double::from(3.0) - Double::from(1.0)).value().abs() < 1e-31);
        assert_eq!((Double::sum(1e16, 1.0) - Double::from(1e16)).value(), 1.0);
        assert_eq!(Double::from(-1.0).sqrt(), Double::ZERO);
    }
}
