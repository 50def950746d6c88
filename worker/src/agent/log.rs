//! A log on the spool: frames, appended by one process alone.
//!
//! Nothing is synced: the spool outlives processes, and a host's start empties it, since nothing runs any more then. An
//! append is whole or, at a full disk, taken back; a tail that was cut off with its writer is no frame. To append to an
//! open file costs a hundredth of what it costs to create one and to remove it.

use super::frame::{self, Inbox};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    /// A log with these entries, in the place of one that is there.
    ///
    /// # Errors
    /// The operating system's; what was there is there still.
    pub(super) fn make<T: Serialize>(path: &Path, entries: impl IntoIterator<Item = T>) -> Result<Log> {
        let mut beside = path.to_owned().into_os_string();
        beside.push(".new");
        let open = OpenOptions::new().append(true).create(true).mode(0o600).open(&beside);
        let mut log = Log { path: PathBuf::from(&beside), file: open?, bytes: 0 };
        log.file.set_len(0)?;
        entries.into_iter().try_for_each(|entry| log.append(&entry))?;
        std::fs::rename(&beside, path)?;
        log.path = path.to_owned();
        Ok(log)
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// The operating system's; then nothing of it is there.
    pub(super) fn append<T: Serialize>(&mut self, entry: &T) -> Result<()> {
        let bytes = frame::bytes(entry)?;
        let written = self.file.write_all(&bytes);
        match &written {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(_) => self.file.set_len(self.bytes)?,
        }
        written
    }

    /// Puts these entries in the place of all.
    ///
    /// # Errors
    /// The operating system's; then all are there still.
    pub(super) fn rewrite<T: Serialize>(&mut self, entries: impl IntoIterator<Item = T>) -> Result<()> {
        *self = Log::make(&self.path, entries)?;
        Ok(())
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The whole entries of a log; none when there is no log.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let (mut inbox, mut rest) = (Inbox::default(), &bytes[..]);
    while inbox.fill(&mut rest).unwrap_or(false) {}
    std::iter::from_fn(|| inbox.next().ok()?).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_log_that_is_cut_has_the_entries_before() {
        let scratch = Scratch::new("log");
        let path = scratch.path().join("a");
        let mut log = Log::make(&path, ["one"]).unwrap();
        log.append(&"two").unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len() as u64, log.bytes());
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read::<String>(&path).len(), usize::from(cut >= whole.len() / 2), "cut at {cut}");
        }
        log.rewrite(["three", "four"]).unwrap();
        log.append(&"five").unwrap();
        assert_eq!(read::<String>(&path), ["three", "four", "five"]);
        assert_eq!(read::<String>(&scratch.path().join("none")), [""; 0]);
    }
}
