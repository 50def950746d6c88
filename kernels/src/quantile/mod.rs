//! The kernel `quantile`: exact quantiles of columns, in rounds.
//!
//! Values are whole numbers of the same order, their keys. The first round counts keys in buckets; a bucket that holds a
//! wanted rank is the window of the next round, which counts inside it, or gathers its values when they are few. So a
//! round takes 16 bits off a window, and four at most are needed as long as windows are few; mostly two are. Counts are exact
//! and merge in any order.

mod answer;
mod key;
mod search;

pub use answer::{ColumnQuantiles, Quantile, QuantileAnswer};
pub use search::{How, QuantileState, Search, Target, Window};

use crate::fold::Fold;
use crate::iterate::{Iterate, Turn};
use crate::kernel::{Input, Order, Partial, Work};
use crate::table::selection::{Print, Selection, complete, count};
use crate::table::{Table, numbers};
use key::{FIRST_BITS, first_bucket, keys};
use muster_spec::quantile::{MAX_COLUMNS, QuantileSpec};
use muster_spec::table::Kind;
use muster_spec::{Class, Grid, Problem, Problems};
use serde::{Deserialize, Serialize, Serializer};

/// The prepared kernel.
pub struct Quantiles {
    spec: QuantileSpec,
    table: Table,
    selection: Selection,
}

/// What blocks yield.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantilePartial {
    /// Rows read.
    rows: u64,
    /// Rows that take part by the filter.
    used: u64,
    /// Values by their buckets: of each column in the first round, of each window later.
    buckets: Vec<u64>,
    /// How far the values in each window lie above its lowest key.
    #[serde(serialize_with = "sorted")]
    offsets: Vec<Vec<u64>>,
}

/// However they were gathered, equal ones encode to equal bytes.
fn sorted<S: Serializer>(offsets: &[Vec<u64>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(offsets.iter().map(|offsets| {
        let mut sorted = offsets.clone();
        sorted.sort_unstable();
        sorted
    }))
}

impl Partial for QuantilePartial {
    fn merge(mut self, right: Self) -> Self {
        self.rows += right.rows;
        self.used += right.used;
        self.buckets.iter_mut().zip(right.buckets).for_each(|(a, b)| *a += b);
        self.offsets.iter_mut().zip(right.offsets).for_each(|(a, b)| a.extend(b));
        self
    }

    fn bytes(&self) -> u64 {
        let gathered: usize = self.offsets.iter().map(Vec::len).sum();
        (self.buckets.len() + 6 * gathered) as u64
    }
}

fn fits(kind: Kind) -> bool {
    kind.is_number() || kind == Kind::Bool
}

fn select(spec: &QuantileSpec) -> Result<Selection, Problems> {
    let names = spec.of.iter().map(|name| ("--of", name.as_str()));
    Selection::new(&spec.table.schema, names, fits, spec.filter.as_deref())
}

impl QuantilePartial {
    /// Adds a column's keys in a round that began from `state`.
    fn take(&mut self, state: &QuantileState, nth: usize, float: bool, keys: &[u64]) {
        if state.how == How::Survey {
            let buckets = &mut self.buckets[nth << FIRST_BITS..(nth + 1) << FIRST_BITS];
            keys.iter().for_each(|&key| buckets[first_bucket(float, key)] += 1);
            return;
        }
        let Search { windows, before, .. } = &state.columns[nth];
        for &key in keys {
            // The windows are disjoint: a key is in the last that begins below it, or in none.
            let at = windows.partition_point(|window| window.low <= key).saturating_sub(1);
            let Some(offset) = windows[at].offset(key) else { continue };
            match state.how {
                How::Count(bits) => {
                    let bucket = (offset >> windows[at].shift(bits)) as usize;
                    self.buckets[((before + at) << bits) + bucket] += 1;
                }
                _ => self.offsets[before + at].push(offset),
            }
        }
    }
}

impl Iterate for Quantiles {
    type Spec = QuantileSpec;
    type State = QuantileState;
    type Partial = QuantilePartial;
    type Answer = QuantileAnswer;

    const NAME: &'static str = "quantile";

    fn resolve(mut spec: QuantileSpec) -> Result<QuantileSpec, Problems> {
        Problems::check(spec.problems())?;
        spec.table = Table::resolve(spec.table)?;
        if spec.of.is_empty() {
            spec.of = numbers(&spec.table.schema);
            let found = spec.of.len();
            if !(1..=MAX_COLUMNS).contains(&found) {
                let what =
                    format!("is missing, and {found} columns hold numbers: 1 to {MAX_COLUMNS} are taken");
                return Err(Problem::new("--of", what).hint("name columns").into());
            }
        }
        select(&spec)?;
        Ok(spec)
    }

    fn prepare(spec: &QuantileSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        let (selection, table) = (select(spec)?, Table::open(&spec.table)?);
        Ok(Quantiles { spec: spec.clone(), table, selection })
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

    fn start(&self) -> Result<QuantileState, Problems> {
        Ok(QuantileState::survey())
    }

    fn fold(&self, state: &QuantileState, block: u32, cx: &mut Fold) -> Result<QuantilePartial, Problems> {
        let mut folded = None;
        self.add(state, block, cx, &mut folded)?;
        Ok(folded.expect("a block was added"))
    }

    fn add(
        &self,
        state: &QuantileState,
        block: u32,
        cx: &mut Fold,
        to: &mut Option<QuantilePartial>,
    ) -> Result<(), Problems> {
        let columns = self.selection.columns();
        let mut partial = to.take().unwrap_or_default();
        partial.buckets.resize(state.buckets(columns.len()), 0);
        partial.offsets.resize(if state.how == How::Gather { state.windows() } else { 0 }, Vec::new());
        let (mut print, simd) = (Print::default(), cx.simd);
        let (mut numbers, mut there) = (Vec::new(), Vec::new());
        let (mut rows, mut used) = (0, 0);
        self.selection.scan(&self.table, block, cx, &mut |batch, taking_part| {
            rows += batch.rows as u64;
            used += count(taking_part, batch.rows) as u64;
            for (nth, of) in columns.iter().enumerate() {
                if state.columns.get(nth).is_some_and(|search| search.windows.is_empty()) {
                    continue;
                }
                let column = &batch.columns[nth];
                let rows = complete(std::slice::from_ref(column), taking_part, &mut there);
                keys(simd, column, rows, &mut numbers);
                print.add(simd, numbers.iter().copied());
                partial.take(state, nth, of.kind == Kind::Float, &numbers);
            }
        })?;
        cx.note_scratch(&partial.buckets);
        print.note(&[rows, used], cx);
        partial.rows += rows;
        partial.used += used;
        *to = Some(partial);
        Ok(())
    }

    fn finish(
        &self,
        state: &QuantileState,
        mut root: QuantilePartial,
    ) -> Result<Turn<QuantileState, QuantileAnswer>, Problems> {
        let kinds: Vec<Kind> = self.selection.columns().iter().map(|column| column.kind).collect();
        let mut state = state.clone();
        match state.how {
            How::Survey => {
                (state.rows, state.used) = (root.rows, root.used);
                let first = |(kind, buckets): (&Kind, &[u64])| {
                    let ranks = |values| answer::ranks(&self.spec, values);
                    Search::first(*kind == Kind::Float, buckets, ranks)
                };
                state.columns = kinds.iter().zip(root.buckets.chunks(1 << FIRST_BITS)).map(first).collect();
            }
            How::Count(bits) => {
                let all: Vec<&[u64]> = root.buckets.chunks(1 << bits).collect();
                for search in &mut state.columns {
                    search.counted(bits, &all[search.before..][..search.windows.len()]);
                }
            }
            How::Gather => {
                root.offsets.iter_mut().for_each(|offsets| offsets.sort_unstable());
                for search in &mut state.columns {
                    search.gathered(&root.offsets[search.before..][..search.windows.len()]);
                }
            }
        }
        let (rows, used) = (state.rows, state.used);
        Ok(match state.next() {
            Ok(next) => Turn::Next(next),
            Err(found) => Turn::Answer(answer::of(&self.spec, &kinds, &found, (rows, used))),
        })
    }
}

#[cfg(test)]
mod tests;
