//! Workload traces: jobs of the past, replayed under a policy.
//!
//! Step 5 of a job's way (DESIGN section 4), tried on what was asked of real machines. The replay runs the policy's own
//! code over a pool of counted processors.

pub mod malleable;
pub mod on_hosts;
pub mod replay;
pub mod report;
pub mod swf;

use crate::time::Time;
use swf::{Log, Record};

/// A job of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceJob {
    /// Its number in the file.
    pub id: i64,
    /// When it was submitted.
    pub submit: Time,
    /// How long it really ran, seconds, at most the estimate.
    pub run: i64,
    /// How long it was to run at most, seconds.
    pub estimate: i64,
    /// How many processors it took.
    pub width: u32,
    /// Who submitted it, by the file's number; below 0 when that is not known.
    pub user: i64,
}

/// What to make of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceOptions {
    /// Keep so many jobs from the beginning, after those that cannot be replayed are left out.
    pub first: Option<usize>,
    /// How many processors the machine has, at most [`swf::MAX_PROCS`]; otherwise what the log's header says.
    pub procs: Option<u32>,
    /// Every estimate is the run time.
    pub perfect: bool,
}

/// Jobs in the order of (submission, position in the file), and the machine that they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How many processors the machine has.
    pub procs: u32,
    /// The jobs; there is at least one.
    pub jobs: Vec<TraceJob>,
    /// What was left out, and why.
    pub dropped: Dropped,
}

/// How many jobs of a log cannot be replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// They did not run.
    pub not_run: usize,
    /// They took no processors.
    pub no_processors: usize,
    /// They took more processors than there are.
    pub too_wide: usize,
    /// They were submitted before the log began, or nobody knows when.
    pub no_submit: usize,
}

impl Dropped {
    /// All of them.
    pub fn total(&self) -> usize {
        self.not_run + self.no_processors + self.too_wide + self.no_submit
    }
}

/// Why a log is not a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Nobody said how many processors there are.
    #[error("the header has no `; MaxProcs: N`; give the number of processors (--procs N)")]
    NoProcessors,
    /// There is nothing to replay.
    #[error(
        "there is no job to replay: of {records}, {} did not run, {} took no processors, {} took more than the \
         {procs} there are, {} have no time of submission",
        dropped.not_run, dropped.no_processors, dropped.too_wide, dropped.no_submit
    )]
    NoJobs {
        /// How many jobs the log has.
        records: usize,
        /// How many processors there are.
        procs: u32,
        /// Why none is left.
        dropped: Dropped,
    },
}

impl Trace {
    /// The jobs of `log` that can be replayed.
    ///
    /// # Errors
    /// When the number of processors is unknown, or no job is left.
    pub fn new(log: &Log, options: TraceOptions) -> Result<Trace, TraceError> {
        let procs =
            options.procs.or(log.max_procs).filter(|procs| *procs > 0).ok_or(TraceError::NoProcessors)?;
        let mut dropped = Dropped::default();
        let mut jobs = Vec::with_capacity(log.records.len());
        jobs.extend(log.records.iter().filter_map(|record| job(record, procs, &mut dropped)));
        // Stable: jobs of one moment stay in the order of the file.
        jobs.sort_by_key(|job| job.submit);
        jobs.truncate(options.first.unwrap_or(usize::MAX));
        if options.perfect {
            jobs.iter_mut().for_each(|job| job.estimate = job.run);
        }
        if jobs.is_empty() {
            return Err(TraceError::NoJobs { records: log.records.len(), procs, dropped });
        }
        Ok(Trace { procs, jobs, dropped })
    }
}

fn job(record: &Record, procs: u32, dropped: &mut Dropped) -> Option<TraceJob> {
    let width = if record.requested_procs > 0 { record.requested_procs } else { record.used_procs };
    let cause = if record.run <= 0 {
        &mut dropped.not_run
    } else if width <= 0 {
        &mut dropped.no_processors
    } else if width > i64::from(procs) {
        &mut dropped.too_wide
    } else if record.submit < 0 {
        &mut dropped.no_submit
    } else {
        let estimate = if record.estimate > 0 { record.estimate } else { record.run };
        return Some(TraceJob {
            id: record.id,
            submit: Time(record.submit),
            run: record.run.min(estimate),
            estimate,
            width: u32::try_from(width).expect("at most the machine's"),
            user: record.user,
        });
    };
    *cause += 1;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: i64, submit: i64, run: i64, procs: (i64, i64)) -> Record {
        let (used_procs, requested_procs) = procs;
        Record { id, submit, run, used_procs, requested_procs, estimate: 100, user: 1 }
    }

    fn log(records: Vec<Record>) -> Log {
        Log { max_procs: Some(10), records, malformed: Vec::new() }
    }

    #[test]
    fn jobs_that_cannot_be_replayed_are_left_out_and_counted() {
        let records = vec![
            record(1, 5, 10, (4, -1)),
            record(2, 0, 0, (4, -1)),
            record(3, 0, 10, (-1, 0)),
            record(4, 0, 10, (4, 11)),
            record(5, -1, 10, (4, 4)),
            record(6, 3, 200, (11, 8)),
            record(7, 5, 10, (4, -1)),
        ];
        let trace = Trace::new(&log(records.clone()), TraceOptions::default()).unwrap();
        let kept: Vec<(i64, u32, i64)> = trace.jobs.iter().map(|job| (job.id, job.width, job.run)).collect();
        // Ordered by submission, then by position; a run is cut at its estimate.
        assert_eq!(kept, [(6, 8, 100), (1, 4, 10), (7, 4, 10)]);
        assert_eq!(trace.dropped, Dropped { not_run: 1, no_processors: 1, too_wide: 1, no_submit: 1 });
        assert_eq!((trace.dropped.total(), trace.procs), (4, 10));

        let options = TraceOptions { first: Some(2), procs: Some(11), perfect: true };
        let trace = Trace::new(&log(records), options).unwrap();
        assert_eq!(
            trace.jobs.iter().map(|job| (job.id, job.estimate)).collect::<Vec<_>>(),
            [(4, 10), (6, 100)]
        );
    }

    #[test]
    fn without_an_estimate_the_run_time_is_it() {
        let records = vec![Record { estimate: -1, ..record(1, 0, 30, (1, 1)) }];
        assert_eq!(Trace::new(&log(records), TraceOptions::default()).unwrap().jobs[0].estimate, 30);
    }

    #[test]
    fn a_log_without_processors_or_jobs_is_no_trace() {
        let mut log = log(vec![record(1, 0, 10, (4, 11))]);
        let error = Trace::new(&log, TraceOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("of 1, 0 did not run, 0 took no processors, 1 took more than the 10")
        );
        log.max_procs = None;
        assert_eq!(Trace::new(&log, TraceOptions::default()), Err(TraceError::NoProcessors));
        let none = TraceOptions { first: Some(0), procs: Some(11), perfect: false };
        assert!(matches!(Trace::new(&log, none), Err(TraceError::NoJobs { .. })));
    }
}
