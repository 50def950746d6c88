//! The members of kernel steps that leave: each is waited for until its team has handed in, or has had time to.
//!
//! Known for now and forgotten with the controller: another one waits anew.

use super::guard::Guard;
use super::stamp::AttemptId;
use crate::cluster::HostId;
use crate::job::id::RunId;
use crate::time::Time;
use std::collections::BTreeMap;

/// Who is waited for, and until when.
#[derive(Clone, Debug, Default)]
pub(super) struct Drains {
    until: BTreeMap<(AttemptId, HostId), Time>,
}

impl Drains {
    /// Whether what `id` has on a host that leaves may be killed now; it is waited for from the first time that this is
    /// asked.
    pub(super) fn is_over(&mut self, now: Time, (id, host): (AttemptId, HostId), drain_ms: i64) -> bool {
        let until = self.until.entry((id, host)).or_insert(now.after(drain_ms));
        *until <= now || !Guard::HandInFirst.stands()
    }

    /// The team of `id` has nothing more to hand in from a host.
    pub(super) fn handed_in(&mut self, id: AttemptId, host: HostId) {
        self.until.insert((id, host), Time(i64::MIN));
    }

    /// Nothing of `id` is left on a host, or it is nobody's any more.
    pub(super) fn forget(&mut self, id: AttemptId, host: HostId) {
        self.until.remove(&(id, host));
    }

    /// Nothing of `id` is waited for.
    pub(super) fn close(&mut self, id: AttemptId) {
        self.until.retain(|(other, _), _| *other != id);
    }

    /// The runs that were waited for until now.
    pub(super) fn due(&self, now: Time) -> impl Iterator<Item = RunId> {
        self.until.iter().filter(move |(_, until)| **until <= now).map(|((id, _), _)| id.run)
    }

    /// When somebody has been waited for long enough.
    pub(super) fn wake(&self, now: Time) -> Option<Time> {
        self.until.values().filter(|until| **until > now).min().copied()
    }
}
