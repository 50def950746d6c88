//! What a machine keeps of a pool on another: a JSON file in its state directory, its owner's alone.

use muster_scheduler::network::private;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::Path;

/// What a file keeps, if it is there and `take` understands it; `again` says how to come by another.
///
/// # Errors
/// When it cannot be read, or understood.
pub(super) fn read<K: DeserializeOwned, T>(
    path: &Path,
    again: &str,
    take: impl FnOnce(K) -> Option<T>,
) -> Result<Option<T>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let taken = serde_json::from_slice(&bytes).ok().and_then(take);
    let damaged = || format!("{} cannot be read: remove it, and {again} with a token", path.display());
    taken.map(Some).ok_or_else(damaged)
}

/// Keeps it, durably.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn keep(path: &Path, kept: &impl Serialize) -> Result<(), String> {
    let bytes = serde_json::to_vec(kept).expect("texts encode");
    private::keep(path, &bytes)
        .map_err(|e| format!("{}: {e} (--state DIR names another state directory)", path.display()))
}
