//! Members: the hosts that have joined, or the clients that have logged in, each with the hash of its credential, in a file
//! of its own under `STATE/network/hosts` or `STATE/network/clients`.
//!
//! Invariants: a name has one credential, and a credential one name; what [`Members::bind`] has taken is on disk; a
//! credential that was revoked is nobody's.

use super::private;
use super::secret::SecretHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The longest name, in bytes.
const MOST_NAME: usize = 63;

/// What members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hosts of the pool.
    Host,
    /// Machines from where commands are given.
    Client,
}

/// The members of one kind.
#[derive(Debug)]
pub struct Members {
    kind: Kind,
    folder: PathBuf,
    names: BTreeMap<String, SecretHash>,
}

/// What is kept of one.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    credential: SecretHash,
}

/// Why a name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// It is none.
    #[error(
        "`{0}` is no name for a {1}: it has letters, digits, `.`, `-` and `_`, and begins with one of the first two; --name NAME gives another"
    )]
    NotAName(String, Kind),
    /// Another member has it.
    #[error(
        "the pool has a {1} {0} already, with another credential: give another name with --name NAME, or, if \
         that {1} is no more, `muster {1}s --revoke {0}` on the pool's host frees its name"
    )]
    Taken(String, Kind),
    /// It cannot be kept.
    #[error("a credential cannot be kept in {path}: {error}", path = path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Host => "host",
            Kind::Client => "client",
        })
    }
}

impl Members {
    /// The members of a pool, read from the folder where they are kept.
    ///
    /// # Errors
    /// When a file of it cannot be read, or is not one of ours.
    pub fn open(folder: &Path, kind: Kind) -> Result<Members, MemberError> {
        let disk = |path: &Path, error| MemberError::Disk { path: path.to_owned(), error };
        let mut names = BTreeMap::new();
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(|error| disk(folder, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(disk(folder, error)),
        };
        for entry in entries {
            let path = entry.path();
            // One that was half written when the power went: nobody was told that it is a member.
            let Some(name) =
                path.file_name().and_then(|name| name.to_str()).and_then(|n| n.strip_suffix(".json"))
            else {
                continue;
            };
            let bytes = std::fs::read(&path).map_err(|error| disk(&path, error))?;
            let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| disk(&path, error.into()))?;
            names.insert(name.to_owned(), kept.credential);
        }
        Ok(Members { kind, folder: folder.to_owned(), names })
    }

    /// Whose credential this is.
    pub fn who(&self, credential: &SecretHash) -> Option<&str> {
        self.names.iter().find(|(_, hash)| *hash == credential).map(|(name, _)| name.as_str())
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Gives a name to a credential, durably.
    ///
    /// # Errors
    /// When the name is none or another's, or the disk does not take it.
    pub fn bind(&mut self, name: &str, credential: SecretHash) -> Result<(), MemberError> {
        if !is_name(name) {
            return Err(MemberError::NotAName(name.to_owned(), self.kind));
        }
        match self.names.get(name) {
            Some(hash) if *hash == credential => return Ok(()),
            Some(_) => return Err(MemberError::Taken(name.to_owned(), self.kind)),
            None => {}
        }
        let path = self.path(name);
        let bytes = serde_json::to_vec(&Kept { version: 1, credential }).expect("a hash encodes");
        private::keep(&path, &bytes).map_err(|error| MemberError::Disk { path, error })?;
        self.names.insert(name.to_owned(), credential);
        Ok(())
    }

    /// Takes the credential of one back, durably; whether it had one.
    ///
    /// # Errors
    /// When the disk does not take it: the credential stays good.
    pub fn revoke(&mut self, name: &str) -> Result<bool, MemberError> {
        if !self.has(name) {
            return Ok(false);
        }
        let path = self.path(name);
        private::remove(&path).map_err(|error| MemberError::Disk { path, error })?;
        Ok(self.names.remove(name).is_some())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

/// Whether one may be called so: such a name is a file's, too.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let first = name.as_bytes().first();
    first.is_some_and(u8::is_ascii_alphanumeric) && name.len() <= MOST_NAME && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::secret::Secret;

    #[test]
    fn a_name_is_one_hosts_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Secret::make().unwrap().hash(), Secret::make().unwrap().hash());
        let mut members = Members::open(&folder.path().join("hosts"), Kind::Host).unwrap();
        members.bind("x", a).unwrap();
        members.bind("x", a).unwrap();
        assert!(matches!(members.bind("x", b), Err(MemberError::Taken(name, Kind::Host)) if name == "x"));
        let mut members = Members::open(&folder.path().join("hosts"), Kind::Host).unwrap();
        assert_eq!((members.who(&a), members.who(&b)), (Some("x"), None));
        assert!(members.revoke("x").unwrap() && !members.revoke("x").unwrap());
        assert_eq!(members.who(&a), None);
        assert!(!Members::open(&folder.path().join("hosts"), Kind::Host).unwrap().has("x"));
        members.bind("x", b).unwrap();
    }

    #[test]
    fn a_name_is_a_files_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = Members::open(folder.path(), Kind::Client).unwrap();
        let hash = Secret::make().unwrap().hash();
        for wrong in ["", ".", "..", "../x", "a/b", "-x", "a b", &"x".repeat(64)] {
            assert!(
                matches!(members.bind(wrong, hash), Err(MemberError::NotAName(_, Kind::Client))),
                "{wrong}"
            );
        }
    }
}
