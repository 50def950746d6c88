//! Records of the journal: all that can happen to the books.
//!
//! A record is written before anybody is told of it, and the books are what all records together say.

use super::accounting::Accounting;
use super::partition::Partition;
use super::reservation::Reservation;
use super::rules::Rules;
use crate::cluster::Host;
use crate::job::Submitted;
use crate::job::event::{JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// When: not before the record that was written before it.
    pub at: Time,
    /// What.
    pub event: Event,
}

/// What can happen to the books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A job was submitted, under a number that is higher than all before.
    Submitted(JobId, Submitted),
    /// Something happened to a job, or to elements of it, mostly while they wait.
    Job(JobId, JobEvent),
    /// Something happened to an attempt.
    Run(RunId, RunEvent),
    /// A job that is over is forgotten.
    Purged(JobId),
    /// A partition is as this says from now on.
    Partition(Partition),
    /// There is no such partition any more.
    PartitionGone(String),
    /// A reservation is as this says from now on.
    Reservation(Reservation),
    /// There is no such reservation any more.
    ReservationGone(String),
    /// A new host, or one that is in another state. Hosts are numbered in the order in which they were new.
    Host(Box<Host>),
    /// The site's rules are as this says from now on.
    Rules(Rules),
    /// The site has these accounts from now on: what was used before counts on by their names.
    Accounting(Box<Accounting>),
    /// The site has no accounts any more, and what was used is forgotten.
    AccountingGone,
}
