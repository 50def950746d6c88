//! What the first round looks for: the moments of the columns, and a sample of the rows.
//!
//! Each row has a random key, fixed by the seed, its block and its number there; the rows with the lowest keys are the
//! sample. So it is one and the same however blocks are merged, and every row has the same chance.

use super::tile::Tile;
use crate::math::philox::{BATCH, Draw, Philox};
use crate::moments::ColumnMoments;
use crate::moments::column::Pairwise;
use crate::simd::{Lanes, Simd, Vectorised};
use serde::{Deserialize, Serialize};

/// The stream of random numbers that keys come from.
const STREAM: u32 = 3;

/// Moments of the columns and a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// In the order of the columns.
    pub columns: Vec<ColumnMoments>,
    /// Rows in which a value is missing.
    pub missing: u64,
    /// The rows with the lowest keys, in their order.
    pub sample: Vec<Pick>,
    /// So many rows a sample has at most.
    limit: u32,
}

/// A row of the sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    key: u64,
    block: u32,
    row: u64,
    /// Its values, column by column.
    pub values: Vec<f64>,
}

impl Pick {
    /// The order of the sample; no two rows are equal in it.
    fn order(&self) -> (u64, u32, u64) {
        (self.key, self.block, self.row)
    }
}

impl Survey {
    /// The survey of disjoint rows.
    #[must_use]
    pub fn merge(mut self, right: Self) -> Self {
        for (mine, theirs) in self.columns.iter_mut().zip(right.columns) {
            *mine = mine.merge(theirs);
        }
        self.missing += right.missing;
        self.sample.extend(right.sample);
        self.sample.sort_unstable_by_key(Pick::order);
        self.sample.truncate(self.limit as usize);
        self
    }
}

/// The survey of a block so far.
pub(super) struct Surveyor {
    rng: Philox,
    block: u32,
    rows: u64,
    columns: Vec<Pairwise>,
    picks: Vec<Pick>,
    limit: usize,
    /// Rows with a higher key are not in the sample.
    highest: u64,
    values: Vec<f64>,
}

impl Surveyor {
    /// A survey of `columns` columns with a sample of at most `limit` rows.
    pub(super) fn new(seed: u64, block: u32, columns: usize, limit: usize) -> Self {
        Surveyor {
            rng: Philox::new(seed),
            block,
            rows: 0,
            columns: vec![Pairwise::default(); columns],
            picks: Vec::new(),
            limit,
            highest: u64::MAX,
            values: Vec::new(),
        }
    }

    /// Adds the rows of a tile; all tiles but the last are full.
    pub(super) fn add(&mut self, simd: Simd, tile: &Tile) {
        for (j, moments) in self.columns.iter_mut().enumerate() {
            tile.column(j, &mut self.values);
            moments.push(simd, &self.values);
        }
        if self.limit > 0 {
            self.draw(simd, tile);
        }
        self.rows += tile.rows as u64;
    }

    fn draw(&mut self, simd: Simd, tile: &Tile) {
        let mut keys = [0; BATCH];
        for first in (0..tile.rows).step_by(BATCH) {
            let draw = Draw { path: self.rows + first as u64, group: self.block, stream: STREAM };
            simd.run(Keys(self.rng, draw, &mut keys));
            for (row, &key) in (first..tile.rows).zip(&keys) {
                if key <= self.highest {
                    let values = tile.row(row).collect();
                    self.picks.push(Pick { key, block: self.block, row: self.rows + row as u64, values });
                }
            }
            if self.picks.len() >= 2 * self.limit {
                self.cut();
            }
        }
    }

    /// Keeps the lowest keys.
    fn cut(&mut self) {
        self.picks.sort_unstable_by_key(Pick::order);
        self.picks.truncate(self.limit);
        if self.picks.len() == self.limit {
            self.highest = self.picks.last().map_or(u64::MAX, |pick| pick.key);
        }
    }

    /// The survey of the block, of which so many rows lack a value.
    pub(super) fn finish(mut self, missing: u64) -> Survey {
        self.cut();
        let columns = self.columns.iter().map(Pairwise::total).collect();
        Survey { columns, missing, sample: self.picks, limit: self.limit as u32 }
    }
}

/// The keys of a batch of rows.
struct Keys<'a>(Philox, Draw, &'a mut [u64; BATCH]);

impl Vectorised for Keys<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut words = [[0; BATCH]; 4];
        self.0.batch::<L>(self.1, &mut words);
        for (i, key) in self.2.iter_mut().enumerate() {
            *key = words[0][i] << 32 | words[1][i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn survey(block: u32, rows: usize, limit: usize) -> Survey {
        let mut surveyor = Surveyor::new(7, block, 2, limit);
        let mut tile = Tile::new(2, rows);
        for row in 0..rows {
            tile.put(row, 0, row as f64);
            tile.put(row, 1, f64::from(block));
        }
        tile.rows = rows;
        surveyor.add(Simd::all()[0], &tile);
        surveyor.finish(1)
    }

    #[test]
    fn a_sample_is_the_rows_with_the_lowest_keys() {
        let all = survey(0, 3000, 10_000).sample;
        assert_eq!(all.len(), 3000);
        assert!(all.is_sorted_by_key(Pick::order));
        for limit in [1, 2, 100, 2999, 3000] {
            assert_eq!(survey(0, 3000, limit).sample, all[..limit]);
        }
        assert!(survey(0, 10, 0).sample.is_empty());
        // A fair draw of half the rows has about as many of either half.
        let low = all[..1500].iter().filter(|pick| pick.row < 1500).count();
        assert!((650..850).contains(&low), "{low}");
    }

    proptest! {
        #[test]
        fn a_sample_does_not_depend_on_how_blocks_merge(sizes in prop::collection::vec(0usize..200, 2..6), limit in 1usize..300) {
            let blocks: Vec<Survey> = (0..).zip(&sizes).map(|(block, &rows)| survey(block, rows, limit)).collect();
            let left = blocks.clone().into_iter().reduce(Survey::merge).unwrap();
            let right = blocks.into_iter().rev().reduce(|a, b| b.merge(a)).unwrap();
            prop_assert_eq!(&left.sample, &right.sample);
            prop_assert_eq!(left.sample.len(), limit.min(sizes.iter().sum()));
            prop_assert_eq!(left.missing, sizes.len() as u64);
        }
    }
}
