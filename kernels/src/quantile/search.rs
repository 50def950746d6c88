//! Where the wanted values lie: windows of keys, which become narrower from round to round.

use super::key::{FIRST_BITS, first_window};
use serde::{Deserialize, Serialize};

/// So many values at most are gathered; where windows hold more, they are counted once more.
const GATHERED: u64 = 1 << 20;
/// Buckets of a round of counting at most, of all windows together; and the fewest of a window, as powers of two.
const BUCKETS: usize = 1 << 20;
const LEAST_BITS: u32 = 4;

/// What a round begins from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantileState {
    /// What is done with the values in the windows.
    pub how: How,
    /// Rows read.
    pub rows: u64,
    /// Rows that take part by the filter.
    pub used: u64,
    /// In the order of the columns; empty in the first round.
    pub columns: Vec<Search>,
}

/// What a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// The first: count all values, in the buckets of the first round.
    Survey,
    /// Count the values in each window, in at most `2^bits` buckets.
    Count(u8),
    /// Gather them.
    Gather,
}

/// The search in one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Values that are there.
    pub values: u64,
    /// The wanted ones.
    pub targets: Vec<Target>,
    /// Where the open ones among them lie: disjoint and rising.
    pub windows: Vec<Window>,
    /// The windows of the columns before it.
    pub before: usize,
}

/// A wanted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Its key.
    Found(u64),
    /// The value of a rank, from 0, among those in a window.
    In(u32, u64),
}

/// Keys that differ in their last bits alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The lowest of them.
    pub low: u64,
    /// In how many bits they differ.
    pub bits: u8,
    /// How many values there are.
    pub count: u64,
}

impl Window {
    /// How far a key lies above the lowest, where it is in the window.
    #[inline(always)]
    pub(super) fn offset(&self, key: u64) -> Option<u64> {
        let offset = key.wrapping_sub(self.low);
        (offset >> self.bits == 0).then_some(offset)
    }

    /// A bucket holds keys that differ in so many bits, where there are `2^bits` buckets at most.
    #[inline(always)]
    pub(super) fn shift(&self, bits: u8) -> u8 {
        self.bits.saturating_sub(bits)
    }
}

impl Search {
    /// The search for the values of these ranks, from the buckets of the first round.
    pub(super) fn first(float: bool, buckets: &[u64], ranks: impl Fn(u64) -> Vec<u64>) -> Search {
        let values = buckets.iter().sum();
        let targets = ranks(values).into_iter().map(|rank| Target::In(0, rank)).collect();
        let mut search = Search { values, targets, windows: Vec::new(), before: 0 };
        search.narrow(&[buckets], |_, bucket| first_window(float, bucket));
        search
    }

    /// After a round of counting: the buckets of each window.
    pub(super) fn counted(&mut self, bits: u8, buckets: &[&[u64]]) {
        let windows = std::mem::take(&mut self.windows);
        self.narrow(buckets, |window, bucket| {
            let shift = windows[window].shift(bits);
            (windows[window].low + ((bucket as u64) << shift), shift)
        });
    }

    /// Finds for each target its bucket, which becomes a window.
    fn narrow(&mut self, buckets: &[&[u64]], window_of: impl Fn(usize, usize) -> (u64, u8)) {
        let running = |counts: &&[u64]| -> Vec<u64> {
            counts
                .iter()
                .scan(0, |sum, count| {
                    *sum += count;
                    Some(*sum)
                })
                .collect()
        };
        let sums: Vec<Vec<u64>> = buckets.iter().map(running).collect();
        let mut windows = Vec::new();
        let narrowed: Vec<(Target, u64)> = self
            .targets
            .iter()
            .map(|&target| {
                let Target::In(window, rank) = target else { return (target, 0) };
                let sums = &sums[window as usize];
                let bucket = sums.partition_point(|&sum| sum <= rank);
                let count = buckets[window as usize][bucket];
                let (low, bits) = window_of(window as usize, bucket);
                if bits == 0 {
                    return (Target::Found(low), 0);
                }
                windows.push(Window { low, bits, count });
                (Target::In(0, rank - (sums[bucket] - count)), low)
            })
            .collect();
        windows.sort_unstable_by_key(|window| window.low);
        windows.dedup();
        let settle = |(target, low)| match target {
            Target::In(_, rank) => {
                Target::In(windows.partition_point(|window| window.low < low) as u32, rank)
            }
            found => found,
        };
        self.targets = narrowed.into_iter().map(settle).collect();
        self.windows = windows;
    }

    /// After a round of gathering: the sorted offsets in each window.
    pub(super) fn gathered(&mut self, offsets: &[Vec<u64>]) {
        for target in &mut self.targets {
            if let Target::In(window, rank) = *target {
                let low = self.windows[window as usize].low;
                *target = Target::Found(low + offsets[window as usize][rank as usize]);
            }
        }
        self.windows.clear();
    }
}

impl QuantileState {
    /// Of the first round.
    pub(super) fn survey() -> QuantileState {
        QuantileState { how: How::Survey, rows: 0, used: 0, columns: Vec::new() }
    }

    /// How many windows there are.
    pub(super) fn windows(&self) -> usize {
        self.columns.iter().map(|search| search.windows.len()).sum()
    }

    /// How many buckets the partials of a round have, for `columns` columns.
    pub(super) fn buckets(&self, columns: usize) -> usize {
        match self.how {
            How::Survey => columns << FIRST_BITS,
            How::Count(bits) => self.windows() << bits,
            How::Gather => 0,
        }
    }

    /// The state of the round after one that narrowed the windows, if any are left.
    pub(super) fn next(mut self) -> Result<QuantileState, Vec<Search>> {
        let windows = self.windows();
        if windows == 0 {
            return Err(self.columns);
        }
        let mut before = 0;
        for search in &mut self.columns {
            search.before = before;
            before += search.windows.len();
        }
        let values: u64 = self.columns.iter().flat_map(|search| &search.windows).map(|w| w.count).sum();
        let bits = (BUCKETS / windows).max(1).ilog2().clamp(LEAST_BITS, FIRST_BITS.into());
        self.how = if values <= GATHERED { How::Gather } else { How::Count(bits as u8) };
        Ok(self)
    }
}
