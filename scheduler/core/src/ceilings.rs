//! What a host can do at most, as its agent has measured it.

use serde::{Deserialize, Serialize};

/// What all cores of a host reach together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Bytes that they read from memory in a second.
    pub read_bytes_per_s: u64,
    /// Floating-point operations of f64 in a second, two to a fused multiply-add.
    pub flops_per_s: u64,
}
