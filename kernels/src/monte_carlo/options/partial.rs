//! What a block yields, and how two of them merge: counts, means and squared deviations of each option.
//!
//! Invariant: entries are in the order of the options, one for each, and NaN has one bit pattern.

use crate::kernel::Partial;
use serde::{Deserialize, Serialize};

/// The statistics of consecutive options; of a first and a last one, perhaps over some of their paths only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BookPartial(pub Vec<OptionPartial>);

/// The statistics of one option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionPartial {
    /// Which option of the book.
    pub option: u32,
    /// Over how many paths.
    pub paths: u64,
    /// One for the price and for each Greek.
    pub moments: Vec<Moments>,
}

/// Mean and sum of squared deviations from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The sum of squared deviations from the mean.
    pub m2: f64,
}

impl Moments {
    /// Moments whose NaN, should a price overflow, has one bit pattern.
    pub(super) fn new(mean: f64, m2: f64) -> Self {
        let canonical = |x: f64| if x.is_nan() { f64::NAN } else { x };
        Moments { mean: canonical(mean), m2: canonical(m2) }
    }
}

impl OptionPartial {
    /// Adds the paths of `other` (Chan, Golub and LeVeque 1979).
    fn merge(&mut self, other: &OptionPartial) {
        let (mine, theirs) = (self.paths as f64, other.paths as f64);
        let share = theirs / (mine + theirs);
        for (a, b) in self.moments.iter_mut().zip(&other.moments) {
            let apart = b.mean - a.mean;
            *a = Moments::new(a.mean + apart * share, a.m2 + b.m2 + apart * apart * (mine * share));
        }
        self.paths += other.paths;
    }
}

impl Partial for BookPartial {
    fn merge(mut self, right: Self) -> Self {
        let mut rest = right.0.into_iter().peekable();
        if let Some(last) = self.0.last_mut()
            && let Some(same) = rest.next_if(|next| next.option == last.option)
        {
            last.merge(&same);
        }
        self.0.extend(rest);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The statistics of some values of one option, by the textbook.
    fn of(option: u32, values: &[f64]) -> OptionPartial {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let m2 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        OptionPartial { option, paths: values.len() as u64, moments: vec![Moments::new(mean, m2)] }
    }

    proptest! {
        #[test]
        fn any_tree_of_merges_agrees_with_the_whole(
            book in prop::collection::vec(prop::collection::vec(prop::collection::vec(-1e3f64..1e3, 1..9), 1..6), 1..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 30),
        ) {
            let leaves = |(option, blocks): (usize, &Vec<Vec<f64>>)| -> Vec<BookPartial> {
                blocks.iter().map(|block| BookPartial(vec![of(option as u32, block)])).collect()
            };
            let mut parts: Vec<BookPartial> = book.iter().enumerate().flat_map(leaves).collect();
            for cut in &cuts {
                let encoded = postcard::to_stdvec(&parts).unwrap();
                prop_assert_eq!(&postcard::from_bytes::<Vec<BookPartial>>(&encoded).unwrap(), &parts);
                if parts.len() > 1 {
                    let at = cut.index(parts.len() - 1);
                    let right = parts.remove(at + 1);
                    let left = parts.remove(at);
                    parts.insert(at, left.merge(right));
                }
            }
            let root = parts.into_iter().reduce(Partial::merge).unwrap();
            prop_assert_eq!(root.0.len(), book.len());
            for (i, (got, blocks)) in root.0.iter().zip(&book).enumerate() {
                let want = of(i as u32, &blocks.concat());
                prop_assert_eq!((got.option, got.paths), (want.option, want.paths));
                let (got, want) = (got.moments[0], want.moments[0]);
                prop_assert!((got.mean - want.mean).abs() <= 1e-11 && (got.m2 - want.m2).abs() <= 1e-9 * (1.0 + want.m2));
            }
        }
    }

    #[test]
    fn nan_has_one_bit_pattern() {
        let odd = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 5);
        assert_eq!(Moments::new(odd, odd).m2.to_bits(), f64::NAN.to_bits());
        let infinite = of(0, &[f64::INFINITY]);
        let merged = BookPartial(vec![infinite.clone()]).merge(BookPartial(vec![infinite]));
        assert_eq!(merged.0[0].moments[0].mean.to_bits(), f64::NAN.to_bits());
    }
}
