//! The door for the processes of jobs on this host: the foremen of kernel steps, and those that want a process on another
//! host of their job.
//!
//! Part of step 7 of a job's way (DESIGN section 4). Invariant: whoever comes in is this user's, or, in a pool of many users,
//! is heard of attempts of the same user's alone, whose folder tells; what it may have is for the controller to say, which
//! knows the hosts of its job.

use super::complaint::complain;
use super::door::Door;
use super::frame::{self, Inbox};
use super::guise::Users;
use super::shell::Event;
use crossbeam_channel::Sender;
use muster_core::cluster::HostId;
use muster_core::protocol::ledger::{FromStore, StepId, ToStore};
use muster_core::protocol::line::{HostShare, Remote, RemoteSaid, RemoteState};
use muster_core::protocol::stamp::AttemptId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a process of a job may let the agent wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// A job's process to the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum FromJob {
    /// It wants this; asked again until it hears how that stands.
    Remote(Remote),
    /// It is the foreman of this step, and has this number of a process; always the first word of one.
    IsForeman(StepId, u32),
    /// A foreman, to the store.
    Foreman(ToStore),
    /// A foreman asks what hosts it has.
    Hosts(AttemptId),
}

impl FromJob {
    /// For which attempt it speaks.
    fn attempt(&self) -> AttemptId {
        match self {
            FromJob::Remote(remote) => remote.id,
            FromJob::IsForeman((id, _), _) | FromJob::Hosts(id) => *id,
            FromJob::Foreman(said) => said.attempt(),
        }
    }
}

/// The agent to a job's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ToJob {
    /// How what it wants stands.
    Remote(RemoteState),
    /// The store, to a foreman.
    Foreman(FromStore),
    /// What a foreman has of each host.
    Hosts(Vec<HostShare>),
    /// A foreman shall use these from now on.
    Resize(Vec<HostId>),
    /// The process of this number is the foreman of its step.
    Taken(u32),
}

/// The variable that names the agent's state directory to a job of a pool of many users, where that is not the job's own.
pub(crate) const AGENT: &str = "MUSTER_AGENT";

/// The agent's state directory, to a process of a job whose own this is.
pub(crate) fn agent_of(state: &Path) -> PathBuf {
    std::env::var_os(AGENT).map_or_else(|| state.to_owned(), PathBuf::from)
}

/// Where it is.
pub(crate) fn path(state: &Path) -> PathBuf {
    state.join("jobs.sock")
}

/// Where it is to a process of a job.
pub(crate) fn door_of(state: &Path) -> PathBuf {
    path(&agent_of(state))
}

/// What an attempt has of its own on this host, until it is forgotten; the user's whose job it is.
pub(super) fn folder(state: &Path, id: AttemptId) -> PathBuf {
    state.join("jobs").join(id.to_string())
}

/// Opens the door.
///
/// # Errors
/// When it cannot be made.
pub(super) fn open(state: &Path, users: Users, events: Sender<Event>) -> Result<Door, String> {
    let (numbers, at) = (Arc::new(AtomicU64::new(0)), state.to_owned());
    let mode = if users == Users::All { 0o666 } else { 0o600 };
    Door::open((path(state), mode), move |stream| {
        let users = (users == Users::All).then_some(&*at);
        listen(stream, (numbers.fetch_add(1, Ordering::Relaxed), users), &events);
    })
}

/// Reads what a process says until it says no more, or nothing that is understood.
fn listen(mut stream: UnixStream, (number, many): (u64, Option<&Path>), events: &Sender<Event>) {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(&stream) else { return };
    if many.is_none() && peer.uid != rustix::process::getuid() {
        return;
    }
    let may = |said: &FromJob| {
        let owner =
            |state: &Path| std::fs::symlink_metadata(folder(state, said.attempt())).map(|meta| meta.uid());
        many.is_none_or(|state| owner(state).is_ok_and(|owner| owner == peer.uid.as_raw()))
    };
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let Ok(writer) = stream.try_clone() else { return };
    if events.send(Event::JobJoined(number, writer)).is_err() {
        return;
    }
    let mut inbox = Inbox::default();
    while let Ok(true) = inbox.fill(&mut stream) {
        while let Ok(Some(said)) = inbox.next::<FromJob>() {
            if !may(&said) {
                complain(
                    "agent",
                    format!("user {} is not whose job {} is", peer.uid.as_raw(), said.attempt()),
                );
                let _ = events.send(Event::JobGone(number));
                return;
            }
            if events.send(Event::JobSaid(number, said)).is_err() {
                return;
            }
        }
    }
    let _ = events.send(Event::JobGone(number));
}

/// The processes that have come in.
#[derive(Default)]
pub(super) struct Jobs {
    streams: BTreeMap<u64, UnixStream>,
    /// Who waits to hear of what.
    asks: BTreeMap<(AttemptId, u64), u64>,
    /// The foremen of steps, with the numbers of their processes.
    foremen: BTreeMap<StepId, (u64, u32)>,
    /// The hosts that attempts shall use, as far as they were told here.
    hosts: BTreeMap<AttemptId, Vec<HostId>>,
    /// Steps whose foreman is gone and has not closed them.
    unclosed: BTreeSet<StepId>,
}

impl Jobs {
    /// One has come in.
    pub(super) fn join(&mut self, number: u64, stream: UnixStream) {
        self.streams.insert(number, stream);
    }

    /// One is gone.
    pub(super) fn leave(&mut self, number: u64) {
        self.streams.remove(&number);
        self.asks.retain(|_, who| *who != number);
        let gone = self.foremen.iter().filter(|(_, (who, _))| *who == number);
        self.unclosed.extend(gone.map(|(step, _)| *step));
        self.foremen.retain(|_, (who, _)| *who != number);
    }

    /// What is to be said for foremen that are gone, until it is heard.
    pub(super) fn close(&self) -> impl Iterator<Item = ToStore> {
        self.unclosed.iter().map(|(id, spec)| ToStore::Close(*id, *spec))
    }

    /// One is the foreman of a step, unless another process is.
    pub(super) fn is_foreman(&mut self, number: u64, (step, pid): (StepId, u32)) {
        if let Some((_, other)) = self.foremen.get(&step).copied().filter(|(_, other)| *other != pid) {
            return self.write(number, &ToJob::Taken(other));
        }
        self.foremen.insert(step, (number, pid));
        self.unclosed.remove(&step);
        if let Some(hosts) = self.hosts.get(&step.0).cloned() {
            self.write(number, &ToJob::Resize(hosts));
        }
    }

    /// The foreman of an attempt, which may not be here yet, shall use these hosts.
    pub(super) fn resize(&mut self, id: AttemptId, hosts: Vec<HostId>) {
        self.tell_all(id, &ToJob::Resize(hosts.clone()));
        self.hosts.insert(id, hosts);
    }

    /// An attempt is over here.
    pub(super) fn forget(&mut self, id: AttemptId) {
        self.hosts.remove(&id);
        self.unclosed.retain(|(of, _)| *of != id);
    }

    /// Tells the foreman of a step, if it is here.
    pub(super) fn tell(&mut self, step: StepId, what: &ToJob) {
        let number = self.foremen.get(&step).map(|(number, _)| *number);
        if let ToJob::Foreman(FromStore::Closed(step)) = what {
            self.foremen.remove(step);
            self.unclosed.remove(step);
        }
        number.into_iter().for_each(|number| self.write(number, what));
    }

    /// Tells the foremen of an attempt that are here.
    pub(super) fn tell_all(&mut self, id: AttemptId, what: &ToJob) {
        let all = self.foremen.range((id, [0; 16])..=(id, [u8::MAX; 16]));
        let all: Vec<u64> = all.map(|(_, (number, _))| *number).collect();
        all.into_iter().for_each(|number| self.write(number, what));
    }

    fn write(&mut self, number: u64, what: &ToJob) {
        let told = self.streams.get_mut(&number).map(|stream| frame::write(stream, what));
        if let Some(Err(_)) = told {
            self.leave(number);
        }
    }

    /// One wants to hear how this stands.
    pub(super) fn ask(&mut self, number: u64, remote: &Remote) {
        self.asks.insert((remote.id, remote.number), number);
    }

    /// How something stands, for whoever has asked.
    pub(super) fn hear(&mut self, said: RemoteSaid) {
        let Some(number) = self.asks.get(&(said.id, said.number)).copied() else { return };
        self.write(number, &ToJob::Remote(said.how));
    }
}
