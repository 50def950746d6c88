//! What a job asks of the cluster. Equal requests are interned as one class.

use super::constraint::Constraint;
use super::window::ReservationId;
use crate::jobspec::Memory;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a job asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// Hosts, at least.
    pub hosts_min: u32,
    /// Hosts, at most.
    pub hosts_max: u32,
    /// Its tasks.
    pub tasks: Tasks,
    /// CPUs of each task.
    pub cpus_per_task: u32,
    /// Memory in mebibytes, for each host or each CPU; none where it is not counted.
    pub memory: Option<Memory>,
    /// Its GPUs.
    pub gpus: Option<Gpus>,
    /// Licences of the cluster, by name, for as long as it runs.
    pub licences: BTreeMap<String, u32>,
    /// Whether others may run on its hosts.
    pub sharing: Sharing,
    /// How it lies on hosts and domains.
    pub layout: Layout,
    /// The hosts that it may use.
    pub only: Only,
}

impl Request {
    /// One task of so many CPUs, on one host, and nothing else.
    pub fn cpus(cpus: u32) -> Request {
        Request {
            hosts_min: 1,
            hosts_max: 1,
            tasks: Tasks::Total { count: 1, most_per_host: None },
            cpus_per_task: cpus,
            memory: None,
            gpus: None,
            licences: BTreeMap::new(),
            sharing: Sharing::Shared,
            layout: Layout::Pack,
            only: Only::default(),
        }
    }

    /// So many whole hosts.
    pub fn whole_hosts(hosts: u32) -> Request {
        Request {
            hosts_min: hosts,
            hosts_max: hosts,
            tasks: Tasks::PerHost(1),
            sharing: Sharing::Exclusive,
            ..Request::cpus(1)
        }
    }
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tasks {
    /// So many in all, at least one on each host.
    Total {
        /// All of them.
        count: u32,
        /// On each host, at most.
        most_per_host: Option<u32>,
    },
    /// So many on each host that it gets.
    PerHost(u32),
}

/// GPUs, of one type or any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gpus {
    /// Their type; none for any.
    pub kind: Option<String>,
    /// How many.
    pub count: u32,
    /// For what.
    pub per: Per,
}

/// What a number of GPUs is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Per {
    /// Each host.
    Host,
    /// Each task.
    Task,
    /// The job. They are dealt with its tasks in equal parts, as small as both numbers allow.
    Job,
}

/// Whether others may run on a job's hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sharing {
    /// They may: cores, memory and GPUs are never shared, hosts are.
    Shared,
    /// It takes its hosts whole.
    Exclusive,
}

/// How a job lies on hosts and, within a host, on domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Layout {
    /// On the fewest, the first of them first.
    Pack,
    /// On the most that it may have, the emptiest first.
    Spread,
}

/// The hosts that a job may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Only {
    /// Hosts of this partition; none for all.
    pub partition: Option<String>,
    /// Hosts with these features.
    pub constraint: Constraint,
    /// Hosts with all of these labels.
    pub labels: BTreeSet<String>,
    /// Hosts that must be among them (`--nodelist`).
    pub include: BTreeSet<String>,
    /// Hosts that must not (`--exclude`).
    pub exclude: BTreeSet<String>,
    /// Hosts of this reservation, in its time.
    pub reservation: Option<ReservationId>,
}
