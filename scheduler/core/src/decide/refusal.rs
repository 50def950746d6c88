//! What is refused when it is submitted: what could not start if everybody else were gone.
//!
//! As Slurm takes them, jobs that ask for more than a partition gives are taken, and wait for the limit to be changed.

use super::reason::Reason;
use super::{Scheduler, asks};
use crate::books::Books;
use crate::books::partition::Partition;
use crate::cluster::Hosts;
use crate::job::id::JobId;
use crate::job::{Job, JobError, Submitted};
use crate::time::Time;

/// Why a job is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it as an array.
    pub array: Option<JobError>,
    /// What is in its way for good.
    pub reasons: Vec<Reason>,
}

impl Scheduler {
    /// Whether a job may be submitted now.
    ///
    /// # Errors
    ///
    /// All that speaks against it.
    pub fn admit(
        &self,
        books: &Books,
        hosts: &mut Hosts,
        request: &Submitted,
        now: Time,
    ) -> Result<(), Refusal> {
        let most = books.rules().most_elements;
        // Its number does not matter to what it asks for.
        let job = match Job::new(JobId(u32::MAX), now, request.clone(), most) {
            Ok(job) => job,
            Err(error) => return Err(Refusal { array: Some(error), reasons: Vec::new() }),
        };
        let mut reasons = Vec::new();
        match books.partitions_of(job.spec()) {
            Err(none) => reasons.extend(none),
            Ok(partitions) => {
                let of_each: Vec<Vec<Reason>> =
                    partitions.iter().map(|p| self.refused_by(hosts, &job, p)).collect();
                // One partition that takes it is enough.
                if of_each.iter().all(|of| !of.is_empty()) {
                    reasons.extend(of_each.into_iter().flatten());
                }
            }
        }
        if let Some(name) = &job.spec().queue.reservation {
            match books.reservation(name) {
                None => reasons.push(Reason::NoReservation(name.clone())),
                Some(one) if !one.lets(&job.owner().user, job.spec().queue.account.as_deref()) => {
                    reasons.push(Reason::ReservationDenied(name.clone()));
                }
                Some(_) => {}
            }
        }
        reasons.extend(self.dues.as_ref().map_or(Vec::new(), |dues| dues.refuses(books, &job, now)));
        reasons.dedup();
        if reasons.is_empty() { Ok(()) } else { Err(Refusal { array: None, reasons }) }
    }

    fn refused_by(&self, hosts: &mut Hosts, job: &Job, partition: &Partition) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !partition.state.takes() {
            reasons.push(Reason::Partition { name: partition.name.clone(), state: partition.state });
        }
        match asks::request(job.spec(), &partition.name, None) {
            Err(errors) => reasons.extend(errors.into_iter().map(Reason::Ask)),
            Ok(request) => {
                let misfits = hosts.intern(&request).err().unwrap_or_default();
                reasons.extend(misfits.into_iter().map(Reason::Misfit));
            }
        }
        reasons
    }
}
