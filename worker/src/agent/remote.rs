//! The processes that a job's batch host has started on this host, in the group and under the shepherd of the job.
//!
//! Invariant: a number is started once, whatever is asked again.

use super::daemon;
use super::errand::Errand;
use super::leader::{self, Reaped, Status};
use super::prepare::{self, Around};
use super::slot::Slot;
use muster_core::payload::Payload;
use muster_core::protocol::clerk::Launch;
use muster_core::protocol::line::{Remote, RemoteSaid, RemoteState};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How much of its last words is told, bytes.
const LAST_WORDS: u64 = 2048;

/// The processes, by number.
#[derive(Default)]
pub(super) struct Remotes(BTreeMap<u64, One>);

enum One {
    /// Its number to the system, and what it writes.
    Runs(Pid, File),
    Over(RemoteState),
}

impl Remotes {
    /// Whether one runs.
    pub(super) fn any_runs(&self) -> bool {
        self.0.values().any(|one| matches!(one, One::Runs(..)))
    }

    /// How it stands; started, if nobody has asked for it before.
    pub(super) fn stands(
        &mut self,
        remote: &Remote,
        (errand, launch, payload): (&Errand, &Launch, &Payload),
        around: &Around,
        slot: &Slot,
    ) -> RemoteSaid {
        let one = self.0.entry(remote.number).or_insert_with(|| {
            start(&remote.command, (errand, launch, payload), around, slot)
                .map_or_else(|why| One::Over(RemoteState::Refused(why)), |(pid, out)| One::Runs(pid, out))
        });
        let how = match one {
            One::Runs(..) => RemoteState::Runs,
            One::Over(how) => how.clone(),
        };
        RemoteSaid { id: remote.id, number: remote.number, how }
    }

    /// A process has ended: if it is one of these, its number, and how it stands now.
    pub(super) fn ended(&mut self, reaped: &Reaped) -> Option<(u64, RemoteState)> {
        let is_it = |one: &One| matches!(one, One::Runs(pid, _) if pid.as_raw_nonzero().get() == reaped.pid);
        let (number, one) = self.0.iter_mut().find(|(_, one)| is_it(one))?;
        let One::Runs(_, out) = one else { return None };
        let code = match reaped.status {
            Status::Exited(code) => code,
            Status::Signalled(signal) => 128 | signal,
        };
        let how = RemoteState::Ended(code, last_words(out));
        *one = One::Over(how.clone());
        Some((*number, how))
    }
}

fn start(
    command: &str,
    (errand, launch, payload): (&Errand, &Launch, &Payload),
    around: &Around,
    slot: &Slot,
) -> Result<(Pid, File), String> {
    let command = daemon::permitted(command).ok_or_else(|| {
        let begin: String = command.trim().chars().take(200).collect();
        format!(
            "a job starts the daemon of its mpirun on its other hosts, and nothing else; this begins {begin}"
        )
    })?;
    let told = |e: std::io::Error| format!("cannot start a process: {e}");
    let out = File::from(memfd_create("muster", MemfdFlags::CLOEXEC).map_err(|e| told(e.into()))?);
    let plan = prepare::of_daemon(command, (errand, launch, payload), around, &out);
    let plan = plan.map_err(|failure| failure.why)?;
    Ok((leader::start(&plan, slot.cradle(), slot.limits_memory()).map_err(told)?, out))
}

pub(super) fn last_words(out: &File) -> String {
    let length = out.metadata().map_or(0, |meta| meta.len());
    let mut bytes = vec![0; length.min(LAST_WORDS) as usize];
    let read = out.read_at(&mut bytes, length.saturating_sub(LAST_WORDS)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}
