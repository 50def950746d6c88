//! Programs of users that have come to this host: `STATE/programs/HASH/NAME`, each with what the pool says it has.
//!
//! Invariants: a file that is there is whole; what jobs have begun lately is not removed. A host's teams find a program by its
//! name, in the folder that stands first in the job's `PATH`.

use super::Payloads;
use super::errand::Wish;
use super::spool;
use muster_core::payload::{BlobId, Payload, Program};
use muster_core::protocol::format::Format;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many are kept: those that were wanted last.
const KEPT: usize = 32;

/// Where the program of a job is; none when it has none of its own.
pub(super) fn path(state: &Path, payload: &Payload, program: Option<BlobId>) -> Option<PathBuf> {
    let (Program::Kernel(words), Some(id)) = (&payload.program, program) else { return None };
    let name = Path::new(words.first()?).file_name()?;
    Some(folder(state).join(id.to_string()).join(name))
}

/// Where all of them are.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("programs")
}

/// What a job runs, once the program that it needs is here, too.
///
/// # Errors
/// Why either cannot be had.
pub(super) fn fetch(state: &Path, payloads: &dyn Payloads, (blob, program): Wish) -> Result<Vec<u8>, String> {
    let bytes = payloads.fetch(blob)?;
    if program.is_some() {
        let payload: Payload = Format::Message.decode(&bytes).map_err(|e| e.to_string())?;
        lay(state, (&payload, program), payloads)?;
    }
    Ok(bytes)
}

/// Has the program of a job there, from wherever it is to be had.
///
/// # Errors
/// Why it cannot be.
pub(super) fn lay(
    state: &Path,
    (payload, program): (&Payload, Option<BlobId>),
    payloads: &dyn Payloads,
) -> Result<(), String> {
    let (Some(path), Some(id)) = (path(state, payload, program), program) else { return Ok(()) };
    let of_it = path.parent().unwrap_or(state);
    if path.is_file() {
        // What is wanted stays.
        let _ = File::open(of_it).and_then(|folder| folder.set_modified(SystemTime::now()));
        return Ok(());
    }
    let bytes = payloads.fetch(id)?;
    write(of_it, &path, &bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    thin_out(state);
    Ok(())
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Whoever knows its hash may run it: nobody can list the folder above.
    folder.parent().map_or(Ok(()), spool::passage)?;
    spool::passage(folder)?;
    let beside = folder.join(format!(".{}", std::process::id()));
    let _ = std::fs::remove_file(&beside);
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o700).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
        // Whoever starts it must not find it open for writing.
        drop(file);
        std::fs::rename(&beside, path)
    })();
    written.inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// Removes those that nobody has wanted for the longest.
fn thin_out(state: &Path) {
    let entries = std::fs::read_dir(folder(state)).into_iter().flatten().flatten();
    let wanted = |entry: &std::fs::DirEntry| entry.metadata().and_then(|meta| meta.modified()).ok();
    let mut all: Vec<_> = entries.map(|entry| (wanted(&entry), entry.path())).collect();
    all.sort();
    let most = all.len().saturating_sub(KEPT);
    all.iter().take(most).for_each(|(_, path)| drop(std::fs::remove_dir_all(path)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has all that is two bytes, and counts how often it was asked.
    struct Two(std::sync::Mutex<u32>);

    impl Payloads for Two {
        fn fetch(&self, id: BlobId) -> Result<Vec<u8>, String> {
            *self.0.lock().unwrap() += 1;
            Ok(id.0[..2].to_vec())
        }
    }

    fn payload(word: &str) -> Payload {
        Payload {
            program: Program::Kernel(vec![word.into()]),
            environment: Vec::new(),
            submit_dir: "/".into(),
            folder: None,
            submit_host: "a".into(),
            client: None,
            umask: 0o022,
        }
    }

    #[test]
    fn a_program_comes_once_and_the_oldest_go() {
        let state = crate::scratch::Scratch::new("programs");
        let (pool, mine) = (Two(0.into()), payload("./target/my-rank"));
        for number in 0..=KEPT as u8 {
            let id = Some(BlobId([number; 32]));
            lay(state.path(), (&mine, id), &pool).unwrap();
            lay(state.path(), (&mine, id), &pool).unwrap();
            let path = path(state.path(), &mine, id).unwrap();
            assert!(path.ends_with("my-rank"), "{path:?}");
            assert_eq!(std::fs::read(&path).unwrap(), [number; 2]);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number.into());
            File::open(path.parent().unwrap()).unwrap().set_modified(then).unwrap();
        }
        assert_eq!(*pool.0.lock().unwrap(), KEPT as u32 + 1, "each is fetched once");
        let first = path(state.path(), &mine, Some(BlobId([0; 32]))).unwrap();
        assert!(!first.exists() && std::fs::read_dir(folder(state.path())).unwrap().count() == KEPT);
        assert_eq!(path(state.path(), &mine, None), None);
        lay(state.path(), (&mine, None), &pool).unwrap();
    }
}
