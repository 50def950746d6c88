//! How a site describes its accounts: one table, as TOML or as commands build it up.
//!
//! ```toml
//! [accounts.physics]                  # its parent is root
//! shares = 30
//! limits.total = { jobs = 200, amounts = { cpus = 4000 } }
//! [accounts.optics]
//! parent = "physics"
//! shares = "parent"                   # its children stand beside its siblings
//! [accounts.optics.users]
//! ada = { shares = 2 }
//! [qos.urgent]
//! priority = 100
//! preempts = ["standby"]
//! [qos.standby]
//! usage_factor = 0.5
//! flags = ["no-reserve"]
//! [partitions.night]
//! qos = "standby"                     # its limits bind all that runs there
//! ```
//!
//! Nothing is checked here but the form: see [`Accounts`](crate::share::accounts::Accounts).

use crate::books::partition::PreemptMode;
use crate::share::limits::{HeldLimits, Limits};
use crate::share::resource::{Amounts, PerResource};
use crate::share::shares::Shares;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All accounts and QOS of a site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsTable {
    /// By name. `root` is there without being listed, and may be listed for its limits and users.
    pub accounts: BTreeMap<String, AccountEntry>,
    /// By name.
    pub qos: BTreeMap<String, QosEntry>,
    /// By name: partitions whose jobs are bound by more than their own limits.
    pub partitions: BTreeMap<String, PartitionEntry>,
    /// What minutes that were used up keep from starting.
    pub minutes: MinutesRule,
    /// What a job is billed, for the fair tree.
    pub billing: Billing,
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountEntry {
    /// The account above; `root` when absent.
    pub parent: Option<String>,
    /// Its claim beside its siblings.
    pub shares: Shares,
    /// Limits on it and below it.
    pub limits: Limits,
    /// The association factor of its users, before it is set in relation to the highest; as above when absent.
    pub priority: Option<u32>,
    /// QOS that its users may ask for; as above when absent, and all when absent everywhere.
    pub qos: Option<BTreeSet<String>>,
    /// QOS of a job that asks for none; as above when absent.
    pub default_qos: Option<String>,
    /// Who may charge it, by user name.
    pub users: BTreeMap<String, UserEntry>,
}

/// One user of one account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserEntry {
    /// The user's claim beside the account's other users and accounts.
    pub shares: Shares,
    /// Limits on what the user charges to this account.
    pub limits: Limits,
    /// The association factor, before it is set in relation to the highest; the account's when absent.
    pub priority: Option<u32>,
    /// QOS that the user may ask for; the account's when absent.
    pub qos: Option<BTreeSet<String>>,
    /// QOS of a job that asks for none; the account's when absent.
    pub default_qos: Option<String>,
}

/// One quality of service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QosEntry {
    /// The QOS factor, before it is set in relation to the highest.
    pub priority: u32,
    /// Limits on its jobs. Those per user and per job stand in the place of the accounts'.
    pub limits: Limits,
    /// Limits on what its jobs hold in one account.
    pub per_account: HeldLimits,
    /// What each of its jobs must at least ask for.
    pub at_least: Amounts,
    /// QOS whose running jobs its waiting jobs may preempt.
    pub preempts: BTreeSet<String>,
    /// What is done to its running jobs when one that may preempt them needs their hosts; what their partition says when
    /// absent.
    pub preempt: Option<PreemptMode>,
    /// For how long its running jobs are safe from that, seconds from their start; what the site says when absent.
    pub exempt_s: Option<u32>,
    /// Seconds that a preempted job of it has to end by itself, if its partition does not give it more.
    pub grace_s: u32,
    /// By how much its usage is multiplied; 1 when absent.
    pub usage_factor: Option<f64>,
    /// What else is special about it.
    pub flags: BTreeSet<QosFlag>,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionEntry {
    /// QOS whose limits bind all that runs there (Slurm's partition QOS), before those of a job's own QOS.
    pub qos: Option<String>,
}

/// What may be special about a QOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QosFlag {
    /// A job over a limit on one job, or over a limit in total by itself, is refused rather than kept waiting.
    DenyOnLimit,
    /// What was used under it does not fade in its own sum.
    NoDecay,
    /// Its limits go before those of the partition's QOS.
    OverPartQos,
    /// Its waiting jobs get no reservation.
    NoReserve,
    /// Its time limit goes before the partition's.
    PartitionTimeLimit,
    /// Its jobs must name an advance reservation.
    RequiresReservation,
}

/// What a limit on used minutes does to a job whose own minutes would go beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinutesRule {
    /// It starts as long as something is left, Slurm's default.
    #[default]
    UsedUp,
    /// It starts only if what is left suffices for its time limit and for those of all running jobs (Slurm's `safe`).
    Safe,
}

/// What a job is billed for each second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Billing {
    /// Units for one of each resource.
    pub weights: PerResource<f64>,
    /// How they become one number.
    #[serde(default)]
    pub rule: BillingRule,
}

/// How the weighed amounts become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BillingRule {
    /// Their sum.
    #[default]
    Sum,
    /// The greatest of them (Slurm's `MAX_TRES`, over the whole job).
    Max,
}

impl Default for Billing {
    /// One unit for each CPU, as in Slurm.
    fn default() -> Billing {
        Billing {
            weights: PerResource { cpus: 1.0, gpus: 0.0, memory_mib: 0.0, hosts: 0.0 },
            rule: BillingRule::Sum,
        }
    }
}
