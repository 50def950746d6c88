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

struct Site {
    books: Books,
    hosts: Hosts,
    scheduler: Scheduler,
    now: i64,
}

fn terms() -> Terms {
    let accounts = Accounts::new(toml::from_str(TABLE).expect("a table")).expect("accounts");
    let amounts = Amounts { cpus: 16, gpus: 0, memory_mib: 32_768, hosts: 4 };
    Terms {
        accounts: Arc::new(accounts),
        rule: Multifactor { weights: Weights { qos: 1000, ..Weights::default() }, ..Multifactor::default() },
        decay: Decay::weekly(1000).expect("a decay"),
        amounts,
        partitions: BTreeMap::from([("p".to_owned(), PartitionWeight { priority: 1, amounts })]),
    }
}

impl Site {
    fn new() -> Site {
        let policy = Policy::Easy(Key::Submit, Candidates::InOrder);
        let scheduler =
            Scheduler::new(policy).expect("a policy for hosts").with_dues(Dues::new(terms(), None, Time(0)));
        let hosts = Hosts::new(&BTreeMap::new());
        let mut site = Site { books: Books::new(Rules::default()), hosts, scheduler, now: 0 };
        for number in 0..4 {
            let shape = Shape::parse("1x4x8G").expect("a shape");
            let host = Host { partitions: ["p".to_owned()].into(), ..Host::new(format!("n{number}"), shape) };
            site.event(Event::Host(Box::new(host)));
        }
        site.event(Event::Partition(Partition { is_default: true, ..Partition::named("p") }));
        site
    }

    fn event(&mut self, event: Event) {
        self.now += 1000;
        let fact = Fact { at: Time(self.now), event };
        self.books.check(&fact).expect("it can happen");
        self.books.apply(&fact);
        self.scheduler.observe(&self.books, &mut self.hosts, &fact);
    }

    fn submit(&mut self, request: Submitted) -> JobId {
        let id = self.books.next_id();
        self.event(Event::Submitted(id, request));
        id
    }

    fn pass(&mut self) -> Passed {
        let passed = self.scheduler.pass(&mut self.books, &mut self.hosts, Time(self.now));
        for start in &passed.starts {
            self.event(Event::Run(
                start.run,
                RunEvent::Started { attempt: start.attempt, on: start.on.clone() },
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

fn asks(user: &str, account: Option<&str>, qos: Option<&str>, cpus: u32) -> Submitted {
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
    assert_eq!(dues.holdings, Holdings::new(&terms().accounts));
    assert_eq!(site.hosts.free_cpus(crate::cluster::HostId(0)), 4);
    let association = terms().accounts.association_named("lab", "bob").expect("bob");
    let counted = crate::share::usage::Counted::Amount(crate::share::resource::Resource::Cpus);
    let used = dues.usage().association_s(association, counted, Time(site.now));
    assert!(used > 6.0, "three elements of two CPUs ran for seconds: {used}");
}
