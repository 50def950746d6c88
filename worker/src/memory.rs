//! How much memory this host has to spare for this process.

use std::path::{Path, PathBuf};

/// Bytes that processes may take without any being swapped out, as Linux estimates it, within the limits of the cgroups
/// that this process is in; 0 where nobody says.
pub(crate) fn available() -> u64 {
    let host = read(Path::new("/proc/meminfo")).and_then(|text| of_host(&text)).unwrap_or(0);
    let own = read(Path::new("/proc/self/cgroup")).and_then(|text| cgroup(&text)).unwrap_or_default();
    let limits = own.ancestors().filter_map(|folder| {
        let number = |name| read(&folder.join(name))?.trim().parse::<u64>().ok();
        // A group without a limit says `max`.
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    });
    limits.fold(host, u64::min)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What `/proc/meminfo` says.
fn of_host(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The folder of the group of version 2 that `/proc/self/cgroup` names.
fn cgroup(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_understood() {
        let text = "MemTotal:       24688588 kB\nMemFree:         9984528 kB\nMemAvailable:   23012332 kB\n";
        assert_eq!(of_host(text), Some(23_012_332 << 10));
        assert_eq!(of_host("MemTotal: 1 kB\n"), None);
        let folder = cgroup("1:name=systemd:/x\n0::/user.slice/a.scope\n").unwrap();
        assert_eq!(folder, Path::new("/sys/fs/cgroup/user.slice/a.scope"));
        assert_eq!(cgroup("4:memory:/docker/x\n"), None);
    }

    #[test]
    fn this_host_has_some() {
        assert!(available() > 1 << 20);
    }
}
