//! Reservations: hosts kept for some jobs, or from all, for a time.

use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Hosts kept for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its name.
    pub name: String,
    /// When it begins.
    pub from: Time,
    /// When it is over.
    pub to: Time,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// For whom.
    pub purpose: Purpose,
}

/// For whom hosts are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Nobody: the hosts are serviced.
    Maintenance,
    /// Jobs that name the reservation, of these users, or charged to these accounts.
    Jobs {
        /// Users.
        users: Vec<String>,
        /// Accounts.
        accounts: Vec<String>,
    },
}

impl Reservation {
    /// Whether jobs of `user` that are charged to `account` may name it.
    pub fn lets(&self, user: &str, account: Option<&str>) -> bool {
        match &self.purpose {
            Purpose::Maintenance => false,
            Purpose::Jobs { users, accounts } => {
                users.iter().any(|one| one == user)
                    || account.is_some_and(|account| accounts.iter().any(|one| one == account))
            }
        }
    }
}
