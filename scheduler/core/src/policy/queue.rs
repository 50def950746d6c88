//! The queue: what waits and could start if there were room, in the order in which a pass walks it.
//!
//! Invariants: entries are ordered by (rank, key, submit, job), so an order never depends on when an entry was put in;
//! `widths[i]` is the width of entry `i`, or [`GONE`] when nothing of it waits any more, `jobs[i]` its job
//! and `briefs[i]` its brief. Such entries stay until there are many, so that a start does not move all that is behind it.

use super::key::{Asked, Key};
use super::outlook::Outlook;
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

/// The key of what has waited for too long: before all others, and among its like in the order of submission.
const URGENT: f64 = f64::NEG_INFINITY;

#[derive(Clone, Copy, Debug)]
struct Slot<R> {
    entry: Entry<R>,
    outlook: Outlook,
    /// The part of the key that does not change.
    fixed: f64,
    key: f64,
}

/// What tells a pass that it need not look at an entry: kept side by side, for a pass reads those of the whole queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    pub(super) class: u32,
    pub(super) estimate: i64,
    pub(super) predicted: i64,
}

/// What waits, in queue order.
#[derive(Clone, Debug)]
pub struct Queue<R> {
    key: Key,
    ticks_per_s: f64,
    slots: Vec<Slot<R>>,
    widths: Vec<u32>,
    jobs: Vec<Waiting>,
    briefs: Vec<Brief>,
    /// How many slots have nothing that waits.
    gone: usize,
    /// How many elements wait.
    elements: u64,
    /// The work of what waits, by prediction: processors times ticks.
    work: i128,
}

impl<R: Copy + Into<u32>> Queue<R> {
    /// An empty queue that is ordered by `key`, for times of so many ticks a second.
    pub fn new(key: Key, ticks_per_s: u32) -> Self {
        let ticks_per_s = f64::from(ticks_per_s);
        let (slots, widths, jobs, briefs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Queue { key, ticks_per_s, slots, widths, jobs, briefs, gone: 0, elements: 0, work: 0 }
    }

    /// How many jobs and elements of arrays wait.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// The work of all that waits, by prediction: processors times ticks.
    pub fn work(&self) -> i128 {
        self.work
    }

    /// What waits, in queue order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<R>> {
        self.slots.iter().map(|slot| &slot.entry).filter(|entry| entry.count > 0)
    }

    /// The width of the narrowest entry; more than any machine has when nothing waits.
    pub fn narrowest(&self) -> u32 {
        self.widths.iter().copied().min().unwrap_or(GONE)
    }

    /// Puts `entry` in its place under a policy that predicts nothing; see [`Queue::insert_with`].
    ///
    /// # Panics
    /// As that does.
    pub fn insert(&mut self, entry: Entry<R>, now: Time) {
        self.insert_with(entry, Outlook::by_estimate(entry.estimate), now);
    }

    /// Puts `entry` in its place, where its key takes the predicted run time for the estimate; the keys of the others are
    /// those of the last [`Queue::refresh`].
    ///
    /// # Panics
    /// When the entry has no element, or its width is that of no machine (`u32::MAX`).
    pub fn insert_with(&mut self, entry: Entry<R>, outlook: Outlook, now: Time) {
        assert!(entry.count > 0 && entry.width < GONE, "an entry waits for something that can be");
        let asked = Asked {
            submit_s: entry.submit.0 as f64 / self.ticks_per_s,
            estimate_s: outlook.predicted.max(1) as f64 / self.ticks_per_s,
            width: f64::from(entry.width),
        };
        let fixed = self.key.fixed(&asked);
        let slot = Slot { entry, outlook, fixed, key: self.aged(fixed, (&entry, outlook), now) };
        let at = match self.slots.last() {
            Some(last) if order(last, &slot).is_gt() => {
                self.slots.partition_point(|s| order(s, &slot).is_lt())
            }
            _ => self.slots.len(),
        };
        self.slots.insert(at, slot);
        self.widths.insert(at, entry.width);
        self.jobs.insert(at, entry.job);
        self.briefs.insert(at, slot.brief());
        self.elements += u64::from(entry.count);
        self.work += work(&slot, entry.count);
    }

    /// Takes out what waits of `job`: none when nothing does.
    pub fn remove(&mut self, job: Waiting) -> Option<Entry<R>> {
        // A scan of numbers side by side costs less than an index that each new order would have to renew.
        let mut found =
            (0..).zip(&self.jobs).filter(|(_, other)| **other == job).map(|(at, _): (usize, _)| at);
        let at = found.find(|at| self.slots[*at].entry.count > 0)?;
        let entry = self.slots[at].entry;
        self.take(at, entry.count);
        Some(entry)
    }

    /// Computes the keys that age anew, and orders by them.
    pub fn refresh(&mut self, now: Time) {
        self.compact();
        if self.key.ages() {
            for i in 0..self.slots.len() {
                let Slot { entry, outlook, fixed, .. } = self.slots[i];
                self.slots[i].key = self.aged(fixed, (&entry, outlook), now);
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

    /// The first entry from position `from` on that is not wider than `width`, of which something waits, and that is not
    /// refused by its brief.
    pub(super) fn next(&self, from: usize, width: u32, refused: impl Fn(&Brief) -> bool) -> Option<usize> {
        let width = width.min(GONE - 1);
        let mut rest = self.widths.get(from..)?.iter().zip(&self.briefs[from..]);
        let at = rest.position(|(w, brief)| *w <= width && !refused(brief))?;
        Some(from + at)
    }

    /// The entry at a position.
    pub(super) fn entry(&self, at: usize) -> &Entry<R> {
        &self.slots[at].entry
    }

    /// How long the entry at a position will run, ticks.
    pub(super) fn predicted(&self, at: usize) -> i64 {
        self.slots[at].outlook.predicted
    }

    /// Whether the entry at a position has waited for too long, as of the last [`Queue::refresh`].
    pub(super) fn is_urgent(&self, at: usize) -> bool {
        self.slots[at].key == URGENT
    }

    /// Takes `count` elements of the entry at a position away. Positions stay as they are.
    pub(super) fn take(&mut self, at: usize, count: u32) {
        self.work -= work(&self.slots[at], count);
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
        self.line_up();
        self.gone = 0;
    }

    fn aged(&self, fixed: f64, (entry, outlook): (&Entry<R>, Outlook), now: Time) -> f64 {
        if now > outlook.urgent {
            return URGENT;
        }
        let wait_s = (now - entry.submit).max(0) as f64 / self.ticks_per_s;
        self.key.aged(fixed, wait_s, f64::from(entry.width))
    }

    fn sort(&mut self) {
        if self.slots.is_sorted_by(|a, b| order(a, b).is_lt()) {
            return;
        }
        self.slots.sort_unstable_by(order);
        self.line_up();
    }

    /// Makes what is kept side by side follow the slots.
    fn line_up(&mut self) {
        let width = |slot: &Slot<R>| if slot.entry.count > 0 { slot.entry.width } else { GONE };
        self.widths.clear();
        self.widths.extend(self.slots.iter().map(width));
        self.jobs.clear();
        self.jobs.extend(self.slots.iter().map(|slot| slot.entry.job));
        self.briefs.clear();
        self.briefs.extend(self.slots.iter().map(Slot::brief));
    }
}

impl<R: Copy + Into<u32>> Slot<R> {
    fn brief(&self) -> Brief {
        let Entry { request, estimate, .. } = self.entry;
        Brief { class: request.into(), estimate, predicted: self.outlook.predicted }
    }
}

/// The work of so many elements of an entry, by prediction: processors times ticks.
fn work<R>(slot: &Slot<R>, count: u32) -> i128 {
    i128::from(slot.outlook.predicted) * i128::from(slot.entry.width) * i128::from(count)
}

fn order<R>(a: &Slot<R>, b: &Slot<R>) -> Ordering {
    let rest = |s: &Slot<R>| (s.entry.submit, s.entry.job);
    a.entry.rank.cmp(&b.entry.rank).then(a.key.total_cmp(&b.key)).then_with(|| rest(a).cmp(&rest(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(job: u64, rank: u64, submit: i64, estimate: i64, width: u32) -> Entry<u32> {
        Entry { job: Waiting(job), rank, submit: Time(submit), estimate, width, count: 1, request: width }
    }

    fn jobs(queue: &Queue<u32>) -> Vec<u64> {
        queue.entries().map(|entry| entry.job.0).collect()
    }

    #[test]
    fn rank_goes_before_key_before_submission_before_number() {
        let mut queue = Queue::new(Key::Sjf, 1);
        for e in [
            entry(1, 1, 0, 5, 1),
            entry(2, 0, 9, 7, 1),
            entry(3, 0, 9, 6, 1),
            entry(5, 0, 4, 7, 1),
            entry(4, 0, 4, 7, 1),
        ] {
            queue.insert(e, Time(9));
        }
        assert_eq!(jobs(&queue), [3, 4, 5, 2, 1]);
        queue.rerank(|entry| u64::from(entry.job.0 != 2));
        assert_eq!(jobs(&queue), [2, 1, 3, 4, 5]);
        assert_eq!(queue.remove(Waiting(1)).map(|entry| entry.estimate), Some(5));
        assert_eq!((queue.remove(Waiting(1)), queue.elements()), (None, 4));
    }

    #[test]
    fn keys_that_age_are_as_old_as_the_last_refresh() {
        let mut queue = Queue::new(Key::Unicep, 1000);
        queue.insert(entry(1, 0, 0, 100_000, 1), Time(0));
        queue.insert(entry(2, 0, 50_000, 1_000, 1), Time(50_000));
        assert_eq!(jobs(&queue), [1, 2], "neither has waited");
        queue.refresh(Time(60_000));
        assert_eq!(jobs(&queue), [2, 1], "10 s are much for a job of 1 s");
    }

    #[test]
    fn what_has_waited_too_long_goes_first_in_the_order_of_submission() {
        let mut queue = Queue::new(Key::Unicep, 1);
        for (job, predicted, urgent) in [(1, 90, 400), (2, 80, 30), (3, 1, 500), (4, 70, 31)] {
            let outlook = Outlook { predicted, urgent: Time(urgent) };
            queue.insert_with(entry(job, 1, job as i64, 100, 1), outlook, Time(10));
        }
        queue.refresh(Time(30));
        assert_eq!(jobs(&queue), [3, 4, 2, 1], "not past it yet");
        queue.refresh(Time(32));
        assert_eq!(jobs(&queue), [2, 4, 3, 1]);
        assert_eq!([0, 1, 2, 3].map(|at| queue.is_urgent(at)), [true, true, false, false]);
        queue.rerank(|entry| u64::from(entry.job.0 != 1));
        assert_eq!(jobs(&queue), [1, 2, 4, 3], "a rank goes before all");
    }

    #[test]
    #[should_panic(expected = "an entry waits for something that can be")]
    fn nothing_does_not_wait() {
        Queue::new(Key::Submit, 1).insert(Entry { count: 0, ..entry(1, 0, 0, 1, 1) }, Time(0));
    }

    proptest! {
        /// Whatever is put in and taken out in whatever order, the queue is a sorted list of what waits.
        #[test]
        fn a_queue_is_a_sorted_list(
            steps in prop::collection::vec((0_u64..12, 0_u64..3, 1_i64..4, 1_u32..6, any::<bool>()), 1..80),
        ) {
            let mut queue = Queue::new(Key::Saf, 1);
            let mut list: Vec<Entry<u32>> = Vec::new();
            for (job, rank, estimate, width, take) in steps {
                let there = list.iter().position(|e| e.job.0 == job);
                match there {
                    Some(at) if take => {
                        prop_assert_eq!(queue.remove(Waiting(job)), Some(list.remove(at)));
                    }
                    None => {
                        let new = entry(job, rank, 0, estimate, width);
                        queue.insert(new, Time(0));
                        list.push(new);
                    }
                    Some(_) => queue.refresh(Time(0)),
                }
                list.sort_by_key(|e| (e.rank, e.estimate * i64::from(e.width), e.job));
                prop_assert_eq!(queue.entries().copied().collect::<Vec<_>>(), list.clone());
                prop_assert_eq!(queue.elements(), list.len() as u64);
                let work: i64 = list.iter().map(|e| e.estimate * i64::from(e.width)).sum();
                prop_assert_eq!(queue.work(), i128::from(work));
                prop_assert_eq!(queue.narrowest(), list.iter().map(|e| e.width).min().unwrap_or(GONE));
            }
        }
    }
}
