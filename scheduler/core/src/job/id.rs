//! The numbers that jobs, elements and attempts go by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A job's number, from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct JobId(pub u32);

/// One thing that is placed on hosts: a job, or one element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// The job, or the array.
    pub job: JobId,
    /// The element's index, for an array.
    pub element: Option<u32>,
}

/// Which try of a job, from 1. Every order and every commit carries it; a higher one makes all lower ones stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RunId {
    /// `12`, or `12_3` for an element.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.element {
            Some(element) => write!(f, "{}_{element}", self.job),
            None => self.job.fmt(f),
        }
    }
}
