//! Why a record cannot follow those before it.

use super::accounting::AccountingErrors;
use crate::cluster::ShapeError;
use crate::job::JobError;
use crate::job::id::{JobId, RunId};
use crate::time::Time;
use thiserror::Error;

/// Why a record cannot follow those before it. To a request, this is its answer; in a journal, it means that records are
/// missing, doubled or out of order.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BooksError {
    /// There is no such job.
    #[error("there is no job {0}: it never was, or it ended and is forgotten; `sacct -j {0}` still knows it")]
    NoJob(JobId),
    /// The number was used.
    #[error("job {id} cannot be new: numbers below {next} were used; the record is doubled or out of order")]
    NumberUsed {
        /// The number.
        id: JobId,
        /// The lowest that was not.
        next: JobId,
    },
    /// It cannot happen to this job.
    #[error("job {job}: {error}")]
    Job {
        /// Which.
        job: JobId,
        /// Why.
        error: JobError,
    },
    /// It cannot happen to this run.
    #[error("job {run}: {error}")]
    Run {
        /// Which.
        run: RunId,
        /// Why.
        error: JobError,
    },
    /// It is older than the record before it.
    #[error("a record of time {} after one of time {}: the journal is out of order", at.0, last.0)]
    TimeBack {
        /// Its time.
        at: Time,
        /// That of the record before.
        last: Time,
    },
    /// A job that is not over would be forgotten.
    #[error("job {0} is not over, and cannot be forgotten")]
    NotOver(JobId),
    /// A job is still asked for.
    #[error("job {job} cannot be forgotten: job {by} still asks how its elements ended")]
    AskedFor {
        /// Which.
        job: JobId,
        /// By whom.
        by: JobId,
    },
    /// A job must not run twice.
    #[error("job {0} was submitted with --no-requeue: submit it again")]
    MayNotRunAgain(JobId),
    /// A job would wait for itself.
    #[error("job {0} would wait for itself, directly or through others: ask for another dependency")]
    Circle(JobId),
    /// There is no such partition.
    #[error("there is no partition {0:?}: `sinfo` lists them")]
    NoPartition(String),
    /// There is no such reservation.
    #[error("there is no reservation {0:?}: `scontrol show reservation` lists them")]
    NoReservation(String),
    /// A host cannot be counted.
    #[error("host {name}: {error}")]
    Host {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: ShapeError,
    },
    /// A host of that name is another one.
    #[error("host {0} has another shape, other features or labels than before: give it a new name")]
    OtherHost(String),
    /// A reservation that ends before it begins.
    #[error("reservation {0:?} ends before it begins")]
    EmptyReservation(String),
    /// Accounts with something wrong.
    #[error(transparent)]
    Accounting(AccountingErrors),
    /// There are no accounts to be taken away.
    #[error("the site has no accounts: there is nothing to take away")]
    NoAccounting,
}
