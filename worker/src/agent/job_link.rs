//! A foreman's line to the agent of its host, and through it to the store in the controller.
//!
//! Part of step 8 of a job's way (DESIGN section 4). Invariant: it lasts as long as the foreman; what is said while no
//! agent is there is lost, and a foreman asks again.

use super::frame::{self, Inbox};
use super::jobs::{self, FromJob, ToJob};
use crossbeam_channel::{Receiver, Sender, unbounded};
use muster_core::protocol::ledger::StepId;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long nobody is looked for after nobody was there.
const PAUSE: Duration = Duration::from_millis(250);

/// The line.
pub(crate) struct JobLink {
    /// What the agent says.
    pub(crate) hear: Receiver<ToJob>,
    stream: Arc<Mutex<Option<UnixStream>>>,
}

impl JobLink {
    /// The line of the foreman of a step to the agent of a state directory.
    pub(crate) fn open(state: &Path, step: StepId) -> JobLink {
        let (send, hear) = unbounded();
        let stream = Arc::new(Mutex::new(None));
        let (path, shared) = (jobs::door_of(state), stream.clone());
        std::thread::spawn(move || carry(&path, step, &shared, &send));
        JobLink { hear, stream }
    }

    /// Says something, if somebody is there.
    pub(crate) fn say(&self, what: &FromJob) {
        let mut stream = self.stream.lock().expect("nobody panics with it");
        if stream.as_mut().is_some_and(|stream| frame::write(stream, what).is_err()) {
            *stream = None;
        }
    }
}

/// Keeps a connection, and passes on what comes through it, until nobody listens any more.
fn carry(path: &PathBuf, step: StepId, shared: &Mutex<Option<UnixStream>>, send: &Sender<ToJob>) {
    loop {
        let connected = UnixStream::connect(path).and_then(|mut stream| {
            frame::write(&mut stream, &FromJob::IsForeman(step, std::process::id()))?;
            frame::write(&mut stream, &FromJob::Hosts(step.0))?;
            let reader = stream.try_clone()?;
            *shared.lock().expect("nobody panics with it") = Some(stream);
            Ok(reader)
        });
        if let Ok(mut reader) = connected {
            let mut inbox = Inbox::default();
            while let Ok(true) = inbox.fill(&mut reader) {
                while let Ok(Some(said)) = inbox.next() {
                    if send.send(said).is_err() {
                        return;
                    }
                }
            }
            *shared.lock().expect("nobody panics with it") = None;
        }
        std::thread::sleep(PAUSE);
    }
}
