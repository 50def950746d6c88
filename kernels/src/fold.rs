//! What a block may ask of the thread that folds it: the vector width, how much memory it may use for a tile, and a
//! place to note the bytes it read.

use crate::simd::Simd;

/// The context of one block's fold.
pub struct Fold {
    /// The vector instructions to use. The bits do not depend on it.
    pub simd: Simd,
    /// How many bytes of scratch this thread may hold; tiles inside a block are cut to fit. The bits do not depend on
    /// it.
    pub tile_bytes: usize,
    reads: blake3::Hasher,
}

impl Fold {
    /// A context for one block.
    pub fn new(simd: Simd, tile_bytes: usize) -> Self {
        Fold { simd, tile_bytes, reads: blake3::Hasher::new() }
    }

    /// Notes input bytes that the block depends on. They go into the hash of its leaf, so that `verify` notices an
    /// input that changed.
    pub fn note_read(&mut self, bytes: &[u8]) {
        self.reads.update(bytes);
    }

    /// The hash over everything noted, `None` if nothing was.
    pub fn reads(&self) -> Option<[u8; 16]> {
        (self.reads.count() > 0).then(|| crate::hash::first16(&self.reads.finalize()))
    }
}
