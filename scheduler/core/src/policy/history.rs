//! History: which share of their estimates jobs really ran, and how long the next will run by it.
//!
//! Estimates are limits at which jobs are killed: most jobs run for a small part of them, and how small it is, is a habit
//! of the user. So a user's last jobs predict the next (Tsafrir, Etsion, Feitelson 2007), and the limit stays the user's.
//!
//! Invariants: integers only, so the same jobs give the same predictions on every host and after a reload; a prediction is
//! at least one tick and at most the estimate.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A share of 1 as an integer.
const WHOLE: u64 = 1 << 16;

/// So many of a user's last jobs count. Any number from 4 to 32 gives much the same schedules.
const RECENT: usize = 8;

/// When the site has so many jobs in its mean, each of them counts half from then on: the last one to two thousand say
/// what the site is like.
const SITE: u64 = 2048;

/// What has been learnt of jobs that ended, by whatever tells users apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History<U: Ord> {
    users: BTreeMap<U, Recent>,
    site_sum: u64,
    site_count: u64,
}

/// The shares of a user's last jobs, the oldest of which is overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Recent {
    shares: [u32; RECENT],
    filled: usize,
    next: usize,
}

impl<U: Ord> Default for History<U> {
    fn default() -> Self {
        History { users: BTreeMap::new(), site_sum: 0, site_count: 0 }
    }
}

impl<U: Ord> History<U> {
    /// A job of `user` ended after `ran` of the `estimate` ticks that it was given, whatever its outcome.
    pub fn record(&mut self, user: Option<U>, ran: i64, estimate: i64) {
        let share = share(ran, estimate);
        self.site_sum += u64::from(share);
        self.site_count += 1;
        if self.site_count == SITE {
            self.site_sum /= 2;
            self.site_count /= 2;
        }
        if let Some(user) = user {
            let recent = self.users.entry(user).or_default();
            recent.shares[recent.next] = share;
            recent.next = (recent.next + 1) % RECENT;
            recent.filled = (recent.filled + 1).min(RECENT);
        }
    }

    /// How long a job of `user` will run that may run `estimate` ticks: this times the mean share of the user's last
    /// jobs, in which the site's mean counts as one job more. So a new user is an average one, and a habit shows after a
    /// few jobs. An untouched site counts as one job that ran to its limit.
    pub fn predict(&self, user: Option<&U>, estimate: i64) -> i64 {
        let site = (self.site_sum + WHOLE) / (self.site_count + 1);
        let (sum, count) = user.and_then(|user| self.users.get(user)).map_or((0, 0), Recent::total);
        let estimate = i128::from(estimate.max(1));
        let whole = i128::from(WHOLE * (count + 1));
        let predicted = (estimate * i128::from(sum + site) + whole - 1) / whole;
        i64::try_from(predicted.clamp(1, estimate)).expect("at most the estimate")
    }
}

impl Recent {
    /// The sum of the shares, and how many there are.
    fn total(&self) -> (u64, u64) {
        (self.shares[..self.filled].iter().map(|share| u64::from(*share)).sum(), self.filled as u64)
    }
}

/// `ran / estimate` in parts of [`WHOLE`], at least one of them.
fn share(ran: i64, estimate: i64) -> u32 {
    let share = i128::from(ran.max(0)) * i128::from(WHOLE) / i128::from(estimate.max(1));
    u32::try_from(share.clamp(1, i128::from(WHOLE))).expect("at most the whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANN: Option<u64> = Some(1);
    const BEN: Option<u64> = Some(2);

    #[test]
    fn nobody_has_a_past_at_first() {
        let history = History::default();
        assert_eq!(
            (history.predict(ANN.as_ref(), 3600), history.predict(None, 1), history.predict(None, 0)),
            (3600, 1, 1)
        );
    }

    #[test]
    fn a_user_is_like_the_site_until_jobs_of_the_user_ended() {
        let mut history = History::default();
        // With the one job that every site begins with, the mean is (1 + 3 x 0.5) / 4 = 0.625.
        (0..3).for_each(|_| history.record(ANN, 50, 100));
        assert_eq!((history.predict(BEN.as_ref(), 800), history.predict(None, 800)), (500, 500));
        // Three shares of 0.5 and the site's: 2.125 / 4.
        assert_eq!(history.predict(ANN.as_ref(), 800), 425);
    }

    #[test]
    fn the_last_eight_jobs_of_a_user_count() {
        let mut history = History::default();
        (0..5).for_each(|_| history.record(BEN, 100, 100));
        for _ in 0..20 {
            history.record(ANN, 100, 100);
        }
        assert_eq!(history.predict(ANN.as_ref(), 900), 900);
        (0..8).for_each(|_| history.record(ANN, 25, 100));
        // The site's mean of 34 jobs is (26 + 8 x 0.25) / 34.
        assert_eq!(
            history.predict(ANN.as_ref(), 34 * 900),
            ((28.0 / 34.0 + 2.0) * 34.0 * 100.0_f64).ceil() as i64
        );
    }

    #[test]
    fn an_old_site_forgets() {
        let mut history = History::<u64>::default();
        (0..SITE).for_each(|_| history.record(None, 100, 100));
        (0..SITE).for_each(|_| history.record(None, 0, 100));
        assert!(history.site_count < SITE);
        // A mean over all would be a half.
        assert!(history.predict(None, 1000) < 400, "{}", history.predict(None, 1000));
    }

    #[test]
    fn numbers_that_are_no_run_times_do_no_harm() {
        let mut history = History::<u64>::default();
        history.record(ANN, i64::MIN, i64::MAX);
        history.record(ANN, i64::MAX, 0);
        assert!((1..=i64::MAX).contains(&history.predict(ANN.as_ref(), i64::MAX)));
        assert_eq!(history.predict(ANN.as_ref(), i64::MIN), 1);
    }

    proptest! {
        #[test]
        fn a_prediction_grows_with_the_estimate_and_stays_below_it(
            jobs in prop::collection::vec((0_u64..3, 0_i64..2000, 1_i64..1000), 0..60),
            user in 0_u64..4,
            estimates in (1_i64..1_000_000, 1_i64..1_000_000),
        ) {
            let mut history = History::default();
            for (user, ran, estimate) in jobs {
                history.record(Some(user), ran, estimate);
            }
            let (low, high) = (estimates.0.min(estimates.1), estimates.0.max(estimates.1));
            let (short, long) = (history.predict(Some(&user), low), history.predict(Some(&user), high));
            prop_assert!(1 <= short && short <= low && long <= high && short <= long);
        }

        #[test]
        fn who_tells_the_truth_is_believed(runs in prop::collection::vec(1_i64..100_000, 0..40), next in 1_i64..100_000) {
            let mut history = History::default();
            runs.iter().for_each(|run| history.record(ANN, *run, *run));
            prop_assert_eq!(history.predict(ANN.as_ref(), next), next);
        }
    }
}
