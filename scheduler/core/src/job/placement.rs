//! What a started job was given: hosts, in which partition, for how long.

use crate::cluster::Allocation;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a started job was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The partition that it runs in.
    pub partition: String,
    /// Seconds after which it is ended; none without a limit.
    pub limit_s: Option<u64>,
    /// Its hosts, and what it has of each.
    pub allocation: Arc<Allocation>,
}
