//! The kernel `linreg`: least squares of one column on others, in one pass.
//!
//! A block sums the products of all pairs of columns, a column of ones for the intercept among them, with twice the
//! digits of f64. The normal equations are then solved with as many (`solve.rs`). Normal equations lose twice the digits
//! that the columns' near dependence costs a QR factorisation; having twice as many to lose, they end where QR does, or
//! better, and sums of products merge where a factorisation would have to be made anew. No pivot is needed, either: what
//! the distance of a mean from zero costs comes out of the second half of the digits.

mod answer;
mod products;
mod solve;

pub use answer::{Coefficient, LinregAnswer};

use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Partial, Work};
use crate::math::double::Double;
use crate::table::Table;
use crate::table::selection::{Selection, complete, count};
use muster_spec::linreg::LinregSpec;
use muster_spec::table::Kind;
use muster_spec::{Class, Grid, Problem, Problems};
use products::Products;
use serde::{Deserialize, Serialize};

/// The prepared kernel.
pub struct Linreg {
    table: Table,
    /// The columns that explain, then the one explained.
    selection: Selection,
    intercept: bool,
}

/// Rows, and the sums of products over those that are complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinregPartial {
    /// Rows read.
    rows: u64,
    /// Rows that take part by the filter.
    chosen: u64,
    /// Rows among them in which no column is missing.
    complete: u64,
    /// Of all pairs of columns, `(i, j)` with `i <= j` in the order of the pairs.
    products: Vec<Double>,
}

impl Partial for LinregPartial {
    fn merge(mut self, right: Self) -> Self {
        self.rows += right.rows;
        self.chosen += right.chosen;
        self.complete += right.complete;
        for (mine, theirs) in self.products.iter_mut().zip(right.products) {
            *mine = *mine + theirs;
        }
        self
    }
}

fn fits(kind: Kind) -> bool {
    kind.is_number() || kind == Kind::Bool
}

impl Linreg {
    fn select(spec: &LinregSpec) -> Result<Selection, Problems> {
        let x = spec.x.iter().map(|name| ("--x", name.as_str()));
        let names = x.chain([("--y", spec.y.as_str())]);
        Selection::new(&spec.table.schema, names, fits, spec.filter.as_deref())
    }
}

impl Kernel for Linreg {
    type Spec = LinregSpec;
    type Partial = LinregPartial;
    type Answer = LinregAnswer;

    const NAME: &'static str = "linreg";

    fn resolve(mut spec: LinregSpec) -> Result<LinregSpec, Problems> {
        Problems::check(spec.problems())?;
        spec.table = Table::resolve(spec.table)?;
        Linreg::select(&spec)?;
        Ok(spec)
    }

    fn prepare(spec: &LinregSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        let (selection, intercept) = (Linreg::select(spec)?, !spec.no_intercept);
        Ok(Linreg { selection, table: Table::open(&spec.table)?, intercept })
    }

    fn grid(&self) -> Grid {
        self.table.grid()
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn work(&self) -> Work {
        self.table.work()
    }

    fn inputs(&self) -> Vec<Input> {
        self.table.inputs()
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<LinregPartial, Problems> {
        let columns = self.selection.columns();
        let (simd, mut products) = (cx.simd, Products::new(columns, self.intercept));
        let (mut rows, mut chosen, mut there) = (0, 0, Vec::new());
        self.selection.scan(&self.table, block, cx, &mut |batch, taking_part| {
            rows += batch.rows as u64;
            chosen += count(taking_part, batch.rows) as u64;
            let numbers = &batch.columns[..columns.len()];
            products.take(simd, batch, complete(numbers, taking_part, &mut there));
        })?;
        cx.note_scratch(products.scratch());
        let (complete, products) = products.finish(simd);
        Ok(LinregPartial { rows, chosen, complete, products })
    }

    fn finish(&self, root: LinregPartial) -> Result<LinregAnswer, Problems> {
        let names: Vec<&str> = self.selection.columns().iter().map(|c| c.name.as_str()).collect();
        let size = names.len() + usize::from(self.intercept);
        let gram = solve::Gram::new(size, &root.products, self.intercept);
        let (y, x) = names.split_last().expect("there is a column to be explained");
        let mut problems: Vec<Problem> = Vec::new();
        if let Some(at) = gram.overflow() {
            let what = format!("'{}' holds numbers whose squares are beyond the range of f64", names[at]);
            let flag = if at == x.len() { "--y" } else { "--x" };
            return Err(Problem::new(flag, what).hint("measure it in a larger unit").into());
        }
        if root.complete < (size - 1) as u64 {
            let what = format!(
                "{} coefficients need as many rows at least, and {} take part with a value in every column",
                size - 1,
                root.complete
            );
            return Err(Problem::new("--x", what).hint("name fewer columns, or choose more rows").into());
        }
        let fit = gram.solve().map_err(|dependent| {
            problems.extend(dependent.iter().map(|d| d.problem(x, self.intercept)));
            Problems(problems)
        })?;
        Ok(answer::of(&fit, (y, x, self.intercept), &root))
    }
}

#[cfg(test)]
mod tests;
