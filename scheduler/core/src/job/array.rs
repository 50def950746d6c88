//! An array: one record for all its elements, however many.
//!
//! An element that waits like the others, or is over, is a code on a tape; only one that runs, or waits in a way of its
//! own (it was started before), is an object. Invariants: an element is in `apart` if and only if its code is [`APART`];
//! `live` counts those there that were given hosts, and `again` are those that may start again, by the time from which;
//! who follows an element is given what that has, and says so itself.

use super::dependency::{Fate, Status};
use super::hold::HeldBy;
use super::indices::Indices;
use super::outcome::Outcome;
use super::state::{Done, Gate, Run, State};
use super::tape::Tape;
use crate::jobspec::ArraySpec;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Waits at the gate of all.
const WAITS: u16 = 0;
/// Waits for the element of another array.
const BLOCKED: u16 = 1;
/// Waits for an element of another array that ended as it should not.
const NEVER: u16 = 2;
/// Held by the user.
const HELD_USER: u16 = 3;
/// Held by an operator.
const HELD_OPERATOR: u16 = 4;
/// An object of its own.
const APART: u16 = 5;
/// Over; the ending's number is added.
const OVER: u16 = 6;
/// How many ways of ending can be told apart at one time.
const ENDINGS: usize = (u16::MAX - OVER) as usize;

/// The elements of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    indices: Indices,
    tape: Tape,
    apart: BTreeMap<u32, Run>,
    again: BTreeSet<(Time, u32)>,
    /// Who takes over the hosts of whom, by index.
    followers: BTreeMap<u32, u32>,
    /// Outcomes, each with the attempts that it took.
    endings: Vec<(Outcome, u32)>,
    /// How many elements may hold hosts at once.
    throttle: Option<u32>,
    live: u32,
    /// When an element was last started, or ended.
    last_start: Option<Time>,
    last_end: Option<Time>,
}

impl Array {
    /// The elements that `spec` names, all waiting; none when there are more than `most`, or it names none.
    pub fn new(spec: &ArraySpec, most: u32, hold: Option<HeldBy>) -> Option<Array> {
        let indices = Indices::new(spec, most)?;
        let tape = Tape::new(indices.len(), hold.map_or(WAITS, held_code));
        Some(Array {
            indices,
            tape,
            apart: BTreeMap::new(),
            again: BTreeSet::new(),
            followers: BTreeMap::new(),
            endings: Vec::new(),
            throttle: spec.throttle.filter(|&throttle| throttle > 0),
            live: 0,
            last_start: None,
            last_end: None,
        })
    }

    /// Its indices.
    pub fn indices(&self) -> &Indices {
        &self.indices
    }

    /// How many elements may hold hosts at once.
    pub fn throttle(&self) -> Option<u32> {
        self.throttle
    }

    /// How many were given hosts.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// How many more may start, by the throttle: who follows another has nothing of its own yet.
    pub fn may_start(&self) -> u32 {
        let hold = self.live.saturating_sub(self.followers.len() as u32);
        self.throttle.map_or(u32::MAX, |throttle| throttle.saturating_sub(hold))
    }

    /// How many wait at the gate of all, and for nothing else.
    pub fn alike(&self) -> u32 {
        self.tape.count(WAITS)
    }

    /// How many wait for the element of another array: those for which it can still end well, and those for which not.
    pub fn blocked(&self) -> (u32, u32) {
        (self.tape.count(BLOCKED), self.tape.count(NEVER))
    }

    /// How many are held and otherwise like all others: by their user, and by an operator.
    pub fn held(&self) -> (u32, u32) {
        (self.tape.count(HELD_USER), self.tape.count(HELD_OPERATOR))
    }

    /// The first element from a place on that waits at the gate of all, by its place.
    pub fn next(&self, from: u32) -> Option<u32> {
        self.tape.first(from, WAITS)
    }

    /// Elements that are objects of their own, by their places.
    pub fn apart(&self) -> impl Iterator<Item = (u32, &Run)> {
        self.apart.iter().map(|(&ordinal, run)| (ordinal, run))
    }

    /// Elements that may start in a way of their own, with the time from which: the first first.
    pub fn again(&self) -> impl Iterator<Item = (Time, u32)> + '_ {
        self.again.iter().copied()
    }

    /// The first time after `now` from which an element may start in a way of its own.
    pub fn again_after(&self, now: Time) -> Option<Time> {
        self.again.range((now.after(1), 0)..).next().map(|(from, _)| *from)
    }

    /// How many have ended.
    pub fn over(&self) -> u32 {
        (0..self.endings.len()).map(|ending| self.tape.count(over_code(ending))).sum()
    }

    /// How many have ended in each way that has occurred.
    pub fn outcomes(&self) -> BTreeMap<Outcome, u32> {
        let mut all = BTreeMap::new();
        for (number, (outcome, _)) in self.endings.iter().enumerate() {
            let count = self.tape.count(over_code(number));
            if count > 0 {
                *all.entry(*outcome).or_insert(0) += count;
            }
        }
        all
    }

    /// When the last element ended; none while one has not.
    pub fn ended(&self) -> Option<Time> {
        self.last_end.filter(|_| self.over() == self.tape.len())
    }

    /// The element at a place, as a value of its own. `gate` is what all wait for.
    pub fn run(&self, ordinal: u32, gate: Gate) -> Run {
        match self.tape.get(ordinal) {
            WAITS => Run::new(gate.state()),
            BLOCKED | NEVER => Run::new(State::Depends),
            HELD_USER => Run::new(State::Held(HeldBy::User)),
            HELD_OPERATOR => Run::new(State::Held(HeldBy::Operator)),
            APART => self.apart[&ordinal].clone(),
            over => {
                let (outcome, attempts) = self.endings[usize::from(over - OVER)];
                let ended = self.last_end.unwrap_or_default();
                Run { attempts, state: State::Done(Done { outcome, started: None, ended }) }
            }
        }
    }

    /// Maximal spans of places whose elements are in one state, with that state; objects one by one.
    pub fn spans(&self, gate: Gate) -> impl Iterator<Item = (u32, u32, Run)> + '_ {
        self.tape.runs().flat_map(move |(first, last, code)| {
            let step = if code == APART { 1 } else { last - first + 1 };
            let places = (first..=last).step_by(step as usize);
            places.map(move |at| (at, at + step - 1, self.run(at, gate)))
        })
    }

    /// Puts a value in an element's place.
    pub fn put(&mut self, ordinal: u32, run: Run, gate: Gate) {
        let was = if self.tape.get(ordinal) == APART { self.apart.remove(&ordinal) } else { None };
        match was.map(|run| run.state) {
            Some(State::Pending { from }) => drop(self.again.remove(&(from, ordinal))),
            Some(state) if state.placed().is_some() => self.live -= 1,
            _ => {}
        }
        if let Some(placed) = run.state.placed() {
            self.live += 1;
            self.last_start = self.last_start.max(Some(placed.started));
        }
        let code = match &run.state {
            State::Done(done) => {
                self.last_end = self.last_end.max(Some(done.ended));
                self.ending(done.outcome, run.attempts)
            }
            State::Held(by) if run.attempts == 0 => held_code(*by),
            state if run.attempts == 0 && *state == gate.state() => WAITS,
            state => {
                if let State::Pending { from } = state {
                    self.again.insert((*from, ordinal));
                }
                self.apart.insert(ordinal, run);
                APART
            }
        };
        self.tape.set(ordinal, code);
    }

    /// Who takes over the hosts of an element when that is over, both by index.
    pub fn follower(&self, index: u32) -> Option<u32> {
        self.followers.get(&index).copied()
    }

    /// An element was told to follow another.
    pub(super) fn follow(&mut self, after: u32, index: u32) {
        self.followers.insert(after, index);
    }

    /// An element is over: who was to follow it follows the one that it was to follow, or has its hosts.
    pub(super) fn move_up(&mut self, index: u32, after: Option<u32>, at: Time) {
        let next = self.followers.remove(&index);
        if let Some(after) = after {
            self.followers.remove(&after);
            self.followers.extend(next.map(|next| (after, next)));
        }
        let place = next.and_then(|next| self.indices.ordinal(next));
        if let Some(run) = place.and_then(|place| self.apart.get_mut(&place)) {
            run.move_up(after, at);
            self.last_start = self.last_start.max(Some(at));
        }
    }

    /// Holds all elements of `spans` that wait and are like the others.
    pub fn hold(&mut self, spans: &[(u32, u32)], by: HeldBy) {
        self.recode(spans, |code| match (code, by) {
            (HELD_OPERATOR | HELD_USER, HeldBy::User) => None,
            (WAITS | BLOCKED | NEVER | HELD_USER, _) => Some(held_code(by)),
            _ => None,
        });
    }

    /// Releases all elements of `spans` that are held and like the others, by who may. What they ask of elements of
    /// another array must be looked at again.
    pub fn release(&mut self, spans: &[(u32, u32)], by: HeldBy) {
        self.recode(spans, |code| match (code, by) {
            (HELD_USER, _) | (HELD_OPERATOR, HeldBy::Operator) => Some(WAITS),
            _ => None,
        });
    }

    /// Ends all elements of `spans` that wait and are like the others.
    pub fn close(&mut self, spans: &[(u32, u32)], outcome: Outcome, at: Time) {
        let before = self.over();
        let over = self.ending(outcome, 0);
        self.recode(spans, |code| (code < APART).then_some(over));
        if self.over() > before {
            self.last_end = self.last_end.max(Some(at));
        }
    }

    /// What the elements of another array say to the element at a place that is not held and like the others.
    pub fn block(&mut self, ordinal: u32, status: Status) {
        if self.tape.get(ordinal) <= NEVER {
            self.tape.set(ordinal, blocked_code(status));
        }
    }

    /// Whether the element at a place waits, is not held, and is like the others but for what it asks of another array.
    pub fn may_block(&self, ordinal: u32) -> bool {
        self.tape.get(ordinal) <= NEVER
    }

    /// Nothing is asked of elements of other arrays any more.
    pub fn unblock(&mut self) {
        self.recode(&[(0, self.tape.len() - 1)], |code| matches!(code, BLOCKED | NEVER).then_some(WAITS));
    }

    /// Spans of elements that wait for what cannot be any more.
    pub fn never(&self) -> Vec<(u32, u32)> {
        self.tape.runs().filter(|&(.., code)| code == NEVER).map(|(first, last, _)| (first, last)).collect()
    }

    /// Changes how many may hold hosts at once; no limit for 0.
    pub fn set_throttle(&mut self, throttle: u32) {
        self.throttle = Some(throttle).filter(|&throttle| throttle > 0);
    }

    /// The fate of all elements together.
    pub fn fate(&self) -> Fate {
        let waiting =
            (WAITS..APART).any(|code| self.tape.count(code) > 0) || (self.tape.count(APART) > self.live);
        let started = self.last_start.or(self.last_end).filter(|_| !waiting);
        let well = || self.outcomes().keys().all(|outcome| outcome.is_success());
        Fate { started, ended: self.ended().map(|at| (at, well())) }
    }

    /// The fate of the element at a place.
    pub fn fate_of(&self, ordinal: u32) -> Fate {
        match self.tape.get(ordinal) {
            WAITS..APART => Fate { started: None, ended: None },
            APART => {
                let placed = self.apart[&ordinal].state.placed();
                Fate { started: placed.map(|placed| placed.started), ended: None }
            }
            over => {
                let (outcome, _) = self.endings[usize::from(over - OVER)];
                let ended = self.last_end.unwrap_or_default();
                Fate { started: self.last_start.or(Some(ended)), ended: Some((ended, outcome.is_success())) }
            }
        }
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        // A tree's nodes are at least half full, so an entry costs at most twice its size, and a little.
        let entry = size_of::<u32>() + size_of::<Run>() + 8;
        self.indices.heap_bytes()
            + self.tape.heap_bytes()
            + self.apart.len() * entry * 2
            + self.again.len() * (size_of::<(Time, u32)>() + 8) * 2
            + self.endings.capacity() * size_of::<(Outcome, u32)>()
    }

    /// Gives elements of `spans` the code that `code` says for theirs.
    fn recode(&mut self, spans: &[(u32, u32)], code: impl Fn(u16) -> Option<u16>) {
        let mut changes = Vec::new();
        for (first, last, is) in self.tape.runs() {
            let Some(new) = code(is) else { continue };
            for &(from, to) in spans {
                if from.max(first) <= to.min(last) {
                    changes.push((from.max(first), to.min(last), new));
                }
            }
        }
        changes.into_iter().for_each(|(first, last, new)| self.tape.fill(first, last, new));
    }

    /// The code of an ending. Numbers of endings that no element has any more are used again.
    fn ending(&mut self, outcome: Outcome, attempts: u32) -> u16 {
        let ending = (outcome, attempts);
        let unused = |number: usize| self.tape.count(over_code(number)) == 0;
        let known = self.endings.iter().position(|known| *known == ending);
        let number = known.or_else(|| (0..self.endings.len()).find(|&number| unused(number)));
        let number = number.unwrap_or(self.endings.len().min(ENDINGS - 1));
        if number == self.endings.len() {
            self.endings.push(ending);
        }
        self.endings[number] = ending;
        over_code(number)
    }
}

fn held_code(by: HeldBy) -> u16 {
    match by {
        HeldBy::User => HELD_USER,
        HeldBy::Operator => HELD_OPERATOR,
    }
}

fn blocked_code(status: Status) -> u16 {
    match status {
        Status::Open => BLOCKED,
        Status::Failed => NEVER,
        Status::Met(_) => WAITS,
    }
}

fn over_code(ending: usize) -> u16 {
    OVER + ending as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Allocation, ClassId};
    use crate::job::id::Attempt;
    use crate::job::placement::Placement;
    use crate::job::state::Placed;
    use std::sync::Arc;

    /// A million elements, each of another fate than its neighbours, while ten thousand run.
    #[test]
    fn a_million_elements_are_sixteen_megabytes() {
        let spec = ArraySpec { ranges: vec![(0, 999_999, 1)], throttle: None };
        let mut array = Array::new(&spec, 1_000_000, None).expect("an array");
        assert!(array.heap_bytes() < 16_384, "{} bytes when nothing has happened", array.heap_bytes());
        let gate = Gate::From(Time(0));
        let allocation = Arc::new(Allocation { class: ClassId(0), parts: Vec::new() });
        let on = Arc::new(Placement { partition: "p".into(), limit_s: None, allocation });
        let outcomes = [Outcome::Completed, Outcome::Failed(1), Outcome::Timeout];
        for place in 0..1_000_000 {
            let state = match place % 100 {
                99 => State::Starting(Placed {
                    attempt: Attempt(1),
                    on: on.clone(),
                    started: Time(1),
                    paused: 0,
                    after: None,
                }),
                n => {
                    let outcome = outcomes[n as usize % 3];
                    State::Done(Done { outcome, started: None, ended: Time(2) })
                }
            };
            array.put(place, Run { attempts: 1, state }, gate);
        }
        assert_eq!((array.live(), array.over()), (10_000, 990_000));
        assert!(array.heap_bytes() < 16 << 20, "{} bytes", array.heap_bytes());
    }
}
