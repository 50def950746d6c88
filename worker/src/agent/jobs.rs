//! The door for the processes of jobs on this host: those that want a process on another host of their job.
//!
//! Part of step 7 of a job's way (DESIGN section 4). Invariant: whoever comes in is this user's; what it may have is for
//! the controller to say, which knows the hosts of its job.

use super::frame::{self, Inbox};
use super::shell::Event;
use crossbeam_channel::Sender;
use muster_core::protocol::line::{Remote, RemoteSaid, RemoteState};
use muster_core::protocol::stamp::AttemptId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a process of a job may let the agent wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// A job's process to the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromJob {
    /// It wants this; asked again until it hears how that stands.
    Remote(Remote),
}

/// The agent to a job's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToJob {
    /// How what it wants stands.
    Remote(RemoteState),
}

/// Where it is.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("jobs.sock")
}

/// The door; closed when it is dropped.
pub(super) struct JobDoor {
    listener: Arc<UnixListener>,
    path: PathBuf,
    porter: Option<JoinHandle<()>>,
}

impl JobDoor {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(state: &Path, events: Sender<Event>) -> Result<JobDoor, String> {
        let (path, beside) = (path(state), state.join("jobs.sock.new"));
        let opened = || -> std::io::Result<UnixListener> {
            let _ = std::fs::remove_file(&beside);
            let listener = UnixListener::bind(&beside)?;
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
            std::fs::rename(&beside, &path)?;
            Ok(listener)
        };
        let listener = Arc::new(opened().map_err(|e| format!("cannot listen on {}: {e}", path.display()))?);
        let ears = Arc::clone(&listener);
        let porter = std::thread::spawn(move || {
            let number = AtomicU64::new(0);
            for stream in ears.incoming() {
                let Ok(stream) = stream else { break };
                let (events, number) = (events.clone(), number.fetch_add(1, Ordering::Relaxed));
                std::thread::spawn(move || listen(stream, number, &events));
            }
        });
        Ok(JobDoor { listener, path, porter: Some(porter) })
    }
}

impl Drop for JobDoor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Whoever waits in `accept` hears of this.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        self.porter.take().into_iter().for_each(|porter| drop(porter.join()));
    }
}

/// Reads what a process says until it says no more, or nothing that is understood.
fn listen(mut stream: UnixStream, number: u64, events: &Sender<Event>) {
    let peer = rustix::net::sockopt::socket_peercred(&stream);
    if !peer.is_ok_and(|peer| peer.uid == rustix::process::getuid()) {
        return;
    }
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let Ok(writer) = stream.try_clone() else { return };
    if events.send(Event::JobJoined(number, writer)).is_err() {
        return;
    }
    let mut inbox = Inbox::default();
    while let Ok(true) = inbox.fill(&mut stream) {
        while let Ok(Some(said)) = inbox.next::<FromJob>() {
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
    }

    /// One wants to hear how this stands.
    pub(super) fn ask(&mut self, number: u64, remote: &Remote) {
        self.asks.insert((remote.id, remote.number), number);
    }

    /// How something stands, for whoever has asked.
    pub(super) fn hear(&mut self, said: RemoteSaid) {
        let Some(number) = self.asks.get(&(said.id, said.number)).copied() else { return };
        let told = self.streams.get_mut(&number).map(|stream| frame::write(stream, &ToJob::Remote(said.how)));
        if let Some(Err(_)) = told {
            self.leave(number);
        }
    }
}
