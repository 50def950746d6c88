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
        /// When the next of them can start by the estimates of what runs; under [`Backfill::Predicted`] it may be later
        /// until the job is urgent.
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

#[cfg(test)]
mod tests {
    use super::super::Candidates;
    use super::super::key::Key;
    use super::super::pool::Pool;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Numbers what starts, and bars some jobs.
    struct Admission {
        next: u64,
        barred: Vec<u64>,
    }

    impl Starts<Pool> for Admission {
        fn admit(&mut self, entry: &Entry<u32>) -> Option<Running> {
            (!self.barred.contains(&entry.job.0)).then_some(Running(self.next))
        }

        fn started(&mut self, _: &Entry<u32>, _: Running, (): ()) {
            self.next += 1;
        }
    }

    const EASY: Backfill = Backfill::Easy(Candidates::InOrder);

    /// Decisions at time 0, for (job, width, estimate, count) on a pool of 10 of which 6 are taken until 100.
    fn decided(backfill: Backfill, waiting: &[(u64, u32, i64, u32)], barred: &[u64]) -> Vec<Decided<()>> {
        let mut pool = Pool::new(10);
        pool.start(Running(0), 6, Time(100), None).expect("the pool is empty");
        let mut queue = Queue::new(Key::Submit, 1);
        for (job, width, estimate, count) in waiting.iter().copied() {
            let submit = Time(job as i64 - 1000);
            let entry = Entry { job: Waiting(job), rank: 0, submit, estimate, width, count, request: width };
            queue.insert(entry, Time(0));
        }
        let mut admission = Admission { next: 1, barred: barred.to_vec() };
        decide((&mut Pass::default(), backfill), &mut queue, &mut pool, Time(0), &mut admission)
    }

    fn start(job: u64, running: u64) -> Decided<()> {
        Decided { job: Waiting(job), decision: Decision::Start { running: Running(running), place: () } }
    }

    fn wait(job: u64, elements: u32, why: Cause) -> Decided<()> {
        Decided { job: Waiting(job), decision: Decision::Wait { elements, why } }
    }

    fn reserved(job: u64, elements: u32, at: i64) -> Decided<()> {
        Decided { job: Waiting(job), decision: Decision::Reserved { elements, at: Time(at) } }
    }

    #[test]
    fn every_kind_of_decision_is_made() {
        let waiting = [
            (1, 2, 50, 1),  // starts as the head; two are left
            (2, 11, 50, 1), // wider than the machine
            (3, 1, 50, 1),  // barred
            (4, 9, 50, 2),  // the head: waits for the six and for job 1
            (5, 1, 101, 2), // outlives 100: one is spare then, the second is not
            (6, 1, 100, 2), // ends by then: one, and nothing is free any more
        ];
        let wanted = vec![
            start(1, 1),
            start(5, 2),
            start(6, 3),
            wait(2, 1, Cause::TooLarge),
            wait(3, 1, Cause::NotAdmitted),
            reserved(4, 2, 100),
            wait(5, 1, Cause::Behind(Waiting(4))),
            wait(6, 1, Cause::Behind(Waiting(4))),
        ];
        assert_eq!(decided(EASY, &waiting, &[3]), wanted);
    }

    #[test]
    fn first_come_first_served_promises_nothing() {
        let wanted = vec![wait(1, 1, Cause::First), wait(2, 3, Cause::Behind(Waiting(1)))];
        assert_eq!(decided(Backfill::None, &[(1, 5, 10, 1), (2, 1, 10, 3)], &[]), wanted);
    }

    #[test]
    fn the_shortest_candidate_may_go_first() {
        let waiting = [(1, 8, 10, 1), (2, 3, 90, 1), (3, 3, 80, 1)];
        let behind = Cause::Behind(Waiting(1));
        let shortest = decided(Backfill::Easy(Candidates::Shortest), &waiting, &[]);
        assert_eq!(shortest, [start(3, 1), reserved(1, 1, 100), wait(2, 1, behind)]);
        assert_eq!(decided(EASY, &waiting, &[]), [start(2, 1), reserved(1, 1, 100), wait(3, 1, behind)]);
    }

    fn count(decided: &[Decided<()>]) -> BTreeMap<u64, u32> {
        let mut elements = BTreeMap::new();
        for Decided { job, decision } in decided {
            *elements.entry(job.0).or_default() += match decision {
                Decision::Start { .. } => 1,
                Decision::Reserved { elements, .. } | Decision::Wait { elements, .. } => *elements,
            };
        }
        elements
    }

    proptest! {
        /// Each waiting element gets one decision, and an array is as so many jobs.
        #[test]
        fn every_element_gets_one_decision(
            arrays in prop::collection::vec((1_u32..12, 1_i64..200, 1_u32..5), 0..12),
            barred in prop::collection::vec(0_u64..12, 0..4),
            fcfs: bool,
        ) {
            let backfill = if fcfs { Backfill::None } else { EASY };
            let waiting: Vec<_> = (0..).zip(&arrays).map(|(job, &(w, e, n))| (job, w, e, n)).collect();
            let together = decided(backfill, &waiting, &barred);
            let wanted: BTreeMap<u64, u32> = waiting.iter().map(|w| (w.0, w.3)).collect();
            prop_assert_eq!(count(&together), wanted);

            // Elements as jobs of their own: array and element in one number, which orders alike.
            let single = |&(job, w, e, n): &(u64, u32, i64, u32)| (0..u64::from(n)).map(move |i| (job * 10 + i, w, e, 1));
            let apart: Vec<_> = waiting.iter().flat_map(single).collect();
            let apart_barred: Vec<u64> = barred.iter().flat_map(|job| (0..10).map(move |i| job * 10 + i)).collect();
            let apart = decided(backfill, &apart, &apart_barred);
            let starts = |all: &[Decided<()>], over: u64| -> Vec<u64> {
                all.iter().filter(|d| matches!(d.decision, Decision::Start { .. })).map(|d| d.job.0 / over).collect()
            };
            prop_assert_eq!(starts(&together, 1), starts(&apart, 10));
        }
    }
}
