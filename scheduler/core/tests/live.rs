//! The live scheduler over a trace: jobs are records in the books, hosts have cores, and what the policy decides is what
//! the replay of the same trace decides, run after run, and after a reload from the journal at any point.

use muster_core::books::Books;
use muster_core::books::event::{Event, Fact};
use muster_core::books::partition::Partition;
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, Hosts, Shape};
use muster_core::decide::Scheduler;
use muster_core::job::event::RunEvent;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::job::outcome::Outcome;
use muster_core::job::usage::Usage;
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::{JobSpec, Size};
use muster_core::policy::Policy;
use muster_core::protocol::format::Format;
use muster_core::time::Time;
use muster_core::trace::replay::Schedule;
use muster_core::trace::report::{Report, start_lines};
use muster_core::trace::{Trace, TraceOptions, swf};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The start of every job in the order of the trace, and all records that led there.
struct Live<'a> {
    trace: &'a Trace,
    policy: Policy,
    books: Books,
    hosts: Hosts,
    scheduler: Scheduler,
    journal: Vec<Vec<u8>>,
    starts: Vec<Time>,
    /// What runs, by its real end and its place in the trace.
    ends: BTreeSet<(Time, usize)>,
    now: Time,
}

impl<'a> Live<'a> {
    fn new(trace: &'a Trace, policy: Policy, (hosts, shape): (u32, &str)) -> Self {
        let mut live = Live {
            trace,
            policy,
            books: Books::new(Rules::default()),
            hosts: Hosts::new(&BTreeMap::new()),
            scheduler: Scheduler::new(policy),
            journal: Vec::new(),
            starts: vec![Time::NEVER; trace.jobs.len()],
            ends: BTreeSet::new(),
            now: Time(0),
        };
        for number in 0..hosts {
            let shape = Shape::parse(shape).expect("a shape");
            let partitions = ["p".to_owned()].into();
            let host = Host { partitions, ..Host::new(format!("h{number}"), shape) };
            live.record(Time(0), Event::Host(Box::new(host)));
        }
        live.record(Time(0), Event::Partition(Partition { is_default: true, ..Partition::named("p") }));
        live
    }

    fn record(&mut self, at: Time, event: Event) {
        let fact = Fact { at, event };
        self.journal.push(Format::Journal.encode(&fact));
        self.take(&fact);
    }

    fn take(&mut self, fact: &Fact) {
        self.books.check(fact).expect("it can follow");
        self.books.apply(fact);
        self.scheduler.observe(&self.books, &mut self.hosts, fact);
    }

    /// Forgets all but the journal, and goes on from that.
    fn reload(&mut self) {
        let empty = Hosts::new(&BTreeMap::new());
        let before = std::mem::replace(&mut self.books, Books::new(Rules::default()));
        (self.hosts, self.scheduler) = (empty, Scheduler::new(self.policy));
        for bytes in std::mem::take(&mut self.journal) {
            let fact: Fact = Format::Journal.decode(&bytes).expect("a record decodes");
            self.take(&fact);
            self.journal.push(bytes);
        }
        let bytes = |books: &Books| Format::Journal.encode(books);
        assert_eq!(bytes(&self.books), bytes(&before), "a replay equals memory");
    }

    /// Everything that happens at the next moment, and one pass; false when there is none.
    fn step(&mut self, arrived: &mut usize) -> bool {
        let arrival = self.trace.jobs.get(*arrived).map(|job| Time(job.submit.0 * 1000));
        let end = self.ends.first().map(|(end, _)| *end);
        // Where everybody is promised a start, it may come though nothing ends.
        let promises = self.policy == Policy::Conservative && self.books.waiting().next().is_some();
        let wake = self.scheduler.next_wake(&self.books, self.now).filter(|_| promises);
        let Some(now) = end.into_iter().chain(arrival).chain(wake).min() else { return false };
        self.now = now;
        for event in self.books.due(now) {
            self.record(now, event);
        }
        while let Some((_, index)) = self.ends.first().copied().filter(|(end, _)| *end == now) {
            self.ends.pop_first();
            let (attempt, outcome, usage) = (Attempt(1), Outcome::Completed, Usage::default());
            self.record(now, Event::Run(run(index), RunEvent::Ended { attempt, outcome, usage }));
        }
        while let Some(job) = self.trace.jobs.get(*arrived).filter(|job| job.submit.0 * 1000 == now.0) {
            let mut spec = JobSpec::named("traced");
            spec.size = Size { ntasks: Some(job.width), ..Size::default() };
            spec.time_limit_s = Some(job.estimate as u64);
            let owner = Arc::new(Owner { uid: 1, gid: 1, user: format!("u{}", job.user) });
            let id = self.books.next_id();
            assert_eq!(RunId { job: id, element: None }, run(*arrived));
            self.record(now, Event::Submitted(id, Submitted { owner, spec: Arc::new(spec) }));
            *arrived += 1;
        }
        for start in self.scheduler.pass(&mut self.books, &mut self.hosts, now).starts {
            let index = start.run.job.0 as usize - 1;
            self.starts[index] = Time(now.0 / 1000);
            self.ends.insert((now + self.trace.jobs[index].run * 1000, index));
            let started = RunEvent::Started { attempt: start.attempt, on: start.on, after: None };
            self.record(now, Event::Run(start.run, started));
        }
        true
    }

    /// The hash of the schedule, with a reload after so many moments.
    fn hash(mut self, reload: Option<usize>) -> String {
        let (mut arrived, mut moments) = (0, 0);
        while self.step(&mut arrived) {
            moments += 1;
            if reload == Some(moments) {
                self.reload();
            }
        }
        assert!(reload.is_none_or(|at| at <= moments), "the reload was in the middle");
        let ends = self.trace.jobs.iter().zip(&self.starts).map(|(job, start)| *start + job.run).collect();
        let schedule = Schedule { starts: self.starts, ends, max_queue: 0 };
        assert!(!start_lines(self.trace, &schedule).is_empty());
        Report::new(self.trace, &schedule).schedule_hash
    }
}

/// Jobs are submitted in the order of the trace, and numbered from 1.
fn run(index: usize) -> RunId {
    RunId { job: JobId(index as u32 + 1), element: None }
}

fn excerpt() -> Trace {
    let log = swf::read(include_bytes!("replay/excerpt.swf"));
    Trace::new(&log, TraceOptions::default()).expect("the excerpt can be replayed")
}

/// Schedules of the excerpt on one host of 100 cores: those of the replay (tests/replay), where the policy orders by what
/// does not age; the live queue is put in order every five seconds.
const ONE_HOST: &[(&str, &str)] = &[
    ("cons", "b92d9db1ab071c8e"),
    ("easy", "f9eb293e6b19acf8"),
    ("easy-sjf", "1083f9bf2a3371e4"),
    ("fcfs", "50695e1329847aa1"),
    ("sjf+easy", "060ca1a16e5aec72"),
];

#[test]
fn the_live_scheduler_decides_as_the_replay() {
    let trace = excerpt();
    for (policy, hash) in ONE_HOST {
        let live = Live::new(&trace, policy.parse().expect("a policy"), (1, "1x100"));
        assert_eq!(&live.hash(None), hash, "{policy}");
    }
}

/// The shipped policy on hosts with NUMA domains. The hash is the same in every build, on every host.
const MANY_HOSTS: (u32, &str) = (13, "2x4x8G");
const DEFAULT: &str = "bbc1b13aa8e0dc5c";

#[test]
fn a_hundred_runs_have_one_hash() {
    let trace = excerpt();
    for _ in 0..100 {
        assert_eq!(Live::new(&trace, Policy::Default, MANY_HOSTS).hash(None), DEFAULT);
    }
}

#[test]
fn a_reload_from_the_journal_changes_nothing() {
    let trace = excerpt();
    for at in [1, 100, 333, 500, 777] {
        assert_eq!(
            Live::new(&trace, Policy::Default, MANY_HOSTS).hash(Some(at)),
            DEFAULT,
            "after {at} moments"
        );
    }
}

/// Promises are not in the journal: after a reload they are made anew in queue order, which are the same where nothing ends
/// before its estimate.
#[test]
fn a_reload_makes_the_promises_that_were() {
    let options = TraceOptions { perfect: true, first: Some(250), procs: None };
    let log = swf::read(include_bytes!("replay/excerpt.swf"));
    let trace = Trace::new(&log, options).expect("the excerpt can be replayed");
    let hash = |at| Live::new(&trace, Policy::Conservative, (1, "1x100")).hash(at);
    for at in [100, 300] {
        assert_eq!(hash(Some(at)), hash(None), "after {at} moments");
    }
}
