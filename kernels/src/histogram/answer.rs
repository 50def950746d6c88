//! The answer: counts in bins, and a picture of them for people.

use super::{Axis, CellCounts};
use serde::Serialize;
use std::fmt;

/// Lines of a picture at most, and the columns of one of two dimensions.
const LINES: usize = 40;
const MAP: (usize, usize) = (56, 24);
/// Characters of a line at most.
const WIDTH: usize = 80;
/// From few to many.
const SHADES: &[u8] = b".:-=+*#%@";

/// Counts in bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistogramAnswer {
    /// One column, or two.
    pub columns: Vec<Binned>,
    /// How many rows each bin holds.
    pub counts: Counts,
    /// Rows in the bins.
    pub n: u64,
    /// Rows outside them.
    pub outside: u64,
    /// Rows that take part by the filter and miss a value.
    pub missing: u64,
    /// Rows read.
    pub rows: u64,
}

/// A column and its bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Binned {
    /// The column's name.
    pub column: String,
    /// The edges of the bins, in its units; the last bin holds its upper edge, the others do not.
    pub edges: Vec<f64>,
    /// Rows below the first bin.
    pub below: u64,
    /// Rows above the last.
    pub above: u64,
}

/// Rows by bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Counts {
    /// Of one column.
    One(Vec<u64>),
    /// For each bin of the first column, by the bins of the second.
    Two(Vec<Vec<u64>>),
}

pub(super) fn of(names: &[String], axes: &[Axis], root: &CellCounts) -> HistogramAnswer {
    let width = axes.get(1).map_or(1, |axis| axis.bins() + 2);
    let line = |i: usize| &root.cells[i * width..(i + 1) * width];
    let first = |i: usize| line(i).iter().sum::<u64>();
    let second = |j: usize| (0..axes[0].bins() + 2).map(|i| line(i)[j]).sum::<u64>();
    let binned = |(nth, (column, axis)): (usize, (&String, &Axis))| {
        let at = |cell| if nth == 0 { first(cell) } else { second(cell) };
        let (below, above) = (at(0), at(axis.bins() + 1));
        Binned { column: column.clone(), edges: axis.edges.clone(), below, above }
    };
    let lines = 1..=axes[0].bins();
    let counts = match axes.get(1) {
        None => Counts::One(lines.map(first).collect()),
        Some(axis) => Counts::Two(lines.map(|i| line(i)[1..=axis.bins()].to_vec()).collect()),
    };
    let n = match &counts {
        Counts::One(bins) => bins.iter().sum(),
        Counts::Two(bins) => bins.iter().flatten().sum(),
    };
    HistogramAnswer {
        columns: names.iter().zip(axes).enumerate().map(binned).collect(),
        counts,
        n,
        outside: root.cells.iter().sum::<u64>() - n,
        missing: root.missing,
        rows: root.rows,
    }
}

/// Bins of a column, some of them joined so that there are at most so many.
struct Joined {
    /// How many are one.
    of: usize,
    /// Edges as text, of one width.
    edges: Vec<String>,
}

impl Joined {
    fn new(binned: &Binned, most: usize) -> Joined {
        let bins = binned.edges.len() - 1;
        let of = bins.div_ceil(most);
        let numbers: Vec<f64> = (0..bins).step_by(of).chain([bins]).map(|i| binned.edges[i]).collect();
        let texts = write(&numbers);
        let width = texts.iter().map(String::len).max().unwrap_or(0);
        Joined { of, edges: texts.iter().map(|text| format!("{text:>width$}")).collect() }
    }

    fn len(&self) -> usize {
        self.edges.len() - 1
    }

    /// What is said of joined bins.
    fn note(&self, what: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of > 1 { writeln!(f, "{what} shows {} bins as one; --json has all", self.of) } else { Ok(()) }
    }
}

/// Rising numbers with as many digits as tell them apart.
fn write(numbers: &[f64]) -> Vec<String> {
    let narrowest = numbers.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let largest = numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let plain = (0..=9).filter(|_| largest < 1e12).map(|digits| {
        let text = |x: &f64| format!("{:.digits$}", x + 0.0);
        numbers.iter().map(text).collect::<Vec<_>>()
    });
    let near = |texts: &Vec<String>| {
        let mut pairs = texts.iter().zip(numbers);
        pairs.all(|(text, x)| text.parse().is_ok_and(|shown: f64| (shown - x).abs() <= 0.005 * narrowest))
    };
    plain.into_iter().find(near).unwrap_or_else(|| numbers.iter().map(|x| format!("{x:e}")).collect())
}

/// Adds up joined neighbours.
fn joined(counts: &[u64], of: usize) -> Vec<u64> {
    counts.chunks(of).map(|part| part.iter().sum()).collect()
}

/// A bar of `count` in so many eighths of a character for one of them.
fn bar(count: u64, most: u64, room: usize) -> String {
    let eighths = (count as f64 / most.max(1) as f64 * (8 * room) as f64).round() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    // What is there is seen.
    if count > 0 && eighths == 0 { "▏".into() } else { "█".repeat(eighths / 8) + rest }
}

impl HistogramAnswer {
    fn bars(&self, bins: &[u64], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binned = &self.columns[0];
        let axis = Joined::new(binned, LINES);
        let counts = joined(bins, axis.of);
        let most = counts.iter().copied().max().unwrap_or(0);
        let digits = most.to_string().len().max(5);
        let taken = axis.edges[0].len() * 2 + digits + 7;
        let room = WIDTH.saturating_sub(taken).max(8);
        writeln!(f, "{}", binned.column)?;
        for (i, &count) in counts.iter().enumerate() {
            let end = if i + 1 == axis.len() { ']' } else { ')' };
            let line = format!("[{}, {}{end} {count:>digits$} ", axis.edges[i], axis.edges[i + 1]);
            writeln!(f, "{}", format!("{line} {}", bar(count, most, room)).trim_end())?;
        }
        axis.note("each line", f)
    }

    fn map(&self, bins: &[Vec<u64>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, y) = (Joined::new(&self.columns[0], MAP.0), Joined::new(&self.columns[1], MAP.1));
        let mut cells = vec![vec![0u64; y.len()]; x.len()];
        for (i, line) in bins.iter().enumerate() {
            for (sum, part) in cells[i / x.of].iter_mut().zip(joined(line, y.of)) {
                *sum += part;
            }
        }
        let most = cells.iter().flatten().copied().max().unwrap_or(0);
        let shade = |count: u64| match count {
            0 => ' ',
            count => SHADES[((count as f64 / most as f64 * 9.0).ceil() as usize).clamp(1, 9) - 1].into(),
        };
        // Few bins are drawn wider.
        let wide = (MAP.0 / x.len()).min(8);
        let indent = " ".repeat(y.edges[0].len());
        writeln!(f, "{} upwards, {} to the right", self.columns[1].column, self.columns[0].column)?;
        for j in (0..y.len()).rev() {
            let line: String = cells.iter().flat_map(|column| vec![shade(column[j]); wide]).collect();
            writeln!(f, "{} |{}", y.edges[j], line.trim_end())?;
        }
        writeln!(f, "{indent} +{}", "-".repeat(x.len() * wide))?;
        writeln!(f, "{indent}  {} to {}", x.edges[0].trim(), x.edges[x.len()].trim())?;
        let most_of = |shade: usize| most as f64 * (shade as f64 / 9.0);
        writeln!(f, "'.' is up to {:.0} rows, '@' is up to {most}", most_of(1).floor())?;
        x.note("each column", f)?;
        y.note("each line", f)
    }
}

impl fmt::Display for HistogramAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.counts {
            Counts::One(bins) => self.bars(bins, f)?,
            Counts::Two(bins) => self.map(bins, f)?,
        }
        writeln!(f, "{} rows in the bins", self.n)?;
        for binned in &self.columns {
            if binned.below + binned.above > 0 {
                let Binned { column, below, above, .. } = binned;
                writeln!(f, "{column}: {below} below the bins, {above} above them")?;
            }
        }
        let taken = self.n + self.outside + self.missing;
        if self.missing > 0 {
            writeln!(f, "left out: {} rows in which a value is missing", self.missing)?;
        }
        if taken < self.rows {
            writeln!(f, "{taken} rows took part, of {}", self.rows)?;
        }
        Ok(())
    }
}
