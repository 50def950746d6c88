//! What a site says about all its jobs.

use serde::{Deserialize, Serialize};

/// What a site says about all its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How long a job that is over stays to be asked for, seconds (Slurm's `MinJobAge`).
    pub keep_s: u32,
    /// How many elements an array may have.
    pub most_elements: u32,
    /// Whether a job is ended when what it depends on cannot come true any more, where it does not say itself.
    pub end_invalid_dependency: bool,
}

impl Default for Rules {
    /// Five minutes, four million elements, and jobs wait until somebody changes them: as in Slurm, but for its thousand
    /// elements.
    fn default() -> Rules {
        Rules { keep_s: 300, most_elements: 4_000_000, end_invalid_dependency: false }
    }
}
