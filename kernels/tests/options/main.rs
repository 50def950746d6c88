//! The options of `monte-carlo` from outside: against a naive reference over the same draws, closed forms, published
//! values, and laws that prices obey.

mod book;
mod formulas;
mod gpu;
mod laws;
mod prices;
mod reference;

use clap::{Args, FromArgMatches};
use muster_kernels::monte_carlo::options::{BookAnswer, Estimated};
use muster_kernels::monte_carlo::{MonteCarlo, MonteCarloAnswer, MonteCarloPartial};
use muster_kernels::{Fold, Forest, Kernel, Node, Problems, Simd};
use muster_spec::monte_carlo::MonteCarloSpec;

/// The request that flags stand for.
fn spec(line: &str) -> Result<MonteCarloSpec, Problems> {
    let command = MonteCarloSpec::augment_args(clap::Command::new("x").no_binary_name(true));
    let matches =
        command.try_get_matches_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
    MonteCarlo::resolve(MonteCarloSpec::from_arg_matches(&matches).unwrap())
}

fn prepared(line: &str) -> MonteCarlo {
    let spec = spec(line).unwrap_or_else(|problems| panic!("{line}:\n{problems}"));
    MonteCarlo::prepare(&spec).unwrap()
}

fn fold(kernel: &MonteCarlo, simd: Simd) -> MonteCarloPartial {
    let mut forest = Forest::new(kernel.grid(), kernel.order());
    for block in 0..kernel.grid().blocks() {
        let partial = kernel.fold(block, &mut Fold::new(simd, 1 << 20)).unwrap();
        assert!(forest.insert(&[Node::leaf(block)], partial));
    }
    forest.into_root().ok().unwrap()
}

fn answer(line: &str) -> BookAnswer {
    let kernel = prepared(line);
    match kernel.finish(fold(&kernel, Simd::choose(None).unwrap())).unwrap() {
        MonteCarloAnswer::Book(answer) => answer,
        MonteCarloAnswer::Risk(_) => panic!("{line} asks for no risk"),
    }
}

fn price(line: &str) -> Estimated {
    answer(line).options[0].price
}

/// The standard error is right, so that an estimate lies further than four of them away once in 15,000 times; the
/// seeds are fixed, so it lies where it lies.
#[track_caller]
fn close(estimate: Estimated, truth: f64, more: f64) {
    let (apart, most) = ((estimate.value - truth).abs(), 4.0 * estimate.standard_error + more);
    assert!(apart <= most, "{} +- {} is not {truth}", estimate.value, estimate.standard_error);
}
