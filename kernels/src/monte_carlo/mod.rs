//! The kernel `monte-carlo`: options under geometric Brownian motion ([`options`]), or the risk of a portfolio
//! ([`risk`]).

pub mod options;
pub mod risk;

use crate::fold::Fold;
use crate::gpu;
use crate::kernel::{Input, Kernel, Order, Partial, Work};
use muster_spec::monte_carlo::{DEFAULT_PATHS, MonteCarloSpec};
use muster_spec::{Class, DeviceWord, Grid, Problems};
use options::{Book, BookAnswer, BookPartial};
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
        let mut problems = spec.problems();
        spec.paths.get_or_insert(DEFAULT_PATHS);
        if let Some(path) = spec.book.take() {
            match options::read::book(path.path()) {
                Ok(options) => spec.options = options,
                Err(Problems(more)) => problems.extend(more),
            }
        } else if !spec.flags.given().is_empty() && spec.risk.is_unused() {
            let option = std::mem::take(&mut spec.flags).with_example_market().with_defaults();
            let flag = |key: &str| if key == "kind" { "--option".to_owned() } else { format!("--{key}") };
            match option.contract(&flag) {
                Ok(_) => spec.options = vec![option],
                Err(more) => problems.extend(more),
            }
        }
        if !spec.risk.is_unused() {
            match Risk::resolve(std::mem::take(&mut spec.risk), spec.paths, spec.seed) {
                Ok(risk) => spec.risk = risk,
                Err(Problems(more)) => problems.extend(more),
            }
        }
        if problems.is_empty() {
            problems.extend(resolve_device(&mut spec).err().into_iter().flat_map(|Problems(more)| more));
        }
        Problems::check(problems)?;
        Ok(spec)
    }

    fn prepare(spec: &MonteCarloSpec) -> Result<Self, Problems> {
        if spec.risk.is_unused() {
            Ok(MonteCarlo::Book(Box::new(Book::prepare(spec)?)))
        } else {
            Problems::check(spec.problems())?;
            if spec.target().is_some() {
                Problems::check(spec.not_on_gpu())?;
            }
            Ok(MonteCarlo::Risk(Box::new(Risk::prepare(&spec.risk, spec.paths(), spec.seed)?)))
        }
    }

    fn grid(&self) -> Grid {
        match self {
            MonteCarlo::Book(book) => book.grid(),
            MonteCarlo::Risk(risk) => risk.grid(),
        }
    }

    fn class(&self) -> Class {
        match self {
            MonteCarlo::Book(book) => book.class(),
            MonteCarlo::Risk(_) => Class::PortableF64,
        }
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
            MonteCarlo::Book(book) => Ok(MonteCarloPartial::Book(book.fold(block, cx.simd)?)),
            MonteCarlo::Risk(risk) => Ok(MonteCarloPartial::Risk(risk.fold(block, cx)?)),
        }
    }

    fn finish(&self, root: MonteCarloPartial) -> Result<MonteCarloAnswer, Problems> {
        match (self, root) {
            (MonteCarlo::Book(book), MonteCarloPartial::Book(root)) => {
                Ok(MonteCarloAnswer::Book(book.finish(&root)?))
            }
            (MonteCarlo::Risk(risk), MonteCarloPartial::Risk(root)) => {
                Ok(MonteCarloAnswer::Risk(risk.finish(root)?))
            }
            _ => unreachable!("the root's partial is of the kind of its blocks"),
        }
    }
}

/// Puts a target in the place of what was said of the device, so that the request means the same everywhere: nothing
/// where it is a CPU.
fn resolve_device(spec: &mut MonteCarloSpec) -> Result<(), Problems> {
    let said = spec.device.take().unwrap_or(DeviceWord::Cpu);
    let target = match said {
        DeviceWord::Cpu => return Ok(()),
        DeviceWord::On(target) => target,
        // A request that GPUs do not compute is one for CPUs, whether there is one or not.
        DeviceWord::Auto if !spec.not_on_gpu().is_empty() => return Ok(()),
        DeviceWord::Auto => match gpu::here() {
            Ok(target) => target,
            Err(_) => return Ok(()),
        },
        DeviceWord::Gpu => gpu::here().map_err(|error| {
            let Problems(mut problems) = error.into();
            problems.iter_mut().for_each(|problem| problem.place = "--device gpu".into());
            Problems(problems)
        })?,
    };
    Problems::check(spec.not_on_gpu())?;
    spec.device = Some(DeviceWord::On(target));
    Ok(())
}
