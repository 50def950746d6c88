//! What the books cost: bytes of an array, records a second, decisions about all that waits, forecasts.
//!
//! `cargo bench -p muster-core --bench books`. One thread. The cluster has 10,000 hosts of 64 CPUs and is full.

use muster_core::books::Books;
use muster_core::books::event::{Event, Fact};
use muster_core::books::partition::Partition;
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, Hosts, Shape};
use muster_core::decide::Scheduler;
use muster_core::decide::forecast::{Horizon, forecast};
use muster_core::job::event::RunEvent;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::job::outcome::Outcome;
use muster_core::job::usage::Usage;
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::{ArraySpec, JobSpec, Size};
use muster_core::policy::key::Key;
use muster_core::policy::{Candidates, Policy};
use muster_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOSTS: u32 = 10_000;
const MINUTE: i64 = 60_000;

fn main() {
    array();
    let mut site = Site::full();
    for pending in [5_000, 100_000] {
        site.pend(pending);
        site.measure(pending);
    }
}

/// An array of a million elements, all of which run and end, every third badly.
fn array() {
    let mut site = Site::new(1);
    let mut spec = JobSpec::named("array");
    spec.array = Some(ArraySpec { ranges: vec![(0, 999_999, 1)], throttle: None });
    let began = Instant::now();
    let id = site.submit(spec);
    println!("an array of 1,000,000 elements");
    println!("  submitted        {:>9.3} ms, {} bytes", ms(began.elapsed()), site.bytes(id));
    let on = site.placement();
    let (mut most, began) = (0, Instant::now());
    for index in 0..1_000_000 {
        let run = RunId { job: id, element: Some(index) };
        let attempt = Attempt(1);
        site.event(Event::Run(run, RunEvent::Started { attempt, on: on.clone(), after: None }));
        if index >= 10_000 {
            let run = RunId { job: id, element: Some(index - 10_000) };
            let outcome = if index % 3 == 0 { Outcome::Failed(1) } else { Outcome::Completed };
            site.event(Event::Run(run, RunEvent::Ended { attempt, outcome, usage: Usage::default() }));
        }
        if index % 10_000 == 0 {
            most = most.max(site.bytes(id));
        }
    }
    let took = began.elapsed();
    println!("  10,000 at a time {:>9.0} records/s, at most {most} bytes", 1_990_000.0 / took.as_secs_f64());
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

struct Site {
    books: Books,
    hosts: Hosts,
    scheduler: Scheduler,
    now: i64,
}

impl Site {
    fn new(hosts: u32) -> Site {
        let all = Hosts::new(&BTreeMap::new());
        let shape = Shape::parse("2x32x256G").expect("a shape");
        let scheduler = Scheduler::new(Policy::Easy(Key::Submit, Candidates::InOrder));
        let mut site = Site { books: Books::new(Rules::default()), hosts: all, scheduler, now: 0 };
        for number in 0..hosts {
            let partitions = ["p".to_owned()].into();
            let host = Host { partitions, ..Host::new(format!("h{number}"), shape.clone()) };
            site.event(Event::Host(Box::new(host)));
        }
        site.event(Event::Partition(Partition { is_default: true, ..Partition::named("p") }));
        site
    }

    /// A cluster of which every CPU is taken, by jobs of many lengths.
    fn full() -> Site {
        let mut site = Site::new(HOSTS);
        for number in 0..20_000_u32 {
            site.submit(job(number, 32));
        }
        let began = Instant::now();
        let started = site.pass();
        println!("{HOSTS} hosts: {started} jobs started in {:.1} ms", ms(began.elapsed()));
        site
    }

    fn event(&mut self, event: Event) {
        let fact = Fact { at: Time(self.now), event };
        self.books.check(&fact).expect("it can happen");
        self.books.apply(&fact);
        self.scheduler.observe(&self.books, &mut self.hosts, &fact);
    }

    fn submit(&mut self, spec: JobSpec) -> JobId {
        let owner = Arc::new(Owner { uid: 1, gid: 1, user: "u".into() });
        let id = self.books.next_id();
        self.event(Event::Submitted(id, Submitted { owner, spec: Arc::new(spec) }));
        id
    }

    fn pass(&mut self) -> usize {
        let passed = self.scheduler.pass(&mut self.books, &mut self.hosts, Time(self.now));
        for start in &passed.starts {
            let started = RunEvent::Started { attempt: start.attempt, on: start.on.clone(), after: None };
            self.event(Event::Run(start.run, started));
        }
        passed.starts.len()
    }

    /// So many jobs wait.
    fn pend(&mut self, pending: u32) {
        let waiting = self.books.waiting().count() as u32;
        for number in waiting..pending {
            self.submit(job(number, [1, 4, 16, 64][number as usize % 4]));
        }
    }

    fn measure(&mut self, pending: u32) {
        let began = Instant::now();
        self.pass();
        let cold = began.elapsed();
        let began = Instant::now();
        let decided =
            self.scheduler.clone().decide(&mut self.books.clone(), &mut self.hosts.clone(), Time(self.now));
        println!("{pending} pending");
        println!("  pass with all    {:>9.2} ms", ms(cold));
        println!("  all decisions    {:>9.2} ms, of {} (with copies)", ms(began.elapsed()), decided.len());
        let mut times: Vec<Duration> = (0..200).map(|_| self.one_event()).collect();
        times.sort_unstable();
        println!("  after one end    {:>9.3} ms median, {:.3} ms p99", ms(times[100]), ms(times[197]));
        let began = Instant::now();
        let state = (&self.scheduler, &self.books, &self.hosts);
        let told = forecast(state, Time(self.now), Horizon::starts(5_000, Time(self.now)));
        let last = told.last().map_or(0, |told| told.at.0 / MINUTE);
        println!(
            "  forecast         {:>9.2} ms, {} starts, the last in {last} minutes",
            ms(began.elapsed()),
            told.len()
        );
    }

    /// The first of what runs ends, and a pass follows.
    fn one_event(&mut self) -> Duration {
        self.now += 1;
        let (run, attempts) =
            self.books.live().map(|(run, live)| (run, live.attempts)).next().expect("it is full");
        let (attempt, usage) = (Attempt(attempts), Usage::default());
        let began = Instant::now();
        self.event(Event::Run(run, RunEvent::Ended { attempt, outcome: Outcome::Completed, usage }));
        self.pass();
        began.elapsed()
    }

    fn bytes(&self, id: JobId) -> usize {
        self.books.job(id).expect("it is there").heap_bytes()
    }

    /// A placement on one host, of no matter what.
    fn placement(&mut self) -> Arc<muster_core::job::placement::Placement> {
        let mut site = Site::new(1);
        site.submit(job(0, 1));
        let passed = site.scheduler.pass(&mut site.books, &mut site.hosts, Time(0));
        passed.starts[0].on.clone()
    }
}

/// A job of one host, with one of a hundred time limits from ten minutes on.
fn job(number: u32, cpus: u32) -> JobSpec {
    let mut spec = JobSpec::named("j");
    spec.size = Size { cpus_per_task: Some(cpus), max_nodes: Some(1), ..Size::default() };
    spec.time_limit_s = Some(600 + u64::from(number.wrapping_mul(2_654_435_761) % 100) * 600);
    spec
}
