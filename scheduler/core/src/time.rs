//! Points in time, as numbers: nothing in this package reads a clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};

/// A point in time, in ticks since an origin of the caller's. The controller counts milliseconds since 1970, a workload
/// trace seconds since its first job; the policy compares and subtracts, and never asks which.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Time(pub i64);

impl Time {
    /// Later than everything.
    pub const NEVER: Time = Time(i64::MAX);

    /// So many ticks later, at most [`Time::NEVER`].
    pub fn after(self, ticks: i64) -> Time {
        Time(self.0.saturating_add(ticks))
    }
}

impl Add<i64> for Time {
    type Output = Time;

    fn add(self, ticks: i64) -> Time {
        Time(self.0 + ticks)
    }
}

impl Sub for Time {
    type Output = i64;

    /// Ticks from `earlier` to this.
    fn sub(self, earlier: Time) -> i64 {
        self.0 - earlier.0
    }
}
