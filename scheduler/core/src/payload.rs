//! What a job runs, and with what around it. It is kept apart from the journal, as a private blob that is named by the
//! hash of its bytes: the journal holds no script and no secret of anybody's environment.

use crate::folder::FolderId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a blob: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    /// The program.
    pub program: Program,
    /// The environment that it was submitted from: names and values.
    pub environment: Vec<(String, String)>,
    /// The directory that it was submitted from, absolute.
    pub submit_dir: String,
    /// Which directory that is, where it is known: a host on which it is another sends the output back.
    #[serde(default)]
    pub folder: Option<FolderId>,
    /// The name of the host that it was submitted from.
    pub submit_host: String,
    /// The client that it came from, when it came over the network: then no host of the pool is the one above, whatever it
    /// is called. The pool says so, not the client.
    #[serde(default)]
    pub client: Option<String>,
    /// The submitter's file mode creation mask.
    pub umask: u32,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Program {
    /// A script that is carried along, and its arguments. It begins with `#!`.
    Script {
        /// Its text.
        text: String,
        /// Its arguments.
        args: Vec<String>,
    },
    /// A command with its arguments, started without a shell: the first word is a path, or looked for in `PATH`.
    Command(Vec<String>),
    /// `muster kernel` with these words: a kernel's name and its parameters.
    Kernel(Vec<String>),
}

impl Payload {
    /// Whether it was submitted on a host of the pool that is called so.
    pub fn is_from(&self, host: &str) -> bool {
        self.client.is_none() && self.submit_host == host
    }
}

impl Serialize for BlobId {
    /// For people its name, and for daemons its bytes.
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for BlobId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<BlobId, D::Error> {
        if from.is_human_readable() {
            return String::deserialize(from)?.parse().map_err(serde::de::Error::custom);
        }
        <[u8; 32]>::deserialize(from).map(BlobId)
    }
}

impl JsonSchema for BlobId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BlobId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

impl fmt::Display for BlobId {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl std::str::FromStr for BlobId {
    type Err = NotABlobId;

    fn from_str(text: &str) -> Result<BlobId, NotABlobId> {
        let digits = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = digits(at).ok_or(NotABlobId)?;
        }
        let id = BlobId(bytes);
        // Capitals and signs would give one blob several names.
        if id.to_string() == text { Ok(id) } else { Err(NotABlobId) }
    }
}

/// A text that names no blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob is named by 64 hexadecimal digits")]
pub struct NotABlobId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_one_name() {
        let id = BlobId(std::array::from_fn(|at| at as u8 * 7));
        let name = id.to_string();
        assert_eq!((name.len(), name.parse()), (64, Ok(id)));
        for other in ["", &name[1..], &name.to_uppercase(), &format!("{name}0"), &name.replace("07", "+7")] {
            assert_eq!(other.parse::<BlobId>(), Err(NotABlobId), "{other}");
        }
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!((json.trim_matches('"'), serde_json::from_str(&json).unwrap()), (&*name, id));
        let bytes = postcard::to_stdvec(&id).unwrap();
        assert_eq!((bytes.len(), postcard::from_bytes(&bytes)), (32, Ok(id)));
    }
}
