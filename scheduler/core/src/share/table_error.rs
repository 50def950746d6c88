//! What can be wrong with a table of accounts. All of it is found before anything is made of the table.

use crate::share::accounts::ROOT;
use crate::share::resource::Resource;
use crate::share::shares::Shares;
use crate::share::table::{AccountEntry, AccountsTable, QosEntry};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// Accounts above one another, at most; a deeper table is a mistake.
const DEEPEST: usize = 64;
/// The greatest usage factor.
const MOST_FACTOR: f64 = 1_000_000.0;

/// One thing that is wrong with a table.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A name that cannot be written in a list.
    #[error("{place}: `{name}` is no name: leave out blanks, commas, quotes and control characters")]
    Name {
        /// Where it stands.
        place: String,
        /// The name.
        name: String,
    },
    /// An account below one that is not there.
    #[error("accounts.{account}: there is no account `{parent}` to be its parent: add it, or name another")]
    NoParent {
        /// The account.
        account: String,
        /// What it names.
        parent: String,
    },
    /// An account below itself.
    #[error("accounts.{account} is below itself: {}: break the ring", .ring.join(" is below "))]
    Ring {
        /// The first of the ring by name.
        account: String,
        /// From it up to itself.
        ring: Vec<String>,
    },
    /// Too many accounts above one another.
    #[error("accounts.{account} has {depth} accounts above it: {DEEPEST} at most")]
    TooDeep {
        /// The account.
        account: String,
        /// How many are above it.
        depth: usize,
    },
    /// Root with something that only others can have.
    #[error("accounts.{ROOT}: it is above all others, so leave out {what}")]
    Root {
        /// What it has.
        what: &'static str,
    },
    /// A QOS that is not there.
    #[error("{place}: there is no QOS `{qos}`: add it, or name another")]
    NoQos {
        /// Where it is named.
        place: String,
        /// The name.
        qos: String,
    },
    /// A default that may not be asked for.
    #[error("{place}: the default QOS `{qos}` is not among those that may be asked for: add it to `qos`")]
    DefaultNotAllowed {
        /// Whose default it is.
        place: String,
        /// The default.
        qos: String,
    },
    /// A QOS that preempts itself.
    #[error("qos.{qos}: it cannot preempt itself: leave it out of `preempts`")]
    PreemptsItself {
        /// The QOS.
        qos: String,
    },
    /// QOS that preempt one another: their jobs would take turns for ever.
    #[error("qos.{qos} preempts itself through others: {}: break the ring", .ring.join(" preempts "))]
    PreemptRing {
        /// The first of the ring by name.
        qos: String,
        /// From it back to itself.
        ring: Vec<String>,
    },
    /// A number out of its range.
    #[error("{place}: {value} is not a number from 0 to {most}")]
    Range {
        /// Where it stands.
        place: String,
        /// What was given.
        value: f64,
        /// The greatest that is allowed.
        most: f64,
    },
    /// A least above a most.
    #[error("qos.{qos}: no job can have at least {least} and at most {most} ({resource})")]
    NoRoom {
        /// The QOS.
        qos: String,
        /// Of what.
        resource: Resource,
        /// `at_least`.
        least: u64,
        /// `limits.per_job`.
        most: u64,
    },
}

/// At least one thing that is wrong with a table.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct TableErrors(pub Vec<TableError>);

impl fmt::Display for TableErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(TableError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Each account with itself and all above it, up to root, when the table is right.
pub(super) fn check(table: &AccountsTable) -> Result<BTreeMap<String, Vec<String>>, TableErrors> {
    let mut errors = Vec::new();
    let mut paths = BTreeMap::from([(ROOT.to_owned(), vec![ROOT.to_owned()])]);
    for (name, entry) in &table.accounts {
        check_name("accounts", name, &mut errors);
        if name == ROOT {
            check_root(entry, &mut errors);
        } else {
            paths.insert(name.clone(), path(table, name, &mut errors));
        }
    }
    for (name, entry) in &table.accounts {
        check_account(table, name, entry, &paths[name], &mut errors);
    }
    for (name, entry) in &table.qos {
        check_qos(table, name, entry, &mut errors);
    }
    preempt_rings(table, &mut errors);
    for (name, entry) in &table.partitions {
        check_name("partitions", name, &mut errors);
        check_asked(table, &format!("partitions.{name}.qos"), (None, entry.qos.as_ref()), &mut errors);
    }
    for resource in Resource::ALL {
        let weight = table.billing.weights.get(resource);
        check_range(|| format!("billing.weights ({resource})"), weight, MOST_FACTOR, &mut errors);
    }
    if errors.is_empty() { Ok(paths) } else { Err(TableErrors(errors)) }
}

fn check_name(place: &str, name: &str, errors: &mut Vec<TableError>) {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",\"'`".contains(c);
    if name.is_empty() || name.contains(odd) {
        errors.push(TableError::Name { place: place.to_owned(), name: name.to_owned() });
    }
}

fn check_root(root: &AccountEntry, errors: &mut Vec<TableError>) {
    if root.parent.is_some() {
        errors.push(TableError::Root { what: "`parent`" });
    }
    if root.shares != Shares::default() {
        errors.push(TableError::Root { what: "`shares`" });
    }
}

/// The account and all above it, as far as they are there.
fn path(table: &AccountsTable, account: &str, errors: &mut Vec<TableError>) -> Vec<String> {
    let mut path = vec![account.to_owned()];
    let mut at = account;
    while at != ROOT {
        let Some(parent) = table.accounts.get(at).map(|a| a.parent.as_deref().unwrap_or(ROOT)) else {
            let below = path[path.len() - 2].clone();
            // The others below it would say the same again.
            if below == account {
                errors.push(TableError::NoParent { account: below, parent: at.to_owned() });
            }
            return path;
        };
        if let Some(start) = path.iter().position(|name| name == parent) {
            let mut ring = path[start..].to_vec();
            ring.push(parent.to_owned());
            if start == 0 && ring.iter().all(|name| account <= name.as_str()) {
                errors.push(TableError::Ring { account: account.to_owned(), ring });
            }
            return path;
        }
        path.push(parent.to_owned());
        at = parent;
    }
    if path.len() - 1 > DEEPEST {
        errors.push(TableError::TooDeep { account: account.to_owned(), depth: path.len() - 1 });
    }
    path
}

fn check_account(
    table: &AccountsTable,
    name: &str,
    entry: &AccountEntry,
    path: &[String],
    errors: &mut Vec<TableError>,
) {
    let above = || path.iter().filter_map(|n| table.accounts.get(n));
    let inherited = above().find_map(|a| a.qos.as_ref());
    let default = above().find_map(|a| a.default_qos.as_ref());
    let place = format!("accounts.{name}");
    check_asked(table, &place, (entry.qos.as_ref(), entry.default_qos.as_ref()), errors);
    if entry.qos.is_some() || entry.default_qos.is_some() {
        check_default(&place, inherited, default, errors);
    }
    for (user, own) in &entry.users {
        check_name(&format!("{place}.users"), user, errors);
        let place = format!("{place}.users.{user}");
        check_asked(table, &place, (own.qos.as_ref(), own.default_qos.as_ref()), errors);
        if own.qos.is_some() || own.default_qos.is_some() {
            let (qos, default) = (own.qos.as_ref().or(inherited), own.default_qos.as_ref().or(default));
            check_default(&place, qos, default, errors);
        }
    }
}

/// The QOS that are named are there.
fn check_asked(
    table: &AccountsTable,
    place: &str,
    (qos, default): (Option<&BTreeSet<String>>, Option<&String>),
    errors: &mut Vec<TableError>,
) {
    let named = qos.into_iter().flatten().chain(default);
    let unknown: BTreeSet<&String> = named.filter(|name| !table.qos.contains_key(*name)).collect();
    errors.extend(
        unknown.into_iter().map(|qos| TableError::NoQos { place: place.to_owned(), qos: qos.clone() }),
    );
}

fn check_default(
    place: &str,
    qos: Option<&BTreeSet<String>>,
    default: Option<&String>,
    errors: &mut Vec<TableError>,
) {
    if let (Some(qos), Some(default)) = (qos, default)
        && !qos.contains(default)
    {
        errors.push(TableError::DefaultNotAllowed { place: place.to_owned(), qos: default.clone() });
    }
}

fn check_qos(table: &AccountsTable, name: &str, entry: &QosEntry, errors: &mut Vec<TableError>) {
    check_name("qos", name, errors);
    for other in &entry.preempts {
        if other == name {
            errors.push(TableError::PreemptsItself { qos: name.to_owned() });
        } else if !table.qos.contains_key(other) {
            errors.push(TableError::NoQos { place: format!("qos.{name}.preempts"), qos: other.clone() });
        }
    }
    let factor = entry.usage_factor.unwrap_or(1.0);
    check_range(|| format!("qos.{name}.usage_factor"), factor, MOST_FACTOR, errors);
    for resource in Resource::ALL {
        let least = entry.at_least.get(resource);
        if let Some(most) = entry.limits.per_job.amounts.get(resource).filter(|most| *most < least) {
            errors.push(TableError::NoRoom { qos: name.to_owned(), resource, least, most });
        }
    }
}

/// For each QOS the shortest ring of preemptions in which it is the first by name.
fn preempt_rings(table: &AccountsTable, errors: &mut Vec<TableError>) {
    for first in table.qos.keys() {
        // Whence each was reached, nearest first.
        let mut from: BTreeMap<&String, &String> = BTreeMap::new();
        let mut rest = VecDeque::from([first]);
        while let Some(at) = rest.pop_front() {
            // That one preempts itself is said elsewhere.
            let known = |name: &&String| table.qos.contains_key(*name) && *name != at && *name >= first;
            for next in table.qos[at].preempts.iter().filter(known) {
                if !from.contains_key(next) {
                    from.insert(next, at);
                    rest.push_back(next);
                }
            }
        }
        let Some(mut at) = from.get(first).copied() else { continue };
        let mut ring = vec![first.clone()];
        while at != first {
            ring.push(at.clone());
            at = from[at];
        }
        ring.push(first.clone());
        ring.reverse();
        errors.push(TableError::PreemptRing { qos: first.clone(), ring });
    }
}

fn check_range(place: impl Fn() -> String, value: f64, most: f64, errors: &mut Vec<TableError>) {
    if !(0.0..=most).contains(&value) {
        errors.push(TableError::Range { place: place(), value, most });
    }
}
