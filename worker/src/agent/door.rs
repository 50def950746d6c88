//! The agent's door: where shepherds' processes come in, and one thread for each that reads what it says.

use super::complaint::complain;
use super::errand::FromProcess;
use super::frame::Inbox;
use super::roll;
use super::shell::Event;
use crate::marked;
use crossbeam_channel::Sender;
use muster_core::protocol::stamp::AttemptId;
use rustix::process::{Pid, Signal, pidfd_send_signal};
use std::io::Result;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A door of the agent's; closed when it is dropped.
pub(super) struct Door {
    listener: Arc<UnixListener>,
    path: PathBuf,
    porter: Option<JoinHandle<()>>,
}

/// A shepherd's process that has come in; its connection ends with this.
pub(super) struct Guest {
    /// Its number.
    pub(super) pid: u32,
    /// Where it listens.
    pub(super) stream: UnixStream,
    /// What runs in it.
    pub(super) running: Option<AttemptId>,
    /// What follows that there, in order.
    pub(super) line: Vec<AttemptId>,
}

impl Drop for Guest {
    /// The thread that reads has the connection, too: this ends it for both.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Door {
    /// Opens it for shepherds. Those that wait for an agent see the socket take its name, and come.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn of_shepherds(state: &Path, events: Sender<Event>) -> std::result::Result<Door, String> {
        Door::open((roll::door(state), 0o600), move |stream| admit(stream, &events))
    }

    /// Opens one at `path`, for this user alone: each who comes is cared for on a thread of its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(
        (path, mode): (PathBuf, u32),
        each: impl Fn(UnixStream) + Clone + Send + 'static,
    ) -> std::result::Result<Door, String> {
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let opened = || -> Result<UnixListener> {
            let _ = std::fs::remove_file(&beside);
            let listener = UnixListener::bind(&beside)?;
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode))?;
            std::fs::rename(&beside, &path)?;
            Ok(listener)
        };
        let listener = opened().map_err(|e| {
            format!("cannot listen on {}: {e} (a path for a socket has at most 107 bytes)", path.display())
        })?;
        let listener = Arc::new(listener);
        let ears = Arc::clone(&listener);
        let porter = std::thread::spawn(move || {
            for stream in ears.incoming() {
                let Ok(stream) = stream else { break };
                let each = each.clone();
                std::thread::spawn(move || each(stream));
            }
        });
        Ok(Door { listener, path, porter: Some(porter) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Whoever waits in `accept` hears of this.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        self.porter.take().into_iter().for_each(|porter| drop(porter.join()));
    }
}

/// Reads what a process says until it says no more. One that is not understood is killed: the agent cares for what it
/// held, as for that of any shepherd that dies.
fn admit(mut stream: UnixStream, events: &Sender<Event>) {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(&stream) else { return };
    if peer.uid != rustix::process::getuid() {
        return;
    }
    // While it is connected, the number is its own.
    let Some(process) = marked::open(peer.pid) else { return };
    let pid = peer.pid.as_raw_nonzero().get() as u32;
    if let Err(e) = listen(&mut stream, pid, events) {
        complain("agent", format!("the shepherd of process {pid} is not understood and ends: {e}"));
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

fn listen(stream: &mut UnixStream, pid: u32, events: &Sender<Event>) -> Result<()> {
    let mut inbox = Inbox::default();
    loop {
        // A connection that breaks is one that ends: somebody waits for the process itself.
        if !matches!(inbox.fill(stream), Ok(true)) {
            return Ok(());
        }
        while let Some(said) = inbox.next::<FromProcess>()? {
            let event = match said {
                FromProcess::Hello { running, line } => {
                    Event::Joined(Guest { pid, stream: stream.try_clone()?, running, line })
                }
                other => Event::Said(pid, other),
            };
            if events.send(event).is_err() {
                return Ok(());
            }
        }
    }
}

/// Waits for the end of a process that is not our child.
pub(super) fn watch(pid: u32, events: &Sender<Event>) {
    let process = Pid::from_raw(pid as i32).and_then(marked::open);
    let events = events.clone();
    std::thread::spawn(move || {
        if let Some(process) = process {
            marked::wait(&process);
        }
        let _ = events.send(Event::Gone(pid));
    });
}
