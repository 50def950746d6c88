//! Groups as a partial: its merge, its canonical encoding, its digest.

use super::groups::Groups;
use super::state::Layout;
use crate::kernel::Partial;
use crate::math::exact::Register;
use crate::mix::mix;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

/// The groups of some blocks.
#[derive(Debug)]
pub struct GroupByPartial(pub(super) Groups);

/// Groups in the order of their keys, texts numbered in the order of their bytes.
#[derive(Serialize, Deserialize)]
struct Encoded {
    layout: Layout,
    /// The texts of each key column, one after another, and where they end.
    texts: Vec<Option<(ByteBuf, Vec<u64>)>>,
    keys: ByteBuf,
    states: ByteBuf,
    /// By group and slot: how many values are missing.
    missing: Vec<(u32, u16, u64)>,
    registers: Vec<(u32, u16, Register)>,
    sketch: Vec<(u32, u16, i32, u64)>,
    limit: u64,
    refused: bool,
    rows: u64,
}

impl Partial for GroupByPartial {
    fn merge(self, right: Self) -> Self {
        // Variances round, so they merge in order; all else may go into the larger.
        if self.0.len() < right.0.len() && !self.0.layout.slots.iter().any(|slot| slot.wants.spread) {
            return GroupByPartial(right.0.merge(&self.0));
        }
        GroupByPartial(self.0.merge(&right.0))
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// A sum over the groups, so that they need not be sorted.
    fn digest(&self, hasher: &mut blake3::Hasher) {
        let groups = &self.0;
        let mut sum = [0u64; 2];
        let mut add = |hash: u64| {
            sum[0] = sum[0].wrapping_add(mix(hash, 1));
            sum[1] = sum[1].wrapping_add(mix(hash, 2));
        };
        for (group, &hash) in (0u32..).zip(&groups.hashes) {
            add(groups.state(group).iter().fold(hash, |hash, &word| mix(hash, word)));
        }
        for slot in 0..groups.layout.slots.len() {
            for (group, count) in groups.all_missing(slot) {
                add(mix(mix(groups.hashes[group as usize], !(slot as u64)), count));
            }
        }
        for (&(group, slot), register) in &groups.registers {
            let start = mix(groups.hashes[group as usize], u64::from(slot));
            add(register.digits().fold(start, |hash, digit| mix(hash, digit as u64)));
        }
        for (&(group, slot, bucket), &count) in &groups.sketch {
            let start = mix(groups.hashes[group as usize], u64::from(slot) << 32 | u64::from(bucket as u32));
            add(mix(start, count));
        }
        for word in [groups.len() as u64, groups.rows, sum[0], sum[1]] {
            hasher.update(&word.to_le_bytes());
        }
    }
}

impl Serialize for GroupByPartial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let groups = &self.0;
        let order = groups.sorted(usize::MAX);
        let mut place = vec![0u32; order.len()];
        for (to, &from) in (0u32..).zip(&order) {
            place[from as usize] = to;
        }
        let (mut texts, mut codes) = (Vec::new(), Vec::new());
        for column in &groups.texts {
            let (mut bytes, mut ends, mut code) = (Vec::new(), Vec::new(), Vec::new());
            if let Some(column) = column {
                let words = column.words();
                let mut sorted: Vec<u32> = (0..words.len() as u32).collect();
                sorted.sort_unstable_by_key(|&c| words.get(c));
                code = vec![0u64; sorted.len()];
                for (to, from) in (0u64..).zip(sorted) {
                    code[from as usize] = to;
                    bytes.extend_from_slice(words.get(from));
                    ends.push(bytes.len() as u64);
                }
            }
            texts.push(column.is_some().then(|| (ByteBuf::from(bytes), ends)));
            codes.push(code);
        }
        let (mut keys, mut states) = (Vec::new(), Vec::new());
        for &group in &order {
            for (i, &word) in groups.key(group).iter().enumerate() {
                let word = codes.get(i).and_then(|code| code.get(word as usize)).copied().unwrap_or(word);
                keys.extend_from_slice(&word.to_le_bytes());
            }
            states.extend(groups.state(group).iter().flat_map(|word| word.to_le_bytes()));
        }
        let each = |slot: usize| groups.all_missing(slot).map(move |(g, n)| (g, slot as u16, n));
        let mut missing: Vec<_> = (0..groups.layout.slots.len()).flat_map(each).collect();
        missing.iter_mut().for_each(|m| m.0 = place[m.0 as usize]);
        missing.sort_unstable();
        let mut registers: Vec<_> =
            groups.registers.iter().map(|(&(g, s), r)| (place[g as usize], s, r.canonical())).collect();
        registers.sort_by_key(|r| (r.0, r.1));
        let mut sketch: Vec<_> =
            groups.sketch.iter().map(|(&(g, s, b), &n)| (place[g as usize], s, b, n)).collect();
        sketch.sort_unstable();
        Encoded {
            layout: groups.layout.clone(),
            texts,
            keys: keys.into(),
            states: states.into(),
            missing,
            registers,
            sketch,
            limit: groups.limit,
            refused: groups.refused,
            rows: groups.rows,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GroupByPartial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Encoded::deserialize(deserializer)?;
        let is_text: Vec<bool> = encoded.texts.iter().map(Option::is_some).collect();
        let width = encoded.layout.width;
        let mut groups = Groups::new(encoded.layout, &is_text, u64::MAX);
        for (mine, texts) in groups.texts.iter_mut().zip(&encoded.texts) {
            let (Some(mine), Some((bytes, ends))) = (mine, texts) else { continue };
            let mut from = 0;
            for &end in ends {
                let word = bytes
                    .get(from..end as usize)
                    .ok_or_else(|| serde::de::Error::custom("a text is cut off"))?;
                mine.intern(word);
                from = end as usize;
            }
        }
        let words = |bytes: &[u8]| -> Vec<u64> {
            bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
        };
        let (keys, states) = (words(&encoded.keys), words(&encoded.states));
        for (key, state) in keys.chunks_exact(groups.key_width()).zip(states.chunks_exact(width)) {
            let unknown = |(word, texts): (&u64, &Option<super::groups::Texts>)| {
                texts.as_ref().is_some_and(|t| *word >= t.words().len() as u64)
            };
            if key.iter().zip(&groups.texts).any(unknown) {
                return Err(serde::de::Error::custom("a key names a text that is not there"));
            }
            let hash = groups.hash(key);
            let group = groups.find(hash, key);
            groups.state_mut(group).copy_from_slice(state);
        }
        for (group, slot, count) in encoded.missing {
            if group as usize >= groups.len() || usize::from(slot) >= groups.layout.slots.len() {
                return Err(serde::de::Error::custom("a missing value is of no group"));
            }
            groups.miss(group, slot.into(), count);
        }
        groups.registers = encoded.registers.into_iter().map(|(g, s, r)| ((g, s), r)).collect();
        groups.sketch.extend(encoded.sketch.into_iter().map(|(g, s, b, n)| ((g, s, b), n)));
        (groups.limit, groups.refused, groups.rows) = (encoded.limit, encoded.refused, encoded.rows);
        Ok(GroupByPartial(groups))
    }
}
