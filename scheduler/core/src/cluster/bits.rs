//! A set of small numbers, one bit each: hosts of a cluster, cores of a host.

use serde::{Deserialize, Serialize};

/// A set of numbers below a length that grows as numbers are put in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set, with space for numbers below `len`.
    pub fn new(len: usize) -> Bits {
        Bits { words: vec![0; len.div_ceil(64)] }
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: usize) -> bool {
        self.words.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Puts `number` in.
    pub fn insert(&mut self, number: usize) {
        if number / 64 >= self.words.len() {
            self.words.resize(number / 64 + 1, 0);
        }
        self.words[number / 64] |= 1 << (number % 64);
    }

    /// Takes `number` out.
    pub fn remove(&mut self, number: usize) {
        if let Some(word) = self.words.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// How many numbers are in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no number is in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        ones(self.words.iter().copied())
    }

    /// The numbers that are here and not in `other`, ascending.
    pub fn without(&self, other: &Bits) -> impl Iterator<Item = usize> {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        ones(self.words.iter().zip(others).map(|(mine, theirs)| mine & !theirs))
    }

    /// The set as words of 64 numbers each, the lowest number in the lowest bit of the first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Bits {
        let mut bits = Bits::default();
        numbers.into_iter().for_each(|number| bits.insert(number));
        bits
    }
}

/// The places of the ones in `words`, ascending.
fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(at, word)| {
        std::iter::successors(Some(word), |&left| Some(left & left.wrapping_sub(1)))
            .take_while(|&left| left != 0)
            .map(move |left| at * 64 + left.trailing_zeros() as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(inserted in prop::collection::vec(0_usize..200, 0..60), removed in prop::collection::vec(0_usize..300, 0..60)) {
            let mut bits: Bits = inserted.iter().copied().collect();
            let mut set: BTreeSet<usize> = inserted.iter().copied().collect();
            let before = bits.clone();
            for &number in &removed {
                bits.remove(number);
                set.remove(&number);
            }
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!((bits.len(), bits.is_empty()), (set.len(), set.is_empty()));
            prop_assert!((0..300).all(|number| bits.contains(number) == set.contains(&number)));
            let gone: BTreeSet<usize> = before.without(&bits).collect();
            prop_assert!(gone.iter().all(|number| removed.contains(number) && inserted.contains(number)));
            prop_assert_eq!(gone.len() + bits.len(), before.len());
        }
    }
}
