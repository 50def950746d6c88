//! Private blobs: scripts with their environments, outside the journal, each in a file that is named by its hash.
//!
//! Invariants: a blob that [`Blobs::put`] has given a name is on disk, whole; what is read has the hash that it was asked
//! for; nobody but the controller's user can read the folder.

use muster_core::payload::BlobId;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder of blobs.
#[derive(Debug)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// The blobs of a state directory.
    ///
    /// # Errors
    /// When their folder cannot be made.
    pub fn open(state: &Path) -> io::Result<Blobs> {
        let folder = state.join("blobs");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Blobs { folder })
    }

    /// Keeps `bytes`, and says by what name.
    ///
    /// # Errors
    /// When the disk does not take them; nothing half is left under their name.
    pub fn put(&self, bytes: &[u8]) -> io::Result<BlobId> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = BlobId(*blake3::hash(bytes).as_bytes());
        let path = self.path(id);
        if path.exists() {
            return Ok(id);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let beside = self.folder.join(format!(".{}.{number}", std::process::id()));
        let written = write(&beside, bytes).and_then(|()| std::fs::rename(&beside, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written?;
        File::open(&self.folder)?.sync_all()?;
        Ok(id)
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

    /// Removes a blob, if it is there.
    pub fn remove(&self, id: BlobId) {
        let _ = std::fs::remove_file(self.path(id));
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
        blobs.remove(b);
        assert!(blobs.get(b).is_err());
    }
}
