//! Accounting: what ran, when, where, how it ended and what it used, as tables that anybody can query with plain SQL.
//!
//! Step 13 of a job's way (DESIGN section 4). Invariant: rows are made of records, and written with them in one
//! transaction, so accounting is right the moment a job ends. Times are milliseconds since 1970; an `element` of -1 is a job
//! that is no array.

use muster_core::books::event::Event;
use muster_core::cluster::Allocation;
use muster_core::job::Body;
use muster_core::job::id::JobId;
use muster_core::job::outcome::Outcome;
use muster_core::job::usage::Usage;
use muster_core::protocol::clerk::Clerk;
use muster_core::protocol::controller::Entry;
use muster_core::protocol::stamp::AttemptId;
use muster_core::protocol::standing::{Record, Standing};
use muster_core::time::Time;
use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The tables, and the views for people.
pub(crate) const TABLES: &str = "
CREATE TABLE job (
    job INTEGER PRIMARY KEY, user TEXT NOT NULL, uid INTEGER NOT NULL, name TEXT NOT NULL, account TEXT,
    partition TEXT, elements INTEGER NOT NULL, submitted INTEGER NOT NULL, ended INTEGER, outcome TEXT
);
CREATE TABLE attempt (
    job INTEGER NOT NULL, element INTEGER NOT NULL, attempt INTEGER NOT NULL, partition TEXT NOT NULL,
    hosts TEXT NOT NULL, cpus INTEGER NOT NULL, started INTEGER NOT NULL, began INTEGER, ended INTEGER, outcome TEXT,
    exit_code INTEGER, signal INTEGER, why TEXT, user_ms INTEGER, system_ms INTEGER, peak_memory_kib INTEGER,
    read_bytes INTEGER, written_bytes INTEGER, voluntary_switches INTEGER, involuntary_switches INTEGER,
    PRIMARY KEY (job, element, attempt)
) WITHOUT ROWID;
";

/// One change of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A job is there.
    Submitted {
        /// Which.
        job: JobId,
        /// Whose: name and number.
        user: (String, u32),
        /// Its name.
        name: String,
        /// Who pays, if it said.
        account: Option<String>,
        /// Its partitions, as it named them.
        partition: Option<String>,
        /// How many elements it has; 1 where it is no array.
        elements: u32,
        /// When it was submitted.
        at: Time,
    },
    /// An attempt begins.
    Begun {
        /// Which.
        id: AttemptId,
        /// In which partition.
        partition: String,
        /// On which hosts, by commas.
        hosts: String,
        /// On how many CPUs.
        cpus: u32,
        /// When.
        at: Time,
    },
    /// It runs; and whether it was told ahead, so that it has its hosts only since then.
    Up(AttemptId, Time, bool),
    /// Why it could not start on a host.
    Unable(AttemptId, String),
    /// It is over, and has used this.
    Closed(AttemptId, Outcome, Usage, Time),
    /// All of a job is over: how its last part, or the worst, ended.
    Over(JobId, Outcome, Time),
}

/// What `entries` mean, which `standing` has taken in.
pub fn rows(standing: &Standing<Clerk>, entries: &[Entry<Event>]) -> Vec<Row> {
    let books = standing.desk.books();
    let mut rows = Vec::new();
    let mut touched = BTreeSet::new();
    for Entry { at, record } in entries {
        match record {
            Record::Desk(Event::Submitted(job, submitted)) => {
                let spec = &submitted.spec;
                let partitions = &spec.queue.partitions;
                let elements = books.job(*job).map_or(1, |job| match job.body() {
                    Body::One(_) => 1,
                    Body::Array(array) => array.indices().len(),
                });
                rows.push(Row::Submitted {
                    job: *job,
                    user: (submitted.owner.user.clone(), submitted.owner.uid),
                    name: spec.name.clone(),
                    account: spec.queue.account.clone(),
                    partition: (!partitions.is_empty()).then(|| partitions.join(",")),
                    elements,
                    at: *at,
                });
                touched.insert(*job);
            }
            Record::Desk(Event::Job(job, _)) => drop(touched.insert(*job)),
            Record::Desk(Event::Run(run, _)) => drop(touched.insert(run.job)),
            Record::Begun(begun, _) => {
                // It may be over again by the end of the turn; its job's record has what it was given until then.
                let run = books.run(begun.id.run);
                let placed = run.as_ref().and_then(|run| run.state.placed());
                let names = |on: &Allocation| hosts(standing, on);
                rows.push(Row::Begun {
                    id: begun.id,
                    partition: placed.map_or(String::new(), |placed| placed.on.partition.clone()),
                    hosts: placed.map_or(String::new(), |placed| names(&placed.on.allocation)),
                    cpus: placed.map_or(0, |p| p.on.allocation.parts.iter().map(|part| part.cpus()).sum()),
                    at: *at,
                });
            }
            Record::Up(id) => {
                let open = standing.attempt(*id);
                rows.push(Row::Up(*id, *at, open.is_some_and(|open| open.begun.after.is_some())));
            }
            Record::Unable(id, host, why) => {
                let host = books.hosts().get(host.0 as usize).map_or("", |host| &host.name);
                rows.push(Row::Unable(*id, format!("{host}: {why}")));
            }
            Record::Closed(id, end, usage) => {
                rows.push(Row::Closed(*id, end.outcome(), *usage, *at));
                touched.insert(id.run.job);
            }
            _ => {}
        }
    }
    for job in touched {
        let Some(job) = books.job(job) else { continue };
        if let (Some(at), Some(outcome)) = (job.ended(), outcome(job.body())) {
            rows.push(Row::Over(job.id(), outcome, at));
        }
    }
    rows
}

/// How a job that is over ended: of an array, the worst of its elements.
fn outcome(body: &Body) -> Option<Outcome> {
    match body {
        Body::One(run) => match &run.state {
            muster_core::job::state::State::Done(done) => Some(done.outcome),
            _ => None,
        },
        Body::Array(array) => array.outcomes().into_keys().max(),
    }
}

fn hosts(standing: &Standing<Clerk>, on: &Allocation) -> String {
    let known = standing.desk.books().hosts();
    let name = |part: &muster_core::cluster::Part| known[part.host.0 as usize].name.clone();
    on.parts.iter().map(name).collect::<Vec<String>>().join(",")
}

/// Exit code and signal, as Slurm's `ExitCode` has them.
pub fn exit_code(outcome: Outcome) -> (u8, u8) {
    match outcome {
        Outcome::Failed(code) => (code, 0),
        Outcome::Signalled(signal) => (0, signal),
        Outcome::OutOfMemory => (0, 125),
        Outcome::HostFailed | Outcome::NotStarted => (1, 0),
        _ => (0, 0),
    }
}

pub(crate) fn write(connection: &Connection, row: &Row) -> Result<(), rusqlite::Error> {
    let element = |id: &AttemptId| id.run.element.map_or(-1, i64::from);
    match row {
        Row::Submitted { job, user, name, account, partition, elements, at } => {
            let insert = "INSERT OR REPLACE INTO job (job, user, uid, name, account, partition, elements, submitted) \
                          VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![job.0, user.0, user.1, name, account, partition, elements, at.0];
            connection.prepare_cached(insert)?.execute(values)?;
        }
        Row::Begun { id, partition, hosts, cpus, at } => {
            let insert = "INSERT OR REPLACE INTO attempt (job, element, attempt, partition, hosts, cpus, started) \
                          VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let values = params![id.run.job.0, element(id), id.attempt.0, partition, hosts, cpus, at.0];
            connection.prepare_cached(insert)?.execute(values)?;
        }
        Row::Up(id, at, ahead) => {
            let update = "UPDATE attempt SET began = ?4, started = CASE WHEN ?5 THEN ?4 ELSE started END \
                          WHERE job = ?1 AND element = ?2 AND attempt = ?3";
            let values = params![id.run.job.0, element(id), id.attempt.0, at.0, ahead];
            connection.prepare_cached(update)?.execute(values)?;
        }
        Row::Unable(id, why) => {
            let update = "UPDATE attempt SET why = ?4 WHERE job = ?1 AND element = ?2 AND attempt = ?3";
            let values = params![id.run.job.0, element(id), id.attempt.0, why];
            connection.prepare_cached(update)?.execute(values)?;
        }
        Row::Closed(id, outcome, usage, at) => {
            let update = "UPDATE attempt SET ended = ?4, outcome = ?5, exit_code = ?6, signal = ?7, user_ms = ?8, \
                          system_ms = ?9, peak_memory_kib = ?10, read_bytes = ?11, written_bytes = ?12, \
                          voluntary_switches = ?13, involuntary_switches = ?14 \
                          WHERE job = ?1 AND element = ?2 AND attempt = ?3";
            let (code, signal) = exit_code(*outcome);
            // What is too much for SQL's integers is surely wrong.
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let values = params![
                id.run.job.0,
                element(id),
                id.attempt.0,
                at.0,
                outcome.word(),
                code,
                signal,
                number(usage.user_ms),
                number(usage.system_ms),
                number(usage.peak_memory_kib),
                number(usage.read_bytes),
                number(usage.written_bytes),
                number(usage.voluntary_switches),
                number(usage.involuntary_switches),
            ];
            connection.prepare_cached(update)?.execute(values)?;
        }
        Row::Over(job, outcome, at) => {
            let update = "UPDATE job SET ended = ?2, outcome = ?3 WHERE job = ?1";
            connection.prepare_cached(update)?.execute(params![job.0, at.0, outcome.word()])?;
        }
    }
    Ok(())
}

/// A job, or one of its attempts, as `muster history` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Past {
    /// `12`, or `12_3` for an element.
    pub job: String,
    /// Which attempt; 0 where none was started.
    pub attempt: u32,
    /// Its name.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Where it ran.
    pub hosts: String,
    /// On how many CPUs.
    pub cpus: u32,
    /// When it was submitted, milliseconds since 1970.
    pub submitted_ms: i64,
    /// When it was given its hosts, milliseconds since 1970.
    pub started_ms: Option<i64>,
    /// When it ended, milliseconds since 1970.
    pub ended_ms: Option<i64>,
    /// How; none while it has not.
    pub outcome: Option<String>,
    /// Its exit code.
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<u8>,
    /// Why it could not start, and where; none when it could.
    pub why: Option<String>,
    /// What it used on all its hosts, as far as they have said; none while it is not over.
    #[schemars(with = "Option<std::collections::BTreeMap<String, u64>>")]
    pub usage: Option<Usage>,
}

/// Attempts, and jobs without any, the newest first: of one job, or of all; at most `most`.
///
/// # Errors
/// When the database cannot be read.
pub fn history(connection: &Connection, job: Option<JobId>, most: u32) -> Result<Vec<Past>, rusqlite::Error> {
    let select = "SELECT job.job, COALESCE(element, -1), COALESCE(attempt, 0), name, user, COALESCE(hosts, ''), \
                  COALESCE(cpus, 0), submitted, started, COALESCE(attempt.ended, job.ended), \
                  COALESCE(attempt.outcome, CASE WHEN attempt IS NULL THEN job.outcome END), exit_code, signal, \
                  why, user_ms, system_ms, peak_memory_kib, read_bytes, written_bytes, voluntary_switches, \
                  involuntary_switches \
                  FROM job LEFT JOIN attempt ON attempt.job = job.job \
                  WHERE ?1 IS NULL OR job.job = ?1 \
                  ORDER BY job.job DESC, element DESC, attempt DESC LIMIT ?2";
    let mut statement = connection.prepare(select)?;
    let rows = statement.query_map(params![job.map(|job| job.0), most], |row| {
        let (job, element): (u32, i64) = (row.get(0)?, row.get(1)?);
        Ok(Past {
            job: if element < 0 { job.to_string() } else { format!("{job}_{element}") },
            attempt: row.get(2)?,
            name: row.get(3)?,
            user: row.get(4)?,
            hosts: row.get(5)?,
            cpus: row.get(6)?,
            submitted_ms: row.get(7)?,
            started_ms: row.get(8)?,
            ended_ms: row.get(9)?,
            outcome: row.get(10)?,
            exit_code: row.get(11)?,
            signal: row.get(12)?,
            why: row.get(13)?,
            usage: usage(row)?,
        })
    })?;
    rows.collect()
}

/// Where a job that is no array, or an element of one, ran first of all in its last attempt; none when it never did.
///
/// # Errors
/// When the file cannot be read.
pub fn ran_on(
    connection: &Connection,
    (job, element): (JobId, Option<u32>),
) -> Result<Option<String>, rusqlite::Error> {
    let select = "SELECT hosts FROM attempt WHERE job = ?1 AND element = ?2 \
                  ORDER BY attempt DESC LIMIT 1";
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query(params![job.0, element.map_or(-1, i64::from)])?;
    let hosts: Option<String> = rows.next()?.map(|row| row.get(0)).transpose()?;
    Ok(hosts.and_then(|hosts| Some(hosts.split(',').next()?.to_owned())).filter(|host| !host.is_empty()))
}

/// What an attempt has used, in the columns from 14 on.
fn usage(row: &rusqlite::Row) -> Result<Option<Usage>, rusqlite::Error> {
    let Some(user_ms) = row.get::<_, Option<i64>>(14)? else { return Ok(None) };
    let number = |column| Ok::<u64, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
    Ok(Some(Usage {
        user_ms: user_ms.unsigned_abs(),
        system_ms: number(15)?,
        peak_memory_kib: number(16)?,
        read_bytes: number(17)?,
        written_bytes: number(18)?,
        voluntary_switches: number(19)?,
        involuntary_switches: number(20)?,
    }))
}
