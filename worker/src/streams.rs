//! The files of a job's streams: opened where its patterns say, truncated or appended to.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// How much is believed of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Its user waits: links are followed, and pipes waited for.
    Plain,
    /// Nobody is there: a link in the last place is not followed, and nobody waits for a pipe's other end.
    Careful,
}

/// How an output file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// What is there stays.
    pub(crate) append: bool,
    /// How much is believed of the path.
    pub(crate) care: Care,
    /// The mode of a new file: with care as it is, else before the process's own mask.
    pub(crate) mode: u32,
}

/// Opens what a job reads.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn open_input(path: &Path, care: Care) -> Result<File, String> {
    let told = |e: std::io::Error| format!("--input: cannot read {}: {e}", path.display());
    match care {
        Care::Plain => File::open(path).map_err(told),
        Care::Careful => {
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(told)?;
            if file.metadata().map_err(told)?.file_type().is_fifo() {
                return Err(format!("--input: {} is a pipe: name a file", path.display()));
            }
            blocking(file).map_err(told)
        }
    }
}

/// Opens what a job writes.
///
/// # Errors
/// Why it cannot be written, and what to do.
pub(crate) fn open_output(path: &Path, how: Opening) -> Result<File, String> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).append(how.append).truncate(!how.append).mode(how.mode);
    let file = match how.care {
        Care::Plain => open.open(path),
        Care::Careful => {
            open.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
            new(&open, (path, how.mode))
                .and_then(|file| file.map_or_else(|| open.open(path), Ok))
                .and_then(blocking)
        }
    };
    file.map_err(|e| {
        let why = match (how.care, e.raw_os_error()) {
            (Care::Careful, Some(libc::ELOOP)) => "it is a symbolic link, which is not followed".into(),
            (Care::Careful, Some(libc::ENXIO)) => "it is a pipe that nobody reads".into(),
            _ => e.to_string(),
        };
        format!("cannot write the output file {}: {why} (--output FILE names another)", path.display())
    })
}

/// A file that was not there, with its mode; none where something is.
fn new(open: &OpenOptions, (path, mode): (&Path, u32)) -> std::io::Result<Option<File>> {
    match open.clone().truncate(false).create_new(true).open(path) {
        Ok(file) => {
            // Whoever is there for many has a mask of its own.
            file.set_permissions(Permissions::from_mode(mode))?;
            Ok(Some(file))
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
        Err(e) => Err(e),
    }
}

fn blocking(file: File) -> std::io::Result<File> {
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}
