//! Whether a record can follow those before it.

use super::Books;
use super::error::BooksError;
use super::event::{Event, Fact};
use crate::cluster::Host;
use crate::job::event::{JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::update::{Field, Update};
use crate::job::{Job, Submitted};
use crate::jobspec::Requeue;
use crate::time::Time;

impl Books {
    /// Whether a record can follow those before it.
    ///
    /// # Errors
    ///
    /// Why it cannot, and what to do.
    pub fn check(&self, fact: &Fact) -> Result<(), BooksError> {
        let at = fact.at;
        if let Some(last) = self.last.filter(|last| at < *last) {
            return Err(BooksError::TimeBack { at, last });
        }
        match &fact.event {
            Event::Submitted(id, request) => self.check_submitted(*id, at, request),
            Event::Job(id, event) => self.check_job(*id, at, event),
            Event::Run(run, event) => self.check_run(*run, at, event),
            Event::Purged(id) => {
                let job = self.jobs.get(id).ok_or(BooksError::NoJob(*id))?;
                if job.ended().is_none() {
                    return Err(BooksError::NotOver(*id));
                }
                let asked = self.index.dependents(*id).next();
                asked.map_or(Ok(()), |by| Err(BooksError::AskedFor { job: *id, by }))
            }
            Event::Host(host) => self.check_host(host),
            Event::Partition(_) | Event::Rules(_) => Ok(()),
            Event::PartitionGone(name) => {
                self.partitions.get(name).map(drop).ok_or_else(|| BooksError::NoPartition(name.clone()))
            }
            Event::Reservation(reservation) if reservation.to <= reservation.from => {
                Err(BooksError::EmptyReservation(reservation.name.clone()))
            }
            Event::Reservation(_) => Ok(()),
            Event::Accounting(accounting) => {
                let checked = accounting.check(|name| self.partitions.contains_key(name));
                checked.map(drop).map_err(BooksError::Accounting)
            }
            Event::AccountingGone => self.accounting.as_ref().map(drop).ok_or(BooksError::NoAccounting),
            Event::ReservationGone(name) => {
                self.reservations.get(name).map(drop).ok_or_else(|| BooksError::NoReservation(name.clone()))
            }
        }
    }

    fn check_host(&self, host: &Host) -> Result<(), BooksError> {
        let name = || host.name.clone();
        if let Some(known) = self.host(&host.name) {
            let same = Host { state: host.state.clone(), ..known.clone() } == *host;
            return if same { Ok(()) } else { Err(BooksError::OtherHost(name())) };
        }
        host.shape.check().map_err(|error| BooksError::Host { name: name(), error })
    }

    fn check_submitted(&self, id: JobId, at: Time, request: &Submitted) -> Result<(), BooksError> {
        if id < self.next_id() {
            return Err(BooksError::NumberUsed { id, next: self.next_id() });
        }
        let clauses = &request.spec.when.dependency.clauses;
        if clauses.iter().any(|clause| clause.job() == Some(id)) {
            return Err(BooksError::Circle(id));
        }
        let job = Job::new(id, at, request.clone(), self.rules.most_elements);
        job.map(drop).map_err(|error| BooksError::Job { job: id, error })
    }

    fn check_job(&self, id: JobId, at: Time, event: &JobEvent) -> Result<(), BooksError> {
        let job = self.jobs.get(&id).ok_or(BooksError::NoJob(id))?;
        job.check(at, event).map_err(|error| BooksError::Job { job: id, error })?;
        let JobEvent::Updated(update) = event else { return Ok(()) };
        let Update { fields } = update.as_ref();
        let dependency = fields.iter().rev().find_map(|field| match field {
            Field::Dependency(dependency) => Some(dependency),
            _ => None,
        });
        let name = fields.iter().rev().find_map(|field| match field {
            Field::Name(name) => Some(&name[..]),
            _ => None,
        });
        if dependency.is_none() && name.is_none() {
            return Ok(());
        }
        self.circle(id, dependency, name).map_or(Ok(()), |id| Err(BooksError::Circle(id)))
    }

    fn check_run(&self, run: RunId, at: Time, event: &RunEvent) -> Result<(), BooksError> {
        let job = self.jobs.get(&run.job).ok_or(BooksError::NoJob(run.job))?;
        job.check_run(at, run.element, event).map_err(|error| BooksError::Run { run, error })?;
        let again = matches!(event, RunEvent::Requeued { outcome, .. } if *outcome != Outcome::NotStarted);
        if again && job.spec().queue.requeue == Requeue::Never {
            return Err(BooksError::MayNotRunAgain(run.job));
        }
        Ok(())
    }
}
