//! Unpacks what Snappy packed, where that is numbers of eight bytes: two texts at once.
//!
//! Snappy finds in such a column that the upper bytes of a number were there before, so that its text is a few bytes as
//! they are and a short copy, again and again. A pair of these is one step here, without a branch that depends on its
//! lengths. Where a pair begins is known only once the one before it has been read: that is what takes the time, and a
//! second text, which does not depend on the first, is unpacked meanwhile. On other data the library is as fast or faster.

/// What is wrong with a packed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("the length before a packed text is damaged")]
    Length,
    #[error("a packed text is damaged or cut off")]
    Text,
}

/// A packed text behind its length, and where it goes.
pub(super) struct Job<'a> {
    pub(super) packed: &'a [u8],
    pub(super) plain: &'a mut [u8],
}

/// The bytes that a text has once it is unpacked, and what is behind this number.
///
/// # Errors
/// When there is no such number, or so many bytes cannot come of that few.
pub(super) fn length(text: &[u8]) -> Result<(usize, &[u8]), Damage> {
    let mut length = 0u64;
    for (nth, &byte) in text.iter().enumerate().take(5) {
        length |= u64::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            let packed = &text[nth + 1..];
            // A copy of 64 bytes takes three.
            return match length <= 22 * packed.len() as u64 {
                true => Ok((length as usize, packed)),
                false => Err(Damage::Length),
            };
        }
    }
    Err(Damage::Length)
}

/// Unpacks a text.
///
/// # Errors
/// When it is damaged, or does not fill `plain`.
pub(super) fn one(job: Job) -> Result<(), Damage> {
    rest(job, At { from: 0, to: 0 })
}

/// Unpacks two texts.
///
/// # Errors
/// When one is damaged, or does not fill its `plain`.
pub(super) fn two(a: Job, b: Job) -> Result<(), Damage> {
    let (mut at_a, mut at_b) = (At { from: 0, to: 0 }, At { from: 0, to: 0 });
    while at_a.from < a.packed.len() && at_b.from < b.packed.len() {
        at_a = next(a.packed, a.plain, at_a)?;
        at_b = next(b.packed, b.plain, at_b)?;
    }
    rest(a, at_a)?;
    rest(b, at_b)
}

/// How far a text is unpacked: bytes of it, and of what it is.
#[derive(Clone, Copy)]
struct At {
    from: usize,
    to: usize,
}

/// The longest copy of a pair.
const SHORT: u64 = 8;
/// Bytes that a pair may write.
const ROOM: usize = 16;

/// For the first byte of a copy: a mask of the low bits of its distance that come behind, from bit 16 on its high bits,
/// from bit 32 on its length. No distance at all where it is no short copy.
const COPIES: [u64; 256] = {
    let mut copies = [0; 256];
    let mut tag = 0;
    while tag < 256 {
        let (mask, high, length) = match tag & 3 {
            1 => (0xff, tag >> 5 << 8, (tag >> 2 & 7) + 4),
            2 => (0xffff, 0, (tag >> 2) + 1),
            _ => (0, 0, 0),
        };
        if length <= SHORT {
            copies[tag as usize] = mask | high << 16 | length << 32;
        }
        tag += 1;
    }
    copies
};

fn rest(job: Job, mut at: At) -> Result<(), Damage> {
    while at.from < job.packed.len() {
        at = next(job.packed, job.plain, at)?;
    }
    if at.to == job.plain.len() { Ok(()) } else { Err(Damage::Text) }
}

// Places are handed on as values: kept in a struct they would lie in memory, and be waited for.
#[inline(always)]
fn next(packed: &[u8], plain: &mut [u8], at: At) -> Result<At, Damage> {
    match pair(packed, plain, at) {
        Some(at) => Ok(at),
        None => single(packed, plain, at),
    }
}

/// Up to four bytes as they are, and a copy of up to eight from at least as far back; `None` where this is not next.
#[inline(always)]
fn pair(packed: &[u8], plain: &mut [u8], at: At) -> Option<At> {
    let word = u64::from_le_bytes(*packed.get(at.from..)?.first_chunk()?);
    let out = plain.get_mut(..at.to + ROOM)?;
    let tag = word & 0xff;
    let behind = (word >> 16) >> ((tag & 0xc) * 2);
    let copy = COPIES[usize::from(behind as u8)];
    let distance = ((copy >> 16 & 0xffff) + (behind >> 8 & copy & 0xffff)) as usize;
    let literal = (tag >> 2 & 3) as usize + 1;
    let to = at.to + literal;
    if tag & 0xf3 != 0 || distance < SHORT as usize || distance > to {
        return None;
    }
    // Whole words are written: what is too much of them is written over.
    *out[at.to..].first_chunk_mut()? = (word >> 8).to_le_bytes();
    let back: [u8; 8] = *out[to - distance..].first_chunk()?;
    *out[to..].first_chunk_mut()? = back;
    // The copy has three bytes, or two if its first is odd.
    Some(At { from: at.from + literal + 4 - (behind & 1) as usize, to: to + (copy >> 32) as usize })
}

/// Whatever is next.
#[inline(never)]
fn single(packed: &[u8], plain: &mut [u8], at: At) -> Result<At, Damage> {
    let (&tag, behind) = packed.get(at.from..).and_then(<[u8]>::split_first).ok_or(Damage::Text)?;
    let number = match behind.first_chunk() {
        Some(word) => u32::from_le_bytes(*word),
        None => behind.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)),
    } as usize;
    let short = usize::from(tag >> 2) + 1;
    let (more, length, distance) = match tag & 3 {
        0 if short <= 60 => (0, short, 0),
        0 => (short - 60, (number & (0xffff_ffff >> (8 * (64 - short)))) + 1, 0),
        1 => (1, usize::from(tag >> 2 & 7) + 4, usize::from(tag >> 5) << 8 | number & 0xff),
        2 => (2, short, number & 0xffff),
        _ => (4, short, number),
    };
    let behind = behind.get(more..).ok_or(Damage::Text)?;
    let (from, room) = (at.from + 1 + more, plain.len() - at.to);
    if length > room {
        return Err(Damage::Text);
    }
    let to = at.to + length;
    if tag & 3 == 0 {
        plain[at.to..to].copy_from_slice(behind.get(..length).ok_or(Damage::Text)?);
        return Ok(At { from: from + length, to });
    }
    if distance == 0 || distance > at.to {
        return Err(Damage::Text);
    }
    let start = at.to - distance;
    if distance >= 8 && room >= 64 {
        for done in (0..length).step_by(8) {
            let word: [u8; 8] = *plain[start + done..].first_chunk().ok_or(Damage::Text)?;
            *plain[at.to + done..].first_chunk_mut().ok_or(Damage::Text)? = word;
        }
    } else {
        (at.to..to).for_each(|i| plain[i] = plain[i - distance]);
    }
    Ok(At { from, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use snap::raw::{Decoder, Encoder};

    fn unpack(text: &[u8]) -> Result<Vec<u8>, Damage> {
        let (length, packed) = length(text)?;
        let (mut a, mut b) = (vec![1; length], vec![2; length]);
        let done = one(Job { packed, plain: &mut a });
        // The other one of two is a text that is in order, and longer or shorter.
        let other = Encoder::new().compress_vec(&[7; 300]).unwrap();
        let (_, other) = super::length(&other).unwrap();
        let mut sevens = [0; 300];
        assert_eq!(two(Job { packed: other, plain: &mut sevens }, Job { packed, plain: &mut b }), done);
        assert_eq!(two(Job { packed, plain: &mut b }, Job { packed: other, plain: &mut sevens }), done);
        if done.is_ok() {
            assert!(a == b && sevens == [7; 300]);
        }
        done.map(|()| a)
    }

    /// Numbers whose upper bytes repeat, bytes of few kinds, runs, and noise.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let numbers = |most: u64| {
            prop::collection::vec(0..most, 0..400)
                .prop_map(|all| all.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
        };
        let floats = prop::collection::vec(0..90_000u32, 0..400).prop_map(|all| {
            all.into_iter().flat_map(|x| (f64::from(x) / 1000.0).to_le_bytes()).collect::<Vec<u8>>()
        });
        let runs = prop::collection::vec((any::<u8>(), 1..200usize), 0..20)
            .prop_map(|all| all.into_iter().flat_map(|(byte, n)| vec![byte; n]).collect::<Vec<u8>>());
        prop_oneof![
            numbers(100_000),
            numbers(1 << 40),
            floats,
            runs,
            prop::collection::vec(0u8..3, 0..3000),
            prop::collection::vec(any::<u8>(), 0..3000),
        ]
    }

    #[test]
    fn cut_anywhere_it_is_damaged() {
        let plain: Vec<u8> = (0..700u64).flat_map(|i| (i * i % 1000).to_le_bytes()).chain([9; 90]).collect();
        let text = Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(unpack(&text), Ok(plain));
        for cut in 0..text.len() {
            assert!(unpack(&text[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for text in [&[][..], &[0x80], &[0xff; 9], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1], &[100, 0, 1]] {
            assert_eq!(unpack(text), Err(Damage::Length), "{text:?}");
        }
        assert_eq!(unpack(&[0]), Ok(Vec::new()));
        assert_eq!(unpack(&[1, 0, 7]), Ok(vec![7]));
        // A distance of zero, one beyond the start, and a text that is too long.
        for text in [&[5, 0, 7, 1, 0][..], &[5, 0, 7, 1, 2], &[4, 0, 7, 1, 1], &[2, 0, 7, 0, 7, 0, 7]] {
            assert_eq!(unpack(text), Err(Damage::Text), "{text:?}");
        }
        assert_eq!(unpack(&[5, 0, 7, 1, 1]), Ok(vec![7; 5]));
    }

    proptest! {
        #[test]
        fn it_unpacks_as_the_library_does(plain in texts()) {
            let text = Encoder::new().compress_vec(&plain).unwrap();
            prop_assert_eq!(unpack(&text), Ok(plain));
        }

        #[test]
        fn what_is_damaged_it_takes_for_what_the_library_does(
            plain in texts(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut text = Encoder::new().compress_vec(&plain).unwrap();
            for (at, byte) in flips {
                let at = at.index(text.len());
                text[at] ^= byte;
            }
            // The library makes room for whatever length a text claims.
            if length(&text).is_ok() {
                prop_assert_eq!(unpack(&text).ok(), Decoder::new().decompress_vec(&text).ok());
            }
        }
    }
}
