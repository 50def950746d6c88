//! The queue: what waits and could start if there were room, in the order in which a pass walks it.
//!
//! Invariants: entries are ordered by (rank, key, submit, job), so an order never depends on when an entry was put in;
//! `widths[i]` is the width of entry `i`, or [`GONE`] when nothing of it waits any more. Such entries stay until there
//! are many, so that a start does not move all that is behind it.

use super::key::{Asked, Key};
use crate::time::Time;
use std::cmp::Ordering;

/// What waits, by a number of the caller's: a job, or what waits of an array. Numbers ascend with submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiting(pub u64);

/// A job that waits, or all waiting elements of an array, which are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<R> {
    /// Which.
    pub job: Waiting,
    /// What goes before the policy's key, the lowest first: tier and priority.
    pub rank: u64,
    /// When it was submitted, or could first have started.
    pub submit: Time,
    /// How long it runs by its estimate, ticks.
    pub estimate: i64,
    /// How many processors one element takes.
    pub width: u32,
    /// How many elements wait.
    pub count: u32,
    /// What one element asks of the machine.
    pub request: R,
}

/// The width of an entry of which nothing waits.
const GONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot<R> {
    entry: Entry<R>,
    /// The part of the key that does not change.
    fixed: f64,
    key: f64,
}

/// What waits, in queue order.
#[derive(Clone, Debug)]
pub struct Queue<R> {
    key: Key,
    ticks_per_s: f64,
    slots: Vec<Slot<R>>,
    widths: Vec<u32>,
    /// How many slots have nothing that waits.
    gone: usize,
    /// How many elements wait.
    elements: u64,
}

impl<R: Copy> Queue<R> {
    /// An empty queue that is ordered by `key`, for times of so many ticks a second.
    pub fn new(key: Key, ticks_per_s: u32) -> Self {
        let ticks_per_s = f64::from(ticks_per_s);
        Queue { key, ticks_per_s, slots: Vec::new(), widths: Vec::new(), gone: 0, elements: 0 }
    }

    /// How many jobs and elements of arrays wait.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// What waits, in queue order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<R>> {
        self.slots.iter().map(|slot| &slot.entry).filter(|entry| entry.count > 0)
    }

    /// The width of the narrowest entry; more than any machine has when nothing waits.
    pub fn narrowest(&self) -> u32 {
        self.widths.iter().copied().min().unwrap_or(GONE)
    }

    /// Puts `entry` in its place; the keys of the others are those of the last [`Queue::refresh`].
    ///
    /// # Panics
    /// When the entry has no element, or its width is that of no machine (`u32::MAX`).
    pub fn insert(&mut self, entry: Entry<R>, now: Time) {
        assert!(entry.count > 0 && entry.width < GONE, "an entry waits for something that can be");
        let asked = Asked {
            submit_s: entry.submit.0 as f64 / self.ticks_per_s,
            estimate_s: entry.estimate.max(1) as f64 / self.ticks_per_s,
            width: f64::from(entry.width),
        };
        let fixed = self.key.fixed(&asked);
        let slot = Slot { entry, fixed, key: self.aged(fixed, &entry, now) };
        let at = match self.slots.last() {
            Some(last) if order(last, &slot).is_gt() => {
                self.slots.partition_point(|s| order(s, &slot).is_lt())
            }
            _ => self.slots.len(),
        };
        self.slots.insert(at, slot);
        self.widths.insert(at, entry.width);
        self.elements += u64::from(entry.count);
    }

    /// Takes out what waits of `job`: none when nothing does.
    pub fn remove(&mut self, job: Waiting) -> Option<Entry<R>> {
        let at = self.slots.iter().position(|slot| slot.entry.job == job && slot.entry.count > 0)?;
        let entry = self.slots[at].entry;
        self.take(at, entry.count);
        Some(entry)
    }

    /// Computes the keys that age anew, and orders by them.
    pub fn refresh(&mut self, now: Time) {
        self.compact();
        if self.key.ages() {
            for i in 0..self.slots.len() {
                let Slot { entry, fixed, .. } = self.slots[i];
                self.slots[i].key = self.aged(fixed, &entry, now);
            }
            self.sort();
        }
    }

    /// Gives every entry the rank that `rank` says, and orders by them.
    pub fn rerank(&mut self, mut rank: impl FnMut(&Entry<R>) -> u64) {
        self.compact();
        for slot in &mut self.slots {
            slot.entry.rank = rank(&slot.entry);
        }
        self.sort();
    }

    /// The first entry from position `from` on that is not wider than `width` and of which something waits.
    pub(super) fn next(&self, from: usize, width: u32) -> Option<usize> {
        let width = width.min(GONE - 1);
        let at = self.widths.get(from..)?.iter().position(|w| *w <= width)?;
        Some(from + at)
    }

    /// The entry at a position.
    pub(super) fn entry(&self, at: usize) -> &Entry<R> {
        &self.slots[at].entry
    }

    /// Takes `count` elements of the entry at a position away. Positions stay as they are.
    pub(super) fn take(&mut self, at: usize, count: u32) {
        let entry = &mut self.slots[at].entry;
        entry.count -= count;
        self.elements -= u64::from(count);
        if entry.count == 0 {
            self.widths[at] = GONE;
            self.gone += 1;
        }
    }

    /// Drops what is gone when it is a good part of the queue. Positions change.
    pub(super) fn compact(&mut self) {
        if self.gone * 4 <= self.slots.len() {
            return;
        }
        self.slots.retain(|slot| slot.entry.count > 0);
        self.widths.retain(|width| *width != GONE);
        self.gone = 0;
    }

    fn aged(&self, fixed: f64, entry: &Entry<R>, now: Time) -> f64 {
        let wait_s = (now - entry.submit).max(0) as f64 / self.ticks_per_s;
        self.key.aged(fixed, wait_s, f64::from(entry.width))
    }

    fn sort(&mut self) {
        if self.slots.is_sorted_by(|a, b| order(a, b).is_lt()) {
            return;
        }
        self.slots.sort_unstable_by(order);
        self.widths.clear();
        self.widths
            .extend(self.slots.iter().map(|slot| if slot.entry.count > 0 { slot.entry.width } else { GONE }));
    }
}

fn order<R>(a: &Slot<R>, b: &Slot<R>) -> Ordering {
    let rest = |s: &Slot<R>| (s.entry.submit, s.entry.job);
    a.entry.rank.cmp(&b.entry.rank).then(a.key.total_cmp(&b.key)).then_with(|| rest(a).cmp(&rest(b)))
}
