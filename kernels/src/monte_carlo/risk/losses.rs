//! Losses as exact, order-free statistics: fixed-point numbers in bins of fixed width.

use crate::kernel::Partial;
use serde::{Deserialize, Serialize};

/// Binary digits behind the point of a loss, as a fraction of the portfolio's gross value.
const POINT: u32 = 40;
/// Binary digits of a loss below its bin.
const BELOW: u32 = 23;
/// The width of a bin: 2^-17 of the gross value.
pub(super) const WIDTH: f64 = 1.0 / (1u64 << (POINT - BELOW)) as f64;
/// Losses beyond this many times the gross value are counted as it: only short positions can lose so much.
const MOST: f64 = 32_768.0;
/// Bins on each side of zero that a tally keeps in an array: losses up to an eighth of the gross value.
const NEAR: i64 = 1 << (POINT - BELOW - 3);

/// The losses of some scenarios under one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// How many.
    pub count: u64,
    /// The smallest and the largest, in units of 2^-40 of the gross value.
    pub extremes: Option<(i64, i64)>,
    /// The bins that hold any, ascending.
    pub bins: Vec<Bin>,
}

/// The losses of one bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Its number: losses from `number` to `number + 1` times the bin's width.
    pub number: i64,
    /// How many.
    pub count: u64,
    /// The sum of their distances from the bin's lower end, in units of 2^-40. At most 2^23 for each of at most 2^50.
    pub above: u128,
}

impl Bin {
    /// The mean of its losses, as a fraction of the gross value.
    pub fn mean(&self) -> f64 {
        let unit = WIDTH / (1u64 << BELOW) as f64;
        self.number as f64 * WIDTH + self.above as f64 / self.count as f64 * unit
    }
}

/// The losses under every model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskPartial(pub Vec<Losses>);

impl Partial for RiskPartial {
    fn merge(self, right: Self) -> Self {
        RiskPartial(self.0.into_iter().zip(right.0).map(|(a, b)| a.merge(&b)).collect())
    }
}

impl Losses {
    fn merge(self, other: &Losses) -> Losses {
        let extremes = match (self.extremes, other.extremes) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        let mut bins = Vec::with_capacity(self.bins.len().max(other.bins.len()) * 5 / 4);
        let (mut a, mut b) = (self.bins.iter().peekable(), other.bins.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let number = x.number.min(y.number);
            let mut bin = Bin { number, count: 0, above: 0 };
            for side in [&mut a, &mut b] {
                if let Some(one) = side.next_if(|one| one.number == number) {
                    bin.count += one.count;
                    bin.above += one.above;
                }
            }
            bins.push(bin);
        }
        bins.extend(a.chain(b));
        Losses { count: self.count + other.count, extremes, bins }
    }

    /// The smallest and the largest loss as fractions of the gross value.
    pub fn range(&self) -> Option<(f64, f64)> {
        let unit = 1.0 / (1u64 << POINT) as f64;
        self.extremes.map(|(low, high)| (low as f64 * unit, high as f64 * unit))
    }
}

/// Losses as they are counted in a block.
pub(super) struct Tally {
    near: Vec<(u32, u64)>,
    far: Vec<i64>,
    count: u64,
    extremes: Option<(i64, i64)>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally { near: vec![(0, 0); 2 * NEAR as usize], far: Vec::new(), count: 0, extremes: None }
    }

    /// Counts losses, as fractions of the gross value.
    pub(super) fn add(&mut self, losses: &[f64]) {
        let (mut low, mut high) = self.extremes.unwrap_or((i64::MAX, i64::MIN));
        for &loss in losses {
            let bounded = loss.clamp(-MOST, MOST);
            let fixed = (bounded * (1u64 << POINT) as f64).round_ties_even() as i64;
            (low, high) = (low.min(fixed), high.max(fixed));
            match usize::try_from((fixed >> BELOW) + NEAR).ok().and_then(|at| self.near.get_mut(at)) {
                Some((count, above)) => {
                    *count += 1;
                    *above += (fixed & ((1 << BELOW) - 1)) as u64;
                }
                None => self.far.push(fixed),
            }
        }
        self.count += losses.len() as u64;
        if self.count > 0 {
            self.extremes = Some((low, high));
        }
    }

    pub(super) fn into_losses(mut self) -> Losses {
        self.far.sort_unstable();
        let mut far: Vec<Bin> = Vec::new();
        for fixed in self.far {
            let (number, above) = (fixed >> BELOW, (fixed & ((1 << BELOW) - 1)) as u128);
            match far.last_mut().filter(|bin| bin.number == number) {
                Some(bin) => {
                    bin.count += 1;
                    bin.above += above;
                }
                None => far.push(Bin { number, count: 1, above }),
            }
        }
        let near = (-NEAR..NEAR).zip(&self.near).filter(|(_, (count, _))| *count > 0);
        let near = near.map(|(number, &(count, above))| Bin {
            number,
            count: u64::from(count),
            above: u128::from(above),
        });
        let mut bins: Vec<Bin> = far.iter().copied().take_while(|bin| bin.number < 0).collect();
        let above = bins.len();
        bins.extend(near);
        bins.extend_from_slice(&far[above..]);
        Losses { count: self.count, extremes: self.extremes, bins }
    }
}
