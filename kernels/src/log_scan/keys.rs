//! Keys by their text, each with its lines: an open-addressing table that is asked for many keys at once.

use crate::memory::in_large_pages;
use crate::mix::hash_text;
use crate::simd::prefetch;

/// So many keys are looked up together: what is asked for memory stays in the caches until it is used.
const AT_ONCE: usize = 128;

/// Keys and their lines.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The texts of all, one after another.
    texts: Vec<u8>,
    keys: Vec<Key>,
    /// 1 + the number of a key, below the high half of its hash; 0 where there is none.
    table: Vec<u64>,
    waiting: Waiting,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    start: usize,
    length: usize,
    lines: u64,
}

/// Keys of single lines that have not been looked up.
#[derive(Debug, Default)]
struct Waiting {
    texts: Vec<u8>,
    /// Their hashes, and where they end.
    ends: Vec<(u64, usize)>,
}

impl Keys {
    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    /// About how many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        (self.texts.len() + 16 * self.keys.len()) as u64
    }

    /// Each key, and its lines.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.keys.iter().map(|key| (self.text(key), key.lines))
    }

    #[inline(always)]
    fn text(&self, key: &Key) -> &[u8] {
        &self.texts[key.start..key.start + key.length]
    }

    /// Counts a line of the key that `write` puts behind what is there; its hash. It waits for others:
    /// [`Keys::settle`].
    #[inline]
    pub(super) fn count(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let Waiting { texts, ends } = &mut self.waiting;
        let start = texts.len();
        write(texts);
        let hash = hash_text(&texts[start..]);
        ends.push((hash, texts.len()));
        if ends.len() == AT_ONCE {
            self.settle();
        }
        hash
    }

    /// Looks up what waits. A table beyond the caches is asked for all entries at once, then for all keys, then for their
    /// texts: each line by itself would wait for memory three times.
    pub(super) fn settle(&mut self) {
        let Waiting { mut texts, mut ends } = std::mem::take(&mut self.waiting);
        if let Some(mask) = self.table.len().checked_sub(1) {
            let entry = |hash: u64| &self.table[hash as usize & mask];
            ends.iter().for_each(|&(hash, _)| prefetch(entry(hash)));
            let likely = |hash: u64| {
                let entry = *entry(hash);
                (entry != 0 && entry >> 32 == hash >> 32).then(|| &self.keys[entry as u32 as usize - 1])
            };
            let keys = || ends.iter().filter_map(|&(hash, _)| likely(hash));
            keys().for_each(|key| prefetch(key));
            keys().for_each(|key| prefetch(self.texts[key.start..].as_ptr()));
        }
        let mut start = 0;
        for &(hash, end) in &ends {
            self.add(hash, &texts[start..end], 1);
            start = end;
        }
        texts.clear();
        ends.clear();
        self.waiting = Waiting { texts, ends };
    }

    /// Adds lines of a key with this hash.
    pub(super) fn add(&mut self, hash: u64, text: &[u8], lines: u64) {
        if self.keys.len() * 2 >= self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.table[at];
            if entry == 0 {
                break;
            }
            let nth = entry as u32 as usize - 1;
            if entry >> 32 == hash >> 32 && self.text(&self.keys[nth]) == text {
                self.keys[nth].lines += lines;
                return;
            }
            at = (at + 1) & mask;
        }
        self.table[at] = (hash >> 32) << 32 | (self.keys.len() as u64 + 1);
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        self.keys.push(Key { hash, start, length: text.len(), lines });
    }

    /// Makes the table four times as large.
    fn grow(&mut self) {
        let mask = (4 * self.table.len()).max(64) - 1;
        self.table = Vec::with_capacity(mask + 1);
        in_large_pages(&mut self.table);
        self.table.resize(mask + 1, 0);
        for (nth, key) in (1u64..).zip(&self.keys) {
            let mut at = key.hash as usize & mask;
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = (key.hash >> 32) << 32 | nth;
        }
        self.keys.reserve(self.keys.len());
        in_large_pages(&mut self.keys);
        in_large_pages(&mut self.texts);
    }

    /// Adds the keys of `right`.
    pub(super) fn merge(&mut self, right: &Keys) {
        right.keys.iter().for_each(|key| self.add(key.hash, right.text(key), key.lines));
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
            let text = format!("{}", i * i % 50_021).repeat(1 + i as usize % 3);
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
