//! Private blobs: scripts with their environments, and users' programs, outside the journal, each in a file that is named
//! by its hash.
//!
//! Invariants: a blob that [`Blobs::put`] has given a name is on disk, whole, and stays for as long as a job has it, or
//! [`SPARED`] where none has yet; what is read has the hash that it was asked for; nobody but the controller's user can read
//! the folder.

use muster_core::payload::BlobId;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// How long a blob is kept that no job has: whoever has put it is about to submit one.
pub const SPARED: Duration = Duration::from_secs(300);

/// A folder of blobs.
#[derive(Debug)]
pub struct Blobs {
    folder: PathBuf,
    /// The next file that is written; held while one comes or goes.
    next: Mutex<u64>,
}

impl Blobs {
    /// The blobs of a state directory.
    ///
    /// # Errors
    /// When their folder cannot be made.
    pub fn open(state: &Path) -> io::Result<Blobs> {
        let folder = state.join("blobs");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Blobs { folder, next: Mutex::new(0) })
    }

    /// Keeps `bytes`, and says by what name.
    ///
    /// # Errors
    /// When the disk does not take them; nothing half is left under their name.
    pub fn put(&self, bytes: &[u8]) -> io::Result<BlobId> {
        let id = BlobId(*blake3::hash(bytes).as_bytes());
        if self.has(id) {
            return Ok(id);
        }
        let number = {
            let mut next = self.next.lock().expect("nobody panics with it");
            *next += 1;
            *next
        };
        let beside = self.folder.join(format!(".{}.{number}", std::process::id()));
        let written = write(&beside, bytes).and_then(|()| std::fs::rename(&beside, self.path(id)));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written?;
        File::open(&self.folder)?.sync_all()?;
        Ok(id)
    }

    /// Whether a blob is there; if so it stays for [`SPARED`] at least.
    pub fn has(&self, id: BlobId) -> bool {
        let _held = self.next.lock().expect("nobody panics with it");
        let file = File::options().write(true).open(self.path(id));
        file.and_then(|file| file.set_modified(SystemTime::now())).is_ok()
    }

    /// The bytes of a blob.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn get(&self, id: BlobId) -> io::Result<Vec<u8>> {
        let bytes = std::fs::read(self.path(id))?;
        if blake3::hash(&bytes).as_bytes() == &id.0 {
            Ok(bytes)
        } else {
            let what = format!("blob {id} is damaged: submit its job again");
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
    }

    /// Removes all blobs that are not among `kept`, and what was left half written.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn keep_only(&self, kept: &BTreeSet<BlobId>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.parse::<BlobId>().ok());
            if id.is_none_or(|id| !kept.contains(&id)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// The same while others put blobs: what came within [`SPARED`] before `now` is left.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, kept: &BTreeSet<BlobId>, now: SystemTime) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<BlobId>().ok());
            if id.is_none_or(|id| kept.contains(&id)) {
                continue;
            }
            let _held = self.next.lock().expect("nobody panics with it");
            let came = entry.metadata().and_then(|meta| meta.modified());
            if came.is_ok_and(|came| now.duration_since(came).is_ok_and(|age| age >= SPARED)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got_until_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let (a, b) = (blobs.put(b"a").unwrap(), blobs.put(b"b").unwrap());
        assert_eq!(blobs.put(b"a").unwrap(), a, "once");
        assert_eq!((blobs.get(a).unwrap(), blobs.get(b).unwrap()), (b"a".to_vec(), b"b".to_vec()));
        blobs.keep_only(&[b].into()).unwrap();
        assert_eq!(blobs.get(a).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(folder.path().join("blobs").join(b.to_string()), "c").unwrap();
        assert!(blobs.get(b).unwrap_err().to_string().contains("damaged"));
        let soon = SystemTime::now() + SPARED / 2;
        blobs.sweep(&[].into(), soon).unwrap();
        assert!(blobs.has(b), "whoever has put it may be about to submit its job");
        blobs.sweep(&[b].into(), soon + SPARED).unwrap();
        assert!(blobs.has(b), "a job has it");
        blobs.sweep(&[].into(), soon + SPARED).unwrap();
        assert!(blobs.get(b).is_err() && !blobs.has(b));
    }
}
