//! How many files a process may have open: a controller has a connection to each host of its pool, which is more than a
//! user's processes may have where nobody raised that; jobs find the limit that they would find without it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Command;
use std::sync::OnceLock;

/// Where a shepherd finds what its jobs may have.
const VARIABLE: &str = "MUSTER_FILES";

/// The limit before [`raise`].
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many as the operating system lets it.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, ..before };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        let _ = BEFORE.set(before);
    }
}

/// Has a shepherd go back to the limit before.
pub(crate) fn tell(command: &mut Command) {
    if let Some(before) = BEFORE.get().and_then(|before| before.current) {
        command.env(VARIABLE, before.to_string());
    }
}

/// Goes back to the limit before, in a shepherd.
pub(crate) fn restore() {
    let before = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    if let Some(before) = before {
        let limit = Rlimit { current: Some(before), ..getrlimit(Resource::Nofile) };
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
