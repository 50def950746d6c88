//! What an attempt has used, as its agents measured it.

use serde::{Deserialize, Serialize};

/// What an attempt has used on all its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Milliseconds of CPUs, in its own code.
    pub user_ms: u64,
    /// Milliseconds of CPUs, in the operating system.
    pub system_ms: u64,
    /// The most memory at one time on one host, kibibytes.
    pub peak_memory_kib: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
}
