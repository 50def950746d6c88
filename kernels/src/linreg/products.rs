//! Sums of products of columns: tiles of rows, and for each pair of columns lanes that a row's number chooses.

use crate::math::double::{Double, two_product, two_sum};
use crate::simd::{Lanes, Simd, Vectorised};
use crate::table::Batch;
use crate::table::selection::{Rows, count, floats};
use muster_spec::table::{ColumnType, Kind};

const LANES: usize = 32;
/// Rows in a tile: a column's share of it is 8 KiB.
const TILE: usize = 32 * LANES;

/// The sum of one pair's products by lanes, and what rounding lost of it.
#[derive(Clone, Copy)]
struct Sum {
    high: [f64; LANES],
    low: [f64; LANES],
}

/// The products of a block so far.
pub(super) struct Products {
    kinds: Vec<Kind>,
    /// Rows of each column that are not yet summed; the first is that of ones, where there is an intercept.
    columns: Vec<Vec<f64>>,
    intercept: bool,
    sums: Vec<Sum>,
    rows: u64,
}

impl Products {
    pub(super) fn new(columns: &[ColumnType], intercept: bool) -> Products {
        let size = columns.len() + usize::from(intercept);
        Products {
            kinds: columns.iter().map(|c| c.kind).collect(),
            columns: vec![Vec::with_capacity(2 * crate::table::BATCH_ROWS); size],
            intercept,
            sums: vec![Sum { high: [0.0; LANES], low: [0.0; LANES] }; size * (size + 1) / 2],
            rows: 0,
        }
    }

    /// Adds rows of a batch, none of which misses a value.
    pub(super) fn take(&mut self, simd: Simd, batch: &Batch, rows: Rows<'_>) {
        let first = usize::from(self.intercept);
        for ((held, column), &kind) in self.columns[first..].iter_mut().zip(&batch.columns).zip(&self.kinds) {
            floats(column, kind, rows, held);
        }
        let more = count(rows, batch.rows);
        self.rows += more as u64;
        if self.intercept {
            let held = self.columns[0].len();
            self.columns[0].resize(held + more, 1.0);
        }
        let whole = self.columns[first].len() / TILE * TILE;
        self.sum(simd, whole);
    }

    /// Sums the first rows, a multiple of the lanes, and forgets them.
    fn sum(&mut self, simd: Simd, rows: usize) {
        for from in (0..rows).step_by(TILE) {
            let to = rows.min(from + TILE);
            let tile: Vec<&[f64]> = self.columns.iter().map(|column| &column[from..to]).collect();
            simd.run(Tile { columns: &tile, sums: &mut self.sums });
        }
        self.columns.iter_mut().for_each(|column| drop(column.drain(..rows)));
    }

    /// The memory of the tiles.
    pub(super) fn scratch(&self) -> &[f64] {
        &self.columns[0]
    }

    /// How many rows there were, and the sums for each pair.
    pub(super) fn finish(mut self, simd: Simd) -> (u64, Vec<Double>) {
        // Rows of zeros add nothing.
        let whole = self.columns[0].len().next_multiple_of(LANES);
        self.columns.iter_mut().for_each(|column| column.resize(whole, 0.0));
        self.sum(simd, whole);
        (self.rows, self.sums.iter().map(Sum::total).collect())
    }
}

impl Sum {
    /// The lanes together, neighbours first.
    fn total(&self) -> Double {
        let lane = |i: usize| Double::sum(self.high[i], self.low[i]);
        let mut all: [Double; LANES] = std::array::from_fn(lane);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                all[i] = all[2 * i] + all[2 * i + 1];
            }
            width /= 2;
        }
        all[0]
    }

    /// Adds the products of two columns. By value, so that the lanes stay in registers.
    #[inline(always)]
    fn add<L: Lanes>(mut self, a: &[[f64; LANES]], b: &[[f64; LANES]]) -> Sum {
        for (a, b) in a.iter().zip(b) {
            for i in 0..LANES {
                let (product, beyond) = two_product(L::pass(a[i]), b[i]);
                let (sum, lost) = two_sum(self.high[i], product);
                self.high[i] = sum;
                self.low[i] += beyond + lost;
            }
        }
        self
    }
}

/// Rows of all columns, a multiple of the lanes.
struct Tile<'a> {
    columns: &'a [&'a [f64]],
    sums: &'a mut [Sum],
}

impl Vectorised for Tile<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut sums = self.sums.iter_mut();
        for (i, a) in self.columns.iter().enumerate() {
            for b in &self.columns[i..] {
                let sum = sums.next().expect("there is a sum for each pair");
                *sum = sum.add::<L>(a.as_chunks().0, b.as_chunks().0);
            }
        }
    }
}
