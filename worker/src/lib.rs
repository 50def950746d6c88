//! One host: its topology and NUMA pools, the team, the foreman and the ledger, and how a team is launched.

pub mod agent;
mod ceilings;
pub mod comm;
pub mod command;
mod commits;
mod crew;
pub mod description;
pub mod files;
pub mod folder;
pub mod foreman;
mod hub;
#[cfg(feature = "hwloc")]
mod hwloc;
#[cfg(test)]
mod iterate_tests;
mod job_environment;
mod kept;
pub mod launch;
pub mod ledger;
pub mod link;
mod marked;
mod memory;
mod pages;
pub mod pin;
pub mod placement;
mod pool_foreman;
pub mod pools;
pub mod program;
pub mod progress;
pub mod receipt;
mod running;
#[cfg(test)]
mod running_tests;
#[cfg(test)]
mod scratch;
pub mod script;
pub mod span;
pub mod spans;
pub mod state;
mod streams;
mod sysfs;
pub mod team;
pub mod topology;
#[cfg(test)]
mod trial;
pub mod verify;
pub mod wire;
