//! Decisions on a small cluster: exactly one for everything that waits, with all reasons.

use super::decision::{Decided, Decision};
use super::forecast::{Horizon, forecast, what_if};
use super::preempt::Preempt;
use super::reason::{Reason, word};
use super::{Passed, Scheduler};
use crate::books::Books;
use crate::books::event::{Event, Fact};
use crate::books::partition::{Partition, PartitionState, PreemptMode};
use crate::books::reservation::{Purpose, Reservation};
use crate::books::rules::Rules;
use crate::cluster::{Host, Hosts, Misfit, Shape};
use crate::job::dependency::{Clause, Dependency, Join, Target};
use crate::job::event::{Elements, JobEvent, RunEvent};
use crate::job::hold::HeldBy;
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::placement::Placement;
use crate::job::update::{Field, Update};
use crate::job::usage::Usage;
use crate::job::{Body, Owner, Submitted};
use crate::jobspec::{ArraySpec, JobSpec, Size, Work};
use crate::policy::key::Key;
use crate::policy::{Candidates, Policy};
use crate::time::Time;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const MINUTE: i64 = 60_000;

/// A site: two partitions, `low` the default and `high` above it, over four hosts of four CPUs.
pub(super) struct Site {
    pub(super) books: Books,
    pub(super) hosts: Hosts,
    pub(super) scheduler: Scheduler,
    pub(super) now: i64,
}

impl Site {
    fn new() -> Site {
        Site::under(easy())
    }

    pub(super) fn under(scheduler: Scheduler) -> Site {
        let mut site = Site { books: Books::new(rules(1)), hosts: cluster(), scheduler, now: 0 };
        for number in 0..4 {
            let shape = Shape::parse("1x4x8G").expect("a shape");
            let partitions = ["low", "high"].map(String::from).into();
            let host = Host { partitions, ..Host::new(format!("n{number}"), shape) };
            site.event(Event::Host(Box::new(host)));
        }
        let low = Partition { is_default: true, preempt: PreemptMode::Requeue, ..Partition::named("low") };
        site.event(Event::Partition(low));
        site.event(Event::Partition(Partition {
            tier: 2,
            max_time_s: Some(3600),
            ..Partition::named("high")
        }));
        site
    }

    pub(super) fn event(&mut self, event: Event) {
        let fact = Fact { at: Time(self.now), event };
        self.books.check(&fact).expect("it can happen");
        self.books.apply(&fact);
        self.scheduler.observe(&self.books, &mut self.hosts, &fact);
    }

    pub(super) fn submit(&mut self, spec: JobSpec) -> JobId {
        let owner = Arc::new(Owner { uid: 1, gid: 1, user: "u".into() });
        let id = self.books.next_id();
        self.event(Event::Submitted(id, Submitted { owner, spec: Arc::new(spec) }));
        id
    }

    /// A pass, whose starts are recorded.
    pub(super) fn pass(&mut self) -> Passed {
        let passed = self.scheduler.pass(&mut self.books, &mut self.hosts, Time(self.now));
        for start in &passed.starts {
            self.event(Event::Run(
                start.run,
                RunEvent::Started { attempt: start.attempt, on: start.on.clone(), after: None },
            ));
        }
        passed
    }

    pub(super) fn end(&mut self, job: JobId) {
        let run = RunId { job, element: None };
        let usage = Usage::default();
        self.event(Event::Run(
            run,
            RunEvent::Ended { attempt: Attempt(1), outcome: Outcome::Completed, usage },
        ));
    }

    /// Everything in the way of one job, after a pass.
    fn words(&mut self, job: JobId) -> Vec<&'static str> {
        let passed = self.pass();
        self.explain(job, &passed).iter().flat_map(|d| d.decision.reasons()).map(Reason::word).collect()
    }

    fn explain(&mut self, job: JobId, passed: &Passed) -> Vec<Decided> {
        self.scheduler.explain(&self.books, &mut self.hosts, (job, passed), Time(self.now))
    }
}

/// A cluster of which nothing is known yet.
fn cluster() -> Hosts {
    Hosts::new(&BTreeMap::new())
}

/// Rules of a site with so many solvers.
fn rules(solvers: u32) -> Rules {
    Rules { licences: BTreeMap::from([("solver".to_owned(), solvers)]), ..Rules::default() }
}

fn easy() -> Scheduler {
    Scheduler::new(Policy::Easy(Key::Submit, Candidates::InOrder))
}

pub(super) fn hosts(count: u32, minutes: u64) -> JobSpec {
    let mut spec = JobSpec::named("j");
    spec.size = Size { nodes: count, max_nodes: Some(count), cpus_per_task: Some(4), ..Size::default() };
    spec.time_limit_s = Some(minutes * 60);
    spec
}

pub(super) fn array(count: u32, throttle: Option<u32>) -> JobSpec {
    let mut spec = hosts(1, 10);
    spec.array = Some(ArraySpec { ranges: vec![(1, count, 1)], throttle });
    spec
}

#[test]
fn each_way_of_waiting_has_its_word() {
    let mut site = Site::new();
    let first = site.submit(hosts(3, 60));
    assert_eq!(site.pass().starts.len(), 1);
    let on = Target { job: first, element: None };
    let waiting = |change: &dyn Fn(&mut JobSpec)| {
        let mut spec = hosts(1, 10);
        change(&mut spec);
        spec
    };
    let licences = |count| vec![("solver".to_owned(), count)];
    let reserved = Reservation {
        name: "course".into(),
        from: Time(99 * MINUTE),
        to: Time(120 * MINUTE),
        hosts: vec!["n3".into()],
        purpose: Purpose::Jobs { users: vec!["u".into()], accounts: Vec::new() },
    };
    site.event(Event::Reservation(reserved));
    site.event(Event::Partition(Partition { state: PartitionState::Down, ..Partition::named("down") }));
    let clause = |c| Dependency { join: Join::All, clauses: vec![c] };
    let specs: Vec<(JobSpec, &[&str])> = vec![
        (waiting(&|s| s.when.hold = true), &["JobHeldUser"]),
        (waiting(&|s| s.when.begin = Some(Time(5 * MINUTE))), &["BeginTime"]),
        (waiting(&|s| s.when.dependency = clause(Clause::AfterOk(on))), &["Dependency"]),
        (
            waiting(&|s| (s.when.hold, s.when.dependency) = (true, clause(Clause::AfterOk(on)))),
            &["JobHeldUser", "Dependency"],
        ),
        (waiting(&|s| s.queue.partitions = vec!["down".into()]), &["PartitionDown", "BadConstraints"]),
        (waiting(&|s| s.queue.partitions = vec!["nosuch".into()]), &["PartitionConfig"]),
        (
            waiting(&|s| (s.queue.partitions, s.time_limit_s) = (vec!["high".into()], Some(7200))),
            &["PartitionTimeLimit"],
        ),
        (waiting(&|s| s.queue.reservation = Some("course".into())), &["Reservation"]),
        (waiting(&|s| s.queue.reservation = Some("nosuch".into())), &["ReservationDeleted"]),
        (waiting(&|s| s.needs.constraint = Some("nosuch".into())), &["BadConstraints"]),
        (waiting(&|s| s.needs.licences = licences(2)), &["Licenses"]),
        (waiting(&|s| s.size.nodes = 9), &["PartitionConfig"]),
        (waiting(&|s| s.size.cpus_per_task = Some(5)), &["PartitionConfig"]),
    ];
    for (number, (spec, words)) in specs.into_iter().enumerate() {
        let id = site.submit(spec);
        assert_eq!(site.words(id), words, "case {number}");
    }
    let head = site.submit(hosts(2, 60));
    let behind = site.submit(hosts(4, 60));
    assert_eq!(site.words(head), ["Resources"]);
    assert_eq!(site.words(behind), ["Priority", "Resources"]);
    let passed = site.pass();
    let told = site.explain(head, &passed);
    let Decision::Reserve { at, reasons } = &told[0].decision else { panic!("a promise, not {told:?}") };
    assert_eq!(*at, Time(60 * MINUTE));
    let Reason::Resources { holders, .. } = &reasons[0] else { panic!("resources, not {reasons:?}") };
    assert_eq!(holders[..], [(RunId { job: first, element: None }, Time(60 * MINUTE))]);
    assert_eq!(word(reasons), "Resources");
}

#[test]
fn licences_are_those_of_the_rules() {
    let mut site = Site::new();
    let solver = |count| {
        let mut spec = hosts(1, 10);
        spec.needs.licences = vec![("solver".to_owned(), count)];
        spec
    };
    let [a, b] = [1, 1].map(|count| site.submit(solver(count)));
    assert_eq!(site.words(b), ["Licenses"]);
    site.event(Event::Rules(rules(2)));
    assert_eq!(site.pass().starts[0].run.job, b);
    let two = site.submit(solver(2));
    let one = site.submit(solver(1));
    assert_eq!(site.words(two), ["Licenses"]);
    site.event(Event::Rules(rules(1)));
    assert_eq!(site.words(two), ["Licenses"]);
    let passed = site.pass();
    let told = site.explain(two, &passed);
    assert!(matches!(
        told[0].decision.reasons(),
        [Reason::Misfit(Misfit::Licence { needs: 2, total: 1, .. })]
    ));
    // Two are held of one: the first that comes back is none for others, after a restart, too.
    for holder in [a, b] {
        assert_eq!(site.pass().starts, []);
        let anew = easy().decide(&mut site.books.clone(), &mut cluster(), Time(site.now));
        assert!(!anew.iter().any(|one| matches!(one.decision, Decision::Start(..))), "{anew:?}");
        site.end(holder);
    }
    assert_eq!(site.pass().starts[0].run.job, one);
    site.event(Event::Rules(Rules::default()));
    let unknown = site.submit(solver(1));
    let passed = site.pass();
    let told = site.explain(unknown, &passed);
    assert!(matches!(told[0].decision.reasons(), [Reason::Misfit(Misfit::Unknown { what: "licence", .. })]));
    site.event(Event::Rules(rules(3)));
    let starts: Vec<_> = site.pass().starts.iter().map(|start| start.run.job).collect();
    assert_eq!(starts, [two], "and one is held");
}

#[test]
fn an_array_starts_by_its_throttle() {
    let mut site = Site::new();
    let id = site.submit(array(10, Some(3)));
    let mut scheduler = site.scheduler.clone();
    let decided = scheduler.decide(&mut site.books.clone(), &mut site.hosts.clone(), Time(0));
    let starts: Vec<_> = decided.iter().filter(|d| matches!(d.decision, Decision::Start(..))).collect();
    assert_eq!(starts.iter().map(|d| d.run.element).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    let rest = &decided[3..];
    assert_eq!((rest.len(), rest[0].elements), (1, 7));
    assert_eq!(word(rest[0].decision.reasons()), "JobArrayTaskLimit");
    assert_eq!(site.pass().starts.len(), 3);
    assert_eq!(site.pass().starts.len(), 0);
    let lost = RunEvent::Requeued {
        attempt: Attempt(1),
        outcome: Outcome::HostFailed,
        usage: Usage::default(),
        hold: None,
        from: Time(2 * MINUTE),
    };
    site.event(Event::Run(RunId { job: id, element: Some(2) }, lost));
    let next = site.pass();
    assert_eq!(next.starts[0].run.element, Some(4), "the lost one waits for its time");
    assert_eq!(site.scheduler.next_wake(&site.books, Time(0)), Some(Time(2 * MINUTE)));
    let cancelled = JobEvent::Cancelled { of: Elements::Ranges(vec![(5, 10)]), by: 1 };
    site.event(Event::Job(id, cancelled));
    let ended = |attempt| RunEvent::Ended { attempt, outcome: Outcome::Completed, usage: Usage::default() };
    site.event(Event::Run(RunId { job: id, element: Some(1) }, ended(Attempt(1))));
    assert_eq!(site.pass().starts.len(), 0);
    site.now = 2 * MINUTE;
    let again = site.pass();
    assert_eq!((again.starts[0].run.element, again.starts[0].attempt), (Some(2), Attempt(2)));
}

#[test]
fn a_job_takes_the_partition_that_is_first() {
    let mut site = Site::new();
    let mut spec = hosts(1, 10);
    spec.queue.partitions = vec!["low".into(), "high".into()];
    let id = site.submit(spec);
    let passed = site.pass();
    assert_eq!(passed.starts.len(), 1, "once, though it stands in two queues");
    assert_eq!((passed.starts[0].run.job, &passed.starts[0].on.partition[..]), (id, "high"));
    assert_eq!(site.pass().starts.len(), 0);
}

#[test]
fn the_youngest_of_the_lowest_make_room() {
    let mut site = Site::new();
    let mut ids = Vec::new();
    for minutes in 0..4 {
        site.now = minutes * MINUTE;
        let mut spec = hosts(1, 60);
        if minutes == 3 {
            spec.queue.requeue = crate::jobspec::Requeue::Never;
        }
        ids.push(site.submit(spec));
        assert_eq!(site.pass().starts.len(), 1);
    }
    let mut urgent = hosts(2, 10);
    urgent.queue.partitions = vec!["high".into()];
    let urgent = site.submit(urgent);
    let passed = site.pass();
    let plan = site.scheduler.preempt(&site.books, &site.hosts, &passed).expect("two make room");
    let victims: Vec<_> = plan.victims.iter().map(|victim| (victim.run.job, victim.how)).collect();
    assert_eq!(victims, [(ids[3], Preempt::Cancel), (ids[2], Preempt::Requeue)]);
    let decided =
        site.scheduler.clone().decide(&mut site.books.clone(), &mut site.hosts.clone(), Time(site.now));
    assert!(decided.iter().any(|d| d.run.job == urgent && matches!(d.decision, Decision::Preempt(_))));
    let equal = site.submit(hosts(4, 10));
    site.end(ids[0]);
    site.end(ids[1]);
    let passed = site.pass();
    assert_eq!(passed.starts[0].run.job, urgent);
    assert_eq!(passed.head.map(|head| head.job), Some(equal));
    assert_eq!(site.scheduler.preempt(&site.books, &site.hosts, &passed), None, "nobody is below it");
}

#[test]
fn a_forecast_is_the_decisions_run_forward() {
    let mut site = Site::new();
    let a = site.submit(hosts(3, 60));
    site.pass();
    let b = site.submit(hosts(4, 30));
    let mut after_b = hosts(2, 10);
    after_b.when.dependency =
        Dependency { join: Join::All, clauses: vec![Clause::AfterAny(Target { job: b, element: None })] };
    let c = site.submit(after_b);
    let d = site.submit(hosts(1, 60));
    let e = site.submit(hosts(1, 70));
    site.pass();
    let horizon = Horizon { grain: 0, ..Horizon::starts(100, Time(0)) };
    let told = forecast((&site.scheduler, &site.books, &site.hosts), Time(0), horizon);
    let starts: Vec<_> = told.iter().map(|told| (told.run.job, told.at.0 / MINUTE)).collect();
    // d fits beside a and ends in time for b; e would delay b.
    assert!(!starts.iter().any(|(job, _)| *job == d || *job == a));
    assert_eq!(starts, [(b, 60), (e, 90), (c, 90)]);
    let shorter = JobEvent::Updated(Box::new(Update { fields: vec![Field::TimeLimit(Some(60))] }));
    let state = (&site.scheduler, &site.books, &site.hosts);
    assert_eq!(
        what_if(state, (e, Event::Job(e, shorter.clone())), Time(0), horizon),
        Ok(Some(Time(90 * MINUTE)))
    );
    site.end(d);
    let state = (&site.scheduler, &site.books, &site.hosts);
    assert_eq!(what_if(state, (e, Event::Job(e, shorter)), Time(0), horizon), Ok(Some(Time(0))));
    assert!(what_if(state, (b, Event::Purged(b)), Time(0), horizon).is_err());
}

#[test]
fn idle_hosts_are_lent_and_taken_back() {
    let mut site = Site::new();
    let mut kernel = hosts(1, 60);
    (kernel.work, kernel.size.max_nodes) = (Work::Kernel, Some(4));
    let first = site.submit(hosts(3, 10));
    let kernel = site.submit(kernel);
    let run = RunId { job: kernel, element: None };
    let passed = site.pass();
    let attempt = Attempt(1);
    site.event(Event::Run(run, RunEvent::Began { attempt }));
    let hosts_of = |on: &Placement| on.allocation.parts.iter().map(|part| part.host.0).collect::<Vec<_>>();
    assert_eq!(hosts_of(&passed.starts[1].on), [3]);
    site.end(first);
    let passed = site.pass();
    let grown = site.scheduler.resize(&site.books, &site.hosts, &passed);
    assert_eq!((grown.len(), hosts_of(&grown[0].on)), (1, vec![3, 0, 1, 2]));
    site.event(Event::Run(run, RunEvent::Replaced { attempt, on: grown[0].on.clone() }));
    let waits = site.submit(hosts(3, 10));
    let passed = site.pass();
    assert_eq!((passed.starts.len(), passed.head.map(|head| head.job)), (0, Some(waits)));
    let shrunk = site.scheduler.resize(&site.books, &site.hosts, &passed);
    assert_eq!((shrunk.len(), hosts_of(&shrunk[0].on)), (1, vec![3]));
    site.event(Event::Run(run, RunEvent::Replaced { attempt, on: shrunk[0].on.clone() }));
    let passed = site.pass();
    assert_eq!((passed.starts[0].run.job, hosts_of(&passed.starts[0].on)), (waits, vec![0, 1, 2]));
    assert_eq!(site.scheduler.resize(&site.books, &site.hosts, &passed), [], "nothing is left to lend");
    let too_wide = site.submit(hosts(4, 10));
    let passed = site.pass();
    assert_eq!(passed.head.map(|head| head.job), Some(too_wide));
    assert_eq!(site.scheduler.resize(&site.books, &site.hosts, &passed), [], "it has no more than it must");
}

/// What may be submitted or happen: kind, job, number.
pub(super) type Step = (u8, u8, u8);

pub(super) fn random_event(site: &Site, (kind, job, number): Step) -> Option<Event> {
    let books = &site.books;
    let ids: Vec<JobId> = books.jobs().map(|job| job.id()).collect();
    let id = *ids.get(usize::from(job) % ids.len().max(1)).unwrap_or(&JobId(1));
    let run = books.live().map(|(run, live)| (run, live.attempts)).nth(usize::from(number) % 3);
    let usage = Usage::default();
    let outcome = Outcome::HostFailed;
    Some(match kind % 9 {
        0..=2 => {
            let mut spec = if number % 3 == 0 {
                array(u32::from(number) % 7 + 1, Some(2))
            } else {
                hosts(1 + u32::from(number) % 5, 10)
            };
            spec.when.hold = job % 7 == 0;
            if job % 5 == 0 {
                spec.when.begin = Some(Time(i64::from(number) * MINUTE));
            }
            if job % 3 == 0 {
                spec.queue.partitions = vec!["high".into(), "low".into()];
            }
            if number % 4 == 0 {
                let on = Target { job: id, element: None };
                spec.when.dependency =
                    Dependency { join: Join::Any, clauses: vec![Clause::AfterOk(on), Clause::AfterCorr(id)] };
            }
            let owner = Arc::new(Owner { uid: 1, gid: 1, user: "u".into() });
            Event::Submitted(books.next_id(), Submitted { owner, spec: Arc::new(spec) })
        }
        3 => Event::Job(id, JobEvent::Held { of: Elements::All, by: HeldBy::Operator }),
        4 => Event::Job(id, JobEvent::Released { of: Elements::All, by: HeldBy::Operator }),
        5 => Event::Job(id, JobEvent::Cancelled { of: Elements::All, by: 1 }),
        6 => {
            let (run, attempts) = run?;
            let attempt = Attempt(attempts);
            Event::Run(
                run,
                RunEvent::Requeued { attempt, outcome, usage, hold: None, from: Time(site.now + MINUTE) },
            )
        }
        _ => {
            let (run, attempts) = run?;
            Event::Run(
                run,
                RunEvent::Ended { attempt: Attempt(attempts), outcome: Outcome::Completed, usage },
            )
        }
    })
}

/// Decisions in words: classes of requests are numbered anew after a restart.
fn said(decided: &[Decided]) -> Vec<(RunId, u32, Option<String>, Vec<&'static str>)> {
    let parts = |decision: &Decision| match decision {
        Decision::Start(attempt, on) => Some(format!("{attempt:?} {:?}", on.allocation.parts)),
        Decision::Reserve { at, .. } => Some(format!("{at:?}")),
        _ => None,
    };
    let words = |decision: &Decision| decision.reasons().iter().map(Reason::word).collect();
    decided.iter().map(|d| (d.run, d.elements, parts(&d.decision), words(&d.decision))).collect()
}

proptest! {
    /// Exactly one decision for everything that waits; a scheduler that has followed decides as one that begins anew, on
    /// hosts that begin anew.
    #[test]
    fn everything_that_waits_has_one_decision(steps in prop::collection::vec(any::<Step>(), 1..60)) {
        let mut site = Site::new();
        for step in steps {
            site.now += MINUTE / 2;
            if let Some(event) = random_event(&site, step) {
                let fact = Fact { at: Time(site.now), event };
                if site.books.check(&fact).is_ok() {
                    site.event(fact.event);
                }
            }
            let fresh = easy();
            let mut of_all: Books = serde_json::from_str(&serde_json::to_string(&site.books).unwrap()).unwrap();
            let anew = fresh.clone().decide(&mut of_all, &mut cluster(), Time(site.now));
            let decided = site.scheduler.clone().decide(&mut site.books.clone(), &mut site.hosts.clone(), Time(site.now));
            prop_assert_eq!(said(&anew), said(&decided));
            for job in site.books.waiting() {
                let mine: Vec<_> = decided.iter().filter(|d| d.run.job == job.id()).collect();
                let elements: u32 = mine.iter().map(|d| d.elements).sum();
                prop_assert_eq!(elements, job.waiting_count(), "{:?}", mine);
                for one in mine {
                    let starts = matches!(one.decision, Decision::Start(..));
                    prop_assert_eq!(starts, one.decision.reasons().is_empty(), "{:?}", one);
                    prop_assert!(one.run.element.is_none() || matches!(job.body(), Body::Array(_)));
                }
            }
            site.pass();
        }
    }
}
