//! A host as the site describes it, and whether jobs may start on it.

use super::shape::Shape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The number of a host in its cluster, from 0, in the order in which hosts were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u32);

/// One machine of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, which no other has.
    pub name: String,
    /// What it has.
    pub shape: Shape,
    /// Names that `--constraint` may ask for.
    pub features: BTreeSet<String>,
    /// Where it is and what data it may see, as `key=value`: a job that asks for one never runs without it.
    pub labels: BTreeSet<String>,
    /// The partitions that it belongs to.
    pub partitions: BTreeSet<String>,
    /// Whether jobs may start on it.
    pub state: HostState,
}

impl Host {
    /// A host that is up, with nothing but a name and a shape.
    pub fn new(name: impl Into<String>, shape: Shape) -> Host {
        let none = BTreeSet::new;
        Host {
            name: name.into(),
            shape,
            features: none(),
            labels: none(),
            partitions: none(),
            state: HostState::Up,
        }
    }
}

/// Whether jobs may start on a host. That it is reserved for others is not a state of the host: see
/// [`Window`](super::Window).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// They may.
    Up,
    /// What runs goes on, nothing starts.
    Drained {
        /// Why, in the operator's words.
        reason: String,
    },
    /// It is not there.
    Down {
        /// Why, as far as it is known.
        reason: String,
    },
}
