//! Groups by key: keys of 64-bit words, and the states of the groups.
//!
//! A key has a word for each key column (a number, or the number of a text in this partial's own words) and one that
//! tells which of them are missing. Groups are found by a hash of the keys' content, which is the same in every partial.

use super::index::Index;
use super::state::{Layout, Slot, Spill};
use crate::math::exact::Register;
use crate::memory::{LINE, Line, lengthen};
use crate::mix::{SEED, hash_text, mix};
use crate::simd::prefetch;
use crate::table::{Interner, Words};
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// So many rows are looked up together: what is asked for memory stays in the caches until it is used.
pub(super) const AT_ONCE: usize = 256;
/// So many groups stay in the caches by themselves.
const NEAR: usize = 1 << 13;

/// Groups and what is kept of them.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) layout: Layout,
    /// For each key column the words of its texts, and their hashes; none for numbers.
    pub(super) texts: Vec<Option<Texts>>,
    /// A group's key after another's, each of `texts.len() + 1` words, the last of which tells what is missing.
    keys: Vec<u64>,
    /// A group's state after another's, as `layout` has it.
    states: Vec<Line>,
    /// Words from one state to the next.
    stride: usize,
    /// For each slot how many values each group misses; no more than that of the last group that misses any.
    missing: Vec<Vec<u64>>,
    pub(super) hashes: Vec<u64>,
    index: Index,
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

/// What the word of a key column is multiplied with: odd, so that no word is lost.
pub(super) fn factor(nth: usize) -> u64 {
    mix(SEED, nth as u64 + 1) | 1
}

/// The hash of a key from the sum of its words, each times its [`factor`].
#[inline(always)]
pub(super) fn hash(sum: u64) -> u64 {
    mix(sum, SEED)
}

/// Words from one state to the next: those that it has, or a few more, so that it lies across no more lines than it must.
fn stride(width: usize) -> usize {
    let even = if width < LINE { width.next_power_of_two() } else { width.next_multiple_of(LINE) };
    if (even - width) * 3 <= width { even } else { width }
}

impl Groups {
    /// None yet. `texts` tells which key columns hold texts.
    pub(super) fn new(layout: Layout, texts: &[bool], limit: u64) -> Groups {
        Groups {
            empty: layout.empty(),
            stride: stride(layout.width),
            missing: vec![Vec::new(); layout.slots.len()],
            layout,
            texts: texts.iter().map(|&text| text.then(Texts::default)).collect(),
            keys: Vec::new(),
            states: Vec::new(),
            hashes: Vec::new(),
            index: Index::new(texts.len() + 1),
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
    pub(super) fn hash(&self, key: &[u64]) -> u64 {
        let mut sum = 0u64;
        for (nth, &word) in key.iter().enumerate() {
            let content = self.texts.get(nth).and_then(Option::as_ref).map_or(word, |texts| texts.hash(word));
            sum = sum.wrapping_add(content.wrapping_mul(factor(nth)));
        }
        hash(sum)
    }

    /// The group of each of these keys, new ones where there is none. `keys` lie one after another, `hashes` are theirs.
    ///
    /// Beyond the caches all slots are asked for at once, and each state as soon as it is known: a row by itself would wait
    /// for memory twice.
    pub(super) fn find_all(&mut self, hashes: &[u64], keys: &[u64], mut each: impl FnMut(u32)) {
        let (width, far) = (self.key_width(), self.len() > NEAR);
        if far {
            hashes.iter().for_each(|&hash| self.index.prefetch(hash));
        }
        if far && self.index.keys_apart() {
            for group in hashes.iter().filter_map(|&hash| self.index.likely(hash)) {
                prefetch(self.keys.as_ptr().wrapping_add(group as usize * width));
            }
        }
        for (&hash, key) in hashes.iter().zip(keys.chunks_exact(width)) {
            let group = self.find(hash, key);
            if far {
                let state = self.states.as_ptr().cast::<u64>().wrapping_add(self.place(group));
                (0..self.stride).step_by(LINE).for_each(|word| prefetch(state.wrapping_add(word)));
                prefetch(state.wrapping_add(self.stride - 1));
            }
            each(group);
        }
    }

    /// The group of a key, a new one if there is none.
    #[inline(always)]
    pub(super) fn find(&mut self, hash: u64, key: &[u64]) -> u32 {
        self.index.find(hash, key, &self.keys).unwrap_or_else(|at| self.insert(at, hash, key))
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
        self.index.insert(at, hash, key, group);
        self.keys.extend_from_slice(key);
        self.hashes.push(hash);
        let at = self.place(group);
        lengthen(&mut self.states, (at + self.stride).div_ceil(LINE));
        bytemuck::cast_slice_mut(&mut self.states)[at..][..self.empty.len()].copy_from_slice(&self.empty);
        group
    }

    /// The key of a group.
    pub(super) fn key(&self, group: u32) -> &[u64] {
        &self.keys[group as usize * self.key_width()..][..self.key_width()]
    }

    /// The state of a group.
    #[inline(always)]
    pub(super) fn state(&self, group: u32) -> &[u64] {
        &bytemuck::cast_slice(&self.states)[self.place(group)..][..self.layout.width]
    }

    /// Where the state of a group begins.
    #[inline(always)]
    pub(super) fn place(&self, group: u32) -> usize {
        group as usize * self.stride
    }

    /// The group whose state begins there.
    pub(super) fn at(&self, place: usize) -> u32 {
        (place / self.stride) as u32
    }

    /// All words; a state begins at its place.
    #[inline(always)]
    pub(super) fn states(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.states)
    }

    /// The words of a column in the state that begins there.
    #[inline(always)]
    pub(super) fn words(&mut self, place: usize, slot: &Slot) -> &mut [u64] {
        &mut self.states()[place + usize::from(slot.at)..][..usize::from(slot.width)]
    }

    /// The state of a group.
    #[inline(always)]
    pub(super) fn state_mut(&mut self, group: u32) -> &mut [u64] {
        let (place, width) = (self.place(group), self.layout.width);
        &mut self.states()[place..][..width]
    }

    /// How many values of a column a group misses.
    pub(super) fn missing(&self, group: u32, slot: usize) -> u64 {
        self.missing[slot].get(group as usize).copied().unwrap_or(0)
    }

    /// Which groups miss values of a column, and how many each.
    pub(super) fn all_missing(&self, slot: usize) -> impl Iterator<Item = (u32, u64)> {
        (0u32..).zip(self.missing[slot].iter().copied()).filter(|&(_, count)| count > 0)
    }

    /// Takes note that a group misses values of a column.
    pub(super) fn miss(&mut self, group: u32, slot: usize, count: u64) {
        let missing = &mut self.missing[slot];
        if missing.len() <= group as usize {
            missing.resize(group as usize + 1, 0);
        }
        missing[group as usize] += count;
    }

    /// About how many bytes all this has.
    pub(super) fn bytes(&self) -> u64 {
        let texts: usize = self.texts.iter().flatten().map(|texts| texts.words().bytes()).sum();
        let missing: usize = self.missing.iter().map(Vec::len).sum();
        let words = self.keys.len() + self.states.len() * LINE + missing;
        (words * 8 + self.sketch.len() * 24 + self.registers.len() * 600 + texts) as u64
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
        let (layout, width) = (self.layout.clone(), self.key_width());
        let (mut keys, mut groups) = (Vec::new(), Vec::with_capacity(right.len()));
        for first in (0..right.len()).step_by(AT_ONCE) {
            let part = first..right.len().min(first + AT_ONCE);
            keys.clear();
            part.clone().for_each(|group| keys.extend_from_slice(right.key(group as u32)));
            for key in keys.chunks_exact_mut(width) {
                for (word, codes) in key.iter_mut().zip(&codes) {
                    if let Some(&code) = codes.get(*word as usize) {
                        *word = code;
                    }
                }
            }
            self.find_all(&right.hashes[part.clone()], &keys, |group| groups.push(group));
            for theirs in part {
                self.add(groups[theirs], &layout, right.state(theirs as u32));
            }
        }
        for slot in 0..layout.slots.len() {
            right.all_missing(slot).for_each(|(theirs, n)| self.miss(groups[theirs as usize], slot, n));
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
        self.state_mut(group)[0] += other[0];
        for (nth, slot) in layout.slots.iter().enumerate() {
            if let Err(spill) = Slot::merge(slot, slot.of_mut(self.state_mut(group)), slot.of(other)) {
                self.spill(group, nth, &spill);
            }
        }
    }

    /// The first `most` groups in the order of their keys: missing before all others, numbers by size, texts by their
    /// bytes.
    pub(super) fn sorted(&self, most: usize) -> Vec<u32> {
        let ranks: Vec<Vec<u64>> =
            self.texts.iter().map(|texts| texts.as_ref().map_or(Vec::new(), rank)).collect();
        let columns = ranks.len();
        // Above all words: whether it is there.
        let word = |group: u32, nth: usize| -> u128 {
            let key = self.key(group);
            match key[columns] >> nth & 1 {
                1 => 0,
                _ => {
                    1 << 64
                        | u128::from(ranks[nth].get(key[nth] as usize).copied().unwrap_or(key[nth] ^ 1 << 63))
                }
            }
        };
        let first = |group| if columns == 0 { 0 } else { word(group, 0) };
        let mut groups: Vec<(u128, u32)> =
            (0..self.len() as u32).map(|group| (first(group), group)).collect();
        let order = |a: &(u128, u32), b: &(u128, u32)| {
            let rest = || (1..columns).map(|nth| word(a.1, nth).cmp(&word(b.1, nth))).find(|o| o.is_ne());
            a.0.cmp(&b.0).then_with(|| rest().unwrap_or(Ordering::Equal))
        };
        if most < groups.len() {
            groups.select_nth_unstable_by(most, order);
            groups.truncate(most);
        }
        groups.sort_unstable_by(order);
        groups.into_iter().map(|(_, group)| group).collect()
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
