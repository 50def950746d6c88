//! A controller whose clock is behind the records of the one before: its time goes half as fast until the clock is there.
//!
//! Invariant: the time of the desk and of the records is never before that of the last record, and never stands still: what
//! waits for two minutes waits for four at most, though the clock be hours behind.

use crate::time::Time;

/// By how much a clock is behind, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// When the controller began, by its clock.
    began: Time,
    /// The time of the last record then.
    last: Time,
}

impl Lag {
    /// Of a clock that is nowhere behind.
    pub(super) const NONE: Lag = Lag { began: Time(i64::MIN), last: Time(i64::MIN) };

    /// Of a controller that begins now, after a last record.
    pub(super) fn new(now: Time, last: Time) -> Lag {
        if last > now { Lag { began: now, last } } else { Lag::NONE }
    }

    /// What time it is when the clock shows `now`.
    pub(super) fn at(self, now: Time) -> Time {
        let slow = self.last.0.saturating_add(now.0.saturating_sub(self.began.0).max(0) / 2);
        if self.last == Time(i64::MIN) { now } else { now.max(Time(slow)) }
    }

    /// What the clock shows when it is `time`.
    pub(super) fn when(self, time: Time) -> Time {
        let slow = self.began.0.saturating_add(time.0.saturating_sub(self.last.0).saturating_mul(2));
        if self.last == Time(i64::MIN) { time } else { time.min(Time(slow)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_while_a_clock_catches_up() {
        let lag = Lag::new(Time(100), Time(300));
        for (now, time) in [(100, 300), (200, 350), (499, 499), (500, 500), (600, 600)] {
            assert_eq!(lag.at(Time(now)), Time(time));
            assert!(lag.at(lag.when(Time(time))) >= Time(time) && lag.when(Time(time)) <= Time(now));
        }
        assert_eq!(lag.when(Time(310)), Time(120));
        assert_eq!(lag.at(Time(50)), Time(300), "a clock that is set back");
        for none in [Lag::new(Time(300), Time(100)), Lag::NONE] {
            assert_eq!((none.at(Time(7)), none.when(Time(7))), (Time(7), Time(7)));
        }
    }
}
