//! Who is there under a state directory: the agent's door, the groups it has made, and the shepherds' processes that live.
//!
//! Each process holds a lock on a file of its own, named by its number, for as long as it lives. So an agent that is
//! started knows which processes will come to its door, without waiting for those that are dead.

use super::frame::{self, Inbox};
use super::groups::{self, Groups};
use crate::state;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the agent listens.
pub(super) fn door(state: &Path) -> PathBuf {
    state.join("agent.sock")
}

/// Makes this process the only agent of a state directory, for as long as the file is open.
///
/// # Errors
/// When there is one already.
pub(super) fn rule(state: &Path) -> Result<File, String> {
    let path = state::folder(state, "")?.join("agent.lock");
    let file = open(&path).map_err(|e| format!("cannot use {}: {e}", path.display()))?;
    let end = Instant::now() + GOING.0;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        // One that was killed holds its lock until the system has taken it apart.
        if Instant::now() >= end || UnixStream::connect(door(state)).is_ok() {
            let what = "an agent runs for {} already (`muster down` ends it; --state DIR names another)";
            return Err(what.replace("{}", &state.display().to_string()));
        }
        std::thread::sleep(GOING.1);
    }
    Ok(file)
}

/// How long an agent that was killed may take to go, and how often that is looked at.
const GOING: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(5));

/// Leaves word of the groups for the shepherds.
///
/// # Errors
/// When it cannot be written.
pub(super) fn tell_groups(state: &Path, groups: &Groups) -> Result<(), String> {
    let path = state.join("groups");
    let bytes = frame::bytes(groups).map_err(|e| e.to_string())?;
    std::fs::write(&path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The groups that the agent has made; none when it left no word.
pub(super) fn groups(state: &Path) -> Groups {
    read(&state.join("groups")).unwrap_or_default()
}

/// Puts this process on the roll, with the folders of its groups, for as long as the file is open.
///
/// # Errors
/// When that cannot be written.
pub(super) fn sign(state: &Path, folders: &[PathBuf]) -> Result<File, String> {
    let path = state::folder(state, "shepherds")?.join(std::process::id().to_string());
    let signed = || -> std::io::Result<File> {
        let mut file = open(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        file.set_len(0)?;
        frame::write(&mut file, &folders.to_vec())?;
        Ok(file)
    };
    signed().map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The processes that live. What the dead have left in their groups is killed, and they are struck off.
pub(super) fn living(state: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(state.join("shepherds")).into_iter().flatten().flatten();
    let all: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    let lives = |pid: &u32| {
        let file = open(&entry(state, *pid));
        file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    };
    let (living, dead): (Vec<u32>, Vec<u32>) = all.into_iter().partition(lives);
    dead.into_iter().for_each(|pid| groups::clear(&strike(state, pid)));
    living
}

/// Strikes off a process that is dead, and tells the folders of its groups.
pub(super) fn strike(state: &Path, pid: u32) -> Vec<PathBuf> {
    let path = entry(state, pid);
    let folders = read(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    folders
}

fn entry(state: &Path, pid: u32) -> PathBuf {
    state.join("shepherds").join(pid.to_string())
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let (mut inbox, mut rest) = (Inbox::default(), &bytes[..]);
    while inbox.fill(&mut rest).ok()? {}
    inbox.next().ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn one_agent_rules_and_the_living_are_known() {
        let scratch = Scratch::new("roll");
        let first = rule(scratch.path()).unwrap();
        assert!(rule(scratch.path()).unwrap_err().contains("already"));
        drop(first);
        assert!(rule(scratch.path()).is_ok());
        let life = sign(scratch.path(), &[PathBuf::from("/nosuch/group")]).unwrap();
        std::fs::write(scratch.path().join("shepherds/999999999"), "").unwrap();
        assert_eq!(living(scratch.path()), [std::process::id()]);
        drop(life);
        assert_eq!(living(scratch.path()), [0; 0]);
        assert_eq!(std::fs::read_dir(scratch.path().join("shepherds")).unwrap().count(), 0);
    }
}
