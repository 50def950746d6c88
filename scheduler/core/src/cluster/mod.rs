//! The cluster: hosts.

use serde::{Deserialize, Serialize};

/// The number of a host in its cluster, from 0, in the order in which hosts were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u32);
