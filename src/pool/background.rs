//! What goes on in the background: a pool or a host that was told to `--detach`, and how such a process is ended.

use super::client::Failed;
use muster_worker::command::BAD_INPUT;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn failed(error: impl ToString) -> Failed {
    Failed::new(error.to_string(), BAD_INPUT)
}

/// Starts this muster with other arguments, its complaints in `log`, and prints what it prints until a line that begins
/// with `last`.
pub(super) fn start(mut command: Command, log: &Path, last: &str) -> Result<(), Failed> {
    let complaints = File::options().create(true).append(true).mode(0o600).open(log);
    let complaints = complaints.map_err(|error| failed(format!("{}: {error}", log.display())))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints);
    // Neither a terminal that closes nor its Ctrl-C reaches it.
    let mut child = command.process_group(0).spawn().map_err(failed)?;
    let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    for line in lines.map_while(Result::ok) {
        println!("{line}");
        if line.starts_with(last) {
            return Ok(());
        }
    }
    Err(failed(last_line(log)))
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let said = text.lines().last().map(|line| line.trim_start_matches("muster: error: ").to_owned());
    said.unwrap_or_else(|| format!("it ended without a word ({})", path.display()))
}

/// Somebody presses Ctrl-C, or a service manager ends us.
pub(super) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
        _ => std::future::pending().await,
    }
}

/// This host's name, without its domain.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or("localhost").to_owned()
}
