//! What this host has: NUMA domains and the cores that this process may use.
//!
//! Step 9 of a job's way (DESIGN section 4) starts here. hwloc 2 discovers the machine and honours `HWLOC_SYNTHETIC`
//! and `HWLOC_XMLFILE`; a build without it reads /sys. Either way the process's own affinity limits what counts, so a
//! launcher's or a cgroup's binding is respected.

use muster_core::plan::{DomainShape, HostShape};
use serde::Serialize;
use std::collections::BTreeMap;

/// This host as `muster topology` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// False when it was described (synthetic, XML) and is not the machine below: threads are not bound.
    pub real: bool,
    /// Every NUMA domain, ascending by id.
    pub domains: Vec<Domain>,
}

/// One NUMA domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Domain {
    /// The operating system's number of the domain.
    pub id: u32,
    /// The CPUs that threads of a team are bound to: one for each core that this process may use.
    pub cores: Vec<u32>,
    /// The domain's memory; 0 when it has none, or nobody says.
    pub memory_bytes: u64,
    /// How far its memory is from the cores of each domain, in the order of the domains: 10 is near. Empty when nobody
    /// says.
    pub distances: Vec<u64>,
}

/// The memory of a domain as a source of topology reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) domain: u32,
    pub(crate) bytes: u64,
    /// By domain.
    pub(crate) distances: BTreeMap<u32, u64>,
}

/// A CPU as a source of topology reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// The operating system's number of the CPU.
    pub(crate) cpu: u32,
    /// The operating system's number of its NUMA domain.
    pub(crate) domain: u32,
    /// A number that the CPUs of one core share.
    pub(crate) core: u64,
}

/// The shape of this host for this process.
///
/// # Errors
/// Why there is no usable CPU, such as an unreadable description in `HWLOC_XMLFILE`.
pub fn discover() -> Result<HostShape, String> {
    #[cfg(feature = "hwloc")]
    let (cpus, real) = crate::hwloc::cpus()?;
    #[cfg(not(feature = "hwloc"))]
    let (cpus, real) = (crate::sysfs::cpus(std::path::Path::new("/sys/devices/system"))?, true);
    let shape = shape(&cpus, real, |cpu| !real || crate::pin::may_run_on(cpu));
    if shape.domains.is_empty() {
        Err("no CPU that this process may use was found".into())
    } else {
        Ok(shape)
    }
}

/// This host with its memory, for people.
///
/// # Errors
/// As [`discover`].
pub fn machine() -> Result<Machine, String> {
    let shape = discover()?;
    // What a cpuset hides from hwloc is in /sys.
    let memory = match shape.real {
        true => crate::sysfs::memory(std::path::Path::new("/sys/devices/system")),
        #[cfg(feature = "hwloc")]
        false => crate::hwloc::memory()?,
        #[cfg(not(feature = "hwloc"))]
        false => unreachable!("without hwloc, the machine is this one"),
    };
    Ok(joined(&shape, &memory))
}

/// Domains with cores, with memory, or with both.
fn joined(shape: &HostShape, memory: &[Memory]) -> Machine {
    let mut ids: Vec<u32> =
        shape.domains.iter().map(|d| d.id).chain(memory.iter().map(|m| m.domain)).collect();
    ids.sort_unstable();
    ids.dedup();
    let domain = |&id: &u32| {
        let held = memory.iter().find(|m| m.domain == id);
        let far = |to: &u32| held?.distances.get(to).copied();
        Domain {
            id,
            cores: shape.domains.iter().find(|d| d.id == id).map_or(Vec::new(), |d| d.cores.clone()),
            memory_bytes: held.map_or(0, |m| m.bytes),
            distances: ids.iter().map(far).collect::<Option<_>>().unwrap_or_default(),
        }
    };
    Machine { real: shape.real, domains: ids.iter().map(domain).collect() }
}

/// Groups `cpus` into domains, one CPU for each core, leaving out those that are not `allowed`.
fn shape(cpus: &[Cpu], real: bool, allowed: impl Fn(u32) -> bool) -> HostShape {
    let mut domains: BTreeMap<u32, BTreeMap<u64, u32>> = BTreeMap::new();
    for cpu in cpus.iter().filter(|c| allowed(c.cpu)) {
        let cores = domains.entry(cpu.domain).or_default();
        cores.entry(cpu.core).and_modify(|first| *first = cpu.cpu.min(*first)).or_insert(cpu.cpu);
    }
    let domain = |(id, cores): (u32, BTreeMap<u64, u32>)| {
        let mut cores: Vec<u32> = cores.into_values().collect();
        cores.sort_unstable();
        DomainShape { id, cores }
    };
    HostShape { domains: domains.into_iter().map(domain).collect(), real }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperthreads_count_as_one_core() {
        let cpus: Vec<Cpu> =
            (0..8).map(|cpu| Cpu { cpu, domain: cpu % 4 / 2, core: u64::from(cpu % 4) }).collect();
        let shape = shape(&cpus, true, |cpu| cpu != 0);
        assert_eq!(shape.domains[0].cores, [1, 4], "CPU 0 is not allowed: core 0 is its sibling 4");
        assert_eq!(shape.domains[1].cores, [2, 3]);
    }

    #[test]
    fn domains_may_lack_cores_or_memory() {
        let shape = HostShape { domains: vec![DomainShape { id: 0, cores: vec![0, 1] }], real: true };
        let memory =
            |domain, bytes, far: [u64; 2]| Memory { domain, bytes, distances: (0..).zip(far).collect() };
        let machine = joined(&shape, &[memory(0, 0, [10, 20]), memory(1, 5 << 30, [20, 10])]);
        assert_eq!((machine.domains[0].memory_bytes, machine.domains[1].memory_bytes), (0, 5 << 30));
        assert_eq!((machine.domains[0].cores.len(), machine.domains[1].cores.len()), (2, 0));
        assert_eq!(machine.domains[1].distances, [20, 10]);
        assert_eq!(joined(&shape, &[]).domains[0].distances, [0; 0], "nobody says");
    }

    #[test]
    fn this_host_has_a_core() {
        assert!(discover().unwrap().cores() >= 1);
    }
}
