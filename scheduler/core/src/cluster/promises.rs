//! A start for everybody who waits: in queue order, each as early as it delays nobody who was promised one before.
//!
//! Always: all promises together fit the hosts ([`Course`]). A promise is a time and a place; the place may change, so
//! that hosts that are alike are one pool, and the time only comes earlier, but when it cannot be kept: because a host or
//! licences were lost, something outlasted its estimate, or somebody of a better rank came.

use super::course::{Course, Spot, Wish};
use super::hosts::Hosts;
use crate::time::Time;

/// How often, for one start, the places of others are changed to make room: each costs a look at all of them. Where hosts
/// are alike the first will do.
const MOST_SQUEEZES: usize = 8;

/// One that is to be promised a start.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// What will do: the one that is earliest is promised, of those that are equally early the first.
    pub(crate) wishes: Vec<Wish>,
    /// Who has less is before, though others have a promise.
    pub(crate) rank: u64,
    pub(crate) slot: Option<Slot>,
}

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Which of the wishes.
    pub(crate) wish: usize,
    pub(crate) at: Time,
    pub(crate) spot: Spot,
}

/// All promises, while they are made.
struct Promises<'a> {
    hosts: &'a Hosts,
    now: Time,
    course: Course,
    /// In queue order.
    claims: &'a mut [Claim],
}

/// Gives each of the claims, which are in queue order, a promise; none to those that the hosts which are up can never run.
/// Those that have one keep it. Where something is free that was not by the estimates, they come earlier one by one.
/// What should have ended is expected to end `late` ticks from now.
pub(crate) fn promise(hosts: &Hosts, (now, late): (Time, i64), claims: &mut [Claim], is_more_free: bool) {
    let course = Course::new(hosts, now, late);
    let kept: Vec<usize> = (0..claims.len()).filter(|&claim| claims[claim].slot.is_some()).collect();
    let mut promises = Promises { hosts, now, course, claims };
    let whole = promises.keep(&kept);
    if !whole {
        promises.repair(&kept);
    }
    if is_more_free || !whole {
        promises.advance(&kept);
    }
    promises.join();
    promises.widen();
}

impl Promises<'_> {
    /// Puts in what was promised before, in the order of the starts; false, and nothing is in, when it does not fit.
    fn keep(&mut self, kept: &[usize]) -> bool {
        let mut order = kept.to_vec();
        let slot = |claim: usize| self.claims[claim].slot.as_ref();
        order.sort_by_key(|&claim| (slot(claim).map(|slot| slot.at.max(self.now)), claim));
        let mut before: Vec<Slot> =
            order.iter().filter_map(|&claim| self.claims[claim].slot.take()).collect();
        let slots = order.iter().zip(&before);
        let fit = slots.take_while(|(claim, slot)| self.settle(**claim, slot)).count() == before.len();
        if !fit {
            order.iter().for_each(|&claim| drop(self.lift(claim)));
            order
                .iter()
                .zip(before.drain(..))
                .for_each(|(&claim, slot)| self.claims[claim].slot = Some(slot));
        }
        fit
    }

    /// Makes promises that cannot be kept anew, in queue order: none comes earlier at first, lest it puts off another.
    fn repair(&mut self, kept: &[usize]) {
        let take = |claim: &usize| self.claims[*claim].slot.take().map(|slot| (*claim, slot.at));
        let floors: Vec<(usize, Time)> = kept.iter().filter_map(take).collect();
        for (claim, floor) in floors {
            self.earliest(claim, floor.max(self.now), Time::NEVER);
        }
    }

    /// Lets each promise come earlier if it can, with all others in place.
    fn advance(&mut self, kept: &[usize]) {
        for &claim in kept {
            if let Some(at) = self.claims[claim].slot.as_ref().map(|slot| slot.at)
                && at > self.now
            {
                self.earliest(claim, self.now, at);
            }
        }
    }

    /// Gives those a promise who have none; those of a worse rank make room.
    fn join(&mut self) {
        let mut moved: Vec<(usize, Time)> = Vec::new();
        for claim in 0..self.claims.len() {
            if self.claims[claim].slot.is_none() && self.earliest(claim, self.now, Time::NEVER) {
                moved.push((claim, self.now));
            }
        }
        let Some(best) = moved.iter().map(|(claim, _)| self.claims[*claim].rank).min() else { return };
        let new = moved.len();
        for (claim, other) in self.claims.iter().enumerate().filter(|(_, other)| other.rank > best) {
            if let Some(slot) = other.slot.as_ref().filter(|_| moved[..new].iter().all(|m| m.0 != claim)) {
                moved.push((claim, slot.at));
            }
        }
        if moved.len() == new {
            return;
        }
        moved.iter().for_each(|(claim, _)| drop(self.lift(*claim)));
        moved.sort_unstable();
        for (claim, floor) in moved {
            self.earliest(claim, floor.max(self.now), Time::NEVER);
        }
    }

    /// Lets those that start now have more hosts than the fewest that will do, as far as there are beside all others.
    fn widen(&mut self) {
        for claim in 0..self.claims.len() {
            if self.claims[claim].slot.as_ref().is_none_or(|slot| slot.at > self.now) {
                continue;
            }
            let Some(slot) = self.lift(claim) else { continue };
            let wish = self.claims[claim].wishes[slot.wish];
            let wide = self.course.find(self.hosts, wish, slot.at, false);
            let more = wide.filter(|spot| spot.marks().len() > slot.spot.marks().len());
            let spot = more.unwrap_or_else(|| slot.spot.clone());
            self.put(claim, Slot { spot, ..slot });
        }
    }

    /// Promises a claim the earliest start from `from` to before `limit`; false, and nothing has changed, when there is none.
    fn earliest(&mut self, claim: usize, from: Time, limit: Time) -> bool {
        let mut best = self.lift(claim);
        let (before, mut limit) = (best.is_some(), limit);
        let mut found = false;
        for wish in 0..self.claims[claim].wishes.len() {
            if self.search((claim, wish), from, limit) {
                best = self.lift(claim);
                limit = best.as_ref().map_or(limit, |slot| slot.at);
                found = true;
            }
        }
        debug_assert!(found || before == best.is_some());
        if let Some(slot) = best {
            self.put(claim, slot);
        }
        found
    }

    /// The same for one of its wishes, of a claim that has no promise.
    fn search(&mut self, (claim, wish): (usize, usize), mut from: Time, limit: Time) -> bool {
        let asked = self.claims[claim].wishes[wish];
        let mut squeezes = 0;
        while let Some(at) = self.course.next_try(self.hosts, asked, from).filter(|at| *at < limit) {
            if let Some(spot) = self.course.find(self.hosts, asked, at, true) {
                self.put(claim, Slot { wish, at, spot });
                return true;
            }
            if squeezes < MOST_SQUEEZES {
                squeezes += 1;
                if self.squeeze((claim, wish), at) {
                    return true;
                }
            }
            let Some(next) = self.course.next_time(at) else { return false };
            from = next;
        }
        false
    }

    /// Starts a claim at a time at which it fits if others that start later get other places, and gives them these.
    fn squeeze(&mut self, (claim, wish): (usize, usize), at: Time) -> bool {
        let starts = |(other, one): (usize, &Claim)| Some((one.slot.as_ref()?.at, other));
        let mut later: Vec<(Time, usize)> =
            self.claims.iter().enumerate().filter_map(starts).filter(|(start, _)| *start >= at).collect();
        later.sort_unstable();
        let before: Vec<(usize, Slot)> =
            later.iter().filter_map(|&(_, other)| Some((other, self.lift(other)?))).collect();
        let asked = self.claims[claim].wishes[wish];
        let spot = self.course.find(self.hosts, asked, at, true);
        if let Some(spot) = spot {
            self.put(claim, Slot { wish, at, spot });
            if before.iter().all(|(other, slot)| self.settle(*other, slot)) {
                return true;
            }
            self.lift(claim);
            before.iter().for_each(|(other, _)| drop(self.lift(*other)));
        }
        before.into_iter().for_each(|(other, slot)| self.put(other, slot));
        false
    }

    /// Promises a claim the start of a slot, in its place or in another; false when there is none.
    fn settle(&mut self, claim: usize, slot: &Slot) -> bool {
        let wish = self.claims[claim].wishes[slot.wish];
        let at = slot.at.max(self.now);
        let spot = if self.course.is_free(self.hosts, wish, at, &slot.spot) {
            Some(slot.spot.clone())
        } else {
            self.course.find(self.hosts, wish, at, true)
        };
        let Some(spot) = spot else { return false };
        self.put(claim, Slot { wish: slot.wish, at, spot });
        true
    }

    fn put(&mut self, claim: usize, slot: Slot) {
        let wish = self.claims[claim].wishes[slot.wish];
        self.course.take(self.hosts, wish, slot.at, &slot.spot);
        self.claims[claim].slot = Some(slot);
    }

    fn lift(&mut self, claim: usize) -> Option<Slot> {
        let slot = self.claims[claim].slot.take()?;
        let wish = self.claims[claim].wishes[slot.wish];
        self.course.give(self.hosts, wish, slot.at, &slot.spot);
        Some(slot)
    }
}
