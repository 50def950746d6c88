//! The keys of a batch's rows: their words, column by column, and the groups that they lead to.
//!
//! Where the words of all key columns lie close together, as numbers of a few states or texts of a small set do, a group
//! is found by its place among all combinations; otherwise by the hash of the key.

use super::groups::{AT_ONCE, Groups, Texts, factor, hash};
use crate::simd::{Lanes, Simd, Vectorised};
use crate::table::{Column, Values, Words};
use std::ops::Range;

/// The keys of a batch.
pub(super) struct Keys {
    simd: Simd,
    /// For each text key: the numbers that its codes have among the groups' texts.
    codes: Vec<Codes>,
    /// For each key column a word for each row, and behind them one that tells what is missing.
    words: Vec<Vec<u64>>,
    /// Whether anything has ever been missing.
    missing: bool,
    /// For each row the words of its key, each times its factor, together.
    sums: Vec<u64>,
    near: Near,
    /// Keys of a part of the rows, one after another, and their hashes.
    keys: Vec<u64>,
    hashes: Vec<u64>,
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

impl Keys {
    /// For `columns` key columns.
    pub(super) fn new(columns: usize, simd: Simd) -> Keys {
        Keys {
            simd,
            codes: (0..columns).map(|_| Codes::default()).collect(),
            words: vec![Vec::new(); columns + 1],
            missing: false,
            sums: Vec::new(),
            near: Near::default(),
            keys: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// Takes the keys of these rows.
    pub(super) fn load(&mut self, columns: &[Column], rows: &[u32], groups: &mut Groups) {
        self.missing |= columns.iter().any(|column| column.valid.is_some());
        let last = columns.len();
        if self.missing || self.words[last].len() < rows.len() {
            self.words[last].clear();
            self.words[last].resize(rows.len(), 0);
        }
        self.sums.clear();
        self.sums.resize(rows.len(), 0);
        for (nth, column) in columns.iter().enumerate() {
            self.column(nth, column, rows, groups);
            let words = &self.words[nth];
            match &groups.texts[nth] {
                Some(texts) => {
                    for (sum, &word) in self.sums.iter_mut().zip(words) {
                        *sum = sum.wrapping_add(texts.hash(word).wrapping_mul(factor(nth)));
                    }
                }
                None => self.simd.run(Weigh { words, factor: factor(nth), sums: &mut self.sums }),
            }
        }
        if self.missing {
            self.simd.run(Weigh { words: &self.words[last], factor: factor(last), sums: &mut self.sums });
        }
        let words = &self.words[..last + usize::from(self.missing)];
        self.near.widen(self.simd, words, rows.len());
    }

    /// The words of one column.
    fn column(&mut self, nth: usize, column: &Column, rows: &[u32], groups: &mut Groups) {
        let (words, rest) = self.words[nth..].split_first_mut().expect("a column of words for each key");
        words.clear();
        match column.values {
            Values::Int(x) if x.len() == rows.len() => words.extend(x.iter().map(|&x| x as u64)),
            Values::Int(x) => words.extend(rows.iter().map(|&row| x[row as usize] as u64)),
            Values::Float(x) => words.extend(rows.iter().map(|&row| ordered(x[row as usize]))),
            Values::Text(codes, of) => {
                let texts = groups.texts[nth].as_mut().expect("the plan knows the texts");
                let known = &mut self.codes[nth];
                known.follow(of);
                words.extend(rows.iter().map(|&row| match column.is_there(row) {
                    true => known.get(codes[row as usize], of, texts),
                    false => u64::from(texts.intern(b"")),
                }));
            }
        }
        let Some(valid) = column.valid else { return };
        let masks = rest.last_mut().expect("behind the keys is what is missing");
        for ((word, mask), &row) in words.iter_mut().zip(masks).zip(rows) {
            if !valid[row as usize] {
                *mask |= 1 << nth;
                if groups.texts[nth].is_none() {
                    *word = 0;
                }
            }
        }
    }

    /// For each row what its values are weighed with in a print: the same for equal keys in any batch.
    pub(super) fn weights(&self) -> &[u64] {
        &self.sums
    }

    /// Where the states of these rows' groups begin.
    pub(super) fn find(&mut self, groups: &mut Groups, part: Range<usize>, places: &mut Vec<usize>) {
        places.clear();
        let key = |words: &[Vec<u64>], row: usize, key: &mut Vec<u64>| {
            key.extend(words.iter().map(|column| column[row]));
        };
        if self.near.fits {
            let words = &self.words[..self.words.len() - usize::from(!self.missing)];
            let cells = self.near.cells(self.simd, words, part.clone());
            let known = &mut self.near.places[..];
            places.extend(cells[..part.len()].iter().map(|&cell| known[cell as usize]));
            if places.contains(&NOWHERE) {
                for ((row, &cell), place) in
                    part.zip(&cells).zip(places).filter(|(_, place)| **place == NOWHERE)
                {
                    // A row before this one may have brought the group.
                    if known[cell as usize] == NOWHERE {
                        self.keys.clear();
                        key(&self.words, row, &mut self.keys);
                        let group = groups.find(hash(self.sums[row]), &self.keys);
                        known[cell as usize] = groups.place(group);
                    }
                    *place = known[cell as usize];
                }
            }
            return;
        }
        self.keys.clear();
        part.clone().for_each(|row| key(&self.words, row, &mut self.keys));
        self.hashes.clear();
        self.hashes.extend(self.sums[part].iter().map(|&sum| hash(sum)));
        let mut found = [0u32; AT_ONCE];
        let mut each = found.iter_mut();
        groups.find_all(&self.hashes, &self.keys, |group| {
            *each.next().expect("a part is no longer") = group;
        });
        places.extend(found[..self.hashes.len()].iter().map(|&group| groups.place(group)));
    }
}

/// Adds words times a factor.
struct Weigh<'a> {
    words: &'a [u64],
    factor: u64,
    sums: &'a mut [u64],
}

impl Vectorised for Weigh<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (sum, &word) in self.sums.iter_mut().zip(self.words) {
            *sum = sum.wrapping_add(word.wrapping_mul(self.factor));
        }
    }
}

/// Adds a column's place to the places of combinations: each times the column's span, and how far its word is from the
/// least.
struct Cells<'a> {
    cells: &'a mut [u32],
    words: &'a [u64],
    least: u32,
    span: u32,
}

impl Vectorised for Cells<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (cell, &word) in self.cells.iter_mut().zip(self.words) {
            *cell = cell.wrapping_mul(self.span).wrapping_add((word as u32).wrapping_sub(self.least));
        }
    }
}

/// The least and the greatest of words, and those before.
struct Bounds<'a> {
    words: &'a [u64],
    before: (i64, i64),
}

impl Vectorised for Bounds<'_> {
    type Out = (i64, i64);
    #[inline(always)]
    fn run<L: Lanes>(self) -> (i64, i64) {
        let widen = |(low, high): (i64, i64), &word: &u64| (low.min(word as i64), high.max(word as i64));
        self.words.iter().fold(self.before, widen)
    }
}

/// Combinations of key words, as long as there are few.
#[derive(Default)]
struct Near {
    /// Whether those of the batch are among them.
    fits: bool,
    /// For each column the least word that was seen, as a signed number, and the greatest.
    bounds: Vec<(i64, i64)>,
    /// Where each combination's group begins, [`NOWHERE`] where that is not known yet.
    places: Vec<usize>,
}

/// No group begins there.
const NOWHERE: usize = usize::MAX;

/// The most combinations.
const CELLS: i128 = 1 << 15;

impl Near {
    /// Takes in the words of a batch, if they are few enough together with those before.
    fn widen(&mut self, simd: Simd, words: &[Vec<u64>], rows: usize) {
        let mut bounds = Vec::with_capacity(words.len());
        for (nth, column) in words.iter().enumerate() {
            // A column that was not looked at so far has held 0 alone: nothing was missing.
            let before = if self.bounds.is_empty() { (i64::MAX, i64::MIN) } else { (0, 0) };
            let before = self.bounds.get(nth).copied().unwrap_or(before);
            bounds.push(simd.run(Bounds { words: &column[..rows], before }));
        }
        let cells = bounds.iter().fold(1i128, |cells, &bound| cells.saturating_mul(span(bound)));
        self.fits = rows > 0 && cells <= CELLS;
        // Without key columns there is one combination, and no bound of it.
        if self.fits && (bounds != self.bounds || self.places.is_empty()) {
            self.places = vec![NOWHERE; cells as usize];
            self.bounds = bounds;
        }
    }

    /// The combination of each of these rows.
    fn cells(&self, simd: Simd, words: &[Vec<u64>], part: Range<usize>) -> [u32; AT_ONCE] {
        let mut cells = [0u32; AT_ONCE];
        for (column, &bound) in words.iter().zip(&self.bounds) {
            let (least, span) = (bound.0 as u64 as u32, span(bound) as u32);
            simd.run(Cells { cells: &mut cells, words: &column[part.clone()], least, span });
        }
        cells
    }
}

/// How many words there are between two, both included.
fn span((low, high): (i64, i64)) -> i128 {
    i128::from(high) - i128::from(low) + 1
}
