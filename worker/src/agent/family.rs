//! The descendants of this process: whatever an attempt has started, since a subreaper inherits what loses its parent.

use crate::marked::pids;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};

/// Sends `signal` to every descendant.
pub(super) fn signal_all(signal: Signal) {
    for pid in descendants() {
        send(pid, signal);
    }
}

/// Kills every descendant, and tells which. Those that could still start others are stopped first, until no new one
/// turns up.
pub(super) fn kill_all() -> BTreeSet<i32> {
    let all = signal_stop();
    all.iter().for_each(|pid| send(*pid, Signal::KILL));
    all
}

/// Stops every descendant, and returns when none takes a CPU any more, but for one that the system holds: that takes none
/// either, and stops before it goes on.
pub(super) fn stop_all() {
    for pid in signal_stop() {
        while state(pid) == Some('R') {
            std::thread::yield_now();
        }
    }
}

/// Tells every descendant to stop, until no new one turns up, and says which they are.
fn signal_stop() -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    loop {
        let new: Vec<i32> = descendants().into_iter().filter(|pid| all.insert(*pid)).collect();
        if new.is_empty() {
            return all;
        }
        new.into_iter().for_each(|pid| send(pid, Signal::STOP));
    }
}

/// Whether a process is there, dead or alive.
pub(super) fn is_there(pid: i32) -> bool {
    Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn descendants() -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut out = Vec::new();
    let mut next = vec![std::process::id() as i32];
    while let Some(pid) = next.pop() {
        let born = children.remove(&pid).unwrap_or_default();
        out.extend(&born);
        next.extend(born);
    }
    out
}

/// The parent of a process; of one that has exited as well, since other threads of it may still run.
fn parent(pid: i32) -> Option<i32> {
    field(pid, 1)?.parse().ok()
}

/// What the system says a process does: `R` when it runs.
fn state(pid: i32) -> Option<char> {
    field(pid, 0)?.chars().next()
}

/// A field of what the system says of a process, from 0 for the one after its name.
fn field(pid: i32, number: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    text[text.rfind(')')? + 1..].split_whitespace().nth(number).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_a_descendant_and_its_parent_is_not() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let all = descendants();
        assert!(all.contains(&(child.id() as i32)), "{all:?}");
        assert!(!all.contains(&(std::process::id() as i32)));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!descendants().contains(&(child.id() as i32)));
    }
}
