//! What the agent and its shepherds say on standard error, which may lead nowhere any more: both outlive who reads it.

use std::fmt::Display;
use std::io::Write;

/// Says it, if anybody can hear it.
pub(super) fn complain(who: &str, what: impl Display) {
    let _ = writeln!(std::io::stderr(), "muster {who}: {what}");
}
