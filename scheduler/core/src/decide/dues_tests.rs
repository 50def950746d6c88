//! Accounts at work: limits in the way, who is first, and books that balance.

use super::dues::{Dues, Terms};
use super::reason::Reason;
use super::{Passed, Scheduler};
use crate::books::Books;
use crate::books::event::{Event, Fact};
use crate::books::partition::Partition;
use crate::books::rules::Rules;
use crate::cluster::{Host, Hosts, Shape};
use crate::job::event::{Elements, JobEvent, RunEvent};
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::update::{Field, Update};
use crate::job::usage::Usage;
use crate::job::{Owner, Submitted};
use crate::jobspec::{ArraySpec, JobSpec, Size};
use crate::policy::priority::{Multifactor, PartitionWeight, Weights};
use crate::policy::{Candidates, Policy, key::Key};
use crate::share::accounts::Accounts;
use crate::share::holdings::Holdings;
use crate::share::resource::Amounts;
use crate::share::usage::Decay;
use crate::time::Time;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const TABLE: &str = r#"
    [accounts.lab]
    limits.total = { submitted = 12, amounts = { cpus = 6 } }
    users = { ada = {}, bob = {} }
    [accounts.open]
    users = { ada = {} }
    [qos.one]
    limits.per_user.jobs = 1
    [qos.high]
    priority = 100"#;

pub(super) struct Site {
    pub(super) books: Books,
    pub(super) hosts: Hosts,
    pub(super) scheduler: Scheduler,
    pub(super) now: i64,
}

pub(super) fn terms(table: &str) -> Terms {
    let accounts = Accounts::new(toml::from_str(table).expect("a table")).expect("accounts");
    let amounts = Amounts { cpus: 16, gpus: 0, memory_mib: 32_768, hosts: 4 };
    Terms {
        accounts: Arc::new(accounts),
        rule: Multifactor { weights: Weights { qos: 1000, ..Weights::default() }, ..Multifactor::default() },
        decay: Decay::weekly(1000).expect("a decay"),
        amounts,
        partitions: BTreeMap::from([("p".to_owned(), PartitionWeight { priority: 1, amounts })]),
    }
}

pub(super) fn easy() -> Scheduler {
    Scheduler::new(Policy::Easy(Key::Submit, Candidates::InOrder))
}

impl Site {
    fn new() -> Site {
        Site::with(terms(TABLE), [Partition { is_default: true, ..Partition::named("p") }])
    }

    /// Four hosts of four CPUs that are in all these partitions.
    pub(super) fn with(terms: Terms, partitions: impl IntoIterator<Item = Partition>) -> Site {
        let scheduler = easy().with_dues(Dues::new(terms, None, Time(0)));
        let hosts = Hosts::new(&BTreeMap::new());
        let mut site = Site { books: Books::new(Rules::default()), hosts, scheduler, now: 0 };
        let all: Vec<Partition> = partitions.into_iter().collect();
        for number in 0..4 {
            let shape = Shape::parse("1x4x8G").expect("a shape");
            let partitions = all.iter().map(|partition| partition.name.clone()).collect();
            let host = Host { partitions, ..Host::new(format!("n{number}"), shape) };
            site.event(Event::Host(Box::new(host)));
        }
        all.into_iter().for_each(|partition| site.event(Event::Partition(partition)));
        site
    }

    pub(super) fn event(&mut self, event: Event) {
        self.now += 1000;
        let fact = Fact { at: Time(self.now), event };
        self.books.check(&fact).expect("it can happen");
        self.books.apply(&fact);
        self.scheduler.observe(&self.books, &mut self.hosts, &fact);
    }

    pub(super) fn submit(&mut self, request: Submitted) -> JobId {
        let id = self.books.next_id();
        self.event(Event::Submitted(id, request));
        id
    }

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

    fn end(&mut self, job: JobId, element: Option<u32>) {
        let (outcome, usage) = (Outcome::Completed, Usage::default());
        let run = RunId { job, element };
        self.event(Event::Run(run, RunEvent::Ended { attempt: Attempt(1), outcome, usage }));
    }

    fn words(&mut self, job: JobId) -> Vec<&'static str> {
        let passed = self.pass();
        let told = self.scheduler.explain(&self.books, &mut self.hosts, (job, &passed), Time(self.now));
        told.iter().flat_map(|d| d.decision.reasons()).map(Reason::word).collect()
    }
}

pub(super) fn asks(user: &str, account: Option<&str>, qos: Option<&str>, cpus: u32) -> Submitted {
    let mut spec = JobSpec::named("j");
    spec.size = Size { cpus_per_task: Some(cpus), ..Size::default() };
    spec.time_limit_s = Some(600);
    spec.queue.account = account.map(String::from);
    spec.queue.qos = qos.map(String::from);
    let owner = Arc::new(Owner { uid: user.len() as u32, gid: 1, user: user.into() });
    Submitted { owner, spec: Arc::new(spec) }
}

fn array(count: u32) -> Submitted {
    let mut request = asks("bob", Some("lab"), None, 2);
    let array = ArraySpec { ranges: vec![(1, count, 1)], throttle: None };
    Arc::make_mut(&mut request.spec).array = Some(array);
    request
}

#[test]
fn limits_keep_back_and_let_go() {
    let mut site = Site::new();
    let first = site.submit(asks("ada", Some("open"), Some("one"), 1));
    let second = site.submit(asks("ada", Some("open"), Some("one"), 1));
    assert_eq!(site.words(second), ["QOSMaxJobsPerUserLimit"]);
    site.end(first, None);
    assert_eq!(site.pass().starts[0].run.job, second);
    let big = site.submit(asks("ada", Some("lab"), None, 4));
    let small = site.submit(asks("bob", Some("lab"), None, 3));
    assert_eq!(site.words(small), ["AssocGrpCpuLimit"]);
    let none = site.submit(asks("bob", Some("open"), None, 1));
    assert_eq!(site.words(none), ["InvalidAccount"]);
    let nosuch = site.submit(asks("bob", None, Some("nosuch"), 1));
    assert_eq!(site.words(nosuch), ["InvalidQOS"]);
    let moved = Update { fields: vec![Field::Account(None), Field::Qos(None)] };
    site.event(Event::Job(none, JobEvent::Updated(Box::new(moved))));
    assert_eq!(site.pass().starts[0].run.job, none, "4 and 1 of 6");
    site.end(big, None);
    assert_eq!(site.pass().starts[0].run.job, small);
}

#[test]
fn an_array_starts_within_its_accounts_limits() {
    let mut site = Site::new();
    let id = site.submit(array(10));
    assert_eq!(site.pass().starts.len(), 3, "two CPUs each, of six");
    assert_eq!(site.words(id), ["AssocGrpCpuLimit"]);
    site.end(id, Some(2));
    assert_eq!(site.pass().starts.len(), 1);
    let refused = site.scheduler.admit(&site.books, &mut site.hosts, &array(4), Time(site.now));
    let reasons = refused.expect_err("nine and four are more than twelve").reasons;
    assert_eq!(reasons.iter().map(Reason::word).collect::<Vec<_>>(), ["AssocGrpSubmitJobsLimit"]);
    assert!(site.scheduler.admit(&site.books, &mut site.hosts, &array(3), Time(site.now)).is_ok());
}

#[test]
fn nobody_waits_for_one_that_limits_keep_back() {
    let mut site = Site::new();
    for qos in [Some("one"), None, None, None] {
        site.submit(asks("ada", Some("open"), qos, 4));
    }
    assert_eq!(site.pass().starts.len(), 4, "all hosts are taken");
    let kept = site.submit(asks("ada", Some("open"), Some("one"), 4));
    let passed = site.pass();
    assert!(passed.head.is_none(), "{passed:?}");
    assert!(site.words(kept).contains(&"QOSMaxJobsPerUserLimit"));
    let next = site.submit(asks("bob", Some("lab"), None, 4));
    assert_eq!(site.pass().head.map(|head| head.job), Some(next));
}

#[test]
fn priority_goes_before_age() {
    let mut site = Site::new();
    let all = site.submit(asks("ada", Some("open"), None, 4));
    let low = site.submit(asks("ada", Some("open"), None, 4));
    let high = site.submit(asks("ada", Some("open"), Some("high"), 4));
    let passed = site.pass();
    let order: Vec<_> = passed.starts.iter().map(|start| start.run.job).collect();
    assert_eq!(order, [high, all, low]);
}

#[test]
fn books_balance_when_all_is_over() {
    let mut site = Site::new();
    let id = site.submit(array(6));
    let one = site.submit(asks("ada", Some("lab"), Some("one"), 1));
    site.pass();
    site.end(id, Some(1));
    let usage = Usage::default();
    let requeued = RunEvent::Requeued {
        attempt: Attempt(1),
        outcome: Outcome::HostFailed,
        usage,
        hold: None,
        from: Time(0),
    };
    site.event(Event::Run(RunId { job: id, element: Some(2) }, requeued));
    site.event(Event::Job(id, JobEvent::Cancelled { of: Elements::All, by: 1 }));
    site.event(Event::Job(one, JobEvent::Cancelled { of: Elements::All, by: 1 }));
    let live: Vec<(RunId, u32)> = site.books.live().map(|(run, live)| (run, live.attempts)).collect();
    for (run, attempts) in live {
        let (attempt, outcome) = (Attempt(attempts), Outcome::Completed);
        site.event(Event::Run(run, RunEvent::Ended { attempt, outcome, usage }));
    }
    let dues = site.scheduler.dues().expect("accounts");
    assert_eq!(dues.holdings, Holdings::new(&terms(TABLE).accounts));
    assert_eq!(site.hosts.free_cpus(crate::cluster::HostId(0)), 4);
    let association = terms(TABLE).accounts.association_named("lab", "bob").expect("bob");
    let counted = crate::share::usage::Counted::Amount(crate::share::resource::Resource::Cpus);
    let used = dues.usage().association_s(association, counted, Time(site.now));
    assert!(used > 6.0, "three elements of two CPUs ran for seconds: {used}");
}

/// Limits of each kind that hangs on what is held or was used.
const TIGHT: &str = r#"
    [accounts.lab]
    shares = 3
    limits.total = { submitted = 40, amounts = { cpus = 10 }, run_minutes = { cpus = 70 } }
    users = { ada = { shares = 2 }, bob = {} }
    [accounts.open]
    limits.total = { minutes = { cpus = 60 } }
    users = { ada = {} }
    [qos.one]
    priority = 10
    usage_factor = 2.0
    limits.per_user.jobs = 2"#;

fn tight() -> Terms {
    let weights = Weights { qos: 1000, fairshare: 100_000, ..Weights::default() };
    Terms { rule: Multifactor { weights, ..Multifactor::default() }, ..terms(TIGHT) }
}

/// What may happen next: something is submitted, ends, is stopped, goes on, or is changed.
fn random_event(books: &Books, (kind, pick): (u8, u8)) -> Option<Event> {
    let live: Vec<_> = books.live().collect();
    let some =
        live.get(usize::from(pick) % live.len().max(1)).map(|(run, live)| (*run, Attempt(live.attempts)));
    let (outcome, usage) = (Outcome::Completed, Usage::default());
    let (user, account) = [("ada", "lab"), ("ada", "open"), ("bob", "lab")][usize::from(pick) % 3];
    let qos = (pick % 4 == 0).then_some("one");
    let run =
        |event: &dyn Fn(Attempt) -> RunEvent| some.map(|(run, attempt)| Event::Run(run, event(attempt)));
    match kind % 10 {
        0..=2 => {
            let request = asks(user, Some(account), qos, u32::from(pick) % 4 + 1);
            Some(Event::Submitted(books.next_id(), request))
        }
        3 => Some(Event::Submitted(books.next_id(), array(3))),
        4 => run(&|attempt| RunEvent::Suspended { attempt }),
        5 => run(&|attempt| RunEvent::Resumed { attempt }),
        6 => run(&|attempt| RunEvent::Began { attempt }),
        7 => {
            let account = if pick % 2 == 0 { "lab" } else { "nosuch" };
            let fields = vec![Field::Account(Some(account.into()))];
            some.map(|(run, _)| Event::Job(run.job, JobEvent::Updated(Box::new(Update { fields }))))
        }
        8 => run(&|attempt| RunEvent::Requeued { attempt, outcome, usage, hold: None, from: Time(0) }),
        _ => run(&|attempt| RunEvent::Ended { attempt, outcome, usage }),
    }
}

/// What starts and where: classes of requests are numbered anew after a restart.
fn said(passed: &Passed) -> Vec<String> {
    let starts = passed.starts.iter().map(|start| format!("{:?} {:?}", start.run, start.on.allocation.parts));
    starts.chain([format!("{:?} {:?}", passed.head.map(|head| head.job), passed.limited)]).collect()
}

impl Site {
    /// The same site as a snapshot of now makes it anew.
    fn restored(&mut self) -> Site {
        let now = Time(self.now);
        self.scheduler.tick(&self.books, now);
        let usage = serde_json::to_string(self.scheduler.dues().expect("accounts").usage()).expect("JSON");
        let books = serde_json::to_string(&self.books).expect("JSON");
        let books: Books = serde_json::from_str(&books).expect("JSON");
        let usage = serde_json::from_str(&usage).expect("JSON");
        let scheduler = easy().with_dues(Dues::restore(tight(), usage, &books, now));
        Site { books, hosts: Hosts::new(&BTreeMap::new()), scheduler, now: self.now }
    }

    /// A pass that is not recorded yet.
    fn try_pass(&mut self) -> Passed {
        self.scheduler.pass(&mut self.books, &mut self.hosts, Time(self.now))
    }
}

proptest! {
    /// Whoever goes on from a snapshot decides as one that was there all the time, and charges the same.
    #[test]
    fn a_snapshot_is_as_good_as_memory(
        before in prop::collection::vec(any::<(u8, u8)>(), 1..40),
        after in prop::collection::vec(any::<(u8, u8)>(), 1..40),
    ) {
        let mut sites = vec![Site::with(tight(), [Partition { is_default: true, ..Partition::named("p") }])];
        for (number, step) in before.iter().chain(&after).enumerate() {
            if number == before.len() {
                let anew = sites[0].restored();
                sites.push(anew);
            }
            sites.iter_mut().for_each(|site| site.now += 20_000);
            let (books, at) = (&sites[0].books, Time(sites[0].now + 1000));
            let event = random_event(books, *step);
            let can = |event: &Event| books.check(&Fact { at, event: event.clone() }).is_ok();
            if let Some(event) = event.filter(can) {
                sites.iter_mut().for_each(|site| site.event(event.clone()));
            }
            let passed: Vec<Passed> = sites.iter_mut().map(Site::try_pass).collect();
            let said: Vec<_> = passed.iter().map(said).collect();
            prop_assert!(said.iter().all(|other| *other == said[0]), "{:#?}", said);
            for start in &passed[0].starts {
                let started = RunEvent::Started { attempt: start.attempt, on: start.on.clone(), after: None };
                sites.iter_mut().for_each(|site| site.event(Event::Run(start.run, started.clone())));
            }
            let held = |site: &Site| site.scheduler.dues().map(|dues| dues.holdings.clone());
            prop_assert!(sites.iter().all(|site| held(site) == held(&sites[0])));
        }
        let used = |site: &mut Site| {
            site.scheduler.tick(&site.books, Time(site.now));
            site.scheduler.dues().map(|dues| dues.usage().clone())
        };
        let used: Vec<_> = sites.iter_mut().map(used).collect();
        prop_assert_eq!(&used[0], &used[1]);
    }
}
