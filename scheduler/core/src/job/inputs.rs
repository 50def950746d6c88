//! What a probe finds on a host: how a kernel's input files are cut there, or why that cannot be told.

use serde::{Deserialize, Serialize};

/// A kernel's input files on a host, and the grid that follows from them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Found {
    /// The hash of the resolved spec.
    pub spec: [u8; 16],
    /// The arithmetic class.
    pub class: String,
    /// How many blocks the grid has.
    pub blocks: u32,
    /// How many files there are.
    pub files: u32,
    /// How many bytes they have together.
    pub bytes: u64,
    /// A hash that tells them from others: of their relative paths, sizes and footers.
    pub print: [u8; 16],
}

/// Why a host cannot do its part of a job that reads files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Lack {
    /// A file is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// A file is there, and cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// What the operating system says.
        why: String,
    },
    /// The spec is none of its kernel's.
    #[error("the spec is wrong: {0}")]
    Spec(String),
    /// The host did not come to an end with it.
    #[error("it was not done after {0} s")]
    Late(u32),
    /// The files are not those of the host that was first to tell.
    #[error("its files are not those of the other hosts")]
    Differs,
}
