//! Topology from /sys, for builds without hwloc and as a check on it.

use crate::topology::Cpu;
use std::path::Path;

/// The CPUs under `root` (normally `/sys/devices/system`) that are online, with domain and core.
///
/// # Errors
/// When the list of CPUs cannot be understood.
pub(crate) fn cpus(root: &Path) -> Result<Vec<Cpu>, String> {
    let online = root.join("cpu/online");
    let Ok(text) = std::fs::read_to_string(&online) else {
        // No /sys, as in some containers: every CPU that may be used, in one domain.
        let allowed = (0..4096).filter(|&cpu| crate::pin::may_run_on(cpu));
        return Ok(allowed.map(|cpu| Cpu { cpu, domain: 0, core: u64::from(cpu) }).collect());
    };
    let cpus =
        parse_list(&text).ok_or_else(|| format!("{} holds no list of CPUs: {text:?}", online.display()))?;
    let mut domain_of = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(root.join("node")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|n| n.strip_prefix("node")).and_then(|n| n.parse().ok()) else {
            continue;
        };
        let list = std::fs::read_to_string(entry.path().join("cpulist")).unwrap_or_default();
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

/// Reads the kernel's list format, `0-3,8`.
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
    }
}
