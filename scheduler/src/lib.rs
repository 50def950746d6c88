//! The controller: journal, accounting and API around the deciding core, which it drives and never second-guesses.
//!
//! Steps 3 and 4 of a job's way (DESIGN section 4). One thread owns the controller's value and hears everything; another
//! writes the journal, many records to a sync; the API's threads ask the first.

pub mod accounting;
pub mod api;
pub mod blobs;
pub mod door;
pub mod engine;
pub mod home;
pub mod journal;
pub mod listing;
pub mod network;
pub mod openapi;
pub mod output;
pub mod pool;
pub mod programs;
pub mod returns;
