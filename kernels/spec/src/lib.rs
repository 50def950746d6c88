//! What can be asked of a kernel, without computing anything: its parameters and their limits, its arithmetic
//! class, and the block tree that its index space is cut into.
//!
//! Step 5 of a job's way (DESIGN section 4): the policy plans over these values. Nothing here reads a file, a clock
//! or an environment variable, so that the scheduler may depend on it.

pub mod blocks;
pub mod class;
pub mod command;
pub mod device;
pub mod group_by;
pub mod histogram;
pub mod k_means;
pub mod linreg;
pub mod log_scan;
pub mod moments;
pub mod monte_carlo;
pub mod problem;
pub mod quantile;
pub mod quantity;
pub mod table;
pub mod tree;

pub use blocks::BlockSet;
pub use class::Class;
pub use device::{DeviceWord, Target};
pub use problem::{Problem, Problems};
pub use tree::{Grid, MAX_BLOCKS, Node};
