//! Values as whole numbers of the same order, and the buckets that the first round counts them in.

use crate::simd::{Lanes, Simd, Vectorised};
use crate::table::selection::Rows;
use crate::table::{Column, Values, as_float};
use muster_spec::table::Kind;

/// The first round has `2^FIRST_BITS` buckets for each column.
pub(super) const FIRST_BITS: u8 = 16;

const SIGN: u64 = 1 << 63;
/// Whole numbers have a bucket each up to `2^(EXACT + 1)`, and `2^EXACT` buckets from one power of two to the next beyond.
const EXACT: u32 = 9;

/// Puts the keys of a column's values in these rows, where none is missing, into `out`.
pub(super) fn keys(simd: Simd, column: &Column, rows: Rows<'_>, out: &mut Vec<u64>) {
    out.clear();
    match (column.values, rows) {
        (Values::Float(x), None) => {
            out.resize(x.len(), 0);
            simd.run(Floats(x, out));
        }
        (Values::Float(x), Some(rows)) => out.extend(rows.iter().map(|&row| of_float(x[row as usize]))),
        (Values::Int(x), None) => out.extend(x.iter().map(|&x| of_int(x))),
        (Values::Int(x), Some(rows)) => out.extend(rows.iter().map(|&row| of_int(x[row as usize]))),
        (Values::Text(..), _) => {}
    }
}

/// Keys of floating-point numbers.
struct Floats<'a>(&'a [f64], &'a mut [u64]);

impl Vectorised for Floats<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.0.iter().zip(self.1).for_each(|(&x, key)| *key = of_float(L::pass(x)));
    }
}

/// The key of a number; zero has no sign.
#[inline(always)]
fn of_float(x: f64) -> u64 {
    let bits = (x + 0.0).to_bits();
    bits ^ (((bits as i64 >> 63) as u64) | SIGN)
}

#[inline(always)]
fn of_int(x: i64) -> u64 {
    x as u64 ^ SIGN
}

/// The value of a key that a column of this kind keeps as an integer.
pub(super) fn as_int(key: u64) -> i64 {
    (key ^ SIGN) as i64
}

/// The value of a key as a number.
pub(super) fn as_number(kind: Kind, key: u64) -> f64 {
    match kind {
        Kind::Float => f64::from_bits(if key & SIGN == 0 { !key } else { key ^ SIGN }),
        kind => as_float(kind, as_int(key)),
    }
}

/// The first round's bucket of a key. Floating-point numbers bring an exponent along; whole numbers, which mostly are
/// small, are given one.
#[inline(always)]
pub(super) fn first_bucket(float: bool, key: u64) -> usize {
    if float {
        return (key >> (64 - FIRST_BITS)) as usize;
    }
    let size = (if key & SIGN == 0 { !key } else { key }) & !SIGN;
    let shift = (63 - (size | 1 << EXACT).leading_zeros()) - EXACT;
    let code = ((shift as usize) << EXACT) + (size >> shift) as usize;
    let middle = 1 << (FIRST_BITS - 1);
    if key & SIGN == 0 { middle - 1 - code } else { middle + code }
}

/// The lowest key of a bucket of the first round, and the bits that its keys differ in.
pub(super) fn first_window(float: bool, bucket: usize) -> (u64, u8) {
    if float {
        return ((bucket as u64) << (64 - FIRST_BITS), 64 - FIRST_BITS);
    }
    let middle = 1 << (FIRST_BITS - 1);
    let code = if bucket < middle { middle - 1 - bucket } else { bucket - middle };
    let shift = (code >> EXACT).saturating_sub(1);
    let size = ((code - (shift << EXACT)) as u64) << shift;
    let span = (1u64 << shift) - 1;
    let low = if bucket < middle { !(size + span) & !SIGN } else { size | SIGN };
    (low, shift as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two keys of one kind.
    fn keys() -> impl Strategy<Value = (bool, [u64; 2])> {
        let int = || prop_oneof![-5000i64..5000, (any::<i64>(), 0u32..64).prop_map(|(x, shift)| x >> shift)];
        let float = || any::<f64>().prop_filter("finite", |x| x.is_finite());
        prop_oneof![
            (int(), int()).prop_map(|(x, y)| (false, [x, y].map(of_int))),
            (float(), float()).prop_map(|(x, y)| (true, [x, y].map(of_float))),
        ]
    }

    proptest! {
        #[test]
        fn keys_keep_the_order_and_the_value(a in any::<f64>(), b in -1e3f64..1e3, i in any::<i64>(), j in -9i64..9) {
            prop_assume!(!a.is_nan());
            prop_assert_eq!(of_float(a).cmp(&of_float(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(of_int(i).cmp(&of_int(j)), i.cmp(&j));
            prop_assert_eq!((as_number(Kind::Float, of_float(a)), as_int(of_int(i))), (a, i));
        }

        #[test]
        fn a_key_is_in_the_window_of_its_bucket((float, [key, other]) in keys()) {
            let bucket = first_bucket(float, key);
            let (low, bits) = first_window(float, bucket);
            prop_assert!(bucket < 1 << FIRST_BITS && low <= key && (key - low) >> bits == 0);
            prop_assert_eq!(first_bucket(float, low), bucket);
            prop_assert_eq!(first_bucket(float, low + ((1 << bits) - 1)), bucket);
            prop_assert!(key > other || bucket <= first_bucket(float, other));
        }
    }

    #[test]
    fn the_ends_have_buckets() {
        for x in [i64::MIN, i64::MIN + 1, -1025, -1024, -1, 0, 1, 1023, 1024, i64::MAX] {
            let (low, bits) = first_window(false, first_bucket(false, of_int(x)));
            assert!(low <= of_int(x) && (of_int(x) - low) >> bits == 0, "{x}");
            assert_eq!(bits == 0, (-1024..1024).contains(&x), "{x}");
        }
        assert_eq!(of_float(-0.0), of_float(0.0));
    }
}
