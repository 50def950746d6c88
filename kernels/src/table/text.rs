//! A file of CSV: its header, its cuts, and the records of a block.

use super::Each;
use super::decode::Decoder;
use super::stops::{self, Dialect};
use crate::files::PlainFile;
use crate::fold::Fold;
use crate::kernel::Input;
use muster_spec::table::{ColumnType, TableSpec};
use muster_spec::{Grid, Problem, Problems};

/// The header and the types are read from so many bytes at the start of a file.
const PREFIX_BYTES: usize = 1 << 18;
/// Bytes read at once at least and at most, as the tile allows.
const READ_BYTES: (usize, usize) = (16, 1 << 18);
/// The longest record.
const RECORD_BYTES: usize = 1 << 26;
/// Bytes read at once while quotes are counted.
const COUNT_BYTES: usize = 1 << 20;

pub(super) struct TextFile {
    file: PlainFile,
    dialect: Dialect,
    missing: Vec<Vec<u8>>,
    header: Vec<String>,
    /// Where the records begin, after the header.
    body: u64,
    grid: Grid,
    /// Whether each block's range begins inside quotes.
    quoted: Vec<bool>,
}

/// A part of a file that begins and ends with a record.
#[derive(Default)]
pub(super) struct Part {
    pub(super) text: Vec<u8>,
    /// Where its fields end.
    pub(super) stops: Vec<u32>,
    /// Start of each record, and the first of its stops.
    pub(super) rows: Vec<(u32, u32)>,
    /// The file offset of the first byte.
    pub(super) base: u64,
}

impl Part {
    /// Field `i` of a row of `columns`, without its line's end.
    #[inline(always)]
    pub(super) fn field(&self, (start, stop): (u32, u32), i: usize, columns: usize) -> &[u8] {
        let at = stop as usize + i;
        let from = if i == 0 { start } else { self.stops[at - 1] + 1 };
        let field = &self.text[from as usize..self.stops[at] as usize];
        match field {
            [rest @ .., b'\r'] if i + 1 == columns => rest,
            _ => field,
        }
    }
}

impl TextFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be read or has no header.
    pub(super) fn open(file: PlainFile, spec: &TableSpec) -> Result<TextFile, Problems> {
        let wrong = |what: &str| Problems::from(Problem::new(file.path().display().to_string(), what));
        if file.bytes() == 0 {
            return Err(wrong("is empty"));
        }
        let dialect = Dialect { delimiter: spec.delimiter as u8, quotes: !spec.no_quotes };
        let mut mark = [0; 3];
        let marked = file.read_at(&mut mark, 0).is_ok_and(|n| n == 3) && mark == *b"\xef\xbb\xbf";
        let mut text = TextFile {
            dialect,
            missing: spec.missing.iter().map(|w| w.clone().into_bytes()).collect(),
            header: Vec::new(),
            body: if marked { 3 } else { 0 },
            grid: Grid::new(1),
            quoted: vec![false],
            file,
        };
        let prefix = text.prefix(text.body)?;
        let mut from = 0;
        for &stop in &prefix.stops {
            let stop = stop as usize;
            let field = super::decode::unquoted(&prefix.text[from..stop], dialect.quotes);
            text.header.push(String::from_utf8_lossy(&field).trim().to_owned());
            from = stop + 1;
            if prefix.text.get(stop).is_none_or(|&b| b == b'\n') {
                break;
            }
        }
        if text.header.iter().all(String::is_empty) {
            return Err(Problem::new(text.path(), "holds no header line").into());
        }
        text.body = (text.body + from as u64).min(text.file.bytes());
        Ok(text)
    }

    pub(super) fn input(&self) -> &Input {
        self.file.input()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    pub(super) fn blocks(&self) -> u32 {
        self.grid.blocks()
    }

    pub(super) fn path(&self) -> String {
        self.file.path().display().to_string()
    }

    /// File and line of an offset.
    pub(super) fn place(&self, offset: u64) -> String {
        self.file.place(offset)
    }

    pub(super) fn missing(&self) -> &[Vec<u8>] {
        &self.missing
    }

    pub(super) fn quotes(&self) -> bool {
        self.dialect.quotes
    }

    /// Makes sure that this file has these columns.
    pub(super) fn fits(&self, columns: &[ColumnType]) -> Result<(), Problems> {
        let wanted: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        if self.header == wanted {
            return Ok(());
        }
        let differs =
            (0..).find(|&i| self.header.get(i).map(String::as_str) != wanted.get(i).copied()).unwrap_or(0);
        let name = |n: Option<&str>| n.map_or("nothing".to_owned(), |n| format!("'{n}'"));
        let what = format!(
            "column {} is {}, and {} in the first file",
            differs + 1,
            name(self.header.get(differs).map(String::as_str)),
            name(wanted.get(differs).copied())
        );
        Err(Problem::new(format!("{}:1", self.path()), what)
            .hint("a table's files have the same columns")
            .into())
    }

    /// Cuts the file into blocks.
    ///
    /// # Errors
    /// When it cannot be read to its end.
    pub(super) fn cut(&mut self, grid: Grid) -> Result<(), Problems> {
        self.grid = grid;
        self.quoted = vec![false; grid.blocks() as usize];
        if !self.dialect.quotes || grid.blocks() == 1 {
            return Ok(());
        }
        let odd = self.odd_blocks()?;
        let mut inside = false;
        for (quoted, odd) in self.quoted.iter_mut().zip(odd) {
            *quoted = inside;
            inside ^= odd;
        }
        Ok(())
    }

    /// Whether each block's range holds an odd number of quotes: one pass over the file, by as many threads as this
    /// process may use.
    fn odd_blocks(&self) -> Result<Vec<bool>, Problems> {
        let mut odd = vec![false; self.grid.blocks() as usize];
        let threads = match self.file.bytes() >> 24 {
            0 => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let part = odd.len().div_ceil(threads);
        let count = |first: usize, part: &mut [bool]| -> Result<(), Problems> {
            let mut buffer = vec![0; COUNT_BYTES];
            for (block, odd) in (first as u32..).zip(part) {
                let range = self.grid.share(self.file.bytes(), block);
                let mut at = range.start;
                while at < range.end {
                    let n = (range.end - at).min(COUNT_BYTES as u64) as usize;
                    self.read(&mut buffer[..n], at)?;
                    *odd ^= stops::odd_quotes(&buffer[..n]);
                    at += n as u64;
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let parts = odd.chunks_mut(part).enumerate();
            let handles: Vec<_> = parts.map(|(i, odd)| scope.spawn(move || count(i * part, odd))).collect();
            handles.into_iter().try_for_each(|h| h.join().expect("counting does not panic"))
        })?;
        Ok(odd)
    }

    /// Fills a buffer.
    fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), Problems> {
        match self.file.read_at(buffer, at) {
            Ok(n) if n == buffer.len() => Ok(()),
            Ok(_) => Err(self.file.changed().into()),
            Err(why) => Err(Problem::new(self.path(), format!("cannot be read: {why}")).into()),
        }
    }

    /// Gives `each` the rows of a block, batch by batch.
    ///
    /// # Errors
    /// When the file has changed, a record is ragged, a value does not fit its type, or `each` says so.
    pub(super) fn scan(
        &self,
        (block, wanted, columns): (u32, &[usize], &[ColumnType]),
        cx: &mut Fold,
        each: Each<'_>,
    ) -> Result<(), Problems> {
        self.file.check_unchanged()?;
        let range = self.grid.share(self.file.bytes(), block);
        let start = match range.start <= self.body {
            true => self.body,
            false => self.record_start(range.start, self.quoted[block as usize])?,
        };
        let mut decoder = Decoder::new(self, wanted, columns);
        let tile_bytes = cx.tile_bytes;
        self.records(
            (start, range.end),
            tile_bytes,
            &mut |bytes| {
                cx.note_read(bytes);
                cx.note_scratch(bytes);
            },
            &mut |part| decoder.batches(part, each),
        )
    }

    /// Where the first record begins at or after `offset`; `inside` tells whether that byte lies inside quotes.
    fn record_start(&self, offset: u64, mut inside: bool) -> Result<u64, Problems> {
        let mut buffer = vec![0; 4096];
        self.read(&mut buffer[..1], offset - 1)?;
        if buffer[0] == b'\n' && !inside {
            return Ok(offset);
        }
        let mut at = offset;
        while at < self.file.bytes() {
            let n = (self.file.bytes() - at).min(buffer.len() as u64) as usize;
            self.read(&mut buffer[..n], at)?;
            for (i, &byte) in buffer[..n].iter().enumerate() {
                inside ^= byte == b'"' && self.dialect.quotes;
                if byte == b'\n' && !inside {
                    return Ok(at + i as u64 + 1);
                }
            }
            at += n as u64;
        }
        Ok(at)
    }

    /// Calls `each` with the records in the first bytes of the file.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn first_records(
        &self,
        each: &mut dyn FnMut(&Part) -> Result<(), Problems>,
    ) -> Result<(), Problems> {
        self.records((self.body, self.body + PREFIX_BYTES as u64), 4 * PREFIX_BYTES, &mut |_| {}, each)
    }

    /// The part of the file from an offset where a record begins.
    fn prefix(&self, from: u64) -> Result<Part, Problems> {
        let mut part = Part::default();
        let mut size = PREFIX_BYTES;
        while !self.load(from, size, &mut part)? {
            size = self.longer(size, from)?;
        }
        Ok(part)
    }

    /// Calls `each` with the records that begin from `start` to `end`, a part of the file after another; `note` is
    /// given their bytes.
    fn records(
        &self,
        (start, end): (u64, u64),
        tile_bytes: usize,
        note: &mut dyn FnMut(&[u8]),
        each: &mut dyn FnMut(&Part) -> Result<(), Problems>,
    ) -> Result<(), Problems> {
        let mut size = (tile_bytes / 4).clamp(READ_BYTES.0, READ_BYTES.1);
        let (mut part, mut base) = (Part::default(), start);
        while base < end.min(self.file.bytes()) {
            if !self.load(base, size, &mut part)? {
                size = self.longer(size, base)?;
                continue;
            }
            let used = self.split(&mut part, end)?;
            note(&part.text[..used]);
            each(&part)?;
            base += used as u64;
        }
        Ok(())
    }

    /// Reads at most `size` bytes from where a record begins, and finds their stops; the part ends with a record.
    /// False when no record ends in it.
    fn load(&self, base: u64, size: usize, part: &mut Part) -> Result<bool, Problems> {
        let n = self.file.bytes().saturating_sub(base).min(size as u64) as usize;
        part.text.resize(n, 0);
        self.read(&mut part.text, base)?;
        part.base = base;
        part.stops.clear();
        let inside = stops::find(self.dialect, &part.text, &mut part.stops).map_err(|at| {
            Problem::new(
                self.place(base + at as u64),
                "a quote stands inside a field that does not begin with one",
            )
            .hint("double quotes inside quoted fields, or --no-quotes reads quotes as text")
        })?;
        if base + n as u64 == self.file.bytes() {
            if inside {
                let open = part.stops.last().map_or(0, |&stop| u64::from(stop) + 1);
                return Err(Problem::new(self.place(base + open), "a quoted field is never closed")
                    .hint("--no-quotes reads quotes as text")
                    .into());
            }
            // The file's end ends its last record.
            if part.text.last() != Some(&b'\n') {
                part.stops.push(n as u32);
            }
            return Ok(true);
        }
        let last = part.stops.iter().rposition(|&stop| part.text[stop as usize] == b'\n');
        part.stops.truncate(last.map_or(0, |last| last + 1));
        Ok(last.is_some())
    }

    /// Finds the records of a part that begin before `end`; how many bytes they take.
    fn split(&self, part: &mut Part, end: u64) -> Result<usize, Problems> {
        part.rows.clear();
        let (mut start, mut nth) = (0, 0);
        while nth < part.stops.len() && part.base + (start as u64) < end {
            let first = part.stops[nth] as usize;
            let ends = |stop: u32| part.text.get(stop as usize).is_none_or(|&b| b == b'\n');
            if ends(part.stops[nth]) && matches!(&part.text[start..first], b"" | b"\r") {
                // A blank line is no record.
                (start, nth) = (first + 1, nth + 1);
                continue;
            }
            let columns = self.header.len();
            let stops = &part.stops[nth..part.stops.len().min(nth + columns)];
            let fields = stops.iter().position(|&stop| ends(stop)).map(|i| i + 1);
            if fields != Some(columns) {
                let all = part.stops[nth..].iter().position(|&stop| ends(stop)).map_or(0, |i| i + 1);
                let s = if all == 1 { "" } else { "s" };
                let what = format!("has {all} field{s}, and the header {columns}");
                return Err(Problem::new(self.place(part.base + start as u64), what).into());
            }
            part.rows.push((start as u32, nth as u32));
            nth += columns;
            start = part.stops[nth - 1] as usize + 1;
        }
        Ok(start.min(part.text.len()))
    }

    fn longer(&self, size: usize, base: u64) -> Result<usize, Problems> {
        if size >= RECORD_BYTES {
            let what = format!("a record is longer than {} MiB", RECORD_BYTES >> 20);
            return Err(Problem::new(self.place(base), what)
                .hint("is a quote never closed? --no-quotes reads quotes as text")
                .into());
        }
        Ok(size * 2)
    }
}

#[cfg(test)]
impl TextFile {
    /// The fields of all records, read block by block in tiles of this size.
    pub(super) fn fields(&self, tile: usize) -> Result<Vec<Vec<String>>, Problems> {
        let mut out = Vec::new();
        for block in 0..self.blocks() {
            let range = self.grid.share(self.bytes(), block);
            let start = match range.start <= self.body {
                true => self.body,
                false => self.record_start(range.start, self.quoted[block as usize])?,
            };
            self.records((start, range.end), tile, &mut |_| {}, &mut |part| {
                for &(start, stop) in &part.rows {
                    let field = |i| {
                        let raw = part.field((start, stop), i, self.header.len());
                        String::from_utf8_lossy(&super::decode::unquoted(raw, self.quotes())).into_owned()
                    };
                    out.push((0..self.header.len()).map(field).collect());
                }
                Ok(())
            })?;
        }
        Ok(out)
    }
}
