//! The journal read back: records in order, onto a snapshot or onto nothing.
//!
//! Invariant: what a replay gives equals the memory of the controller that wrote the records; a record that cannot
//! follow from those before it is refused, and nothing after it is looked at.

use super::controller::Entry;
use super::desk::Desk;
use super::format::{Format, FormatError};
use super::ledger::Verdict;
use super::standing::{Record, Standing};

/// Why a journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
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
        Record::Up(id) | Record::End(id, _) | Record::Closed(id, _) => standing.attempt(*id).is_some(),
        Record::Step(run, step) => !standing.ledgers.contains_key(&(*run, step.spec)),
        Record::Commit(id, spec, commit) => {
            let ledger = standing.ledgers.get(&(id.run, *spec));
            ledger.is_some_and(|ledger| ledger.judge(*id, commit) == Verdict::New)
        }
        Record::Over(id, host, _) => standing.runs_at(*id, *host),
    }
}
