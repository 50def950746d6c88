//! What runs hand over: the standard output, or files by name; as bytes, or as sums.

use super::sums::Sums;
use crate::kernel::Partial;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// What the runs of some blocks have handed over, by name; the standard output has the empty name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPartial {
    /// The first and the last of its blocks. There may be others between them that are not in it.
    pub(super) blocks: (u32, u32),
    pub(super) parts: BTreeMap<String, Part>,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    Bytes(Blob),
    Sums(Sums),
}

impl Part {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Part::Bytes(blob) => blob.0.len() as u64,
            Part::Sums(sums) => sums.bytes(),
        }
    }

    /// What people and files get.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Part::Bytes(blob) => blob.0,
            Part::Sums(sums) => sums.to_text().into_bytes(),
        }
    }
}

impl CommandPartial {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.values().map(Part::bytes).sum()
    }

    /// Both, merged name by name with `both` where both have one.
    pub(super) fn join<E>(
        mut self,
        right: Self,
        both: &mut dyn FnMut(&str, Part, Part) -> Result<Part, E>,
    ) -> Result<Self, E> {
        for (name, theirs) in right.parts {
            let merged = match self.parts.remove(&name) {
                Some(mine) => both(&name, mine, theirs)?,
                None => theirs,
            };
            self.parts.insert(name, merged);
        }
        let blocks = (self.blocks.0.min(right.blocks.0), self.blocks.1.max(right.blocks.1));
        Ok(CommandPartial { blocks, parts: self.parts })
    }
}

/// The worker merges by the kernel's own [`merge`](crate::Kernel::merge), which can run a command and can fail.
impl Partial for CommandPartial {
    fn merge(self, _: Self) -> Self {
        unreachable!("partials of `command` merge through their kernel")
    }
}

/// Bytes; where people read, text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
            _ => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::deserialize(deserializer).map(Blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_for_people_alone() {
        let blob = Blob(b"a\n".to_vec());
        assert_eq!(serde_json::to_string(&blob).unwrap(), "\"a\\n\"");
        assert_eq!(serde_json::to_string(&Blob(vec![255])).unwrap(), "[255]");
        let bytes = postcard::to_stdvec(&blob).unwrap();
        assert_eq!(postcard::from_bytes::<Blob>(&bytes).unwrap(), blob);
    }
}
