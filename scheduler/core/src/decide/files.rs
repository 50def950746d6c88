//! Input files of kernels: which hosts have them, as whoever has them probed says.
//!
//! Invariant: a job that reads files is asked for nowhere before it is known where they are, and then only there.

use super::reason::Reason;
use super::{Scheduler, asks};
use crate::cluster::{Request, ReservationId};
use crate::job::Job;
use crate::job::id::JobId;
use crate::job::inputs::Lack;
use crate::jobspec::Work;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a job's input files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// These hosts are asked, and have not told; none when no host is heard that could be.
    Asked(Vec<String>),
    /// No host has them: each that was asked, and why.
    Nowhere(Vec<(String, Lack)>),
    /// Hosts have them, but not these, of which some could not be asked.
    There(Vec<(String, Option<Lack>)>),
}

/// What is known of all jobs' files.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    known: BTreeMap<JobId, Inputs>,
    /// Jobs of which something else is known than when they were last looked at.
    changed: BTreeSet<JobId>,
}

impl Files {
    /// Jobs to be looked at again.
    pub(super) fn take_changed(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.changed)
    }
}

impl Scheduler {
    /// Says what is known of a job's input files; nothing when it is over.
    pub fn set_inputs(&mut self, job: JobId, inputs: Option<Inputs>) {
        if self.files.known.get(&job) == inputs.as_ref() {
            return;
        }
        self.files.changed.insert(job);
        match inputs {
            Some(inputs) => drop(self.files.known.insert(job, inputs)),
            None => drop(self.files.known.remove(&job)),
        }
    }

    /// The request of a job, on hosts that have its files.
    ///
    /// # Errors
    ///
    /// Everything that makes it none.
    pub(super) fn request(
        &self,
        job: &Job,
        partition: &str,
        reservation: Option<ReservationId>,
    ) -> Result<Request, Vec<asks::AskError>> {
        let mut request = asks::request(job.spec(), partition, reservation)?;
        if let Some(Inputs::There(without)) = self.files.known.get(&job.id()) {
            request.only.exclude.extend(without.iter().map(|(name, _)| name.clone()));
        }
        Ok(request)
    }

    /// Why a job cannot start before its files are found.
    pub(super) fn missing_inputs(&self, job: &Job) -> Option<Reason> {
        if job.spec().work != Work::KernelOnFiles {
            return None;
        }
        match self.files.known.get(&job.id()) {
            None => Some(Reason::Probing(Vec::new())),
            Some(Inputs::Asked(hosts)) => Some(Reason::Probing(hosts.clone())),
            Some(Inputs::Nowhere(lacks)) => Some(Reason::NoInputs(lacks.clone())),
            Some(Inputs::There(_)) => None,
        }
    }

    /// The hosts that are left out for a job because they do not have its files.
    pub(super) fn left_out(&self, job: &Job) -> Option<Reason> {
        match self.files.known.get(&job.id()) {
            Some(Inputs::There(without)) if !without.is_empty() => Some(Reason::LeftOut(without.clone())),
            _ => None,
        }
    }
}
