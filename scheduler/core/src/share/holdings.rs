//! What everybody holds now: jobs that wait and run, and the resources of those that run.
//!
//! Invariant: what was entered and taken out again leaves nothing behind; all sums are integers.

use crate::share::accounts::{AccountId, Accounts, AssociationId, Payer, QosId, UserId};
use crate::share::resource::{Amounts, PerResource, Resource};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one level holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait or run.
    pub submitted: u64,
    /// What running jobs hold.
    pub amounts: Amounts,
    /// The sum of amount times estimated end, from which [`Held::run_ticks`] follows at any time.
    ends: PerResource<i128>,
    /// The sum of estimated ends.
    wall_ends: i128,
}

impl Held {
    /// Amount times ticks that running jobs may yet use by their time limits.
    pub fn run_ticks(&self, resource: Resource, now: Time) -> u128 {
        let used = i128::from(self.amounts.get(resource)) * i128::from(now.0);
        // A job beyond its time limit is about to be ended, and uses nothing more.
        (self.ends.get(resource) - used).max(0) as u128
    }

    /// Ticks that running jobs may yet run by their time limits.
    pub fn run_wall_ticks(&self, now: Time) -> u128 {
        (self.wall_ends - i128::from(self.running) * i128::from(now.0)).max(0) as u128
    }

    fn is_empty(&self) -> bool {
        self.submitted == 0 && self.running == 0
    }
}

/// What a job takes when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// What it holds.
    pub amounts: Amounts,
    /// When its time limit ends it.
    pub end: Time,
}

/// What all associations, accounts and QOS of one [`Accounts`] hold, each by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    associations: Vec<Held>,
    accounts: Vec<Held>,
    qos: Vec<QosHeld>,
}

/// What the jobs of one QOS hold: in all, by user, by account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct QosHeld {
    total: Held,
    users: BTreeMap<UserId, Held>,
    accounts: BTreeMap<AccountId, Held>,
}

/// One thing that happens to a job.
#[derive(Clone, Copy)]
enum Change<'a> {
    Submit(u64),
    Withdraw(u64),
    Start(&'a Load),
    Stop(&'a Load),
}

impl Holdings {
    /// Nobody holds anything.
    pub fn new(accounts: &Accounts) -> Holdings {
        Holdings {
            associations: vec![Held::default(); accounts.associations().len()],
            accounts: vec![Held::default(); accounts.accounts().len()],
            qos: vec![QosHeld::default(); accounts.qos().len()],
        }
    }

    /// So many jobs were submitted.
    pub fn submit(&mut self, accounts: &Accounts, payer: Payer, jobs: u64) {
        self.change(accounts, payer, Change::Submit(jobs));
    }

    /// So many submitted jobs are over, whether they ran or not.
    ///
    /// # Panics
    ///
    /// When fewer were submitted.
    pub fn withdraw(&mut self, accounts: &Accounts, payer: Payer, jobs: u64) {
        self.change(accounts, payer, Change::Withdraw(jobs));
    }

    /// A submitted job starts.
    pub fn start(&mut self, accounts: &Accounts, payer: Payer, load: &Load) {
        self.change(accounts, payer, Change::Start(load));
    }

    /// A running job no longer runs; it is submitted until it is withdrawn. `load` is what it started with.
    ///
    /// # Panics
    ///
    /// When nothing such runs.
    pub fn stop(&mut self, accounts: &Accounts, payer: Payer, load: &Load) {
        self.change(accounts, payer, Change::Stop(load));
    }

    /// What a user holds in an account.
    pub fn association(&self, id: AssociationId) -> &Held {
        &self.associations[id.0 as usize]
    }

    /// What is held in an account and below it.
    pub fn account(&self, id: AccountId) -> &Held {
        &self.accounts[id.0 as usize]
    }

    /// What the jobs of a QOS hold.
    pub fn qos(&self, id: QosId) -> &Held {
        &self.qos[id.0 as usize].total
    }

    /// What a user's jobs of a QOS hold; none when there are no such jobs.
    pub fn qos_user(&self, id: QosId, user: UserId) -> Option<&Held> {
        self.qos[id.0 as usize].users.get(&user)
    }

    /// What an account's own jobs of a QOS hold; none when there are no such jobs.
    pub fn qos_account(&self, id: QosId, account: AccountId) -> Option<&Held> {
        self.qos[id.0 as usize].accounts.get(&account)
    }

    fn change(&mut self, accounts: &Accounts, payer: Payer, change: Change<'_>) {
        apply(&mut self.associations[payer.association.0 as usize], change);
        for account in accounts.path(payer.association) {
            apply(&mut self.accounts[account.0 as usize], change);
        }
        let association = accounts.association(payer.association);
        for qos in payer.all_qos() {
            let held = &mut self.qos[qos.0 as usize];
            apply(&mut held.total, change);
            apply_in(&mut held.users, association.user, change);
            apply_in(&mut held.accounts, association.account, change);
        }
    }
}

/// An entry that holds nothing goes, so that equal holdings are equal values.
fn apply_in<K: Ord + Copy>(all: &mut BTreeMap<K, Held>, key: K, change: Change<'_>) {
    let held = all.entry(key).or_default();
    apply(held, change);
    if held.is_empty() {
        all.remove(&key);
    }
}

fn apply(held: &mut Held, change: Change<'_>) {
    const LESS: &str = "no more is taken out than was entered";
    match change {
        Change::Submit(jobs) => held.submitted += jobs,
        Change::Withdraw(jobs) => held.submitted = held.submitted.checked_sub(jobs).expect(LESS),
        Change::Start(load) => {
            held.running += 1;
            held.wall_ends += i128::from(load.end.0);
            for resource in Resource::ALL {
                let amount = load.amounts.get(resource);
                *held.amounts.get_mut(resource) += amount;
                *held.ends.get_mut(resource) += i128::from(amount) * i128::from(load.end.0);
            }
        }
        Change::Stop(load) => {
            held.running = held.running.checked_sub(1).expect(LESS);
            held.wall_ends -= i128::from(load.end.0);
            for resource in Resource::ALL {
                let amount = load.amounts.get(resource);
                let sum = held.amounts.get_mut(resource);
                *sum = sum.checked_sub(amount).expect(LESS);
                *held.ends.get_mut(resource) -= i128::from(amount) * i128::from(load.end.0);
            }
        }
    }
}
