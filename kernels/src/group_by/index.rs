//! The index of groups: an open-addressing table that leads from a key to the number of its group.
//!
//! A slot begins with a tag: the high half of the key's hash above 1 + the group's number, 0 where there is none. Short
//! keys lie behind their tag, so that a look-up touches one line of memory; longer ones are compared where all keys lie.

use crate::memory::{LINE, Line, lengthen};
use crate::simd::prefetch;

/// Words of a slot that holds its key.
const WIDE: usize = 4;

/// From keys to groups.
#[derive(Debug)]
pub(super) struct Index {
    lines: Vec<Line>,
    /// Words of a slot: those of the tag and of a short key, or the tag's alone.
    slot: usize,
    /// One less than the number of slots, a power of two.
    mask: usize,
}

/// Whether two keys are the same; they are too short for a call of `memcmp`.
#[inline(always)]
fn same(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
}

impl Index {
    /// Of keys of `width` words.
    pub(super) fn new(width: usize) -> Index {
        let slot = if width < WIDE { WIDE } else { 1 };
        Index { lines: vec![Line::default(); 64 * slot / LINE], slot, mask: 63 }
    }

    /// Whether a slot does not hold its key.
    pub(super) fn keys_apart(&self) -> bool {
        self.slot == 1
    }

    /// Asks the memory for the slot of a hash.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        let words = self.lines.as_ptr().cast::<u64>();
        prefetch(words.wrapping_add(self.first(hash) * self.slot));
    }

    /// The group whose tag fits a hash at the first look, which another may share.
    #[inline(always)]
    pub(super) fn likely(&self, hash: u64) -> Option<u32> {
        let tag = self.slots()[self.first(hash) * self.slot];
        (tag >> 32 == hash >> 32).then(|| (tag as u32).checked_sub(1)).flatten()
    }

    /// The group of a key, or the slot where it belongs. `keys` are those of all groups, one after another.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, key: &[u64], keys: &[u64]) -> Result<u32, usize> {
        let slots = self.slots();
        let mut at = self.first(hash);
        loop {
            let slot = &slots[at * self.slot..][..self.slot];
            let Some(group) = (slot[0] as u32).checked_sub(1) else { return Err(at) };
            if slot[0] >> 32 == hash >> 32 {
                let held = if slot.len() > 1 { &slot[1..] } else { &keys[group as usize * key.len()..] };
                if same(key, held) {
                    return Ok(group);
                }
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Puts a group into the slot where its key belongs, and makes room for the next.
    pub(super) fn insert(&mut self, at: usize, hash: u64, key: &[u64], group: u32) {
        let size = self.slot;
        let slot = &mut self.slots_mut()[at * size..][..size];
        slot[0] = hash >> 32 << 32 | u64::from(group + 1);
        if let Some(held) = slot[1..].get_mut(..key.len()) {
            held.copy_from_slice(key);
        }
        if (group as usize + 1) * 2 > self.mask {
            self.grow();
        }
    }

    /// Doubles the slots. As a slot's place is the beginning of its hash, its new one is never far from twice the old:
    /// memory is written in order.
    fn grow(&mut self) {
        let (slot, from) = (self.slot, std::mem::take(&mut self.lines));
        let old = self.mask + 1;
        self.mask = 2 * old - 1;
        lengthen(&mut self.lines, 2 * from.len());
        let from: &[u64] = bytemuck::cast_slice(&from);
        for held in from.chunks_exact(slot).filter(|held| held[0] != 0) {
            let mut at = self.first(held[0]);
            while self.slots()[at * slot] != 0 {
                at = (at + 1) & self.mask;
            }
            self.slots_mut()[at * slot..][..slot].copy_from_slice(held);
        }
    }

    /// The first slot that a key of this hash, or of this tag, may lie in.
    #[inline(always)]
    fn first(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.mask
    }

    #[inline(always)]
    fn slots(&self) -> &[u64] {
        bytemuck::cast_slice(&self.lines)
    }

    #[inline(always)]
    fn slots_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}
