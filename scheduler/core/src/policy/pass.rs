//! One pass over the queue: the head starts while it fits, then it gets a promise, and others start if they do not
//! delay it (EASY: Lifka 1995; Mu'alem, Feitelson 2001).
//!
//! The pass is written once, for every machine: the controller and the replay of traces run this code.

use super::machine::{Machine, Promise, Running};
use super::queue::{Brief, Entry, Queue, Waiting};
use super::{Backfill, Candidates};
use crate::time::Time;
use std::collections::BTreeSet;

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
    /// What an empty machine could not run, of those before the head.
    pub hopeless: Vec<Hopeless>,
}

/// Requests that an empty machine could not run: their class, and from which estimate on.
pub type Hopeless = (u32, i64);

/// The memory of passes, kept between them so that none allocates.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Positions of candidates, when they are not tried in queue order.
    candidates: Vec<(i64, usize)>,
    refused: Refused,
    /// What an empty machine could not run: those that are alike are looked at once.
    hopeless: Refused,
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
        self.hopeless.forget();
        let (refused, hopeless) = (&mut self.refused, &mut self.hopeless);
        let mut round = Round { queue, machine, now, starts, refused, promise: None, predicting: false };
        let mut outcome = Outcome { head: None, hopeless: Vec::new() };
        let mut from = 0;
        let is_hopeless = |hopeless: &Refused, brief: &Brief| hopeless.knows(brief.class, brief.estimate, 0);
        while let Some(at) = round.queue.next(from, u32::MAX, |brief| is_hopeless(hopeless, brief)) {
            from = at + 1;
            let (request, lasts) = (round.queue.entry(at).request, round.queue.entry(at).estimate);
            if round.try_entry(at) != Tried::NoRoom {
                continue;
            }
            // What may not start whatever is free is promised nothing, and nobody makes room for it.
            if round.starts.admit(round.queue.entry(at)).is_none() {
                continue;
            }
            let job = round.queue.entry(at).job;
            if backfill == Backfill::None {
                outcome.head = Some((job, None));
                break;
            }
            let Some(promise) = round.machine.promise(request, now, lasts) else {
                hopeless.note(request.into(), (lasts - 1, i64::MAX));
                continue;
            };
            round.promise = Some(promise);
            // The promise to a head that has waited for too long is kept whatever others really run.
            round.predicting = backfill == Backfill::Predicted && !round.queue.is_urgent(at);
            match backfill {
                Backfill::Easy(Candidates::Shortest) => round.shortest(from, &mut self.candidates),
                _ => round.in_order(from),
            }
            outcome.head = Some((job, round.promise));
            break;
        }
        outcome.hopeless = hopeless.all().map(|(class, longest)| (class, longest + 1)).collect();
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
    /// Whether predictions say who ends by the promise, in the place of estimates.
    predicting: bool,
}

impl<M: Machine, S: Starts<M>> Round<'_, M, S> {
    /// Tries every candidate from a position on, in queue order.
    fn in_order(&mut self, mut from: usize) {
        while let Some(at) = self.next(from) {
            self.try_entry(at);
            from = at + 1;
        }
    }

    /// The next candidate from a position on.
    fn next(&self, from: usize) -> Option<usize> {
        let lasts = |brief: &Brief| if self.predicting { brief.predicted } else { brief.estimate };
        let refused = |brief: &Brief| self.refused.knows(brief.class, brief.estimate, lasts(brief));
        self.queue.next(from, self.machine.free(), refused)
    }

    /// Tries every candidate from a position on, the shortest first.
    fn shortest(&mut self, mut from: usize, candidates: &mut Vec<(i64, usize)>) {
        candidates.clear();
        // What is too wide now stays so, for a pass only takes.
        while let Some(at) = self.next(from) {
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
            let lasts = if self.predicting { self.queue.predicted(at) } else { entry.estimate };
            let outlives = self.promise.as_ref().is_some_and(|p| self.now.after(lasts) > p.at());
            let room = if outlives { self.promise.as_ref().map_or(0, Promise::spare) } else { u32::MAX };
            if entry.width > self.machine.free().min(room) {
                return Tried::NoRoom;
            }
            let class = entry.request.into();
            if self.refused.knows(class, entry.estimate, lasts) {
                return Tried::NoRoom;
            }
            // The entry as it is now tells which element is next.
            let Some(running) = self.starts.admit(self.queue.entry(at)) else { return Tried::NotAdmitted };
            // What ends in time by its prediction only does not wait for room beside the promise.
            let beside = self.promise.as_mut().filter(|p| outlives || end <= p.at());
            let Some(place) = self.machine.start(running, entry.request, end, beside) else {
                self.refuse(&entry, outlives);
                return Tried::NoRoom;
            };
            self.starts.started(self.queue.entry(at), running, place);
            self.queue.take(at, 1);
        }
        Tried::Started
    }

    /// Notes that an entry was refused, and with it all of its class that would be, too.
    fn refuse(&mut self, entry: &Entry<M::Request>, outlives: bool) {
        let class = entry.request.into();
        let for_its_end = self.machine.minds_ends() && self.machine.fits(entry.request);
        match self.promise.as_ref().filter(|_| outlives).map(Promise::at) {
            // It may be for the estimate or for the prediction: that says nothing of any other.
            Some(_) if for_its_end && self.predicting => {}
            _ if for_its_end => self.refused.note(class, (entry.estimate - 1, i64::MAX)),
            Some(at) => self.refused.note(class, (i64::MAX, at - self.now)),
            None => self.refused.note(class, (i64::MIN, i64::MIN)),
        }
    }
}

/// Classes of requests that the machine has refused in this pass. Room only shrinks in it, so none is asked twice.
#[derive(Clone, Debug, Default)]
struct Refused {
    /// For each class the longest estimate that was not refused, and the longest that one may last by what counts in the
    /// pass, estimates or predictions.
    longest: Vec<(i64, i64)>,
    /// The classes that were.
    classes: Vec<u32>,
}

impl Refused {
    const NOTHING: (i64, i64) = (i64::MAX, i64::MAX);

    fn forget(&mut self) {
        for class in self.classes.drain(..) {
            self.longest[class as usize] = Self::NOTHING;
        }
    }

    fn knows(&self, class: u32, estimate: i64, lasts: i64) -> bool {
        self.longest.get(class as usize).is_some_and(|longest| estimate > longest.0 || lasts > longest.1)
    }

    /// The classes, each with the longest estimate that was not refused.
    fn all(&self) -> impl Iterator<Item = (u32, i64)> {
        let known: BTreeSet<u32> = self.classes.iter().copied().collect();
        known.into_iter().map(|class| (class, self.longest[class as usize].0))
    }

    fn note(&mut self, class: u32, (estimate, lasts): (i64, i64)) {
        if self.longest.len() <= class as usize {
            self.longest.resize(class as usize + 1, Self::NOTHING);
        }
        let longest = &mut self.longest[class as usize];
        *longest = (longest.0.min(estimate), longest.1.min(lasts));
        self.classes.push(class);
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::super::outlook::Outlook;
    use super::super::pool::Pool;
    use super::*;

    /// A machine whose processors never lie together: it has many free, and refuses all that is wider than one. It counts
    /// how often it is asked.
    struct Scattered {
        asked: usize,
        /// How often it is asked for a promise, which it has none of for what is wider than all that it has.
        promised: usize,
    }

    struct Soon;

    impl Promise for Soon {
        fn at(&self) -> Time {
            Time(100)
        }

        fn spare(&self) -> u32 {
            u32::MAX
        }
    }

    impl Machine for Scattered {
        type Request = u32;
        type Place = ();
        type Promise = Soon;

        fn free(&self) -> u32 {
            1000
        }

        fn size(&self) -> u32 {
            1000
        }

        fn drained(&self, now: Time) -> Time {
            now
        }

        fn fits(&mut self, request: u32) -> bool {
            request == 1
        }

        fn start(&mut self, _: Running, request: u32, end: Time, beside: Option<&mut Soon>) -> Option<()> {
            self.asked += 1;
            // Wide jobs fit nowhere; those of two fit, but not beside the promise.
            let beside = beside.is_none_or(|promise| end <= promise.at());
            (request == 1 || (request == 2 && beside)).then_some(())
        }

        fn finish(&mut self, _: Running) {}

        fn promise(&mut self, request: u32, _: Time, _: i64) -> Option<Soon> {
            self.promised += 1;
            (request <= 1000).then_some(Soon)
        }
    }

    struct Anybody(Vec<u64>);

    impl<M: Machine<Request = u32, Place = ()>> Starts<M> for Anybody {
        fn admit(&mut self, entry: &Entry<u32>) -> Option<Running> {
            Some(Running(entry.job.0))
        }

        fn started(&mut self, _: &Entry<u32>, running: Running, (): ()) {
            self.0.push(running.0);
        }
    }

    #[test]
    fn equal_requests_are_refused_once_in_a_pass_and_anew_in_the_next() {
        let mut queue = Queue::new(Key::Submit, 1);
        // The head fits nowhere. Others are alike: as wide as it, or two wide and longer or shorter than the promise.
        let waiting = [(5, 10), (5, 10), (2, 200), (5, 10), (2, 300), (2, 50), (1, 10), (2, 200), (2, 50)];
        for (job, (width, estimate)) in (0..).zip(waiting) {
            let entry = Entry {
                job: Waiting(job),
                rank: 0,
                submit: Time(0),
                estimate,
                width,
                count: 1,
                request: width,
            };
            queue.insert(entry, Time(0));
        }
        let (mut machine, mut pass, mut starts) =
            (Scattered { asked: 0, promised: 0 }, Pass::default(), Anybody(Vec::new()));
        let easy = Backfill::Easy(Candidates::InOrder);
        let outcome = pass.run(easy, &mut queue, &mut machine, (Time(0), &mut starts));
        assert_eq!(outcome.head.map(|(job, _)| job), Some(Waiting(0)));
        assert_eq!(starts.0, [5, 6, 8]);
        // The head, the long one of two, and the three that start.
        assert_eq!(machine.asked, 5);
        pass.run(easy, &mut queue, &mut machine, (Time(1), &mut starts));
        assert_eq!((machine.asked, queue.elements()), (7, 6));
    }

    #[test]
    fn what_nobody_can_run_is_looked_at_once_for_all_that_are_alike() {
        let mut queue = Queue::new(Key::Submit, 1);
        // The shorter one is looked at for itself.
        for (job, (width, estimate)) in (0..).zip([(2000, 20), (2000, 30), (2000, 10), (2000, 20), (1, 10)]) {
            let (job, submit, request) = (Waiting(job), Time(0), width);
            queue.insert(Entry { job, rank: 0, submit, estimate, width, count: 1, request }, Time(0));
        }
        let (mut machine, mut pass, mut starts) =
            (Scattered { asked: 0, promised: 0 }, Pass::default(), Anybody(Vec::new()));
        for looks in [2, 4] {
            let easy = Backfill::Easy(Candidates::InOrder);
            let outcome = pass.run(easy, &mut queue, &mut machine, (Time(0), &mut starts));
            assert_eq!((outcome.head.is_none(), outcome.hopeless), (true, vec![(2000, 10)]));
            assert_eq!((&starts.0[..], machine.promised), (&[4][..], looks));
        }
    }

    #[test]
    fn predictions_count_until_the_head_is_urgent() {
        // Of ten processors six are taken until 100, and the head waits for them. It leaves one: for a job that outlives
        // 100. One ends by its prediction, one by its estimate, the last not even by its prediction.
        let run = |backfill: Backfill, urgent: i64| {
            let mut pool = Pool::new(10);
            pool.start(Running(0), 6, Time(100), None).expect("the pool is empty");
            let mut queue = Queue::new(Key::Submit, 1);
            let waiting = [(9, 10, 10), (1, 500, 60), (1, 40, 30), (2, 900, 101), (1, 900, 101)];
            for (job, (width, estimate, predicted)) in (1..).zip(waiting) {
                let entry = Entry {
                    job: Waiting(job),
                    rank: 0,
                    submit: Time(0),
                    estimate,
                    width,
                    count: 1,
                    request: width,
                };
                let urgent = if job == 1 { Time(urgent) } else { Time::NEVER };
                queue.insert_with(entry, Outlook { predicted, urgent }, Time(10));
            }
            let mut starts = Anybody(Vec::new());
            let outcome = Pass::default().run(backfill, &mut queue, &mut pool, (Time(10), &mut starts));
            assert_eq!(
                outcome.head.and_then(|(_, promise)| promise).map(|promise| promise.at()),
                Some(Time(100))
            );
            starts.0
        };
        // The spare one is left for job 5, because job 2 is to end in time.
        assert_eq!(run(Backfill::Predicted, 10), [2, 3, 5]);
        assert_eq!(run(Backfill::Predicted, 9), [2, 3], "job 2 took the spare one");
        assert_eq!(run(Backfill::Easy(Candidates::InOrder), 10), [2, 3]);
    }
}
