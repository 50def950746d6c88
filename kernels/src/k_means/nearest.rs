//! The nearest centroid of each row, 16 rows at a time: the hot loop.
//!
//! A row `x` is nearest to the centroid `c` with the largest score `x.c - |c|^2 / 2`, the one with the lower number among
//! equals. A score is one chain of fused multiply-adds, column by column, whatever the width of the vectors.
//! Scores of four clusters and two vectors of rows stay in registers. They are vectors by name: of plain loops over
//! arrays the compiler made halves of vectors, or none, as it pleased.

use super::tile::{LANES, Lane};
use pulp::{Simd, WithSimd};

/// Clusters whose scores are computed together.
const WIDTH: usize = 4;
/// Vectors of rows whose scores are computed together. With four clusters the chains hide the latency of their sums,
/// and AVX2 has registers for them.
const VECTORS: usize = 2;

/// Centroids as the hot loop reads them.
#[derive(Debug)]
pub(super) struct Centres {
    pub(super) columns: usize,
    /// Four clusters after another, column by column; clusters that are not there are zero.
    by_column: Vec<[f64; WIDTH]>,
    /// `-|c|^2 / 2`, and minus infinity for clusters that are not there.
    start: Vec<[f64; WIDTH]>,
}

/// What was found of 16 rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The number of the nearest centroid.
    pub(super) label: Lane,
    /// How much farther any other centroid is than the nearest, at least; not above 0, or no number, where nothing is
    /// certain.
    pub(super) gap: Lane,
}

impl Found {
    pub(super) const NONE: Found = Found { label: [0.0; LANES], gap: [0.0; LANES] };
}

impl Centres {
    /// Packs centroids, row by row.
    pub(super) fn new(centroids: &[f64], columns: usize) -> Self {
        let panels = (centroids.len() / columns).div_ceil(WIDTH);
        let mut by_column = vec![[0.0; WIDTH]; panels * columns];
        let mut start = vec![[f64::NEG_INFINITY; WIDTH]; panels];
        for (k, centroid) in centroids.chunks_exact(columns).enumerate() {
            let mut square = 0.0;
            for (j, &c) in centroid.iter().enumerate() {
                by_column[k / WIDTH * columns + j][k % WIDTH] = c;
                square += c * c;
            }
            start[k / WIDTH][k % WIDTH] = -0.5 * square;
        }
        Centres { columns, by_column, start }
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

impl WithSimd for Nearest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (group, found) in self.lanes.chunks_exact(self.centres.columns).zip(self.found) {
            let group = S::as_simd_f64s(group.as_flattened()).0;
            let labels = S::as_mut_simd_f64s(&mut found.label).0.as_chunks_mut::<VECTORS>().0;
            let gaps = S::as_mut_simd_f64s(&mut found.gap).0.as_chunks_mut::<VECTORS>().0;
            for (nth, (labels, gaps)) in labels.iter_mut().zip(gaps).enumerate() {
                let rows = Part { simd, vectors: group, from: nth * VECTORS };
                let best = rows.best(self.centres);
                (*labels, *gaps) = (best.label, rows.gap(&best, self.error));
            }
        }
    }
}

/// Some rows of a group: `VECTORS` vectors of each column.
#[derive(Clone, Copy)]
struct Part<'a, S: Simd> {
    simd: S,
    /// The whole group, column by column.
    vectors: &'a [S::f64s],
    /// The first vector of these rows in each column.
    from: usize,
}

/// The two best scores so far, and whose the first one is.
#[derive(Clone, Copy)]
struct Best<S: Simd> {
    first: [S::f64s; VECTORS],
    second: [S::f64s; VECTORS],
    label: [S::f64s; VECTORS],
}

impl<S: Simd> Part<'_, S> {
    /// These rows of a column, of which `column` is the whole group.
    #[inline(always)]
    fn of(&self, column: &[S::f64s]) -> [S::f64s; VECTORS] {
        [column[self.from], column[self.from + 1]]
    }

    /// The whole group, column after column.
    #[inline(always)]
    fn columns(&self) -> std::slice::ChunksExact<'_, S::f64s> {
        self.vectors.chunks_exact(LANES / S::F64_LANES)
    }

    #[inline(always)]
    fn best(&self, centres: &Centres) -> Best<S> {
        let simd = self.simd;
        let none = [simd.splat_f64s(f64::NEG_INFINITY); VECTORS];
        let mut best = Best { first: none, second: none, label: [simd.splat_f64s(0.0); VECTORS] };
        let (mut number, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        for (panel, start) in centres.by_column.chunks_exact(centres.columns).zip(&centres.start) {
            let mut scores = [[simd.splat_f64s(0.0); VECTORS]; WIDTH];
            for k in 0..WIDTH {
                scores[k] = [simd.splat_f64s(start[k]); VECTORS];
            }
            for (column, c) in self.columns().zip(panel) {
                let x = self.of(column);
                for k in 0..WIDTH {
                    let c = simd.splat_f64s(c[k]);
                    for v in 0..VECTORS {
                        scores[k][v] = simd.mul_add_f64s(x[v], c, scores[k][v]);
                    }
                }
            }
            for scores in scores {
                best = best.among(simd, scores, number);
                number = simd.add_f64s(number, one);
            }
        }
        best
    }

    /// How much farther than the nearest centroid any other one is, at least. With distances `u` of the nearest and
    /// `l` of the second, `l - u = (l^2 - u^2) / (l + u)`, the numerator is twice the difference of the scores, and `l + u` at
    /// most the root of `2 (l^2 + u^2)`. Errors go to the safe side.
    #[inline(always)]
    fn gap(&self, best: &Best<S>, error: f64) -> [S::f64s; VECTORS] {
        let simd = self.simd;
        let mut square = [simd.splat_f64s(0.0); VECTORS];
        for column in self.columns() {
            let x = self.of(column);
            for v in 0..VECTORS {
                square[v] = simd.mul_add_f64s(x[v], x[v], square[v]);
            }
        }
        // No closures: they would not be compiled for the level.
        let mut gap = square;
        for v in 0..VECTORS {
            let (first, second) = (best.first[v], best.second[v]);
            let apart = simd.mul_f64s(simd.splat_f64s(2.0), simd.sub_f64s(first, second));
            let apart = simd.sub_f64s(apart, simd.splat_f64s(8.0 * error));
            let both = simd.sub_f64s(simd.sub_f64s(square[v], first), second);
            let both = simd.mul_add_f64s(simd.splat_f64s(4.0), both, simd.splat_f64s(32.0 * error));
            let shrunk = simd.mul_f64s(simd.splat_f64s(1.0 - 1e-12), apart);
            gap[v] = simd.div_f64s(shrunk, simd.sqrt_f64s(both));
        }
        gap
    }
}

impl<S: Simd> Best<S> {
    /// With the scores of cluster `number`.
    #[inline(always)]
    fn among(mut self, simd: S, scores: [S::f64s; VECTORS], number: S::f64s) -> Self {
        for (v, score) in scores.into_iter().enumerate() {
            let first = self.first[v];
            let better = simd.greater_than_f64s(score, first);
            self.second[v] = simd.max_f64s(self.second[v], simd.min_f64s(score, first));
            self.label[v] = simd.select_f64s(better, number, self.label[v]);
            self.first[v] = simd.max_f64s(score, first);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_other_centroid_is_nearer_than_the_gap_says(
            columns in 1usize..9,
            numbers in prop::collection::vec(prop_oneof![-3.0..3.0f64, Just(1.0), Just(1e6), Just(0.0)], 300),
            clusters in 2usize..12,
        ) {
            let (x, rest) = numbers.split_at(columns * LANES);
            let (c, lanes) = (&rest[..clusters * columns], x.as_chunks::<LANES>().0);
            let size = numbers.iter().fold(0.0f64, |a, x| a.max(x.abs())) * 2.0 * (columns as f64).sqrt();
            let error = (2.0 * columns as f64 + 16.0) * 0.5 * f64::EPSILON * size * size;
            let mut all = Vec::new();
            for simd in crate::Simd::all() {
                let mut found = [Found::NONE];
                simd.wide(Nearest { centres: &Centres::new(c, columns), error, lanes, found: &mut found });
                all.push((found[0].label, found[0].gap.map(|gap| gap.max(0.0).to_bits())));
                for (i, (label, gap)) in found[0].label.into_iter().zip(found[0].gap).enumerate() {
                    let label = label as usize;
                    let far = |k: usize| {
                        let d = |j: usize| lanes[j][i] - c[k * columns + j];
                        (0..columns).map(|j| d(j) * d(j)).sum::<f64>().sqrt()
                    };
                    let others = (0..clusters).filter(|&k| k != label).map(far);
                    let second = others.fold(f64::INFINITY, f64::min);
                    prop_assert!(second - far(label) >= gap - 1e-15 * size, "{} {} {}", second, far(label), gap);
                }
            }
            prop_assert!(all.iter().all(|one| *one == all[0]), "every vector width finds the same");
        }
    }
}
