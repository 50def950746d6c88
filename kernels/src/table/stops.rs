//! Where fields and records of CSV end: delimiters and line breaks outside quotes, 64 bytes at a time.
//!
//! A byte lies inside quotes when an odd number of quotes comes before it; a doubled quote inside quotes leaves and
//! enters them again, which comes to the same (Langdale and Lemire 2019).

use crate::simd::equal;

/// What ends fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quotes: bool,
}

/// Appends the positions of all stops in `text`, which begins outside quotes; whether it ends inside.
///
/// # Errors
/// The position of a quote that neither begins nor ends a field.
pub(super) fn find(dialect: Dialect, text: &[u8], stops: &mut Vec<u32>) -> Result<bool, usize> {
    let (mut inside, mut before) = (0u64, 1u64);
    let mut padded;
    for (nth, chunk) in text.chunks(64).enumerate() {
        let bytes: &[u8; 64] = match chunk.try_into() {
            Ok(whole) => whole,
            Err(_) => {
                padded = [0; 64];
                padded[..chunk.len()].copy_from_slice(chunk);
                &padded
            }
        };
        let ends = equal(bytes, dialect.delimiter) | equal(bytes, b'\n');
        let mut mask = ends;
        if dialect.quotes {
            let quotes = equal(bytes, b'"');
            if quotes | inside != 0 {
                let within = prefix_xor(quotes) ^ inside;
                // A quote that opens stands behind a field's end or another quote.
                let stray = quotes & within & !((ends | quotes) << 1 | before);
                if stray != 0 {
                    return Err(nth * 64 + stray.trailing_zeros() as usize);
                }
                mask &= !within;
                inside = (within as i64 >> 63) as u64;
            }
            before = (ends | quotes) >> 63;
        }
        let at = (nth * 64) as u32;
        while mask != 0 {
            stops.push(at + mask.trailing_zeros());
            mask &= mask - 1;
        }
    }
    Ok(inside != 0)
}

/// How many quotes there are, modulo 2.
pub(super) fn odd_quotes(text: &[u8]) -> bool {
    memchr::memchr_iter(b'"', text).count() % 2 == 1
}

/// Bit `i` tells whether an odd number of the bits `0..=i` is set.
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CSV: Dialect = Dialect { delimiter: b',', quotes: true };

    /// One byte after another.
    fn naive(text: &[u8]) -> Vec<u32> {
        let mut inside = false;
        let mut out = Vec::new();
        for (i, &byte) in text.iter().enumerate() {
            inside ^= byte == b'"';
            if !inside && matches!(byte, b',' | b'\n') {
                out.push(i as u32);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn stops_are_those_of_a_byte_at_a_time(
            fields in prop::collection::vec(("[a-c]{0,9}|\"([a-c,\n]|\"\"){0,30}\"", "[,\n]"), 0..60),
        ) {
            let text: String = fields.iter().map(|(field, end)| field.clone() + end).collect();
            let mut stops = Vec::new();
            prop_assert_eq!(find(CSV, text.as_bytes(), &mut stops), Ok(false));
            prop_assert_eq!(stops, naive(text.as_bytes()));
        }
    }

    #[test]
    fn stray_quotes_are_found() {
        let long = format!("{},b\"c\"\n", "a".repeat(80));
        for (text, at) in [("a\"b\n", 1), ("a,b \"c\"\n", 4), (&long, 82)] {
            assert_eq!(find(CSV, text.as_bytes(), &mut Vec::new()), Err(at), "{text}");
        }
        let mut stops = Vec::new();
        let plain = Dialect { quotes: false, ..CSV };
        assert_eq!(find(plain, b"a\"b,c\n", &mut stops), Ok(false));
        assert_eq!(stops, [3, 5]);
    }
}
