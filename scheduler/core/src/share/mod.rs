//! Who may use how much: accounts with shares and limits, what they have used, and what the fair tree makes of it.
//!
//! Step 5 of a job's way (DESIGN section 4). Pure values; every sum that is compared is an integer, so no order of updates,
//! and no way of cutting a job's run into charged intervals, changes a bit.
//!
//! A site describes itself in one [`table::AccountsTable`]; [`accounts::Accounts`] is that table, checked. A running job's
//! [`book::Meter`] charges a [`book::UsageBook`]; [`fair_tree::FairTree`] ranks users by it; [`check::Check`] tells which
//! limits are in a job's way, by it and by the running totals of [`holdings::Holdings`].

pub mod accounts;
pub mod book;
pub mod check;
pub mod fair_tree;
pub mod holdings;
pub mod limits;
pub mod resource;
pub mod shares;
pub mod table;
pub mod table_error;
pub mod usage;

mod qos_limits;

#[cfg(test)]
mod check_tests;
#[cfg(test)]
mod fair_tree_tests;
