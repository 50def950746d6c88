//! Every decision of the batch system, as pure functions over values: no clock, thread, socket, file or log.

pub mod books;
pub mod ceilings;
pub mod cluster;
pub mod decide;
pub mod folder;
pub mod job;
pub mod jobspec;
pub mod payload;
pub mod plan;
pub mod policy;
pub mod protocol;
pub mod share;
pub mod time;
pub mod trace;
