//! Which directory a path is, told so that another host can compare.
//!
//! Part of step 3 of a job's way, and of step 7 (DESIGN section 4).

use muster_core::folder::FolderId;
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// File systems that several hosts may have mounted, as /proc/self/mountinfo calls them.
const SHARED: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "afs",
    "lustre",
    "ceph",
    "9p",
    "gpfs",
    "glusterfs",
    "beegfs",
    "ocfs2",
    "gfs2",
    "orangefs",
    "virtiofs",
    "fuse.glusterfs",
];

/// Which directory this is.
///
/// # Errors
/// When it is not there, or /proc does not tell which life of the host this is.
pub fn id(path: &Path) -> Result<FolderId> {
    let path = path.canonicalize()?;
    let meta = std::fs::metadata(&path)?;
    let boot = crate::agent::boot().map_err(Error::other)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(FolderId { boot, device: meta.dev(), inode: meta.ino(), source: source(&mounts, &path) })
}

/// What is mounted where `path` is, if that is a file system of several hosts.
fn source(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (root, point) = (before.next()?, before.next()?.replace("\\040", " "));
        let (kind, source) = (after.next()?, after.next()?);
        path.starts_with(&point).then(|| (point.len(), kind.to_owned(), format!("{kind} {source} {root}")))
    };
    // Of two on one point the later one is seen.
    let (_, kind, source) = mounts.lines().filter_map(mount).max_by_key(|(length, ..)| *length)?;
    SHARED.contains(&&kind[..]).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn two_names_of_one_directory() {
        let scratch = Scratch::new("folder");
        std::fs::create_dir(scratch.path().join("a")).unwrap();
        let direct = id(&scratch.path().join("a")).unwrap();
        assert!(direct.is_same(&id(&scratch.path().join("a/../a")).unwrap()));
        assert!(!direct.is_same(&id(scratch.path()).unwrap()));
        assert!(id(&scratch.path().join("b")).is_err());
    }

    #[test]
    fn the_mount_that_is_seen() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:40 / /home rw shared:1 - nfs4 server:/export/home rw\n\
                      31 30 0:41 / /home/me/scratch rw - tmpfs tmpfs rw\n";
        let of = |path: &str| source(mounts, Path::new(path));
        assert_eq!(of("/home/me"), Some("nfs4 server:/export/home /".to_owned()));
        assert_eq!(of("/homes"), None);
        assert_eq!(of("/home/me/scratch/x"), None);
    }
}
