//! The mathematics: what one block computes and how two partials merge, and the readers of input.
//!
//! Steps 10 and 11 of a job's way (DESIGN section 4). A kernel's author writes the mathematics of one block and one
//! merge ([`Kernel`], [`Partial`]); spans, threads, ranks, failures and resizes are the worker's business.

pub mod command;
pub mod csv;
pub mod fold;
pub mod forest;
pub mod hash;
pub mod kernel;
pub mod math;
pub mod moments;
pub mod monte_carlo;
pub mod simd;

pub use fold::Fold;
pub use forest::Forest;
pub use kernel::{Input, Kernel, Order, Partial, Work};
pub use muster_spec::{BlockSet, Class, Grid, Node, Problem, Problems};
pub use simd::Simd;
