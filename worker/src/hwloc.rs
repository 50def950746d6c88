//! hwloc 2, behind our own types: the only file that imports it.
//!
//! The crate is `hwlocality`, under the dependency name `hwloc2`: the crate that is really called so panics on NUMA
//! nodes.

use crate::topology::{Cpu, Memory};
use hwloc2::Topology;
use hwloc2::object::attributes::ObjectAttributes;
use hwloc2::object::depth::Depth;
use hwloc2::object::distance::DistancesKind;
use hwloc2::object::types::ObjectType;
use std::collections::BTreeMap;

/// The CPUs that hwloc finds, and whether they are this machine's (not synthetic, not from an XML file).
///
/// # Errors
/// Why hwloc could not load a topology.
pub(crate) fn cpus() -> Result<(Vec<Cpu>, bool), String> {
    let topology = load()?;
    // Several may have a CPU: the nearest is the one with the fewest, and of equal ones the first has the usual memory.
    let nodes: Vec<_> = topology
        .objects_with_type(ObjectType::NUMANode)
        .filter_map(|node| Some((node.os_index()?, node.complete_cpuset()?)))
        .collect();
    let mut out = Vec::new();
    for (nth, pu) in topology.objects_with_type(ObjectType::PU).enumerate() {
        let Some(cpu) = pu.os_index() else { continue };
        let domain = nodes
            .iter()
            .filter(|(_, cpus)| cpus.is_set(cpu))
            .min_by_key(|(node, cpus)| (cpus.weight(), *node))
            .map(|(node, _)| *node)
            // A domain without memory is no object of hwloc's where a cpuset limits memory, but its CPUs know it.
            .or_else(|| pu.complete_nodeset()?.first_set().map(usize::from));
        let core = pu
            .first_ancestor_with_type(ObjectType::Core)
            .map_or(nth as u64 | 1 << 63, |c| c.logical_index() as u64);
        out.push(Cpu { cpu: cpu as u32, domain: domain.unwrap_or(0) as u32, core });
    }
    Ok((out, topology.is_this_system()))
}

/// The memory of every NUMA domain that hwloc finds, and how far the domains are apart.
///
/// # Errors
/// Why hwloc could not load a topology.
pub(crate) fn memory() -> Result<Vec<Memory>, String> {
    let topology = load()?;
    let mut out = Vec::new();
    for node in topology.objects_with_type(ObjectType::NUMANode) {
        let Some(domain) = node.os_index() else { continue };
        let bytes = match node.attributes() {
            Some(ObjectAttributes::NUMANode(numa)) => numa.local_memory().map_or(0, u64::from),
            _ => 0,
        };
        out.push(Memory { domain: domain as u32, bytes, distances: BTreeMap::new() });
    }
    // Latencies by the firmware's table; bandwidths may be there, too, and are no distances.
    let kind = Some(DistancesKind::MEANS_LATENCY);
    let matrices = topology.distances_at_depth(kind, Depth::NUMANode).unwrap_or_default();
    if let Some(matrix) = matrices.first() {
        let ids: Vec<Option<usize>> = matrix.objects().map(|node| node?.os_index()).collect();
        for ((from, to), distance) in matrix.enumerate_distances() {
            let (Some(from), Some(to)) = (ids[from], ids[to]) else { continue };
            if let Some(memory) = out.iter_mut().find(|m| m.domain as usize == from) {
                memory.distances.insert(to as u32, distance);
            }
        }
    }
    Ok(out)
}

fn load() -> Result<Topology, String> {
    let mend = "unset HWLOC_SYNTHETIC and HWLOC_XMLFILE, or mend what they hold";
    let topology = Topology::new().map_err(|e| format!("hwloc found no topology: {e} ({mend})"))?;
    // hwloc falls back to this machine where it cannot read a description.
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let described = ["HWLOC_SYNTHETIC", "HWLOC_XMLFILE"].into_iter().find(set);
    match described {
        Some(name) if topology.is_this_system() && !set(&"HWLOC_THISSYSTEM") => {
            Err(format!("hwloc cannot read the machine that {name} describes ({mend})"))
        }
        _ => Ok(topology),
    }
}
