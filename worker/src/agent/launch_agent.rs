//! `muster launch`: what a job's `mpirun` starts in the place of a remote shell. It asks the agent of this host for a
//! process on another host of the job, and lives as long as that does.
//!
//! Part of step 7 of a job's way (DESIGN section 4). It asks again when it has heard nothing for a while: a question or an
//! answer may be lost with an agent or a controller, and is the same when it is repeated.

use super::frame::{self, Inbox};
use super::jobs::{self, FromJob, ToJob};
use super::spool;
use muster_core::protocol::line::{Remote, RemoteState};
use muster_core::protocol::stamp::AttemptId;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the first answer is waited for, and the longest that is waited for one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// After how long without any answer it gives up: the other host may have to fetch what the job runs first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has `command` run on `host`, as a process of the job around this one, and returns with its exit code.
///
/// # Errors
/// Why it does not run there.
pub fn launch(state: &Path, host: &str, command: String) -> Result<u8, String> {
    let id = job_around().ok_or(
        "this is what mpirun starts inside a job of a pool: there is no job here (MUSTER_JOB, MUSTER_ATTEMPT)",
    )?;
    // It goes with the mpirun that has started it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let number = RandomState::new().build_hasher().finish();
    let remote = Remote { id, number, host: host.to_owned(), command };
    let mut heard = Instant::now();
    let (mut pause, mut link, mut runs) = (PAUSES.0, None, false);
    loop {
        let how = match &mut link {
            None => connect(state, &remote).map(|connected| link = Some(connected)).map(|()| None),
            Some(link) => hear(link, pause),
        };
        match how {
            Ok(Some(RemoteState::Ended(code, last))) => {
                eprint!("{last}");
                return Ok(code);
            }
            Ok(Some(RemoteState::Refused(why))) => return Err(format!("nothing starts on {host}: {why}")),
            Ok(Some(RemoteState::Runs)) => (heard, pause, runs) = (Instant::now(), PAUSES.1, true),
            // Nothing yet: asked again.
            Ok(None) if link.is_some() => {
                pause = (pause * 2).min(PAUSES.1);
                if link.as_mut().is_some_and(|(stream, _)| ask(stream, &remote).is_err()) {
                    link = None;
                }
            }
            Ok(None) => {}
            Err(_) => {
                link = None;
                std::thread::sleep(PAUSES.0);
            }
        }
        if heard.elapsed() > PATIENCE && !runs {
            return Err(format!("host {host} does not answer (`muster hosts` tells how it is)"));
        }
    }
}

type Link = (UnixStream, Inbox);

fn connect(state: &Path, remote: &Remote) -> std::io::Result<Link> {
    let mut stream = UnixStream::connect(jobs::door_of(state))?;
    ask(&mut stream, remote)?;
    Ok((stream, Inbox::default()))
}

fn ask(stream: &mut UnixStream, remote: &Remote) -> std::io::Result<()> {
    frame::write(stream, &FromJob::Remote(remote.clone()))
}

/// The next answer; none in `pause`.
fn hear((stream, inbox): &mut Link, pause: Duration) -> std::io::Result<Option<RemoteState>> {
    loop {
        if let Some(ToJob::Remote(how)) = inbox.next()? {
            return Ok(Some(how));
        }
        stream.set_read_timeout(Some(pause))?;
        match inbox.fill(stream) {
            Ok(true) => {}
            Ok(false) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(e) => return Err(e),
        }
    }
}

/// The attempt that this process is of.
pub(crate) fn job_around() -> Option<AttemptId> {
    let variable = |name| std::env::var(name).ok();
    spool::parse(&format!("{}.{}", variable("MUSTER_JOB")?, variable("MUSTER_ATTEMPT")?))
}
