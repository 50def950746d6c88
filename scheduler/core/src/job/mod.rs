//! Jobs as the queue keeps them.
//!
//! A job's state is a fold of events: applying an event is the only way to change it, and a restart is a replay.

pub mod id;
pub mod outcome;
