//! The policy: which waiting jobs start now, on what, and why the others wait.
//!
//! Step 5 of a job's way (DESIGN section 4). Pure: the same values give the same decisions.

pub mod machine;
pub mod priority;
