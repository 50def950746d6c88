//! Codes of a dictionary of numbers, replaced by the numbers that they stand for.
//!
//! The library takes four to five cycles for a code, a loop of a few instructions two. So a page of codes is made one of
//! plain numbers here, which the library copies. A column that is not as it should be is left as it is, and the library
//! says what is wrong with it.

use ::parquet::basic::{Encoding, Type};
use ::parquet::column::page::Page;
use ::parquet::schema::types::ColumnDescriptor;
use std::collections::VecDeque;

/// Bytes that eight codes of 32 bits lie in, and a word that begins in the last of them.
const WINDOW: usize = 40;

/// The pages of a column that have codes, by their place, as plain numbers, if all can be: `take` gives memory of a
/// length. The column has so many `rows`.
pub(super) fn replaced(
    column: &ColumnDescriptor,
    rows: usize,
    pages: &VecDeque<Page>,
    take: impl FnMut(usize) -> Vec<u8>,
) -> Option<Vec<(usize, Vec<u8>)>> {
    match column.physical_type() {
        Type::INT32 | Type::FLOAT => replaced_by::<4>(column, rows, pages, take),
        Type::INT64 | Type::DOUBLE => replaced_by::<8>(column, rows, pages, take),
        _ => None,
    }
}

/// The same for numbers of so many bytes.
fn replaced_by<const BYTES: usize>(
    column: &ColumnDescriptor,
    rows: usize,
    pages: &VecDeque<Page>,
    mut take: impl FnMut(usize) -> Vec<u8>,
) -> Option<Vec<(usize, Vec<u8>)>> {
    let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.front() else { return None };
    let dictionary = buf.as_chunks::<BYTES>().0.get(..*num_values as usize)?;
    let (mut plain, mut left) = (Vec::new(), rows);
    for (nth, page) in pages.iter().enumerate().skip(1) {
        // Every row has a value or none: there are no levels of repetition.
        if column.max_rep_level() > 0 || column.max_def_level() > 1 {
            return None;
        }
        if !matches!(page.encoding(), Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY) {
            continue;
        }
        let levels = match page {
            Page::DataPage { .. } if column.max_def_level() == 0 => 0,
            Page::DataPage { buf, def_level_encoding: Encoding::RLE, .. } => {
                u32::from_le_bytes(*buf.first_chunk()?) as usize + 4
            }
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                *def_levels_byte_len as usize + *rep_levels_byte_len as usize
            }
            _ => return None,
        };
        let (levels, codes) = page.buffer().split_at_checked(levels)?;
        let most = page.num_values() as usize;
        left = left.checked_sub(most)?;
        let mut numbers = take(levels.len() + most * BYTES);
        let (front, behind) = numbers.split_at_mut(levels.len());
        front.copy_from_slice(levels);
        let many = look_up::<BYTES>(codes, dictionary, behind.as_chunks_mut().0)?;
        numbers.truncate(levels.len() + many * BYTES);
        plain.push((nth, numbers));
    }
    Some(plain)
}

/// Writes what codes stand for, as many as there are and there is room for; how many. Behind the width of a code come
/// runs: of one code, or of groups of eight codes that are packed. `None` where a code stands for nothing.
fn look_up<const BYTES: usize>(
    codes: &[u8],
    dictionary: &[[u8; BYTES]],
    to: &mut [[u8; BYTES]],
) -> Option<usize> {
    // Where no value is there, no code may be there either.
    let Some((&width, mut rest)) = codes.split_first() else { return Some(0) };
    let width = Some(usize::from(width)).filter(|&width| width <= 32)?;
    let mut done = 0;
    while done < to.len() && !rest.is_empty() {
        let (header, behind) = number(rest)?;
        let room = &mut to[done..];
        if header & 1 == 0 {
            let (code, behind) = behind.split_at_checked(width.div_ceil(8))?;
            let code = code.iter().rev().fold(0, |code, &byte| code << 8 | usize::from(byte));
            let many = room.len().min(header >> 1);
            room[..many].fill(*dictionary.get(code)?);
            (done, rest) = (done + many, behind);
        } else {
            let groups = header >> 1;
            let (packed, behind) = behind.split_at(behind.len().min(groups * width));
            let held = (8 * packed.len()).checked_div(width).unwrap_or(8 * groups);
            let many = room.len().min(8 * groups).min(held);
            look_up_packed(packed, width, dictionary, &mut room[..many])?;
            (done, rest) = (done + many, behind);
        }
    }
    Some(done)
}

/// The same for codes that are packed, all of which are there.
fn look_up_packed<const BYTES: usize>(
    packed: &[u8],
    width: usize,
    dictionary: &[[u8; BYTES]],
    to: &mut [[u8; BYTES]],
) -> Option<()> {
    let (eights, last) = to.as_chunks_mut::<8>();
    let groups = eights.len();
    for (nth, to) in eights.iter_mut().enumerate() {
        look_up_some(&packed[nth * width..], width, dictionary, to)?;
    }
    look_up_some(&packed[groups * width..], width, dictionary, last)
}

/// The same for eight of them at most.
#[inline(always)]
fn look_up_some<const BYTES: usize>(
    packed: &[u8],
    width: usize,
    dictionary: &[[u8; BYTES]],
    to: &mut [[u8; BYTES]],
) -> Option<()> {
    let mut padded = [0; WINDOW];
    let window: &[u8; WINDOW] = match packed.first_chunk() {
        Some(window) => window,
        None => {
            padded[..packed.len()].copy_from_slice(packed);
            &padded
        }
    };
    for (nth, to) in to.iter_mut().enumerate() {
        let bit = nth * width;
        let word = u64::from_le_bytes(*window[bit / 8..].first_chunk()?);
        *to = *dictionary.get((word >> (bit % 8) & ((1 << width) - 1)) as usize)?;
    }
    Some(())
}

/// A number of seven bits in a byte, the lowest first, and what is behind it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (nth, &byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[nth + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [[u8; 4]; 5] = [*b"zero", *b"one ", *b"two ", *b"tri ", *b"four"];

    fn numbers(codes: &[u8], most: usize) -> Option<Vec<u8>> {
        let mut to = vec![[0; 4]; most];
        let many = look_up(codes, &WORDS, &mut to)?;
        Some(to[..many].concat())
    }

    #[test]
    fn runs_and_groups() {
        // Three bits each: a run of four ones, then 0 to 4 and padding.
        let codes = [3, 4 << 1, 1, 1 << 1 | 1, 0b1000_1000, 0b0100_0110, 0];
        let wanted = b"one one one one zeroone two tri fourzerozerozero";
        for most in 0..20 {
            let wanted = &wanted[..wanted.len().min(4 * most)];
            assert_eq!(numbers(&codes, most).as_deref(), Some(wanted), "{most}");
        }
        // Codes that were cut off are not there; one that stands for nothing is refused.
        assert_eq!(numbers(&codes[..6], 20).unwrap().len(), 4 * 9);
        assert_eq!(numbers(&[3, 8, 5], 20), None);
        assert_eq!(numbers(&[3, 3, 0xff, 0xff, 0xff], 20), None);
        // Of no bits, of none at all, of too many.
        assert_eq!(numbers(&[0, 3], 20).unwrap(), b"zero".repeat(8));
        assert_eq!((numbers(&[], 20), numbers(&[33, 8, 0], 20)), (Some(Vec::new()), None));
    }

    proptest! {
        #[test]
        fn packed_codes_of_any_width(width in 1usize..=32, codes in prop::collection::vec(any::<u32>(), 1..70)) {
            let dictionary: Vec<[u8; 8]> = (0..300u64).map(u64::to_le_bytes).collect();
            let codes: Vec<u64> = codes.iter().map(|&code| (u64::from(code) % 300) & ((1 << width) - 1)).collect();
            let groups = codes.len().div_ceil(8);
            let mut packed = vec![0u8; groups * width];
            for (nth, code) in codes.iter().enumerate() {
                for bit in (0..width).filter(|bit| code >> bit & 1 == 1) {
                    let at = nth * width + bit;
                    packed[at / 8] |= 1 << (at % 8);
                }
            }
            let text = [&[width as u8, (groups << 1 | 1) as u8][..], &packed].concat();
            let mut to = vec![[0; 8]; codes.len()];
            prop_assert_eq!(look_up(&text, &dictionary, &mut to), Some(codes.len()));
            prop_assert_eq!(to, codes.iter().map(|code| code.to_le_bytes()).collect::<Vec<_>>());
        }

        #[test]
        fn anything_is_read_or_refused(codes in prop::collection::vec(any::<u8>(), 0..40), most in 0usize..100) {
            prop_assert!(numbers(&codes, most).is_none_or(|numbers| numbers.len() <= 4 * most));
        }
    }
}
