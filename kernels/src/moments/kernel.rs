//! The kernel itself: blocks of a file or of generated numbers.

use super::column::{ColumnMoments, Pairwise};
use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Partial, Work};
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox, uniforms};
use crate::simd::{Lanes, Simd, Vectorised};
use crate::table::{Column, Table, Values, as_float, column, numbers};
use muster_spec::moments::{Distribution, Generate, MomentsSpec, SUB_BLOCK, block_numbers};
use muster_spec::table::{ColumnType, Kind};
use muster_spec::{Class, Grid, Problem, Problems};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The prepared kernel.
pub struct Moments {
    source: Source,
    grid: Grid,
}

enum Source {
    Table(Box<Columns>),
    Generated { generate: Generate, seed: u64, block: u64 },
}

struct Columns {
    table: Table,
    /// Positions of the columns wanted.
    wanted: Vec<usize>,
}

/// One entry for each column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MomentsPartial(Vec<ColumnMoments>);

impl Partial for MomentsPartial {
    fn merge(mut self, right: Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(right.0) {
            *mine = mine.merge(theirs);
        }
        self
    }
}

/// The moments of every column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MomentsAnswer {
    /// In the order of the request.
    pub columns: Vec<ColumnAnswer>,
    /// Columns of the file that were not asked for or hold no numbers.
    pub left_out: Vec<String>,
}

/// The moments of one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnAnswer {
    /// Its name.
    pub column: String,
    /// Values that are there.
    pub count: u64,
    /// Values that are missing.
    pub missing: u64,
    /// The mean.
    pub mean: Option<f64>,
    /// The sample variance (divided by n - 1).
    pub variance: Option<f64>,
    /// g1.
    pub skewness: Option<f64>,
    /// Excess, g2.
    pub kurtosis: Option<f64>,
    /// The smallest value.
    pub min: Option<f64>,
    /// The largest value.
    pub max: Option<f64>,
}

impl Kernel for Moments {
    type Spec = MomentsSpec;
    type Partial = MomentsPartial;
    type Answer = MomentsAnswer;

    const NAME: &'static str = "moments";

    fn resolve(mut spec: MomentsSpec) -> Result<MomentsSpec, Problems> {
        Problems::check(spec.problems())?;
        if spec.generate.is_none() {
            spec.table = Table::resolve(spec.table)?;
            if spec.columns.is_empty() {
                spec.columns = numbers(&spec.table.schema);
            }
            if spec.columns.is_empty() {
                let what = "has no column that holds numbers at the start of the file";
                return Err(Problem::new(spec.table.files[0].to_string(), what)
                    .hint("--columns NAME,... names them")
                    .into());
            }
            wanted(&spec)?;
        }
        Ok(spec)
    }

    fn prepare(spec: &MomentsSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        if let Some(generate) = spec.generate {
            let block = block_numbers(generate.count.0);
            let source = Source::Generated { generate, seed: spec.seed, block };
            return Ok(Moments { source, grid: Grid::new(generate.count.0.div_ceil(block)) });
        }
        let columns = Columns { wanted: wanted(spec)?, table: Table::open(&spec.table)? };
        Ok(Moments { grid: columns.table.grid(), source: Source::Table(Box::new(columns)) })
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn work(&self) -> Work {
        match &self.source {
            Source::Table(columns) => columns.table.work(),
            Source::Generated { generate, .. } => {
                Work { total: generate.count.0 as f64, unit: "numbers".into() }
            }
        }
    }

    fn inputs(&self) -> Vec<Input> {
        match &self.source {
            Source::Table(columns) => columns.table.inputs(),
            Source::Generated { .. } => Vec::new(),
        }
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<MomentsPartial, Problems> {
        match &self.source {
            Source::Table(columns) => columns.fold(block, cx).map(MomentsPartial),
            Source::Generated { generate, seed, block: size } => {
                let start = u64::from(block) * size;
                let end = (start + size).min(generate.count.0);
                Ok(MomentsPartial(vec![generated(*generate, *seed, (start, end), cx)]))
            }
        }
    }

    fn finish(&self, root: MomentsPartial) -> Result<MomentsAnswer, Problems> {
        let (names, left_out) = match &self.source {
            Source::Table(columns) => {
                let all = columns.table.columns();
                let names: Vec<String> = columns.wanted.iter().map(|&at| all[at].name.clone()).collect();
                let left_out =
                    all.iter().map(|c| c.name.clone()).filter(|name| !names.contains(name)).collect();
                (names, left_out)
            }
            Source::Generated { generate: Generate { distribution, .. }, .. } => {
                (vec![format!("{distribution:?}").to_lowercase()], Vec::new())
            }
        };
        let column = |(column, m): (String, &ColumnMoments)| ColumnAnswer {
            column,
            count: m.count,
            missing: m.missing,
            mean: (m.count > 0).then_some(m.mean),
            variance: m.variance(),
            skewness: m.skewness(),
            kurtosis: m.kurtosis(),
            min: (m.count > 0).then_some(m.min),
            max: (m.count > 0).then_some(m.max),
        };
        Ok(MomentsAnswer { columns: names.into_iter().zip(&root.0).map(column).collect(), left_out })
    }
}

/// Positions of the columns that were asked for.
fn wanted(spec: &MomentsSpec) -> Result<Vec<usize>, Problems> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    for name in &spec.columns {
        match column("--columns", &spec.table.schema, name) {
            Ok(at) => match spec.table.schema[at].kind {
                kind if kind.is_number() || kind == Kind::Bool => out.push(at),
                kind => problems.push(
                    Problem::new(
                        "--columns",
                        format!("'{name}' is of type {kind}, and moments need numbers"),
                    )
                    .hint(format!("--types '{name}=float' reads it as numbers, --missing leaves words out")),
                ),
            },
            Err(problem) => problems.push(problem),
        }
    }
    Problems::check(problems)?;
    Ok(out)
}

impl Columns {
    fn fold(&self, block: u32, cx: &mut Fold) -> Result<Vec<ColumnMoments>, Problems> {
        let simd = cx.simd;
        let mut sums: Vec<Running> = self.wanted.iter().map(|_| Running::default()).collect();
        self.table.scan(block, &self.wanted, cx, &mut |batch| {
            for ((sums, column), &at) in sums.iter_mut().zip(&batch.columns).zip(&self.wanted) {
                sums.add(simd, column, &self.table.columns()[at]);
            }
            Ok(())
        })?;
        sums.iter().for_each(|sums| cx.note_scratch(&sums.values));
        Ok(sums.into_iter().map(|sums| sums.finish(simd)).collect())
    }
}

/// The moments of a column so far.
#[derive(Default)]
struct Running {
    /// Values that do not fill a sub-block yet.
    values: Vec<f64>,
    pairwise: Pairwise,
    missing: u64,
}

impl Running {
    fn add(&mut self, simd: Simd, column: &Column, of: &ColumnType) {
        let there = |row: usize| column.valid.is_none_or(|valid| valid[row]);
        let (before, rows) = (self.values.len(), column.len());
        // At once: a list that grows from a small piece of memory grows where the piece came from, and the allocator
        // hands small pieces from thread to thread, over NUMA domains too.
        self.values.reserve(rows.max(SUB_BLOCK as usize));
        match column.values {
            Values::Float(x) if column.valid.is_none() => self.values.extend_from_slice(x),
            Values::Float(x) => self.values.extend((0..rows).filter(|&i| there(i)).map(|i| x[i])),
            Values::Int(x) => {
                self.values.extend((0..rows).filter(|&i| there(i)).map(|i| as_float(of.kind, x[i])));
            }
            Values::Text(..) => {}
        }
        self.missing += (rows - (self.values.len() - before)) as u64;
        let whole = self.values.len() / SUB_BLOCK as usize * SUB_BLOCK as usize;
        self.pairwise.push(simd, &self.values[..whole]);
        self.values.drain(..whole);
    }

    fn finish(mut self, simd: Simd) -> ColumnMoments {
        if !self.values.is_empty() {
            self.pairwise.push(simd, &self.values);
        }
        ColumnMoments { missing: self.missing, ..self.pairwise.total() }
    }
}

/// A sub-block of generated numbers.
struct Numbers<'a> {
    distribution: Distribution,
    rng: Philox,
    /// The number of its first value.
    start: u64,
    out: &'a mut [f64],
}

impl Vectorised for Numbers<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut rows = [[0.0; BATCH]; 4];
        for (nth, part) in self.out.chunks_mut(4 * BATCH).enumerate() {
            // Number i is row i / 64 % 4, lane i % 64 of the batch i / 256.
            let batch = self.start / (4 * BATCH as u64) + nth as u64;
            let draw = Draw { path: batch * BATCH as u64, group: 0, stream: 0 };
            match self.distribution {
                Distribution::Normal => normals::<L>(self.rng, draw, &mut rows),
                Distribution::Uniform => uniforms::<L>(self.rng, draw, &mut rows),
            }
            part.copy_from_slice(&rows.as_flattened()[..part.len()]);
        }
    }
}

fn generated(generate: Generate, seed: u64, (start, end): (u64, u64), cx: &mut Fold) -> ColumnMoments {
    let simd = cx.simd;
    let mut pairwise = Pairwise::default();
    let mut buffer = vec![0.0; SUB_BLOCK as usize];
    let mut at = start;
    while at < end {
        let n = (end - at).min(SUB_BLOCK) as usize;
        let (distribution, rng) = (generate.distribution, Philox::new(seed));
        simd.run(Numbers { distribution, rng, start: at, out: &mut buffer[..n] });
        pairwise.push(simd, &buffer[..n]);
        at += n as u64;
    }
    cx.note_scratch(&buffer);
    pairwise.total()
}

impl fmt::Display for MomentsAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.columns.iter().map(|c| c.column.chars().count()).max().unwrap_or(0).max(6);
        write!(f, "{:<width$} {:>13} {:>9}", "column", "count", "missing")?;
        for name in ["mean", "variance", "skewness", "kurtosis", "minimum", "maximum"] {
            write!(f, " {name:>13}")?;
        }
        writeln!(f)?;
        for c in &self.columns {
            write!(f, "{:<width$} {:>13} {:>9}", c.column, c.count, c.missing)?;
            for value in [c.mean, c.variance, c.skewness, c.kurtosis, c.min, c.max] {
                write!(f, " {:>13}", value.map_or("-".into(), short))?;
            }
            writeln!(f)?;
        }
        if !self.left_out.is_empty() {
            writeln!(f, "left out: {}", self.left_out.join(", "))?;
        }
        Ok(())
    }
}

/// A number in at most 13 characters.
fn short(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || (1e-4..1e7).contains(&size) { format!("{x:.6}") } else { format!("{x:.5e}") }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
