//! What a host and its pool say to each other on the host's line: the messages of the agent and of foremen, and what
//! the hosts of one job have to say to each other; and pieces of the output of jobs, for who wants to see it.
//!
//! Invariant: a line may lose anything. Agents and foremen say again what counts; so does whoever has asked for a
//! process on another host, under the same number, and the host that has it starts none twice.

use super::ledger::{FromStore, ToStore};
use super::message::{ToAgent, ToController};
use super::output::{Delivered, Delivery, Had, Sent};
use super::stamp::AttemptId;
use crate::ceilings::Ceilings;
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
    /// What was asked for of a file.
    Piece(Piece),
    /// A piece of the output of a job that comes back.
    Output(Sent),
    /// What is written of one that was submitted here.
    Delivered(Delivered),
    /// What the host can do at most; said in each session, once it is known.
    Measured(Ceilings),
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
    /// Read this, and say what it is: who has asked does not wait for long.
    Read(Reading),
    /// What the pool has of output that comes back.
    Had(Had),
    /// Write this, of a job that was submitted there, and say what is written.
    Deliver(Delivery),
}

/// The most bytes of a file that are asked for at once.
pub const MOST_PIECE: u64 = 256 << 10;

/// A piece of a job's output that somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which of the pool's questions this is.
    pub number: u64,
    /// The file.
    pub path: String,
    /// From which byte on.
    pub from: u64,
    /// Whose job it is: in a pool of many users, with whose rights it is read.
    pub user: String,
}

/// What is there of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// To which question.
    pub number: u64,
    /// The bytes, at most [`MOST_PIECE`], and none at the end of the file; nothing when there is no such file; or why it
    /// cannot be read.
    pub what: Result<Option<Vec<u8>>, String>,
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
