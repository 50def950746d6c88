//! A set of bytes, and where a run of them ends.

use memchr::{memchr, memchr2, memchr3};
use regex_syntax::hir::Class;

/// A set of bytes.
#[derive(Clone, Debug)]
pub(super) struct ByteSet {
    member: [bool; 256],
    stops: Stops,
    /// Whether bytes beyond ASCII are no part of it, and of what is looked for to find its end neither.
    ascii: bool,
}

/// How to find the first byte that is not in the set.
#[derive(Clone, Copy, Debug)]
enum Stops {
    /// It is this one,
    One(u8),
    /// or one of these,
    Two(u8, u8),
    Three(u8, u8, u8),
    /// or not above a blank (white space and control characters), or beyond ASCII.
    Low,
    /// Any.
    Any,
}

/// Bytes of a word that are not above a blank, or are beyond ASCII, have the high bit set in this (Mycroft 1987); the
/// lowest one is right.
#[inline(always)]
fn odd_bytes(word: u128) -> u128 {
    const ONES: u128 = u128::MAX / 255;
    (word.wrapping_sub(ONES * (b' ' as u128 + 1)) | word) & (ONES << 7)
}

impl ByteSet {
    /// The bytes of a class, and whether it has characters beyond ASCII, which are left out.
    pub(super) fn of(class: &Class) -> (ByteSet, bool) {
        let mut member = [false; 256];
        let (ranges, wide): (Vec<(u32, u32)>, bool) = match class {
            Class::Bytes(class) => {
                (class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(), false)
            }
            Class::Unicode(class) => {
                let ranges = class.ranges().iter().map(|r| (r.start().into(), u32::from(r.end()).min(127)));
                (ranges.collect(), !class.is_ascii())
            }
        };
        for (start, end) in ranges {
            (start..=end).for_each(|byte| member[byte as usize] = true);
        }
        (ByteSet::new(member, wide), wide)
    }

    /// The bytes listed.
    pub(super) fn listed(bytes: &[u8]) -> ByteSet {
        let mut member = [false; 256];
        bytes.iter().for_each(|&byte| member[byte as usize] = true);
        ByteSet::new(member, false)
    }

    /// `ascii` tells that it has ASCII alone, and is to end at what is beyond.
    fn new(member: [bool; 256], ascii: bool) -> ByteSet {
        let met = if ascii { 0..=127 } else { 0..=255u8 };
        let others: Vec<u8> = met.filter(|&byte| !member[byte as usize]).collect();
        let stops = match others[..] {
            [a] => Stops::One(a),
            [a, b] => Stops::Two(a, b),
            [a, b, c] => Stops::Three(a, b, c),
            _ if others.iter().all(|&byte| byte <= b' ') => Stops::Low,
            _ => Stops::Any,
        };
        ByteSet { member, stops, ascii }
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        self.member[byte as usize]
    }

    /// Whether no byte is in both.
    pub(super) fn disjoint(&self, other: &ByteSet) -> bool {
        self.member.iter().zip(&other.member).all(|(a, b)| !(a & b))
    }

    /// Where from `at` on the first byte is that is not in the set, or the end.
    #[inline]
    pub(super) fn run_end(&self, text: &[u8], at: usize) -> usize {
        let rest = &text[at..];
        let found = match self.stops {
            Stops::One(a) => memchr(a, rest),
            Stops::Two(a, b) => memchr2(a, b, rest),
            Stops::Three(a, b, c) => memchr3(a, b, c, rest),
            Stops::Low => return self.low_end(text, at),
            Stops::Any => rest.iter().position(|&byte| !self.has(byte)),
        };
        let run = &rest[..found.unwrap_or(rest.len())];
        if self.ascii && !run.is_ascii() {
            return at + run.iter().take_while(|byte| byte.is_ascii()).count();
        }
        at + run.len()
    }

    #[inline]
    fn low_end(&self, text: &[u8], mut at: usize) -> usize {
        while let Some(word) = text[at..].first_chunk::<16>() {
            // Most words end within sixteen bytes, so that where they end is no guess.
            let odd = odd_bytes(u128::from_le_bytes(*word));
            if odd == 0 {
                at += 16;
                continue;
            }
            at += odd.trailing_zeros() as usize / 8;
            if !self.has(text[at]) {
                return at;
            }
            at += 1;
        }
        text[at..].iter().position(|&byte| !self.has(byte)).map_or(text.len(), |found| at + found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex_syntax::ParserBuilder;
    use regex_syntax::hir::HirKind;

    fn set(pattern: &str, unicode: bool) -> ByteSet {
        let hir = ParserBuilder::new().utf8(false).unicode(unicode).build().parse(pattern).unwrap();
        let HirKind::Class(class) = hir.into_kind() else { panic!("{pattern}") };
        ByteSet::of(&class).0
    }

    #[test]
    fn the_quickest_way_is_chosen() {
        for (pattern, wanted) in [
            (".", "One(10)"),
            (r#"[^"\n]"#, "Two(10, 34)"),
            (r"\S", "Low"),
            (r"\d", "Any"),
            (r"[a-z]", "Any"),
        ] {
            for unicode in [true, false] {
                assert_eq!(format!("{:?}", set(pattern, unicode).stops), wanted, "{pattern}");
            }
        }
    }

    proptest! {
        #[test]
        fn runs_end_where_the_set_does(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'"'), 0u8..128, Just(b'a'), Just(b'a'), any::<u8>()], 0..60),
            at in 0usize..60,
        ) {
            let at = at.min(text.len());
            for pattern in [".", r#"[^"\n]"#, r#"[^"\n\]]"#, r"\S", r"\d", r"\w", "[a-z]"] {
                for unicode in [true, false] {
                    let set = set(pattern, unicode);
                    let naive = (at..text.len()).find(|&i| !set.has(text[i])).unwrap_or(text.len());
                    prop_assert_eq!(set.run_end(&text, at), naive, "{}", pattern);
                }
            }
        }
    }
}
