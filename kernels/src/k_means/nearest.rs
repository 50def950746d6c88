//! The nearest centroid of each row, 16 rows at a time: the hot loop.
//!
//! A row `x` is nearest to the centroid `c` with the largest score `x.c - |c|^2 / 2`, the one with the lower number among
//! equals. A score is one chain of fused multiply-adds, column by column, whatever the width of the vectors.
//! Scores of a few clusters and 16 rows stay in registers.

use super::tile::{LANES, Lane};
use crate::simd::{Lanes, Simd, Vectorised};

/// Centroids as the hot loop reads them.
#[derive(Debug)]
pub(super) struct Centres {
    pub(super) columns: usize,
    /// Clusters whose scores are computed together.
    width: usize,
    /// `width` clusters after another, column by column; clusters that are not there are zero.
    by_column: Vec<f64>,
    /// `-|c|^2 / 2`, and minus infinity for clusters that are not there.
    start: Vec<f64>,
}

/// What was found of 16 rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The number of the nearest centroid.
    pub(super) label: Lane,
    /// How much farther any other centroid is than the nearest, at least.
    pub(super) gap: Lane,
}

impl Found {
    pub(super) const NONE: Found = Found { label: [0.0; LANES], gap: [0.0; LANES] };
}

impl Centres {
    /// Packs centroids, row by row, for a vector width.
    pub(super) fn new(simd: Simd, centroids: &[f64], columns: usize) -> Self {
        // Two vectors of rows times four clusters fill half of AVX-512's registers, and hide the latency of its sums;
        // more spills. Half as many registers of half the width hold half of the clusters.
        let width = if simd.name() == "avx512" { 4 } else { 2 };
        let clusters = centroids.len() / columns;
        let padded = clusters.next_multiple_of(width);
        let (mut by_column, mut start) = (vec![0.0; padded * columns], vec![f64::NEG_INFINITY; padded]);
        for (k, centroid) in centroids.chunks_exact(columns).enumerate() {
            let panel = &mut by_column[k / width * width * columns..];
            let mut square = 0.0f64;
            for (j, &c) in centroid.iter().enumerate() {
                panel[j * width + k % width] = c;
                square = c.mul_add(c, square);
            }
            start[k] = -0.5 * square;
        }
        Centres { columns, width, by_column, start }
    }
}

/// Finds the nearest centroids of groups of rows.
pub(super) struct Nearest<'a> {
    pub(super) centres: &'a Centres,
    /// How far a score may be from the true one.
    pub(super) error: f64,
    /// The groups, column by column.
    pub(super) lanes: &'a [Lane],
    /// One for each group.
    pub(super) found: &'a mut [Found],
}

impl Vectorised for Nearest<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.centres.width {
            4 => self.with::<L, 4>(),
            _ => self.with::<L, 2>(),
        }
    }
}

impl Nearest<'_> {
    #[inline(always)]
    fn with<L: Lanes, const WIDTH: usize>(self) {
        let columns = self.centres.columns;
        let (by_column, start) =
            (self.centres.by_column.as_chunks::<WIDTH>().0, self.centres.start.as_chunks::<WIDTH>().0);
        for (group, found) in self.lanes.chunks_exact(columns).zip(self.found) {
            let mut best = Best::NONE;
            for (nth, (panel, start)) in by_column.chunks_exact(columns).zip(start).enumerate() {
                let scores = scores::<L, WIDTH>(group, panel, start);
                best = best.among(&scores, nth * WIDTH);
            }
            *found = Found { label: best.label, gap: best.gap(group, self.error) };
        }
    }
}

#[inline(always)]
fn scores<L: Lanes, const WIDTH: usize>(
    group: &[Lane],
    panel: &[[f64; WIDTH]],
    start: &[f64; WIDTH],
) -> [Lane; WIDTH] {
    let mut scores = start.map(|s| [s; LANES]);
    for (x, c) in group.iter().zip(panel) {
        scores = add::<L, WIDTH>(scores, x, c);
    }
    scores
}

/// By value, so that the scores stay in registers.
#[inline(always)]
fn add<L: Lanes, const WIDTH: usize>(mut scores: [Lane; WIDTH], x: &Lane, c: &[f64; WIDTH]) -> [Lane; WIDTH] {
    for k in 0..WIDTH {
        for i in 0..LANES {
            scores[k][i] = L::pass(x[i].mul_add(c[k], scores[k][i]));
        }
    }
    scores
}

/// The two best scores so far, and whose the first one is.
#[derive(Clone, Copy)]
struct Best {
    first: Lane,
    second: Lane,
    label: Lane,
}

impl Best {
    const NONE: Best =
        Best { first: [f64::NEG_INFINITY; LANES], second: [f64::NEG_INFINITY; LANES], label: [0.0; LANES] };

    /// With the scores of the clusters from number `from` on.
    #[inline(always)]
    fn among<const WIDTH: usize>(mut self, scores: &[Lane; WIDTH], from: usize) -> Best {
        for (k, scores) in scores.iter().enumerate() {
            let number = (from + k) as f64;
            for (i, &score) in scores.iter().enumerate() {
                let (first, second) = (self.first[i], self.second[i]);
                let lower = if score < first { score } else { first };
                self.second[i] = if lower > second { lower } else { second };
                self.label[i] = if score > first { number } else { self.label[i] };
                self.first[i] = if score > first { score } else { first };
            }
        }
        self
    }

    /// How much farther than the nearest centroid any other one is, at least. With distances `u` of the nearest and
    /// `l` of the second, `l - u = (l^2 - u^2) / (l + u)`, the numerator is twice the difference of the scores, and `l + u` at
    /// most the root of `2 (l^2 + u^2)`. Errors go to the safe side.
    #[inline(always)]
    fn gap(&self, group: &[Lane], error: f64) -> Lane {
        let mut square = [0.0f64; LANES];
        for x in group {
            for i in 0..LANES {
                square[i] = x[i].mul_add(x[i], square[i]);
            }
        }
        let mut gap = [0.0; LANES];
        for i in 0..LANES {
            let apart = 2.0 * (self.first[i] - self.second[i]) - 8.0 * error;
            let both = 2.0 * (square[i] - self.first[i] - self.second[i]) + 16.0 * error;
            let shrunk = (1.0 - 1e-12) * apart / (2.0 * both).sqrt();
            gap[i] = if apart > 0.0 { shrunk } else { 0.0 };
        }
        gap
    }
}
