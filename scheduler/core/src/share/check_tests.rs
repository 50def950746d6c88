//! Every limit in the way, at every level, as data.

use crate::share::accounts::{Accounts, Payer};
use crate::share::book::{Meter, UsageBook};
use crate::share::check::{Ask, Check, Obstacle};
use crate::share::holdings::{Holdings, Load};
use crate::share::resource::Amounts;
use crate::share::usage::Decay;
use crate::time::Time;
use proptest::prelude::*;

/// A site with what it holds and has used, at 1000 s.
struct Site {
    accounts: Accounts,
    holdings: Holdings,
    book: UsageBook,
}

const NOW: Time = Time(1000);

impl Site {
    fn new(text: &str) -> Site {
        let accounts = Accounts::new(toml::from_str(text).expect("a table")).expect("accounts");
        let decay = Decay::new(None, 1).expect("a decay");
        Site { holdings: Holdings::new(&accounts), book: UsageBook::new(&accounts, decay), accounts }
    }

    fn payer(&self, account: &str, user: &str, qos: &str) -> Payer {
        let association = self.accounts.association_named(account, user).expect("a user");
        Payer { association, qos: self.accounts.qos_named(qos), within: None }
    }

    /// A job that has run since 400 s, by its time limit until 1600 s.
    fn run(&mut self, payer: Payer, cpus: u64) {
        self.holdings.submit(&self.accounts, payer, 1);
        let amounts = amounts(cpus);
        self.holdings.start(&self.accounts, payer, &Load { amounts, end: Time(1600) });
        Meter::new(&self.accounts, payer, amounts, Time(400)).advance(&self.accounts, &mut self.book, NOW);
    }

    fn check(&self) -> Check<'_> {
        Check { accounts: &self.accounts, holdings: &self.holdings, book: &self.book, now: NOW }
    }

    fn say(&self, obstacles: &[Obstacle]) -> Vec<String> {
        obstacles.iter().map(|o| o.sentence(&self.accounts)).collect()
    }

    /// What keeps a job of 10 minutes from starting.
    fn start(&self, payer: Payer, cpus: u64) -> Vec<String> {
        self.say(&self.check().start(&Ask { payer, amounts: amounts(cpus), wall_s: 600 }))
    }

    fn submit(&self, payer: Payer, cpus: u64, jobs: u64) -> Vec<String> {
        self.say(&self.check().submit(&Ask { payer, amounts: amounts(cpus), wall_s: 600 }, jobs))
    }
}

fn amounts(cpus: u64) -> Amounts {
    Amounts { cpus, gpus: 0, memory_mib: 100 * cpus, hosts: 1 }
}

#[test]
fn limits_in_total_hold_at_every_level_at_once() {
    let mut site = Site::new(
        r#"
        accounts.root.limits.total.amounts.memory_mib = 1000
        accounts.lab.limits.total.jobs = 1
        accounts.a = { parent = "lab", users.u = {}, limits.total.amounts = { cpus = 8, gpus = 0 } }
        [accounts.b]
        parent = "lab"
        users = { v = {}, w.limits.total = { amounts.hosts = 1, jobs = 9 } }"#,
    );
    let (u, v, w) = (site.payer("a", "u", ""), site.payer("b", "v", ""), site.payer("b", "w", ""));
    assert_eq!(site.start(u, 8), [""; 0]);
    site.run(u, 6);
    let lab = "account lab allows 1 running jobs in total: 1 are taken, this asks for 1";
    assert_eq!(
        site.start(u, 5),
        [
            "account a allows 8 CPUs in total: 6 are taken, this asks for 5",
            lab,
            "account root allows 1000 MiB of memory in total: 600 are taken, this asks for 500",
        ]
    );
    assert_eq!(site.start(v, 4), [lab]);
    site.run(w, 1);
    let own = "user w in account b allows 1 hosts in total: 1 are taken, this asks for 1";
    assert_eq!(
        site.start(w, 1),
        [own, "account lab allows 1 running jobs in total: 2 are taken, this asks for 1"]
    );
}

#[test]
fn per_user_and_per_job_the_nearest_goes_before_and_the_qos_before_all() {
    let mut site = Site::new(
        r#"
        [accounts.lab.limits]
        per_user = { jobs = 1, amounts.cpus = 9 }
        per_job = { wall_s = 300, amounts.cpus = 4, minutes.cpus = 50 }
        [accounts.a]
        parent = "lab"
        users = { u = {}, v = { limits.per_user.jobs = 2, limits.per_job.wall_s = 700 } }
        [qos.wide.limits]
        per_user = { jobs = 3, amounts.hosts = 2 }
        per_job.amounts.cpus = 6"#,
    );
    let (u, v) = (site.payer("a", "u", ""), site.payer("a", "v", ""));
    site.run(u, 4);
    site.run(v, 4);
    let wall = "account lab allows 300 seconds for a job: 0 are taken, this asks for 600";
    let jobs = "account lab allows 1 running jobs for a user: 1 are taken, this asks for 1";
    assert_eq!(
        site.start(u, 6),
        [
            jobs,
            "account lab allows 9 CPUs for a user: 4 are taken, this asks for 6",
            "account lab allows 4 CPUs for a job: 0 are taken, this asks for 6",
            "account lab allows 50 CPU-minutes used for a job: 0 are taken, this asks for 60",
            wall,
        ]
    );
    assert_eq!(site.start(v, 4), [""; 0], "v may run two jobs of 700 s");
    // Under the QOS, three jobs and 6 CPUs are allowed; what it does not speak of stays.
    let wide = site.payer("a", "u", "wide");
    assert_eq!(site.start(wide, 5), [wall]);
    site.run(wide, 1);
    site.run(wide, 1);
    let hosts = "QOS wide allows 2 hosts for a user: 2 are taken, this asks for 1";
    assert_eq!(site.start(wide, 1), [hosts, wall]);
}

#[test]
fn a_qos_counts_by_user_and_by_account_whatever_they_pay_from() {
    let mut site = Site::new(
        r#"
        accounts.a.users = { u = {}, v = {} }
        accounts.b.users.u = {}
        [qos.q]
        limits.per_user.jobs = 2
        per_account.amounts.cpus = 4
        at_least.cpus = 2"#,
    );
    let [u, v, other] = [("a", "u"), ("a", "v"), ("b", "u")].map(|(a, u)| site.payer(a, u, "q"));
    site.run(u, 2);
    site.run(other, 2);
    let jobs = "QOS q allows 2 running jobs for a user: 2 are taken, this asks for 1";
    assert_eq!(site.start(other, 2), [jobs], "one of them from the other account");
    assert_eq!(site.start(v, 3), ["QOS q allows 4 CPUs for an account: 2 are taken, this asks for 3"]);
    assert_eq!(site.start(v, 1), ["QOS q takes no jobs below 2 (CPU), this asks for 1"]);
}

#[test]
fn minutes_are_used_up_or_kept_for_what_runs() {
    // The one job has used 4 * 600 s = 40 CPU-minutes, and may use 40 more. A new one of 4 CPUs may use 40.
    let limits = |most: u64, rule: &str| {
        let mut site = Site::new(&format!(
            "minutes = '{rule}'\naccounts.a = {{ users.u = {{}}, limits.total.minutes.cpus = {most} }}"
        ));
        let u = site.payer("a", "u", "");
        site.run(u, 4);
        site.start(u, 4)
    };
    assert_eq!(limits(41, "used-up"), [""; 0]);
    let used = "account a allows 40 CPU-minutes used in total: 40 are taken, this asks for 40";
    assert_eq!(limits(40, "used-up"), [used]);
    let safe = "account a allows 119 CPU-minutes used in total: 80 are taken, this asks for 40";
    assert_eq!(limits(119, "safe"), [safe]);
    assert_eq!(limits(120, "safe"), [""; 0]);
}

#[test]
fn minutes_ahead_and_minutes_of_jobs_are_limited() {
    let mut site = Site::new(
        "minutes = 'safe'
        accounts.a.users.u = {}
        accounts.a.limits.total = { run_minutes.cpus = 79, wall_minutes = 29 }",
    );
    let u = site.payer("a", "u", "");
    site.run(u, 4);
    assert_eq!(
        site.start(u, 4),
        [
            "account a allows 79 CPU-minutes ahead of running jobs in total: 40 are taken, this asks for 40",
            "account a allows 29 minutes of jobs used in total: 20 are taken, this asks for 10",
        ]
    );
}

#[test]
fn submitting_is_limited_by_itself() {
    let mut site = Site::new(
        r#"
        [accounts.a]
        limits = { total.submitted = 10, per_user.submitted = 5, per_job.amounts.cpus = 4, total.jobs = 0 }
        users = { u = {}, v = { limits.per_user.submitted = 6 } }
        [qos.q]
        limits.per_user.submitted = 3
        per_account.submitted = 4
        [qos.strict]
        flags = ["deny-on-limit"]
        limits = { total.amounts.memory_mib = 1000, total.submitted = 4 }"#,
    );
    let (u, v) = (site.payer("a", "u", ""), site.payer("a", "v", ""));
    site.run(u, 1);
    assert_eq!(site.submit(u, 99, 4), [""; 0], "it waits for the rest");
    let total = "account a allows 10 submitted jobs in total: 1 are taken, this asks for 10";
    let own = "account a allows 5 submitted jobs for a user: 1 are taken, this asks for 10";
    assert_eq!(site.submit(u, 1, 10), [total, own]);
    assert_eq!(site.submit(v, 1, 6), [""; 0]);
    let q = site.payer("a", "u", "q");
    assert_eq!(
        site.submit(q, 1, 5),
        [
            "QOS q allows 3 submitted jobs for a user: 0 are taken, this asks for 5",
            "QOS q allows 4 submitted jobs for an account: 0 are taken, this asks for 5",
        ]
    );
    let strict = site.payer("a", "v", "strict");
    assert_eq!(
        site.submit(strict, 11, 1),
        [
            "QOS strict allows 1000 MiB of memory in total: 0 are taken, this asks for 1100",
            "account a allows 0 running jobs in total: 0 are taken, this asks for 1",
            "account a allows 4 CPUs for a job: 0 are taken, this asks for 11",
        ]
    );
}

proptest! {
    /// What was entered and taken out again, in any order, leaves nothing behind.
    #[test]
    fn holdings_come_back_to_nothing(jobs in proptest::collection::vec((0usize..3, 0u64..9, 0i64..5000), 0..20)) {
        let mut site = Site::new(
            "accounts.a.users = { u = {}, v = {} }\naccounts.b.users.u = {}\nqos.q = {}",
        );
        let payers = [site.payer("a", "u", "q"), site.payer("a", "v", ""), site.payer("b", "u", "q")];
        let empty = site.holdings.clone();
        let load = |cpus, end| Load { amounts: amounts(cpus), end: Time(end) };
        for (who, cpus, end) in &jobs {
            site.holdings.submit(&site.accounts, payers[*who], 2);
            site.holdings.start(&site.accounts, payers[*who], &load(*cpus, *end));
        }
        let text = serde_json::to_string(&site.holdings).expect("JSON");
        prop_assert_eq!(&site.holdings, &serde_json::from_str::<Holdings>(&text).expect("JSON"));
        let root = site.holdings.account(crate::share::accounts::AccountId(0));
        prop_assert_eq!((root.running, root.submitted), (jobs.len() as u64, 2 * jobs.len() as u64));
        for (who, cpus, end) in jobs.iter().rev() {
            site.holdings.stop(&site.accounts, payers[*who], &load(*cpus, *end));
            site.holdings.withdraw(&site.accounts, payers[*who], 2);
        }
        prop_assert_eq!(&site.holdings, &empty);
    }
}
