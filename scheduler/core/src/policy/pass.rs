//! One pass over the queue: the head starts while it fits, then it gets a promise, and others start if they do not
//! delay it (EASY: Lifka 1995; Mu'alem, Feitelson 2001).
//!
//! The pass is written once, for every machine: the controller and the replay of traces run this code.

use super::machine::{Machine, Promise, Running};
use super::queue::{Entry, Queue, Waiting};
use super::{Backfill, Candidates};
use crate::time::Time;

/// Who asks for a pass: says what may start, and hears what does.
pub trait Starts<M: Machine> {
    /// The number under which the next element of `entry` would run; none when it may not start for a reason that is not
    /// the machine's, such as a limit or a licence: the pass goes on as if it did not wait.
    fn admit(&mut self, entry: &Entry<M::Request>) -> Option<Running>;

    /// The next element of `entry` runs as `running` from now on.
    fn started(&mut self, entry: &Entry<M::Request>, running: Running, place: M::Place);
}

/// What a pass says of those that did not start; all others wait behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<P> {
    /// The head that did not fit, with what it was promised; no promise under a policy that makes none.
    pub head: Option<(Waiting, Option<P>)>,
    /// Entries before the head that an empty machine could not run.
    pub hopeless: Vec<Waiting>,
}

/// The memory of passes, kept between them so that none allocates.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Positions of candidates, when they are not tried in queue order.
    candidates: Vec<(i64, usize)>,
    refused: Refused,
}

impl Pass {
    /// Starts what may start now. The queue must be in order ([`Queue::refresh`]).
    pub fn run<M: Machine, S: Starts<M>>(
        &mut self,
        backfill: Backfill,
        queue: &mut Queue<M::Request>,
        machine: &mut M,
        (now, starts): (Time, &mut S),
    ) -> Outcome<M::Promise> {
        queue.compact();
        self.refused.forget();
        let mut round = Round { queue, machine, now, starts, refused: &mut self.refused, promise: None };
        let mut outcome = Outcome { head: None, hopeless: Vec::new() };
        let mut from = 0;
        while let Some(at) = round.queue.next(from, u32::MAX) {
            from = at + 1;
            let (request, lasts) = (round.queue.entry(at).request, round.queue.entry(at).estimate);
            if round.try_entry(at) != Tried::NoRoom {
                continue;
            }
            let job = round.queue.entry(at).job;
            let Backfill::Easy(candidates) = backfill else {
                outcome.head = Some((job, None));
                break;
            };
            let Some(promise) = round.machine.promise(request, now, lasts) else {
                outcome.hopeless.push(job);
                continue;
            };
            round.promise = Some(promise);
            match candidates {
                Candidates::InOrder => round.in_order(from),
                Candidates::Shortest => round.shortest(from, &mut self.candidates),
            }
            outcome.head = Some((job, round.promise));
            break;
        }
        outcome
    }
}

/// What came of trying to start all elements of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// All run.
    Started,
    /// The caller did not let one.
    NotAdmitted,
    /// There was no room for one.
    NoRoom,
}

struct Round<'a, M: Machine, S> {
    queue: &'a mut Queue<M::Request>,
    machine: &'a mut M,
    now: Time,
    starts: &'a mut S,
    refused: &'a mut Refused,
    promise: Option<M::Promise>,
}

impl<M: Machine, S: Starts<M>> Round<'_, M, S> {
    /// Tries every candidate from a position on, in queue order.
    fn in_order(&mut self, mut from: usize) {
        while let Some(at) = self.queue.next(from, self.machine.free()) {
            self.try_entry(at);
            from = at + 1;
        }
    }

    /// Tries every candidate from a position on, the shortest first.
    fn shortest(&mut self, mut from: usize, candidates: &mut Vec<(i64, usize)>) {
        candidates.clear();
        // What is too wide now stays so, for a pass only takes.
        while let Some(at) = self.queue.next(from, self.machine.free()) {
            candidates.push((self.queue.entry(at).estimate, at));
            from = at + 1;
        }
        candidates.sort_unstable();
        for (_, at) in candidates.drain(..) {
            self.try_entry(at);
        }
    }

    /// Starts elements of the entry at a position until one cannot.
    fn try_entry(&mut self, at: usize) -> Tried {
        let entry = *self.queue.entry(at);
        let end = self.now.after(entry.estimate);
        for _ in 0..entry.count {
            let outlives = self.promise.as_ref().is_some_and(|p| end > p.at());
            let room = if outlives { self.promise.as_ref().map_or(0, Promise::spare) } else { u32::MAX };
            if entry.width > self.machine.free().min(room) {
                return Tried::NoRoom;
            }
            let class = self.machine.class(entry.request);
            if self.refused.knows(class, outlives) {
                return Tried::NoRoom;
            }
            // The entry as it is now tells which element is next.
            let Some(running) = self.starts.admit(self.queue.entry(at)) else { return Tried::NotAdmitted };
            let Some(place) = self.machine.start(running, entry.request, end, self.promise.as_mut()) else {
                self.refused.note(class, outlives);
                return Tried::NoRoom;
            };
            self.starts.started(self.queue.entry(at), running, place);
            self.queue.take(at, 1);
        }
        Tried::Started
    }
}

/// Classes of requests that the machine has refused in this pass. Room only shrinks in it, so none is asked twice.
#[derive(Clone, Debug, Default)]
struct Refused {
    /// For each class the last pass in which it did not fit, and that in which it did not fit beside the promise.
    passes: Vec<[u64; 2]>,
    pass: u64,
}

impl Refused {
    fn forget(&mut self) {
        self.pass += 1;
    }

    fn knows(&self, class: usize, outlives: bool) -> bool {
        let known = |[fits, beside]: &[u64; 2]| *fits == self.pass || (outlives && *beside == self.pass);
        self.passes.get(class).is_some_and(known)
    }

    fn note(&mut self, class: usize, outlives: bool) {
        if self.passes.len() <= class {
            self.passes.resize(class + 1, [0; 2]);
        }
        self.passes[class][usize::from(outlives)] = self.pass;
    }
}
