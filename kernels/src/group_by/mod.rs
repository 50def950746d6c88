//! The kernel `group-by`: aggregates of columns for each key.
//!
//! A block's rows go into a table of groups, batch by batch and column by column; partials merge group by group. All but
//! variances are exact: sums of floating point are kept without rounding ([`crate::math::exact`]), quantiles are counts
//! in buckets of fixed bounds. So partials merge in any order, and the answer is the same bits.

mod answer;
mod groups;
mod index;
mod ingest;
mod keys;
mod partial;
mod state;

pub use answer::{Cell, GroupByAnswer};
pub use partial::GroupByPartial;

use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Order, Partial, Work};
use crate::table::filter::Filter;
use crate::table::{Table, column};
use groups::Groups;
use ingest::Ingest;
use muster_spec::group_by::{Aggregate, Function, GroupBySpec};
use muster_spec::table::{ColumnType, Kind};
use muster_spec::{Class, Grid, Problem, Problems};
use state::{Layout, Wants};

/// The prepared kernel.
pub struct GroupBy {
    table: Table,
    plan: Plan,
    class: Class,
    limit: Option<u64>,
    max_groups: u64,
}

/// Which columns are read, and for what.
struct Plan {
    /// Positions in the table: the keys, then the columns of values, then those of the filter.
    wanted: Vec<usize>,
    keys: Vec<ColumnType>,
    values: Vec<ColumnType>,
    filter: Option<Filter>,
    /// Each aggregate, with the position of its column among the values.
    compute: Vec<(Aggregate, Option<usize>)>,
    layout: Layout,
}

impl Plan {
    /// # Errors
    /// Every column that is not there, or of a type that cannot be aggregated so.
    fn new(spec: &GroupBySpec) -> Result<Plan, Problems> {
        let columns = &spec.table.schema;
        let mut problems = Vec::new();
        let mut find =
            |flag: &str, name: &str| column(flag, columns, name).map_err(|p| problems.push(p)).ok();
        let keys: Vec<usize> = spec.by.iter().filter_map(|name| find("--by", name)).collect();
        let (mut values, mut wants, mut compute) = (Vec::<usize>::new(), Vec::<Wants>::new(), Vec::new());
        for aggregate in &spec.compute.0 {
            let Some(name) = &aggregate.column else {
                compute.push((aggregate.clone(), None));
                continue;
            };
            let Some(at) = find("--compute", name) else { continue };
            let nth = values.iter().position(|&v| v == at).unwrap_or_else(|| {
                values.push(at);
                wants.push(Wants::default());
                values.len() - 1
            });
            want(&mut wants[nth], aggregate.function);
            compute.push((aggregate.clone(), Some(nth)));
        }
        for (aggregate, nth) in &compute {
            let kind = nth.map(|nth| columns[values[nth]].kind);
            problems.extend(kind.and_then(|kind| misfit(aggregate, kind)));
        }
        let filter = spec.filter.as_deref().map(|text| Filter::parse("--where", text, columns));
        let filter = filter.transpose().map_err(|p| problems.push(p)).unwrap_or_default();
        Problems::check(problems)?;
        let filtered = filter.iter().flat_map(|f| f.columns().to_vec());
        let wanted = keys.iter().chain(&values).copied().chain(filtered).collect();
        let of = |at: &Vec<usize>| at.iter().map(|&c| columns[c].clone()).collect::<Vec<_>>();
        let floats = values.iter().map(|&c| columns[c].kind == Kind::Float);
        let layout = Layout::new(&wants.into_iter().zip(floats).collect::<Vec<_>>());
        Ok(Plan { wanted, keys: of(&keys), values: of(&values), filter, compute, layout })
    }

    fn groups(&self, max_groups: u64) -> Groups {
        let texts: Vec<bool> = self.keys.iter().map(|k| k.kind == Kind::Text).collect();
        Groups::new(self.layout.clone(), &texts, max_groups)
    }
}

fn want(wants: &mut Wants, function: Function) {
    match function {
        Function::Count => {}
        Function::Sum | Function::Mean => wants.sum = true,
        Function::Min | Function::Max => wants.extremes = true,
        Function::Variance | Function::Stddev => wants.spread = true,
        Function::Quantile(_) => (wants.sketch, wants.extremes) = (true, true),
    }
}

/// Why a column of this kind has no such aggregate.
fn misfit(aggregate: &Aggregate, kind: Kind) -> Option<Problem> {
    let fits = match aggregate.function {
        Function::Count => true,
        Function::Min | Function::Max => kind != Kind::Text,
        _ => kind.is_number() || kind == Kind::Bool,
    };
    let what = || format!("'{aggregate}' needs numbers, and the column is of type {kind}");
    (!fits).then(|| Problem::new("--compute", what()).hint("count(COLUMN) takes any type"))
}

fn too_many(max_groups: u64) -> Problems {
    Problem::new("--max-groups", format!("there are more than {max_groups} groups"))
        .hint("raise it where there is memory, choose fewer keys, or leave rows out with --where")
        .into()
}

impl Kernel for GroupBy {
    type Spec = GroupBySpec;
    type Partial = GroupByPartial;
    type Answer = GroupByAnswer;

    const NAME: &'static str = "group-by";

    fn resolve(mut spec: GroupBySpec) -> Result<GroupBySpec, Problems> {
        Problems::check(spec.problems())?;
        spec.table = Table::resolve(spec.table)?;
        Plan::new(&spec)?;
        Ok(spec)
    }

    fn prepare(spec: &GroupBySpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        let (class, limit, max_groups) = (spec.class(), spec.limit, spec.max_groups);
        Ok(GroupBy { plan: Plan::new(spec)?, table: Table::open(&spec.table)?, class, limit, max_groups })
    }

    fn grid(&self) -> Grid {
        self.table.grid()
    }

    fn class(&self) -> Class {
        self.class
    }

    fn order(&self) -> Order {
        if self.class == Class::Exact { Order::Running } else { Order::Tree }
    }

    fn work(&self) -> Work {
        self.table.work()
    }

    fn inputs(&self) -> Vec<Input> {
        self.table.inputs()
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<GroupByPartial, Problems> {
        let mut folded = None;
        self.add(block, cx, &mut folded)?;
        Ok(folded.expect("a block was added"))
    }

    fn add(&self, block: u32, cx: &mut Fold, to: &mut Option<GroupByPartial>) -> Result<(), Problems> {
        let groups = to.take().map_or_else(|| self.plan.groups(self.max_groups), |partial| partial.0);
        let mut ingest = Ingest::new(&self.plan, groups, cx.simd);
        self.table.scan(block, &self.plan.wanted, cx, &mut |batch| {
            ingest.take(batch);
            if ingest.groups.refused { Err(too_many(self.max_groups)) } else { Ok(()) }
        })?;
        let print: Vec<u8> = ingest.print().flat_map(u64::to_le_bytes).collect();
        cx.note_read(&print);
        *to = Some(GroupByPartial(ingest.groups));
        Ok(())
    }

    fn merge(&self, left: GroupByPartial, right: GroupByPartial) -> Result<GroupByPartial, Problems> {
        let merged = left.merge(right);
        if merged.0.refused { Err(too_many(self.max_groups)) } else { Ok(merged) }
    }

    fn finish(&self, root: GroupByPartial) -> Result<GroupByAnswer, Problems> {
        Ok(answer::of(&root.0, &self.plan, self.limit))
    }
}

#[cfg(test)]
mod tests;
