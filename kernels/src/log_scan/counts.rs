//! How many lines there are of each captured text.

use super::keys::Keys;
use crate::kernel::Partial;
use crate::mix::hash_text;
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
    keys: Keys,
}

impl LogScanPartial {
    /// Counts a line with these groups; the hash of its key. [`LogScanPartial::settle`] comes after the last.
    #[inline]
    pub(super) fn count(
        &mut self,
        text: &[u8],
        groups: impl Iterator<Item = Option<Range<usize>>> + Clone,
    ) -> u64 {
        self.lines += 1;
        self.keys.count(|key| {
            for group in groups.clone() {
                let length = group.map_or(NOTHING, |group| group.len() as u32);
                key.extend_from_slice(&length.to_le_bytes());
            }
            groups.flatten().for_each(|group| key.extend_from_slice(&text[group]));
        })
    }

    /// Makes sure that every line is counted.
    pub(super) fn settle(&mut self) {
        self.keys.settle();
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> u64 {
        self.keys.len()
    }

    /// The groups of every key, `many` of them, and its lines.
    pub(super) fn groups(&self, many: usize) -> Vec<(Vec<Option<&[u8]>>, u64)> {
        self.keys.iter().map(|(key, lines)| (split(key, many), lines)).collect()
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
        self.keys.merge(&right.keys);
        self
    }

    fn bytes(&self) -> u64 {
        self.keys.bytes()
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
        let mut sorted: Vec<(&[u8], u64)> = self.keys.iter().collect();
        sorted.sort_unstable();
        let mut keys = Vec::with_capacity(sorted.iter().map(|(key, _)| key.len()).sum());
        let ends = sorted.iter().map(|(key, _)| {
            keys.extend_from_slice(key);
            keys.len() as u64
        });
        let ends = ends.collect();
        let counts = sorted.iter().map(|&(_, lines)| lines).collect();
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
            partial.keys.add(hash_text(key), key, count);
            start = end as usize;
        }
        Ok(partial)
    }
}
