//! Hosts kept from others for a time: advance reservations and maintenance windows.
//!
//! A job may not start on such a host if it would, by its estimate, still run when the window opens, unless it names
//! the reservation; then it runs there alone, and only within the window.

use super::bits::Bits;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of a window, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReservationId(pub u32);

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// Jobs that name it.
    Reservation,
    /// No job at all.
    Maintenance,
}

/// Hosts kept for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The name that people use.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its hosts, by their numbers.
    pub hosts: Bits,
    /// When it opens.
    pub from: Time,
    /// When it is over.
    pub to: Time,
}

/// The windows that are not over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    windows: BTreeMap<ReservationId, Window>,
    next: u32,
    /// Every host of a window, so that the others need not be asked about.
    touched: Bits,
}

impl Windows {
    pub(crate) fn add(&mut self, window: Window) -> ReservationId {
        let id = ReservationId(self.next);
        self.next += 1;
        window.hosts.iter().for_each(|host| self.touched.insert(host));
        self.windows.insert(id, window);
        id
    }

    pub(crate) fn remove(&mut self, id: ReservationId) -> Option<Window> {
        let gone = self.windows.remove(&id)?;
        self.touched = self.windows.values().flat_map(|window| window.hosts.iter()).collect();
        Some(gone)
    }

    pub(crate) fn get(&self, id: ReservationId) -> Option<&Window> {
        self.windows.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReservationId, &Window)> {
        self.windows.iter().map(|(&id, window)| (id, window))
    }

    /// Every host of a window.
    pub(crate) fn hosts(&self) -> &Bits {
        &self.touched
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether a job that names `reservation` may run on `host` throughout `[from, to)`.
    pub(crate) fn open(&self, host: usize, reservation: Option<ReservationId>, from: Time, to: Time) -> bool {
        if let Some(id) = reservation {
            let mine = self.windows.get(&id).filter(|window| window.purpose == Purpose::Reservation);
            if !mine.is_some_and(|w| w.hosts.contains(host) && w.from <= from && to <= w.to) {
                return false;
            }
        }
        !self.touched.contains(host)
            || self.windows.iter().all(|(&id, window)| {
                reservation == Some(id)
                    || to <= window.from
                    || window.to <= from
                    || !window.hosts.contains(host)
            })
    }

    /// The first window that keeps `host` from a job at this time.
    pub(crate) fn keeps(
        &self,
        host: usize,
        reservation: Option<ReservationId>,
        now: Time,
    ) -> Option<ReservationId> {
        let holds = |window: &Window| window.from <= now && now < window.to && window.hosts.contains(host);
        self.iter().find(|(id, window)| reservation != Some(*id) && holds(window)).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_keeps_others_out_and_its_own_in() {
        let mut windows = Windows::default();
        let window = |purpose, hosts: &[usize], from, to| Window {
            name: "w".into(),
            purpose,
            hosts: hosts.iter().copied().collect(),
            from: Time(from),
            to: Time(to),
        };
        let id = windows.add(window(Purpose::Reservation, &[0, 1], 10, 20));
        let service = windows.add(window(Purpose::Maintenance, &[1], 15, 18));
        let open = |host, who, from, to| windows.open(host, who, Time(from), Time(to));
        assert!(open(0, None, 0, 10) && open(0, None, 20, 30) && open(2, None, 0, 99));
        assert!(!open(0, None, 0, 11) && !open(0, None, 19, 30) && !open(0, None, 5, 50));
        assert!(open(0, Some(id), 10, 20) && open(1, Some(id), 10, 15) && open(1, Some(id), 18, 20));
        assert!(!open(0, Some(id), 9, 12) && !open(0, Some(id), 12, 21) && !open(2, Some(id), 12, 13));
        assert!(!open(1, Some(id), 12, 16), "maintenance within the reservation");
        assert!(!open(1, Some(service), 15, 16), "nobody runs by naming a maintenance window");
        assert_eq!(windows.keeps(1, None, Time(16)), Some(id));
        assert_eq!(windows.keeps(1, Some(id), Time(16)), Some(service));
        assert_eq!(windows.keeps(1, Some(id), Time(18)), None);
        windows.remove(id);
        assert!(windows.open(0, None, Time(0), Time(99)) && !windows.open(1, None, Time(0), Time(99)));
    }
}
