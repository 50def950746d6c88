//! The numbers by which what is stale is told from what is not.
//!
//! Invariant: terms are durable before a message quotes them, and no two controllers have one; a session's number is
//! unique within its term; a boot's number is drawn anew whenever a host starts.

use crate::job::id::{Attempt, RunId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which life of the controller: each takes the next, on disk before it speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term(pub u64);

/// Which right to act an agent has: it gets another number whenever it had to ask anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Session(pub u32);

/// Which life of a host, by the operating system's random number (`/proc/sys/kernel/random/boot_id`). In what an agent says
/// of itself its spool has a part in it: one that was lost has forgotten what runs, as a host's start has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Boot(pub u64);

/// What every order and every report quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Of the controller.
    pub term: Term,
    /// Of the agent.
    pub session: Session,
}

/// One try of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job, or the element of an array.
    pub run: RunId,
    /// Which try.
    pub attempt: Attempt,
}

impl fmt::Display for AttemptId {
    /// `12_3#2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.run, self.attempt.0)
    }
}

impl fmt::Display for Stamp {
    /// `3.17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term.0, self.session.0)
    }
}
