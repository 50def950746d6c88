//! `muster check job.sh`: what becomes of every directive of a script, without running it.

use muster_core::time::Time;
use muster_slurm::moment::Now;
use muster_slurm::{Given, Mistake, Origin, Place, Script, Support, jobspec, words};
use muster_worker::command;
use serde::Serialize;
use std::process::ExitCode;
use std::time::SystemTime;

/// Which script.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// The job script
    script: String,
    /// Tell what a queue makes of it, not `muster run`
    #[arg(long)]
    queue: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One directive and what becomes of it.
#[derive(Serialize)]
struct Row {
    line: usize,
    column: usize,
    written: String,
    option: String,
    verdict: &'static str,
    why: Option<String>,
}

#[derive(Serialize)]
struct Report {
    script: String,
    ok: bool,
    directives: Vec<Row>,
}

/// The bytes of a script.
pub(crate) fn read_script(path: &str) -> Result<Vec<u8>, Vec<(String, String)>> {
    std::fs::read(path).map_err(|e| vec![(String::new(), format!("Unable to open file {path}: {e}"))])
}

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let place = if args.queue { Place::Queue(now()) } else { Place::Here };
    let report = match read_script(&args.script) {
        Ok(bytes) => report(&args.script, &bytes, place),
        Err(told) => {
            told.iter().for_each(|(_, what)| eprintln!("muster: error: {what}"));
            return ExitCode::from(command::BAD_INPUT);
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report encodes"));
    } else {
        for row in &report.directives {
            let position = format!("{}:{}", row.line, row.column);
            let why = row.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let resolved = if row.option.is_empty() { String::new() } else { format!("{:<20} ", row.option) };
            println!("{position:>7}  {:<28} {resolved}{}{why}", row.written, row.verdict);
        }
        let taker = if args.queue { "a queue" } else { "muster run" };
        println!("{}: {taker} {} it", report.script, if report.ok { "takes" } else { "refuses" });
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(command::BAD_INPUT) }
}

/// The time in UTC: whether a time can be read depends on the year at most.
fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { at: Time(since.as_millis() as i64), utc_offset_s: 0 }
}

fn report(name: &str, bytes: &[u8], place: Place) -> Report {
    let (mut given, mut mistakes): (Vec<Given>, Vec<Mistake>) = (Vec::new(), Vec::new());
    match Script::read(bytes) {
        Ok(script) => drop(words::read(&script.words, &mut given, &mut mistakes)),
        Err(wrong) => mistakes = wrong,
    }
    let mut rows: Vec<Row> = given.iter().map(|one| row(one, place)).collect();
    if let Err(wrong) = jobspec(&given, name, place) {
        // Refusals have rows already.
        mistakes.extend(
            wrong.into_iter().filter(|m| {
                !rows.iter().any(|r| r.verdict == "refused" && position(m) == (r.line, r.column))
            }),
        );
    }
    for mistake in &mistakes {
        let (line, column) = position(mistake);
        rows.retain(|r| (r.line, r.column) != (line, column));
        let why = Some(mistake.what.clone());
        rows.push(Row { line, column, written: String::new(), option: String::new(), verdict: "wrong", why });
    }
    rows.sort_by_key(|r| (r.line, r.column));
    let ok = rows.iter().all(|r| r.verdict == "honoured" || r.verdict == "ignored");
    Report { script: name.to_owned(), ok, directives: rows }
}

fn position(mistake: &Mistake) -> (usize, usize) {
    match mistake.origin {
        Origin::Directive { line, column } => (line, column),
        Origin::CommandLine => (0, 0),
    }
}

fn row(given: &Given, place: Place) -> Row {
    let (line, column) = match given.origin {
        Origin::Directive { line, column } => (line, column),
        Origin::CommandLine => (0, 0),
    };
    let (verdict, why) = match given.option.support(place) {
        Support::Honoured => ("honoured", None),
        Support::Ignored(why) => ("ignored", Some(why.to_owned())),
        Support::Refused(why) => ("refused", Some(why.to_owned())),
    };
    let separate = !given.value.is_empty() && !given.written.contains(&given.value);
    let written = if separate { format!("{} {}", given.written, given.value) } else { given.written.clone() };
    Row { line, column, written, option: format!("--{}", given.option.long), verdict, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_decides() {
        let text = b"#!/bin/sh\n#SBATCH --hold\n#SBATCH -p short\n#SBATCH --no-kill\n#SBATCH -t x\n";
        let verdicts = |place| {
            report("job.sh", text, place).directives.iter().map(|row| row.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(Place::Here), ["refused", "ignored", "ignored", "wrong"]);
        assert_eq!(verdicts(Place::Queue(Now::default())), ["honoured", "honoured", "refused", "wrong"]);
    }
}
