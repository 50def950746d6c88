//! Limits that an account, a user of an account, or a QOS may carry.
//!
//! They are of three scopes. *In total* binds everything that is charged at or below the level (Slurm's Grp limits); *per
//! user* binds what one user has there, and *per job* each job (Slurm's Max limits).

use crate::share::resource::AmountLimits;
use serde::{Deserialize, Serialize};

/// The limits of one level. An absent one does not bind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// On everything here together.
    pub total: TotalLimits,
    /// On what one user has here.
    pub per_user: HeldLimits,
    /// On each job.
    pub per_job: JobLimits,
}

impl Limits {
    /// The limits, when there are any.
    pub fn binding(&self) -> Option<Limits> {
        (*self != Limits::default()).then(|| self.clone())
    }
}

/// Limits on what is held at one time, and on what has been used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TotalLimits {
    /// Jobs that run.
    pub jobs: Option<u64>,
    /// Jobs that wait or run.
    pub submitted: Option<u64>,
    /// What running jobs hold.
    pub amounts: AmountLimits,
    /// Amount times minutes that past and running jobs have used, as decayed by now.
    pub minutes: AmountLimits,
    /// Amount times minutes that running jobs may yet use by their time limits.
    pub run_minutes: AmountLimits,
    /// Minutes that past and running jobs have run, as decayed by now.
    pub wall_minutes: Option<u64>,
}

/// Limits on what is held at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldLimits {
    /// Jobs that run.
    pub jobs: Option<u64>,
    /// Jobs that wait or run.
    pub submitted: Option<u64>,
    /// What running jobs hold.
    pub amounts: AmountLimits,
}

/// Limits on each job by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobLimits {
    /// What it holds.
    pub amounts: AmountLimits,
    /// Amount times minutes of its time limit.
    pub minutes: AmountLimits,
    /// Its time limit, in seconds.
    pub wall_s: Option<u64>,
}
