//! The kernel `command`: any program, run once for each block of an index space, and the merge of what the runs hand
//! over.

mod answer;
mod decimal;
mod files;
mod guard;
mod kernel;
mod partial;
mod process;
mod program;
mod runs;
mod sums;

pub use answer::CommandAnswer;
pub use kernel::CommandKernel;
pub use partial::CommandPartial;
