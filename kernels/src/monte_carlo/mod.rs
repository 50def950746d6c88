//! The kernel `monte-carlo`: options under geometric Brownian motion ([`book`]), or the risk of a portfolio
//! ([`risk`]).

pub mod book;
mod market;
mod paths;
mod read;
pub mod risk;

use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Order, Partial, Work};
use book::{Book, BookAnswer, BookPartial};
use muster_spec::monte_carlo::MonteCarloSpec;
use muster_spec::{Class, Grid, Problem, Problems};
use risk::{Risk, RiskAnswer, RiskPartial};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The prepared kernel.
pub enum MonteCarlo {
    /// Prices options.
    Book(Box<Book>),
    /// Estimates risk.
    Risk(Box<Risk>),
}

/// The partial of either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MonteCarloPartial {
    /// Of options.
    Book(BookPartial),
    /// Of risk.
    Risk(RiskPartial),
}

/// The answer of either.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MonteCarloAnswer {
    /// Of options.
    Book(BookAnswer),
    /// Of risk.
    Risk(RiskAnswer),
}

impl fmt::Display for MonteCarloAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MonteCarloAnswer::Book(answer) => answer.fmt(f),
            MonteCarloAnswer::Risk(answer) => answer.fmt(f),
        }
    }
}

impl Partial for MonteCarloPartial {
    fn merge(self, right: Self) -> Self {
        match (self, right) {
            (MonteCarloPartial::Book(a), MonteCarloPartial::Book(b)) => MonteCarloPartial::Book(a.merge(b)),
            (MonteCarloPartial::Risk(a), MonteCarloPartial::Risk(b)) => MonteCarloPartial::Risk(a.merge(b)),
            _ => unreachable!("the blocks of one kernel have partials of one kind"),
        }
    }
}

impl Kernel for MonteCarlo {
    type Spec = MonteCarloSpec;
    type Partial = MonteCarloPartial;
    type Answer = MonteCarloAnswer;

    const NAME: &'static str = "monte-carlo";

    fn resolve(mut spec: MonteCarloSpec) -> Result<MonteCarloSpec, Problems> {
        if spec.flags.kind.is_some() && !spec.risk.is_unused() {
            let what = "asks for the risk of a portfolio, and --option for the price of an option";
            return Err(Problem::new("--prices", what).hint("give one of the two").into());
        }
        if let Some(path) = spec.book.take() {
            spec.options = read::book(path.path())?;
        } else if spec.flags.kind.is_some() {
            spec.options = vec![spec.flags.clone()];
        } else if spec.risk.is_unused() {
            let what = "what to compute is missing: an option, a book of options, or a portfolio";
            return Err(Problem::new("--option", what)
                .hint("--option european, --book FILE or --prices FILE")
                .into());
        } else if spec.greeks {
            return Err(Problem::new(
                "--greeks",
                "are of options, and --prices asks for the risk of a portfolio",
            )
            .into());
        }
        let mut problems = spec.problems();
        if !spec.risk.is_unused() {
            match Risk::resolve(std::mem::take(&mut spec.risk), Some(spec.paths), spec.seed) {
                Ok(risk) => spec.risk = risk,
                Err(more) => problems.extend(more.0),
            }
        }
        Problems::check(problems)?;
        Ok(spec)
    }

    fn prepare(spec: &MonteCarloSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        if spec.risk.is_unused() {
            Ok(MonteCarlo::Book(Box::new(Book::prepare(spec)?)))
        } else {
            Ok(MonteCarlo::Risk(Box::new(Risk::prepare(&spec.risk, spec.paths.0, spec.seed)?)))
        }
    }

    fn grid(&self) -> Grid {
        match self {
            MonteCarlo::Book(book) => book.grid(),
            MonteCarlo::Risk(risk) => risk.grid(),
        }
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn order(&self) -> Order {
        match self {
            MonteCarlo::Book(_) => Order::Tree,
            MonteCarlo::Risk(_) => Order::Free,
        }
    }

    fn work(&self) -> Work {
        match self {
            MonteCarlo::Book(book) => book.work(),
            MonteCarlo::Risk(risk) => risk.work(),
        }
    }

    fn inputs(&self) -> Vec<Input> {
        match self {
            MonteCarlo::Book(_) => Vec::new(),
            MonteCarlo::Risk(risk) => risk.inputs(),
        }
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<MonteCarloPartial, Problems> {
        match self {
            MonteCarlo::Book(book) => Ok(MonteCarloPartial::Book(book.fold(block, cx.simd))),
            MonteCarlo::Risk(risk) => Ok(MonteCarloPartial::Risk(risk.fold(block, cx)?)),
        }
    }

    fn finish(&self, root: MonteCarloPartial) -> Result<MonteCarloAnswer, Problems> {
        match (self, root) {
            (MonteCarlo::Book(book), MonteCarloPartial::Book(root)) => {
                Ok(MonteCarloAnswer::Book(book.finish(&root)))
            }
            (MonteCarlo::Risk(risk), MonteCarloPartial::Risk(root)) => {
                Ok(MonteCarloAnswer::Risk(risk.finish(root)?))
            }
            _ => unreachable!("the root's partial is of the kind of its blocks"),
        }
    }
}
