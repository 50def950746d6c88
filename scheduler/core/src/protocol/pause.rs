//! How an attempt stands to being stopped to make room for another, and what it keeps meanwhile.
//!
//! Invariant: the times at which it is stopped are numbered, so what is said of one is not taken for another; that it
//! stands still is known only once every host of it has said so for the time that is now, and holds until it is recorded
//! that it goes on.

use serde::{Deserialize, Serialize};

/// Whether an attempt stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pause {
    /// It goes on, having been stopped so often.
    Off(u32),
    /// It is to stop, the time of this number, and some of it may not have yet.
    Stopping(u32),
    /// All of it is stopped, the time of this number.
    Stopped(u32),
}

/// What happens to an attempt that makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pace {
    /// It is to stop.
    Stop,
    /// It stands still: others may have its CPUs.
    Still,
    /// It goes on: its CPUs are its own.
    GoOn,
}

impl Pause {
    /// What it is after that; none when that cannot be.
    pub fn next(self, pace: Pace) -> Option<Pause> {
        match (self, pace) {
            (Pause::Off(times), Pace::Stop) => Some(Pause::Stopping(times.checked_add(1)?)),
            (Pause::Stopping(number), Pace::Still) => Some(Pause::Stopped(number)),
            (Pause::Stopping(number) | Pause::Stopped(number), Pace::GoOn) => Some(Pause::Off(number)),
            _ => None,
        }
    }
}
