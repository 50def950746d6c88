//! Files of text, one behind the other, and the lines that begin in a range of their bytes.
//!
//! Step 10 of a job's way (DESIGN section 4) reads here. A line ends at a line feed or with its file, and belongs to the
//! range that its first byte lies in. Lines are handed on many at once: a tile that fits the cache.

use crate::files::PlainFile;
use crate::kernel::Input;
use memchr::{memchr, memrchr};
use muster_spec::{Problem, Problems};
use std::ops::Range;
use std::path::PathBuf;

/// Bytes read at once: with the searches' own tables they stay in the second-level cache.
const TILE_BYTES: usize = 256 << 10;
/// Bytes read behind a range at first, to find the end of its last line.
const BEHIND: u64 = 4096;
/// The longest line that is read.
pub(super) const LONGEST_LINE: usize = 64 << 20;

/// The files.
#[derive(Debug)]
pub(super) struct Text {
    files: Vec<PlainFile>,
    /// Where each file begins in the bytes of all, and behind the last the number of all.
    starts: Vec<u64>,
}

/// What is done with the lines: they come many at once, without the line feed behind the last.
pub(super) type Each<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Problems>;

impl Text {
    /// Opens the files.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub(super) fn open(paths: impl Iterator<Item = PathBuf>) -> Result<Text, Problems> {
        let (mut files, mut starts, mut problems) = (Vec::new(), vec![0], Vec::new());
        for path in paths {
            match PlainFile::open(&path) {
                Ok(file) => {
                    starts.push(starts[starts.len() - 1] + file.bytes());
                    files.push(file);
                }
                Err(problem) => problems.push(problem),
            }
        }
        Problems::check(problems)?;
        Ok(Text { files, starts })
    }

    /// How many plain bytes there are.
    pub(super) fn bytes(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    /// What the files were when they were opened.
    pub(super) fn inputs(&self) -> Vec<Input> {
        self.files.iter().map(|file| file.input().clone()).collect()
    }

    /// Calls `each` for the lines that begin in a range of the bytes of all files, reading about `tile_bytes` at once.
    ///
    /// # Errors
    /// When a file has changed, a line is too long, or `each` says so.
    pub(super) fn lines(
        &self,
        range: Range<u64>,
        tile_bytes: usize,
        tile: &mut Vec<u8>,
        each: Each,
    ) -> Result<(), Problems> {
        let first = self.starts.partition_point(|&start| start <= range.start) - 1;
        for (file, start) in self.files.iter().zip(&self.starts).skip(first) {
            let from = range.start.saturating_sub(*start);
            let to = range.end.saturating_sub(*start).min(file.bytes());
            if range.end <= *start {
                break;
            }
            if from < to {
                let tile_bytes = tile_bytes.clamp(16, TILE_BYTES);
                tile.resize(tile_bytes, 0);
                tile.shrink_to(4 * tile_bytes);
                Piece { file, to, tile, base: from.saturating_sub(1), filled: 0 }.lines(from, each)?;
                file.check_unchanged()?;
            }
        }
        Ok(())
    }
}

/// A range of one file while it is read.
struct Piece<'a> {
    file: &'a PlainFile,
    /// Where the range ends.
    to: u64,
    tile: &'a mut Vec<u8>,
    /// Where the tile begins in the file, and how much of it is there.
    base: u64,
    filled: usize,
}

impl Piece<'_> {
    /// Hands on the lines that begin from `from` on. The tile begins with the byte before, which may be a line's end.
    fn lines(mut self, from: u64, each: Each) -> Result<(), Problems> {
        let mut begin = 0;
        while from > 0 && begin == 0 {
            self.read()?;
            match memchr(b'\n', &self.tile[..self.filled]) {
                Some(at) => begin = at + 1,
                None => (self.base, self.filled) = (self.next(), 0),
            }
            if self.base + begin as u64 >= self.to {
                return Ok(());
            }
        }
        loop {
            // Here a line of the range begins at `begin`, maybe behind what was read.
            if self.next() >= self.to {
                let last = begin.max((self.to - 1 - self.base) as usize);
                if let Some(at) = memchr(b'\n', &self.tile[last..self.filled]) {
                    return each(&self.tile[begin..last + at]);
                }
                if self.next() == self.file.bytes() {
                    return each(&self.tile[begin..self.filled]);
                }
            }
            if let Some(at) = memrchr(b'\n', &self.tile[begin..self.filled]) {
                each(&self.tile[begin..begin + at])?;
                begin += at + 1;
            }
            self.keep_from(begin)?;
            begin = 0;
            self.read()?;
        }
    }

    /// The offset in the file of what was not read yet.
    fn next(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Reads as much as there is room for, little of it behind the range, at least a byte.
    fn read(&mut self) -> Result<(), Problems> {
        let next = self.next();
        let behind = BEHIND.max(self.filled as u64);
        let wanted = (self.to.saturating_sub(next) + behind).min(self.file.bytes() - next);
        let room = &mut self.tile[self.filled..];
        let n = room.len().min(wanted as usize);
        match self.file.read_at(&mut room[..n], next) {
            Ok(read) if read == n => self.filled += n,
            Ok(_) => return Err(self.file.changed().into()),
            Err(why) => {
                let place = self.file.path().display().to_string();
                return Err(Problem::new(place, format!("cannot be read: {why}")).into());
            }
        }
        Ok(())
    }

    /// Moves the line that has not ended to the start of the tile, and makes room behind it.
    fn keep_from(&mut self, begin: usize) -> Result<(), Problems> {
        self.tile.copy_within(begin..self.filled, 0);
        self.base += begin as u64;
        self.filled -= begin;
        if self.filled < self.tile.len() {
            return Ok(());
        }
        if self.filled >= LONGEST_LINE {
            let what = format!("a line longer than {} MiB begins at byte {}", LONGEST_LINE >> 20, self.base);
            return Err(Problem::new(self.file.place(self.base), what).hint("is it text?").into());
        }
        self.tile.resize((2 * self.filled).min(LONGEST_LINE), 0);
        Ok(())
    }
}
