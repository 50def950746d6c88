//! The kernel `histogram`: counts of a column's values, or of two columns' pairs of values, in bins.
//!
//! Where the bins hang on the smallest and the largest value, a first round finds them; the last round counts. Both are
//! exact: comparisons and whole numbers.

mod answer;
mod axis;

pub use answer::{Binned, Counts, HistogramAnswer};
pub use axis::Axis;

use crate::fold::Fold;
use crate::iterate::{Iterate, Turn};
use crate::kernel::{Input, Order, Partial, Work};
use crate::simd::{Lanes, Vectorised};
use crate::table::Table;
use crate::table::selection::{Print, Selection, complete, count, floats};
use muster_spec::histogram::{HistogramSpec, MAX_CELLS};
use muster_spec::table::Kind;
use muster_spec::{Class, Grid, Problem, Problems};
use serde::{Deserialize, Serialize};

/// The prepared kernel.
pub struct Histogram {
    spec: HistogramSpec,
    table: Table,
    selection: Selection,
}

/// What a round begins from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HistogramState {
    /// The smallest and the largest values are to be found.
    Extents,
    /// Values are to be counted in these bins, a set for each column.
    Count(Vec<Axis>),
}

/// What blocks yield.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HistogramPartial {
    /// The smallest and the largest value of each column; `None` where there is no row.
    Extents(Option<Vec<(f64, f64)>>),
    /// Rows by their cells.
    Counts(CellCounts),
}

/// Rows by the cells that they are in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellCounts {
    /// Rows read.
    rows: u64,
    /// Rows that take part by the filter and miss a value.
    missing: u64,
    /// Of the first column's cell `i`, of `m` cells of the second, `j`: at `i m + j`. The cells of a column are one
    /// below its bins, the bins, and one above them.
    cells: Vec<u64>,
}

impl Partial for HistogramPartial {
    fn merge(self, right: Self) -> Self {
        match (self, right) {
            (Self::Extents(Some(a)), Self::Extents(Some(b))) => {
                let both = a.into_iter().zip(b);
                Self::Extents(Some(both.map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).collect()))
            }
            (Self::Extents(a), Self::Extents(b)) => Self::Extents(a.or(b)),
            (Self::Counts(mut a), Self::Counts(b)) => {
                a.rows += b.rows;
                a.missing += b.missing;
                a.cells.iter_mut().zip(b.cells).for_each(|(a, b)| *a += b);
                Self::Counts(a)
            }
            _ => unreachable!("blocks of one round yield partials of one kind"),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Extents(_) => 0,
            Self::Counts(counts) => counts.cells.len() as u64,
        }
    }
}

fn fits(kind: Kind) -> bool {
    kind.is_number() || kind == Kind::Bool
}

fn select(spec: &HistogramSpec) -> Result<Selection, Problems> {
    let names = spec.of.iter().map(|name| ("--of", name.as_str()));
    Selection::new(&spec.table.schema, names, fits, spec.filter.as_deref())
}

/// The bins, where all can be known from the spec; those that cannot are `None`.
fn asked(spec: &HistogramSpec) -> Result<Vec<Option<Axis>>, Problems> {
    let (mut axes, mut problems) = (Vec::new(), Vec::new());
    for nth in 0..spec.of.len() {
        match Axis::asked(spec.bins_of(nth), spec.range_of(nth)) {
            Ok(axis) => axes.push(axis),
            Err(what) => problems.push(Problem::new("--bins", what)),
        }
    }
    problems.extend(too_many(axes.iter().flatten()));
    Problems::check(problems).map(|()| axes)
}

fn too_many<'a>(axes: impl Iterator<Item = &'a Axis>) -> Option<Problem> {
    let bins: usize = axes.map(Axis::bins).product();
    let what = || format!("makes {bins} bins, and at most {MAX_CELLS} are taken");
    (bins > MAX_CELLS).then(|| Problem::new("--bins", what()).hint("take fewer, or a --range"))
}

impl Histogram {
    /// The columns' numbers in the rows of a block that are complete, batch by batch; rows read, and rows that miss one.
    fn scan(
        &self,
        block: u32,
        cx: &mut Fold,
        each: &mut dyn FnMut(&[Vec<f64>]),
    ) -> Result<(u64, u64), Problems> {
        let columns = self.selection.columns();
        let (mut rows, mut missing, mut there) = (0, 0, Vec::new());
        let mut numbers = vec![Vec::new(); columns.len()];
        let (mut print, simd) = (Print::default(), cx.simd);
        self.selection.scan(&self.table, block, cx, &mut |batch, taking_part| {
            let complete = complete(&batch.columns[..columns.len()], taking_part, &mut there);
            rows += batch.rows as u64;
            missing += (count(taking_part, batch.rows) - count(complete, batch.rows)) as u64;
            for ((numbers, column), of) in numbers.iter_mut().zip(&batch.columns).zip(columns) {
                numbers.clear();
                floats(column, of.kind, complete, numbers);
                print.add(simd, numbers.iter().map(|x| x.to_bits()));
            }
            each(&numbers);
        })?;
        print.note(&[rows, missing], cx);
        Ok((rows, missing))
    }

    fn extents(&self, block: u32, cx: &mut Fold) -> Result<HistogramPartial, Problems> {
        let (mut found, simd) = (HistogramPartial::Extents(None), cx.simd);
        self.scan(block, cx, &mut |numbers| {
            if !numbers[0].is_empty() {
                let extents = numbers.iter().map(|x| simd.run(Extent(x))).collect();
                let before = std::mem::replace(&mut found, HistogramPartial::Extents(None));
                found = before.merge(HistogramPartial::Extents(Some(extents)));
            }
        })?;
        Ok(found)
    }

    fn count(
        &self,
        axes: &[Axis],
        block: u32,
        cx: &mut Fold,
        counts: &mut CellCounts,
    ) -> Result<(), Problems> {
        counts.cells.resize(axes.iter().map(|axis| axis.bins() + 2).product(), 0);
        let (mut first, mut second, simd) = (Vec::new(), Vec::new(), cx.simd);
        let (rows, missing) = self.scan(block, cx, &mut |numbers| {
            axes[0].cells(simd, &numbers[0], &mut first);
            let Some(axis) = axes.get(1) else {
                first.iter().for_each(|&cell| counts.cells[cell as usize] += 1);
                return;
            };
            axis.cells(simd, &numbers[1], &mut second);
            let width = axis.bins() + 2;
            for (&i, &j) in first.iter().zip(&second) {
                counts.cells[i as usize * width + j as usize] += 1;
            }
        })?;
        cx.note_scratch(&counts.cells);
        counts.rows += rows;
        counts.missing += missing;
        Ok(())
    }
}

impl Iterate for Histogram {
    type Spec = HistogramSpec;
    type State = HistogramState;
    type Partial = HistogramPartial;
    type Answer = HistogramAnswer;

    const NAME: &'static str = "histogram";

    fn resolve(mut spec: HistogramSpec) -> Result<HistogramSpec, Problems> {
        Problems::check(spec.problems())?;
        asked(&spec)?;
        spec.table = Table::resolve(spec.table)?;
        select(&spec)?;
        Ok(spec)
    }

    fn prepare(spec: &HistogramSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        let (selection, table) = (select(spec)?, Table::open(&spec.table)?);
        Ok(Histogram { spec: spec.clone(), table, selection })
    }

    fn grid(&self) -> Grid {
        self.table.grid()
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn order(&self) -> Order {
        Order::Running
    }

    fn work(&self) -> Work {
        self.table.work()
    }

    fn inputs(&self) -> Vec<Input> {
        self.table.inputs()
    }

    fn start(&self) -> Result<HistogramState, Problems> {
        let axes: Option<Vec<Axis>> = asked(&self.spec)?.into_iter().collect();
        Ok(axes.map_or(HistogramState::Extents, HistogramState::Count))
    }

    fn fold(&self, state: &HistogramState, block: u32, cx: &mut Fold) -> Result<HistogramPartial, Problems> {
        let mut folded = None;
        self.add(state, block, cx, &mut folded)?;
        Ok(folded.expect("a block was added"))
    }

    fn add(
        &self,
        state: &HistogramState,
        block: u32,
        cx: &mut Fold,
        to: &mut Option<HistogramPartial>,
    ) -> Result<(), Problems> {
        *to = Some(match (state, to.take()) {
            (HistogramState::Extents, None) => self.extents(block, cx)?,
            (HistogramState::Extents, Some(before)) => before.merge(self.extents(block, cx)?),
            (HistogramState::Count(axes), before) => {
                let mut counts = match before {
                    Some(HistogramPartial::Counts(counts)) => counts,
                    _ => CellCounts::default(),
                };
                self.count(axes, block, cx, &mut counts)?;
                HistogramPartial::Counts(counts)
            }
        });
        Ok(())
    }

    fn finish(
        &self,
        state: &HistogramState,
        root: HistogramPartial,
    ) -> Result<Turn<HistogramState, HistogramAnswer>, Problems> {
        match (state, root) {
            (HistogramState::Count(axes), HistogramPartial::Counts(counts)) => {
                Ok(Turn::Answer(answer::of(&self.spec.of, axes, &counts)))
            }
            (_, HistogramPartial::Extents(Some(extents))) => {
                let (mut axes, mut problems) = (Vec::new(), Vec::new());
                for (nth, (asked, &extent)) in asked(&self.spec)?.into_iter().zip(&extents).enumerate() {
                    match asked.map_or_else(|| Axis::around(self.spec.bins_of(nth), extent), Ok) {
                        Ok(axis) => axes.push(axis),
                        Err(what) => problems.push(
                            Problem::new("--bins", format!("'{}': {what}", self.spec.of[nth]))
                                .hint("give a --range, or other bins"),
                        ),
                    }
                }
                problems.extend(too_many(axes.iter()));
                Problems::check(problems).map(|()| Turn::Next(HistogramState::Count(axes)))
            }
            _ => {
                let what =
                    "no row that takes part has a value in every column, so there is no range for bins";
                Err(Problem::new("--of", what).hint("give a --range, or choose other rows").into())
            }
        }
    }
}

const LANES: usize = 16;

/// The smallest and the largest of some values, of which there is one at least; zero has no sign.
struct Extent<'a>(&'a [f64]);

impl Vectorised for Extent<'_> {
    type Out = (f64, f64);

    #[inline(always)]
    fn run<L: Lanes>(self) -> (f64, f64) {
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        let mut take = |i: usize, x: f64| {
            low[i] = if x < low[i] { x } else { low[i] };
            high[i] = if x > high[i] { x } else { high[i] };
        };
        for chunk in chunks {
            (0..LANES).for_each(|i| take(i, L::pass(chunk[i])));
        }
        rest.iter().for_each(|&x| take(0, x));
        let (low, high) = (low.into_iter().reduce(f64::min), high.into_iter().reduce(f64::max));
        // The sum of a zero of either sign and a positive one is positive.
        (low.map_or(0.0, |x| x + 0.0), high.map_or(0.0, |x| x + 0.0))
    }
}

#[cfg(test)]
mod tests;
