//! What happens to a job, as the journal has it.

use super::hold::HeldBy;
use super::id::Attempt;
use super::outcome::Outcome;
use super::placement::Placement;
use super::update::Update;
use super::usage::Usage;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What happens to a job, or to some elements of an array, mostly while they wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEvent {
    /// What waits is held back.
    Held {
        /// Which elements.
        of: Elements,
        /// By whom.
        by: HeldBy,
    },
    /// What is held is released.
    Released {
        /// Which elements.
        of: Elements,
        /// By whom.
        by: HeldBy,
    },
    /// A user wants it no more: what waits is over, what has hosts shall end.
    Cancelled {
        /// Which elements.
        of: Elements,
        /// The user's number.
        by: u32,
    },
    /// What waits is over without having been started.
    Closed {
        /// Which elements.
        of: Elements,
        /// Why.
        outcome: Outcome,
    },
    /// Somebody changes what it asks for.
    Updated(Box<Update>),
}

/// Which elements of an array; a job that is none is all of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Elements {
    /// All.
    All,
    /// Those with indices in these ranges, first and last.
    Ranges(Vec<(u32, u32)>),
}

/// What happens to an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEvent {
    /// It is given hosts.
    Started {
        /// Which attempt: one more than before.
        attempt: Attempt,
        /// What it is given.
        on: Arc<Placement>,
        /// The element of its array that has that now: it begins when that is over.
        after: Option<u32>,
    },
    /// Its agents say that it runs.
    Began {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It has other hosts, or another time limit.
    Replaced {
        /// Which attempt.
        attempt: Attempt,
        /// What it has now.
        on: Arc<Placement>,
    },
    /// It is stopped, and keeps its hosts.
    Suspended {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It goes on.
    Resumed {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It is over or shall be, and its hosts are not yet clean.
    Completing {
        /// Which attempt.
        attempt: Attempt,
        /// How it ends.
        outcome: Outcome,
    },
    /// It is over, and its hosts are free.
    Ended {
        /// Which attempt.
        attempt: Attempt,
        /// How it ended, unless that was said when it was completing.
        outcome: Outcome,
        /// What it has used.
        usage: Usage,
    },
    /// It is over, its hosts are free, and another attempt shall follow.
    Requeued {
        /// Which attempt; 0 when it ended without one.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome,
        /// What it has used.
        usage: Usage,
        /// Who holds it back.
        hold: Option<HeldBy>,
        /// When the next may start.
        from: Time,
    },
}
