//! hwloc 2, behind our own types: the only file that imports it.
//!
//! The crate is `hwlocality`, under the dependency name `hwloc2`: the crate that is really called so panics on NUMA
//! nodes.

use crate::topology::Cpu;
use hwloc2::Topology;
use hwloc2::object::types::ObjectType;

/// The CPUs that hwloc finds, and whether they are this machine's (not synthetic, not from an XML file).
///
/// # Errors
/// Why hwloc could not load a topology.
pub(crate) fn cpus() -> Result<(Vec<Cpu>, bool), String> {
    let topology = Topology::new().map_err(|e| {
        format!(
            "hwloc found no topology: {e} (unset HWLOC_SYNTHETIC and HWLOC_XMLFILE, or mend what they hold)"
        )
    })?;
    let mut out = Vec::new();
    for (nth, pu) in topology.objects_with_type(ObjectType::PU).enumerate() {
        let Some(cpu) = pu.os_index() else { continue };
        let domain = pu.nodeset().and_then(|set| set.first_set()).map_or(0, usize::from);
        let core = pu
            .first_ancestor_with_type(ObjectType::Core)
            .map_or(nth as u64 | 1 << 63, |c| c.logical_index() as u64);
        out.push(Cpu { cpu: cpu as u32, domain: domain as u32, core });
    }
    Ok((out, topology.is_this_system()))
}
