//! The hosts of a cluster as the policy sees them, against a reference that tries everything.

mod everybody;
mod laws;
mod model;
mod pool;
mod reasons;
mod requests;
