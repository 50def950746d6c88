//! Keys by their text, each with its lines: an open-addressing table that is asked for many keys at once.

use crate::memory::in_large_pages;
use crate::mix::hash_text;
use crate::simd::prefetch;
use std::ops::Range;

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

/// Keys of single lines that have not been looked up, and the texts of those that are not short.
#[derive(Debug, Default)]
struct Waiting {
    slots: Vec<Slot>,
    texts: Vec<u8>,
}

/// The bytes of a short text, for each length.
const KEPT: [u128; SHORT + 1] = {
    let (mut kept, mut length) = ([0; SHORT + 1], 1);
    while length <= SHORT {
        kept[length] = u128::MAX >> (8 * (SHORT - length));
        length += 1;
    }
    kept
};

/// A short text as it lies in a slot, of bytes that begin with it.
#[inline(always)]
fn short(bytes: &[u8; SHORT], length: usize) -> [u8; SHORT] {
    (u128::from_le_bytes(*bytes) & KEPT[length]).to_le_bytes()
}

/// Where a key with this hash is looked for first, in a table of any size.
fn placed(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Where a text that is not short begins, as its slot says it.
fn start_bytes(start: usize) -> [u8; SHORT] {
    (start as u128).to_le_bytes()
}

impl Slot {
    /// Of a text that begins at `start` in the texts that are not short, if it is not.
    #[inline]
    fn of(hash: u64, text: &[u8], start: usize, lines: u64) -> Slot {
        let mut bytes = start_bytes(start);
        if text.len() <= SHORT {
            bytes = [0; SHORT];
            bytes[..text.len()].copy_from_slice(text);
        }
        Slot { lines, hash: placed(hash), length: text.len() as u32, text: bytes }
    }

    fn is_short(&self) -> bool {
        self.length as usize <= SHORT
    }

    /// Where its text begins, as it is not short.
    fn start(&self) -> usize {
        usize::from_le_bytes(*self.text.first_chunk().expect("a text is longer"))
    }

    #[inline(always)]
    fn text<'a>(&'a self, texts: &'a [u8]) -> &'a [u8] {
        let length = self.length as usize;
        if self.is_short() { &self.text[..length] } else { &texts[self.start()..][..length] }
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
    #[inline(never)]
    pub(super) fn count(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let texts = &mut self.waiting.texts;
        let start = texts.len();
        write(texts);
        let hash = hash_text(&texts[start..]);
        let slot = Slot::of(hash, &texts[start..], start, 1);
        if slot.is_short() {
            texts.truncate(start);
        }
        self.wait(slot);
        hash
    }

    /// The same for the key that is a part of a text. A short one is read whole, whatever its length, and cut with a
    /// mask: to copy so many bytes as it has would be a branch that is guessed wrong.
    #[inline(always)]
    pub(super) fn count_part(&mut self, text: &[u8], part: Range<usize>) -> u64 {
        match text[part.start..].first_chunk() {
            Some(bytes) if part.len() <= SHORT => {
                let (length, hash) = (part.len(), hash_text(&text[part]));
                self.wait(Slot {
                    lines: 1,
                    hash: placed(hash),
                    length: length as u32,
                    text: short(bytes, length),
                });
                hash
            }
            _ => self.count(|to| to.extend_from_slice(&text[part])),
        }
    }

    /// Leaves a key to be looked up with others. The table is asked for it now: a slot beyond the caches comes while other
    /// lines are read.
    #[inline(always)]
    fn wait(&mut self, slot: Slot) {
        self.ask_for(&slot);
        self.waiting.slots.push(slot);
        if self.waiting.slots.len() == AT_ONCE {
            self.settle();
        }
    }

    /// Asks for the slot where a key is looked for first, as far as there is a table.
    #[inline(always)]
    fn ask_for(&self, key: &Slot) {
        let mask = self.slots.len().wrapping_sub(1);
        prefetch(self.slots.as_ptr().wrapping_add(key.hash as usize & mask));
    }

    /// Asks for the text that a key which is not short is compared with first. There are slots.
    #[inline(always)]
    fn ask_for_text(&self, key: &Slot) {
        let slot = &self.slots[key.hash as usize & (self.slots.len() - 1)];
        if !slot.is_short() {
            prefetch(self.texts.as_ptr().wrapping_add(slot.start()));
        }
    }

    /// Looks up what waits.
    #[inline(never)]
    pub(super) fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.add_all(&waiting.slots, &waiting.texts);
        waiting.slots.clear();
        waiting.texts.clear();
        self.waiting = waiting;
    }

    /// Adds the lines of these slots, whose texts that are not short are in `texts`.
    fn add_all(&mut self, slots: &[Slot], texts: &[u8]) {
        self.make_room(slots.len());
        slots.iter().filter(|slot| !slot.is_short()).for_each(|slot| self.ask_for_text(slot));
        for slot in slots.iter().filter(|slot| slot.lines > 0) {
            if slot.is_short() {
                self.add_short(slot);
            } else {
                self.add_long(slot.hash, slot.text(texts), slot.lines);
            }
        }
    }

    /// Adds lines of a key.
    pub(super) fn add(&mut self, text: &[u8], lines: u64) {
        self.add_all(&[Slot::of(hash_text(text), text, 0, lines)], text);
    }

    /// Adds lines of a key that lies in its slot. There is a slot free.
    #[inline(always)]
    fn add_short(&mut self, new: &Slot) {
        let mask = self.slots.len() - 1;
        let mut at = new.hash as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.text == new.text && slot.length == new.length && slot.lines > 0 {
                slot.lines += new.lines;
                return;
            }
            if slot.lines == 0 {
                *slot = *new;
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
        let start = start_bytes(self.texts.len());
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
            slots.iter().filter(|slot| slot.lines > 0).for_each(|slot| self.ask_for(slot));
            self.add_all(slots, &right.texts);
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
            let to = if i % 5 == 0 { &mut other } else { &mut keys };
            let hash = match i % 3 {
                0 => to.count(|to| to.extend(text.bytes())),
                1 => to.count_part(text.as_bytes(), 0..text.len()),
                _ => to.count_part(format!("ab{text} and what is behind").as_bytes(), 2..2 + text.len()),
            };
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
