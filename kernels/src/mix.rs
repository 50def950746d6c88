//! A quick hash of words and texts, the same on every host: leaf hashes of answers are made of it.

/// Where a hash begins.
pub(crate) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of a hash: the halves of a product, folded.
#[inline(always)]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of a text.
#[inline]
pub(crate) fn hash_text(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(SEED, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(hash, u64::from_le_bytes(last)), text.len() as u64)
}
