//! The kernel itself: blocks of a file or of generated numbers.

use super::column::{ColumnMoments, Pairwise};
use crate::csv::{Cuts, Record, Table};
use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Partial, Work};
use crate::math::normal::normals;
use crate::math::philox::{BATCH, Draw, Philox, uniforms};
use crate::simd::{Lanes, Vectorised};
use muster_spec::moments::{Distribution, Generate, MomentsSpec, SUB_BLOCK, block_numbers, file_grid};
use muster_spec::{Class, Grid, Problem, Problems};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The prepared kernel.
pub struct Moments {
    source: Source,
    grid: Grid,
}

enum Source {
    File(Box<Columns>),
    Generated { generate: Generate, seed: u64, block: u64 },
}

struct Columns {
    table: Table,
    cuts: Cuts,
    /// Position and name of each column wanted.
    wanted: Vec<(usize, String)>,
    missing: Vec<String>,
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
        if let Some(path) = &spec.file {
            let table = Table::open(path.path(), spec.delimiter as u8)?;
            if spec.columns.is_empty() {
                spec.columns = numeric_columns(&table, &spec.missing)?;
            }
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
        let path = spec.file.as_ref().expect("the spec was checked").path();
        let table = Table::open(path, spec.delimiter as u8)?;
        let (mut wanted, mut problems) = (Vec::new(), Vec::new());
        for name in &spec.columns {
            match table.column(name) {
                Ok(at) => wanted.push((at, name.clone())),
                Err(problem) => problems.push(problem),
            }
        }
        Problems::check(problems)?;
        let grid = file_grid(table.input().bytes);
        let cuts = table.cuts(grid)?;
        let columns = Columns { table, cuts, wanted, missing: spec.missing.clone() };
        Ok(Moments { source: Source::File(Box::new(columns)), grid })
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn work(&self) -> Work {
        match &self.source {
            Source::File(columns) => Work { total: columns.table.input().bytes as f64, unit: "bytes".into() },
            Source::Generated { generate, .. } => {
                Work { total: generate.count.0 as f64, unit: "numbers".into() }
            }
        }
    }

    fn inputs(&self) -> Vec<Input> {
        match &self.source {
            Source::File(columns) => vec![columns.table.input().clone()],
            Source::Generated { .. } => Vec::new(),
        }
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<MomentsPartial, Problems> {
        match &self.source {
            Source::File(columns) => columns.fold(block, cx).map(MomentsPartial),
            Source::Generated { generate, seed, block: size } => {
                let start = u64::from(block) * size;
                let end = (start + size).min(generate.count.0);
                Ok(MomentsPartial(vec![generated(*generate, *seed, (start, end), cx)]))
            }
        }
    }

    fn finish(&self, root: MomentsPartial) -> Result<MomentsAnswer, Problems> {
        let (names, left_out) = match &self.source {
            Source::File(columns) => {
                let names: Vec<String> = columns.wanted.iter().map(|(_, name)| name.clone()).collect();
                let left_out =
                    columns.table.header().iter().filter(|h| !names.contains(h)).cloned().collect();
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

/// The columns that hold numbers, and nothing else, at the start of the file.
fn numeric_columns(table: &Table, missing: &[String]) -> Result<Vec<String>, Problems> {
    let mut seen = vec![(false, true); table.header().len()];
    table.first_records(|record| {
        for (i, (some, all)) in seen.iter_mut().enumerate().take(record.fields.len()) {
            match number(record.fields.get(i), missing) {
                Ok(Some(_)) => *some = true,
                Ok(None) => {}
                Err(()) => *all = false,
            }
        }
        Ok(())
    })?;
    let named = table.header().iter().zip(&seen).filter(|(_, (some, all))| *some && *all);
    let names: Vec<String> = named.map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        let what = "has no column that holds numbers at the start of the file";
        return Err(Problem::new(table.path().display().to_string(), what)
            .hint("--columns NAME,... names them")
            .into());
    }
    Ok(names)
}

/// A field as a finite number, `None` when it is missing.
fn number(field: &[u8], missing: &[String]) -> Result<Option<f64>, ()> {
    let text = field.trim_ascii();
    if text.is_empty() || missing.iter().any(|m| m.as_bytes() == text) {
        return Ok(None);
    }
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse::<f64>().ok());
    parsed.filter(|x| x.is_finite()).map(Some).ok_or(())
}

impl Columns {
    fn fold(&self, block: u32, cx: &mut Fold) -> Result<Vec<ColumnMoments>, Problems> {
        let simd = cx.simd;
        let mut columns: Vec<(Vec<f64>, Pairwise, u64)> = self
            .wanted
            .iter()
            .map(|_| (Vec::with_capacity(SUB_BLOCK as usize), Pairwise::default(), 0))
            .collect();
        let mut each = |record: &Record| {
            for ((at, name), (values, pairwise, missing)) in self.wanted.iter().zip(&mut columns) {
                match number(record.fields.get(*at), &self.missing) {
                    Ok(Some(x)) => values.push(x),
                    Ok(None) => *missing += 1,
                    Err(()) => return Err(self.not_a_number(record, (*at, name))),
                }
                if values.len() == SUB_BLOCK as usize {
                    pairwise.push(simd, values);
                    values.clear();
                }
            }
            Ok(())
        };
        let tile_bytes = cx.tile_bytes;
        self.table.block_records(
            (&self.cuts, block),
            tile_bytes,
            &mut |bytes| {
                cx.note_read(bytes);
                cx.note_scratch(bytes);
            },
            &mut each,
        )?;
        columns.iter().for_each(|(values, ..)| cx.note_scratch(values));
        let finish = |(values, mut pairwise, missing): (Vec<f64>, Pairwise, u64)| {
            if !values.is_empty() {
                pairwise.push(simd, &values);
            }
            ColumnMoments { missing, ..pairwise.total() }
        };
        Ok(columns.into_iter().map(finish).collect())
    }

    fn not_a_number(&self, record: &Record, (at, name): (usize, &str)) -> Problems {
        let text: String = String::from_utf8_lossy(record.fields.get(at)).chars().take(40).collect();
        Problem::new(
            self.table.place(record.at),
            format!("column '{name}' holds '{text}', which is not a finite number"),
        )
        .hint(format!("--missing '{}' counts it as missing; --columns names other columns", text.trim()))
        .into()
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
