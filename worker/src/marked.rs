//! The processes that carry a mark in their environment: how what a job has started is found wherever it went.
//!
//! Step 7 of a job's way (DESIGN section 4). A process inherits the mark, and keeps it through `setsid` and a second
//! fork. It cannot be found any more when it has taken the mark out, or runs with another user's rights.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;

/// A variable that the processes of one job carry, and no others on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The variable's name.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) value: String,
}

impl Mark {
    /// Sends `signal` to every process that carries it.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills every process that carries it, and returns when none is left.
    pub(crate) fn end_all(&self) {
        // A process that forks while it is looked for is found in the next round.
        loop {
            let left: Vec<OwnedFd> = self.processes().into_iter().filter_map(open).collect();
            if left.is_empty() {
                return;
            }
            for process in left {
                let _ = pidfd_send_signal(&process, Signal::KILL);
                wait(&process);
            }
        }
    }

    /// The processes that carry it. One that has exited carries nothing, even if nobody has asked how it ended.
    fn processes(&self) -> Vec<Pid> {
        let mine = format!("{}={}", self.name, self.value);
        let carries = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|v| v == mine.as_bytes())
        };
        pids().filter(carries).filter_map(Pid::from_raw).collect()
    }
}

/// The numbers of all processes.
pub(crate) fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// A handle on a process that stays its own when the number is given to another; none when it is gone.
pub(crate) fn open(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Returns when the process has exited.
pub(crate) fn wait(process: &OwnedFd) {
    while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(process, PollFlags::IN)], None) {}
}
