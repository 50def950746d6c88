//! Conservative backfilling on hosts: a pass over the queue that promises everybody a start, and starts those whose time has
//! come (Mu'alem, Feitelson 2001). What [`super::conservative`] is for processors that are counted.
//!
//! Always: nobody is started later than promised, but when hosts or licences are lost, something outlasts its estimate, or
//! somebody of a better rank comes. Who may not start for a reason that is not the machine's has no promise meanwhile.
//! Promises are what went before, so they cannot be made anew from books and hosts: whoever begins without those of
//! before, as after a restart, promises in queue order.
//!
//! A pass costs a look at all hosts, and one at all promises; each promise that is made or comes earlier costs that again.

use super::machine::Running;
use super::pass::Hopeless;
use super::pass::Starts;
use super::queue::{Queue, Waiting};
use crate::cluster::promises::{Claim, Slot, promise};
use crate::cluster::{ClassId, Hosts, Wish};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// How many are promised a start at once; an element of an array counts as one. A pass may look at all promises for each,
/// so those behind them wait until they are among the first so many of the queue.
pub const MOST_PROMISED: usize = 500;

/// All that is promised.
#[derive(Clone, Debug)]
pub struct Reserving {
    /// Entries of which the same starts, and only one of them, share this number: a job in several partitions.
    same: fn(Waiting) -> u64,
    /// What should have ended is expected to end so many ticks from now.
    late: i64,
    /// By the number of what starts; elements that are alike have several.
    promised: BTreeMap<u64, Vec<Promised>>,
}

/// What is promised to one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Promised {
    waiting: Waiting,
    wish: Wish,
    slot: Slot,
}

/// What a pass promised to those who did not start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By queue order: which entry, and when the first that waits of it starts.
    pub promised: Vec<(Waiting, Time)>,
    /// What the hosts which are up could not run.
    pub hopeless: Vec<Hopeless>,
    /// Whether others wait behind the first [`MOST_PROMISED`], with no promise.
    pub is_full: bool,
}

/// Entries that stand for the same.
struct Group {
    key: u64,
    /// Their places in the queue.
    entries: Vec<usize>,
    count: u32,
    rank: u64,
}

impl Reserving {
    /// Nothing is promised yet; see the fields.
    pub fn new(same: fn(Waiting) -> u64, late: i64) -> Reserving {
        Reserving { same, late, promised: BTreeMap::new() }
    }

    /// When the next is to start, though nothing ends then.
    pub fn due(&self) -> Option<Time> {
        self.promised.values().flatten().map(|promised| promised.slot.at).min()
    }

    /// Starts those whose time has come. The queue must be in order ([`Queue::refresh`]).
    pub fn run<S: Starts<Hosts>>(
        &mut self,
        queue: &mut Queue<ClassId>,
        hosts: &mut Hosts,
        (now, starts): (Time, &mut S),
    ) -> Outcome {
        queue.compact();
        let mut is_more_free = hosts.take_freed().is_some_and(|until| until > now);
        let mut barred = BTreeSet::new();
        loop {
            let (groups, is_full) = self.groups(queue, starts, &barred);
            let (mut claims, of) = self.claims(queue, &groups, &mut is_more_free);
            promise(hosts, (now, self.late), &mut claims, is_more_free);
            let mut round = Round { queue, hosts, now, groups: &groups, starts };
            let refused = round.begin(&mut claims, &of);
            let outcome = Outcome { is_full, ..self.remember(queue, &groups, (claims, of)) };
            // What was kept for those who may not start is for the others.
            if refused.is_empty() {
                return outcome;
            }
            barred.extend(refused);
            is_more_free = true;
        }
    }

    /// Who is to be promised a start, in queue order, and whether others are behind them.
    fn groups<S: Starts<Hosts>>(
        &self,
        queue: &Queue<ClassId>,
        starts: &mut S,
        barred: &BTreeSet<Waiting>,
    ) -> (Vec<Group>, bool) {
        let (mut groups, mut is_full): (Vec<Group>, bool) = (Vec::new(), false);
        let mut known: BTreeMap<u64, usize> = BTreeMap::new();
        let (mut left, mut from) = (MOST_PROMISED as u32, 0);
        while let Some(at) = queue.next(from, u32::MAX, |_| false) {
            from = at + 1;
            let entry = queue.entry(at);
            let key = (self.same)(entry.job);
            let group = known.get(&key).copied();
            if group.is_none() && left == 0 {
                is_full = true;
                continue;
            }
            if barred.contains(&entry.job) || starts.admit(entry).is_none() {
                continue;
            }
            if let Some(group) = group {
                groups[group].entries.push(at);
                continue;
            }
            known.insert(key, groups.len());
            let count = entry.count.min(left);
            left -= count;
            is_full |= count < entry.count;
            groups.push(Group { key, entries: vec![at], count, rank: entry.rank });
        }
        (groups, is_full)
    }

    /// A claim for each that waits, with what it was promised before, and of which group it is. Where something was
    /// promised that nobody waits for any more, more is free.
    fn claims(
        &mut self,
        queue: &Queue<ClassId>,
        groups: &[Group],
        is_more_free: &mut bool,
    ) -> (Vec<Claim>, Vec<usize>) {
        let (mut claims, mut of) = (Vec::new(), Vec::new());
        let mut promised = std::mem::take(&mut self.promised);
        for (number, group) in groups.iter().enumerate() {
            let entries: Vec<_> = group.entries.iter().map(|&at| queue.entry(at)).collect();
            let wishes: Vec<Wish> =
                entries.iter().map(|entry| Wish { class: entry.request, lasts: entry.estimate }).collect();
            let before = promised.remove(&group.key).unwrap_or_default();
            let all = before.len();
            let mut slots = before.into_iter().filter_map(|one| {
                let wish = entries.iter().position(|entry| entry.job == one.waiting)?;
                // Who is to run shorter or longer than was said keeps its turn.
                *is_more_free |= wishes[wish] != one.wish;
                (wishes[wish].class == one.wish.class).then_some(Slot { wish, ..one.slot })
            });
            let mut kept = 0;
            for _ in 0..group.count {
                let slot = slots.next();
                kept += usize::from(slot.is_some());
                claims.push(Claim { wishes: wishes.clone(), rank: group.rank, slot });
                of.push(number);
            }
            drop(slots);
            *is_more_free |= kept < all;
        }
        *is_more_free |= !promised.is_empty();
        (claims, of)
    }

    /// Keeps the promises of those who wait, and tells of them.
    fn remember(
        &mut self,
        queue: &Queue<ClassId>,
        groups: &[Group],
        (claims, of): (Vec<Claim>, Vec<usize>),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut earliest: BTreeMap<Waiting, usize> = BTreeMap::new();
        for (claim, group) in claims.into_iter().zip(of) {
            let group = &groups[group];
            let Some(slot) = claim.slot else {
                // Those that have started want nothing any more.
                if !claim.wishes.is_empty() {
                    let entries = group.entries.iter().map(|&at| queue.entry(at));
                    outcome.hopeless.extend(entries.map(|entry| (entry.request.into(), entry.estimate)));
                }
                continue;
            };
            let waiting = queue.entry(group.entries[slot.wish]).job;
            match earliest.get(&waiting) {
                Some(&place) => outcome.promised[place].1 = outcome.promised[place].1.min(slot.at),
                None => {
                    earliest.insert(waiting, outcome.promised.len());
                    outcome.promised.push((waiting, slot.at));
                }
            }
            let promised = Promised { waiting, wish: claim.wishes[slot.wish], slot };
            self.promised.entry(group.key).or_default().push(promised);
        }
        self.promised.values_mut().for_each(|of_one| of_one.sort_by_key(|one| one.slot.at));
        outcome.hopeless.sort_unstable();
        outcome.hopeless.dedup_by_key(|(class, _)| *class);
        outcome
    }
}

/// The starts of a pass.
struct Round<'a, S> {
    queue: &'a mut Queue<ClassId>,
    hosts: &'a mut Hosts,
    now: Time,
    groups: &'a [Group],
    starts: &'a mut S,
}

impl<S: Starts<Hosts>> Round<'_, S> {
    /// Starts all whose time has come, and says who may not: neither wants anything after.
    fn begin(&mut self, claims: &mut [Claim], of: &[usize]) -> Vec<Waiting> {
        let mut refused = Vec::new();
        for (claim, &group) in claims.iter_mut().zip(of) {
            let Some(slot) = claim.slot.take_if(|slot| slot.at <= self.now) else { continue };
            let wish = std::mem::take(&mut claim.wishes)[slot.wish];
            let at = self.groups[group].entries[slot.wish];
            let entry = self.queue.entry(at);
            let running: Option<Running> = self.starts.admit(entry);
            let end = self.now.after(wish.lasts);
            let place = running.and_then(|running| {
                Some((running, self.hosts.start_on(running, (wish.class, end), &slot.spot)?))
            });
            match place {
                Some((running, place)) => {
                    self.starts.started(entry, running, place);
                    self.queue.take(at, 1);
                }
                None => refused.push(entry.job),
            }
        }
        refused
    }
}
