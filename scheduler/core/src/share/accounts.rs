//! The accounts of a site, checked: a tree from `root` down to users, with the QOS that stand beside it.
//!
//! Invariants: every parent is there, nothing is its own ancestor, and the order of everything is that of names, root
//! first. So numbers depend on the table alone, never on the order in which it was written.

use crate::share::limits::Limits;
use crate::share::resource::Amounts;
use crate::share::shares::Shares;
use crate::share::table::{AccountEntry, AccountsTable, BillingRule, QosEntry, UserEntry};
use crate::share::table_error::{self, TableErrors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the account above all others.
pub const ROOT: &str = "root";

/// An account, by its place in [`Accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId(pub u32);

/// A user of an account, by its place in [`Accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AssociationId(pub u32);

/// A person, whatever accounts they may charge, by the place in [`Accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserId(pub u32);

/// A QOS, by its place in [`Accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QosId(pub u32);

/// Whom a job is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Payer {
    /// The user in the account.
    pub association: AssociationId,
    /// Its quality of service; none where the site has none.
    pub qos: Option<QosId>,
    /// That of its partition, whose limits bind it, too; none where the partition has none, or while none is chosen.
    pub within: Option<QosId>,
}

impl Payer {
    /// The qualities of service that count what it holds and uses, each once.
    pub fn all_qos(self) -> impl Iterator<Item = QosId> {
        self.qos.into_iter().chain(self.within.filter(|within| self.qos != Some(*within)))
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its claim beside its siblings.
    pub shares: Shares,
    /// Its limits; none when there is nothing to look at.
    pub limits: Option<Limits>,
    /// Itself and all above it, up to root.
    pub path: Vec<AccountId>,
    /// Who is ranked among each other below it: the children of accounts with their parent's shares stand in their
    /// place. Empty for such an account itself, but for root.
    pub family: Vec<Member>,
}

/// Who stands below an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A user.
    User(AssociationId),
    /// An account.
    Account(AccountId),
}

/// One user of one account.
#[derive(Clone, Debug, PartialEq)]
pub struct Association {
    /// The account.
    pub account: AccountId,
    /// The user.
    pub user: UserId,
    /// The claim beside the account's other users and accounts.
    pub shares: Shares,
    /// The user's own limits; none when there is nothing to look at.
    pub limits: Option<Limits>,
    /// The association factor, before it is set in relation to the highest.
    pub priority: u32,
    /// What it may ask for, ascending; none when it may ask for all.
    pub qos: Option<Vec<QosId>>,
    /// QOS of a job that asks for none.
    pub default_qos: Option<QosId>,
}

/// One quality of service.
#[derive(Clone, Debug, PartialEq)]
pub struct Qos {
    /// Its name.
    pub name: String,
    /// QOS whose running jobs its waiting jobs may preempt, ascending.
    pub preempts: Vec<QosId>,
    /// Thousandths by which its usage is multiplied.
    pub usage_factor: u32,
    /// All else that the site says of it.
    pub entry: QosEntry,
}

/// All of a site's accounts, users and QOS. It is written and read as the table that it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AccountsTable", into = "AccountsTable")]
pub struct Accounts {
    table: AccountsTable,
    accounts: Vec<Account>,
    associations: Vec<Association>,
    users: Vec<String>,
    qos: Vec<Qos>,
}

impl Accounts {
    /// The accounts that a table describes.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the table.
    pub fn new(table: AccountsTable) -> Result<Accounts, TableErrors> {
        let paths = table_error::check(&table)?;
        let qos_names: Vec<&String> = table.qos.keys().collect();
        let qos_id = |name: &String| QosId(qos_names.partition_point(|n| *n < name) as u32);
        let qos = table.qos.iter().map(|(name, entry)| Qos {
            name: name.clone(),
            preempts: entry.preempts.iter().map(qos_id).collect(),
            // Checked: it is a number from 0 to 1000000.
            usage_factor: (entry.usage_factor.unwrap_or(1.0) * 1000.0).round() as u32,
            entry: entry.clone(),
        });
        let qos: Vec<Qos> = qos.collect();
        let users: BTreeSet<&String> = table.accounts.values().flat_map(|a| a.users.keys()).collect();
        let users: Vec<String> = users.into_iter().cloned().collect();
        let number: BTreeMap<&str, u32> = paths.keys().map(String::as_str).zip(ids(&paths)).collect();
        let mut accounts = Vec::with_capacity(paths.len());
        let mut associations = Vec::new();
        for (_, name) in sorted(&number) {
            let entry = table.accounts.get(name).cloned().unwrap_or_default();
            let path: Vec<&AccountEntry> = paths[name].iter().filter_map(|n| table.accounts.get(n)).collect();
            for (user, own) in &entry.users {
                associations.push(Association {
                    account: AccountId(number[name]),
                    user: UserId(users.partition_point(|u| u < user) as u32),
                    shares: own.shares,
                    limits: own.limits.binding(),
                    priority: nearest(own, &path, |u| u.priority, |a| a.priority).unwrap_or(0),
                    qos: nearest(own, &path, |u| u.qos.as_ref(), |a| a.qos.as_ref())
                        .map(|names| names.iter().map(qos_id).collect()),
                    default_qos: nearest(own, &path, |u| u.default_qos.as_ref(), |a| a.default_qos.as_ref())
                        .map(qos_id),
                });
            }
            accounts.push(Account {
                name: name.to_owned(),
                shares: entry.shares,
                limits: entry.limits.binding(),
                path: paths[name].iter().map(|n| AccountId(number[n.as_str()])).collect(),
                family: Vec::new(),
            });
        }
        let mut all = Accounts { table, accounts, associations, users, qos };
        all.gather_families();
        Ok(all)
    }

    /// Root alone.
    pub fn none() -> Accounts {
        Accounts::new(AccountsTable::default()).expect("a table that says nothing says nothing wrong")
    }

    /// The table that describes them.
    pub fn table(&self) -> &AccountsTable {
        &self.table
    }

    /// All accounts, by number.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// All users of accounts, by number: ascending by account and user name.
    pub fn associations(&self) -> &[Association] {
        &self.associations
    }

    /// The names of all users, by number, ascending.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// All QOS, by number, ascending by name.
    pub fn qos(&self) -> &[Qos] {
        &self.qos
    }

    /// The account of that name.
    pub fn account_named(&self, name: &str) -> Option<AccountId> {
        if name == ROOT {
            return Some(AccountId(0));
        }
        let found = self.accounts[1..].binary_search_by(|a| a.name.as_str().cmp(name));
        found.ok().map(|at| AccountId(at as u32 + 1))
    }

    /// That user of that account.
    pub fn association_named(&self, account: &str, user: &str) -> Option<AssociationId> {
        let account = self.account_named(account)?;
        let user = UserId(self.users.binary_search_by(|u| u.as_str().cmp(user)).ok()? as u32);
        let found = self.associations.binary_search_by_key(&(account, user), |a| (a.account, a.user));
        found.ok().map(|at| AssociationId(at as u32))
    }

    /// The QOS of that name.
    pub fn qos_named(&self, name: &str) -> Option<QosId> {
        self.qos.binary_search_by(|q| q.name.as_str().cmp(name)).ok().map(|at| QosId(at as u32))
    }

    /// The QOS whose limits bind all that runs in a partition.
    pub fn qos_of_partition(&self, name: &str) -> Option<QosId> {
        self.qos_named(self.table.partitions.get(name)?.qos.as_ref()?)
    }

    /// Every account that a user may charge, ascending.
    pub fn associations_of(&self, user: &str) -> Vec<AssociationId> {
        let of_user = |a: &&Association| self.users[a.user.0 as usize] == user;
        let all = (0..).map(AssociationId).zip(&self.associations);
        all.filter(|(_, a)| of_user(a)).map(|(id, _)| id).collect()
    }

    /// The account of that number.
    ///
    /// # Panics
    ///
    /// When the number is of other accounts.
    pub fn account(&self, id: AccountId) -> &Account {
        &self.accounts[id.0 as usize]
    }

    /// The user of an account of that number.
    ///
    /// # Panics
    ///
    /// When the number is of other accounts.
    pub fn association(&self, id: AssociationId) -> &Association {
        &self.associations[id.0 as usize]
    }

    /// The QOS of that number.
    ///
    /// # Panics
    ///
    /// When the number is of other accounts.
    pub fn qos_of(&self, id: QosId) -> &Qos {
        &self.qos[id.0 as usize]
    }

    /// The account of a user, and all above it, up to root.
    ///
    /// # Panics
    ///
    /// When the number is of other accounts.
    pub fn path(&self, id: AssociationId) -> &[AccountId] {
        &self.account(self.association(id).account).path
    }

    /// What a job that holds `amounts` is billed for each second, in thousandths of a unit.
    pub fn billing(&self, amounts: &Amounts) -> u64 {
        let billing = &self.table.billing;
        let weights = billing.weights;
        let [cpus, gpus, memory, hosts] = [
            amounts.cpus as f64 * weights.cpus,
            amounts.gpus as f64 * weights.gpus,
            amounts.memory_mib as f64 * weights.memory_mib,
            amounts.hosts as f64 * weights.hosts,
        ];
        let units = match billing.rule {
            BillingRule::Sum => cpus + gpus + memory + hosts,
            BillingRule::Max => cpus.max(gpus).max(memory).max(hosts),
        };
        (units * 1000.0).round() as u64
    }

    /// Puts everybody below the nearest account above that does not take its parent's shares.
    fn gather_families(&mut self) {
        let mut families = vec![Vec::new(); self.accounts.len()];
        let head = |path: &[AccountId]| {
            let own = |id: &&AccountId| id.0 == 0 || self.account(**id).shares != Shares::Parent;
            path.iter().find(own).map_or(0, |id| id.0 as usize)
        };
        for (id, association) in (0..).map(AssociationId).zip(&self.associations) {
            families[head(&self.account(association.account).path)].push(Member::User(id));
        }
        for (id, account) in (0..).map(AccountId).zip(&self.accounts).skip(1) {
            if account.shares != Shares::Parent {
                families[head(&account.path[1..])].push(Member::Account(id));
            }
        }
        for (account, family) in self.accounts.iter_mut().zip(families) {
            account.family = family;
        }
    }
}

impl TryFrom<AccountsTable> for Accounts {
    type Error = TableErrors;

    fn try_from(table: AccountsTable) -> Result<Accounts, TableErrors> {
        Accounts::new(table)
    }
}

impl From<Accounts> for AccountsTable {
    fn from(accounts: Accounts) -> AccountsTable {
        accounts.table
    }
}

/// A number for each name in ascending order: 0 for root, the others as they come.
fn ids(paths: &BTreeMap<String, Vec<String>>) -> Vec<u32> {
    let mut next = 0;
    let number = |name: &String| {
        if name == ROOT {
            return 0;
        }
        next += 1;
        next
    };
    paths.keys().map(number).collect()
}

/// The names by their numbers.
fn sorted<'a>(number: &BTreeMap<&'a str, u32>) -> Vec<(u32, &'a str)> {
    let mut all: Vec<(u32, &str)> = number.iter().map(|(name, id)| (*id, *name)).collect();
    all.sort_unstable();
    all
}

/// What the user says, else the nearest account above that says something.
fn nearest<'a, T>(
    user: &'a UserEntry,
    path: &[&'a AccountEntry],
    of_user: impl Fn(&'a UserEntry) -> Option<T>,
    of_account: impl Fn(&'a AccountEntry) -> Option<T>,
) -> Option<T> {
    of_user(user).or_else(|| path.iter().find_map(|account| of_account(account)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::table_error::TableError;

    const SITE: &str = r#"
        [accounts.root.users.ann]
        [accounts.physics]
        shares = 30
        priority = 5
        qos = ["slow", "urgent"]
        default_qos = "slow"
        limits.total = { jobs = 200, amounts = { cpus = 4000 } }
        [accounts.optics]
        parent = "physics"
        shares = "parent"
        [accounts.optics.users]
        ada = { shares = 2, priority = 7 }
        bea = { qos = ["urgent"], default_qos = "urgent" }
        [accounts.attic.users.ada]
        [qos.slow]
        usage_factor = 0.5
        flags = ["no-reserve"]
        [qos.urgent]
        priority = 100
        preempts = ["slow"]
        [billing]
        weights = { cpus = 1.0, gpus = 8.0, memory_mib = 0.001, hosts = 0.0 }
    "#;

    fn site() -> Accounts {
        Accounts::new(toml::from_str(SITE).expect("a table")).expect("accounts")
    }

    #[test]
    fn a_table_becomes_a_tree() {
        let site = site();
        let names: Vec<&str> = site.accounts().iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["root", "attic", "optics", "physics"]);
        assert_eq!(site.users(), ["ada", "ann", "bea"]);
        for (number, account) in (0..).map(AccountId).zip(site.accounts()) {
            assert_eq!(site.account_named(&account.name), Some(number));
        }
        let ada = site.association_named("optics", "ada").expect("a user");
        let bea = site.association_named("optics", "bea").expect("a user");
        assert_eq!(site.path(ada), [AccountId(2), AccountId(3), AccountId(0)]);
        let family = [Member::User(ada), Member::User(bea)];
        assert_eq!(site.account(AccountId(3)).family, family, "optics takes its parent's shares");
        assert_eq!(site.account(AccountId(2)).family, []);
        assert_eq!(site.associations_of("ada"), [AssociationId(1), ada]);
        assert_eq!((site.association(ada).priority, site.association(bea).priority), (7, 5));
        let (slow, urgent) = (QosId(0), QosId(1));
        assert_eq!(site.qos_named("urgent"), Some(urgent));
        assert_eq!((site.qos_of(slow).usage_factor, &site.qos_of(urgent).preempts), (500, &vec![slow]));
        assert_eq!(site.association(ada).qos, Some(vec![slow, urgent]));
        assert_eq!(
            (site.association(ada).default_qos, site.association(bea).default_qos),
            (Some(slow), Some(urgent))
        );
        assert_eq!(site.association_named("attic", "bea"), None);
        assert_eq!(site.account_named("cellar"), None);
    }

    #[test]
    fn a_job_is_billed_by_sum_or_by_the_greatest() {
        let amounts = Amounts { cpus: 3, gpus: 1, memory_mib: 10_500, hosts: 9 };
        let mut table = site().table().clone();
        assert_eq!(site().billing(&amounts), 21_500);
        table.billing.rule = BillingRule::Max;
        assert_eq!(Accounts::new(table).expect("accounts").billing(&amounts), 10_500);
    }

    #[test]
    fn accounts_are_written_and_read_in_three_formats() {
        let site = site();
        let json = serde_json::to_string(&site).expect("JSON");
        assert_eq!(serde_json::from_str::<Accounts>(&json).expect("JSON"), site);
        let bytes = postcard::to_allocvec(&site).expect("postcard");
        assert_eq!(postcard::from_bytes::<Accounts>(&bytes).expect("postcard"), site);
        let text = toml::to_string(&site).expect("TOML");
        assert_eq!(toml::from_str::<Accounts>(&text).expect("TOML"), site);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let table = r#"
            accounts.root = { parent = "a", shares = 3 }
            accounts."b b" = {}
            accounts.c = { parent = "nowhere", qos = ["q", "none"], default_qos = "r" }
            accounts.d.parent = "c"
            accounts.e.parent = "g"
            accounts.f.parent = "e"
            accounts.g.parent = "f"
            accounts.h.users = { "" = {}, u = { default_qos = "lost" } }
            qos.q = { preempts = ["q", "gone"], usage_factor = -1.0 }
            qos.r = { at_least.cpus = 5, limits.per_job.amounts.cpus = 4, preempts = ["z"] }
            qos.s = { preempts = ["t", "r"] }
            qos.t = { preempts = ["q", "s"] }
            qos.z.preempts = ["s", "z2"]
            qos.z2.preempts = ["z"]
            partitions.night.qos = "dark"
            billing.weights = { cpus = nan }
        "#;
        let errors = Accounts::new(toml::from_str(table).expect("a table")).expect_err("much is wrong");
        let lines: Vec<String> = errors.0.iter().map(TableError::to_string).collect();
        assert_eq!(
            lines,
            [
                "accounts: `b b` is no name: leave out blanks, commas, quotes and control characters",
                "accounts.c: there is no account `nowhere` to be its parent: add it, or name another",
                "accounts.e is below itself: e is below g is below f is below e: break the ring",
                "accounts.root: it is above all others, so leave out `parent`",
                "accounts.root: it is above all others, so leave out `shares`",
                "accounts.c: there is no QOS `none`: add it, or name another",
                "accounts.c: the default QOS `r` is not among those that may be asked for: add it to `qos`",
                "accounts.h.users: `` is no name: leave out blanks, commas, quotes and control characters",
                "accounts.h.users.u: there is no QOS `lost`: add it, or name another",
                "qos.q.preempts: there is no QOS `gone`: add it, or name another",
                "qos.q: it cannot preempt itself: leave it out of `preempts`",
                "qos.q.usage_factor: -1 is not a number from 0 to 1000000",
                "qos.r: no job can have at least 5 and at most 4 (CPU)",
                "qos.r preempts itself through others: r preempts z preempts s preempts r: break the ring",
                "qos.s preempts itself through others: s preempts t preempts s: break the ring",
                "qos.z preempts itself through others: z preempts z2 preempts z: break the ring",
                "partitions.night.qos: there is no QOS `dark`: add it, or name another",
                "billing.weights (CPU): NaN is not a number from 0 to 1000000",
            ]
        );
    }

    #[test]
    fn a_tree_has_a_depth_that_is_allowed() {
        let chain = |depth: usize| {
            let mut table = AccountsTable::default();
            for i in 0..depth {
                let parent = i.checked_sub(1).map(|above| format!("a{above}"));
                table.accounts.insert(format!("a{i}"), AccountEntry { parent, ..AccountEntry::default() });
            }
            Accounts::new(table)
        };
        assert!(chain(64).is_ok());
        let errors = chain(65).expect_err("too deep").0;
        assert_eq!(errors, [TableError::TooDeep { account: "a64".into(), depth: 65 }]);
    }

    #[test]
    fn what_is_no_key_or_no_share_is_refused() {
        for text in
            ["accounts.a.share = 1", "accounts.a.shares = 'most'", "accounts.a.shares = -1", "acounts = {}"]
        {
            assert!(toml::from_str::<AccountsTable>(text).is_err(), "{text}");
        }
    }
}
