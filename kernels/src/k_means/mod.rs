//! The kernel `k-means`: centroids of clusters of rows, in rounds (Lloyd 1982).
//!
//! The first round surveys the columns and draws a sample, from which the start is made. In each of the next, every row
//! goes to its nearest centroid, and centroids move to the means of their rows. The last measures the clusters.
//! Sums are whole numbers of quanta ([`state::ClusterSums`]) and do not round, so a rank that has kept its blocks adds and
//! takes away the rows that changed their cluster, and one that has not adds all: the bits are the same.

mod answer;
mod block;
mod nearest;
mod rows;
mod seed;
pub mod state;
mod step;
pub mod survey;
mod tile;

pub use answer::{Cluster, KMeansAnswer};

use crate::fold::Fold;
use crate::iterate::{Iterate, Turn};
use crate::kernel::{Input, Work};
use crate::moments::ColumnMoments;
use crate::simd::Simd;
use crate::table::{Table, Values, as_float, numbers};
use block::{Held, Kept, Scratch, Seen};
use muster_spec::k_means::KMeansSpec;
use muster_spec::{Class, Grid, Problem, Problems};
use rows::Rows;
use state::{ClusterSums, Frame, KMeansPartial, KMeansState, Spread, Standing};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use step::{Step, Steps};
use survey::{Survey, Surveyor};

/// Values above it have squares, and sums of squares, beyond the range of numbers.
const LARGEST: f64 = 1e150;

/// The prepared kernel, and the blocks that this rank keeps.
pub struct KMeans {
    spec: KMeansSpec,
    clusters: usize,
    rows: Rows,
    steps: Steps,
    blocks: Vec<Mutex<Option<Box<Kept>>>>,
    /// Bytes that they take.
    kept_bytes: AtomicUsize,
}

impl Iterate for KMeans {
    type Spec = KMeansSpec;
    type State = KMeansState;
    type Partial = KMeansPartial;
    type Answer = KMeansAnswer;

    const NAME: &'static str = "k-means";

    fn resolve(mut spec: KMeansSpec) -> Result<KMeansSpec, Problems> {
        Problems::check(spec.problems())?;
        if spec.generate.is_none() {
            spec.table = Table::resolve(spec.table)?;
        }
        if let Some(start) = spec.start.take() {
            read_start(&mut spec, start)?;
        }
        if let Some(mixture) = spec.generate {
            Problems::check(spec.size_problem(mixture.columns as usize).into_iter().collect())?;
            return Ok(spec);
        }
        if spec.columns.is_empty() {
            spec.columns = numbers(&spec.table.schema);
        }
        if spec.columns.is_empty() {
            let what = "has no column that holds numbers at the start of the file";
            let file = spec.table.files[0].to_string();
            return Err(Problem::new(file, what).hint("--columns NAME,... names them").into());
        }
        Problems::check(spec.size_problem(spec.columns.len()).into_iter().collect())?;
        Rows::open(&spec)?;
        Ok(spec)
    }

    fn prepare(spec: &KMeansSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        let rows = Rows::open(spec)?;
        let clusters = spec.clusters.map_or(spec.centroids.len(), |n| n as usize);
        let blocks = (0..rows.grid().blocks()).map(|_| Mutex::default()).collect();
        let (steps, kept_bytes) = (Steps::default(), AtomicUsize::new(0));
        Ok(KMeans { spec: spec.clone(), clusters, rows, steps, blocks, kept_bytes })
    }

    fn grid(&self) -> Grid {
        self.rows.grid()
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn work(&self) -> Work {
        self.rows.work()
    }

    fn inputs(&self) -> Vec<Input> {
        self.rows.inputs()
    }

    fn start(&self) -> Result<KMeansState, Problems> {
        Ok(KMeansState::Survey)
    }

    fn fold(&self, state: &KMeansState, block: u32, cx: &mut Fold) -> Result<KMeansPartial, Problems> {
        match state {
            KMeansState::Survey => self.survey(block, cx).map(KMeansPartial::Survey),
            KMeansState::Lloyd(standing) => {
                let step = self.steps.of(cx.simd, standing);
                self.assign(&step, block, cx, &mut |_| {}).map(KMeansPartial::Sums)
            }
            KMeansState::Measure(standing, _) => {
                let step = self.steps.of(cx.simd, standing);
                let mut spread =
                    Spread { counts: vec![0; step.clusters()], inertia: vec![0.0; step.clusters()] };
                self.assign(&step, block, cx, &mut |held| held.measure(&step, &mut spread))?;
                Ok(KMeansPartial::Spread(spread))
            }
        }
    }

    fn finish(
        &self,
        state: &KMeansState,
        root: KMeansPartial,
    ) -> Result<Turn<KMeansState, KMeansAnswer>, Problems> {
        match (state, root) {
            (KMeansState::Survey, KMeansPartial::Survey(survey)) => self.begin(&survey).map(Turn::Next),
            (KMeansState::Lloyd(standing), KMeansPartial::Sums(sums)) => {
                Ok(Turn::Next(self.moved(standing, &sums)))
            }
            (KMeansState::Measure(standing, settled), KMeansPartial::Spread(spread)) => {
                Ok(Turn::Answer(answer::of(&self.rows.names, standing, *settled, &spread)))
            }
            _ => unreachable!("a round yields what its state asks for"),
        }
    }
}

impl KMeans {
    /// The first round: moments and a sample. The rows are kept, as far as there is room.
    fn survey(&self, block: u32, cx: &mut Fold) -> Result<Survey, Problems> {
        let limit = if self.spec.centroids.is_empty() { seed::sample_rows(self.clusters) } else { 0 };
        let mut surveyor = Surveyor::new(self.spec.seed, block, self.rows.names.len(), limit);
        let mut keeper = Keeper::new(self, cx.keep_bytes);
        let mut own = Fold::new(cx.simd, cx.tile_bytes);
        let missing = self.rows.scan(block, &mut own, &mut |tile| {
            surveyor.add(cx.simd, tile);
            cx.note_scratch(tile.lanes());
            keeper.keep(Held::new(std::mem::take(tile)), tile);
            Ok(())
        })?;
        note(own.reads(), cx);
        let survey = surveyor.finish(missing);
        self.check(&survey.columns)?;
        self.put(block, keeper.kept(own.reads(), None));
        Ok(survey)
    }

    /// Gives each row of a block to its nearest centroid, and shows `each` the tiles then.
    fn assign(
        &self,
        step: &Step,
        block: u32,
        cx: &mut Fold,
        each: &mut dyn FnMut(&Held),
    ) -> Result<ClusterSums, Problems> {
        if let Some(kept) = self.slot(block).as_deref_mut() {
            note(kept.reads, cx);
            let sums = kept.assign(step);
            for held in &kept.tiles {
                cx.note_scratch(held.tile.lanes());
                each(held);
            }
            return Ok(sums);
        }
        let (mut seen, mut scratch) = (Seen::new(step), Scratch::default());
        let mut keeper = Keeper::new(self, cx.keep_bytes);
        let mut own = Fold::new(cx.simd, cx.tile_bytes);
        self.rows.scan(block, &mut own, &mut |tile| {
            let mut held = Held::new(std::mem::take(tile));
            held.assign(step, &seen.bounds, &mut seen.sums, &mut scratch);
            cx.note_scratch(held.tile.lanes());
            each(&held);
            keeper.keep(held, tile);
            Ok(())
        })?;
        note(own.reads(), cx);
        let sums = seen.sums.total();
        self.put(block, keeper.kept(own.reads(), Some(seen)));
        Ok(sums)
    }

    fn slot(&self, block: u32) -> std::sync::MutexGuard<'_, Option<Box<Kept>>> {
        // A block that panicked has ended the job.
        self.blocks[block as usize].lock().expect("no block is folded after a panic")
    }

    fn put(&self, block: u32, kept: Option<Kept>) {
        if let Some(kept) = kept {
            *self.slot(block) = Some(Box::new(kept));
        }
    }

    /// # Errors
    /// When values are too large for their squares.
    fn check(&self, columns: &[ColumnMoments]) -> Result<(), Problems> {
        let too_large = |(name, moments): (&String, &ColumnMoments)| {
            let largest = moments.max.max(-moments.min);
            (largest > LARGEST).then(|| {
                let what = format!("'{name}' reaches {largest:e}, and squares need at most {LARGEST:e}");
                Problem::new("--columns", what).hint("--where leaves rows out")
            })
        };
        Problems::check(self.rows.names.iter().zip(columns).filter_map(too_large).collect())
    }

    /// The first centroids.
    fn begin(&self, survey: &Survey) -> Result<KMeansState, Problems> {
        let frame = frame(survey, self.spec.scale);
        if frame.rows < self.clusters as u64 {
            let what = format!("is {}, but only {} rows take part", self.clusters, frame.rows);
            let hint = match frame.missing {
                0 => "ask for fewer clusters".into(),
                missing => format!("{missing} more lack a value: leave the columns out where it is missing"),
            };
            return Err(Problem::new("--clusters", what).hint(hint).into());
        }
        let centroids = if self.spec.centroids.is_empty() {
            seed::centroids(Simd::all()[0], &survey.sample, &frame, self.clusters, self.spec.seed)
        } else {
            let inside = |row: &Vec<f64>| frame.inside(row).collect::<Vec<_>>();
            self.spec.centroids.iter().flat_map(inside).collect()
        };
        Ok(KMeansState::Lloyd(Standing { frame, moves: 0, centroids }))
    }

    /// Moves each centroid to the mean of its rows; one without rows stays where it is.
    fn moved(&self, standing: &Standing, sums: &ClusterSums) -> KMeansState {
        let frame = &standing.frame;
        let (columns, quanta) = (frame.offset.len(), step::quanta(frame));
        let mut centroids = standing.centroids.clone();
        let each = centroids.chunks_exact_mut(columns).zip(sums.sums.chunks_exact(columns));
        for ((centroid, sums), &count) in each.zip(&sums.counts).filter(|(_, count)| **count > 0) {
            for ((c, &sum), &quanta) in centroid.iter_mut().zip(sums).zip(&quanta) {
                *c = sum as f64 / quanta / count as f64;
            }
        }
        let shift = step::square_distance(&standing.centroids, &centroids);
        let settled = shift <= self.spec.tolerance * frame.variance;
        let moves = standing.moves + 1;
        let next = Standing { frame: frame.clone(), moves, centroids };
        if settled || moves >= self.spec.rounds {
            KMeansState::Measure(next, settled)
        } else {
            KMeansState::Lloyd(next)
        }
    }
}

/// Notes in the leaf of a block what was read of it, in this round or before.
fn note(reads: Option<[u8; 16]>, cx: &mut Fold) {
    reads.iter().for_each(|hash| cx.note_read(hash));
}

/// Where distances are taken.
fn frame(survey: &Survey, scale: bool) -> Frame {
    let columns = &survey.columns;
    let rows = columns[0].count;
    let variance = |m: &ColumnMoments| if rows > 0 { m.m2 / rows as f64 } else { 0.0 };
    let factor = |m: &ColumnMoments| match variance(m).sqrt() {
        deviation if scale && deviation > 0.0 => 1.0 / deviation,
        _ => 1.0,
    };
    let mut frame = Frame {
        offset: columns.iter().map(|m| m.mean).collect(),
        factor: columns.iter().map(factor).collect(),
        reach: Vec::new(),
        variance: 0.0,
        rows,
        missing: survey.missing,
    };
    let ends = |end: fn(&ColumnMoments) -> f64| columns.iter().map(end).collect::<Vec<_>>();
    let (low, high) = (ends(|m| m.min), ends(|m| m.max));
    let reach = frame.inside(&low).zip(frame.inside(&high)).map(|(a, b)| a.abs().max(b.abs()));
    frame.reach = reach.collect();
    let scaled = |(m, factor): (&ColumnMoments, &f64)| variance(m) * factor * factor;
    frame.variance = columns.iter().zip(&frame.factor).map(scaled).sum::<f64>() / columns.len() as f64;
    frame
}

impl Frame {
    /// A point in the frame, column by column; tiles are brought into it by the same two operations.
    fn inside<'a>(&'a self, point: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        point.iter().zip(&self.offset).zip(&self.factor).map(|((x, offset), factor)| (x - offset) * factor)
    }
}

/// Reads the centroids of `--start` into the spec.
fn read_start(spec: &mut KMeansSpec, start: muster_spec::quantity::InputPath) -> Result<(), Problems> {
    let place = format!("--start {start}");
    let mut table = muster_spec::table::TableSpec { files: vec![start], ..spec.table.clone() };
    table.types.clear();
    let table = Table::resolve(table)?;
    let names = match (&spec.columns[..], spec.generate) {
        ([], Some(mixture)) => (1..=mixture.columns).map(|j| format!("x{j}")).collect(),
        ([], None) => numbers(&table.schema),
        (names, _) => names.to_vec(),
    };
    let wanted = rows::find_numbers("--start", &names, &table.schema)?;
    let kinds: Vec<_> = wanted.iter().map(|&at| table.schema[at].kind).collect();
    let table = Table::open(&table)?;
    let mut missing = false;
    for block in 0..table.grid().blocks() {
        let mut cx = Fold::new(Simd::choose(None)?, 1 << 20);
        table.scan(block, &wanted, &mut cx, &mut |batch| {
            let from = spec.centroids.len();
            spec.centroids.resize(from + batch.rows, Vec::new());
            for (column, &kind) in batch.columns.iter().zip(&kinds) {
                missing |= column.valid.is_some_and(|valid| valid.contains(&false));
                let value = |row: usize| match column.values {
                    Values::Float(x) => x[row],
                    Values::Int(x) => as_float(kind, x[row]),
                    Values::Text(..) => 0.0,
                };
                (0..batch.rows).for_each(|row| spec.centroids[from + row].push(value(row)));
            }
            Ok(())
        })?;
    }
    let mut problems = Vec::new();
    let rows = spec.centroids.len();
    if missing {
        problems.push(Problem::new(&place, "lacks a value"));
    }
    if spec.centroids.iter().flatten().any(|x| x.abs() > LARGEST) {
        problems.push(Problem::new(&place, format!("holds a value beyond {LARGEST:e}")));
    }
    match spec.clusters {
        _ if rows == 0 => problems.push(Problem::new(&place, "has no row")),
        Some(n) if n as usize != rows => problems.push(
            Problem::new("--clusters", format!("is {n}, and {place} has {rows} rows"))
                .hint("leave it out: there are as many clusters as rows"),
        ),
        _ => spec.clusters = u32::try_from(rows).ok(),
    }
    if spec.generate.is_none() {
        spec.columns = names;
    }
    problems.extend(spec.problems());
    Problems::check(problems)
}

/// Gathers the tiles of a block, as long as there is room for all.
struct Keeper<'a> {
    kernel: &'a KMeans,
    limit: usize,
    tiles: Option<Vec<Held>>,
    bytes: usize,
}

impl<'a> Keeper<'a> {
    fn new(kernel: &'a KMeans, limit: usize) -> Self {
        Keeper { kernel, limit, tiles: Some(Vec::new()), bytes: 0 }
    }

    /// Takes a tile, or gives its memory back.
    fn keep(&mut self, mut held: Held, back: &mut tile::Tile) {
        if let Some(tiles) = &mut self.tiles {
            held.tile.shrink();
            let more = Held::bytes(&held.tile);
            self.bytes += more;
            let all = self.kernel.kept_bytes.fetch_add(more, Ordering::Relaxed) + more;
            if all <= self.limit {
                tiles.push(held);
                return;
            }
            self.tiles = None;
        }
        *back = held.tile;
    }

    /// The block, unless there was no room for it.
    fn kept(mut self, reads: Option<[u8; 16]>, seen: Option<Seen>) -> Option<Kept> {
        let tiles = self.tiles.take()?;
        self.bytes = 0;
        Some(Kept { tiles, reads, seen })
    }
}

impl Drop for Keeper<'_> {
    /// What was not kept takes no room.
    fn drop(&mut self) {
        self.kernel.kept_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
