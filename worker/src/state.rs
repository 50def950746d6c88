//! The state directory: ledgers, receipts, job numbers. Readable by its owner alone.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The state directory: `MUSTER_STATE`, else `muster` under `XDG_STATE_HOME` or `~/.local/state`. It need not exist.
pub fn dir() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("MUSTER_STATE")
        .or_else(|| Some(set("XDG_STATE_HOME")?.join("muster")))
        .or_else(|| Some(set("HOME")?.join(".local/state/muster")))
        .unwrap_or_else(|| {
            std::env::temp_dir().join(format!("muster-{}", rustix::process::getuid().as_raw()))
        })
}

/// Makes a folder under the state directory, readable by its owner alone.
///
/// # Errors
/// Why it cannot be made, and what to do.
pub fn folder(under: &std::path::Path, name: &str) -> Result<PathBuf, String> {
    let path = under.join(name);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map(|()| path.clone()).map_err(|e| {
        format!(
            "cannot make {}: {e} (--state DIR or MUSTER_STATE names another state directory)",
            path.display()
        )
    })
}
