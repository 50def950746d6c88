//! The protocol: controller, agents and shepherds as plain values that hear one thing and say what to do.
//!
//! README.md beside this file has the states, the messages, the invariants, and why they hold.

mod absent;
pub mod agent;
pub mod clerk;
pub mod controller;
pub mod desk;
mod drain;
mod fetch;
pub mod foreman;
pub mod format;
pub mod guard;
pub mod inputs;
pub mod journal;
mod lag;
pub mod lease;
pub mod ledger;
pub mod line;
pub mod message;
pub mod outbox;
pub mod output;
pub mod pause;
pub mod probe;
mod room;
pub mod shepherd;
pub mod stamp;
pub mod standing;
mod store;
mod watch;
