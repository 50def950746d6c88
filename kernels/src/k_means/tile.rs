//! Rows as the vector loops take them: groups of 16 rows, column by column, 16 values side by side.

use super::state::Frame;
use crate::simd::{Lanes, Vectorised};
pub(super) use muster_spec::k_means::TILE_ROWS;

/// Rows in a group.
pub(super) const LANES: usize = 16;

/// One column of a group.
pub(super) type Lane = [f64; LANES];

/// At most [`TILE_ROWS`] rows. Lanes behind the last row are zero or left from before, and mean nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tile {
    /// Column `j` of group `g` at `g * columns + j`.
    lanes: Vec<Lane>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Tile {
    /// Without rows yet, with room for `rows`.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Tile { lanes: vec![[0.0; LANES]; rows.div_ceil(LANES) * columns], columns, rows: 0 }
    }

    /// The groups that hold rows, one after another.
    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes[..self.rows.div_ceil(LANES) * self.columns]
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.lanes[..])
    }

    /// To be filled again: the same memory, unless it was taken.
    pub(super) fn empty(&mut self, columns: usize) {
        self.rows = 0;
        if self.lanes.len() < TILE_ROWS / LANES * columns {
            *self = Tile::new(columns, TILE_ROWS);
        }
    }

    /// Gives back room for rows that did not come.
    pub(super) fn shrink(&mut self) {
        self.lanes.truncate(self.rows.div_ceil(LANES) * self.columns);
        self.lanes.shrink_to_fit();
    }

    /// Puts a value into a row, which may lie behind the last one.
    #[inline(always)]
    pub(super) fn put(&mut self, row: usize, column: usize, value: f64) {
        self.lanes[row / LANES * self.columns + column][row % LANES] = value;
    }

    /// The values of a row, column by column.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = f64> {
        let group = &self.lanes[row / LANES * self.columns..][..self.columns];
        group.iter().map(move |lane| lane[row % LANES])
    }

    /// Appends a row of another tile.
    #[inline(always)]
    pub(super) fn push(&mut self, from: &Tile, row: usize) {
        let to = self.rows;
        let into = &mut self.lanes[to / LANES * self.columns..][..self.columns];
        for (lane, value) in into.iter_mut().zip(from.row(row)) {
            lane[to % LANES] = value;
        }
        self.rows += 1;
    }

    /// Appends the values of a column to `out`, row by row.
    pub(super) fn column(&self, column: usize, out: &mut Vec<f64>) {
        out.clear();
        out.extend(self.lanes().iter().skip(column).step_by(self.columns).flatten());
        out.truncate(self.rows);
    }
}

/// Turns a tile of values as they were read into one of distances from the frame's centre, in its units.
pub(super) struct Centre<'a>(pub(super) &'a mut Tile, pub(super) &'a Frame);

impl Vectorised for Centre<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Centre(tile, frame) = self;
        for group in tile.lanes.chunks_exact_mut(tile.columns) {
            for ((lane, &offset), &factor) in group.iter_mut().zip(&frame.offset).zip(&frame.factor) {
                for x in lane {
                    *x = L::pass((*x - offset) * factor);
                }
            }
        }
    }
}
