//! A journal of our own as a log: what was asked for, when, and how long it ran, so that a site can replay last week.
//!
//! An element of an array is a job of its own. What ran several times counts with its last attempt; what has not ended
//! by itself or at a limit is not in the log.

use super::swf::{Log, MAX_PROCS, Record as Job};
use crate::books::event::Event;
use crate::job::id::{JobId, RunId};
use crate::protocol::controller::Entry;
use crate::protocol::format::Format;
use crate::protocol::journal::JournalError;
use crate::protocol::standing::Record;
use crate::time::Time;
use std::collections::BTreeMap;

/// Milliseconds of a second: a journal counts the former, a log the latter.
const MS: i64 = 1000;

/// What was submitted under one number.
struct Asked {
    at: Time,
    cpus: u32,
    user: i64,
}

/// What the records so far say.
#[derive(Default)]
struct Reading {
    cores: BTreeMap<String, u32>,
    asked: BTreeMap<JobId, Asked>,
    users: BTreeMap<String, i64>,
    begun: BTreeMap<RunId, (Time, Option<i64>)>,
    ended: BTreeMap<RunId, Job>,
}

/// The jobs of a journal, given its records in order, in the order of their numbers and elements; they are numbered from 1.
/// The first submission is at second 0, and the processors are the CPUs of all hosts that the journal names.
///
/// # Errors
/// At the first record that is not understood.
pub fn log<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Log, JournalError> {
    let mut reading = Reading::default();
    for (number, bytes) in (1..).zip(records) {
        let entry: Entry<Event> =
            Format::Journal.decode(bytes).map_err(|why| JournalError::Format { number, why })?;
        reading.take(entry.at, entry.record);
    }
    let procs = reading.cores.values().fold(0_u32, |all, cores| all.saturating_add(*cores));
    let first = reading.asked.values().map(|asked| asked.at.0).min().unwrap_or(0);
    let records = reading.ended.into_values().zip(1..).map(|(job, id)| Job {
        id,
        submit: (job.submit - first) / MS,
        ..job
    });
    let max_procs = (procs > 0).then_some(procs.min(MAX_PROCS));
    Ok(Log { max_procs, records: records.collect(), malformed: Vec::new() })
}

impl Reading {
    fn take(&mut self, at: Time, record: Record<Event>) {
        match record {
            Record::Desk(Event::Host(host)) => {
                self.cores.insert(host.name.clone(), host.shape.cores());
            }
            Record::Desk(Event::Submitted(id, submitted)) => {
                let next = self.users.len() as i64 + 1;
                let user = *self.users.entry(submitted.owner.user.clone()).or_insert(next);
                self.asked.insert(id, Asked { at, cpus: submitted.spec.size.cpus(), user });
            }
            Record::Begun(begun, _) => {
                self.begun.insert(begun.id.run, (at, begun.limit_ms));
            }
            Record::Closed(id, end, _) if !end.may_run_again() => {
                let Some(((began, limit_ms), asked)) =
                    self.begun.remove(&id.run).zip(self.asked.get(&id.run.job))
                else {
                    return;
                };
                // A part of a second counts as one.
                let seconds = |ms: i64| (ms.max(1) + MS - 1) / MS;
                let run = seconds(at - began);
                let job = Job {
                    id: 0,
                    submit: asked.at.0,
                    run,
                    used_procs: i64::from(asked.cpus),
                    requested_procs: i64::from(asked.cpus),
                    estimate: limit_ms.map_or(run, seconds),
                    user: asked.user,
                };
                self.ended.insert(id.run, job);
            }
            _ => {}
        }
    }
}
