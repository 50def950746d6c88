//! How messages and records become bytes: a version, then the value in postcard.
//!
//! Invariant: a value of another version is refused with what to do. Version 2 came when an end began to say what was
//! used, and 3 when hosts were told ahead what comes next; version 4 of messages when output came back and scripts had
//! steps, and 5 when there were clients and prologs; version 4 of the journal, and 6 of messages, when programs of users
//! went along; all before there was a release.

use serde::{Serialize, de::DeserializeOwned};

/// What is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A message between daemons.
    Message,
    /// A record of the journal, or a snapshot of what it comes to.
    Journal,
}

/// Why bytes are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Written by a newer muster.
    #[error(
        "this {what} has version {theirs} and this muster reads up to {ours}: install the newer muster here \
         (`muster --version` shows which this is)", what = format.name()
    )]
    Newer {
        /// What was to be read.
        format: Format,
        /// Its version.
        theirs: u16,
        /// The newest that is understood.
        ours: u16,
    },
    /// Written by an older muster.
    #[error(
        "this {what} has version {theirs}, of an older muster, and this one reads {ours}: {advice}",
        what = format.name(), advice = format.older()
    )]
    Older {
        /// What was to be read.
        format: Format,
        /// Its version.
        theirs: u16,
        /// The one that is understood.
        ours: u16,
    },
    /// Damaged, or something else.
    #[error("this {what} cannot be read ({why}): {advice}", what = format.name(), advice = format.advice())]
    Garbled {
        /// What was to be read.
        format: Format,
        /// What is wrong with it.
        why: String,
    },
}

impl Format {
    /// The version that is written.
    pub fn version(self) -> u16 {
        match self {
            Format::Message => 6,
            Format::Journal => 4,
        }
    }

    /// The bytes of `value`.
    ///
    /// # Panics
    /// When `value` has a sequence whose length is not known beforehand; those of this package have none.
    pub fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        postcard::to_stdvec(&(self.version(), value)).expect("our values have known lengths")
    }

    /// The value of `bytes`.
    ///
    /// # Errors
    /// When they are of another version, or damaged.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, FormatError> {
        let garbled = |why: String| FormatError::Garbled { format: self, why };
        let (theirs, rest): (u16, &[u8]) =
            postcard::take_from_bytes(bytes).map_err(|error| garbled(error.to_string()))?;
        match theirs {
            0 => return Err(garbled("there is no version 0".into())),
            _ if theirs > self.version() => {
                return Err(FormatError::Newer { format: self, theirs, ours: self.version() });
            }
            _ if theirs < self.version() => {
                return Err(FormatError::Older { format: self, theirs, ours: self.version() });
            }
            _ => {}
        }
        let (value, rest) = postcard::take_from_bytes(rest).map_err(|error| garbled(error.to_string()))?;
        if rest.is_empty() { Ok(value) } else { Err(garbled(format!("{} bytes too many", rest.len()))) }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Message => "message",
            Format::Journal => "journal",
        }
    }

    fn older(self) -> &'static str {
        match self {
            Format::Message => "install this muster on the host that sent it, too",
            Format::Journal => {
                "end its jobs with the muster that wrote it, then move it away to start with an empty queue"
            }
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Format::Message => "the sender is not a muster, or a broken one",
            Format::Journal => "restore it from a backup, or move it away to start with an empty queue",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_refused_with_what_to_do() {
        let bytes = postcard::to_stdvec(&(7u16, "anything")).unwrap();
        let error = Format::Message.decode::<String>(&bytes).unwrap_err();
        assert_eq!(error, FormatError::Newer { format: Format::Message, theirs: 7, ours: 6 });
        assert!(error.to_string().contains("install the newer muster"), "{error}");
        let bytes = postcard::to_stdvec(&(1u16, "anything")).unwrap();
        let error = Format::Journal.decode::<String>(&bytes).unwrap_err();
        assert!(error.to_string().contains("move it away to start with an empty queue"), "{error}");
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = Format::Journal.encode(&("text", 5u64));
        assert_eq!(Format::Journal.decode::<(String, u64)>(&bytes), Ok(("text".into(), 5)));
        for cut in 0..bytes.len() {
            assert!(Format::Journal.decode::<(String, u64)>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Format::Journal.decode::<(String, u64)>(&longer).is_err());
        assert!(Format::Journal.decode::<u8>(&[0, 2]).is_err(), "no version 0");
    }
}
