//! What a schedule is worth: waits, slowdown, utilisation, and a hash by which two schedules are compared.

use super::Trace;
use super::replay::Schedule;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A job's run time counts as at least so many seconds in its slowdown (Feitelson et al. 1997).
const BOUND_S: i64 = 10;

/// The figures of a schedule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many jobs ran.
    pub jobs: usize,
    /// On how many processors.
    pub procs: u32,
    /// The mean of max(1, turnaround / max(run, 10 s)), with the run time at the size that was asked for.
    pub mean_bounded_slowdown: f64,
    /// The mean wait, seconds.
    pub mean_wait_s: f64,
    /// The wait that 95 % of the jobs do not exceed, seconds.
    pub p95_wait_s: i64,
    /// The worst wait, seconds.
    pub max_wait_s: i64,
    /// The mean time from submission to end, seconds.
    pub mean_turnaround_s: f64,
    /// The share of the processors' time, from the first submission to the last end, in which they ran jobs; what
    /// resizes cost does not count.
    pub utilisation: f64,
    /// From the first submission to the last end, seconds.
    pub makespan_s: i64,
    /// The most jobs that waited after a pass.
    pub max_queue: usize,
    /// The first 16 hexadecimal digits of SHA-256 over the lines of [`start_lines`].
    pub schedule_hash: String,
}

impl Report {
    /// The figures of `schedule`, which is one of `trace`.
    pub fn new(trace: &Trace, schedule: &Schedule) -> Report {
        let jobs = trace.jobs.len();
        let mut waits: Vec<i64> =
            trace.jobs.iter().zip(&schedule.starts).map(|(job, start)| *start - job.submit).collect();
        let slowdowns: f64 = trace
            .jobs
            .iter()
            .zip(&schedule.ends)
            .map(|(job, end)| ((*end - job.submit) as f64 / job.run.max(BOUND_S) as f64).max(1.0))
            .sum();
        let wait: i128 = waits.iter().map(|wait| i128::from(*wait)).sum();
        let turnaround: i128 =
            trace.jobs.iter().zip(&schedule.ends).map(|(job, end)| i128::from(*end - job.submit)).sum();
        let work: i128 = trace.jobs.iter().map(|job| i128::from(job.run) * i128::from(job.width)).sum();
        let makespan_s = schedule.ends.iter().max().map_or(0, |end| *end - trace.jobs[0].submit);
        waits.sort_unstable();
        let mean = |sum: i128| sum as f64 / jobs as f64;
        Report {
            jobs,
            procs: trace.procs,
            mean_bounded_slowdown: slowdowns / jobs as f64,
            mean_wait_s: mean(wait),
            p95_wait_s: waits[(jobs - 1) * 95 / 100],
            max_wait_s: waits[jobs - 1],
            mean_turnaround_s: mean(turnaround),
            utilisation: work as f64 / (i128::from(trace.procs) * i128::from(makespan_s)) as f64,
            makespan_s,
            max_queue: schedule.max_queue,
            schedule_hash: hash(&start_lines(trace, schedule)),
        }
    }
}

/// `id start` for every job, a line each, in the order of the trace.
pub fn start_lines(trace: &Trace, schedule: &Schedule) -> String {
    let mut out = String::with_capacity(trace.jobs.len() * 16);
    for (job, start) in trace.jobs.iter().zip(&schedule.starts) {
        let _ = writeln!(out, "{} {}", job.id, start.0);
    }
    out
}

fn hash(lines: &str) -> String {
    let digest = Sha256::digest(lines.as_bytes());
    digest[..8].iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
