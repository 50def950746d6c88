//! What a host and its pool say to each other on the host's line: the messages of the agent and of foremen, and what
//! the hosts of one job have to say to each other.
//!
//! Invariant: a line may lose anything. Agents and foremen say again what counts; so does whoever has asked for a
//! process on another host, under the same number, and the host that has it starts none twice.

use super::ledger::{FromStore, ToStore};
use super::message::{ToAgent, ToController};
use super::stamp::AttemptId;
use crate::cluster::HostId;
use serde::{Deserialize, Serialize};

/// Host to pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHost {
    /// The agent speaks.
    Agent(ToController),
    /// A foreman speaks.
    Foreman(ToStore),
    /// The batch host of a job wants a process on another host of it.
    Remote(Remote),
    /// How such a process stands; for the batch host.
    RemoteSaid(RemoteSaid),
    /// The foreman of this attempt asks what hosts it has.
    Hosts(AttemptId),
}

/// Pool to host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// To the agent.
    Agent(ToAgent),
    /// To a foreman.
    Foreman(FromStore),
    /// Start this, unless that was done, and say how it stands.
    Remote(Remote),
    /// How a process on another host stands.
    RemoteSaid(RemoteSaid),
    /// To the foreman of this attempt: what it has, its batch host first.
    Hosts(AttemptId, Vec<HostShare>),
}

/// What a kernel step has of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostShare {
    /// Which.
    pub host: HostId,
    /// Its name in the pool.
    pub name: String,
    /// Ranks.
    pub tasks: u32,
}

/// A process on another host of a job: the daemon that starts the ranks of MPI there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Whose.
    pub id: AttemptId,
    /// Which of its processes; chosen at random by the one who asks.
    pub number: u64,
    /// The host's name in the pool.
    pub host: String,
    /// What it is, for a shell.
    pub command: String,
}

/// How a process on another host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSaid {
    /// Whose.
    pub id: AttemptId,
    /// Which.
    pub number: u64,
    /// How.
    pub how: RemoteState,
}

/// How a process on another host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteState {
    /// It runs.
    Runs,
    /// It has ended with this exit code, and its last lines were these.
    Ended(u8, String),
    /// It is not started, and will not be: why.
    Refused(String),
}
