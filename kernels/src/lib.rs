//! The mathematics: what one block computes and how two partials merge, and the readers of input.
//!
//! Steps 10 and 11 of a job's way (DESIGN section 4). A kernel's author writes the mathematics of one block and one
//! merge ([`Kernel`], or [`Iterate`] for rounds; [`Partial`]); spans, threads, ranks, failures and resizes are the worker's business.

pub mod ceiling;
pub mod command;
pub mod files;
pub mod fold;
pub mod forest;
pub mod gpu;
pub mod group_by;
pub mod hash;
pub mod histogram;
pub mod iterate;
pub mod k_means;
pub mod kernel;
pub mod linreg;
pub mod log_scan;
pub mod math;
mod memory;
mod mix;
pub mod moments;
pub mod monte_carlo;
pub mod quantile;
pub mod simd;
pub mod table;

pub use fold::Fold;
pub use forest::Forest;
pub use iterate::{Iterate, Pattern, Turn};
pub use kernel::{Input, Kernel, Order, Partial, Work};
pub use muster_spec::{BlockSet, Class, DeviceWord, Grid, Node, Problem, Problems, Target, quantity};
pub use simd::Simd;
