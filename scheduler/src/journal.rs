//! The journal on disk: records, snapshots and accounting in one SQLite file, each batch in one transaction.
//!
//! Invariants: what [`Journal::write`] has returned from is on disk; records are numbered from 1 without a gap, and each
//! carries a check of its bytes; accounting says what the records say, because they are written together. A write-ahead
//! log that is cut at any byte loses whole transactions from its end, none of which was acknowledged.

use crate::accounting::{self, Row};
use muster_core::protocol::clerk::Clerk;
use muster_core::protocol::format::{Format, FormatError};
use muster_core::protocol::journal::{self, JournalError};
use muster_core::protocol::standing::Standing;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// The version of the file's layout, in its `user_version`.
const LAYOUT: i32 = 2;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    /// How many records there are.
    records: u64,
}

/// What is written at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records, encoded, in order.
    pub records: Vec<Vec<u8>>,
    /// What they mean for accounting.
    pub rows: Vec<Row>,
    /// What all records so far come to, these included, encoded.
    pub snapshot: Option<Vec<u8>>,
}

/// Why a journal cannot be opened, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// SQLite says so.
    #[error("journal {path}: {error}; `muster journal check` looks for damage", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// It is of a newer layout.
    #[error(
        "journal {path} has layout {theirs} and this muster knows {LAYOUT}: install the newer muster here",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        theirs: i32,
    },
    /// It is of an older layout.
    #[error(
        "journal {path} has layout {theirs}, of an older muster, and this one reads {LAYOUT}: end its jobs with the muster \
         that wrote it, then move the file away to begin with an empty queue",
        path = path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its layout.
        theirs: i32,
    },
    /// A record is not what was written, or is missing.
    #[error(
        "journal {path}: record {number} is {what}: restore a backup (`muster journal backup` makes them), or move the \
         file away to begin with an empty queue",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which record, from 1.
        number: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A snapshot cannot be read.
    #[error("journal {path}: its snapshot: {error}", path = path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        error: FormatError,
    },
    /// The records do not follow from one another.
    #[error("journal {path}: {error}", path = path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// Why.
        error: JournalError,
    },
}

impl Journal {
    /// Opens the journal of `path`, makes it if it is not there, and reads back what it says, onto `fresh` where it has
    /// no snapshot.
    ///
    /// # Errors
    /// When it is damaged, newer, older, or cannot be read or written.
    pub fn open(path: &Path, fresh: Standing<Clerk>) -> Result<(Journal, Standing<Clerk>), JournalFault> {
        let sqlite = |error| JournalFault::Sqlite { path: path.to_owned(), error };
        let connection = Connection::open(path).map_err(sqlite)?;
        prepare(&connection).map_err(sqlite)?;
        let theirs = layout(&connection).map_err(sqlite)?;
        match theirs {
            0 => connection.execute_batch(&create()).map_err(sqlite)?,
            theirs => is_ours(path, theirs)?,
        }
        let (standing, records) = read(&connection, path, fresh)?;
        Ok((Journal { connection, records }, standing))
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes batches in one transaction, and returns when it is on disk.
    ///
    /// # Errors
    /// When the disk does not take them: nothing of them is there then, and the same can be tried again.
    pub fn write(&mut self, batches: &[Batch]) -> Result<(), rusqlite::Error> {
        let mut number = self.records;
        let transaction = self.connection.transaction()?;
        {
            let mut add = transaction
                .prepare_cached("INSERT INTO record (number, check8, bytes) VALUES (?1, ?2, ?3)")?;
            for batch in batches {
                for bytes in &batch.records {
                    number += 1;
                    add.execute(params![number as i64, &check(number, bytes)[..], bytes])?;
                }
                for row in &batch.rows {
                    accounting::write(&transaction, row)?;
                }
                if let Some(bytes) = &batch.snapshot {
                    let check = check(number, bytes);
                    transaction.execute(
                        "INSERT OR REPLACE INTO snapshot (upto, check8, bytes) VALUES (?1, ?2, ?3)",
                        params![number as i64, &check[..], bytes],
                    )?;
                    // The last but one stays, for a disk that spoils the last.
                    transaction.execute(
                        "DELETE FROM snapshot WHERE upto NOT IN (SELECT upto FROM snapshot ORDER BY upto DESC LIMIT 2)",
                        [],
                    )?;
                }
            }
        }
        transaction.commit()?;
        self.records = number;
        Ok(())
    }
}

/// Reads a whole journal back, from its first record on and then from its snapshots, and says what it holds.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_file(path: &Path, fresh: Standing<Clerk>) -> Result<(u64, Standing<Clerk>), JournalFault> {
    let sqlite = |error| JournalFault::Sqlite { path: path.to_owned(), error };
    let connection = open_to_read(path).map_err(sqlite)?;
    let theirs = layout(&connection).map_err(sqlite)?;
    is_ours(path, theirs)?;
    let says: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if says != "ok" {
        return Err(JournalFault::Damaged { path: path.to_owned(), number: 0, what: "in a damaged file" });
    }
    let records = records(&connection, path, 0)?;
    let from_first = replay(path, fresh.clone(), (0, &records))?;
    let (from_snapshot, count) = read(&connection, path, fresh)?;
    if from_first == from_snapshot {
        Ok((count, from_snapshot))
    } else {
        let what = "not the last of those that made the snapshot";
        Err(JournalFault::Damaged { path: path.to_owned(), number: count, what })
    }
}

/// The encoded records of a journal, for a file of records.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn all_records(path: &Path) -> Result<Vec<Vec<u8>>, JournalFault> {
    let sqlite = |error| JournalFault::Sqlite { path: path.to_owned(), error };
    records(&open_to_read(path).map_err(sqlite)?, path, 0)
}

/// Copies a journal while its controller goes on.
///
/// # Errors
/// When it cannot be read, or the copy not be written.
pub fn backup(path: &Path, to: &Path) -> Result<(), JournalFault> {
    let sqlite = |error| JournalFault::Sqlite { path: path.to_owned(), error };
    let connection = open_to_read(path).map_err(sqlite)?;
    connection
        .execute("VACUUM INTO ?1", params![to.to_string_lossy()])
        .map(drop)
        .map_err(|error| JournalFault::Sqlite { path: to.to_owned(), error })
}

/// A connection that changes nothing, beside the one that writes.
///
/// # Errors
/// When there is no such file, or it is no database.
pub fn open_to_read(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")
}

fn layout(connection: &Connection) -> Result<i32, rusqlite::Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn is_ours(path: &Path, theirs: i32) -> Result<(), JournalFault> {
    match theirs.cmp(&LAYOUT) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(JournalFault::Newer { path: path.to_owned(), theirs }),
        Ordering::Less => Err(JournalFault::Older { path: path.to_owned(), theirs }),
    }
}

fn create() -> String {
    format!(
        "BEGIN;
         CREATE TABLE record (number INTEGER PRIMARY KEY, check8 BLOB NOT NULL, bytes BLOB NOT NULL);
         CREATE TABLE snapshot (upto INTEGER PRIMARY KEY, check8 BLOB NOT NULL, bytes BLOB NOT NULL);
         {}
         PRAGMA user_version = {LAYOUT};
         COMMIT;",
        accounting::TABLES
    )
}

/// What tells a record from one that is spoilt, or is in another's place.
fn check(number: u64, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(bytes);
    let mut check = [0; 8];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// The newest snapshot, or `fresh`, with the records after it; and how many records there are.
fn read(
    connection: &Connection,
    path: &Path,
    fresh: Standing<Clerk>,
) -> Result<(Standing<Clerk>, u64), JournalFault> {
    let sqlite = |error| JournalFault::Sqlite { path: path.to_owned(), error };
    let newest = "SELECT upto, check8, bytes FROM snapshot ORDER BY upto DESC LIMIT 1";
    let found = connection.query_row(newest, [], numbered).optional().map_err(sqlite)?;
    let (standing, upto) = match found {
        None => (fresh, 0),
        Some((upto, stored, bytes)) => {
            if stored != check(upto, &bytes) {
                let what = "under a snapshot that is damaged";
                return Err(JournalFault::Damaged { path: path.to_owned(), number: upto, what });
            }
            let decoded = Format::Journal.decode(&bytes);
            (decoded.map_err(|error| JournalFault::Snapshot { path: path.to_owned(), error })?, upto)
        }
    };
    let records = records(connection, path, upto)?;
    let standing = replay(path, standing, (upto, &records))?;
    Ok((standing, upto + records.len() as u64))
}

fn replay(
    path: &Path,
    standing: Standing<Clerk>,
    (before, records): (u64, &[Vec<u8>]),
) -> Result<Standing<Clerk>, JournalFault> {
    journal::replay(standing, before, records.iter().map(Vec::as_slice))
        .map_err(|error| JournalFault::Records { path: path.to_owned(), error })
}

type Numbered = (u64, Vec<u8>, Vec<u8>);

fn numbered(row: &rusqlite::Row) -> Result<Numbered, rusqlite::Error> {
    Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, row.get(2)?))
}

/// The records after the first `upto`.
fn records(connection: &Connection, path: &Path, upto: u64) -> Result<Vec<Vec<u8>>, JournalFault> {
    let sqlite = |error| JournalFault::Sqlite { path: path.to_owned(), error };
    let select = "SELECT number, check8, bytes FROM record WHERE number > ?1 ORDER BY number";
    let mut statement = connection.prepare(select).map_err(sqlite)?;
    let rows = statement.query_map(params![upto as i64], numbered).map_err(sqlite)?;
    let mut all = Vec::new();
    for (wanted, row) in (upto + 1..).zip(rows) {
        let (number, stored, bytes) = row.map_err(sqlite)?;
        let damaged = |what| JournalFault::Damaged { path: path.to_owned(), number: wanted, what };
        if number != wanted {
            return Err(damaged("missing"));
        }
        if stored != check(number, &bytes) {
            return Err(damaged("not what was written"));
        }
        all.push(bytes);
    }
    Ok(all)
}
