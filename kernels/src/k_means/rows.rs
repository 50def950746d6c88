//! Where rows come from: columns of a table, or a generated mixture. Either way they come as tiles.

use super::tile::{LANES, TILE_ROWS, Tile};
use crate::fold::Fold;
use crate::kernel::{Input, Work};
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox};
use crate::simd::{Lanes, Simd, Vectorised};
use crate::table::filter::Filter;
use crate::table::{Batch, Column, Table, Values, as_float, column};
use muster_spec::k_means::{KMeansSpec, Mixture};
use muster_spec::table::{ColumnType, Kind};
use muster_spec::{Grid, Problem, Problems};

/// The rows of a job.
pub(super) struct Rows {
    /// The names of the columns.
    pub(super) names: Vec<String>,
    source: Source,
}

enum Source {
    Table(Box<(Table, Selection)>),
    Mixture(Generator),
}

/// What takes tiles: it may keep one, and leave another in its place.
pub(super) type Each<'a> = &'a mut dyn FnMut(&mut Tile) -> Result<(), Problems>;

impl Rows {
    /// Opens the rows of a resolved spec.
    ///
    /// # Errors
    /// Everything that is wrong with columns, filter and files.
    pub(super) fn open(spec: &KMeansSpec) -> Result<Rows, Problems> {
        if let Some(mixture) = spec.generate {
            let names = (1..=mixture.columns).map(|j| format!("x{j}")).collect();
            return Ok(Rows { names, source: Source::Mixture(Generator::new(mixture, spec.seed)) });
        }
        let selection = Selection::new(spec)?;
        let table = Table::open(&spec.table)?;
        Ok(Rows { names: spec.columns.clone(), source: Source::Table(Box::new((table, selection))) })
    }

    /// How they are cut.
    pub(super) fn grid(&self) -> Grid {
        match &self.source {
            Source::Table(both) => both.0.grid(),
            Source::Mixture(generator) => Grid::new(generator.mixture.rows.0.div_ceil(generator.block)),
        }
    }

    pub(super) fn work(&self) -> Work {
        match &self.source {
            Source::Table(both) => both.0.work(),
            Source::Mixture(generator) => {
                Work { total: generator.mixture.rows.0 as f64, unit: "rows".into() }
            }
        }
    }

    pub(super) fn inputs(&self) -> Vec<Input> {
        match &self.source {
            Source::Table(both) => both.0.inputs(),
            Source::Mixture(_) => Vec::new(),
        }
    }

    /// Gives `each` the rows of a block that take part, tile by tile, all but the last one full; how many more lack
    /// a value.
    ///
    /// # Errors
    /// What is wrong with the file, or what `each` says.
    pub(super) fn scan(&self, block: u32, cx: &mut Fold, each: Each<'_>) -> Result<u64, Problems> {
        match &self.source {
            Source::Table(both) => both.1.scan(&both.0, block, cx, each),
            Source::Mixture(generator) => generator.scan(block, cx.simd, each).map(|()| 0),
        }
    }
}

/// Which columns and rows of a table take part.
struct Selection {
    /// The columns of values, then those of the filter.
    wanted: Vec<usize>,
    columns: usize,
    kinds: Vec<Kind>,
    filter: Option<Filter>,
}

impl Selection {
    fn new(spec: &KMeansSpec) -> Result<Selection, Problems> {
        let schema = &spec.table.schema;
        let mut problems = Vec::new();
        let mut wanted = find_numbers("--columns", &spec.columns, schema).unwrap_or_else(|wrong| {
            problems.extend(wrong.0);
            Vec::new()
        });
        let filter = spec.filter.as_deref().map(|text| Filter::parse("--where", text, schema));
        let filter = filter.transpose().map_err(|p| problems.push(p)).unwrap_or_default();
        Problems::check(problems)?;
        let (columns, kinds) = (wanted.len(), wanted.iter().map(|&at| schema[at].kind).collect());
        wanted.extend(filter.iter().flat_map(|f| f.columns()));
        Ok(Selection { wanted, columns, kinds, filter })
    }

    fn scan(&self, table: &Table, block: u32, cx: &mut Fold, each: Each<'_>) -> Result<u64, Problems> {
        let mut tile = Tile::new(self.columns, TILE_ROWS);
        let (mut taken, mut missing) = (Vec::new(), 0);
        table.scan(block, &self.wanted, cx, &mut |batch| {
            missing += self.take(batch, &mut taken);
            let mut rest = &taken[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(TILE_ROWS - tile.rows));
                self.fill(&mut tile, batch, now);
                rest = later;
                if tile.rows == TILE_ROWS {
                    each(&mut tile)?;
                    tile.empty(self.columns);
                }
            }
            Ok(())
        })?;
        if tile.rows > 0 {
            each(&mut tile)?;
        }
        Ok(missing)
    }

    /// The rows of a batch that take part; how many more the filter takes.
    fn take(&self, batch: &Batch, taken: &mut Vec<u32>) -> u64 {
        match &self.filter {
            Some(filter) => filter.rows(batch, self.columns, taken),
            None => {
                taken.clear();
                taken.extend(0..batch.rows as u32);
            }
        }
        let before = taken.len();
        for valid in batch.columns[..self.columns].iter().filter_map(|c| c.valid) {
            taken.retain(|&row| valid[row as usize]);
        }
        (before - taken.len()) as u64
    }

    fn fill(&self, tile: &mut Tile, batch: &Batch, rows: &[u32]) {
        let columns: &[Column] = &batch.columns[..self.columns];
        let from = tile.rows;
        let to = || (from..).zip(rows).map(|(to, &row)| (to, row as usize));
        for (j, (column, &kind)) in columns.iter().zip(&self.kinds).enumerate() {
            match column.values {
                Values::Float(x) => to().for_each(|(to, row)| tile.put(to, j, x[row])),
                Values::Int(x) => to().for_each(|(to, row)| tile.put(to, j, as_float(kind, x[row]))),
                Values::Text(..) => {}
            }
        }
        tile.rows += rows.len();
    }
}

/// The positions of columns of numbers, asked for by `flag`.
///
/// # Errors
/// Each that is not there or holds no numbers.
pub(super) fn find_numbers(
    flag: &str,
    names: &[String],
    schema: &[ColumnType],
) -> Result<Vec<usize>, Problems> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        match column(flag, schema, name) {
            Ok(at) if schema[at].kind.is_number() || schema[at].kind == Kind::Bool => out.push(at),
            Ok(at) => {
                let what = format!("'{name}' is of type {}, and distances need numbers", schema[at].kind);
                let hint = format!("--types '{name}=float' reads it as numbers, --missing leaves words out");
                problems.push(Problem::new(flag, what).hint(hint));
            }
            Err(problem) => problems.push(problem),
        }
    }
    Problems::check(problems)?;
    Ok(out)
}

/// The streams of random numbers of a mixture.
const NOISE: u32 = 0;
const PART: u32 = 1;
const CENTRE: u32 = 2;

/// Rows of a mixture, fixed by the seed and their number.
struct Generator {
    mixture: Mixture,
    rng: Philox,
    block: u64,
    /// Part by part, column by column.
    centres: Vec<f64>,
}

impl Generator {
    fn new(mixture: Mixture, seed: u64) -> Self {
        let (rng, columns) = (Philox::new(seed), mixture.columns as usize);
        let mut centres = vec![0.0; mixture.parts as usize * columns];
        Simd::all()[0].run(Centres { rng, columns, centres: &mut centres });
        Generator { mixture, rng, block: mixture.block_rows(), centres }
    }

    fn scan(&self, block: u32, simd: Simd, each: Each<'_>) -> Result<(), Problems> {
        let columns = self.mixture.columns as usize;
        let mut tile = Tile::new(columns, TILE_ROWS);
        let mut at = u64::from(block) * self.block;
        let end = (at + self.block).min(self.mixture.rows.0);
        while at < end {
            tile.rows = (end - at).min(TILE_ROWS as u64) as usize;
            simd.run(Mix { generator: self, from: at, tile: &mut tile });
            at += tile.rows as u64;
            each(&mut tile)?;
            tile.empty(columns);
        }
        Ok(())
    }
}

struct Centres<'a> {
    rng: Philox,
    columns: usize,
    centres: &'a mut [f64],
}

impl Vectorised for Centres<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut drawn = [[0.0; BATCH]; 4];
        for (nth, batch) in self.centres.chunks_mut(BATCH * self.columns).enumerate() {
            for j in 0..self.columns {
                if j % 4 == 0 {
                    let path = (nth * BATCH) as u64;
                    normals::<L>(self.rng, Draw { path, group: j as u32 / 4, stream: CENTRE }, &mut drawn);
                }
                for (centre, &x) in batch.chunks_exact_mut(self.columns).zip(&drawn[j % 4]) {
                    centre[j] = x;
                }
            }
        }
    }
}

/// The rows of a tile from number `from` on.
struct Mix<'a> {
    generator: &'a Generator,
    from: u64,
    tile: &'a mut Tile,
}

impl Vectorised for Mix<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Generator { mixture, rng, centres, .. } = self.generator;
        let columns = mixture.columns as usize;
        let (mut drawn, mut words) = ([[0.0; BATCH]; 4], [[0; BATCH]; 4]);
        for first in (0..self.tile.rows.next_multiple_of(LANES)).step_by(BATCH) {
            let path = self.from + first as u64;
            rng.batch::<L>(Draw { path, group: 0, stream: PART }, &mut words);
            let rows = BATCH.min(self.tile.rows.next_multiple_of(LANES) - first);
            for j in 0..columns {
                if j % 4 == 0 {
                    normals::<L>(*rng, Draw { path, group: j as u32 / 4, stream: NOISE }, &mut drawn);
                }
                for i in 0..rows {
                    let part = (words[0][i] * u64::from(mixture.parts)) >> 32;
                    self.tile.put(first + i, j, centres[part as usize * columns + j] + drawn[j % 4][i]);
                }
            }
        }
    }
}
