//! A CSV file as blocks of records.
//!
//! Step 10 of a job's way (DESIGN section 4) reads here. Blocks are cut by the file alone: fixed byte ranges moved to
//! record ends, so that every record belongs to the block in whose range its first byte lies. Quoted line breaks are
//! no record ends: one pass over the file notes whether each range begins inside quotes.

mod records;

use crate::kernel::Input;
use muster_spec::{Grid, Problem, Problems};
use records::Records;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The header and the types are read from so many bytes at the start of a file.
const PREFIX_BYTES: usize = 1 << 16;
/// Types are inferred over so many records at most.
const PREFIX_RECORDS: usize = 200;
/// Bytes read at once while looking for quotes.
const SCAN_BYTES: usize = 1 << 20;

/// An opened CSV file.
pub struct Table {
    path: PathBuf,
    file: File,
    input: Input,
    delimiter: u8,
    header: Vec<String>,
    /// Where the records begin, after the header.
    body: u64,
}

/// Where the blocks of a file begin, and whether inside quotes.
pub struct Cuts {
    grid: Grid,
    bytes: u64,
    quoted: Vec<bool>,
}

/// One record: its fields, and where it begins in the file.
pub struct Record<'a> {
    /// The fields' text, unquoted.
    pub fields: Fields<'a>,
    /// The offset of its first byte.
    pub at: u64,
}

/// The fields of a record.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.ends.is_empty()
    }

    /// Field `i`.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(self, i: usize) -> &'a [u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }
}

impl Table {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, is no file, or has no header and no record.
    pub fn open(path: &Path, delimiter: u8) -> Result<Table, Problems> {
        let place = path.display().to_string();
        let wrong = |what: &str| Problems::from(Problem::new(&place, what));
        let meta = std::fs::metadata(path).map_err(|e| wrong(&format!("cannot be read: {e}")))?;
        if !meta.is_file() {
            return Err(wrong("is not a file"));
        }
        let input = Input::of(path).map_err(|e| wrong(&format!("cannot be read: {e}")))?;
        let file = File::open(path).map_err(|e| wrong(&format!("cannot be read: {e}")))?;
        if input.bytes == 0 {
            return Err(wrong("is empty"));
        }
        let mut table = Table { path: path.to_owned(), file, input, delimiter, header: Vec::new(), body: 0 };
        let mut mark = [0; 3];
        let marked = table.file.read_at(&mut mark, 0).is_ok_and(|n| n == 3) && mark == *b"\xef\xbb\xbf";
        let mut records = Records::new(&table, if marked { 3 } else { 0 }, PREFIX_BYTES);
        let mut header = Vec::new();
        let found = records.next(&mut |_| {}).map_err(|e| wrong(&e))?;
        if let Some(record) = found {
            for i in 0..record.fields.len() {
                header.push(String::from_utf8_lossy(record.fields.get(i)).trim().to_owned());
            }
        }
        table.body = records.offset();
        table.header = header;
        if table.header.is_empty() {
            return Err(wrong("holds no header line"));
        }
        Ok(table)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was when it was opened.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The position of the column called `name`.
    ///
    /// # Errors
    /// When there is none, or several; the nearest name is proposed.
    pub fn column(&self, name: &str) -> Result<usize, Problem> {
        let found: Vec<usize> = (0..self.header.len()).filter(|&i| self.header[i] == name).collect();
        let place = self.path.display().to_string();
        match found[..] {
            [only] => Ok(only),
            [] => {
                let nearest = self.header.iter().min_by_key(|h| distance(h, name));
                Err(Problem::new(place, format!("has no column '{name}'"))
                    .hint(format!("the nearest is '{}'", nearest.map_or("", |n| n))))
            }
            _ => Err(Problem::new(place, format!("has {} columns called '{name}'", found.len()))
                .hint("rename them in the header")),
        }
    }

    /// Cuts the file into the blocks of `grid`.
    ///
    /// # Errors
    /// When the file cannot be read to its end.
    pub fn cuts(&self, grid: Grid) -> Result<Cuts, Problems> {
        let mut quoted = Vec::with_capacity(grid.blocks() as usize);
        let mut inside = false;
        let mut buffer = vec![0; SCAN_BYTES];
        for block in 0..grid.blocks() {
            quoted.push(inside);
            let range = grid.share(self.input.bytes, block);
            let mut at = range.start;
            while at < range.end {
                let n = (range.end - at).min(SCAN_BYTES as u64) as usize;
                self.file.read_exact_at(&mut buffer[..n], at).map_err(|_| self.changed())?;
                inside ^= memchr::memchr_iter(b'"', &buffer[..n]).count() % 2 == 1;
                at += n as u64;
            }
        }
        Ok(Cuts { grid, bytes: self.input.bytes, quoted })
    }

    /// Calls `each` for the first records, as many as the types are inferred from.
    ///
    /// # Errors
    /// When the file cannot be read, or `each` says so.
    pub fn first_records(
        &self,
        mut each: impl FnMut(&Record) -> Result<(), Problems>,
    ) -> Result<(), Problems> {
        let mut records = Records::new(self, self.body, PREFIX_BYTES);
        for _ in 0..PREFIX_RECORDS {
            match records.next(&mut |_| {}).map_err(|e| self.broken(&e))? {
                Some(record) => each(&record)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Calls `each` for every record of a block, reading at most `tile_bytes` at once; `note` is given the bytes of
    /// all of them.
    ///
    /// # Errors
    /// When the file has changed, a record has another number of fields than the header, or `each` says so.
    pub fn block_records(
        &self,
        (cuts, block): (&Cuts, u32),
        tile_bytes: usize,
        note: &mut dyn FnMut(&[u8]),
        each: &mut dyn FnMut(&Record) -> Result<(), Problems>,
    ) -> Result<(), Problems> {
        if Input::of(&self.path).ok().as_ref() != Some(&self.input) {
            return Err(self.changed());
        }
        let range = cuts.grid.share(cuts.bytes, block);
        let mut records = if range.start <= self.body {
            Records::new(self, self.body, tile_bytes)
        } else {
            let mut records = Records::new(self, range.start - 1, tile_bytes);
            let last_inside = cuts.quoted[block as usize];
            records.skip_to_record(last_inside).map_err(|e| self.broken(&e))?;
            records
        };
        loop {
            let start = records.skip_blank().map_err(|e| self.broken(&e))?;
            if start >= range.end {
                return Ok(());
            }
            let Some(record) = records.next(note).map_err(|e| self.broken(&e))? else { return Ok(()) };
            if record.fields.len() != self.header.len() {
                let what =
                    format!("has {} fields, and the header {}", record.fields.len(), self.header.len());
                return Err(Problem::new(self.place(record.at), what).into());
            }
            each(&record)?;
        }
    }

    /// File and line of an offset.
    pub fn place(&self, offset: u64) -> String {
        let mut line = 1;
        let mut buffer = vec![0; SCAN_BYTES];
        let mut at = 0;
        while at < offset {
            let n = (offset - at).min(SCAN_BYTES as u64) as usize;
            if self.file.read_exact_at(&mut buffer[..n], at).is_err() {
                break;
            }
            line += memchr::memchr_iter(b'\n', &buffer[..n]).count();
            at += n as u64;
        }
        format!("{}:{line}", self.path.display())
    }

    fn changed(&self) -> Problems {
        Problem::new(self.path.display().to_string(), "has changed while it was read")
            .hint("run again when nobody writes it")
            .into()
    }

    fn broken(&self, why: &str) -> Problems {
        Problem::new(self.path.display().to_string(), format!("cannot be read: {why}")).into()
    }
}

/// The number of characters to insert, remove or replace to make `a` of `b` (Levenshtein 1966).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.to_lowercase().chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = before + usize::from(ca != *cb);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A whole small file.
///
/// # Errors
/// When it cannot be read.
pub fn read_all(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(|e| Problem::new(path.display().to_string(), format!("cannot be read: {e}")))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
