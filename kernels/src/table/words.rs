//! Texts by number: what the codes of a text column stand for.

use crate::mix::hash_text;
use hashbrown::HashTable;
use std::sync::atomic::{AtomicU64, Ordering};

/// Texts, numbered from 0 on; of CSV, and where they were interned, each once.
#[derive(Debug)]
pub struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    generation: u64,
}

impl Default for Words {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Words { bytes: Vec::new(), ends: Vec::new(), generation: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Words {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes they have together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The word of a number.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, code: u32) -> &[u8] {
        let i = code as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// Two words of equal generation have the same words as far as both go.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Adds a word; its number.
    pub(super) fn push(&mut self, word: &[u8]) -> u32 {
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
        (self.ends.len() - 1) as u32
    }
}

/// Words that are found by their text.
#[derive(Debug, Default)]
pub struct Interner {
    words: Words,
    table: HashTable<u32>,
}

impl Interner {
    /// The words.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The number of a word, a new one if it has none.
    #[inline]
    pub fn intern(&mut self, word: &[u8]) -> u32 {
        let (words, hash) = (&self.words, hash_text(word));
        if let Some(&code) = self.table.find(hash, |&code| words.get(code) == word) {
            return code;
        }
        let code = self.words.push(word);
        let words = &self.words;
        self.table.insert_unique(hash, code, |&code| hash_text(words.get(code)));
        code
    }
}
