//! What all blocks of a round share: packed centroids, and the bounds by which rows are skipped.
//!
//! A row keeps its centroid without a look at its values when that is *certain*: its gap (how much farther any other
//! centroid is) must exceed what centroids have moved since, by more than all rounding together (Hamerly 2010, with
//! one bound in the place of two). So bounds change no bit of an answer, and a rank that has none, as it has just
//! joined, computes the same.
//!
//! A score `s = x.c - |c|^2 / 2` of `D` columns is off by at most `e = (2 D + 16) 2^-53 (|x| + |c|)^2`. Centroid `a` has the
//! largest computed score for certain when `s_a - s_k > 2 e` for any other `k`. With the distances `u` from `a` and `l` from
//! `k` the difference is `(l - u) (l + u) / 2`, and `l + u` is at least the distance of the two centroids.

use super::nearest::Centres;
use super::state::{Frame, Standing};
use crate::simd::Simd;
use std::sync::{Arc, Mutex};

/// More than the rounding of a distance.
const UP: f64 = 1.0 + 1e-12;

/// A round's centroids and what follows from them.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) simd: Simd,
    pub(super) frame: Frame,
    /// Row by row, in the frame.
    pub(super) centroids: Vec<f64>,
    pub(super) centres: Centres,
    /// For each column, how many quanta make 1: a power of two, so that a value has less than 2^51 quanta.
    pub(super) quanta: Vec<f64>,
    /// How far a score may be from the true one.
    pub(super) error: f64,
    /// More than the size of any row and any centroid together.
    size: f64,
    /// For each cluster, the distance of the nearest other centroid, and less by rounding.
    apart: Vec<f64>,
}

impl Step {
    fn new(simd: Simd, standing: &Standing) -> Step {
        let Standing { frame, centroids, .. } = standing.clone();
        let columns = frame.offset.len();
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt() * UP;
        let size = norm(&frame.reach) + centroids.chunks_exact(columns).map(norm).fold(0.0, f64::max);
        Step {
            simd,
            centres: Centres::new(&centroids, columns),
            quanta: quanta(&frame),
            error: (2.0 * columns as f64 + 16.0) * 0.5 * f64::EPSILON * size * size,
            size,
            apart: apart(&centroids, columns),
            frame,
            centroids,
        }
    }

    /// How many clusters there are.
    pub(super) fn clusters(&self) -> usize {
        self.apart.len()
    }

    /// How many columns there are.
    pub(super) fn columns(&self) -> usize {
        self.frame.offset.len()
    }

    /// For each cluster, the least gap with which a row keeps it, given how far the centroids have drifted.
    pub(super) fn limits(&self, drift: &[f64]) -> Vec<f64> {
        let rounding = |drift: f64| 1e-14 * (drift + self.size);
        let limit = |(&apart, &drift)| drift + 4.0 * UP * self.error / apart + rounding(drift);
        self.apart.iter().zip(drift).map(limit).collect()
    }

    /// Adds to the drift of each cluster how much a row's gap may shrink as the centroids move from `before`: by its own
    /// centroid's way and the longest of the others.
    pub(super) fn follow(&self, before: &[f64], drift: &mut [f64]) {
        let columns = self.columns();
        let ways: Vec<f64> = before
            .chunks_exact(columns)
            .zip(self.centroids.chunks_exact(columns))
            .map(|(a, b)| square_distance(a, b).sqrt() * UP)
            .collect();
        let mut longest = [0.0, 0.0];
        for &way in &ways {
            match way {
                way if way > longest[0] => longest = [way, longest[0]],
                way if way > longest[1] => longest[1] = way,
                _ => {}
            }
        }
        for (drift, way) in drift.iter_mut().zip(ways) {
            let other = if way == longest[0] { longest[1] } else { longest[0] };
            *drift = (*drift + (way + other) * UP).next_up();
        }
    }
}

/// The squared distance of two points.
pub(super) fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// How many quanta make 1 in each column: the powers of two with which the largest value has 2^49 to 2^50 of them.
pub(super) fn quanta(frame: &Frame) -> Vec<f64> {
    let quanta = |&reach: &f64| {
        let exponent = (reach.to_bits() >> 52) as i64 - 1023;
        f64::from_bits(((49 - exponent).clamp(-1000, 1000) + 1023).cast_unsigned() << 52)
    };
    frame.reach.iter().map(quanta).collect()
}

fn apart(centroids: &[f64], columns: usize) -> Vec<f64> {
    let all = || centroids.chunks_exact(columns).enumerate();
    let nearest = |(k, a)| {
        let others = all().filter(|&(other, _)| other != k).map(|(_, b)| square_distance(a, b));
        others.fold(f64::INFINITY, f64::min).sqrt() / UP
    };
    all().map(nearest).collect()
}

/// The step of the round that is under way: the first block of a round makes it.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<Option<Arc<Step>>>);

impl Steps {
    pub(super) fn of(&self, simd: Simd, standing: &Standing) -> Arc<Step> {
        let mut last = self.0.lock().expect("making a step does not panic");
        let same = |step: &Step| step.simd.name() == simd.name() && step.centroids == standing.centroids;
        match &*last {
            Some(step) if same(step) => step.clone(),
            _ => last.insert(Arc::new(Step::new(simd, standing))).clone(),
        }
    }
}
