//! What a site says of accounts: who may use how much, how usage fades, and what makes a priority.
//!
//! Checked as a whole: everything that is wrong is told at once, and nothing of it is taken before all is right.

use crate::policy::priority::{Multifactor, Weights};
use crate::share::accounts::Accounts;
use crate::share::table::AccountsTable;
use crate::share::table_error::{TableError, TableErrors};
use crate::share::usage::{Decay, DecayError};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Ticks of a second: the books count milliseconds.
const TICKS: i64 = 1000;

/// What a site says of accounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounting {
    /// Accounts, their users, and QOS.
    pub table: AccountsTable,
    /// Seconds after which what was used counts half; none for usage that never fades.
    pub half_life_s: Option<u32>,
    /// How priorities are made.
    pub priority: Multifactor,
}

impl Default for Accounting {
    /// No accounts, Slurm's half-life of 7 days, and priorities by QOS, then by the fair tree.
    fn default() -> Accounting {
        let weights = Weights { qos: 1_000_000_000, fairshare: 1_000_000, ..Weights::default() };
        Accounting {
            table: AccountsTable::default(),
            half_life_s: Some(7 * 24 * 3600),
            priority: Multifactor { weights, ..Multifactor::default() },
        }
    }
}

/// One thing that is wrong with it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AccountingError {
    /// In the table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// With the half-life.
    #[error("half_life_s: {0}")]
    HalfLife(DecayError),
    /// A partition that there is not.
    #[error("partitions.{0}: there is no such partition: add it first, or name another")]
    NoPartition(String),
}

/// At least one thing that is wrong with it.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct AccountingErrors(pub Vec<AccountingError>);

impl fmt::Display for AccountingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(AccountingError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Accounting {
    /// The accounts that it describes, and how what they use fades.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, where `is_partition` knows the partitions that there are.
    pub fn check(&self, is_partition: impl Fn(&str) -> bool) -> Result<(Accounts, Decay), AccountingErrors> {
        let mut errors = Vec::new();
        let accounts = Accounts::new(self.table.clone()).unwrap_or_else(|TableErrors(wrong)| {
            errors.extend(wrong.into_iter().map(AccountingError::Table));
            Accounts::none()
        });
        let unknown = self.table.partitions.keys().filter(|name| !is_partition(name));
        errors.extend(unknown.map(|name| AccountingError::NoPartition(name.clone())));
        let half_life = self.half_life_s.map(|s| i64::from(s) * TICKS);
        match Decay::new(half_life, TICKS) {
            Ok(decay) if errors.is_empty() => return Ok((accounts, decay)),
            Ok(_) => {}
            Err(error) => errors.push(AccountingError::HalfLife(error)),
        }
        Err(AccountingErrors(errors))
    }
}
