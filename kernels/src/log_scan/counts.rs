//! How many lines there are of each captured text.

use super::keys::Keys;
use crate::kernel::Partial;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use std::ops::Range;

/// What stands for a group which has no part in a match: no text has a line feed.
const NOTHING: &[u8] = b"\n";

/// Lines that matched, and how many for each key.
#[derive(Debug, Default)]
pub struct LogScanPartial {
    /// How many.
    pub(super) lines: u64,
    /// A key has the texts of its groups, and then the lengths of all but the first.
    keys: Keys,
}

impl LogScanPartial {
    /// Counts a line with these groups; the hash of its key. [`LogScanPartial::settle`] comes after the last.
    #[inline(always)]
    pub(super) fn count(
        &mut self,
        text: &[u8],
        mut groups: impl ExactSizeIterator<Item = Option<Range<usize>>> + Clone,
    ) -> u64 {
        self.lines += 1;
        if groups.len() == 1 {
            return match groups.next().flatten() {
                Some(group) => self.keys.count_part(text, group),
                None => self.keys.count(|key| key.extend_from_slice(NOTHING)),
            };
        }
        self.keys.count(|key| {
            let texts = groups.map(|group| group.map_or(NOTHING, |group| &text[group]));
            texts.clone().for_each(|text| key.extend_from_slice(text));
            texts.skip(1).for_each(|text| key.extend_from_slice(&(text.len() as u32).to_le_bytes()));
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

    /// The groups of every key, `many` of them, and its lines; with `top`, of those so many that have the most lines, and
    /// of those with as many as the last of them.
    pub(super) fn groups(&self, many: usize, top: Option<usize>) -> Vec<(Vec<Option<&[u8]>>, u64)> {
        let mut all: Vec<u64> =
            top.map_or(Vec::new(), |_| self.keys.iter().map(|(_, lines)| lines).collect());
        let least = match top {
            Some(top) if top < all.len() => {
                *all.select_nth_unstable_by(top.saturating_sub(1), |a, b| b.cmp(a)).1
            }
            _ => 0,
        };
        let kept = self.keys.iter().filter(|&(_, lines)| lines >= least);
        kept.map(|(key, lines)| (split(key, many), lines)).collect()
    }
}

fn split(key: &[u8], many: usize) -> Vec<Option<&[u8]>> {
    let (mut texts, lengths) = key.split_at(key.len() - 4 * (many - 1));
    let lengths = lengths.as_chunks::<4>().0.iter().map(|length| u32::from_le_bytes(*length) as usize);
    let first = texts.len() - lengths.clone().sum::<usize>();
    let next = |length: usize| {
        let text = texts.split_off(..length).expect("a key is as long as its groups");
        (text != NOTHING).then_some(text)
    };
    std::iter::once(first).chain(lengths).map(next).collect()
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
            let key = key.filter(|_| count > 0);
            let key =
                key.ok_or_else(|| serde::de::Error::custom("a key ends beyond all keys, or has no line"))?;
            partial.keys.add(key, count);
            start = end as usize;
        }
        Ok(partial)
    }
}
