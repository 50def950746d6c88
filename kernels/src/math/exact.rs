//! Sums of floating-point numbers without any rounding, and so free of order (Kulisch 1971).
//!
//! A sum is kept as a whole number of units of 2^-68, in 128 bits: enough for numbers from 2^-16 to 2^42 in all their
//! digits, many times over. What does not fit goes into a register that is wide enough for any sum of finite numbers.

use serde::{Deserialize, Serialize};

/// Binary digits behind the point in the narrow form.
const FRACTION: i32 = 68;
/// The weight of the lowest digit of any number: 2^-1074.
const LOWEST: i32 = -1074;
const LIMBS: usize = 70;

/// A number as a whole number of units of 2^-68, if it is one below 2^42.
#[inline(always)]
pub fn narrow(x: f64) -> Option<i128> {
    let units = units(x.to_bits());
    (units.moved <= FARTHEST).then(|| i128::from(units.high) << 64 | i128::from(units.low))
}

/// A number of units in two words.
pub struct Units {
    /// The low word.
    pub low: u64,
    /// The high word, with the sign.
    pub high: i64,
    /// By how many binary digits the number's were moved, 0 for zero: one that [`narrow`] does not take has more than
    /// [`FARTHEST`], and its words are zero.
    pub moved: u64,
}

/// The most binary digits that a number's are moved by.
pub const FARTHEST: u64 = 57;

/// [`narrow`] of the number of these bits, without a branch and in words of 64 bits, so that a loop of it is vectors.
#[inline(always)]
pub fn units(bits: u64) -> Units {
    let exponent = (bits >> 52) & 0x7ff;
    let shift = exponent.wrapping_sub((1075 - FRACTION) as u64);
    let there = 0u64.wrapping_sub(u64::from(bits << 1 != 0));
    let narrow = 0u64.wrapping_sub(u64::from(shift <= FARTHEST));
    let mantissa = ((bits & ((1 << 52) - 1)) | 1 << 52) & there & narrow;
    let by = shift & 63;
    let (low, high) = (mantissa << by, (mantissa >> 1) >> (63 - by));
    // All ones for a negative number: its complement, plus one.
    let sign = ((bits as i64) >> 63) as u64;
    let (low, high) = (low ^ sign, high ^ sign);
    let carry = u64::from(low == u64::MAX) & sign;
    Units { low: low.wrapping_sub(sign), high: high.wrapping_add(carry) as i64, moved: shift & there }
}

/// The number nearest to a whole number of units of 2^-68.
pub fn widen(sum: i128) -> f64 {
    const UNIT: f64 = 1.0 / (1u128 << FRACTION) as f64;
    // The conversion rounds to nearest, and the unit is a power of two.
    sum as f64 * UNIT
}

/// A sum of any finite numbers: digits of 32 bits, the lowest first, in words with room for carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    limbs: Vec<i64>,
    /// How many numbers were added since the carries were resolved.
    added: u32,
}

impl Default for Register {
    fn default() -> Self {
        Register { limbs: vec![0; LIMBS], added: 0 }
    }
}

impl Register {
    /// Adds a finite number.
    pub fn add(&mut self, x: f64) {
        let bits = x.to_bits();
        let exponent = (bits >> 52) as i32 & 0x7ff;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        let at = (exponent.max(1) - 1) as u32;
        self.put(u128::from(mantissa), at, x.is_sign_negative());
    }

    /// Adds a whole number of units of 2^-68.
    pub fn add_narrow(&mut self, sum: i128) {
        let size = sum.unsigned_abs();
        let at = (-FRACTION - LOWEST) as u32;
        // In halves, so that each fits after its shift.
        self.put(size & u128::from(u64::MAX), at, sum < 0);
        self.put(size >> 64, at + 64, sum < 0);
    }

    /// Adds all that was added to `other`.
    pub fn merge(&mut self, other: &Register) {
        self.resolve();
        let mut other = other.clone();
        other.resolve();
        for (mine, theirs) in self.limbs.iter_mut().zip(&other.limbs) {
            *mine += theirs;
        }
        self.resolve();
    }

    /// The same sum in its one form.
    #[must_use]
    pub fn canonical(&self) -> Register {
        let mut copy = self.clone();
        copy.resolve();
        copy
    }

    /// Its digits, once resolved.
    pub fn digits(&self) -> impl Iterator<Item = i64> {
        self.canonical().limbs.into_iter()
    }

    /// Adds `size * 2^(at - 1074)`, for a size below 2^64.
    fn put(&mut self, size: u128, at: u32, negative: bool) {
        let mut rest = size << (at % 32);
        let mut limb = (at / 32) as usize;
        while rest != 0 {
            let digit = (rest & 0xffff_ffff) as i64;
            self.limbs[limb] += if negative { -digit } else { digit };
            rest >>= 32;
            limb += 1;
        }
        self.added += 1;
        if self.added == 1 << 29 {
            self.resolve();
        }
    }

    /// Brings every digit but the highest into `0..2^32`: one form for each value.
    fn resolve(&mut self) {
        let mut carry = 0;
        for limb in &mut self.limbs[..LIMBS - 1] {
            let digit = *limb + carry;
            *limb = digit & 0xffff_ffff;
            carry = digit >> 32;
        }
        self.limbs[LIMBS - 1] += carry;
        self.added = 0;
    }

    /// The number nearest to the sum; a tie goes to the even one.
    pub fn value(&self) -> f64 {
        let mut copy = self.clone();
        copy.resolve();
        let negative = copy.limbs[LIMBS - 1] < 0;
        if negative {
            copy.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            copy.resolve();
        }
        let Some(top) = copy.limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
        // The highest 64 bits, and whether anything lies below them.
        let digit = |i: usize| copy.limbs[i] as u128;
        let mut head = digit(top) << 64;
        head |= if top >= 1 { digit(top - 1) << 32 } else { 0 };
        head |= if top >= 2 { digit(top - 2) } else { 0 };
        let shift = 128 - head.leading_zeros() as i32 - 64;
        let below = top >= 3 && copy.limbs[..top - 2].iter().any(|&limb| limb != 0);
        let lost = head & ((1u128 << shift) - 1) != 0 || below;
        // A sticky last bit keeps ties apart from what is above them.
        let kept = (head >> shift) as u64 | u64::from(lost);
        let size = scaled(kept, 32 * (top as i32 - 2) + shift + LOWEST);
        if negative { -size } else { size }
    }
}

/// `kept * 2^power`, rounded once.
fn scaled(kept: u64, power: i32) -> f64 {
    // A subnormal result has fewer digits: what it loses is folded into the sticky bit before the conversion rounds.
    let spare = (LOWEST - power).clamp(0, 64) as u32;
    let fits = 64 - kept.leading_zeros() as i32 + power <= -1021;
    if !fits {
        return two_steps(kept as f64, power);
    }
    if spare == 64 {
        return 0.0;
    }
    let (whole, rest) = match spare {
        0 => (kept, 0),
        _ => (kept >> spare, kept << (64 - spare)),
    };
    let up = rest > 1 << 63 || rest == 1 << 63 && whole & 1 == 1;
    two_steps((whole + u64::from(up)) as f64, power.max(LOWEST))
}

/// Multiplies by a power of two that may itself lie outside the range of numbers.
fn two_steps(x: f64, power: i32) -> f64 {
    let factor = |p: i32| f64::from_bits(((p + 1023) as u64) << 52);
    let first = power.clamp(-1000, 1000);
    let second = (power - first).clamp(-1000, 1000);
    x * factor(first) * factor(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn register(values: &[f64]) -> Register {
        let mut sum = Register::default();
        values.iter().for_each(|&x| sum.add(x));
        sum
    }

    #[test]
    fn nothing_is_lost_between_large_and_small() {
        for (values, want) in [
            (vec![], 0.0),
            (vec![1e308, 1.0, -1e308], 1.0),
            (vec![1e16, 1.0, 1e-9, -1e16], 1.000000001),
            (vec![f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (vec![5e-324, 5e-324], 1e-323),
            (vec![-5e-324], -5e-324),
            (vec![f64::MIN_POSITIVE, -5e-324], f64::MIN_POSITIVE - 5e-324),
            // Halfway between two numbers, then a hair above.
            (vec![9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0),
            (vec![9_007_199_254_740_992.0, 1.0, 1e-300], 9_007_199_254_740_994.0),
            (vec![f64::MAX, f64::MAX], f64::INFINITY),
        ] {
            assert_eq!(register(&values).value(), want, "{values:?}");
        }
    }

    #[test]
    fn the_narrow_form_holds_what_it_says() {
        for x in [0.0, -0.0, 1.0, -1.5, 0.1, 4e12, 2e-5, 123.456] {
            assert_eq!(narrow(x).map(widen), Some(x));
        }
        for x in [1e-6, 5e12, 1e300, 5e-324] {
            assert_eq!(narrow(x), None);
        }
    }

    fn any_finite() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>().prop_filter("finite", |x| x.is_finite()), -1e6..1e6f64, -1e-5..1e-5f64]
    }

    proptest! {
        #[test]
        fn order_and_form_change_no_bit(mut values in prop::collection::vec(any_finite(), 0..40), cut in 0usize..40) {
            let want = register(&values).value();
            let cut = cut.min(values.len());
            let mut merged = register(&values[..cut]);
            merged.merge(&register(&values[cut..]));
            prop_assert_eq!(merged.value().to_bits(), want.to_bits());
            values.reverse();
            let (mut mixed, mut sum) = (Register::default(), 0i128);
            for &x in &values {
                match narrow(x) {
                    Some(units) => sum += units,
                    None => mixed.add(x),
                }
            }
            mixed.add_narrow(sum);
            prop_assert_eq!(mixed.value().to_bits(), want.to_bits());
        }

        #[test]
        fn two_numbers_add_as_the_processor_adds(a in any_finite(), b in any_finite()) {
            prop_assert_eq!(register(&[a, b]).value(), a + b);
        }
    }
}
