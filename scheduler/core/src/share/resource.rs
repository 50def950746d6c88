//! What is counted of a job: CPUs, GPUs, memory and hosts.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the things that limits and weights speak of; Slurm's TRES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// CPUs.
    Cpus,
    /// GPUs.
    Gpus,
    /// Mebibytes of memory.
    Memory,
    /// Hosts.
    Hosts,
}

impl Resource {
    /// All of them, in the order in which they are listed everywhere.
    pub const ALL: [Resource; 4] = [Resource::Cpus, Resource::Gpus, Resource::Memory, Resource::Hosts];
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Cpus => "CPU",
            Resource::Gpus => "GPU",
            Resource::Memory => "MiB",
            Resource::Hosts => "host",
        })
    }
}

/// One value for each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerResource<T> {
    /// For CPUs.
    pub cpus: T,
    /// For GPUs.
    pub gpus: T,
    /// For mebibytes of memory.
    pub memory_mib: T,
    /// For hosts.
    pub hosts: T,
}

/// How much a job asks for or holds, over all its hosts.
pub type Amounts = PerResource<u64>;

/// At most so much; none without a limit.
pub type AmountLimits = PerResource<Option<u64>>;

impl<T: Copy> PerResource<T> {
    /// The value for `resource`.
    pub fn get(&self, resource: Resource) -> T {
        match resource {
            Resource::Cpus => self.cpus,
            Resource::Gpus => self.gpus,
            Resource::Memory => self.memory_mib,
            Resource::Hosts => self.hosts,
        }
    }

    /// The value for `resource`, to be changed.
    pub fn get_mut(&mut self, resource: Resource) -> &mut T {
        match resource {
            Resource::Cpus => &mut self.cpus,
            Resource::Gpus => &mut self.gpus,
            Resource::Memory => &mut self.memory_mib,
            Resource::Hosts => &mut self.hosts,
        }
    }

    /// What `value` says of each resource.
    pub fn of(mut value: impl FnMut(Resource) -> T) -> PerResource<T> {
        PerResource {
            cpus: value(Resource::Cpus),
            gpus: value(Resource::Gpus),
            memory_mib: value(Resource::Memory),
            hosts: value(Resource::Hosts),
        }
    }
}
