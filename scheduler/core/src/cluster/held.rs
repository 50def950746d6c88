//! What runs where and until when.

use super::bits::Bits;
use super::class::ClassId;
use super::free::Level;
use super::host::HostId;
use crate::plan::HostShape;
use crate::policy::machine::Running;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one job holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// What it asked for.
    pub class: ClassId,
    /// What it holds of each of its hosts, ascending by host; then of those that came later.
    pub parts: Vec<Part>,
}

/// What one job holds of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The host.
    pub host: HostId,
    /// How many of its tasks run here.
    pub tasks: u32,
    /// Cores, numbered through the host's domains.
    pub cores: Bits,
    /// Memory of each domain, in mebibytes.
    pub memory_mib: Vec<u64>,
    /// GPUs, a bit for each by its number.
    pub gpus: u64,
}

impl Part {
    /// How many cores it has.
    pub fn cpus(&self) -> u32 {
        self.cores.len() as u32
    }

    /// Memory of all domains, in mebibytes.
    pub fn memory(&self) -> u64 {
        self.memory_mib.iter().sum()
    }

    /// The part of a host that it is: `host` as its agent sees it, with these cores alone, for the plan of pools.
    pub fn within(&self, host: &HostShape) -> HostShape {
        let mut number = 0..;
        let mut domains = host.domains.clone();
        for domain in &mut domains {
            domain.cores.retain(|_| number.next().is_some_and(|core| self.cores.contains(core)));
        }
        domains.retain(|domain| !domain.cores.is_empty());
        HostShape { domains, real: host.real }
    }
}

/// What one job will give back to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) end: Time,
    pub(crate) running: Running,
    pub(crate) cpus: u32,
    pub(crate) memory: u64,
    pub(crate) gpus: u64,
}

impl Level {
    /// What is free when the job has ended.
    pub(crate) fn after(self, hold: &Hold) -> Level {
        Level {
            cpus: self.cpus + hold.cpus,
            memory: self.memory + hold.memory,
            gpus: self.gpus | hold.gpus,
            jobs: self.jobs - u32::from(hold.cpus > 0),
        }
    }
}

/// What runs, by job and by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    running: BTreeMap<Running, (Time, Arc<Allocation>)>,
    /// For each host what its jobs hold, ascending by end and job.
    of_host: Vec<Vec<Hold>>,
    /// How many jobs end when.
    ends: BTreeMap<Time, u32>,
}

impl Held {
    pub(crate) fn push_host(&mut self) {
        self.of_host.push(Vec::new());
    }

    /// Whether `running` holds something.
    pub(crate) fn contains(&self, running: Running) -> bool {
        self.running.contains_key(&running)
    }

    pub(crate) fn insert(&mut self, running: Running, end: Time, allocation: &Arc<Allocation>) {
        for part in &allocation.parts {
            let holds = &mut self.of_host[part.host.0 as usize];
            let at = holds.partition_point(|hold| (hold.end, hold.running) < (end, running));
            let (cpus, memory, gpus) = (part.cpus(), part.memory(), part.gpus);
            holds.insert(at, Hold { end, running, cpus, memory, gpus });
        }
        self.running.insert(running, (end, Arc::clone(allocation)));
        *self.ends.entry(end).or_default() += 1;
    }

    pub(crate) fn remove(&mut self, running: Running) -> Option<(Time, Arc<Allocation>)> {
        let (end, allocation) = self.running.remove(&running)?;
        for part in &allocation.parts {
            let holds = &mut self.of_host[part.host.0 as usize];
            let at = holds.partition_point(|hold| (hold.end, hold.running) < (end, running));
            debug_assert_eq!(holds[at].running, running);
            holds.remove(at);
        }
        if let Some(count) = self.ends.get_mut(&end) {
            *count -= 1;
            if *count == 0 {
                self.ends.remove(&end);
            }
        }
        Some((end, allocation))
    }

    /// When the last job ends.
    pub(crate) fn last_end(&self) -> Option<Time> {
        self.ends.last_key_value().map(|(end, _)| *end)
    }

    pub(crate) fn get(&self, running: Running) -> Option<&(Time, Arc<Allocation>)> {
        self.running.get(&running)
    }

    /// What the jobs of a host hold, ascending by their ends.
    pub(crate) fn of(&self, host: usize) -> &[Hold] {
        &self.of_host[host]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DomainShape;

    #[test]
    fn a_part_is_a_smaller_host() {
        let domain = |id, cores: &[u32]| DomainShape { id, cores: cores.to_vec() };
        let host =
            HostShape { domains: vec![domain(0, &[0, 2]), domain(3, &[1, 3]), domain(5, &[7])], real: true };
        let cores = [1, 2, 3].into_iter().collect();
        let part = Part { host: HostId(0), tasks: 1, cores, memory_mib: vec![], gpus: 0 };
        let within = part.within(&host);
        assert_eq!(within.domains, [domain(0, &[2]), domain(3, &[1, 3])]);
        assert!(within.real);
    }
}
