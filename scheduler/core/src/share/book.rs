//! What everybody has used, and the meters of running jobs that charge it.
//!
//! Each charge goes to the user's association, to every account above it and to the QOS, so that each is read at once.
//! A job that runs is charged up to now as often as anybody likes: the bits do not depend on it.

use crate::share::accounts::{AccountId, Accounts, AssociationId, Payer, QosId};
use crate::share::resource::Amounts;
use crate::share::table::QosFlag;
use crate::share::usage::{Counted, Decay, Rates, Usage};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// The usage of all associations, accounts and QOS of one [`Accounts`], each by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBook {
    decay: Decay,
    associations: Vec<Usage>,
    accounts: Vec<Usage>,
    qos: Vec<Usage>,
}

/// What a running job uses, and up to when that is in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    payer: Payer,
    rates: Rates,
    charged_to: Time,
}

impl Meter {
    /// The meter of a job that starts to hold `amounts` at `start`.
    pub fn new(accounts: &Accounts, payer: Payer, amounts: Amounts, start: Time) -> Meter {
        let factor = payer.qos.map_or(1000, |qos| accounts.qos_of(qos).usage_factor);
        let rates = Rates { billing: accounts.billing(&amounts), amounts, factor };
        Meter { payer, rates, charged_to: start }
    }

    /// Charges what the job has used up to `now`: while it runs, and once when it ends, is resized or suspended.
    pub fn advance(&mut self, accounts: &Accounts, book: &mut UsageBook, now: Time) {
        if now > self.charged_to {
            book.charge(accounts, self, now);
            self.charged_to = now;
        }
    }
}

impl UsageBook {
    /// Nothing used yet.
    pub fn new(accounts: &Accounts, decay: Decay) -> UsageBook {
        UsageBook {
            decay,
            associations: vec![Usage::default(); accounts.associations().len()],
            accounts: vec![Usage::default(); accounts.accounts().len()],
            qos: vec![Usage::default(); accounts.qos().len()],
        }
    }

    /// The same usage for accounts that have changed, by the names: what is new has none, and what is gone takes its own
    /// along, but not what its account has. From `now` on, up to when everything is charged, it fades by another decay.
    #[must_use]
    pub fn moved(mut self, old: &Accounts, (new, decay): (&Accounts, Decay), now: Time) -> UsageBook {
        let mut book = UsageBook::new(new, decay);
        let faded = |usage: &mut Usage, (before, after): (Decay, Decay)| {
            std::mem::take(usage).faded_by((before, after), now)
        };
        let both = (self.decay, decay);
        for (association, usage) in old.associations().iter().zip(&mut self.associations) {
            let account = &old.account(association.account).name;
            if let Some(id) = new.association_named(account, &old.users()[association.user.0 as usize]) {
                book.associations[id.0 as usize] = faded(usage, both);
            }
        }
        for (account, usage) in old.accounts().iter().zip(&mut self.accounts) {
            if let Some(id) = new.account_named(&account.name) {
                book.accounts[id.0 as usize] = faded(usage, both);
            }
        }
        let decays: Vec<Decay> =
            (0..).map(QosId).zip(old.qos()).map(|(id, _)| self.decay_of(old, id)).collect();
        for ((qos, before), usage) in old.qos().iter().zip(decays).zip(&mut self.qos) {
            if let Some(id) = new.qos_named(&qos.name) {
                book.qos[id.0 as usize] = faded(usage, (before, book.decay_of(new, id)));
            }
        }
        book
    }

    /// How usage fades.
    pub fn decay(&self) -> Decay {
        self.decay
    }

    /// Unit-seconds that a user has used in an account, as faded by `now`.
    pub fn association_s(&self, id: AssociationId, counted: Counted, now: Time) -> f64 {
        self.associations[id.0 as usize].seconds(self.decay, counted, now)
    }

    /// Unit-seconds that were used in an account and below it, as faded by `now`.
    pub fn account_s(&self, id: AccountId, counted: Counted, now: Time) -> f64 {
        self.accounts[id.0 as usize].seconds(self.decay, counted, now)
    }

    /// Unit-seconds that were used under a QOS, as faded by `now`.
    pub fn qos_s(&self, accounts: &Accounts, id: QosId, counted: Counted, now: Time) -> f64 {
        self.qos[id.0 as usize].seconds(self.decay_of(accounts, id), counted, now)
    }

    /// What each association and each account has used by `now`, in integers that may be compared among each other.
    pub(super) fn billed(&self, now: Time) -> (Vec<u128>, Vec<u128>) {
        let raw = |usage: &Usage| usage.raw(self.decay, Counted::Billing, now);
        (self.associations.iter().map(raw).collect(), self.accounts.iter().map(raw).collect())
    }

    fn charge(&mut self, accounts: &Accounts, meter: &Meter, now: Time) {
        let Meter { payer, rates, charged_to } = meter;
        self.associations[payer.association.0 as usize].charge(self.decay, rates, *charged_to, now);
        for account in accounts.path(payer.association) {
            self.accounts[account.0 as usize].charge(self.decay, rates, *charged_to, now);
        }
        for qos in payer.all_qos() {
            let decay = self.decay_of(accounts, qos);
            self.qos[qos.0 as usize].charge(decay, rates, *charged_to, now);
        }
    }

    fn decay_of(&self, accounts: &Accounts, qos: QosId) -> Decay {
        let stays = accounts.qos_of(qos).entry.flags.contains(&QosFlag::NoDecay);
        if stays { self.decay.without_fading() } else { self.decay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::resource::Resource;

    fn site(text: &str) -> Accounts {
        Accounts::new(toml::from_str(text).expect("a table")).expect("accounts")
    }

    const SITE: &str = r#"
        [accounts.lab]
        [accounts.optics]
        parent = "lab"
        users.ada = {}
        users.bea = {}
        [qos.cheap]
        usage_factor = 0.25
        flags = ["no-decay"]
    "#;

    fn run(accounts: &Accounts, book: &mut UsageBook, user: &str, qos: Option<&str>) {
        let association = accounts.association_named("optics", user).expect("a user");
        let payer = Payer { association, qos: qos.and_then(|name| accounts.qos_named(name)), within: None };
        let amounts = Amounts { cpus: 4, gpus: 1, memory_mib: 0, hosts: 1 };
        let mut meter = Meter::new(accounts, payer, amounts, Time(0));
        for now in [60, 60, 30, 100] {
            meter.advance(accounts, book, Time(now));
        }
    }

    #[test]
    fn a_charge_reaches_everybody_above() {
        let accounts = site(SITE);
        let decay = Decay::new(Some(100), 1).expect("a decay");
        let mut book = UsageBook::new(&accounts, decay.without_fading());
        run(&accounts, &mut book, "ada", None);
        run(&accounts, &mut book, "bea", Some("cheap"));
        let used = |name: &str| {
            let id = accounts.account_named(name).expect("an account");
            book.account_s(id, Counted::Billing, Time(1000))
        };
        assert_eq!(["root", "lab", "optics"].map(used), [500.0; 3], "400 of ada's and a quarter of bea's");
        let cheap = accounts.qos_named("cheap").expect("a QOS");
        let gpus = Counted::Amount(Resource::Gpus);
        assert_eq!(book.qos_s(&accounts, cheap, gpus, Time(1000)), 25.0);
        let bea = accounts.association_named("optics", "bea").expect("a user");
        assert_eq!(book.association_s(bea, Counted::Wall, Time(1000)), 25.0);
    }

    #[test]
    fn a_qos_may_keep_what_accounts_forget() {
        let accounts = site(SITE);
        let mut book = UsageBook::new(&accounts, Decay::new(Some(100), 1).expect("a decay"));
        run(&accounts, &mut book, "bea", Some("cheap"));
        let cheap = accounts.qos_named("cheap").expect("a QOS");
        let at = |now| book.qos_s(&accounts, cheap, Counted::Billing, Time(now));
        assert_eq!((at(100), at(900)), (100.0, 100.0));
        let root = |now| book.account_s(AccountId(0), Counted::Billing, Time(now));
        assert!((root(900) - root(100) / 256.0).abs() < 1e-9);
    }

    #[test]
    fn usage_moves_with_the_names() {
        let old = site(SITE);
        let mut book = UsageBook::new(&old, Decay::weekly(1).expect("a decay"));
        run(&old, &mut book, "ada", None);
        run(&old, &mut book, "bea", Some("cheap"));
        let new = site(&format!("accounts.attic.users.ada = {{}}\nqos.another = {{}}\n{SITE}"));
        let ada = |a: &Accounts, account| a.association_named(account, "ada").expect("a user");
        let before = book.association_s(ada(&old, "optics"), Counted::Billing, Time(100));
        let (now, decay) = (Time(100), book.decay());
        let moved = book.clone().moved(&old, (&new, decay), now);
        assert_eq!(moved.association_s(ada(&new, "optics"), Counted::Billing, Time(100)), before);
        assert_eq!(moved.association_s(ada(&new, "attic"), Counted::Billing, Time(100)), 0.0);
        assert_eq!(moved.moved(&new, (&old, decay), now), book, "and back");
        // Another half-life changes what is left later, not what is left now; nor does that a QOS fades from now on.
        let hourly = Decay::new(Some(3600), 1).expect("a decay");
        let fades = site(&SITE.replace("no-decay", "no-reserve"));
        let moved = book.clone().moved(&old, (&fades, hourly), now);
        let of = |book: &UsageBook, now| book.association_s(ada(&old, "optics"), Counted::Billing, Time(now));
        assert!((of(&moved, 100) - before).abs() < 1e-6 && (of(&moved, 3700) - before / 2.0).abs() < 1e-6);
        let cheap = old.qos_named("cheap").expect("a QOS");
        let of = |accounts: &Accounts, book: &UsageBook, now| {
            book.qos_s(accounts, cheap, Counted::Wall, Time(now))
        };
        let before = of(&old, &book, 100);
        assert_eq!(of(&old, &book, 3700), before);
        let (at_once, later) = (of(&fades, &moved, 100), of(&fades, &moved, 3700));
        assert!((at_once - before).abs() < 1e-6 && (later - before / 2.0).abs() < 1e-6, "{at_once} {later}");
    }
}
