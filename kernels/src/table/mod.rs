//! Tables as blocks of rows: files of CSV or Parquet with the same columns.
//!
//! Step 10 of a job's way (DESIGN section 4) reads here. Blocks are cut by the files alone: row groups of Parquet; byte
//! ranges of (decompressed) CSV moved to record ends, so that every record belongs to the block in whose range its first
//! byte lies. Types are settled once, over the start of the first file, and stand in the spec. Rows come in batches, a
//! slice for each column.

mod codes;
mod decode;
pub mod filter;
mod pages;
mod parquet;
pub mod selection;
mod shape;
mod snappy;
mod stops;
mod text;
pub mod value;
mod words;

use self::parquet::ParquetFile;
use crate::fold::Fold;
use crate::kernel::{Input, Work};
use muster_spec::table::{ColumnType, Kind, TableSpec, text_blocks};
use muster_spec::{Grid, MAX_BLOCKS, Problem, Problems};
use text::TextFile;
pub use words::{Interner, Words};

/// Rows in a batch at most.
pub const BATCH_ROWS: usize = 4096;

/// The files of a table, opened.
pub struct Table {
    sources: Vec<Source>,
    columns: Vec<ColumnType>,
    /// The first block of each file, and behind the last the number of all.
    firsts: Vec<u32>,
}

enum Source {
    Text(TextFile),
    Parquet(ParquetFile),
}

/// Consecutive rows of the columns that were asked for.
pub struct Batch<'a> {
    /// How many rows.
    pub rows: usize,
    /// In the order in which they were asked for.
    pub columns: Vec<Column<'a>>,
}

/// The values of a column in a batch.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    /// One for each row; what stands for a missing one means nothing.
    pub values: Values<'a>,
    /// Which values are there; `None` when all are.
    pub valid: Option<&'a [bool]>,
}

impl Column<'_> {
    /// Whether a row has a value.
    #[inline(always)]
    pub fn is_there(&self, row: u32) -> bool {
        self.valid.is_none_or(|valid| valid[row as usize])
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        match self.values {
            Values::Int(x) => x.len(),
            Values::Float(x) => x.len(),
            Values::Text(codes, _) => codes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values by their kind.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// [`Kind::Int`], [`Kind::Bool`], [`Kind::Timestamp`], [`Kind::Decimal`].
    Int(&'a [i64]),
    /// [`Kind::Float`], finite.
    Float(&'a [f64]),
    /// [`Kind::Text`]: positions in the words. Words only grow from batch to batch, until their generation changes.
    Text(&'a [u32], &'a Words),
}

/// What takes batches.
pub type Each<'a> = &'a mut dyn FnMut(&Batch) -> Result<(), Problems>;

impl Table {
    /// Finds the files of a table and settles the types of its columns.
    ///
    /// # Errors
    /// Everything that is wrong with the spec and the files' starts.
    pub fn resolve(mut spec: TableSpec) -> Result<TableSpec, Problems> {
        Problems::check(spec.problems())?;
        let files = crate::files::find(&spec.files)?;
        spec.files = files.into_iter().map(muster_spec::quantity::InputPath).collect();
        let first = Source::open(&spec, 0)?;
        spec.schema = first.columns(&spec)?;
        let mut problems = Vec::new();
        for forced in &spec.types {
            if !spec.schema.iter().any(|c| c.name == forced.name) {
                problems.push(no_column("--types", &spec.schema, &forced.name));
            }
        }
        Problems::check(problems)?;
        spec.types.clear();
        Ok(spec)
    }

    /// Opens the files of a spec that was resolved.
    ///
    /// # Errors
    /// Everything that is wrong with the files: other columns than the first has, damage.
    pub fn open(spec: &TableSpec) -> Result<Table, Problems> {
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        for i in 0..spec.files.len() {
            match Source::open(spec, i).and_then(|source| source.fits(&spec.schema).map(|()| source)) {
                Ok(source) => sources.push(source),
                Err(more) => problems.extend(more.0),
            }
        }
        Problems::check(problems)?;
        let total = sources.iter().map(|s| s.input_and_bytes().1).sum();
        let (mut firsts, mut next) = (vec![0], 0u32);
        for source in &mut sources {
            let blocks = match source {
                Source::Text(file) => {
                    file.cut(text_blocks(file.bytes(), total))?;
                    file.blocks()
                }
                Source::Parquet(file) => file.blocks(),
            };
            next = next.saturating_add(blocks);
            firsts.push(next);
        }
        if next > MAX_BLOCKS {
            let what =
                format!("the files have {next} row groups and ranges, and a job at most {MAX_BLOCKS} blocks");
            return Err(Problem::new("FILE", what).hint("join small files first").into());
        }
        Ok(Table { sources, columns: spec.schema.clone(), firsts })
    }

    /// Names and types of the columns.
    pub fn columns(&self) -> &[ColumnType] {
        &self.columns
    }

    /// The position of the column called `name`, asked for by `flag`.
    ///
    /// # Errors
    /// When there is none, or several; the nearest name is proposed.
    pub fn column(&self, flag: &str, name: &str) -> Result<usize, Problem> {
        column(flag, &self.columns, name)
    }

    /// How the rows are cut.
    pub fn grid(&self) -> Grid {
        Grid::new(u64::from(*self.firsts.last().expect("there is a first block")))
    }

    /// The files, as they were when they were opened.
    pub fn inputs(&self) -> Vec<Input> {
        self.sources.iter().map(|s| s.input_and_bytes().0.clone()).collect()
    }

    /// Plain bytes of all files together.
    fn bytes(&self) -> u64 {
        self.sources.iter().map(|s| s.input_and_bytes().1).sum()
    }

    /// Rows of all files, where the files say so.
    fn rows(&self) -> Option<u64> {
        let rows = |s: &Source| match s {
            Source::Text(_) => None,
            Source::Parquet(file) => Some(file.rows()),
        };
        self.sources.iter().map(rows).sum()
    }

    /// How much there is to read: rows where the files say how many, else bytes.
    pub fn work(&self) -> Work {
        match self.rows() {
            Some(rows) => Work { total: rows as f64, unit: "rows".into() },
            None => Work { total: self.bytes() as f64, unit: "bytes".into() },
        }
    }

    /// Gives `each` the rows of a block, batch by batch: the columns at these positions.
    ///
    /// # Errors
    /// When a file has changed, a value does not fit its column's type, a record is ragged, or `each` says so.
    pub fn scan(&self, block: u32, wanted: &[usize], cx: &mut Fold, each: Each<'_>) -> Result<(), Problems> {
        let nth = self.firsts.partition_point(|&first| first <= block) - 1;
        match self.sources.get(nth) {
            Some(Source::Text(file)) => {
                file.scan((block - self.firsts[nth], wanted, &self.columns), cx, each)
            }
            Some(Source::Parquet(file)) => file.scan(block - self.firsts[nth], wanted, &self.columns, each),
            // A table without rows has a block all the same.
            None => Ok(()),
        }
    }
}

impl Source {
    fn open(spec: &TableSpec, nth: usize) -> Result<Source, Problems> {
        let file = crate::files::PlainFile::open(spec.files[nth].path())?;
        if ParquetFile::is_one(&file) {
            return Ok(Source::Parquet(ParquetFile::open(file)?));
        }
        Ok(Source::Text(TextFile::open(file, spec)?))
    }

    /// Names and types, as this file shows them.
    fn columns(&self, spec: &TableSpec) -> Result<Vec<ColumnType>, Problems> {
        match self {
            Source::Text(file) => shape::infer(file, spec),
            Source::Parquet(file) => Ok(file.columns().to_vec()),
        }
    }

    /// Makes sure that this file has the table's columns.
    fn fits(&self, columns: &[ColumnType]) -> Result<(), Problems> {
        match self {
            Source::Text(file) => file.fits(columns),
            Source::Parquet(file) => file.fits(columns),
        }
    }

    fn input_and_bytes(&self) -> (&Input, u64) {
        match self {
            Source::Text(file) => (file.input(), file.bytes()),
            Source::Parquet(file) => (file.input(), file.bytes()),
        }
    }
}

/// The position of the column called `name`, asked for by `flag`.
///
/// # Errors
/// When there is none, or several; the nearest name is proposed.
pub fn column(flag: &str, columns: &[ColumnType], name: &str) -> Result<usize, Problem> {
    let found: Vec<usize> = (0..columns.len()).filter(|&i| columns[i].name == name).collect();
    match found[..] {
        [only] => Ok(only),
        [] => Err(no_column(flag, columns, name)),
        _ => Err(Problem::new(flag, format!("{} columns are called '{name}'", found.len()))
            .hint("rename them in the file")),
    }
}

fn no_column(flag: &str, columns: &[ColumnType], name: &str) -> Problem {
    let nearest =
        columns.iter().min_by_key(|c| strsim::levenshtein(&c.name.to_lowercase(), &name.to_lowercase()));
    let problem = Problem::new(flag, format!("there is no column '{name}'"));
    match nearest {
        Some(nearest) => problem.hint(format!("the nearest is '{}'", nearest.name)),
        None => problem,
    }
}

/// The names of the columns that hold numbers.
pub fn numbers(columns: &[ColumnType]) -> Vec<String> {
    columns.iter().filter(|c| c.kind.is_number()).map(|c| c.name.clone()).collect()
}

/// A value of `kind` that is kept as an integer, as a number.
pub fn as_float(kind: Kind, value: i64) -> f64 {
    match kind {
        Kind::Decimal(digits) => value as f64 / power_of_ten(digits),
        _ => value as f64,
    }
}

/// 10 to the power of `digits`; exact for up to 22.
pub fn power_of_ten(digits: u8) -> f64 {
    (0..digits).fold(1.0, |power, _| power * 10.0)
}

#[cfg(test)]
mod tests;
