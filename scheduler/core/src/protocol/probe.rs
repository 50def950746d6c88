//! Probes: hosts are asked for the grid of a job's input files, and whether they have them.
//!
//! Part of step 5 of a job's way (DESIGN section 4). Each host that the job may have is asked, for each must have the
//! files; the first that has them says what they are, and who has others lacks them. Invariants: what a host said is the
//! fold of the journal; it holds for one look, and a job is looked at anew whenever somebody changes it, so that an answer
//! to an earlier question is known by the number of its look.

use super::guard::Guard;
use crate::cluster::HostId;
use crate::job::id::JobId;
use crate::job::inputs::{Found, Lack};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a host is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeId {
    /// About which job.
    pub job: JobId,
    /// In which look at its files.
    pub look: u32,
}

/// What it says.
pub type Finding = Result<Found, Lack>;

/// A job that is to be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub job: JobId,
    /// The hosts that it may have.
    pub hosts: Vec<HostId>,
    /// What to look for, encoded for whoever does.
    pub what: Vec<u8>,
}

/// What is known of a job's input files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    look: u32,
    found: Option<Found>,
    hosts: BTreeMap<HostId, Result<(), Lack>>,
}

impl Probe {
    /// Which look this is of.
    pub fn look(&self) -> u32 {
        self.look
    }

    /// What the files are, once a host has told.
    pub fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// Whether a host has them; none while it has not told.
    pub fn said(&self, host: HostId) -> Option<Result<(), &Lack>> {
        if !Guard::InputsThere.stands() && self.found.is_some() {
            return Some(Ok(()));
        }
        self.hosts.get(&host).map(|said| said.as_ref().map(drop))
    }

    /// Whether a host has told.
    pub(super) fn has_told(&self, host: HostId) -> bool {
        self.hosts.contains_key(&host)
    }

    /// A host tells.
    pub(super) fn note(&mut self, host: HostId, finding: &Finding) {
        let said = match (finding, &self.found) {
            (Err(lack), _) => Err(lack.clone()),
            (Ok(found), None) => {
                self.found = Some(found.clone());
                Ok(())
            }
            (Ok(found), Some(first)) if found == first => Ok(()),
            (Ok(_), Some(_)) => Err(Lack::Differs),
        };
        self.hosts.insert(host, said);
    }

    /// Forgets what was said: the job, or its files, may have changed.
    pub(super) fn look_again(&mut self) {
        *self = Probe { look: self.look + 1, ..Probe::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_has_the_files_says_what_they_are() {
        let found = |blocks| Found {
            spec: [1; 16],
            class: "exact".into(),
            blocks,
            files: 1,
            bytes: 9,
            print: [blocks as u8; 16],
        };
        let mut probe = Probe::default();
        let missing = Lack::Missing("a.csv".into());
        probe.note(HostId(0), &Err(missing.clone()));
        assert_eq!((probe.found(), probe.said(HostId(1))), (None, None));
        for (host, blocks) in [(1, 5), (2, 6), (3, 5)] {
            probe.note(HostId(host), &Ok(found(blocks)));
        }
        assert_eq!(probe.found(), Some(&found(5)));
        let said = [Err(&missing), Ok(()), Err(&Lack::Differs), Ok(())];
        assert!((0..4).zip(said).all(|(host, said)| probe.said(HostId(host)) == Some(said)));
        probe.look_again();
        assert_eq!((probe.look(), probe.found(), probe.said(HostId(1))), (1, None, None));
    }
}
