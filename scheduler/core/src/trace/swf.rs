//! The Standard Workload Format (Chapin et al. 1999): a job a line, in 18 numbers, below a header of comments.
//!
//! Invariant: every line is a record, a comment, blank, or told as malformed with its number.

use std::fmt;
use std::io::Read;

/// Fields of a record.
const FIELDS: usize = 18;

/// Times and counts are below this (2^40, which is 35,000 years in seconds), so that millions of them can be added.
const LIMIT: i64 = 1 << 40;

/// The most processors that a machine of a trace may have.
pub const MAX_PROCS: u32 = i32::MAX as u32;

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

/// The text of a log that may be packed with gzip.
///
/// # Errors
/// When it is packed, and damaged or cut off.
pub fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, Damaged> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    // Logs of numbers shrink to a sixth; more room costs nothing until it is touched.
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(8));
    match flate2::bufread::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(why) => Err(Damaged { why: why.to_string(), good: text.len() }),
    }
}

/// A log that does not unpack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is damaged or cut off as gzip: {why}, after {good} bytes of text")]
pub struct Damaged {
    /// What is wrong.
    pub why: String,
    /// How many bytes came out before.
    pub good: usize,
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
        _ if word == "-1" => {}
        Ok(procs @ 1..=MAX_PROCS) => log.max_procs = Some(procs),
        _ => return Err(Wrong::MaxProcs(shortened(text.as_bytes()))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const LINE: &str = "3 70 -1 97225 56 -1 -1 64 210000 -1 -1 12 -1 -1 -1 -1 -1 -1";

    fn wrong(text: &str) -> Vec<String> {
        read(text.as_bytes()).malformed.iter().map(Malformed::to_string).collect()
    }

    fn changed(field: usize, to: &str) -> String {
        let mut words: Vec<&str> = LINE.split(' ').collect();
        words[field - 1] = to;
        words.join(" ")
    }

    #[test]
    fn a_log_is_its_header_and_records() {
        let text = format!("; Version: 2\n;MaxProcs:  338 (of 430)\n\n  {LINE}\r\n\t\n{LINE}");
        let log = read(text.as_bytes());
        let record = Record {
            id: 3,
            submit: 70,
            run: 97225,
            used_procs: 56,
            requested_procs: 64,
            estimate: 210_000,
            user: 12,
        };
        assert_eq!(log, Log { max_procs: Some(338), records: vec![record; 2], malformed: vec![] });
    }

    #[test]
    fn every_malformed_line_is_told_with_its_number() {
        let text = format!("; MaxProcs: 10\n1 2 3\n{LINE}\n{LINE} 7\n{}\n", changed(4, "12.5"));
        let all = [
            "line 2: has 3 fields, not the 18 of a record in SWF",
            "line 4: has 19 fields, not the 18 of a record in SWF",
            "line 5: field 4, `12.5`, is not a whole number",
        ];
        assert_eq!(wrong(&text), all);
        assert_eq!(read(text.as_bytes()).records.len(), 1);
    }

    #[test]
    fn what_is_no_number_is_malformed_in_every_field() {
        for field in 1..=FIELDS {
            for word in ["x", "--1", "1,5", "NaN", "1e999", "\u{fffd}"] {
                let told = wrong(&changed(field, word));
                let wanted = format!("line 1: field {field}, `{word}`, is not a whole number");
                assert_eq!(told, [wanted]);
            }
        }
        assert_eq!(wrong(&changed(6, "12.5")), [""; 0]);
        assert_eq!(read(changed(4, "12.00").as_bytes()).records[0].run, 12);
    }

    #[test]
    fn numbers_that_overflow_are_errors() {
        for word in ["1099511627776", "-9223372036854775808", "99999999999999999999999999999999"] {
            let told = wrong(&changed(4, word));
            assert!(told[0].contains("is beyond 1099511627776"), "{told:?}");
        }
        assert_eq!(read(changed(4, "1099511627775").as_bytes()).records[0].run, LIMIT - 1);
    }

    #[test]
    fn a_header_may_not_know_the_processors_but_may_not_be_wrong() {
        assert_eq!(read(b"; MaxProcs: -1\n").max_procs, None);
        assert_eq!(read(b"; MaxProcs: -1\n").malformed, []);
        for word in ["0", "many", "99999999999", "4294967295", ""] {
            assert!(wrong(&format!("; MaxProcs: {word}\n"))[0].starts_with("line 1: MaxProcs, `"), "{word}");
        }
    }

    #[test]
    fn gzip_is_unpacked_and_damage_told() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(LINE.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        assert_eq!(unpack(packed.clone()), Ok(LINE.into()));
        assert_eq!(unpack(LINE.into()), Ok(LINE.into()));
        let cut = unpack(packed[..packed.len() - 9].to_vec()).expect_err("it is cut off");
        assert!(cut.to_string().starts_with("is damaged or cut off as gzip: "), "{cut}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_every_line_is_accounted_for(bytes: Vec<u8>) {
            let log = read(&bytes);
            let lines = bytes.split(|b| *b == b'\n').count();
            prop_assert!(log.records.len() + log.malformed.len() <= lines);
        }
    }
}
