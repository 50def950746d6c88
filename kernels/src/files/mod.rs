//! Input files: found by pattern, and read as plain bytes at any offset.
//!
//! Blocks of a file are cut on its plain bytes. A file compressed with gzip or Zstandard is decompressed once on each
//! host, into a cache (`unpack`), and read from there.

mod unpack;

use crate::kernel::Input;
use muster_spec::quantity::InputPath;
use muster_spec::{Problem, Problems};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file as plain bytes.
#[derive(Debug)]
pub struct PlainFile {
    path: PathBuf,
    input: Input,
    plain: File,
    bytes: u64,
}

impl PlainFile {
    /// Opens a file; decompresses it first if it is compressed and the cache does not have it.
    ///
    /// # Errors
    /// When it cannot be read, is no file, or its compressed form is damaged or cut off (how far it was read).
    pub fn open(path: &Path) -> Result<PlainFile, Problem> {
        let wrong =
            |why: std::io::Error| Problem::new(path.display().to_string(), format!("cannot be read: {why}"));
        let meta = std::fs::metadata(path).map_err(wrong)?;
        if !meta.is_file() {
            return Err(Problem::new(path.display().to_string(), "is not a file"));
        }
        let input = Input::of(path).map_err(wrong)?;
        let file = File::open(path).map_err(wrong)?;
        let plain = match unpack::Packing::of(&file).map_err(wrong)? {
            Some(packing) => unpack::plain(&input, file, packing)?,
            None => file,
        };
        let bytes = plain.metadata().map_err(wrong)?.len();
        Ok(PlainFile { path: path.to_owned(), input, plain, bytes })
    }

    /// The file as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file itself, compressed or not, was when it was opened.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// How many plain bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads plain bytes from an offset, as many as there are up to the buffer's length.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.plain.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    /// The bytes from `offset` on, `length` of them unless the file ends before. Nothing is cleared beforehand.
    ///
    /// # Errors
    /// The operating system's.
    pub fn bytes_at(&self, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(&self.plain, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Makes sure that the file is what was opened.
    ///
    /// # Errors
    /// When it has changed since.
    pub fn check_unchanged(&self) -> Result<(), Problem> {
        match Input::of(&self.path) {
            Ok(now) if now == self.input => Ok(()),
            _ => Err(self.changed()),
        }
    }

    /// What to say of a file that has changed.
    pub fn changed(&self) -> Problem {
        Problem::new(self.path.display().to_string(), "has changed while it was read")
            .hint("run again when nobody writes it")
    }

    /// File and line of an offset.
    pub fn place(&self, offset: u64) -> String {
        let mut line = 1;
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < offset {
            let n = (offset - at).min(buffer.len() as u64) as usize;
            match self.read_at(&mut buffer[..n], at) {
                Ok(read) if read == n => {}
                _ => break,
            }
            line += memchr::memchr_iter(b'\n', &buffer[..n]).count();
            at += n as u64;
        }
        format!("{}:{line}", self.path.display())
    }
}

/// The files that patterns (`logs/*.gz`, `**` crosses folders) and plain names stand for, in order of their paths, each
/// once.
///
/// # Errors
/// All that is wrong: a pattern that does not parse or finds nothing, a folder, a file that is not there.
pub fn find(patterns: &[InputPath]) -> Result<Vec<PathBuf>, Problems> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match matches(pattern.path()) {
            Ok(paths) => found.extend(paths),
            Err(problem) => problems.push(problem),
        }
    }
    for path in &found {
        let place = path.display().to_string();
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => problems
                .push(Problem::new(&place, "is a folder").hint(format!("'{place}/*' names the files in it"))),
            Ok(_) => {}
            Err(why) => problems.push(Problem::new(place, format!("cannot be read: {why}"))),
        }
    }
    Problems::check(problems)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn matches(pattern: &Path) -> Result<Vec<PathBuf>, Problem> {
    let text = pattern.to_string_lossy();
    // A file that is called like a pattern is meant itself.
    if pattern.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let wrong = |what: String| Problem::new(text.to_string(), what);
    let paths = glob::glob(&text).map_err(|e| wrong(format!("is no pattern: {e}")))?;
    let found: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|e| {
        Problem::new(e.path().display().to_string(), format!("cannot be read: {}", e.error()))
    })?;
    if found.is_empty() {
        return Err(wrong("matches no file".into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
