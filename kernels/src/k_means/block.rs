//! The rows of a block from round to round: their values, which cluster each is in, and the block's sums.
//!
//! A block is kept in memory as long as the rank may hold it; a block that is not is read again in each round. Kept or
//! not, its sums are whole numbers of quanta, so rows may leave and join clusters in any order, and no bit depends on what
//! was kept.

use super::nearest::{Found, Nearest};
use super::state::{ClusterSums, Spread};
use super::step::Step;
use super::tile::{Centre, LANES, TILE_ROWS, Tile};
use crate::simd::{Lanes, Vectorised};

/// No cluster yet.
const NONE: u32 = u32::MAX;

/// Adding it to a number below 2^51 in size rounds to a whole number, which then stands in the low bits.
const ROUND: f64 = crate::math::ROUND;

/// The sums of a block so far.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    whole: ClusterSums,
    /// What is not in `whole` yet.
    counts: Vec<i64>,
    part: Vec<i64>,
    /// How many rows came or went since: below 2^13, so that 64 bits hold the part.
    moves: usize,
}

impl Sums {
    pub(super) fn new(step: &Step) -> Self {
        let (clusters, numbers) = (step.clusters(), step.centroids.len());
        let whole = ClusterSums { counts: vec![0; clusters], sums: vec![0; numbers] };
        Sums { whole, counts: vec![0; clusters], part: vec![0; numbers], moves: 0 }
    }

    /// Puts row `row` from the cluster `old`, if any, into `new`.
    #[inline(always)]
    fn shift(&mut self, step: &Step, (tile, row): (&Tile, usize), old: u32, new: u32) {
        let columns = step.columns();
        let of = |k: u32| k as usize * columns..(k as usize + 1) * columns;
        let quanta = tile
            .row(row)
            .zip(&step.quanta)
            .map(|(x, &quanta)| ((x * quanta + ROUND).to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64));
        self.counts[new as usize] += 1;
        if old == NONE {
            self.part[of(new)].iter_mut().zip(quanta).for_each(|(sum, q)| *sum += q);
        } else {
            self.counts[old as usize] -= 1;
            for (j, q) in quanta.enumerate() {
                self.part[new as usize * columns + j] += q;
                self.part[old as usize * columns + j] -= q;
            }
        }
        self.moves += 1;
    }

    /// Makes room for the moves of one more tile.
    fn make_room(&mut self) {
        if self.moves + TILE_ROWS >= 1 << 13 {
            self.settle();
        }
    }

    fn settle(&mut self) {
        for (whole, part) in self.whole.counts.iter_mut().zip(&mut self.counts) {
            *whole = whole.wrapping_add_signed(std::mem::take(part));
        }
        for (whole, part) in self.whole.sums.iter_mut().zip(&mut self.part) {
            *whole += i128::from(std::mem::take(part));
        }
        self.moves = 0;
    }

    /// The sums of all rows.
    pub(super) fn total(&mut self) -> ClusterSums {
        self.settle();
        self.whole.clone()
    }
}

/// A tile and what is known of its rows.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tile: Tile,
    /// Whether its values are in the frame, or as they were read.
    in_frame: bool,
    labels: Vec<u32>,
    /// The gap that a row had when its values were last looked at, plus the drift of its cluster then.
    gaps: Vec<f64>,
}

/// What is reused from tile to tile.
#[derive(Default)]
pub(super) struct Scratch {
    look: Vec<u32>,
    gathered: Tile,
    found: Vec<Found>,
}

impl Held {
    /// A tile as it was read.
    pub(super) fn new(tile: Tile) -> Self {
        Held { tile, in_frame: false, labels: Vec::new(), gaps: Vec::new() }
    }

    /// Bytes that a tile takes, when its rows have clusters.
    pub(super) fn bytes(tile: &Tile) -> usize {
        tile.bytes() + tile.rows * (size_of::<u32>() + size_of::<f64>())
    }

    /// Gives each row to its nearest centroid.
    pub(super) fn assign(&mut self, step: &Step, bounds: &Bounds, sums: &mut Sums, scratch: &mut Scratch) {
        if !self.in_frame {
            step.simd.run(Centre(&mut self.tile, &step.frame));
            self.in_frame = true;
            self.labels = vec![NONE; self.tile.rows];
            self.gaps = vec![0.0; self.tile.rows];
        }
        scratch.look.resize(self.tile.rows, 0);
        let mut looks = 0;
        for ((row, &label), &gap) in (0..).zip(&self.labels).zip(&self.gaps) {
            // A gap that is no number keeps no row. Which rows are kept is not to be guessed: no branch tells.
            let limit = bounds.limits.get(label as usize).copied().unwrap_or(f64::INFINITY);
            scratch.look[looks] = row;
            looks += usize::from(!matches!(gap.partial_cmp(&limit), Some(std::cmp::Ordering::Greater)));
        }
        scratch.look.truncate(looks);
        if scratch.look.is_empty() {
            return;
        }
        sums.make_room();
        // Rows one by one must be gathered first: where most are looked at, all are.
        if scratch.look.len() * 5 > self.tile.rows * 3 {
            scratch.find(step, &self.tile, self.tile.rows);
            for row in 0..self.tile.rows {
                self.take(step, bounds, sums, (row, scratch.at(row)));
            }
            return;
        }
        scratch.gather(&self.tile);
        let gathered = std::mem::take(&mut scratch.gathered);
        scratch.find(step, &gathered, gathered.rows);
        scratch.gathered = gathered;
        for (nth, &row) in scratch.look.iter().enumerate() {
            self.take(step, bounds, sums, (row as usize, scratch.at(nth)));
        }
    }

    #[inline(always)]
    fn take(
        &mut self,
        step: &Step,
        bounds: &Bounds,
        sums: &mut Sums,
        (row, (new, gap)): (usize, (u32, f64)),
    ) {
        let old = std::mem::replace(&mut self.labels[row], new);
        if old != new {
            sums.shift(step, (&self.tile, row), old, new);
        }
        self.gaps[row] = gap + bounds.drift[new as usize];
    }

    /// Adds the squared distances of the rows from their centroids, row after row.
    pub(super) fn measure(&self, step: &Step, spread: &mut Spread) {
        step.simd.run(Measure { held: self, step, spread });
    }
}

struct Measure<'a> {
    held: &'a Held,
    step: &'a Step,
    spread: &'a mut Spread,
}

impl Vectorised for Measure<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Measure { held, step, spread } = self;
        let columns = step.columns();
        for (group, labels) in held.tile.lanes().chunks_exact(columns).zip(held.labels.chunks(LANES)) {
            let mut starts = [0; LANES];
            starts.iter_mut().zip(labels).for_each(|(start, &label)| *start = label as usize * columns);
            let mut square = [0.0f64; LANES];
            for (j, x) in group.iter().enumerate() {
                for i in 0..LANES {
                    let d = x[i] - step.centroids[starts[i] + j];
                    square[i] = L::pass(d.mul_add(d, square[i]));
                }
            }
            for (&label, square) in labels.iter().zip(square) {
                spread.counts[label as usize] += 1;
                spread.inertia[label as usize] += square;
            }
        }
    }
}

impl Scratch {
    /// Finds the nearest centroids of the first rows of a tile.
    fn find(&mut self, step: &Step, tile: &Tile, rows: usize) {
        let groups = rows.div_ceil(LANES);
        self.found.resize(groups.max(self.found.len()), Found::NONE);
        let found = &mut self.found[..groups];
        step.simd.wide(Nearest { centres: &step.centres, error: step.error, lanes: tile.lanes(), found });
    }

    /// Label and gap of the `nth` row that was looked at.
    #[inline(always)]
    fn at(&self, nth: usize) -> (u32, f64) {
        let found = &self.found[nth / LANES];
        (found.label[nth % LANES] as u32, found.gap[nth % LANES])
    }

    /// Gathers the rows to look at.
    fn gather(&mut self, tile: &Tile) {
        if self.gathered.columns != tile.columns {
            self.gathered = Tile::new(tile.columns, TILE_ROWS);
        }
        self.gathered.rows = 0;
        self.look.iter().for_each(|&row| self.gathered.push(tile, row as usize));
    }
}

/// By which gap a row keeps its cluster, and how far the clusters have drifted since the block was first looked at.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    drift: Vec<f64>,
    limits: Vec<f64>,
}

impl Bounds {
    /// Before anything has moved.
    pub(super) fn new(step: &Step) -> Self {
        Bounds { drift: vec![0.0; step.clusters()], limits: step.limits(&vec![0.0; step.clusters()]) }
    }

    /// As the centroids have moved from `before`.
    fn follow(&mut self, step: &Step, before: &[f64]) {
        step.follow(before, &mut self.drift);
        self.limits = step.limits(&self.drift);
    }
}

/// A block that is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) tiles: Vec<Held>,
    /// The hash of what was read.
    pub(super) reads: Option<[u8; 16]>,
    pub(super) seen: Option<Seen>,
}

/// What is known of a block's rows, once they were given to centroids.
#[derive(Debug)]
pub(super) struct Seen {
    /// The centroids that they were given to.
    pub(super) centroids: Vec<f64>,
    pub(super) bounds: Bounds,
    pub(super) sums: Sums,
}

impl Kept {
    /// Gives each row to its nearest centroid.
    pub(super) fn assign(&mut self, step: &Step) -> ClusterSums {
        let seen = self.seen.get_or_insert_with(|| Seen::new(step));
        if seen.centroids != step.centroids {
            seen.bounds.follow(step, &seen.centroids);
            seen.centroids.clone_from(&step.centroids);
        }
        let mut scratch = Scratch::default();
        for held in &mut self.tiles {
            held.assign(step, &seen.bounds, &mut seen.sums, &mut scratch);
        }
        seen.sums.total()
    }
}

impl Seen {
    /// Before any row was given to these centroids.
    pub(super) fn new(step: &Step) -> Self {
        Seen { centroids: step.centroids.clone(), bounds: Bounds::new(step), sums: Sums::new(step) }
    }
}
