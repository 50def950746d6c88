//! A claim beside siblings: a number, or the word `parent`.

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A claim beside siblings. In text it is a number or `"parent"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// In proportion to the siblings' numbers. Zero puts the user or account behind all others.
    Own(u32),
    /// The parent's: an account's children stand beside its siblings, and users stand first in their account, equal.
    Parent,
}

impl Default for Shares {
    /// One share, as in Slurm.
    fn default() -> Shares {
        Shares::Own(1)
    }
}

impl Serialize for Shares {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (serializer.is_human_readable(), self) {
            (true, Shares::Own(shares)) => shares.serialize(serializer),
            (true, Shares::Parent) => PARENT.serialize(serializer),
            (false, Shares::Own(shares)) => Some(*shares).serialize(serializer),
            (false, Shares::Parent) => None::<u32>.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Shares {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shares, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(Text);
        }
        Ok(Option::<u32>::deserialize(deserializer)?.map_or(Shares::Parent, Shares::Own))
    }
}

const PARENT: &str = "parent";

/// Reads what is written in text.
struct Text;

impl Visitor<'_> for Text {
    type Value = Shares;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of shares from 0 to 4294967295, or \"parent\"")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Shares, E> {
        u32::try_from(value)
            .map(Shares::Own)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Shares, E> {
        u32::try_from(value).map(Shares::Own).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Shares, E> {
        if value == PARENT {
            return Ok(Shares::Parent);
        }
        Err(E::invalid_value(Unexpected::Str(value), &self))
    }
}
