//! What a started job was given: hosts, in which partition, for how long.

use serde::{Deserialize, Serialize};

/// What a started job was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The partition that it runs in.
    pub partition: String,
    /// Seconds after which it is ended; none without a limit.
    pub limit_s: Option<u64>,
    /// Its hosts, and what it has of each.
    pub allocation: Allocation,
}

/// What one attempt holds, host by host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The numbers of its hosts.
    pub hosts: Vec<u32>,
}
