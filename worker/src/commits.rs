//! When rank 0 sends the foreman what is finished: no more often than once a second or a hundred times the cost of the
//! last time, and not in the first second.

use crate::wire::LeafRun;
use muster_kernels::Node;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Between two commits, and before the first.
pub(crate) const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// A commit may cost this share of the time.
const COMMIT_SHARE: u32 = 100;
/// Before the first commit has told its cost, a byte of a partial is taken to cost this: 10 ns.
const BYTES_A_SECOND: f64 = 1e8;

/// What the foreman has been sent, and when it gets more.
pub(crate) struct Commits {
    /// Whether there is a ledger.
    pub(crate) wanted: bool,
    /// Nodes that the foreman has.
    pub(crate) sent: BTreeSet<Node>,
    /// Hashes that it has not.
    pub(crate) leaves: Vec<LeafRun>,
    began: Instant,
    next: Instant,
    /// Whether a commit has told its cost.
    learnt: bool,
    /// Since when running partials are being handed in.
    held: Option<Instant>,
    /// What that took.
    gathering: Duration,
    /// A commit that is not written yet, and what it took to make it.
    under_way: Option<Duration>,
}

impl Commits {
    pub(crate) fn new(wanted: bool, sent: BTreeSet<Node>) -> Self {
        let began = Instant::now();
        Commits {
            wanted,
            sent,
            leaves: Vec::new(),
            began,
            next: began + COMMIT_EVERY,
            learnt: false,
            held: None,
            gathering: Duration::ZERO,
            under_way: None,
        }
    }

    fn may(&self) -> bool {
        self.wanted && self.under_way.is_none() && self.held.is_none()
    }

    /// How long nothing is to be done.
    pub(crate) fn wait(&self) -> Duration {
        if self.may() { self.next.saturating_duration_since(Instant::now()) } else { COMMIT_EVERY }
    }

    /// Whether it is time.
    pub(crate) fn due(&self) -> bool {
        self.may() && Instant::now() >= self.next
    }

    /// A partial of so many bytes will have to be committed.
    pub(crate) fn foresee(&mut self, bytes: u64) {
        if !self.learnt {
            let cost = Duration::from_secs_f64(bytes as f64 / BYTES_A_SECOND);
            self.next = self.next.max(self.began + cost * COMMIT_SHARE);
        }
    }

    /// Running partials are being handed in.
    pub(crate) fn hold(&mut self) {
        self.held.get_or_insert_with(Instant::now);
    }

    /// They are.
    pub(crate) fn release(&mut self) {
        self.gathering = self.held.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    /// There was nothing to send.
    pub(crate) fn put_off(&mut self) {
        self.next = Instant::now() + COMMIT_EVERY / 10;
    }

    /// A commit is on its way, after so long.
    pub(crate) fn sent_off(&mut self, encoding: Duration) {
        self.under_way = Some(encoding + std::mem::take(&mut self.gathering));
    }

    /// The foreman has written it, in so long.
    pub(crate) fn written(&mut self, cost: Duration) {
        let making = self.under_way.take().unwrap_or_default();
        self.learnt = true;
        self.next = Instant::now() + COMMIT_EVERY.max((cost + making) * COMMIT_SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_partial_waits_for_its_hundredfold() {
        let mut commits = Commits::new(true, BTreeSet::new());
        assert!(!commits.due() && commits.wait() <= COMMIT_EVERY);
        commits.foresee(100 << 20);
        assert!(commits.wait() > Duration::from_secs(90));
        commits.sent_off(Duration::from_millis(1));
        commits.written(Duration::from_millis(1));
        commits.foresee(100 << 20);
        assert!(commits.wait() <= COMMIT_EVERY);
        commits.sent_off(Duration::from_secs(1));
        commits.written(Duration::from_secs(2));
        assert!(commits.wait() > Duration::from_secs(299));
    }

    #[test]
    fn nothing_is_due_while_one_is_under_way_or_wanted_by_nobody() {
        let past = Instant::now().checked_sub(COMMIT_EVERY).unwrap();
        let mut commits = Commits { next: past, ..Commits::new(true, BTreeSet::new()) };
        assert!(commits.due() && commits.wait() == Duration::ZERO);
        commits.hold();
        assert!(!commits.due() && commits.wait() > Duration::ZERO);
        commits.release();
        assert!(commits.due());
        commits.sent_off(Duration::ZERO);
        assert!(!commits.due());
        let commits = Commits { next: past, ..Commits::new(false, BTreeSet::new()) };
        assert!(!commits.due());
    }
}
