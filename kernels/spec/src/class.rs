//! The arithmetic class: what a block's bits depend on. Answers are comparable bit for bit within one class only.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the bits of a block depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Integers, minimum and maximum: the same bits on any hardware.
    Exact,
    /// Muster's own mathematics in f64: fixed lanes, fused multiply-add where written and nowhere else. Needs FMA.
    PortableF64,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Exact => "exact",
            Class::PortableF64 => "portable-f64",
        })
    }
}
