//! Decimals as people and programs print them, and their exact sums: a whole number of units of a power of ten, as
//! long as it takes. No sum rounds or overflows, so the order of summands does not matter.

use num_bigint::BigInt;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most digits of a number, and the largest exponent: beyond them it is no number that a program has computed.
const LONGEST: usize = 1000;

/// `units * 10^exponent`.
///
/// Invariant: equal sums of the same summands are equal values, because a sum has the finest exponent of its summands
/// (`1.50 + 2.5` is `4.00`), and units that fit 128 bits are never [`Units::Large`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decimal {
    units: Units,
    exponent: i16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Units {
    Small(i128),
    /// Two's complement, least byte first.
    Large(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Units {
    fn large(&self) -> BigInt {
        match self {
            Units::Small(n) => BigInt::from(*n),
            Units::Large(bytes) => BigInt::from_signed_bytes_le(bytes),
        }
    }

    fn of(n: &BigInt) -> Units {
        i128::try_from(n).map_or_else(|_| Units::Large(n.to_signed_bytes_le()), Units::Small)
    }

    /// The same amount in units that are smaller by a power of ten.
    fn finer(&self, power: u32) -> Units {
        let small = match self {
            Units::Small(n) => 10i128.checked_pow(power).and_then(|factor| n.checked_mul(factor)),
            Units::Large(_) => None,
        };
        small.map_or_else(|| Units::of(&(self.large() * BigInt::from(10).pow(power))), Units::Small)
    }
}

impl Decimal {
    /// The number that `text` stands for: `12`, `-0.50`, `+3.`, `.5`, `6.02e23`. `None` for anything else.
    pub(super) fn parse(text: &[u8]) -> Option<Decimal> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let end = rest.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(rest.len());
        let power: i64 = match rest.get(end + 1..) {
            None => 0,
            // Rust reads "+5" as well; a second sign or a blank it refuses.
            Some(power) => std::str::from_utf8(power).ok()?.parse().ok()?,
        };
        let point = rest[..end].iter().position(|&b| b == b'.').unwrap_or(end);
        let (whole, fraction) = (&rest[..point], rest[point..end].strip_prefix(b".").unwrap_or_default());
        let digits = || whole.iter().chain(fraction);
        let count = whole.len() + fraction.len();
        if count == 0 || count > LONGEST || !digits().all(u8::is_ascii_digit) {
            return None;
        }
        let exponent = power.checked_sub(fraction.len() as i64)?;
        let exponent = i16::try_from(exponent).ok().filter(|e| e.unsigned_abs() as usize <= 2 * LONGEST)?;
        let units = if count <= 38 {
            let n = digits().fold(0i128, |n, digit| n * 10 + i128::from(digit - b'0'));
            Units::Small(if negative { -n } else { n })
        } else {
            let all: Vec<u8> = digits().copied().collect();
            let n = BigInt::parse_bytes(&all, 10)?;
            Units::of(&if negative { -n } else { n })
        };
        Some(Decimal { units, exponent })
    }

    /// The exact sum.
    pub(super) fn plus(self, other: Decimal) -> Decimal {
        let exponent = self.exponent.min(other.exponent);
        let aligned = |d: Decimal| match (d.exponent - exponent) as u32 {
            0 => d.units,
            power => d.units.finer(power),
        };
        let units = match (aligned(self), aligned(other)) {
            (Units::Small(a), Units::Small(b)) => match a.checked_add(b) {
                Some(sum) => Units::Small(sum),
                None => Units::of(&(BigInt::from(a) + BigInt::from(b))),
            },
            (a, b) => Units::of(&(a.large() + b.large())),
        };
        Decimal { units, exponent }
    }
}

/// Written out in full where that takes up to 40 characters more than the digits, else with an exponent.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.units {
            Units::Small(n) => n.to_string(),
            large @ Units::Large(_) => large.large().to_string(),
        };
        let (sign, digits) = text.strip_prefix('-').map_or(("", &text[..]), |digits| ("-", digits));
        let places = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            return match (digits, places) {
                ("0", _) => f.write_str("0"),
                (_, 0..=40) => write!(f, "{sign}{digits}{}", "0".repeat(places)),
                _ => write!(f, "{sign}{digits}e{places}"),
            };
        }
        if digits.len() > places {
            let (whole, fraction) = digits.split_at(digits.len() - places);
            write!(f, "{sign}{whole}.{fraction}")
        } else if places - digits.len() <= 40 {
            write!(f, "{sign}0.{}{digits}", "0".repeat(places - digits.len()))
        } else {
            write!(f, "{sign}{digits}e-{places}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    fn sum(texts: &[&str]) -> String {
        texts.iter().map(|t| read(t)).reduce(Decimal::plus).unwrap().to_string()
    }

    #[test]
    fn sums_are_those_of_pencil_and_paper() {
        assert_eq!(sum(&["0.1", "0.2"]), "0.3");
        assert_eq!(sum(&["1.50", "2.5"]), "4.00");
        assert_eq!(sum(&["-1", "+1."]), "0");
        assert_eq!(sum(&["-.75", "0.5"]), "-0.25");
        assert_eq!(sum(&["1e3", "2E+2", "5e-1"]), "1200.5");
        assert_eq!(sum(&["1e300", "1", "-1e300"]), "1");
        assert_eq!(sum(&["1e20", "1e-20"]), "100000000000000000000.00000000000000000001");
        assert_eq!(sum(&["1.5e-60", "1.5e-60"]), "30e-61");
        let most = i128::MAX.to_string();
        assert_eq!(sum(&[&most, "1", "-1"]), most, "large and back");
        assert_eq!(sum(&[&most, "1"]), "170141183460469231731687303715884105728");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "1e 5", "--1", "1_000", "0x10", "nan", "inf", "1.2.3",
            "1e99999", "1,5",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse("1".repeat(LONGEST + 1).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn sums_are_free_of_order(parts in prop::collection::vec((any::<i64>(), -30i16..30), 1..20), turn in 0usize..20) {
            let all: Vec<Decimal> = parts.iter().map(|(n, e)| read(&format!("{n}e{e}"))).collect();
            let straight = all.clone().into_iter().reduce(Decimal::plus).unwrap();
            let mut turned = all;
            let turn = turn % turned.len();
            turned.rotate_left(turn);
            let (left, right) = turned.split_at(turned.len() / 2);
            let half = |part: &[Decimal]| part.iter().cloned().reduce(Decimal::plus);
            let merged = match (half(left), half(right)) {
                (Some(a), Some(b)) => b.plus(a),
                (a, b) => a.or(b).unwrap(),
            };
            prop_assert_eq!(&merged, &straight);
            prop_assert_eq!(postcard::to_stdvec(&merged).unwrap(), postcard::to_stdvec(&straight).unwrap());
        }

        #[test]
        fn sums_agree_with_big_integers(parts in prop::collection::vec((any::<i128>(), 0u32..25), 1..12)) {
            // Everything in units of 10^-25.
            let reference: BigInt =
                parts.iter().map(|(n, places)| BigInt::from(*n) * BigInt::from(10).pow(25 - places)).sum();
            let mut total = read("0.0000000000000000000000000");
            for (n, places) in &parts {
                total = total.plus(read(&format!("{n}e-{places}")));
            }
            prop_assert_eq!(total.exponent, -25);
            prop_assert_eq!(total.units.large(), reference);
        }

        #[test]
        fn what_is_printed_is_read_back(n in any::<i128>(), exponent in -80i16..80) {
            let d = read(&format!("{n}e{exponent}"));
            let again = read(&d.to_string());
            prop_assert_eq!(d.clone().plus(again.clone()), again.plus(d));
        }
    }
}
