//! How many lines there are of each captured text.

use crate::kernel::Partial;
use crate::mix::hash_text;
use crate::table::Interner;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use std::ops::Range;

/// The length that stands for a group which has no part in a match.
const NOTHING: u32 = u32::MAX;

/// Lines that matched, and how many for each key.
#[derive(Debug, Default)]
pub struct LogScanPartial {
    /// How many.
    pub(super) lines: u64,
    /// A key has the length of each of its groups, and then their texts.
    keys: Interner,
    counts: Vec<u64>,
    /// The key that is put together.
    key: Vec<u8>,
}

impl LogScanPartial {
    /// Counts a line with these groups; the hash of its key.
    #[inline]
    pub(super) fn count(
        &mut self,
        text: &[u8],
        groups: impl Iterator<Item = Option<Range<usize>>> + Clone,
    ) -> u64 {
        self.lines += 1;
        self.key.clear();
        for group in groups.clone() {
            let length = group.map_or(NOTHING, |group| group.len() as u32);
            self.key.extend_from_slice(&length.to_le_bytes());
        }
        groups.flatten().for_each(|group| self.key.extend_from_slice(&text[group]));
        let hash = hash_text(&self.key);
        let code = self.keys.intern_hashed(&self.key, hash);
        self.add(code, 1);
        hash
    }

    #[inline]
    fn add(&mut self, code: u32, lines: u64) {
        match self.counts.get_mut(code as usize) {
            Some(count) => *count += lines,
            None => self.counts.push(lines),
        }
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> u64 {
        self.counts.len() as u64
    }

    /// The groups of every key, `many` of them, and its lines.
    pub(super) fn groups(&self, many: usize) -> Vec<(Vec<Option<&[u8]>>, u64)> {
        let words = self.keys.words();
        (0u32..).zip(&self.counts).map(|(code, &count)| (split(words.get(code), many), count)).collect()
    }
}

fn split(key: &[u8], many: usize) -> Vec<Option<&[u8]>> {
    let (lengths, mut texts) = key.split_at(4 * many);
    let lengths = lengths.as_chunks::<4>().0.iter().map(|length| u32::from_le_bytes(*length));
    let mut next = |length: u32| {
        (length != NOTHING).then(|| {
            let (text, rest) = texts.split_at(length as usize);
            texts = rest;
            text
        })
    };
    lengths.map(&mut next).collect()
}

impl Partial for LogScanPartial {
    fn merge(mut self, mut right: Self) -> Self {
        if self.keys() < right.keys() {
            std::mem::swap(&mut self, &mut right);
        }
        self.lines += right.lines;
        for (code, &count) in (0u32..).zip(&right.counts) {
            let code = self.keys.intern(right.keys.words().get(code));
            self.add(code, count);
        }
        self
    }

    fn bytes(&self) -> u64 {
        self.keys.words().bytes() as u64 + 16 * self.keys()
    }
}

/// The keys in the order of their bytes, one after another, where they end, and their lines.
#[derive(Serialize, Deserialize)]
struct Encoded {
    lines: u64,
    keys: ByteBuf,
    ends: Vec<u64>,
    counts: Vec<u64>,
}

impl Serialize for LogScanPartial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = self.keys.words();
        let mut order: Vec<u32> = (0..words.len() as u32).collect();
        order.sort_unstable_by_key(|&code| words.get(code));
        let mut keys = Vec::with_capacity(words.bytes());
        let ends = order.iter().map(|&code| {
            keys.extend_from_slice(words.get(code));
            keys.len() as u64
        });
        let ends = ends.collect();
        let counts = order.iter().map(|&code| self.counts[code as usize]).collect();
        Encoded { lines: self.lines, keys: ByteBuf::from(keys), ends, counts }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LogScanPartial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Encoded::deserialize(deserializer)?;
        let mut partial = LogScanPartial { lines: encoded.lines, ..LogScanPartial::default() };
        let mut start = 0;
        for (&end, &count) in encoded.ends.iter().zip(&encoded.counts) {
            let key = encoded.keys.get(start..end as usize);
            let key = key.ok_or_else(|| serde::de::Error::custom("a key ends beyond all keys"))?;
            let code = partial.keys.intern(key);
            partial.add(code, count);
            start = end as usize;
        }
        Ok(partial)
    }
}
