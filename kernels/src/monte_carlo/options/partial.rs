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
