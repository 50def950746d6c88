//! A quick hash of words and texts, the same on every host: leaf hashes of answers are made of it.

/// Where a hash begins.
pub(crate) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of a hash: the halves of a product, folded.
#[inline(always)]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9);
    product as u64 ^ (product >> 64) as u64
}

/// The halves of a product, folded.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of a text: sixteen bytes at a time, the last sixteen once more as they overlap (as wyhash does, Wang Yi 2019).
#[inline]
pub(crate) fn hash_text(text: &[u8]) -> u64 {
    const ODD: [u64; 2] = [0x2d35_8dcc_aa6c_78a5, 0x8bb8_4b93_962e_acc9];
    let two = |bytes: &[u8; 16]| {
        let [a, b] = bytes.as_chunks::<8>().0 else { unreachable!("sixteen bytes are two words") };
        (u64::from_le_bytes(*a), u64::from_le_bytes(*b))
    };
    let mut hash = SEED ^ text.len() as u64;
    let (a, b) = match text.last_chunk::<16>() {
        Some(last) => {
            for bytes in text[..text.len() - 1].as_chunks::<16>().0 {
                let (a, b) = two(bytes);
                hash = fold(a ^ hash, b ^ ODD[0]);
            }
            two(last)
        }
        None => ends(text),
    };
    fold(fold(a ^ hash, b ^ ODD[1]), ODD[0])
}

/// The first and the last bytes of a text shorter than sixteen: with its length they say all of it.
#[inline(always)]
fn ends(text: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into());
    }
    match text {
        [] => (0, 0),
        [first, .., last] => (u64::from(*first) << 8 | u64::from(text[text.len() / 2]), u64::from(*last)),
        [only] => (u64::from(*only) << 8 | u64::from(*only), u64::from(*only)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn texts_that_differ_in_a_bit_have_hashes_that_differ_in_many() {
        for length in 0..70 {
            let text: Vec<u8> = (0..length).map(|i| b'a' + i as u8 % 7).collect();
            let hash = hash_text(&text);
            for bit in 0..8 * length {
                let mut other = text.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let differ = (hash ^ hash_text(&other)).count_ones();
                assert!((10..=54).contains(&differ), "bit {bit} of {length} bytes changes {differ}");
            }
        }
    }

    #[test]
    fn numbers_as_texts_fall_evenly_into_a_table() {
        for mask in [0xffff, 0xffff << 32, 0xffff << 48] {
            let hit: BTreeSet<u64> =
                (0..65536u64).map(|i| hash_text(i.to_string().as_bytes()) & mask).collect();
            // 1 - 1/e of the places are hit by chance.
            assert!((41_000..42_000).contains(&hit.len()), "{} places under {mask:x}", hit.len());
        }
    }
}
