//! Which directory a path names, so that two hosts can tell whether they see the same one.
//!
//! Invariant: two directories that are not the same are never taken to be. That two names of one directory are not told
//! to be the same costs a copy, and nothing else.

use crate::protocol::stamp::Boot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A directory, as a host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderId {
    /// Which life of the host says so: numbers of devices are its own. Containers of one machine share it.
    pub boot: Boot,
    /// The number of its device.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// What is mounted there, where that is a file system of several hosts: its kind and its source.
    pub source: Option<String>,
}

impl FolderId {
    /// Whether both are the same directory. On two machines the same number of a device means nothing: copies of one disk
    /// have it, and one network file system has others.
    pub fn is_same(&self, other: &FolderId) -> bool {
        let same_device = match self.boot == other.boot {
            true => self.device == other.device,
            false => self.source.is_some() && self.source == other.source,
        };
        same_device && self.inode == other.inode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_and_others() {
        let folder = |boot, device, inode, source: Option<&str>| FolderId {
            boot: Boot(boot),
            device,
            inode,
            source: source.map(str::to_owned),
        };
        let here = folder(1, 8, 100, None);
        assert!(here.is_same(&here));
        assert!(!here.is_same(&folder(1, 9, 100, None)), "another file system of this host");
        assert!(!here.is_same(&folder(1, 8, 101, None)));
        assert!(!here.is_same(&folder(2, 8, 100, None)), "the same number on a copy of the disk");
        let shared = folder(1, 50, 100, Some("nfs4 server:/home"));
        assert!(shared.is_same(&folder(2, 51, 100, Some("nfs4 server:/home"))));
        assert!(!shared.is_same(&folder(2, 50, 100, Some("nfs4 other:/home"))));
        assert!(!shared.is_same(&folder(2, 50, 101, Some("nfs4 server:/home"))));
    }
}
