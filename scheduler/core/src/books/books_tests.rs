//! The books against a naive model: one plain object for each element, and every dependency asked anew after each event.

use super::Books;
use super::event::{Event, Fact};
use super::index::Index;
use super::rules::Rules;
use crate::cluster::{Allocation, ClassId};
use crate::job::dependency::{Clause, Dependency, Join, Target};
use crate::job::event::{Elements, JobEvent, RunEvent};
use crate::job::hold::HeldBy;
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::placement::Placement;
use crate::job::state::State;
use crate::job::update::{Field, Update};
use crate::job::usage::Usage;
use crate::job::{Body, Owner, Submitted};
use crate::jobspec::{ArraySpec, JobSpec};
use crate::time::Time;
use proptest::prelude::*;
use std::sync::Arc;

pub(crate) fn on() -> Arc<Placement> {
    let allocation = Arc::new(Allocation { class: ClassId(0), parts: Vec::new() });
    Arc::new(Placement { partition: "p".into(), limit_s: Some(60), allocation })
}

pub(crate) fn submitted(spec: JobSpec) -> Submitted {
    let owner = Arc::new(Owner { uid: 1, gid: 1, user: "u".into() });
    Submitted { owner, spec: Arc::new(spec) }
}

/// Books that are written to, with all that was written.
pub(crate) struct Written {
    pub(crate) books: Books,
    pub(crate) facts: Vec<Fact>,
    pub(crate) now: i64,
}

impl Written {
    pub(crate) fn new() -> Written {
        Written { books: Books::new(Rules::default()), facts: Vec::new(), now: 0 }
    }

    /// Lets an event happen, if it can, a second after the last.
    pub(crate) fn try_event(&mut self, event: Event) -> bool {
        self.now += 1000;
        let fact = Fact { at: Time(self.now), event };
        let can = self.books.check(&fact).is_ok();
        if can {
            self.books.apply(&fact);
            self.facts.push(fact);
        }
        can
    }

    pub(crate) fn event(&mut self, event: Event) {
        let fact = Fact { at: Time(self.now + 1000), event: event.clone() };
        self.books.check(&fact).expect("it can happen");
        self.try_event(event);
    }

    pub(crate) fn submit(&mut self, spec: JobSpec) -> JobId {
        let id = self.books.next_id();
        self.event(Event::Submitted(id, submitted(spec)));
        id
    }

    pub(crate) fn run(&mut self, job: JobId, element: Option<u32>, event: RunEvent) {
        self.event(Event::Run(RunId { job, element }, event));
    }

    /// Starts a job or element, and ends it so.
    pub(crate) fn end(&mut self, job: JobId, element: Option<u32>, outcome: Outcome) {
        self.start(job, element);
        let attempt = Attempt(self.state(job, element).1);
        self.run(job, element, RunEvent::Ended { attempt, outcome, usage: Usage::default() });
    }

    pub(crate) fn start(&mut self, job: JobId, element: Option<u32>) {
        let attempt = Attempt(self.state(job, element).1 + 1);
        self.run(job, element, RunEvent::Started { attempt, on: on(), after: None });
    }

    pub(crate) fn state(&self, job: JobId, element: Option<u32>) -> (State, u32) {
        let run = self.books.run(RunId { job, element }).expect("it is there");
        (run.state, run.attempts)
    }

    fn may_start(&self, job: JobId) -> u32 {
        self.books.entries(job, Time(i64::MAX)).iter().map(|entry| entry.count).sum()
    }
}

fn array(first: u32, last: u32, step: u32) -> JobSpec {
    JobSpec {
        array: Some(ArraySpec { ranges: vec![(first, last, step)], throttle: None }),
        ..JobSpec::named("a")
    }
}

fn depends(spec: JobSpec, join: Join, clauses: &[Clause]) -> JobSpec {
    let mut spec = spec;
    spec.when.dependency = Dependency { join, clauses: clauses.to_vec() };
    spec
}

fn whole(job: JobId) -> Target {
    Target { job, element: None }
}

/// An element that is told ahead has nothing of its own before the one that it follows is over.
#[test]
fn elements_take_over_what_others_have() {
    let mut site = Written::new();
    let mut spec = array(1, 9, 1);
    spec.array.as_mut().expect("an array").throttle = Some(2);
    let job = site.submit(spec);
    site.start(job, Some(1));
    let follow = |of: u32, after: u32| {
        let on = on();
        let started = RunEvent::Started { attempt: Attempt(1), on, after: Some(after) };
        Event::Run(RunId { job, element: Some(of) }, started)
    };
    (2..=4).for_each(|of| site.event(follow(of, of - 1)));
    assert_eq!(site.may_start(job), 1, "who follows has nothing yet");
    let refused = |site: &Written, event| site.books.check(&Fact { at: Time(site.now), event }).is_err();
    assert!(refused(&site, follow(5, 2)), "who has a follower gets no other");
    assert!(refused(&site, follow(5, 7)), "who has nothing leaves nothing");
    let after = |site: &Written, of| site.state(job, Some(of)).0.placed().map(|placed| placed.after);
    assert_eq!([2, 3, 4].map(|of| after(&site, of)), [Some(Some(1)), Some(Some(2)), Some(Some(3))]);
    let over = RunEvent::Ended { attempt: Attempt(1), outcome: Outcome::Completed, usage: Usage::default() };
    // One that has not begun ends: who follows it follows the one before.
    site.run(job, Some(2), over.clone());
    assert_eq!((after(&site, 3), after(&site, 4)), (Some(Some(1)), Some(Some(3))));
    site.run(job, Some(1), over.clone());
    let State::Starting(placed) = site.state(job, Some(3)).0 else { panic!("it begins") };
    assert_eq!((placed.after, placed.started), (None, site.books.last().expect("records")));
    assert_eq!(site.books.followers(RunId { job, element: Some(3) }).count(), 1);
    site.run(job, Some(4), over.clone());
    site.run(job, Some(3), over);
    assert_eq!(site.books.live().count(), 0);
}

/// A clause about a job.
type Asks = fn(Target) -> Clause;

/// Every clause about one job, for every way in which it ends: whether the asker may start before, after the start, and
/// after the end.
#[test]
fn every_clause_with_every_outcome() {
    use Outcome::*;
    let outcomes = [
        Completed,
        Failed(3),
        Signalled(9),
        Timeout,
        OutOfMemory,
        Cancelled(1),
        HostFailed,
        Preempted,
        NotStarted,
        Deadline,
    ];
    for outcome in outcomes {
        let well = outcome == Completed;
        let clauses: [(Asks, bool, bool); 6] = [
            (|on| Clause::After { on, minutes: 0 }, true, true),
            (Clause::AfterAny, false, true),
            (Clause::AfterOk, false, well),
            (Clause::AfterNotOk, false, !well),
            (|on| Clause::AfterCorr(on.job), false, well),
            (|_| Clause::Singleton, false, true),
        ];
        for (clause, after_start, after_end) in clauses {
            let mut written = Written::new();
            let first = written.submit(JobSpec::named("a"));
            let spec = depends(JobSpec::named("a"), Join::All, &[clause(whole(first))]);
            let asker = written.submit(spec);
            let word = clause(whole(first)).word();
            assert_eq!(written.state(asker, None).0, State::Depends, "{word} of a job that waits");
            written.start(first, None);
            assert_eq!(written.may_start(asker) == 1, after_start, "{word} of a job that runs");
            let ended = RunEvent::Ended { attempt: Attempt(1), outcome, usage: Usage::default() };
            written.run(first, None, ended);
            assert_eq!(written.may_start(asker) == 1, after_end, "{word} of {outcome:?}");
            let job = written.books.job(asker).expect("it is there");
            assert_eq!(job.is_hopeless(), !after_end, "{word} of {outcome:?}");
        }
    }
}

#[test]
fn delays_joins_and_unknown_jobs() {
    let mut written = Written::new();
    let (a, b) = (written.submit(JobSpec::named("a")), written.submit(JobSpec::named("b")));
    let after = |on, minutes| Clause::After { on: whole(on), minutes };
    let all =
        written.submit(depends(JobSpec::named("c"), Join::All, &[after(a, 2), Clause::AfterOk(whole(b))]));
    let any =
        written.submit(depends(JobSpec::named("d"), Join::Any, &[after(a, 2), Clause::AfterOk(whole(b))]));
    let unknown =
        written.submit(depends(JobSpec::named("e"), Join::All, &[Clause::AfterOk(whole(JobId(999)))]));
    assert!(
        matches!(written.state(unknown, None).0, State::Pending { .. }),
        "unknown ids count as satisfied"
    );
    written.start(a, None);
    let started = written.now;
    assert_eq!(written.state(any, None).0, State::Pending { from: Time(started + 120_000) });
    assert_eq!(written.state(all, None).0, State::Depends);
    written.end(b, None, Outcome::Failed(1));
    let job = written.books.job(all).expect("it is there");
    assert!(job.is_hopeless(), "one of all has failed");
    assert!(written.books.due(Time(written.now)).is_empty(), "it waits until somebody changes it");
    let rules = Rules { end_invalid_dependency: true, ..Rules::default() };
    written.event(Event::Rules(rules));
    let due = written.books.due(Time(written.now));
    let closed = JobEvent::Closed { of: Elements::All, outcome: Outcome::DependencyNeverSatisfied };
    assert_eq!(due, [Event::Job(all, closed)]);
    due.into_iter().for_each(|event| written.event(event));
    assert_eq!(written.books.job(all).and_then(|job| job.ended()), Some(Time(written.now)));
}

#[test]
fn elements_follow_elements() {
    let mut written = Written::new();
    let a = written.submit(array(0, 9, 1));
    let b = written.submit(depends(array(5, 15, 5), Join::All, &[Clause::AfterCorr(a)]));
    // 15 is no element of the other array: it waits for nothing.
    let names = |written: &Written| -> Vec<&str> {
        [5, 10, 15].iter().map(|i| written.state(b, Some(*i)).0.name()).collect()
    };
    assert_eq!(names(&written), ["waiting for other jobs", "pending", "pending"]);
    written.end(a, Some(4), Outcome::Completed);
    assert_eq!(names(&written), ["waiting for other jobs", "pending", "pending"]);
    written.end(a, Some(5), Outcome::Completed);
    assert_eq!(names(&written), ["pending", "pending", "pending"]);
    let c = written.submit(depends(array(0, 9, 1), Join::All, &[Clause::AfterCorr(a)]));
    written.end(a, Some(7), Outcome::Failed(1));
    let array_of = |written: &Written, id| match written.books.job(id).expect("it is there").body() {
        Body::Array(array) => (array.alike(), array.blocked()),
        Body::One(_) => panic!("an array"),
    };
    assert_eq!(array_of(&written, c), (2, (7, 1)), "4 and 5 may start, 7 never");
    let held = |by| JobEvent::Held { of: Elements::Ranges(vec![(4, 6)]), by };
    written.event(Event::Job(c, held(HeldBy::User)));
    assert_eq!(array_of(&written, c), (0, (6, 1)));
    let released = JobEvent::Released { of: Elements::All, by: HeldBy::User };
    written.event(Event::Job(c, released));
    assert_eq!(array_of(&written, c), (2, (7, 1)), "what is released asks again");
    let d = written.submit(depends(
        array(7, 8, 1),
        Join::Any,
        &[Clause::AfterCorr(a), Clause::AfterOk(whole(b))],
    ));
    assert_eq!(array_of(&written, d), (0, (2, 0)), "7 may still start when all of b is well");
    written.end(a, Some(8), Outcome::Completed);
    assert_eq!(written.may_start(d), 1);
    [5, 10, 15].into_iter().for_each(|i| written.end(b, Some(i), Outcome::Completed));
    assert_eq!(written.may_start(d), 2);
}

#[test]
fn an_element_that_ran_before_waits_as_the_others_do() {
    let mut site = Written::new();
    let other = site.submit(JobSpec::named("other"));
    let id = site.submit(array(1, 2, 1));
    site.start(id, Some(1));
    let (attempt, usage) = (Attempt(1), Usage::default());
    let (outcome, hold) = (Outcome::HostFailed, Some(HeldBy::User));
    site.run(id, Some(1), RunEvent::Requeued { attempt, outcome, usage, hold, from: Time(0) });
    let clauses = vec![Clause::AfterOk(whole(other))];
    let fields = vec![Field::Dependency(Dependency { join: Join::All, clauses })];
    site.event(Event::Job(id, JobEvent::Updated(Box::new(Update { fields }))));
    site.event(Event::Job(id, JobEvent::Released { of: Elements::All, by: HeldBy::User }));
    assert_eq!((site.state(id, Some(1)).0, site.may_start(id)), (State::Depends, 0));
    site.end(other, None, Outcome::Completed);
    assert!(matches!(site.state(id, Some(1)).0, State::Pending { .. }));
    assert_eq!(site.may_start(id), 2);
}

#[test]
fn singletons_go_one_by_one() {
    let mut written = Written::new();
    let single = || depends(JobSpec::named("s"), Join::All, &[Clause::Singleton]);
    let ids: Vec<JobId> = (0..4).map(|_| written.submit(single())).collect();
    let other = written.submit(depends(JobSpec::named("t"), Join::All, &[Clause::Singleton]));
    assert_eq!(written.may_start(other), 1);
    let free = |written: &Written| ids.iter().map(|id| written.may_start(*id)).collect::<Vec<_>>();
    assert_eq!(free(&written), [1, 0, 0, 0]);
    written.event(Event::Job(ids[1], JobEvent::Cancelled { of: Elements::All, by: 1 }));
    assert_eq!(free(&written), [1, 0, 0, 0]);
    written.end(ids[0], None, Outcome::Failed(1));
    assert_eq!(free(&written), [0, 0, 1, 0]);
    let renamed = Update { fields: vec![Field::Name("u".into())] };
    written.event(Event::Job(ids[2], JobEvent::Updated(Box::new(renamed))));
    assert_eq!(free(&written), [0, 0, 1, 1]);
}

#[test]
fn nobody_waits_for_itself() {
    let mut written = Written::new();
    written.submit(JobSpec::named("s"));
    let a = written.submit(JobSpec::named("a"));
    let b = written.submit(depends(JobSpec::named("b"), Join::All, &[Clause::AfterAny(whole(a))]));
    let c = written.submit(depends(JobSpec::named("c"), Join::All, &[Clause::AfterAny(whole(b))]));
    let single = written.submit(depends(JobSpec::named("s"), Join::All, &[Clause::Singleton]));
    let asks = |on| {
        let dependency = Dependency { join: Join::All, clauses: vec![Clause::AfterAny(whole(on))] };
        JobEvent::Updated(Box::new(Update { fields: vec![Field::Dependency(dependency)] }))
    };
    let name = JobEvent::Updated(Box::new(Update { fields: vec![Field::Name("s".into())] }));
    assert!(!written.try_event(Event::Job(a, asks(c))), "through two others");
    assert!(!written.try_event(Event::Job(a, asks(a))), "directly");
    assert!(written.try_event(Event::Job(c, asks(a))), "no circle");
    let late = written.submit(JobSpec::named("s"));
    assert!(written.try_event(Event::Job(late, asks(single))), "a later one of that name is not waited for");
    assert!(written.try_event(Event::Job(a, asks(late))));
    assert!(!written.try_event(Event::Job(a, name)), "by a name, too");
    let own = written.books.next_id();
    let spec = depends(JobSpec::named("x"), Join::All, &[Clause::AfterOk(whole(own))]);
    assert!(!written.try_event(Event::Submitted(own, submitted(spec))));
}

/// What may happen, in random order: kind, job, element, outcome.
type Step = (u8, u8, u8, u8);

fn event(books: &Books, (kind, job, element, outcome): Step) -> Event {
    let outcomes = [Outcome::Completed, Outcome::Failed(1), Outcome::HostFailed, Outcome::Preempted];
    let outcome = outcomes[usize::from(outcome) % 4];
    let ids: Vec<JobId> = books.jobs().map(|job| job.id()).collect();
    let pick = |n: u8| ids.get(usize::from(n) % ids.len().max(1)).copied().unwrap_or(JobId(1));
    let id = pick(job);
    let is_array = books.job(id).is_some_and(|job| matches!(job.body(), Body::Array(_)));
    let index = u32::from(element) % 12;
    let run = RunId { job: id, element: is_array.then_some(index) };
    let attempts = books.run(run).map_or(0, |run| run.attempts);
    let (attempt, usage) = (Attempt(attempts), Usage::default());
    let of =
        if is_array && element % 3 > 0 { Elements::Ranges(vec![(index, index + 3)]) } else { Elements::All };
    let by = if element % 2 == 0 { HeldBy::User } else { HeldBy::Operator };
    match kind % 16 {
        0 | 1 => {
            let base =
                if element % 2 == 0 { array(0, u32::from(element) % 12, 1) } else { JobSpec::named("a") };
            let on = whole(pick(element));
            let clauses = [
                Clause::After { on, minutes: 0 },
                Clause::AfterAny(on),
                Clause::AfterOk(on),
                Clause::AfterNotOk(on),
                Clause::AfterCorr(on.job),
                Clause::Singleton,
            ];
            let some =
                &clauses[usize::from(job) % 6..(usize::from(job) % 6 + usize::from(element) % 3).min(6)];
            let join = if kind == 0 { Join::All } else { Join::Any };
            Event::Submitted(books.next_id(), submitted(depends(base, join, some)))
        }
        2 => Event::Job(id, JobEvent::Held { of, by }),
        3 => Event::Job(id, JobEvent::Released { of, by }),
        4 => Event::Job(id, JobEvent::Cancelled { of, by: 7 }),
        5 => Event::Job(id, JobEvent::Closed { of, outcome: Outcome::Deadline }),
        6..=8 => Event::Run(run, RunEvent::Started { attempt: Attempt(attempts + 1), on: on(), after: None }),
        9 => Event::Run(run, RunEvent::Began { attempt }),
        10 => Event::Run(run, RunEvent::Completing { attempt, outcome }),
        11 | 12 => Event::Run(run, RunEvent::Ended { attempt, outcome, usage }),
        13 => Event::Run(run, RunEvent::Requeued { attempt, outcome, usage, hold: None, from: Time(0) }),
        14 => Event::Purged(id),
        _ => {
            let field =
                if element % 2 == 0 { Field::Begin(None) } else { Field::Throttle(u32::from(element) % 4) };
            Event::Job(id, JobEvent::Updated(Box::new(Update { fields: vec![field] })))
        }
    }
}

proptest! {
    /// What was checked can be applied; the index is that of the jobs; a replay from any cut, and a snapshot, give the
    /// same books.
    #[test]
    fn a_replay_is_the_memory(steps in prop::collection::vec(any::<Step>(), 1..120), cut in 0.0..1.0) {
        let mut written = Written::new();
        for step in steps {
            let event = event(&written.books, step);
            written.try_event(event);
            prop_assert_eq!(&written.books.index, &Index::of(written.books.jobs()));
        }
        let cut = (written.facts.len() as f64 * cut) as usize;
        let mut again = Books::new(Rules::default());
        for (number, fact) in written.facts.iter().enumerate() {
            if number == cut {
                let text = serde_json::to_string(&again).expect("a snapshot");
                again = serde_json::from_str(&text).expect("a snapshot");
            }
            prop_assert!(again.check(fact).is_ok());
            let bytes = postcard::to_allocvec(fact).expect("a record");
            again.apply(&postcard::from_bytes(&bytes).expect("a record"));
        }
        prop_assert!(again == written.books);
    }

    /// An array is what as many single jobs would be: the same events on elements and on jobs of their own.
    #[test]
    fn an_array_is_its_elements(steps in prop::collection::vec(any::<Step>(), 1..100), len in 1_u32..10) {
        let mut many = Written::new();
        let mut one = Written::new();
        let id = many.submit(array(0, len - 1, 1));
        let singles: Vec<JobId> = (0..len).map(|_| one.submit(JobSpec::named("a"))).collect();
        many.now = one.now;
        for (kind, first, last, outcome) in steps {
            let (first, last) = (u32::from(first) % len, u32::from(last) % len);
            let (first, last) = (first.min(last), first.max(last));
            let attempt = many.state(id, Some(first)).1;
            let usage = Usage::default();
            let outcome = if outcome % 2 == 0 { Outcome::Completed } else { Outcome::Failed(outcome) };
            let by = if outcome == Outcome::Completed { HeldBy::User } else { HeldBy::Operator };
            let of = Elements::Ranges(vec![(first, last)]);
            let group = |of| match kind % 4 {
                0 => JobEvent::Held { of, by },
                1 => JobEvent::Released { of, by },
                2 => JobEvent::Cancelled { of, by: 3 },
                _ => JobEvent::Closed { of, outcome: Outcome::Deadline },
            };
            let run = match kind % 8 {
                4 => RunEvent::Began { attempt: Attempt(attempt) },
                5 => RunEvent::Ended { attempt: Attempt(attempt), outcome, usage },
                6 => RunEvent::Requeued { attempt: Attempt(attempt), outcome, usage, hold: None, from: Time(5) },
                _ => RunEvent::Started { attempt: Attempt(attempt + 1), on: on(), after: None },
            };
            let now = many.now;
            if kind % 8 < 4 {
                let did = many.try_event(Event::Job(id, group(of)));
                let each = (first..=last).map(|i| {
                    one.now = now;
                    one.try_event(Event::Job(singles[i as usize], group(Elements::All)))
                });
                prop_assert_eq!(did, each.fold(false, |any, did| any | did));
            } else {
                let did = many.try_event(Event::Run(RunId { job: id, element: Some(first) }, run.clone()));
                let single = RunId { job: singles[first as usize], element: None };
                one.now = now;
                prop_assert_eq!(did, one.try_event(Event::Run(single, run)));
            }
            one.now = many.now;
            for i in 0..len {
                let (array, single) = (many.state(id, Some(i)), one.state(singles[i as usize], None));
                // Times of what waits and of what is over are kept for the array as a whole.
                prop_assert_eq!(array.0.word(), single.0.word());
                prop_assert_eq!(array.0.name(), single.0.name());
                prop_assert_eq!(array.1, single.1);
                if let (Some(a), Some(s)) = (array.0.placed(), single.0.placed()) {
                    prop_assert_eq!(a, s);
                }
            }
            let live = singles.iter().map(|s| one.books.job(*s).unwrap().live_count()).sum::<u32>();
            let waits = singles.iter().map(|s| one.books.job(*s).unwrap().waiting_count()).sum::<u32>();
            let job = many.books.job(id).unwrap();
            prop_assert_eq!((job.live_count(), job.waiting_count()), (live, waits));
            prop_assert_eq!(many.may_start(id), singles.iter().map(|s| one.may_start(*s)).sum::<u32>());
        }
    }
}
