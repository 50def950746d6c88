//! Replays every row of a table of golden values over complete traces, and compares: `make goldens TABLE=... TRACES=...`.
//!
//! The table is CSV: trace, jobs, procs, policy, options, mean_bsld, mean_wait, p95_wait, max_wait, mean_turnaround,
//! utilisation, makespan, max_queue, schedule_sha256_16. The folder has `TRACE.swf.gz`, and published waits of EASY, per
//! event, as `PREFIX.published_easy_wait.gz` with `id wait` a line.

use muster_core::policy::Policy;
use muster_core::trace::replay::{Mode, replay};
use muster_core::trace::report::Report;
use muster_core::trace::swf::{self, Log};
use muster_core::trace::{Trace, TraceOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let ([table, traces], true) = (args.as_slice(), args.iter().all(|arg| !arg.as_os_str().is_empty()))
    else {
        eprintln!("goldens: give the table of golden values (CSV) and the folder of the traces");
        return ExitCode::from(2);
    };
    match check(table, traces) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            println!("{wrong} WRONG");
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("goldens: {why}");
            ExitCode::from(2)
        }
    }
}

/// Compares everything, and says how much is wrong.
fn check(table: &Path, traces: &Path) -> Outcome<usize> {
    let mut logs = BTreeMap::new();
    let (mut rows, mut wrong) = (0, 0);
    for line in String::from_utf8(text(table)?)?.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let row = Row::read(line)?;
        if !logs.contains_key(row.trace) {
            logs.insert(row.trace.to_owned(), read(&traces.join(format!("{}.swf.gz", row.trace)))?);
        }
        let told = row.compare(&logs[row.trace])?;
        println!("{:<5} {:<15} {:<12} {:<23} {told}", verdict(&told), row.trace, row.policy, row.options);
        wrong += usize::from(!told.is_empty());
        rows += 1;
    }
    for (name, log) in &logs {
        let prefix = name.rsplit_once('-').map_or(name.as_str(), |(prefix, _)| prefix);
        let path = traces.join(format!("{prefix}.published_easy_wait.gz"));
        if path.exists() {
            let (waits, differ) = published(log, &path)?;
            println!(
                "{:<5} {name:<15} published waits of EASY: {differ} of {waits} differ",
                ["ok", "WRONG"][usize::from(differ > 0)]
            );
            wrong += usize::from(differ > 0);
        }
    }
    println!("{rows} rows, {wrong} wrong");
    Ok(wrong)
}

fn verdict(told: &str) -> &'static str {
    if told.is_empty() { "ok" } else { "WRONG" }
}

fn text(path: &Path) -> Outcome<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(swf::unpack(bytes).map_err(|why| format!("{} {why}", path.display()))?)
}

fn read(path: &Path) -> Outcome<Log> {
    let log = swf::read(&text(path)?);
    match log.malformed.first() {
        Some(malformed) => Err(format!("{}: {malformed}", path.display()).into()),
        None => Ok(log),
    }
}

/// How many waits were published, and how many of them are others than ours.
fn published(log: &Log, path: &Path) -> Outcome<(usize, usize)> {
    let trace = Trace::new(log, TraceOptions::default())?;
    let schedule = replay(&trace, "easy".parse()?, Mode::PerEvent);
    let ours: BTreeMap<i64, i64> =
        trace.jobs.iter().zip(&schedule.starts).map(|(job, start)| (job.id, *start - job.submit)).collect();
    let text = String::from_utf8(text(path)?)?;
    let (mut waits, mut differ) = (0, 0);
    for line in text.lines() {
        let (id, wait) = line.split_once(' ').ok_or_else(|| format!("{}: `{line}`", path.display()))?;
        waits += 1;
        differ += usize::from(ours.get(&id.parse()?) != Some(&wait.trim().parse()?));
    }
    Ok((waits, differ.max(ours.len().abs_diff(waits))))
}

/// A row of the table.
struct Row<'a> {
    trace: &'a str,
    policy: Policy,
    options: &'a str,
    kept: TraceOptions,
    mode: Mode,
    /// Every field.
    wanted: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Outcome<Row<'a>> {
        let wanted: Vec<&str> = line.split(',').map(str::trim).collect();
        if wanted.len() != 14 {
            return Err(format!("`{line}` has {} columns, not 14", wanted.len()).into());
        }
        let (mut kept, mut mode) = (TraceOptions::default(), Mode::Batch);
        let mut words = wanted[4].split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "--first" => kept.first = Some(words.next().ok_or("--first without a number")?.parse()?),
                "--perfect" => kept.perfect = true,
                "--per-event" => mode = Mode::PerEvent,
                other => return Err(format!("`{other}` is not an option of a row").into()),
            }
        }
        Ok(Row { trace: wanted[0], policy: wanted[3].parse()?, options: wanted[4], kept, mode, wanted })
    }

    /// What differs, in words; nothing when nothing does.
    fn compare(&self, log: &Log) -> Outcome<String> {
        let trace = Trace::new(log, self.kept)?;
        let report = Report::new(&trace, &replay(&trace, self.policy, self.mode));
        let found = [
            (1, report.jobs.to_string()),
            (2, report.procs.to_string()),
            (5, format!("{:.4}", report.mean_bounded_slowdown)),
            (6, format!("{:.2}", report.mean_wait_s)),
            (7, report.p95_wait_s.to_string()),
            (8, report.max_wait_s.to_string()),
            (9, format!("{:.2}", report.mean_turnaround_s)),
            (10, format!("{:.5}", report.utilisation)),
            (11, report.makespan_s.to_string()),
            (12, report.max_queue.to_string()),
        ];
        let mut told = Vec::new();
        for (column, found) in found {
            // The table leaves zeros at the end of fractions out.
            if found.parse::<f64>()? != self.wanted[column].parse::<f64>()? {
                told.push(format!("column {}: {found}, not {}", column + 1, self.wanted[column]));
            }
        }
        if report.schedule_hash != self.wanted[13] {
            told.push(format!("hash: {}, not {}", report.schedule_hash, self.wanted[13]));
        }
        Ok(told.join("; "))
    }
}
