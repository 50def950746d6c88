//! A token as `muster join` or `muster login` is given it: from a file, from standard input, or typed where nobody sees it; never an argument.

use muster_scheduler::network::client::ClientError;
use muster_scheduler::network::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use std::io::{BufRead, stdin};
use std::path::Path;

/// Reads one that this command prints.
pub(super) fn token(file: Option<&Path>, printed_by: &str) -> Result<Secret, ClientError> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| ClientError::Here(format!("--token-file {}: {error}", path.display())))?,
        None => typed()?,
    };
    Secret::read(&text).ok_or_else(|| {
        let what = if text.trim().is_empty() { "there is no token" } else { "this is no token" };
        ClientError::Here(format!(
            "{what}: `{printed_by}` on the pool's host prints one, which has 32 letters and digits; it is read from a prompt, \
             from standard input or from --token-file FILE"
        ))
    })
}

/// The first line of standard input; where that is a terminal, what is typed is not shown.
fn typed() -> Result<String, ClientError> {
    let input = stdin();
    let before = isatty(&input).then(|| tcgetattr(&input).ok()).flatten();
    if let Some(before) = &before {
        eprint!("token: ");
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&input, OptionalActions::Flush, &silent);
    }
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    if let Some(before) = &before {
        let _ = tcsetattr(&input, OptionalActions::Flush, before);
        eprintln!();
    }
    read.map_err(|error| ClientError::Here(format!("standard input: {error}")))?;
    Ok(line)
}
