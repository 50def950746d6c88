//! The start: k-means++ (Arthur and Vassilvitskii 2007) on the sample of the first round.
//!
//! One read of the rows gives a sample of thousands, and k-means++ on it takes a moment of one thread, where k-means++ on
//! all rows would read them once for each cluster, and k-means|| (Bahmani and others 2012) some five times. A part of
//! less than about one row in a thousand may have no row in the sample.

use super::state::Frame;
use super::survey::Pick;
use super::tile::{Centre, LANES, Lane, Tile};
use crate::math::philox::Philox;
use crate::simd::{Lanes, Simd, Vectorised};

/// The stream of random numbers that centroids are drawn by.
const STREAM: u32 = 4;
/// Rows of the sample at least, and for each cluster.
const LEAST: usize = 4096;
const EACH: usize = 16;

/// How many rows are drawn for a start with so many clusters.
pub(super) fn sample_rows(clusters: usize) -> usize {
    LEAST.max(EACH * clusters)
}

/// Centroids in the frame, row by row: rows of the sample, each drawn with a chance in proportion to its squared distance
/// from those before it, the best of `2 + ln k` draws. Where every row is a centroid already, the first row is
/// taken again; its cluster stays empty.
pub(super) fn centroids(simd: Simd, sample: &[Pick], frame: &Frame, clusters: usize, seed: u64) -> Vec<f64> {
    let columns = frame.offset.len();
    let mut tile = Tile::new(columns, sample.len());
    for (row, pick) in sample.iter().enumerate() {
        pick.values.iter().enumerate().for_each(|(j, &x)| tile.put(row, j, x));
    }
    tile.rows = sample.len();
    simd.run(Centre(&mut tile, frame));
    let rng = Philox::new(seed);
    let draws = 2 + crate::math::ln(clusters as f64) as u32;
    // The order of the sample is random: the first row is as good as any.
    let mut out: Vec<f64> = tile.row(0).collect();
    let mut nearest = vec![f64::INFINITY; sample.len()];
    let mut trial = vec![0.0; sample.len()];
    let mut best = nearest.clone();
    simd.run(Nearer { tile: &tile, to: &out, before: &nearest, after: &mut best });
    nearest.copy_from_slice(&best);
    for step in 1..clusters as u32 {
        let total: f64 = nearest.iter().sum();
        let (mut least, mut chosen) = (f64::INFINITY, 0);
        for draw in 0..draws {
            let word = rng.words([step, draw, 0, STREAM]);
            let share = (f64::from(word[0]) + 0.5) / 4_294_967_296.0;
            let row = at(&nearest, share * total);
            let to: Vec<f64> = tile.row(row).collect();
            let rest = simd.run(Nearer { tile: &tile, to: &to, before: &nearest, after: &mut trial });
            if rest < least {
                (least, chosen) = (rest, row);
                std::mem::swap(&mut best, &mut trial);
            }
        }
        out.extend(tile.row(chosen));
        nearest.copy_from_slice(&best);
    }
    out
}

/// The first row at which the sum of `weights` passes `wanted`, and the first of all where it never does.
fn at(weights: &[f64], wanted: f64) -> usize {
    let mut sum = 0.0;
    let passes = |&weight: &f64| {
        sum += weight;
        weight > 0.0 && sum >= wanted
    };
    weights.iter().position(passes).unwrap_or(0)
}

/// The squared distance of each row from the nearest of the centroids before and `to`; their sum.
struct Nearer<'a> {
    tile: &'a Tile,
    to: &'a [f64],
    before: &'a [f64],
    after: &'a mut [f64],
}

impl Vectorised for Nearer<'_> {
    type Out = f64;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let mut total = 0.0;
        let groups = self.tile.lanes().chunks_exact(self.to.len());
        let rows = self.before.chunks(LANES).zip(self.after.chunks_mut(LANES));
        for (group, (before, after)) in groups.zip(rows) {
            let distance = square_distance::<L>(group, self.to);
            for ((after, &before), distance) in after.iter_mut().zip(before).zip(distance) {
                *after = if distance < before { distance } else { before };
                total += *after;
            }
        }
        total
    }
}

#[inline(always)]
fn square_distance<L: Lanes>(group: &[Lane], to: &[f64]) -> Lane {
    let mut sum = [0.0f64; LANES];
    for (x, &c) in group.iter().zip(to) {
        for i in 0..LANES {
            let d = x[i] - c;
            sum[i] = L::pass(d.mul_add(d, sum[i]));
        }
    }
    sum
}
