//! What a host and the network door say to each other, besides the messages of the protocol.

use super::secret::SecretHash;
use muster_core::cluster::Shape;
use muster_core::protocol::lease::Lease;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where a token is handed in.
pub const JOIN: &str = "/v1/join";
/// Where a token for a client is handed in.
pub const LOGIN: &str = "/v1/login";
/// Where an agent says what its host is; what is below it is for agents alone, too.
pub const AGENT: &str = "/v1/agent";
/// The agent's WebSocket.
pub const LINE: &str = "/v1/agent/line";
/// What jobs run, by hash.
pub const BLOBS: &str = "/v1/agent/blobs";

/// The header with the version of messages that a host speaks.
pub const FORMAT: &str = "muster-format";

/// The largest message, in bytes: one that is larger is not sent, and whoever sends one is cut off.
pub const MOST_MESSAGE: usize = 16 << 20;

/// The slowest line over which a program or a script comes whole, in bytes a second.
const SLOWEST: u64 = 256 << 10;

/// How long a request or an answer of so many bytes may take.
pub fn patience(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / SLOWEST)
}

/// A host wants to join, or a client to log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joining {
    /// What an operator gave.
    pub token: String,
    /// What it is to be called.
    pub name: String,
    /// Of what will be its credential.
    pub credential: SecretHash,
}

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What it has.
    pub shape: Shape,
    /// Where it is and what data it may see, as `key=value`.
    pub labels: BTreeSet<String>,
}

/// What an agent is told first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// Its host's name in the pool.
    pub host: String,
    /// How long it may act unheard.
    pub rules: Lease,
}

/// What is asked for with a token.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// To log in as a client, and not to join as a host.
    #[serde(default)]
    pub login: bool,
}

/// What an operator gives to a host that is to join, or a client that is to log in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Invitation {
    /// `HOST:PORT#FINGERPRINT`.
    pub place: String,
    /// Good once.
    pub token: String,
}
