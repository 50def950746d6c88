//! Rows into groups: the keys of a batch, its groups, then each column of values.

use super::Plan;
use super::groups::{Groups, Texts};
use super::state::bucket;
use crate::table::{Batch, Column, Values, Words};

/// So many rows ahead the table of groups is fetched.
const AHEAD: usize = 12;

/// The groups of a block, and what is reused from batch to batch.
pub(super) struct Ingest<'a> {
    plan: &'a Plan,
    pub(super) groups: Groups,
    /// For each text key: the numbers that its codes have among the groups' texts.
    codes: Vec<Codes>,
    rows: Vec<u32>,
    keys: Vec<u64>,
    hashes: Vec<u64>,
    of_row: Vec<u32>,
}

#[derive(Default)]
struct Codes {
    generation: Option<u64>,
    known: Vec<u32>,
}

const UNKNOWN: u32 = u32::MAX;

impl Codes {
    /// The number of a word among the groups' texts.
    #[inline(always)]
    fn get(&mut self, code: u32, words: &Words, texts: &mut Texts) -> u64 {
        let known = self.known[code as usize];
        if known != UNKNOWN {
            return u64::from(known);
        }
        let number = texts.intern(words.get(code));
        self.known[code as usize] = number;
        u64::from(number)
    }

    fn follow(&mut self, words: &Words) {
        if self.generation != Some(words.generation()) {
            self.generation = Some(words.generation());
            self.known.clear();
        }
        self.known.resize(words.len(), UNKNOWN);
    }
}

/// A number's bits in the order of the numbers, as a signed integer; zeros alike.
#[inline(always)]
pub(super) fn ordered(x: f64) -> u64 {
    let bits = (x + 0.0).to_bits() as i64;
    (bits ^ ((bits >> 63) as u64 >> 1) as i64) as u64
}

/// The number of [`ordered`] bits.
pub(super) fn unordered(bits: u64) -> f64 {
    let bits = bits as i64;
    f64::from_bits((bits ^ ((bits >> 63) as u64 >> 1) as i64) as u64)
}

impl<'a> Ingest<'a> {
    pub(super) fn new(plan: &'a Plan, groups: Groups) -> Self {
        let codes = plan.keys.iter().map(|_| Codes::default()).collect();
        let none = Vec::new;
        Ingest { plan, groups, codes, rows: none(), keys: Vec::new(), hashes: Vec::new(), of_row: none() }
    }

    /// Adds the rows of a batch.
    pub(super) fn take(&mut self, batch: &Batch) {
        self.groups.rows += batch.rows as u64;
        match &self.plan.filter {
            Some(filter) => filter.rows(batch, self.plan.keys.len() + self.plan.values.len(), &mut self.rows),
            None if self.rows.len() == batch.rows => {}
            None => self.rows = (0..batch.rows as u32).collect(),
        }
        self.find_groups(batch);
        let width = self.groups.layout.width;
        for &group in &self.of_row {
            self.groups.states[group as usize * width] += 1;
        }
        for nth in 0..self.plan.values.len() {
            self.add(nth, &batch.columns[self.plan.keys.len() + nth]);
        }
    }

    /// The group of each row that takes part.
    fn find_groups(&mut self, batch: &Batch) {
        let width = self.groups.key_width();
        self.keys.clear();
        self.keys.resize(self.rows.len() * width, 0);
        for nth in 0..self.plan.keys.len() {
            self.key_words(nth, &batch.columns[nth], width);
        }
        self.hashes.clear();
        self.hashes.extend(self.keys.chunks_exact(width).map(|key| self.groups.hash(key)));
        self.of_row.clear();
        for (i, key) in self.keys.chunks_exact(width).enumerate() {
            if let Some(&ahead) = self.hashes.get(i + AHEAD) {
                self.groups.expect(ahead);
            }
            self.of_row.push(self.groups.find(self.hashes[i], key));
        }
    }

    fn key_words(&mut self, nth: usize, column: &Column, width: usize) {
        let keys = self.keys.chunks_exact_mut(width);
        let rows = self.rows.iter().map(|&row| row as usize).zip(keys);
        match column.values {
            Values::Int(x) => rows.for_each(|(row, key)| key[nth] = x[row] as u64),
            Values::Float(x) => rows.for_each(|(row, key)| key[nth] = ordered(x[row])),
            Values::Text(codes, words) => {
                let texts = self.groups.texts[nth].as_mut().expect("the plan knows the texts");
                let known = &mut self.codes[nth];
                known.follow(words);
                for (row, key) in rows {
                    if column.valid.is_none_or(|valid| valid[row]) {
                        key[nth] = known.get(codes[row], words, texts);
                    }
                }
            }
        }
        let Some(valid) = column.valid else { return };
        let is_text = self.groups.texts[nth].is_some();
        for (&row, key) in self.rows.iter().zip(self.keys.chunks_exact_mut(width)) {
            if !valid[row as usize] {
                key[nth] = if is_text {
                    self.groups.texts[nth].as_mut().map_or(0, |t| t.intern(b"").into())
                } else {
                    0
                };
                key[width - 1] |= 1 << nth;
            }
        }
    }

    /// Adds a column of values to the groups of its rows.
    fn add(&mut self, nth: usize, column: &Column) {
        let slot = self.groups.layout.slots[nth];
        let width = self.groups.layout.width;
        let there = |row: usize| column.valid.is_none_or(|valid| valid[row]);
        let rows = self.rows.iter().map(|&row| row as usize).zip(self.of_row.iter().copied());
        match column.values {
            Values::Int(x) => {
                for (row, group) in rows.filter(|&(row, _)| there(row)) {
                    slot.add_int(
                        slot.of_mut(&mut self.groups.states[group as usize * width..][..width]),
                        x[row],
                    );
                }
            }
            Values::Float(x) => {
                for (row, group) in rows.filter(|&(row, _)| there(row)) {
                    let words = slot.of_mut(&mut self.groups.states[group as usize * width..][..width]);
                    if let Err(spill) = slot.add_float(words, x[row]) {
                        self.groups.spill(group, nth, &spill);
                    }
                }
            }
            Values::Text(..) => {
                for (_, group) in rows.filter(|&(row, _)| there(row)) {
                    slot.of_mut(&mut self.groups.states[group as usize * width..][..width])[0] += 1;
                }
            }
        }
        if slot.wants.sketch {
            self.sketch(nth, column);
        }
    }

    fn sketch(&mut self, nth: usize, column: &Column) {
        for (&row, &group) in self.rows.iter().zip(&self.of_row) {
            let row = row as usize;
            if column.valid.is_some_and(|valid| !valid[row]) {
                continue;
            }
            let x = match column.values {
                Values::Int(x) => x[row] as f64,
                Values::Float(x) => x[row],
                Values::Text(..) => continue,
            };
            *self.groups.sketch.entry((group, nth as u16, bucket(x))).or_default() += 1;
        }
    }
}
