//! Pi by random points in the unit square: the share of them that lies in the quarter circle, times four.
//!
//! A *reduce* kernel: each block is folded once, and partials merge. A block's random numbers are drawn by their
//! index, so that it has the same ones on any thread of any host.

use muster_kernels::math::philox::Philox;
use muster_kernels::quantity::Count;
use muster_kernels::{Class, Fold, Grid, Kernel, Order, Partial, Problem, Problems, Work};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Points of one block: some ten milliseconds.
const BLOCK: u64 = 1 << 20;

/// Computes pi by random points.
#[derive(clap::Args, Clone, Serialize, Deserialize)]
struct PiSpec {
    /// How many points
    #[arg(long, default_value = "1e8")]
    points: Count,
    /// Which random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize, Deserialize)]
struct Inside(u64);

impl Partial for Inside {
    fn merge(self, right: Self) -> Self {
        Inside(self.0 + right.0)
    }
}

#[derive(Serialize)]
struct PiAnswer {
    pi: f64,
    standard_error: f64,
}

impl fmt::Display for PiAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pi       {:.9}\nerror    {:.2e}", self.pi, self.standard_error)
    }
}

struct Pi(PiSpec);

impl Kernel for Pi {
    type Spec = PiSpec;
    type Partial = Inside;
    type Answer = PiAnswer;

    const NAME: &'static str = "pi";

    fn prepare(spec: &PiSpec) -> Result<Self, Problems> {
        let none = Problem::new("--points", "is 0, but must be at least 1");
        Problems::check((spec.points.0 == 0).then_some(none).into_iter().collect())?;
        Ok(Pi(spec.clone()))
    }

    fn grid(&self) -> Grid {
        Grid::new(self.0.points.0.div_ceil(BLOCK))
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn order(&self) -> Order {
        Order::Free
    }

    fn work(&self) -> Work {
        Work { total: self.0.points.0 as f64, unit: "points".into() }
    }

    fn fold(&self, block: u32, _: &mut Fold) -> Result<Inside, Problems> {
        let random = Philox::new(self.0.seed);
        let inside = |i: &u64| {
            let [x, y, ..] = random.words([*i as u32, (*i >> 32) as u32, 0, 0]).map(u128::from);
            x * x + y * y < 1 << 64
        };
        let points = self.grid().share(self.0.points.0, block);
        Ok(Inside(points.filter(inside).count() as u64))
    }

    fn finish(&self, root: Inside) -> Result<PiAnswer, Problems> {
        let n = self.0.points.0 as f64;
        let share = root.0 as f64 / n;
        Ok(PiAnswer { pi: 4.0 * share, standard_error: 4.0 * (share * (1.0 - share) / n).sqrt() })
    }
}

muster_rank::main!(Pi);
