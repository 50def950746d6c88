//! What a block may ask of the thread that folds it: the vector width, how much memory it may use for a tile, and
//! places to note the bytes it read and the memory it worked in.

use crate::simd::Simd;

/// Pages are of this size or a multiple of it.
const PAGE: usize = 4096;

/// Looks at a piece of memory while it is there, given its address and its length in bytes.
pub type Look = Box<dyn FnMut(usize, usize)>;

/// The context of one block's fold.
pub struct Fold {
    /// The vector instructions to use. The bits do not depend on it.
    pub simd: Simd,
    /// How many bytes of scratch this thread may hold; tiles inside a block are cut to fit. The bits do not depend on
    /// it.
    pub tile_bytes: usize,
    /// How many bytes a kernel of rounds may keep on this rank from one round to the next, all blocks together. The
    /// bits do not depend on it.
    pub keep_bytes: usize,
    reads: blake3::Hasher,
    look: Option<Look>,
    looked_at: usize,
}

impl Fold {
    /// A context for one block.
    pub fn new(simd: Simd, tile_bytes: usize) -> Self {
        let reads = blake3::Hasher::new();
        Fold { simd, tile_bytes, keep_bytes: 0, reads, look: None, looked_at: 0 }
    }

    /// Lets the kernel keep so many bytes on this rank between rounds.
    #[must_use]
    pub fn keeping(mut self, keep_bytes: usize) -> Self {
        self.keep_bytes = keep_bytes;
        self
    }

    /// Has `look` see the memory that the block notes with [`Fold::note_scratch`].
    #[must_use]
    pub fn looking(mut self, look: Look) -> Self {
        self.look = Some(look);
        self
    }

    /// Notes input bytes that the block depends on. They go into the hash of its leaf, so that `verify` notices an
    /// input that changed.
    pub fn note_read(&mut self, bytes: &[u8]) {
        self.reads.update(bytes);
    }

    /// Notes memory of the block's own that it has written: a tile, a table. `--placement` looks on which NUMA domain
    /// it lies; otherwise this costs nothing. Notes one after another within one page count as one.
    pub fn note_scratch<T>(&mut self, memory: &[T]) {
        let Some(look) = &mut self.look else { return };
        let (start, bytes) = (memory.as_ptr().addr(), size_of_val(memory));
        let last = (start + bytes.max(1) - 1) / PAGE;
        if bytes > 0 && (start / PAGE, last) != (self.looked_at, self.looked_at) {
            self.looked_at = last;
            look(start, bytes);
        }
    }

    /// The hash over everything noted, `None` if nothing was.
    pub fn reads(&self) -> Option<[u8; 16]> {
        (self.reads.count() > 0).then(|| crate::hash::first16(&self.reads.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn scratch_is_looked_at_once_for_each_page() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = seen.clone();
        let look = Box::new(move |start, bytes| noted.borrow_mut().push((start, bytes)));
        let mut cx = Fold::new(Simd::all()[0], 0).looking(look);
        let memory = vec![1u8; 4 * PAGE];
        let first = PAGE - memory.as_ptr().addr() % PAGE;
        for range in [first..first + 10, first + 10..first + 30, first + 30..first + PAGE + 1, 0..0] {
            cx.note_scratch(&memory[range]);
        }
        assert_eq!(seen.borrow().iter().map(|s| s.1).collect::<Vec<_>>(), [10, PAGE - 29]);
    }
}
