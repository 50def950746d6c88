//! What a site says about all its jobs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a site says about all its jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How long a job that is over stays to be asked for, seconds (Slurm's `MinJobAge`).
    pub keep_s: u32,
    /// How many elements an array may have.
    pub most_elements: u32,
    /// Whether a job is ended when what it depends on cannot come true any more, where it does not say itself.
    pub end_invalid_dependency: bool,
    /// For how long a running job is safe from those that it would make room for, seconds from its start, where its
    /// quality of service does not say itself.
    pub exempt_s: u32,
    /// How many licences there are of each name. When there are fewer than are held, nobody gets one until enough came back.
    pub licences: BTreeMap<String, u32>,
}

impl Default for Rules {
    /// Five minutes, four million elements, and jobs wait until somebody changes them: as in Slurm, but for its thousand
    /// elements. No licences.
    fn default() -> Rules {
        Rules {
            keep_s: 300,
            most_elements: 4_000_000,
            end_invalid_dependency: false,
            exempt_s: 0,
            licences: BTreeMap::new(),
        }
    }
}
