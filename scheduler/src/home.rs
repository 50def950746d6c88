//! The state directory of a pool: where its files are, who may have it, and that one controller has it at a time.

use crate::door::Whose;
use muster_core::protocol::lease::Lease;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long who was told to end may take where nobody says otherwise, in seconds: Slurm's KillWait.
pub const KILL_WAIT_S: u32 = 30;

/// A state directory, and the right to be the only controller in it for as long as this lives.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: File,
}

/// Why a controller cannot have a state directory.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be made, or written to.
    #[error("cannot use {path}: {error} (--state DIR or MUSTER_STATE names another state directory)", path = path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is on a file system of another machine.
    #[error(
        "{path} is on a network file system ({kind}), where a journal is not safe: name a local directory with --state DIR or MUSTER_STATE",
        path = path.display()
    )]
    Network {
        /// The directory.
        path: PathBuf,
        /// What kind of file system.
        kind: &'static str,
    },
    /// Its agents count on leases of another length.
    #[error(
        "the leases of this pool last {kept} s, and hosts that have joined count on it: leave --lease out, or begin another \
         pool with --state DIR"
    )]
    OtherLease {
        /// Their length in seconds.
        kept: u32,
    },
    /// Another controller has it.
    #[error("a pool is up in {path} already: `muster hosts` shows it, and `muster down` ends it", path = path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
}

/// File systems on which neither locks nor syncs can be trusted, by their magic numbers (linux/magic.h and theirs).
const NETWORK: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x517B, "SMB"),
    (0x5346_414F, "AFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x4750_4653, "GPFS"),
];

impl Home {
    /// Takes a state directory, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written to, is on a network file system, or another controller has it.
    pub fn take(path: &Path) -> Result<Home, HomeError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error| HomeError::Unusable { path, error }
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable(path))?;
        let kind = rustix::fs::statfs(path).map_err(|errno| unusable(path)(errno.into()))?.f_type as u32;
        if let Some((_, kind)) = NETWORK.iter().find(|(magic, _)| *magic == kind) {
            return Err(HomeError::Network { path: path.to_owned(), kind });
        }
        let lock = lock(path);
        let open = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = open.map_err(unusable(&lock))?;
        match lock_soon(&file, || UnixStream::connect(socket(path)).is_ok()) {
            Ok(()) => Ok(Home { path: path.to_owned(), _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(HomeError::Taken { path: path.to_owned() }),
            Err(errno) => Err(unusable(&lock)(errno.into())),
        }
    }

    /// Lets those pass to its socket who may come in: all else in it is its owner's alone.
    ///
    /// # Errors
    /// When its mode cannot be set.
    pub fn admit(&self, whose: &Whose) -> Result<(), HomeError> {
        if *whose == Whose::Own {
            return Ok(());
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
        let lock_up = || {
            // What is there may be of a time when nobody could pass.
            for entry in std::fs::read_dir(&self.path)? {
                let (path, kind) = {
                    let entry = entry?;
                    (entry.path(), entry.file_type()?)
                };
                match (kind.is_dir(), kind.is_file()) {
                    (true, _) => allow(&path, 0o700)?,
                    (_, true) => allow(&path, 0o600)?,
                    _ => {}
                }
            }
            allow(&self.path, 0o711)
        };
        lock_up().map_err(|error| HomeError::Unusable { path: self.path.clone(), error })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database of journal and accounting.
    pub fn journal(&self) -> PathBuf {
        journal_of(&self.path)
    }

    /// The leases of this pool: those that it has had since it first came up, then as long as was asked, in seconds.
    ///
    /// # Errors
    /// When others are asked for now, or the file that tells cannot be read or written.
    pub fn lease(&self, asked: Option<u32>) -> Result<Lease, HomeError> {
        match (self.kept("lease")?, asked) {
            (Some(kept), Some(asked)) if kept != asked => Err(HomeError::OtherLease { kept }),
            (Some(seconds), _) => Ok(Lease::of_seconds(seconds)),
            (None, Some(seconds)) => {
                self.keep("lease", seconds)?;
                Ok(Lease::of_seconds(seconds))
            }
            (None, None) => Ok(Lease::default()),
        }
    }

    /// How long who was told to end may take, in seconds: as was asked now, else last, else [`KILL_WAIT_S`].
    ///
    /// # Errors
    /// When the file that tells cannot be read or written.
    pub fn kill_wait_s(&self, asked: Option<u32>) -> Result<u32, HomeError> {
        let kept = self.kept("kill-wait")?;
        if let Some(asked) = asked.filter(|asked| kept != Some(*asked)) {
            self.keep("kill-wait", asked)?;
        }
        Ok(asked.or(kept).unwrap_or(KILL_WAIT_S))
    }

    /// A number that the pool goes by, if one was kept.
    fn kept(&self, name: &str) -> Result<Option<u32>, HomeError> {
        let path = self.path.join(name);
        let unusable = |error| HomeError::Unusable { path: path.clone(), error };
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| unusable(ErrorKind::InvalidData.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(error)),
        }
    }

    fn keep(&self, name: &str, number: u32) -> Result<(), HomeError> {
        let path = self.path.join(name);
        std::fs::write(&path, format!("{number}\n")).map_err(|error| HomeError::Unusable { path, error })
    }

    /// The socket of local commands.
    pub fn socket(&self) -> PathBuf {
        socket(&self.path)
    }
}

/// How long whoever had a lock may take to go, once it was killed, and how often that is looked at.
const GOING: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(5));

/// Locks a file. A process that was killed holds its locks until the system has taken it apart: it is waited for, but not
/// one that answers.
fn lock_soon(file: &File, answers: impl Fn() -> bool) -> rustix::io::Result<()> {
    let end = Instant::now() + GOING.0;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end && !answers() => {
                std::thread::sleep(GOING.1);
            }
            locked => return locked,
        }
    }
}

/// The database of journal and accounting in a state directory.
pub fn journal_of(state: &Path) -> PathBuf {
    state.join("journal.db")
}

/// The file that a controller holds locked for as long as it lives.
pub fn lock(state: &Path) -> PathBuf {
    state.join("controller.lock")
}

/// The socket of local commands in a state directory.
pub fn socket(state: &Path) -> PathBuf {
    state.join("api.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_controller_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        let home = Home::take(&state).unwrap();
        let answers = std::os::unix::net::UnixListener::bind(home.socket()).unwrap();
        assert!(matches!(Home::take(&state), Err(HomeError::Taken { .. })));
        drop(answers);
        // One that is going is waited for.
        let goes = std::thread::spawn(move || drop(home));
        Home::take(&state).unwrap();
        goes.join().unwrap();
    }

    #[test]
    fn what_a_pool_goes_by_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        let asked = |asked| home.kill_wait_s(asked).unwrap();
        assert_eq!((asked(None), asked(Some(5)), asked(None), asked(Some(7)), asked(None)), (30, 5, 5, 7, 7));
        home.lease(Some(9)).unwrap();
        assert!(matches!(home.lease(Some(8)), Err(HomeError::OtherLease { kept: 9 })));
        assert_eq!(home.lease(None).unwrap(), Lease::of_seconds(9));
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Home::take(file.path()).unwrap_err();
        assert!(error.to_string().contains("--state DIR"), "{error}");
    }
}
