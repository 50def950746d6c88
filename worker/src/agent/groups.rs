//! The control groups that this host lets us make: where they lie, and how what is left in them ends.
//!
//! Version 2 has everything in one tree. Hybrid hosts keep the controllers in trees of version 1, one each, and an
//! empty tree of version 2 beside them, in which groups can still be killed whole: then limits come from the one and the
//! end of everything from the other. Nothing is ever frozen in version 1, where a frozen process outlives SIGKILL.
//! Groups are ours alone: `muster-TAG` under the group that the agent was started in, and in it one for each slot.

use super::devices;
use crate::marked::{open, wait};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs::{create_dir, read_to_string, remove_dir, write};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Which tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tree {
    /// Version 2, with whatever controllers it has.
    Unified,
    /// Version 1: memory.
    Memory,
    /// Version 1: cores and memory domains.
    Cpuset,
    /// Version 1: how many processes.
    Pids,
    /// Version 1: which devices.
    Devices,
}

/// The trees in which groups can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Groups {
    /// Each with our folder in it.
    pub(super) trees: Vec<(Tree, PathBuf)>,
}

impl Groups {
    /// Makes our folders where that is allowed; none when `MUSTER_CGROUPS` is `off`.
    pub(super) fn make(tag: &str) -> Groups {
        if std::env::var_os("MUSTER_CGROUPS").is_some_and(|value| value == "off") {
            return Groups::default();
        }
        let read = |path| read_to_string(path).unwrap_or_default();
        let places = places(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let made = |(tree, base): (Tree, PathBuf)| {
            let path = base.join(format!("muster-{tag}"));
            let made = make(tree, &base, &path);
            if made.is_err() {
                let _ = remove_dir(&path);
            }
            made.is_ok().then_some((tree, path))
        };
        Groups { trees: places.into_iter().filter_map(made).collect() }
    }

    /// Removes our folders, if nothing is in them.
    pub(super) fn remove(&self) {
        self.trees.iter().for_each(|(_, path)| drop(remove_dir(path)));
    }

    /// What they can do, for people.
    pub(super) fn describe(&self) -> String {
        let has = |tree| self.trees.iter().find(|(t, _)| *t == tree);
        let unified = has(Tree::Unified).map(|(_, path)| path);
        let controllers = unified.and_then(|path| read_to_string(path.join("cgroup.subtree_control")).ok());
        let controls = |name: &str, tree| {
            has(tree).is_some()
                || controllers.as_ref().is_some_and(|all| all.split_whitespace().any(|c| c == name))
        };
        let all = [("memory", Tree::Memory), ("cpuset", Tree::Cpuset), ("pids", Tree::Pids)];
        let mut limits: Vec<&str> =
            all.into_iter().filter_map(|(name, tree)| controls(name, tree).then_some(name)).collect();
        if has(Tree::Devices).is_some() || unified.is_some() && devices::can_filter() {
            limits.push("devices");
        }
        let end = match unified {
            Some(_) => "a job's processes end as one control group",
            None => {
                "a job's processes are found as descendants of their shepherd and end one by one; if shepherd and \
                 agent die together, what has left its session stays until an agent is started here"
            }
        };
        let hold = match limits[..] {
            [] => {
                "no control group limits them: memory is limited for each process and not for the job, cores by \
                 affinity that a job may widen, the number of processes not at all (start the agent in a control \
                 group of its own: `systemd-run --user --scope -p Delegate=yes`, or as a service)"
                    .to_owned()
            }
            ref some => format!("limits by control groups: {}", some.join(", ")),
        };
        format!("{end}; {hold}")
    }
}

/// Kills everything in groups whose shepherd is dead, and removes them when nothing is left.
pub(super) fn clear(folders: &[PathBuf]) {
    for folder in folders {
        let _ = write(folder.join("cgroup.kill"), "1");
        // A process that forks while its group is read is found in the next round.
        loop {
            let left: Vec<_> = processes(folder).into_iter().filter_map(open).collect();
            if left.is_empty() {
                break;
            }
            for process in left {
                let _ = pidfd_send_signal(&process, Signal::KILL);
                wait(&process);
            }
        }
        let _ = remove_dir(folder);
    }
}

fn processes(folder: &Path) -> Vec<Pid> {
    let text = read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

/// The group that this process is in, in each tree that is of use.
fn places(mounts: &str, groups: &str) -> Vec<(Tree, PathBuf)> {
    let mut out = Vec::new();
    for line in mounts.lines() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let place: Vec<&str> = place.split(' ').collect();
        let (&[_, _, _, root, point, ..], Some(kind)) = (&place[..], kind.split_once(' ')) else { continue };
        let options = kind.1.rsplit(' ').next().unwrap_or_default();
        let tree = match kind.0 {
            "cgroup2" => (Tree::Unified, ""),
            "cgroup" => {
                match options.split(',').find(|o| ["memory", "cpuset", "pids", "devices"].contains(o)) {
                    Some("memory") => (Tree::Memory, "memory"),
                    Some("cpuset") => (Tree::Cpuset, "cpuset"),
                    Some("devices") => (Tree::Devices, "devices"),
                    Some(_) => (Tree::Pids, "pids"),
                    None => continue,
                }
            }
            _ => continue,
        };
        let mine = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|c| c == tree.1).then_some(path)
        });
        let Some(inside) = mine.and_then(|path| Path::new(path).strip_prefix(root).ok()) else { continue };
        if !out.iter().any(|(t, _)| *t == tree.0) {
            out.push((tree.0, Path::new(point).join(inside)));
        }
    }
    out
}

fn make(tree: Tree, base: &Path, path: &Path) -> Result<()> {
    match create_dir(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    match tree {
        Tree::Cpuset => inherit(base, path),
        Tree::Unified => {
            // Who is born into another group must be allowed to enter from what both have in common.
            rustix::fs::access(base.join("cgroup.procs"), rustix::fs::Access::WRITE_OK)?;
            delegate(base, path);
            // The kernel has had it since 5.14.
            if path.join("cgroup.kill").exists() { Ok(()) } else { Err(ErrorKind::Unsupported.into()) }
        }
        Tree::Memory | Tree::Pids | Tree::Devices => Ok(()),
    }
}

/// A new group of cores is empty, and takes no process before it has some.
pub(super) fn inherit(base: &Path, path: &Path) -> Result<()> {
    for file in ["cpuset.mems", "cpuset.cpus"] {
        write(path.join(file), read_to_string(base.join(file))?.trim())?;
    }
    Ok(())
}

/// Hands down the controllers that there are. A group that has processes of its own cannot do so: where we are alone
/// in it, we move out of the way.
fn delegate(base: &Path, path: &Path) {
    let hand_down = |group: &Path| {
        let down = |c| write(group.join("cgroup.subtree_control"), format!("+{c}"));
        ["memory", "pids", "cpuset", "cpu"].map(down)
    };
    let is_busy =
        |done: &Result<()>| done.as_ref().err().is_some_and(|e| e.raw_os_error() == Some(libc::EBUSY));
    let busy = hand_down(base).iter().any(is_busy);
    if busy && processes(base) == [rustix::process::getpid()] {
        let aside = path.with_extension("agent");
        if create_dir(&aside).is_ok() || aside.is_dir() {
            let _ = write(aside.join("cgroup.procs"), "0");
            let _ = hand_down(base);
        }
    }
    let _ = hand_down(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_place_is_found_in_each_tree() {
        let mounts = "31 24 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro\n\
            32 31 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n\
            33 31 0:29 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            34 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:31 /elsewhere /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let groups = "5:cpu,cpuacct:/\n4:memory:/docker/1/a\n3:pids:/\n0::/user/b\n";
        assert_eq!(
            places(mounts, groups),
            [
                (Tree::Unified, PathBuf::from("/sys/fs/cgroup/unified/user/b")),
                (Tree::Memory, PathBuf::from("/sys/fs/cgroup/memory/a")),
            ]
        );
        assert_eq!(places("", ""), []);
    }

    #[test]
    fn what_cannot_be_promised_is_said() {
        let said = Groups::default().describe();
        assert!(said.contains("one by one") && said.contains("not for the job"), "{said}");
    }
}
