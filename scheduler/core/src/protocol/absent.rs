//! Hosts that went a moment ago and may be back soon: those that are cleaned of what was there, or silent.
//!
//! While a job waits for one of them, and no others would do, idle hosts are not lent: a kernel that gave several hosts
//! back, which come one by one, would be lent the first again before the last is there, and so on for ever.

use crate::cluster::HostId;
use crate::time::Time;
use std::collections::BTreeMap;

/// For how long a host may be back soon, milliseconds.
const SOON_MS: i64 = 60_000;

/// Hosts that went, and since when it was seen. Known for now: forgotten with the controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Absent(BTreeMap<HostId, Option<Time>>);

impl Absent {
    /// A host went.
    pub(super) fn gone(&mut self, host: HostId) {
        self.0.entry(host).or_default();
    }

    /// It is there.
    pub(super) fn back(&mut self, host: HostId) {
        self.0.remove(&host);
    }

    /// Whether one that went may be back soon. What went for long is forgotten.
    pub(super) fn may_be_back(&mut self, now: Time) -> bool {
        self.0.retain(|_, since| since.get_or_insert(now).after(SOON_MS) > now);
        !self.0.is_empty()
    }

    /// When the next of them is gone for long.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.values().flatten().map(|since| since.after(SOON_MS)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_be_back_for_a_while() {
        let mut absent = Absent::default();
        assert!(!absent.may_be_back(Time(0)) && absent.next().is_none());
        absent.gone(HostId(1));
        assert!(absent.may_be_back(Time(5)));
        absent.gone(HostId(1));
        assert_eq!(absent.next(), Some(Time(5 + SOON_MS)));
        assert!(absent.may_be_back(Time(4 + SOON_MS)) && !absent.may_be_back(Time(5 + SOON_MS)));
        absent.gone(HostId(2));
        assert!(absent.may_be_back(Time(0)));
        absent.back(HostId(2));
        assert!(!absent.may_be_back(Time(0)) && absent.next().is_none());
    }
}
