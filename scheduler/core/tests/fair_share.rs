//! Users who always have jobs waiting, on a small machine: in the long run each gets its share of the CPU time.
//!
//! The loop here is the test's own: whoever has the best place in the fair tree starts next, jobs run their time, and
//! running jobs are charged at every event. Shares and usage are the product's.

use muster_core::share::accounts::{Accounts, Payer};
use muster_core::share::book::{Meter, UsageBook};
use muster_core::share::fair_tree::FairTree;
use muster_core::share::resource::Amounts;
use muster_core::share::usage::Decay;
use muster_core::time::Time;

const HALF_LIFE_S: i64 = 7 * 24 * 3600;
const CPUS: u64 = 64;

/// A user who always has jobs waiting: of so many CPUs, for up to twice so many seconds.
struct User {
    payer: Payer,
    cpus: u64,
    mean_s: i64,
    /// CPU-seconds in each half-life.
    delivered: Vec<u64>,
    /// How many jobs it has started.
    started: u64,
}

struct Job {
    user: usize,
    meter: Meter,
    end: i64,
}

struct Machine {
    accounts: Accounts,
    book: UsageBook,
    users: Vec<User>,
    running: Vec<Job>,
    random: u64,
}

impl Machine {
    /// Users as `account/user/qos`, CPUs of a job, mean seconds of a job.
    fn new(text: &str, users: &[(&str, u64, i64)]) -> Machine {
        let accounts = Accounts::new(toml::from_str(text).expect("a table")).expect("accounts");
        let user = |&(name, cpus, mean_s): &(&str, u64, i64)| {
            let mut parts = name.split('/');
            let (account, user) = (parts.next().expect("an account"), parts.next().expect("a user"));
            let association = accounts.association_named(account, user).expect("a user of the table");
            let qos = parts.next().map(|name| accounts.qos_named(name).expect("a QOS of the table"));
            User {
                payer: Payer { association, qos, within: None },
                cpus,
                mean_s,
                delivered: Vec::new(),
                started: 0,
            }
        };
        let decay = Decay::new(Some(HALF_LIFE_S), 1).expect("a decay");
        Machine {
            book: UsageBook::new(&accounts, decay),
            users: users.iter().map(user).collect(),
            running: Vec::new(),
            random: 1,
            accounts,
        }
    }

    /// Runs for so many half-lives, and notes what each user got in each of them.
    fn run(&mut self, half_lives: i64) {
        let mut now = 0;
        for turn in 1..=half_lives {
            let until = turn * HALF_LIFE_S;
            self.users.iter_mut().for_each(|user| user.delivered.push(0));
            while now < until {
                self.fill(now);
                let next = self.running.iter().map(|job| job.end).min().expect("somebody runs").min(until);
                for job in &mut self.running {
                    job.meter.advance(&self.accounts, &mut self.book, Time(next));
                    let user = &mut self.users[job.user];
                    *user.delivered.last_mut().expect("this half-life") += user.cpus * (next - now) as u64;
                }
                now = next;
                self.running.retain(|job| job.end > now);
            }
        }
    }

    /// Starts jobs of whoever is first in the fair tree while they fit; nobody overtakes.
    fn fill(&mut self, now: i64) {
        let tree = FairTree::new(&self.accounts, &self.book, Time(now));
        let rank = |user: &User| tree.association(user.payer.association).rank;
        loop {
            // Of equals, whoever has started fewer.
            let first = (0..self.users.len())
                .min_by_key(|&u| (std::cmp::Reverse(rank(&self.users[u])), self.users[u].started, u))
                .expect("there are users");
            let busy: u64 = self.running.iter().map(|job| self.users[job.user].cpus).sum();
            let User { payer, cpus, mean_s, .. } = self.users[first];
            if busy + cpus > CPUS {
                return;
            }
            // Knuth's linear congruential generator; a job of 1 s to twice the mean.
            self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let length = 1 + (self.random >> 33) as i64 % (2 * mean_s);
            let amounts = Amounts { cpus, hosts: 1, ..Amounts::default() };
            let meter = Meter::new(&self.accounts, payer, amounts, Time(now));
            self.running.push(Job { user: first, meter, end: now + length });
            self.users[first].started += 1;
        }
    }
}

/// Each user's part of what was delivered in the half-lives `turns`, in percent of its due.
fn percent(machine: &Machine, turns: std::ops::Range<usize>, due: &[f64]) -> Vec<f64> {
    let got = |user: &User| user.delivered[turns.clone()].iter().sum::<u64>() as f64;
    let all: f64 = machine.users.iter().map(got).sum();
    let dues: f64 = due.iter().sum();
    machine.users.iter().zip(due).map(|(user, due)| 100.0 * (got(user) / all) / (due / dues)).collect()
}

/// Within one percent of each one's own share after the first three half-lives, and in the three that follow.
fn assert_met(machine: &mut Machine, due: &[f64]) {
    machine.run(6);
    for turns in [0..3, 3..6] {
        let seen = percent(machine, turns.clone(), due);
        assert!(seen.iter().all(|part| (part - 100.0).abs() < 1.0), "half-lives {turns:?}: {seen:?} %");
    }
}

#[test]
fn users_with_different_shares_get_them() {
    let site = "accounts.lab.users = { a = { shares = 50 }, b = { shares = 30 }, c = { shares = 15 }, d = { shares = 5 } }";
    let users = [("lab/a", 1, 3600), ("lab/b", 4, 1800), ("lab/c", 2, 7200), ("lab/d", 8, 900)];
    assert_met(&mut Machine::new(site, &users), &[50.0, 30.0, 15.0, 5.0]);
}

#[test]
fn accounts_get_their_shares_however_many_users_they_have() {
    let site = "
        accounts.physics = { shares = 60, users = { a = {}, b = {}, c = { shares = 2 } } }
        accounts.biology = { shares = 40, users = { d = { shares = 3 }, e = {} } }";
    let users = ["physics/a", "physics/b", "physics/c", "biology/d", "biology/e"].map(|name| (name, 2, 3600));
    assert_met(&mut Machine::new(site, &users), &[15.0, 15.0, 30.0, 30.0, 10.0]);
}

#[test]
fn a_qos_at_half_price_gives_twice_as_much() {
    let site = "accounts.lab.users = { a = {}, b = {} }\nqos.standby.usage_factor = 0.5";
    let users = [("lab/a", 1, 3600), ("lab/b/standby", 1, 3600)];
    assert_met(&mut Machine::new(site, &users), &[1.0, 2.0]);
}

/// Who had the machine alone for long, at half of the shares, waits while the others catch up: about one half-life.
#[test]
fn shares_are_met_after_a_long_time_of_having_had_it_all() {
    let site = "accounts.lab.users = { a = { shares = 2 }, b = {}, c = {} }";
    let mut machine = Machine::new(site, &[("lab/a", 1, 3600), ("lab/b", 2, 3600), ("lab/c", 4, 3600)]);
    let payer = machine.users[0].payer;
    let amounts = Amounts { cpus: CPUS, hosts: 1, ..Amounts::default() };
    let mut alone = Meter::new(&machine.accounts, payer, amounts, Time(-10 * HALF_LIFE_S));
    alone.advance(&machine.accounts, &mut machine.book, Time(0));
    machine.run(6);
    let first = percent(&machine, 0..1, &[2.0, 1.0, 1.0]);
    assert!(first[0] < 10.0, "a waits at first: {first:?} %");
    let seen = percent(&machine, 3..6, &[2.0, 1.0, 1.0]);
    assert!(seen.iter().all(|part| (part - 100.0).abs() < 1.0), "{seen:?} %");
}
