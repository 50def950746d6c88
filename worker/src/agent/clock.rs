//! The clock of leases and deadlines: milliseconds since the host's start, time in suspension counted.

use muster_core::protocol::stamp::Boot;
use muster_core::time::Time;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;

/// The time.
pub(crate) fn now() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    Time(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}

/// Which life of the host this is.
///
/// # Errors
/// When /proc does not say.
pub(crate) fn boot() -> Result<Boot, String> {
    static BOOT: OnceLock<Result<Boot, String>> = OnceLock::new();
    BOOT.get_or_init(read_boot).clone()
}

fn read_boot() -> Result<Boot, String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("cannot tell one start of this host from another: {path}: {e} (mount /proc)"))?;
    let hash = blake3::hash(text.trim().as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    Ok(Boot(u64::from_le_bytes(*first)))
}
