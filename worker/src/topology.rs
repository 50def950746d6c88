//! What this host has: NUMA domains and the cores that this process may use.
//!
//! Step 9 of a job's way (DESIGN section 4) starts here. hwloc 2 discovers the machine and honours `HWLOC_SYNTHETIC`
//! and `HWLOC_XMLFILE`; a build without it reads /sys. Either way the process's own affinity limits what counts, so a
//! launcher's or a cgroup's binding is respected.

use muster_core::plan::{DomainShape, HostShape};
use std::collections::BTreeMap;

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
    fn this_host_has_a_core() {
        assert!(discover().unwrap().cores() >= 1);
    }
}
