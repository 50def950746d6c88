//! A machine's clock: off by something, and running at a rate of its own.

use crate::random::Random;
use muster_core::time::Time;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: i64,
    ppm: i64,
}

impl Clock {
    /// A clock that is off by up to two hours, and whose rate is off by at most `ppm`.
    pub(crate) fn new(random: &mut Random, ppm: i64) -> Self {
        Clock { offset: random.between(0, 7_200_000), ppm: random.between(-ppm, ppm) }
    }

    /// What it shows at a true time.
    pub(crate) fn at(self, now: i64) -> Time {
        Time(self.offset + now + (now * self.ppm).div_euclid(1_000_000))
    }

    /// The true time, from `now` on, at which it first shows at least `time`.
    pub(crate) fn when(self, time: Time, now: i64) -> i64 {
        if self.at(now) >= time {
            return now;
        }
        let ahead = time.0.saturating_sub(self.at(now).0);
        let mut guess = now.saturating_add(ahead.saturating_mul(1_000_000) / (1_000_000 + self.ppm));
        while self.at(guess) < time {
            guess += 1;
        }
        guess
    }
}
