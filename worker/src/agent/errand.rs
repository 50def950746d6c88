//! What the agent and a shepherd's process say to each other.
//!
//! A process serves one slot: it holds at most one attempt that runs, those that follow it, and those that are over until
//! they are let go.

use super::devices::Device;
use super::hooks::Site;
use muster_core::cluster::HostId;
use muster_core::payload::BlobId;
use muster_core::protocol::line::{Remote, RemoteSaid};
use muster_core::protocol::message::{FromShepherd, Start, ToShepherd};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use serde::{Deserialize, Serialize};

/// An attempt to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    /// The order.
    pub(super) start: Start,
    /// When the lease ends.
    pub(super) lease: Time,
    /// What it runs.
    pub(super) blob: BlobId,
    /// The program of the user's own that has its kernel.
    pub(super) program: Option<BlobId>,
    /// What it runs, where the process has not just had it.
    pub(super) payload: Option<Vec<u8>>,
    /// The operating system's numbers of its CPUs; none where nothing can be bound.
    pub(super) cpus: Vec<u32>,
    /// Cards of this host that it was not given.
    pub(super) denied: Vec<Device>,
    /// This host's name.
    pub(super) host: String,
    /// What is set for all that runs here.
    pub(super) site: Site,
    /// What its shepherd was told before there was one, in order.
    pub(super) told: Vec<ToShepherd>,
}

/// What has to be on a host before something begins: what it runs, and the program of its kernel.
pub(super) type Wish = (BlobId, Option<BlobId>);

impl Errand {
    /// What it needs.
    pub(super) fn wish(&self) -> Wish {
        (self.blob, self.program)
    }
}

/// Agent to process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToProcess {
    /// Begin this, as soon as what came before is over.
    Begin(Box<Errand>),
    /// To the shepherd of an attempt.
    Tell(AttemptId, ToShepherd),
    /// The batch host of an attempt wants this to run here, and to know how it stands.
    Remote(Remote),
    /// There is nothing more to do: go, unless something runs.
    Dismiss,
}

/// Process to agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromProcess {
    /// I am here, and hold this; always first.
    Hello {
        /// What runs.
        running: Option<AttemptId>,
        /// What follows it, in order.
        line: Vec<AttemptId>,
    },
    /// The shepherd of an attempt speaks.
    Said(AttemptId, FromShepherd),
    /// The shepherd of an attempt has left.
    Left(AttemptId),
    /// How what the batch host of an attempt wanted stands.
    RemoteSaid(RemoteSaid),
    /// The foreman of an attempt shall use these hosts.
    Resize(AttemptId, Vec<HostId>),
    /// The output of an attempt is to be sent to where it was submitted.
    Unsent(AttemptId),
}
