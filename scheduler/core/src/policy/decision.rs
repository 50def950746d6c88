//! Decisions: what a pass says of everything that waits.
//!
//! Invariant: every waiting element gets exactly one decision. Replays of traces do not ask for them.

use super::Backfill;
use super::machine::{Machine, Promise, Running};
use super::pass::{Outcome, Pass, Starts};
use super::queue::{Entry, Queue, Waiting};
use crate::time::Time;

/// What is decided about one job, or about so many elements of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<P> {
    /// Which.
    pub job: Waiting,
    /// What.
    pub decision: Decision<P>,
}

/// One answer of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<P> {
    /// One element starts now, in a place.
    Start {
        /// The number under which it runs.
        running: Running,
        /// Where.
        place: P,
    },
    /// So many elements wait, and the next of them is promised a start.
    Reserved {
        /// How many.
        elements: u32,
        /// When the next of them can start by the estimates of what runs.
        at: Time,
    },
    /// So many elements wait.
    Wait {
        /// How many.
        elements: u32,
        /// What for.
        why: Cause,
    },
}

/// What an element without a promise waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It is the first in the queue and does not fit yet.
    First,
    /// For what is before it in the queue: it does not fit, or would delay the one that has a promise.
    Behind(Waiting),
    /// For something that is not the machine's, which the caller knows.
    NotAdmitted,
    /// For a larger machine.
    TooLarge,
}

/// Runs a pass and tells what it says of each: starts in the order in which they were made, then all that still wait in
/// queue order.
pub fn decide<M: Machine, S: Starts<M>>(
    (pass, backfill): (&mut Pass, Backfill),
    queue: &mut Queue<M::Request>,
    machine: &mut M,
    now: Time,
    admission: &mut S,
) -> Vec<Decided<M::Place>>
where
    M::Place: Clone,
{
    let mut recorder = Recorder { admission, decided: Vec::new(), barred: Vec::new() };
    let mut outcome = pass.run(backfill, queue, machine, (now, &mut recorder));
    outcome.hopeless.sort_unstable();
    let Recorder { mut decided, mut barred, .. } = recorder;
    barred.sort_unstable();
    decided.extend(queue.entries().map(|entry| Decided {
        job: entry.job,
        decision: waits(entry, &outcome, barred.binary_search(&entry.job).is_ok()),
    }));
    decided
}

fn waits<R, P: Promise, L>(entry: &Entry<R>, outcome: &Outcome<P>, barred: bool) -> Decision<L> {
    let elements = entry.count;
    let why = match &outcome.head {
        Some((job, Some(promise))) if *job == entry.job => {
            return Decision::Reserved { elements, at: promise.at() };
        }
        Some((job, None)) if *job == entry.job => Cause::First,
        _ if barred => Cause::NotAdmitted,
        _ if outcome.hopeless.binary_search(&entry.job).is_ok() => Cause::TooLarge,
        Some((job, _)) => Cause::Behind(*job),
        None => Cause::NotAdmitted,
    };
    Decision::Wait { elements, why }
}

/// Hears a pass, and asks somebody else who may start.
struct Recorder<'a, M: Machine, S> {
    admission: &'a mut S,
    decided: Vec<Decided<M::Place>>,
    barred: Vec<Waiting>,
}

impl<M: Machine, S: Starts<M>> Starts<M> for Recorder<'_, M, S>
where
    M::Place: Clone,
{
    fn admit(&mut self, entry: &Entry<M::Request>) -> Option<Running> {
        let running = self.admission.admit(entry);
        if running.is_none() {
            self.barred.push(entry.job);
        }
        running
    }

    fn started(&mut self, entry: &Entry<M::Request>, running: Running, place: M::Place) {
        self.decided
            .push(Decided { job: entry.job, decision: Decision::Start { running, place: place.clone() } });
        self.admission.started(entry, running, place);
    }
}
