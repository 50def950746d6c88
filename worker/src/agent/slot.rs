//! The control groups of one slot: kept while its shepherd's process lives, whatever attempts come and go in them.
//!
//! In the tree of version 2, processes enter the group as they are born and the shepherd stays outside. In version 1
//! nobody can be born into a group: the shepherd itself moves into it, once, and what it starts is in it, too.
//! Moving a process costs milliseconds in either version, so none is moved for an attempt.

use super::devices::{Device, Filter};
use super::groups::{Groups, Tree, clear, inherit};
use crate::pin::bind_thread;
use std::cell::Cell;
use std::fs::{File, OpenOptions, create_dir, read_to_string, remove_dir, write};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The most processes and threads of one attempt.
const PROCESSES: u32 = 16_384;

/// What an attempt may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Memory in mebibytes; 0 without a limit.
    pub(super) memory_mib: u64,
    /// The operating system's numbers of its CPUs; none where nothing can be bound.
    pub(super) cpus: Vec<u32>,
    /// Cards that it was not given.
    pub(super) denied: Vec<Device>,
}

/// The groups of one slot.
#[derive(Default)]
pub(super) struct Slot {
    folders: Vec<(Tree, PathBuf)>,
    /// The group in the tree of version 2, for those who are born into it.
    cradle: Option<File>,
    meter: Option<Meter>,
    limits: Limits,
    /// What is denied in the tree of devices of version 1.
    denied: Vec<Device>,
    /// What denies devices in version 2.
    filter: Option<Filter>,
    /// Whether the cradle was killed: it is made anew before somebody is born into it. Linux from 6.14 on kills whoever is
    /// cloned from outside into a group that was killed at any time before (its `kill_seq` is compared with the parent's).
    spent: Cell<bool>,
}

/// What a group has counted of its memory.
struct Meter {
    peak: File,
    current: File,
    events: File,
    /// Bytes that were in use when the attempt began, such as files that the one before had read.
    before: u64,
    killed: u64,
}

/// What a group has counted for one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// The most memory at one time, kibibytes.
    pub(super) peak_kib: u64,
    /// A process was killed for want of memory.
    pub(super) out_of_memory: bool,
}

impl Slot {
    /// Makes the groups of this process's slot, as far as they can be made.
    pub(super) fn make(groups: &Groups) -> Slot {
        let pid = std::process::id().to_string();
        let made = |(tree, root): &(Tree, PathBuf)| {
            let folder = root.join(&pid);
            enter(*tree, root, &folder).is_ok().then_some((*tree, folder))
        };
        let folders: Vec<(Tree, PathBuf)> = groups.trees.iter().filter_map(made).collect();
        let mut slot = Slot::default();
        slot.folders = folders;
        slot.open();
        slot
    }

    /// Opens what is in the folders, and sets what no attempt changes.
    fn open(&mut self) {
        let of = |tree| self.folders.iter().find(|(t, _)| *t == tree).map(|(_, folder)| folder.as_path());
        for folder in [of(Tree::Pids), of(Tree::Unified)].into_iter().flatten() {
            let _ = write(folder.join("pids.max"), PROCESSES.to_string());
        }
        let cradle = of(Tree::Unified).and_then(|folder| File::open(folder).ok());
        let meter = of(Tree::Memory)
            .and_then(|f| Meter::open(f, ["max_usage_in_bytes", "usage_in_bytes", "oom_control"]))
            .or_else(|| Meter::open(of(Tree::Unified)?, ["peak", "current", "events"]));
        (self.cradle, self.meter) = (cradle, meter);
    }

    /// The folders, for whoever removes them when this process is dead.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|(_, folder)| folder.clone()).collect()
    }

    /// The group that processes are born into.
    pub(super) fn cradle(&self) -> Option<BorrowedFd<'_>> {
        self.cradle.as_ref().map(AsFd::as_fd)
    }

    /// Whether a group limits memory.
    pub(super) fn limits_memory(&self) -> bool {
        self.meter.is_some()
    }

    /// Sets what the next attempt may use, and begins to count. This process binds itself: what it starts inherits
    /// that, also where there is no group of cores.
    ///
    /// # Errors
    /// What cannot be set.
    pub(super) fn begin(&mut self, limits: &Limits) -> Result<(), String> {
        if self.limits != *limits {
            self.set_memory(limits.memory_mib)?;
            self.set_cpus(&limits.cpus)?;
            self.set_devices(&limits.denied)?;
            self.limits = limits.clone();
        }
        if let Some(meter) = &mut self.meter {
            meter.begin();
        }
        Ok(())
    }

    /// What was counted since it began; none of its processes is left.
    pub(super) fn end(&mut self) -> Counted {
        let counted = self.meter.as_mut().map_or(Counted::default(), Meter::end);
        if self.spent.take() {
            self.renew();
        }
        counted
    }

    /// Makes the cradle anew. Where that cannot be, nobody is born into it any more.
    fn renew(&mut self) {
        let Some((_, folder)) = self.folders.iter().find(|(tree, _)| *tree == Tree::Unified) else { return };
        let made = remove_dir(folder).and_then(|()| create_dir(folder));
        (self.limits, self.filter) = (Limits::default(), None);
        self.open();
        if made.is_err() {
            self.cradle = None;
        }
    }

    /// Kills all that was born into the group, at once, where there is one.
    pub(super) fn kill(&self) {
        if let Some((_, folder)) = self.folders.iter().find(|(tree, _)| *tree == Tree::Unified) {
            let _ = write(folder.join("cgroup.kill"), "1");
            self.spent.set(true);
        }
    }

    fn set_memory(&self, mib: u64) -> Result<(), String> {
        let bytes = mib.saturating_mul(1 << 20);
        for (tree, folder) in &self.folders {
            let (file, value) = match (tree, mib) {
                (Tree::Memory, 0) => ("memory.limit_in_bytes", "-1".to_owned()),
                (Tree::Memory, _) => ("memory.limit_in_bytes", bytes.to_string()),
                (Tree::Unified, 0) => ("memory.max", "max".to_owned()),
                (Tree::Unified, _) => ("memory.max", bytes.to_string()),
                _ => continue,
            };
            set(&folder.join(file), &value)?;
        }
        Ok(())
    }

    fn set_cpus(&self, cpus: &[u32]) -> Result<(), String> {
        if cpus.is_empty() {
            return Ok(());
        }
        let list = cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        for (tree, folder) in &self.folders {
            let has_cpuset = folder.join("cpuset.cpus").exists();
            match tree {
                Tree::Cpuset => set(&folder.join("cpuset.cpus"), &list)?,
                Tree::Unified if has_cpuset => set(&folder.join("cpuset.cpus"), &list)?,
                Tree::Unified => set(&folder.join("cpu.max"), &format!("{} 100000", cpus.len() * 100_000))?,
                Tree::Memory | Tree::Pids | Tree::Devices => {}
            }
        }
        bind_thread(cpus)
    }

    /// Denies what the next attempt may not open, and nothing else. Where neither version lets us, nothing is denied,
    /// which was said when the agent started.
    fn set_devices(&mut self, denied: &[Device]) -> Result<(), String> {
        let Some((_, folder)) = self.folders.iter().find(|(tree, _)| *tree == Tree::Devices) else {
            let filter = self.cradle.as_ref().filter(|_| !denied.is_empty());
            // The one before goes when the next is there.
            self.filter = filter.and_then(|group| Filter::put(group, denied).ok());
            return Ok(());
        };
        let word = |(major, minor): &Device| format!("c {major}:{minor} rwm");
        for device in self.denied.iter().filter(|device| !denied.contains(device)) {
            set(&folder.join("devices.allow"), &word(device))?;
        }
        for device in denied.iter().filter(|device| !self.denied.contains(device)) {
            set(&folder.join("devices.deny"), &word(device))?;
        }
        self.denied = denied.to_vec();
        Ok(())
    }
}

impl Drop for Slot {
    /// Only what is empty goes: this process itself is in the groups of version 1, and the agent removes those.
    fn drop(&mut self) {
        self.folders.iter().for_each(|(_, folder)| drop(remove_dir(folder)));
    }
}

impl Meter {
    fn open(folder: &Path, [peak, current, events]: [&str; 3]) -> Option<Meter> {
        let file = |name: &str| folder.join(format!("memory.{name}"));
        let peak = OpenOptions::new().read(true).write(true).open(file(peak)).ok()?;
        let (current, events) = (File::open(file(current)).ok()?, File::open(file(events)).ok()?);
        Some(Meter { peak, current, events, before: 0, killed: 0 })
    }

    fn begin(&mut self) {
        // A kernel before 6.12 cannot set the peak of version 2 back: then it is the slot's, and may be too high.
        let _ = self.peak.write_all_at(b"0", 0);
        self.before = number(&self.current).unwrap_or(0);
        self.killed = self.killed();
    }

    fn end(&mut self) -> Counted {
        let peak = number(&self.peak).unwrap_or(0).saturating_sub(self.before);
        Counted { peak_kib: peak >> 10, out_of_memory: self.killed() > self.killed }
    }

    /// How many processes of the group were killed for want of memory, ever.
    fn killed(&self) -> u64 {
        let text = text(&self.events);
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }
}

fn text(file: &File) -> String {
    let mut bytes = [0; 512];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

fn number(file: &File) -> Option<u64> {
    text(file).trim().parse().ok()
}

fn enter(tree: Tree, root: &Path, folder: &Path) -> std::io::Result<()> {
    if let Err(error) = create_dir(folder) {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(error);
        }
        // Of a shepherd that had this number, and died with its agent: what is in it is nobody's any more.
        clear(&[folder.to_owned()]);
        create_dir(folder)?;
    }
    let entered = match tree {
        Tree::Unified => Ok(()),
        Tree::Cpuset => inherit(root, folder).and_then(|()| write(folder.join("cgroup.procs"), "0")),
        Tree::Memory | Tree::Pids | Tree::Devices => write(folder.join("cgroup.procs"), "0"),
    };
    if entered.is_err() {
        let _ = remove_dir(folder);
    }
    entered
}

/// Writes a limit. A controller that is not there limits nothing, which was said when the agent started.
fn set(path: &Path, value: &str) -> Result<(), String> {
    match write(path, value) {
        Err(e) if path.exists() => {
            let now = read_to_string(path).unwrap_or_default();
            Err(format!("cannot set {} to {value}: {e} (it is {})", path.display(), now.trim()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Whether a process that is in these folders can open a file.
    fn opens(folders: &[PathBuf], path: &str) -> bool {
        let procs: Vec<String> =
            folders.iter().map(|f| f.join("cgroup.procs").display().to_string()).collect();
        let script = "for procs; do echo $$ > $procs || exit 9; done; (exec 3< $FILE)";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(procs).env("FILE", path).stderr(Stdio::null());
        let code = command.status().unwrap().code();
        assert_ne!(code, Some(9), "it enters the groups");
        code == Some(0)
    }

    #[test]
    fn what_was_not_given_cannot_be_opened() {
        const ZERO: (Device, &str) = ((1, 5), "/dev/zero");
        const FULL: (Device, &str) = ((1, 7), "/dev/full");
        let all = Groups::make(&format!("devices-{}", std::process::id()));
        let mut tried = 0;
        for tree in [Tree::Devices, Tree::Unified] {
            // The slot's group, without this process in it.
            let Some((_, root)) = all.trees.iter().find(|(t, _)| *t == tree) else { continue };
            if tree == Tree::Unified && !crate::agent::devices::can_filter() {
                continue;
            }
            let folder = root.join("slot");
            create_dir(&folder).unwrap();
            let mut slot = Slot::default();
            slot.folders = vec![(tree, folder.clone())];
            slot.open();
            for denied in [&[ZERO, FULL][..], &[FULL], &[], &[ZERO]] {
                let limits = denied.iter().map(|(device, _)| *device).collect();
                slot.begin(&Limits { denied: limits, ..Limits::default() }).unwrap();
                for one in [ZERO, FULL] {
                    assert_eq!(
                        opens(std::slice::from_ref(&folder), one.1),
                        !denied.contains(&one),
                        "{tree:?} {denied:?}"
                    );
                }
                assert!(opens(std::slice::from_ref(&folder), "/dev/null"), "others are as they were");
            }
            tried += 1;
        }
        if tried == 0 {
            eprintln!("left out: this host lets us deny no device");
        }
        all.remove();
    }

    #[test]
    fn a_group_of_a_dead_shepherd_with_the_same_number_is_made_anew() {
        let all = Groups::make(&format!("test-{}", std::process::id()));
        let mut groups = all.clone();
        // In version 1 this process itself would have to move.
        groups.trees.retain(|(tree, _)| *tree == Tree::Unified);
        let Some((_, root)) = groups.trees.first().cloned() else {
            all.remove();
            return eprintln!("left out: this host lets us make no group of version 2");
        };
        let folder = root.join(std::process::id().to_string());
        create_dir(&folder).unwrap();
        let mut left = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        write(folder.join("cgroup.procs"), left.id().to_string()).unwrap();
        let reaper = std::thread::spawn(move || left.wait().unwrap());
        let slot = Slot::make(&groups);
        assert!(slot.cradle().is_some(), "there is a group to be born into");
        assert!(!reaper.join().unwrap().success(), "what was left in it is killed");
        drop(slot);
        all.remove();
    }
}
