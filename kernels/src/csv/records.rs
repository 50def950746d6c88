//! Records one after another from any offset, through a buffer of bounded size; `csv-core` knows the quoting.

use super::{Fields, Record, Table};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::os::unix::fs::FileExt;

/// A position in a file, and the buffer around it.
pub(super) struct Records<'a> {
    table: &'a Table,
    reader: Reader,
    buffer: Vec<u8>,
    /// What of the buffer is read and not consumed.
    at: usize,
    filled: usize,
    /// The file offset behind the filled part.
    next: u64,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Records<'a> {
    /// Begins at `offset`, which is where a record begins.
    pub(super) fn new(table: &'a Table, offset: u64, tile_bytes: usize) -> Self {
        Records {
            table,
            reader: ReaderBuilder::new().delimiter(table.delimiter).build(),
            buffer: vec![0; tile_bytes.clamp(16, 1 << 22)],
            at: 0,
            filled: 0,
            next: offset,
            text: vec![0; 1024],
            ends: vec![0; 64],
        }
    }

    /// The file offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.next - (self.filled - self.at) as u64
    }

    /// Makes sure that a byte is there, unless the file has ended.
    fn fill(&mut self) -> Result<(), String> {
        if self.at < self.filled {
            return Ok(());
        }
        let left = self.table.input.bytes.saturating_sub(self.next);
        let n = left.min(self.buffer.len() as u64) as usize;
        self.table.file.read_exact_at(&mut self.buffer[..n], self.next).map_err(|e| e.to_string())?;
        self.next += n as u64;
        (self.at, self.filled) = (0, n);
        Ok(())
    }

    /// From inside the file, moves to where the next record begins. `inside` tells whether the byte behind the current
    /// one lies inside quotes; the current byte is looked at because it may be a record's end.
    pub(super) fn skip_to_record(&mut self, mut inside: bool) -> Result<(), String> {
        self.fill()?;
        let mut first = true;
        while self.at < self.filled {
            let byte = self.buffer[self.at];
            self.at += 1;
            // A quote before the range was counted when `inside` was found.
            if byte == b'"' && !first {
                inside = !inside;
            }
            if matches!(byte, b'\n' | b'\r') && !inside {
                return Ok(());
            }
            first = false;
            self.fill()?;
        }
        Ok(())
    }

    /// Skips line breaks; where the next record begins, or the file ends.
    pub(super) fn skip_blank(&mut self) -> Result<u64, String> {
        loop {
            self.fill()?;
            if self.at < self.filled && matches!(self.buffer[self.at], b'\n' | b'\r') {
                self.at += 1;
            } else {
                return Ok(self.offset());
            }
        }
    }

    /// The next record; `note` is given its bytes.
    pub(super) fn next(&mut self, note: &mut dyn FnMut(&[u8])) -> Result<Option<Record<'_>>, String> {
        let start = self.skip_blank()?;
        let (mut length, mut count) = (0, 0);
        loop {
            self.fill()?;
            let input = &self.buffer[self.at..self.filled];
            let (result, read, wrote, ended) =
                self.reader.read_record(input, &mut self.text[length..], &mut self.ends[count..]);
            note(&input[..read]);
            self.at += read;
            length += wrote;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let fields = Fields { text: &self.text[..length], ends: &self.ends[..count] };
                    return Ok(Some(Record { fields, at: start }));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }
}
