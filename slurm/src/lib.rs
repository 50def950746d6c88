//! The dialect of Slurm, pure: the options of `sbatch` as directives and on the command line, the environment of a
//! job, and the patterns of its files.
//!
//! Step 2 of a job's way (DESIGN section 4): directives and command line fill the same options, and become one
//! jobspec, or all errors with line numbers.

pub mod build;
pub mod dependency;
pub mod environment;
mod fill;
pub mod flags;
pub mod hostlist;
pub mod moment;
pub mod options;
pub mod own;
pub mod pattern;
pub mod resource;
pub mod script;
pub mod value;
pub mod variables;
pub mod words;

pub use build::jobspec;
pub use flags::Flags;
pub use options::{OPTIONS, OptionDef, Place, Support};
pub use script::Script;
pub use words::{Given, Mistake, Origin};
