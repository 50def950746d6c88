//! The journal read back: records in order, onto a snapshot or onto nothing.
//!
//! Invariant: what a replay gives equals the memory of the controller that wrote the records; a record that cannot
//! follow from those before it is refused, and nothing after it is looked at.

use super::controller::Entry;
use super::desk::Desk;
use super::format::{Format, FormatError};
use super::ledger::Verdict;
use super::message::Conduct;
use super::standing::{Open, Record, Standing};

/// Why a journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The file does not begin as one.
    #[error("this is not a journal of muster's")]
    NotAJournal,
    /// The file ends inside a record.
    #[error("the journal ends inside a record, after {whole} whole ones: copy it again")]
    Cut {
        /// How many records are whole.
        whole: u64,
    },
    /// A record is not understood.
    #[error("record {number} of the journal: {why}")]
    Format {
        /// Which, from 1.
        number: u64,
        /// Why.
        why: FormatError,
    },
    /// A record does not follow from those before it.
    #[error(
        "record {number} of the journal cannot follow ({what}): it was written by something else, or records before \
         it are gone; restore the journal from a backup, or cut it off before this record and lose what came after"
    )]
    CannotFollow {
        /// Which, from 1.
        number: u64,
        /// What it says.
        what: String,
    },
}

/// How a file of records begins: a journal that was copied out of its database.
pub const MAGIC: &[u8] = b"muster journal\n";

/// A file of records.
///
/// # Panics
/// When a record has 4 GiB or more.
pub fn pack<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    for record in records {
        let length = u32::try_from(record.len()).expect("a record is not so long");
        file.extend(length.to_le_bytes());
        file.extend(record);
    }
    file
}

/// The records of a file.
///
/// # Errors
/// When it is none, or ends inside a record.
pub fn unpack(file: &[u8]) -> Result<Vec<&[u8]>, JournalError> {
    let mut rest = file.strip_prefix(MAGIC).ok_or(JournalError::NotAJournal)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let cut = JournalError::Cut { whole: records.len() as u64 };
        let (length, after) = rest.split_first_chunk().ok_or(cut.clone())?;
        let (record, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(cut)?;
        records.push(record);
        rest = after;
    }
    Ok(records)
}

/// The bytes of one record.
pub fn encode<D: Desk>(entry: &Entry<D::Event>) -> Vec<u8> {
    Format::Journal.encode(entry)
}

/// Takes `records` in, in order; `before` of them are in `standing` already.
///
/// # Errors
/// At the first record that is not understood, or does not follow.
pub fn replay<'a, D: Desk>(
    mut standing: Standing<D>,
    before: u64,
    records: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Standing<D>, JournalError> {
    for (number, bytes) in (before + 1..).zip(records) {
        let entry: Entry<D::Event> =
            Format::Journal.decode(bytes).map_err(|why| JournalError::Format { number, why })?;
        if !follows(&standing, &entry.record) {
            return Err(JournalError::CannotFollow { number, what: format!("{:?}", entry.record) });
        }
        standing.apply(entry.at, &entry.record);
    }
    Ok(standing)
}

fn follows<D: Desk>(standing: &Standing<D>, record: &Record<D::Event>) -> bool {
    match record {
        Record::Term(term) => *term > standing.term,
        Record::Desk(event) => standing.desk.follows(event),
        Record::Begun(begun, boots) => {
            !standing.open.contains_key(&begun.id.run)
                && boots.len() == begun.places.len()
                && standing.desk.may_begin(begun)
        }
        Record::Notice(id, why, _) => standing.attempt(*id).is_some_and(|open| open.can_end(*why)),
        Record::Up(id) | Record::End(id, _) | Record::Unable(id, ..) => standing.attempt(*id).is_some(),
        Record::Closed(id, _, usage) => standing.attempt(*id).is_some_and(|open| open.used == *usage),
        Record::Step(run, step) => !standing.ledgers.contains_key(&(*run, step.spec)),
        Record::Commit(id, spec, commit) => {
            let ledger = standing.ledgers.get(&(id.run, *spec));
            ledger.is_some_and(|ledger| ledger.judge(*id, commit) == Verdict::New)
        }
        Record::Probed(id, host, _) => standing.awaits(*id, *host),
        Record::Round(id, spec, round) => {
            let ledger = standing.ledgers.get(&(id.run, *spec));
            ledger.is_some_and(|ledger| ledger.judge_round(*id, round) == Verdict::New)
        }
        Record::Over(id, host, ..) => standing.runs_at(*id, *host),
        Record::Resized(resized, boots) => {
            let fits = |open: &Open| open.can_resize(resized) && boots.len() == open.joins(resized).count();
            standing.attempt(resized.id).is_some_and(fits) && standing.desk.may_resize(resized)
        }
        Record::Paced(id, pace) => standing.attempt(*id).is_some_and(|open| open.can_pace(*pace)),
        Record::Stepped(id, spec, begins) => {
            let fits =
                |open: &Open| open.begun.conduct != Conduct::Fenced && open.steps.contains(spec) != *begins;
            standing.attempt(*id).is_some_and(fits)
        }
        Record::GivenBack(id, host) => standing.attempt(*id).is_some_and(|open| open.has_lost(*host)),
    }
}
