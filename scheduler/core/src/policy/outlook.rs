//! Outlook: what is expected of a waiting job when it comes, and for how long it may be overtaken.

use crate::time::Time;

/// What is expected of a job that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// How long it will run, ticks, from 1 to its estimate.
    pub predicted: i64,
    /// When it has waited past this, it goes before all of its rank that have not, in the order of submission.
    pub urgent: Time,
}

/// What is before a job when it comes, in the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The work of all that waits, by prediction: processors times ticks.
    pub work: i128,
    /// How many processors the machine has.
    pub processors: u32,
    /// How many ticks until the last that runs ends, by its estimate.
    pub drain: i64,
}

impl Outlook {
    /// That of a policy that predicts nothing: jobs run to their estimates, and none is urgent.
    pub fn by_estimate(estimate: i64) -> Outlook {
        Outlook { predicted: estimate.max(1), urgent: Time::NEVER }
    }

    /// That of a job that comes now. If nobody overtook it, it would wait until what runs has ended and what waits has
    /// run; it may wait half as much again. The bound has no unit of time in it, so it is as good for a site of minutes as
    /// for one of days; where the load is low it is short.
    pub fn new(predicted: i64, now: Time, ahead: Ahead) -> Outlook {
        let queued = ahead.work / i128::from(ahead.processors.max(1));
        let patience = (3 * (queued + i128::from(ahead.drain.max(0))) + 1) / 2;
        Outlook { predicted, urgent: now.after(i64::try_from(patience).unwrap_or(i64::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_half_as_long_again_as_all_that_is_ahead() {
        for (work, processors, drain, patience) in [
            (0, 8, 0, 0),
            (0, 8, 7, 11),
            (8 * 100, 8, 0, 150),
            (8 * 100 + 7, 8, 50, 225),
            (5, 0, 0, 8),
            (0, 1, -9, 0),
            (i128::from(u64::MAX), 1, 0, i64::MAX),
        ] {
            let outlook = Outlook::new(3, Time(0), Ahead { work, processors, drain });
            assert_eq!(
                outlook,
                Outlook { predicted: 3, urgent: Time(patience) },
                "{work} {processors} {drain}"
            );
        }
        let later = Outlook::new(3, Time(1000), Ahead { work: 0, processors: 1, drain: 10 });
        assert_eq!(later.urgent, Time(1015));
    }
}
