//! Frames: how values lie one after another in a stream or a file. A length of four bytes, lowest first, then a value
//! in the format of messages.
//!
//! Invariant: no frame is longer than [`LIMIT`], whoever writes it.

use muster_core::protocol::format::Format;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Error, ErrorKind, Read, Result, Write};

/// The most bytes in a frame.
pub(super) const LIMIT: usize = 32 << 20;

const HEAD: usize = 4;

/// The bytes of a frame with `value`.
///
/// # Errors
/// When it is too long.
pub(super) fn bytes<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let body = Format::Message.encode(value);
    if body.len() > LIMIT {
        let what = format!("a message of {} bytes, and {LIMIT} are allowed", body.len());
        return Err(Error::new(ErrorKind::InvalidData, what));
    }
    Ok([&(body.len() as u32).to_le_bytes()[..], &body].concat())
}

/// Writes `value` as one frame.
///
/// # Errors
/// When it is too long, or cannot be written.
pub(super) fn write<T: Serialize>(to: &mut impl Write, value: &T) -> Result<()> {
    to.write_all(&bytes(value)?)
}

/// What has been read and not been taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Reads once, as much as is there; false at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> Result<bool> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let held = self.bytes.len();
        // As much as the frame that is under way still lacks, so that a long one is read in few pieces.
        let lacks = self.length().map_or(0, |length| (HEAD + length.min(LIMIT)).saturating_sub(held));
        self.bytes.resize(held + lacks.clamp(1 << 14, 1 << 20), 0);
        let read = loop {
            match from.read(&mut self.bytes[held..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.bytes.truncate(held + *read.as_ref().unwrap_or(&0));
        read.map(|n| n > 0)
    }

    /// The next value, if all of it is there.
    ///
    /// # Errors
    /// When it is too long, or not one.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let wrong = |what: String| Error::new(ErrorKind::InvalidData, what);
        let Some(length) = self.length() else { return Ok(None) };
        if length > LIMIT {
            return Err(wrong(format!("a message of {length} bytes, and {LIMIT} are allowed")));
        }
        let Some(body) = self.bytes.get(self.taken + HEAD..self.taken + HEAD + length) else {
            return Ok(None);
        };
        let value = Format::Message.decode(body).map_err(|e| wrong(e.to_string()))?;
        self.taken += HEAD + length;
        Ok(Some(value))
    }

    fn length(&self) -> Option<usize> {
        let head = self.bytes.get(self.taken..self.taken + HEAD)?;
        Some(u32::from_le_bytes(head.try_into().expect("four bytes")) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = Vec::new();
        for text in ["one", "", &"long".repeat(20_000)] {
            write(&mut stream, &text).unwrap();
        }
        for cut in [0, 1, 3, 4, 5, 12, 100, stream.len()] {
            let mut inbox = Inbox::default();
            let mut out: Vec<String> = Vec::new();
            for mut part in [&stream[..cut], &stream[cut..]] {
                while inbox.fill(&mut part).unwrap() {
                    out.extend(std::iter::from_fn(|| inbox.next().unwrap()));
                }
            }
            assert_eq!(out.iter().map(String::len).collect::<Vec<_>>(), [3, 0, 80_000], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut inbox = Inbox::default();
        inbox.fill(&mut &u32::MAX.to_le_bytes()[..]).unwrap();
        assert!(inbox.next::<String>().unwrap_err().to_string().contains("are allowed"));
        assert!(bytes(&vec![0u8; LIMIT + 1]).is_err());
    }
}
