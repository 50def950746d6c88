//! Partitions: named sets of hosts with limits.

use serde::{Deserialize, Serialize};

/// A named set of hosts with limits. Which hosts belong to it, the hosts say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether a job that names none goes here.
    pub is_default: bool,
    /// What it takes.
    pub state: PartitionState,
    /// The longest time limit, seconds.
    pub max_time_s: Option<u64>,
    /// The time limit of a job that names none, seconds; the longest when absent.
    pub default_time_s: Option<u64>,
    /// Hosts of a job, at least.
    pub min_nodes: u32,
    /// Hosts of a job, at most.
    pub max_nodes: Option<u32>,
    /// Accounts that may use it.
    pub accounts: Allowed,
    /// Quality of service of jobs that may use it.
    pub qos: Allowed,
    /// Jobs of a higher tier go first, and may preempt those of a lower one.
    pub tier: u16,
    /// What it adds to a job's priority, in relation to the highest of all partitions.
    pub priority: u32,
    /// What is done to its running jobs when one of a higher tier needs their hosts.
    pub preempt: PreemptMode,
    /// How long a preempted job may go on to save its work, seconds.
    pub grace_s: u32,
}

/// What a partition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionState {
    /// Jobs are taken and started.
    Up,
    /// Jobs are taken, and none is started.
    Down,
    /// Jobs are started, and none is taken.
    Drain,
    /// Jobs are neither taken nor started.
    Inactive,
}

impl PartitionState {
    /// Whether jobs start.
    pub fn starts(self) -> bool {
        matches!(self, PartitionState::Up | PartitionState::Drain)
    }

    /// Whether jobs are taken.
    pub fn takes(self) -> bool {
        matches!(self, PartitionState::Up | PartitionState::Down)
    }
}

/// Who may use something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allowed {
    /// All.
    #[default]
    All,
    /// These alone.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

impl Allowed {
    /// Whether it allows `name`.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Only(names) => names.iter().any(|one| one == name),
            Allowed::Except(names) => names.iter().all(|one| one != name),
        }
    }
}

/// What is done to a running job when one of a higher tier needs its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreemptMode {
    /// Nothing: it runs to its end.
    Off,
    /// It is ended, and waits again; it is cancelled when it may not run twice.
    Requeue,
    /// It is stopped while the other runs.
    Suspend,
    /// It is ended and does not run again.
    Cancel,
}

impl Partition {
    /// A partition of this name without limits.
    pub fn named(name: impl Into<String>) -> Partition {
        Partition {
            name: name.into(),
            is_default: false,
            state: PartitionState::Up,
            max_time_s: None,
            default_time_s: None,
            min_nodes: 0,
            max_nodes: None,
            accounts: Allowed::All,
            qos: Allowed::All,
            tier: 1,
            priority: 1,
            preempt: PreemptMode::Off,
            grace_s: 0,
        }
    }

    /// The time limit that a job gets here, seconds, which may be more than the partition lets it have.
    pub fn limit_s(&self, asked_s: Option<u64>) -> Option<u64> {
        asked_s.or(self.default_time_s).or(self.max_time_s)
    }
}
