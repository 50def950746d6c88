//! The Standard Workload Format (Chapin et al. 1999): a job a line, in 18 numbers, below a header of comments.
//!
//! Invariant: every line is a record, a comment, blank, or told as malformed with its number.

use std::fmt;

/// Fields of a record.
const FIELDS: usize = 18;

/// Times and counts are below this (2^40, which is 35,000 years in seconds), so that millions of them can be added.
const LIMIT: i64 = 1 << 40;

/// The numbers of a job that a replay needs; below 0 where the log does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Field 1: its number.
    pub id: i64,
    /// Field 2: when it was submitted, seconds since the log's start.
    pub submit: i64,
    /// Field 4: how long it ran, seconds.
    pub run: i64,
    /// Field 5: how many processors it had.
    pub used_procs: i64,
    /// Field 8: how many processors it asked for.
    pub requested_procs: i64,
    /// Field 9: how long it was to run at most, seconds.
    pub estimate: i64,
    /// Field 12: who submitted it.
    pub user: i64,
}

/// A log as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// `; MaxProcs: N` of the header.
    pub max_procs: Option<u32>,
    /// Its jobs in the order of the file.
    pub records: Vec<Record>,
    /// Lines that are not records, in the order of the file.
    pub malformed: Vec<Malformed>,
}

/// A line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Malformed {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: Wrong,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It has not 18 fields.
    Fields(usize),
    /// A field, from 1, is no whole number.
    NotANumber {
        /// Which.
        field: usize,
        /// What stands there, shortened.
        text: String,
    },
    /// A field, from 1, is too large a number.
    TooLarge {
        /// Which.
        field: usize,
        /// What stands there, shortened.
        text: String,
    },
    /// `MaxProcs` of the header is no number of processors.
    MaxProcs(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Fields(n) => write!(f, "has {n} fields, not the {FIELDS} of a record in SWF"),
            Wrong::NotANumber { field, text } => write!(f, "field {field}, `{text}`, is not a whole number"),
            Wrong::TooLarge { field, text } => {
                write!(f, "field {field}, `{text}`, is beyond {LIMIT}: no log is so long")
            }
            Wrong::MaxProcs(text) => write!(f, "MaxProcs, `{text}`, is not a number of processors"),
        }
    }
}

/// Reads a log, malformed lines included: what to do about those is the caller's choice.
pub fn read(bytes: &[u8]) -> Log {
    // A record takes about 64 bytes.
    let mut log = Log { records: Vec::with_capacity(bytes.len() / 60 + 1), ..Log::default() };
    for (index, text) in lines(bytes).enumerate() {
        let read = match text.first() {
            None => continue,
            Some(b';') => header(text, &mut log),
            Some(_) => match record(text) {
                Ok(Some(record)) => {
                    log.records.push(record);
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(wrong) => Err(wrong),
            },
        };
        if let Err(what) = read {
            log.malformed.push(Malformed { line: index + 1, what });
        }
    }
    log
}

/// Lines without their ends and leading blanks.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].trim_ascii_start();
        rest = &rest[(end + 1).min(rest.len())..];
        Some(line)
    })
}

/// `; MaxProcs: 338`; other comments say nothing that a replay needs.
fn header(text: &[u8], log: &mut Log) -> Result<(), Wrong> {
    let text = text[1..].trim_ascii();
    let Some(value) = text.strip_prefix(b"MaxProcs:") else { return Ok(()) };
    let text = String::from_utf8_lossy(value.trim_ascii());
    // Some logs explain the number behind it.
    let word = text.split_whitespace().next().unwrap_or_default();
    match word.parse() {
        Ok(0) | Err(_) if word != "-1" => return Err(Wrong::MaxProcs(shortened(text.as_bytes()))),
        Ok(procs) => log.max_procs = Some(procs),
        Err(_) => {}
    }
    Ok(())
}

/// The record in a line; none when the line is blank.
fn record(text: &[u8]) -> Result<Option<Record>, Wrong> {
    let mut record = Record::default();
    let (mut at, mut field) = (0, 0);
    loop {
        while at < text.len() && is_blank(text[at]) {
            at += 1;
        }
        if at == text.len() {
            break;
        }
        let from = at;
        while at < text.len() && !is_blank(text[at]) {
            at += 1;
        }
        field += 1;
        let word = &text[from..at];
        let into = match field {
            1 => &mut record.id,
            2 => &mut record.submit,
            4 => &mut record.run,
            5 => &mut record.used_procs,
            8 => &mut record.requested_procs,
            9 => &mut record.estimate,
            12 => &mut record.user,
            _ => {
                decimal(word).ok_or_else(|| Wrong::NotANumber { field, text: shortened(word) })?;
                continue;
            }
        };
        *into = whole(word, field)?;
    }
    match field {
        0 => Ok(None),
        FIELDS => Ok(Some(record)),
        other => Err(Wrong::Fields(other)),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

/// A whole number, which may be written with a fraction of zeros.
fn whole(word: &[u8], field: usize) -> Result<i64, Wrong> {
    let not_a_number = || Wrong::NotANumber { field, text: shortened(word) };
    let (negative, digits) = match word.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let fraction_is_zero = match digits.get(end) {
        None => true,
        Some(b'.') => digits[end + 1..].iter().all(|b| *b == b'0'),
        Some(_) => false,
    };
    if end == 0 || !fraction_is_zero {
        return Err(not_a_number());
    }
    let mut value = 0_i64;
    for digit in &digits[..end] {
        value = value * 10 + i64::from(digit - b'0');
        if value >= LIMIT {
            return Err(Wrong::TooLarge { field, text: shortened(word) });
        }
    }
    Ok(if negative { -value } else { value })
}

/// A number of any kind, of which nothing is needed but that it is one.
fn decimal(word: &[u8]) -> Option<()> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    if digits.iter().all(u8::is_ascii_digit) {
        return Some(());
    }
    std::str::from_utf8(word).ok()?.parse::<f64>().is_ok_and(f64::is_finite).then_some(())
}

fn shortened(word: &[u8]) -> String {
    let text = String::from_utf8_lossy(word);
    let mut out: String = text.chars().take(24).collect();
    if out.len() < text.len() {
        out.push_str("...");
    }
    out
}
