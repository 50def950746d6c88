//! How long an agent may act without being heard from, and from when on it surely does not any more.
//!
//! Invariant: the holder counts from when it asked, the giver from when it answered, which is later; so with clocks that
//! differ in rate by no more than allowed, the giver's end comes after the holder's.

use crate::time::Time;
use serde::{Deserialize, Serialize};

/// The parameters of leases. All clocks count suspended time, and differ from true time by at most `clock_ppm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// How long a lease lasts on its holder's clock, in milliseconds.
    pub length_ms: i64,
    /// How often an agent reports, in milliseconds.
    pub report_ms: i64,
    /// After how much silence a host is taken to be in trouble, in milliseconds: it gets nothing new, and kernel steps
    /// are started elsewhere.
    pub suspect_ms: i64,
    /// How far a clock's rate may be off, in parts per million.
    pub clock_ppm: i64,
    /// How long a shepherd may take from its deadline until nothing runs any more, in milliseconds.
    pub kill_ms: i64,
    /// How long a member of a kernel step whose host is taken back is waited for, in milliseconds: its team may hand in
    /// what it has.
    pub drain_ms: i64,
    /// How long what was told that it has to end may take, in milliseconds, when its time is over or a user ends it:
    /// Slurm's `KillWait`.
    pub kill_wait_ms: i64,
}

impl Default for Lease {
    /// A minute; a report every ten seconds; clocks off by at most a thousandth, which is ten times what NTP allows.
    fn default() -> Self {
        Lease {
            length_ms: 60_000,
            report_ms: 10_000,
            suspect_ms: 25_000,
            clock_ppm: 1_000,
            kill_ms: 5_000,
            drain_ms: 10_000,
            kill_wait_ms: 30_000,
        }
    }
}

impl Lease {
    /// Leases of so many seconds, with reports and suspicion in proportion.
    pub fn of_seconds(seconds: u32) -> Lease {
        let whole = Lease::default();
        let share = |ms: i64| ms * i64::from(seconds) * 1000 / whole.length_ms;
        Lease {
            length_ms: share(whole.length_ms),
            report_ms: share(whole.report_ms),
            suspect_ms: share(whole.suspect_ms),
            ..whole
        }
    }

    /// When a lease that was asked for at `asked` ends, on the clock of the one who asked.
    pub fn end(&self, asked: Time) -> Time {
        asked.after(self.length_ms)
    }

    /// When a lease that was given at `given`, and all that ran by it, is surely over, on the clock of the giver.
    pub fn surely_over(&self, given: Time) -> Time {
        // The holder's clock may be slow and ours fast, each by `clock_ppm`.
        let (million, off) = (1_000_000_i64, self.clock_ppm);
        let longest = self.length_ms.saturating_add(self.kill_ms).saturating_mul(million + off);
        given.after(longest.div_euclid((million - off).max(1)) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shorter_lease_is_reported_and_suspected_sooner() {
        assert_eq!(Lease::of_seconds(60), Lease::default());
        let short = Lease::of_seconds(6);
        assert_eq!((short.length_ms, short.report_ms, short.suspect_ms), (6_000, 1_000, 2_500));
    }

    proptest! {
        /// With any two clocks within the bound, the giver's end is not before the holder's.
        #[test]
        fn the_givers_end_is_later(
            length_ms in 1i64..1_000_000, kill_ms in 0i64..10_000, clock_ppm in 0i64..100_000,
            holder in -1.0f64..=1.0, giver in -1.0f64..=1.0, trip_ms in 0i64..100_000,
        ) {
            let lease = Lease { length_ms, kill_ms, clock_ppm, ..Lease::default() };
            let rate = |share: f64| 1.0 + share * clock_ppm as f64 / 1e6;
            // True time 0: the holder asks, its clock shows 0 as the giver's does.
            let holder_ends = (length_ms + kill_ms) as f64 / rate(holder);
            let given = (trip_ms as f64 * rate(giver)).ceil() as i64;
            let giver_says = lease.surely_over(Time(given)).0 as f64 / rate(giver);
            prop_assert!(giver_says >= holder_ends, "{giver_says} {holder_ends}");
        }
    }
}
