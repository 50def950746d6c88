//! Groups by key: an open-addressing table over keys of 64-bit words, and the states of the groups.
//!
//! A key has a word for each key column (a number, or the number of a text in this partial's own words) and one that
//! tells which of them are missing. Groups are found by a hash of the keys' content, which is the same in every partial.

use super::state::{Layout, Slot, Spill};
use crate::math::exact::Register;
use crate::simd::prefetch;
use crate::table::{Interner, Words};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Groups and what is kept of them.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) layout: Layout,
    /// For each key column the words of its texts, and their hashes; none for numbers.
    pub(super) texts: Vec<Option<Texts>>,
    /// The keys, each of `texts.len() + 1` words, the last of which tells what is missing.
    pub(super) keys: Vec<u64>,
    pub(super) hashes: Vec<u64>,
    pub(super) states: Vec<u64>,
    /// 1 + the number of a group, below the high half of its hash.
    table: Vec<u64>,
    empty: Vec<u64>,
    /// By group and slot: the part of a sum that its narrow form cannot hold.
    pub(super) registers: BTreeMap<(u32, u16), Register>,
    /// By group, slot and bucket: how many values.
    pub(super) sketch: HashMap<(u32, u16, i32), u64, foldhash::fast::FixedState>,
    /// More groups than this are not held.
    pub(super) limit: u64,
    /// Whether there were more.
    pub(super) refused: bool,
    /// Rows read, those that the filter left out included.
    pub(super) rows: u64,
}

/// The texts of a key column.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) words: Interner,
    hashes: Vec<u64>,
}

impl Texts {
    pub(super) fn intern(&mut self, word: &[u8]) -> u32 {
        let code = self.words.intern(word);
        if code as usize == self.hashes.len() {
            self.hashes.push(hash_text(word));
        }
        code
    }

    pub(super) fn words(&self) -> &Words {
        self.words.words()
    }

    pub(super) fn hash(&self, code: u64) -> u64 {
        self.hashes[code as usize]
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of a hash: the halves of a product, folded.
#[inline(always)]
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9);
    product as u64 ^ (product >> 64) as u64
}

fn hash_text(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(SEED, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(hash, u64::from_le_bytes(last)), text.len() as u64)
}

/// Whether two keys are the same; they are too short for a call of `memcmp`.
#[inline(always)]
fn same(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
}

impl Groups {
    /// None yet. `texts` tells which key columns hold texts.
    pub(super) fn new(layout: Layout, texts: &[bool], limit: u64) -> Groups {
        Groups {
            empty: layout.empty(),
            layout,
            texts: texts.iter().map(|&text| text.then(Texts::default)).collect(),
            keys: Vec::new(),
            hashes: Vec::new(),
            states: Vec::new(),
            table: vec![0; 64],
            registers: BTreeMap::new(),
            sketch: HashMap::default(),
            limit,
            refused: false,
            rows: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Words of a key.
    pub(super) fn key_width(&self) -> usize {
        self.texts.len() + 1
    }

    /// The hash of a key by content; the number of a text does not count.
    #[inline(always)]
    pub(super) fn hash(&self, key: &[u64]) -> u64 {
        let mut hash = SEED;
        for (word, texts) in key.iter().zip(&self.texts) {
            hash = mix(hash, texts.as_ref().map_or(*word, |t| t.hash(*word)));
        }
        mix(hash, key[key.len() - 1])
    }

    /// Fetches the place where a hash will be looked for.
    #[inline(always)]
    pub(super) fn expect(&self, hash: u64) {
        let at = hash as usize & (self.table.len() - 1);
        prefetch(self.table.as_ptr().wrapping_add(at).cast());
    }

    /// The group of a key, a new one if there is none.
    #[inline(always)]
    pub(super) fn find(&mut self, hash: u64, key: &[u64]) -> u32 {
        let mask = self.table.len() - 1;
        let width = key.len();
        let mut at = hash as usize & mask;
        loop {
            let entry = self.table[at];
            if entry == 0 {
                return self.insert(at, hash, key);
            }
            let group = (entry as u32).wrapping_sub(1);
            if entry >> 32 == hash >> 32 && same(&self.keys[group as usize * width..][..width], key) {
                return group;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, at: usize, hash: u64, key: &[u64]) -> u32 {
        let group = self.len() as u32;
        if self.len() as u64 >= self.limit {
            // What is counted from here on is not used.
            self.refused = true;
            if group > 0 {
                return 0;
            }
        }
        self.table[at] = (hash >> 32) << 32 | u64::from(group + 1);
        self.keys.extend_from_slice(key);
        self.hashes.push(hash);
        self.states.extend_from_slice(&self.empty);
        if self.len() * 2 > self.table.len() {
            self.grow();
        }
        group
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 4 - 1;
        self.table = vec![0; mask + 1];
        for (group, hash) in self.hashes.iter().enumerate() {
            let mut at = *hash as usize & mask;
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = (hash >> 32) << 32 | (group as u64 + 1);
        }
    }

    /// The words of a group.
    pub(super) fn state(&self, group: u32) -> &[u64] {
        &self.states[group as usize * self.layout.width..][..self.layout.width]
    }

    /// Puts into a register what a narrow sum could not take.
    #[cold]
    #[inline(never)]
    pub(super) fn spill(&mut self, group: u32, slot: usize, spill: &Spill) {
        let register = self.registers.entry((group, slot as u16)).or_default();
        register.add_narrow(spill.sum);
        register.add(spill.number);
    }

    /// Adds the groups of `right`.
    pub(super) fn merge(mut self, right: &Groups) -> Groups {
        self.rows += right.rows;
        self.refused |= right.refused;
        let codes: Vec<Vec<u64>> = self.texts.iter_mut().zip(&right.texts).map(translate).collect();
        let width = self.key_width();
        let (layout, mut key) = (self.layout.clone(), vec![0; width]);
        let mut groups = Vec::with_capacity(right.len());
        for i in 0..right.len() {
            if let Some(&ahead) = right.hashes.get(i + 16) {
                self.expect(ahead);
            }
            key.copy_from_slice(&right.keys[i * width..][..width]);
            for (word, codes) in key.iter_mut().zip(&codes) {
                if let Some(&code) = codes.get(*word as usize) {
                    *word = code;
                }
            }
            let group = self.find(right.hashes[i], &key);
            groups.push(group);
            self.add(group, &layout, right.state(i as u32));
        }
        for (&(theirs, slot), register) in &right.registers {
            self.registers.entry((groups[theirs as usize], slot)).or_default().merge(register);
        }
        for (&(theirs, slot, bucket), count) in &right.sketch {
            *self.sketch.entry((groups[theirs as usize], slot, bucket)).or_default() += count;
        }
        self
    }

    fn add(&mut self, group: u32, layout: &Layout, other: &[u64]) {
        let width = layout.width;
        self.states[group as usize * width] += other[0];
        for (nth, slot) in layout.slots.iter().enumerate() {
            let words = slot.of_mut(&mut self.states[group as usize * width..][..width]);
            if let Err(spill) = Slot::merge(slot, words, slot.of(other)) {
                self.spill(group, nth, &spill);
            }
        }
    }

    /// The groups in the order of their keys: missing before all others, numbers by size, texts by their bytes.
    pub(super) fn sorted(&self) -> Vec<u32> {
        let ranks: Vec<Vec<u64>> =
            self.texts.iter().map(|texts| texts.as_ref().map_or(Vec::new(), rank)).collect();
        let width = self.key_width();
        let sort_key = |&group: &u32| -> Vec<u64> {
            let key = &self.keys[group as usize * width..][..width];
            let missing = key[width - 1];
            let part = |(i, ranks): (usize, &Vec<u64>)| match missing >> i & 1 {
                1 => [0, 0],
                _ => [1, ranks.get(key[i] as usize).copied().unwrap_or(key[i] ^ 1 << 63)],
            };
            ranks.iter().enumerate().flat_map(part).collect()
        };
        let mut groups: Vec<u32> = (0..self.len() as u32).collect();
        groups.sort_by_cached_key(sort_key);
        groups
    }
}

/// The numbers that the right side's texts have on the left side.
fn translate((mine, theirs): (&mut Option<Texts>, &Option<Texts>)) -> Vec<u64> {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => {
            let words = theirs.words();
            (0..words.len() as u32).map(|code| u64::from(mine.intern(words.get(code)))).collect()
        }
        _ => Vec::new(),
    }
}

/// The place of each text among all in the order of their bytes.
fn rank(texts: &Texts) -> Vec<u64> {
    let words = texts.words();
    let mut order: Vec<u32> = (0..words.len() as u32).collect();
    order.sort_unstable_by_key(|&code| words.get(code));
    let mut ranks = vec![0; order.len()];
    for (place, code) in (0u64..).zip(order) {
        ranks[code as usize] = place;
    }
    ranks
}
