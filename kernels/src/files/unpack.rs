//! Decompressed files, made once on each host and shared by its ranks and later jobs.
//!
//! The cache is a folder of the user's own: `MUSTER_CACHE`, else `muster` under `XDG_CACHE_HOME` or `~/.cache`. An entry
//! is named by path, size and time of the packed file, and goes when it was not used for a week.

use crate::kernel::Input;
use muster_spec::Problem;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// An entry that was not used for so long is removed.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// By the first bytes, whatever the file is called.
    pub(super) fn of(file: &File) -> std::io::Result<Option<Packing>> {
        let mut magic = [0; 4];
        let n = file.read_at(&mut magic, 0)?;
        Ok(match &magic[..n] {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] => Some(Packing::Zstd),
            _ => None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "Zstandard",
        }
    }
}

/// The plain form of a packed file.
///
/// # Errors
/// When the packed form is damaged or cut off, or the cache cannot be written.
pub(super) fn plain(input: &Input, packed: File, packing: Packing) -> Result<File, Problem> {
    let folder = folder();
    let cache_wrong = |why: std::io::Error| {
        Problem::new(
            folder.display().to_string(),
            format!("cannot hold {} decompressed: {why}", input.path.display()),
        )
        .hint("MUSTER_CACHE names another folder")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(cache_wrong)?;
    let key = format!("{}\0{}\0{}", input.path.display(), input.bytes, input.modified_ns);
    let entry = folder.join(&blake3::hash(key.as_bytes()).to_hex()[..32]);
    // One rank of a host unpacks, the others wait for it.
    let lock = entry.with_extension("lock");
    let lock = OpenOptions::new().create(true).append(true).open(lock).map_err(cache_wrong)?;
    lock.lock().map_err(cache_wrong)?;
    if let Ok(ready) = File::open(&entry) {
        // Notes the use; without effect on a cache that may only be read.
        let _ = ready.set_modified(SystemTime::now());
        return Ok(ready);
    }
    sweep(&folder);
    let part = entry.with_extension("part");
    let made = unpack(input, packed, packing, &part, &cache_wrong);
    if made.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    made?;
    std::fs::rename(&part, &entry).map_err(cache_wrong)?;
    File::open(&entry).map_err(cache_wrong)
}

fn unpack(
    input: &Input,
    packed: File,
    packing: Packing,
    part: &Path,
    cache_wrong: &dyn Fn(std::io::Error) -> Problem,
) -> Result<(), Problem> {
    let mut out = File::create(part).map_err(cache_wrong)?;
    let damaged = |read: u64, wrote: u64, why: &std::io::Error| {
        Problem::new(
            input.path.display().to_string(),
            format!(
                "is damaged or cut off as {}: {why}, after {read} of {} bytes, which gave {wrote}",
                packing.name(),
                input.bytes
            ),
        )
    };
    let mut position = packed.try_clone().map_err(|e| damaged(0, 0, &e))?;
    let mut reader: Box<dyn Read> = match packing {
        Packing::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 18, packed)))
        }
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(packed).map_err(|e| damaged(0, 0, &e))?),
    };
    let mut buffer = vec![0; 1 << 20];
    let mut wrote = 0;
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(damaged(position.stream_position().unwrap_or(0), wrote, &e)),
        };
        out.write_all(&buffer[..n]).map_err(cache_wrong)?;
        wrote += n as u64;
    }
}

fn folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("MUSTER_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("muster")))
        .or_else(|| Some(set("HOME")?.join(".cache/muster")))
        .unwrap_or_else(|| std::env::temp_dir().join("muster-cache"))
}

/// Removes what was not used for long; what cannot be removed stays.
fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let used = entry.metadata().and_then(|m| m.modified());
        if used.is_ok_and(|t| t.elapsed().is_ok_and(|age| age > KEPT)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
