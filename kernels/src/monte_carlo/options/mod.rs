//! Options under geometric Brownian motion: a book, of which one option by flags is the smallest.
//!
//! A block is a range of paths of one option ([`muster_spec::monte_carlo::Cut`]). The draws of an option depend on the
//! seed, on its place in the book and on the path, so that options are independent and blocks may be computed anywhere.

mod answer;
mod closed_form;
mod device;
mod growth;
mod partial;
mod paths;
mod plan;
pub(super) mod read;

pub use answer::{BookAnswer, Estimated, Named, Priced};
pub use partial::{BookPartial, Moments, OptionPartial};

use crate::kernel::Work;
use crate::math::philox::Philox;
use crate::simd::Simd;
use device::OnDevice;
use muster_spec::monte_carlo::{Cut, MonteCarloSpec, OptionSpec};
use muster_spec::{Class, Grid, Problem, Problems};
use paths::Block;
use plan::Plan;

/// A prepared book.
pub struct Book {
    options: Vec<OptionSpec>,
    plans: Vec<Plan>,
    cut: Cut,
    rng: Philox,
    paths: u64,
    /// What folds blocks in the place of a CPU.
    device: Option<OnDevice>,
}

impl Book {
    /// Prepares the options of a resolved request.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn prepare(spec: &MonteCarloSpec) -> Result<Book, Problems> {
        let (contracts, cut) = spec.contracts()?;
        let rng = Philox::new(spec.seed);
        let device = spec.target().map(|target| OnDevice::new(target, &contracts, rng));
        let plans = contracts.into_iter().map(|contract| Plan::new(contract, spec.greeks)).collect();
        Ok(Book { options: spec.options.clone(), plans, cut, rng, paths: spec.paths(), device })
    }

    /// How the paths of all options are cut.
    pub fn grid(&self) -> Grid {
        self.cut.grid()
    }

    /// Paths times steps times assets, of all options. Bumped and mirrored paths do not count.
    pub fn work(&self) -> Work {
        let steps = |plan: &Plan| f64::from(plan.contract.steps) * plan.contract.assets.len() as f64;
        let total = self.plans.iter().map(|plan| steps(plan) * self.paths as f64).sum();
        Work { total, unit: "path-steps".into() }
    }

    /// What the bits depend on.
    pub fn class(&self) -> Class {
        self.device.as_ref().map_or(Class::PortableF64, |device| Class::GpuF32(device.target()))
    }

    /// Simulates the paths of one block.
    ///
    /// # Errors
    /// What is wrong with the card.
    pub fn fold(&self, block: u32, simd: Simd) -> Result<BookPartial, Problems> {
        let (option, paths) = self.cut.block(block);
        let count = paths.end - paths.start;
        let moments = match &self.device {
            Some(device) => vec![device.fold(option, &paths, simd)?],
            None => {
                let plan = &self.plans[option];
                let spreads = simd.run(Block { plan, rng: self.rng, stream: option as u32, paths });
                spreads.iter().map(|spread| Moments::new(spread.mean, spread.m2)).collect()
            }
        };
        Ok(BookPartial(vec![OptionPartial { option: option as u32, paths: count, moments }]))
    }

    /// The prices.
    ///
    /// # Errors
    /// The options whose prices overflowed.
    pub fn finish(&self, root: &BookPartial) -> Result<BookAnswer, Problems> {
        let mut problems = Vec::new();
        for (partial, option) in root.0.iter().zip(&self.options) {
            if partial.moments.iter().any(|m| !(m.mean.is_finite() && m.m2.is_finite())) {
                let place = format!("option {} ({})", partial.option + 1, option.label());
                let problem = Problem::new(place, "some paths grew beyond what numbers can hold");
                problems
                    .push(problem.hint("rates and volatilities are fractions a year, expiry is in years"));
            }
        }
        Problems::check(problems)?;
        let priced = |((partial, option), plan): ((&OptionPartial, &OptionSpec), &Plan)| {
            let kind = option.terms.kind.map(|kind| kind.to_string()).unwrap_or_default();
            let who = (option.label(), kind, option.quantity.unwrap_or(1.0));
            Priced::new(who, plan.estimates.iter().map(|estimate| estimate.name.as_str()), partial)
        };
        Ok(BookAnswer::new(root.0.iter().zip(&self.options).zip(&self.plans).map(priced).collect()))
    }
}
