//! Where lines end, found many at a time.
//!
//! A search for each line's end by itself ends with a branch that the processor guesses wrong, as lines differ in length.
//! Here the bytes are compared 64 at a time, and nothing is asked of them but the mask of those that are equal.

use crate::simd::{Simd, equal};

/// Bytes of a mask.
const WIDE: usize = 64;
/// Masks that are made at once.
const MASKS: usize = 16;
/// Ends are looked for until there are so many: the lines are still in the first-level cache when they are read.
const AT_ONCE: usize = 64;

/// The ends of the lines of a text, one after another.
pub(super) struct Ends<'a> {
    text: &'a [u8],
    simd: Simd,
    /// So much of the text has been looked at.
    looked: usize,
    found: [u32; AT_ONCE + WIDE * MASKS],
    many: usize,
    /// The first of those found that was not handed out.
    next: usize,
}

impl Ends<'_> {
    /// Of a text shorter than 4 GiB.
    pub(super) fn of(text: &[u8], simd: Simd) -> Ends<'_> {
        Ends { text, simd, looked: 0, found: [0; AT_ONCE + WIDE * MASKS], many: 0, next: 0 }
    }

    /// The next line's end: a line feed, or behind the last the text's end.
    #[inline]
    pub(super) fn next(&mut self) -> usize {
        if self.next == self.many {
            self.find();
        }
        match self.found[..self.many].get(self.next) {
            Some(&end) => {
                self.next += 1;
                end as usize
            }
            None => self.text.len(),
        }
    }

    fn find(&mut self) {
        let (mut many, mut at) = (0, self.looked);
        while many < AT_ONCE && at < self.text.len() {
            let mut masks = [0; MASKS];
            let (whole, rest) = self.text[at..].as_chunks::<WIDE>();
            let whole = &whole[..whole.len().min(MASKS)];
            self.simd.masks(whole, b'\n', &mut masks[..whole.len()]);
            if whole.is_empty() {
                let mut padded = [0; WIDE];
                padded[..rest.len()].copy_from_slice(rest);
                masks[0] = equal(&padded, b'\n');
            }
            for &mask in &masks[..whole.len().max(1)] {
                many = self.note(mask, at as u32, many);
                at += WIDE;
            }
        }
        (self.looked, self.many, self.next) = (at, many, 0);
    }

    /// Notes the ends that a mask of the bytes from `at` on tells, behind so `many`; how many there are then.
    #[inline(always)]
    fn note(&mut self, mut mask: u64, at: u32, mut many: usize) -> usize {
        // The first is noted whether it is there or not: that would be a branch which is guessed wrong.
        self.found[many] = at.wrapping_add(mask.trailing_zeros());
        many += usize::from(mask != 0);
        mask &= mask.wrapping_sub(1);
        while mask != 0 {
            self.found[many] = at + mask.trailing_zeros();
            many += 1;
            mask &= mask - 1;
        }
        many
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ends_are_those_of_a_line_at_a_time(
            lines in prop::collection::vec(prop_oneof![0..3usize, 0..300usize, 0..3000usize], 1..1500),
            every in any::<bool>(),
        ) {
            // Lines without a byte, too: more ends in a piece than are looked for.
            let lines: Vec<usize> = if every { lines } else { lines.iter().map(|length| length / 3000).collect() };
            let text = lines.iter().map(|&length| "x".repeat(length)).collect::<Vec<_>>().join("\n");
            for simd in Simd::all() {
                let (mut ends, mut start) = (Ends::of(text.as_bytes(), simd), 0);
                for length in &lines {
                    prop_assert_eq!(ends.next(), start + length);
                    start += length + 1;
                }
                prop_assert_eq!(ends.next(), text.len());
            }
        }
    }
}
