//! Usage over the life of a controller: what a snapshot keeps of it, and what becomes of it when accounts change.
//!
//! Invariants: usage is a fold of the records alone. What runs is charged when a record says something of it, and in
//! between at steps of the clock that hang on the times of records; cutting a charge changes no bit (see
//! [`usage`](crate::share::usage)). So whoever goes on from a snapshot charges, and ranks, as one that was there all the
//! time.

use super::dues::{Dues, Terms};
use crate::books::Books;
use crate::policy::priority::PartitionWeight;
use crate::share::book::UsageBook;
use crate::share::limits::Limits;
use crate::share::resource::{Amounts, Resource};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ticks between two valuations, at most: five minutes, as in Slurm.
const STEP: i64 = 300_000;
/// So many of them lie in a half-life at least, if they are not shorter than a second for it.
const OF_HALF_LIFE: i64 = 256;
/// Ticks between two valuations, at least.
const LEAST_STEP: i64 = 1000;

/// What everybody has used, as of the last record: it cannot be made anew from the jobs that are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Charged up to the last record.
    charged: UsageBook,
    /// What priorities were last made of, and when.
    ranked: (Time, UsageBook),
}

impl Terms {
    /// What the books say of accounts; none where nobody is accounted for.
    pub fn of(books: &Books) -> Option<Terms> {
        let accounting = books.accounting()?;
        // A partition may be gone since.
        let (accounts, decay) = accounting.check(|_| true).expect("a record is checked before it is applied");
        let (amounts, partitions) = weights(books);
        Some(Terms { accounts: Arc::new(accounts), rule: accounting.priority, decay, amounts, partitions })
    }

    /// Ticks between two valuations.
    fn step(&self) -> i64 {
        self.decay.half_life().map_or(STEP, |ticks| (ticks / OF_HALF_LIFE).clamp(LEAST_STEP, STEP))
    }

    /// The last step of the clock at which priorities are made.
    pub(super) fn last_step(&self, now: Time) -> Time {
        Time(now.0.div_euclid(self.step()) * self.step())
    }

    /// The first step after `now` at which a limit may have let go by itself: usage fades.
    pub(super) fn next_fade(&self, now: Time) -> Option<Time> {
        let fades = |limits: &Limits| {
            let total = &limits.total;
            total.wall_minutes.is_some() || Resource::ALL.iter().any(|r| total.minutes.get(*r).is_some())
        };
        let accounts = &self.accounts;
        let of_accounts = accounts.accounts().iter().filter_map(|account| account.limits.as_ref());
        let of_users = accounts.associations().iter().filter_map(|user| user.limits.as_ref());
        let of_qos = accounts.qos().iter().map(|qos| &qos.entry.limits);
        let any = self.decay.half_life().is_some() && of_accounts.chain(of_users).chain(of_qos).any(fades);
        any.then(|| self.last_step(now).after(self.step()))
    }
}

impl Dues {
    /// What a snapshot keeps.
    pub(super) fn used(&self, books: &Books) -> Used {
        let mut charged = self.usage.clone();
        if let Some(last) = books.last() {
            self.charge(&mut charged, last);
        }
        Used { charged, ranked: self.ranked.clone() }
    }

    /// What everybody holds by the books, and has used by a snapshot of the same time; none where nobody is accounted for.
    pub(super) fn resumed(books: &Books, used: Option<Used>) -> Option<Dues> {
        let terms = Terms::of(books)?;
        let now = books.last().unwrap_or(Time(0));
        let Some(Used { charged, ranked }) = used else {
            return Some(Dues::restored(terms, None, books, now));
        };
        let mut dues = Dues::restored(terms, Some(charged), books, now);
        dues.ranked = ranked;
        dues.is_stale = true;
        Some(dues)
    }

    /// What becomes of `before` when accounts are what the books say now: what was used until then counts on by the names.
    pub(super) fn changed(before: Option<Dues>, books: &Books, now: Time) -> Option<Dues> {
        let terms = Terms::of(books)?;
        let usage = before.map(|mut old| {
            old.tick(now);
            old.usage.moved(&old.terms.accounts, (&terms.accounts, terms.decay), now)
        });
        Some(Dues::restored(terms, usage, books, now))
    }

    /// Makes what is there, and the valuation of jobs, what it is by the books, if it is another.
    pub(super) fn refresh(&mut self, books: &Books) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        if books.accounting().is_some() {
            (self.terms.amounts, self.terms.partitions) = weights(books);
        }
        self.value();
    }
}

/// All there is, and what each partition has.
fn weights(books: &Books) -> (Amounts, BTreeMap<String, PartitionWeight>) {
    let none = |priority| PartitionWeight { priority, amounts: Amounts::default() };
    let mut partitions: BTreeMap<String, PartitionWeight> =
        books.partitions().map(|partition| (partition.name.clone(), none(partition.priority))).collect();
    let mut all = Amounts::default();
    for host in books.hosts() {
        let shape = &host.shape;
        let (cpus, gpus, memory_mib) =
            (u64::from(shape.cores()), shape.gpus.len() as u64, shape.memory_mib());
        let has = Amounts { cpus, gpus, memory_mib, hosts: 1 };
        let add = |sum: &mut Amounts| {
            *sum = Amounts::of(|resource| sum.get(resource).saturating_add(has.get(resource)));
        };
        add(&mut all);
        for name in &host.partitions {
            if let Some(weight) = partitions.get_mut(name) {
                add(&mut weight.amounts);
            }
        }
    }
    (all, partitions)
}
