//! Keys by their text, each with its lines: an open-addressing table that is asked for many keys at once.

use crate::memory::in_large_pages;
use crate::mix::hash_text;
use crate::simd::prefetch;

/// So many keys are looked up together: what is asked for memory stays in the caches until it is used.
const AT_ONCE: usize = 128;
/// A text of so many bytes or fewer lies in its slot: one piece of memory to wait for.
const SHORT: usize = 16;

/// Keys and their lines.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// At most three of four are taken; a power of two of them, or none.
    slots: Vec<Slot>,
    taken: usize,
    /// The texts that are not short, one after another.
    texts: Vec<u8>,
    waiting: Waiting,
}

/// A key, or none where there are no lines.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Slot {
    lines: u64,
    /// Where it is looked for first.
    hash: u32,
    length: u32,
    /// A short text, zeros behind it; where the text begins if it is not short.
    text: [u8; SHORT],
}

/// Keys of single lines that have not been looked up.
#[derive(Debug, Default)]
struct Waiting {
    texts: Vec<u8>,
    /// Their hashes, and where they end.
    ends: Vec<(u32, usize)>,
}

/// A short text as it lies in a slot, of bytes that begin with it.
#[inline(always)]
fn short(bytes: &[u8; SHORT], length: usize) -> [u8; SHORT] {
    let kept = u128::MAX.checked_shr(8 * (SHORT - length) as u32).unwrap_or(0);
    (u128::from_le_bytes(*bytes) & kept).to_le_bytes()
}

/// Where a key with this hash is looked for first, in a table of any size.
fn placed(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Slot {
    /// Where its text begins, as it is not short.
    fn start(&self) -> usize {
        usize::from_le_bytes(*self.text.first_chunk().expect("a text is longer"))
    }

    #[inline(always)]
    fn text<'a>(&'a self, texts: &'a [u8]) -> &'a [u8] {
        let length = self.length as usize;
        if length <= SHORT { &self.text[..length] } else { &texts[self.start()..][..length] }
    }
}

impl Keys {
    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.taken as u64
    }

    /// About how many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        (self.texts.len() + 24 * self.taken) as u64
    }

    /// Each key, and its lines.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.slots.iter().filter(|slot| slot.lines > 0).map(|slot| (slot.text(&self.texts), slot.lines))
    }

    /// Counts a line of the key that `write` puts behind what is there; its hash. It waits for others:
    /// [`Keys::settle`].
    #[inline]
    pub(super) fn count(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let Waiting { texts, ends } = &mut self.waiting;
        let start = texts.len();
        write(texts);
        let hash = hash_text(&texts[start..]);
        ends.push((placed(hash), texts.len()));
        if ends.len() == AT_ONCE {
            self.settle();
        }
        hash
    }

    /// Looks up what waits. A table beyond the caches is asked for all slots at once: each line by itself would wait for
    /// memory.
    pub(super) fn settle(&mut self) {
        if self.waiting.ends.is_empty() {
            return;
        }
        let Waiting { mut texts, mut ends } = std::mem::take(&mut self.waiting);
        self.make_room(ends.len());
        let mask = self.slots.len() - 1;
        ends.iter().for_each(|&(hash, _)| prefetch(&self.slots[hash as usize & mask]));
        texts.extend_from_slice(&[0; SHORT]);
        let mut start = 0;
        for &(hash, end) in &ends {
            let length = end - start;
            if length <= SHORT {
                let bytes = texts[start..].first_chunk().expect("zeros are behind the last");
                self.add_short(hash, short(bytes, length), length, 1);
            } else {
                self.add_long(hash, &texts[start..end], 1);
            }
            start = end;
        }
        texts.clear();
        ends.clear();
        self.waiting = Waiting { texts, ends };
    }

    /// Adds lines of a key.
    pub(super) fn add(&mut self, text: &[u8], lines: u64) {
        self.make_room(1);
        let hash = placed(hash_text(text));
        if text.len() > SHORT {
            return self.add_long(hash, text, lines);
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text);
        self.add_short(hash, bytes, text.len(), lines);
    }

    /// Adds lines of a key that lies in its slot. There is a slot free.
    #[inline(always)]
    fn add_short(&mut self, hash: u32, text: [u8; SHORT], length: usize, lines: u64) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.text == text && slot.length as usize == length && slot.lines > 0 {
                slot.lines += lines;
                return;
            }
            if slot.lines == 0 {
                *slot = Slot { lines, hash, length: length as u32, text };
                self.taken += 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// The same for a longer one.
    fn add_long(&mut self, hash: u32, text: &[u8], lines: u64) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.lines == 0 {
                break;
            }
            if slot.hash == hash && slot.text(&self.texts) == text {
                slot.lines += lines;
                return;
            }
            at = (at + 1) & mask;
        }
        let mut start = [0; SHORT];
        start[..size_of::<usize>()].copy_from_slice(&self.texts.len().to_le_bytes());
        self.slots[at] = Slot { lines, hash, length: text.len() as u32, text: start };
        self.texts.extend_from_slice(text);
        self.taken += 1;
    }

    /// Makes room for so many keys more.
    #[inline]
    fn make_room(&mut self, keys: usize) {
        if (self.taken + keys) * 4 > self.slots.len() * 3 {
            self.grow();
        }
    }

    /// Makes the table larger: four times while it is small.
    #[cold]
    fn grow(&mut self) {
        let many = (if self.slots.len() < 1 << 15 { 4 } else { 2 } * self.slots.len()).max(4 * AT_ONCE);
        let mut slots = Vec::with_capacity(many);
        in_large_pages(&mut slots);
        slots.resize(many, Slot::default());
        for slot in self.slots.iter().filter(|slot| slot.lines > 0) {
            let mut at = slot.hash as usize & (many - 1);
            while slots[at].lines > 0 {
                at = (at + 1) & (many - 1);
            }
            slots[at] = *slot;
        }
        self.slots = slots;
        in_large_pages(&mut self.texts);
    }

    /// Adds the keys of `right`.
    pub(super) fn merge(&mut self, right: &Keys) {
        for slots in right.slots.chunks(AT_ONCE) {
            self.make_room(slots.len());
            let mask = self.slots.len() - 1;
            let taken = || slots.iter().filter(|slot| slot.lines > 0);
            taken().for_each(|slot| prefetch(&self.slots[slot.hash as usize & mask]));
            for slot in taken() {
                if slot.length as usize <= SHORT {
                    self.add_short(slot.hash, slot.text, slot.length as usize, slot.lines);
                } else {
                    self.add_long(slot.hash, slot.text(&right.texts), slot.lines);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn many_keys_are_counted_as_a_map_counts_them() {
        let (mut keys, mut other, mut map) = (Keys::default(), Keys::default(), BTreeMap::new());
        for i in 0..300_000u64 {
            let text = format!("{}", i * i % 50_021).repeat(i as usize % 7);
            let hash = if i % 5 == 0 { &mut other } else { &mut keys }.count(|to| to.extend(text.bytes()));
            assert_eq!(hash, hash_text(text.as_bytes()));
            *map.entry(text.into_bytes()).or_insert(0) += 1;
        }
        keys.settle();
        other.settle();
        keys.merge(&other);
        let mut counted: Vec<_> = keys.iter().map(|(text, lines)| (text.to_vec(), lines)).collect();
        counted.sort_unstable();
        assert_eq!(counted, map.into_iter().collect::<Vec<_>>());
    }
}
