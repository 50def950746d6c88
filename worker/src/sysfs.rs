//! Topology from /sys: memory and distances of this machine, and its CPUs for builds without hwloc and as a check on
//! it.

#[cfg(any(not(feature = "hwloc"), test))]
use crate::topology::Cpu;
use crate::topology::Memory;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The CPUs under `root` (normally `/sys/devices/system`) that are online, with domain and core.
///
/// # Errors
/// When the list of CPUs cannot be understood.
#[cfg(any(not(feature = "hwloc"), test))]
pub(crate) fn cpus(root: &Path) -> Result<Vec<Cpu>, String> {
    let online = root.join("cpu/online");
    let Ok(text) = std::fs::read_to_string(&online) else {
        // No /sys, as in some containers: every CPU that may be used, in one domain.
        let allowed = (0..4096).filter(|&cpu| crate::pin::may_run_on(cpu));
        return Ok(allowed.map(|cpu| Cpu { cpu, domain: 0, core: u64::from(cpu) }).collect());
    };
    let cpus =
        parse_list(&text).ok_or_else(|| format!("{} holds no list of CPUs: {text:?}", online.display()))?;
    let mut domain_of = BTreeMap::new();
    for (id, folder) in domains(root) {
        let list = std::fs::read_to_string(folder.join("cpulist")).unwrap_or_default();
        for cpu in parse_list(&list).unwrap_or_default() {
            domain_of.insert(cpu, id);
        }
    }
    let number = |cpu: u32, file: &str| -> Option<u64> {
        std::fs::read_to_string(root.join(format!("cpu/cpu{cpu}/topology/{file}"))).ok()?.trim().parse().ok()
    };
    let cpu = |cpu| Cpu {
        cpu,
        domain: domain_of.get(&cpu).copied().unwrap_or(0),
        core: match (number(cpu, "physical_package_id"), number(cpu, "core_id")) {
            (Some(package), Some(core)) => package << 32 | core,
            _ => 1 << 63 | u64::from(cpu),
        },
    };
    Ok(cpus.into_iter().map(cpu).collect())
}

/// The memory of every NUMA domain under `root`, and how far the domains are apart.
pub(crate) fn memory(root: &Path) -> Vec<Memory> {
    let domains = domains(root);
    let one = |(&domain, folder): (&u32, &PathBuf)| {
        let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let (meminfo, distance) = (text("meminfo"), text("distance"));
        let total = meminfo.lines().find_map(|line| line.split_once("MemTotal:"));
        let kib = total.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
        let far = distance.split_whitespace().filter_map(|d| d.parse().ok());
        Memory {
            domain,
            bytes: kib.unwrap_or(0) << 10,
            distances: domains.keys().copied().zip(far).collect(),
        }
    };
    domains.iter().map(one).collect()
}

/// The folder of each domain that is online.
fn domains(root: &Path) -> BTreeMap<u32, PathBuf> {
    let entries = std::fs::read_dir(root.join("node")).into_iter().flatten().flatten();
    let id = |name: &str| name.strip_prefix("node")?.parse().ok();
    entries.filter_map(|entry| Some((id(entry.file_name().to_str()?)?, entry.path()))).collect()
}

/// Reads the kernel's list format, `0-3,8`.
#[cfg(any(not(feature = "hwloc"), test))]
fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut out = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        out.extend(from.parse::<u32>().ok()?..=to.parse().ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_list("\n"), Some(vec![]));
        assert_eq!(parse_list("0-x"), None);
    }

    #[cfg(feature = "hwloc")]
    #[test]
    fn sys_and_hwloc_agree_on_this_host() {
        let (mut theirs, real) = crate::hwloc::cpus().unwrap();
        if !real {
            return;
        }
        let mut ours = cpus(Path::new("/sys/devices/system")).unwrap();
        ours.retain(|c| theirs.iter().any(|t| t.cpu == c.cpu));
        theirs.sort_by_key(|c| c.cpu);
        ours.sort_by_key(|c| c.cpu);
        let places = |list: &[Cpu]| list.iter().map(|c| (c.cpu, c.domain)).collect::<Vec<_>>();
        assert_eq!(places(&ours), places(&theirs));
        let ids = |list: Vec<Memory>| list.iter().map(|m| m.domain).collect::<Vec<_>>();
        assert_eq!(ids(memory(Path::new("/sys/devices/system"))), ids(crate::hwloc::memory().unwrap()));
    }
}
