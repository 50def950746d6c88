//! What a host keeps of the pool that it has joined: `STATE/join.json`, its owner's alone.
//!
//! Invariant: a credential is on disk before the pool hears of it, so that no crash leaves a name bound to a credential
//! that nobody has.

use crate::pool::kept;
use muster_core::protocol::lease::Lease;
use muster_scheduler::network::client::Place;
use muster_scheduler::network::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A host's place in a pool.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) credential: Secret,
    pub(super) labels: BTreeSet<String>,
    /// What the pool said last of how long an agent may act unheard; nothing before it has taken the host.
    pub(super) rules: Option<Lease>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    place: String,
    name: String,
    credential: String,
    labels: BTreeSet<String>,
    rules: Option<Lease>,
}

fn file(state: &Path) -> PathBuf {
    state.join("join.json")
}

impl Membership {
    /// What is kept in a state directory.
    pub(super) fn read(state: &Path) -> Result<Option<Membership>, String> {
        kept::read(&file(state), "join again", |kept: Kept| {
            Some(Membership {
                place: kept.place.parse().ok()?,
                name: kept.name,
                credential: Secret::read(&kept.credential)?,
                labels: kept.labels,
                rules: kept.rules,
            })
        })
    }

    /// Keeps it.
    pub(super) fn keep(&self, state: &Path) -> Result<(), String> {
        let kept = Kept {
            version: 1,
            place: self.place.to_string(),
            name: self.name.clone(),
            credential: self.credential.text().to_owned(),
            labels: self.labels.clone(),
            rules: self.rules,
        };
        kept::keep(&file(state), &kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Membership::read(folder.path()).unwrap().is_none());
        let place = format!("a:1#{}", "a".repeat(32)).parse().unwrap();
        let credential = Secret::make().unwrap();
        let labels: BTreeSet<String> = ["a=b".to_owned()].into();
        let rules = Some(Lease::default());
        let one = Membership { place, name: "b".into(), credential, labels, rules };
        one.keep(folder.path()).unwrap();
        let found = Membership::read(folder.path()).unwrap().unwrap();
        assert_eq!((&found.place, &found.name, found.rules), (&one.place, &one.name, one.rules));
        assert_eq!((found.credential, found.labels), (one.credential, one.labels));
        std::fs::write(file(folder.path()), "{}").unwrap();
        assert!(Membership::read(folder.path()).unwrap_err().contains("remove it"));
    }
}
