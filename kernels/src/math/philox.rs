//! Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror, Shaw 2011): what it draws depends on seed and
//! counter alone, never on a thread or a rank.

use crate::simd::Lanes;

/// How many counters are drawn at once: the lanes of a loop run over them.
pub const BATCH: usize = 64;

const M0: u64 = 0xd251_1f53;
const M1: u64 = 0xcd9e_8d57;
const W0: u32 = 0x9e37_79b9;
const W1: u32 = 0xbb67_ae85;

/// A generator: its key is the seed.
#[derive(Clone, Copy, Debug)]
pub struct Philox {
    key: [u32; 2],
}

/// Which numbers to draw: those of [`BATCH`] consecutive paths. Counter words: path low, path high, group, stream.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The first path, a multiple of [`BATCH`].
    pub path: u64,
    /// Which four numbers of each path.
    pub group: u32,
    /// What they are for: numbers of different streams are independent.
    pub stream: u32,
}

/// Four words for each path of a batch, each in the low half of 64 bits.
pub type Words = [[u64; BATCH]; 4];

impl Philox {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Philox { key: [seed as u32, (seed >> 32) as u32] }
    }

    fn round_keys(self) -> [(u64, u64); 10] {
        let mut keys = [(0, 0); 10];
        for (i, key) in (0u32..).zip(&mut keys) {
            let weyl = |k: u32, w: u32| u64::from(k.wrapping_add(w.wrapping_mul(i)));
            *key = (weyl(self.key[0], W0), weyl(self.key[1], W1));
        }
        keys
    }

    /// The keys of the ten rounds, two and two.
    pub fn keys(self) -> [u32; 20] {
        let mut keys = [0; 20];
        for (pair, key) in keys.as_chunks_mut::<2>().0.iter_mut().zip(self.round_keys()) {
            *pair = [key.0 as u32, key.1 as u32];
        }
        keys
    }

    /// The four words of one counter under such keys.
    #[inline(always)]
    pub fn words_by(keys: &[u32; 20], counter: [u32; 4]) -> [u32; 4] {
        let mut c = counter.map(u64::from);
        for &[k0, k1] in keys.as_chunks::<2>().0 {
            c = round(c, (u64::from(k0), u64::from(k1)));
        }
        c.map(|w| w as u32)
    }

    /// The four words of one counter.
    pub fn words(self, counter: [u32; 4]) -> [u32; 4] {
        Philox::words_by(&self.keys(), counter)
    }

    /// The words of a batch.
    #[inline(always)]
    pub fn batch<L: Lanes>(self, draw: Draw, out: &mut Words) {
        let keys = self.round_keys();
        for i in 0..BATCH {
            let path = draw.path + i as u64;
            let mut c = [path & 0xffff_ffff, path >> 32, u64::from(draw.group), u64::from(draw.stream)];
            for key in keys {
                c = round(c, key);
            }
            for (row, word) in out.iter_mut().zip(c) {
                row[i] = word;
            }
        }
    }
}

#[inline(always)]
fn round(c: [u64; 4], (k0, k1): (u64, u64)) -> [u64; 4] {
    let (p0, p1) = (M0 * (c[0] & 0xffff_ffff), M1 * (c[2] & 0xffff_ffff));
    [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xffff_ffff, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xffff_ffff]
}

/// A word as a number in (0, 1): the middle of its 2^-32.
#[inline(always)]
pub fn unit(word: u64) -> f64 {
    // 2^52 + word as bits, minus 2^52 - 1/2: exact.
    (f64::from_bits(0x4330_0000_0000_0000 | word) - 4_503_599_627_370_495.5) * 2.3283064365386963e-10
}

/// Uniform numbers in (0, 1), 32 bits each: word `k` of path `i` in `out[k][i]`.
#[inline(always)]
pub fn uniforms<L: Lanes>(rng: Philox, draw: Draw, out: &mut [[f64; BATCH]; 4]) {
    let mut words = [[0; BATCH]; 4];
    rng.batch::<L>(draw, &mut words);
    for (row, words) in out.iter_mut().zip(&words) {
        for (x, &word) in row.iter_mut().zip(words) {
            *x = L::pass(unit(word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let zero = Philox::new(0).words([0; 4]);
        assert_eq!(zero, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = Philox::new(u64::MAX).words([u32::MAX; 4]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi =
            Philox::new(0x299f_31d0_a409_3822).words([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn a_word_stands_for_the_middle_of_its_cell() {
        assert_eq!(unit(0), 0.5 / 4_294_967_296.0);
        assert_eq!(unit(u64::from(u32::MAX)), 1.0 - 0.5 / 4_294_967_296.0);
    }
}
