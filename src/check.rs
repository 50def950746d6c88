//! `muster check job.sh`: what becomes of every directive of a script, without running it.

use muster_slurm::{Given, Mistake, Origin, Script, Support, jobspec, words};
use muster_worker::command;
use serde::Serialize;
use std::process::ExitCode;

/// Which script.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// The job script
    script: String,
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
    let report = match read_script(&args.script) {
        Ok(bytes) => report(&args.script, &bytes),
        Err(told) => {
            told.iter().for_each(|(_, what)| eprintln!("muster: error: {what}"));
            return ExitCode::from(command::BAD_INPUT);
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report encodes"));
    } else {
        for row in &report.directives {
            let place = format!("{}:{}", row.line, row.column);
            let why = row.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let resolved = if row.option.is_empty() { String::new() } else { format!("{:<20} ", row.option) };
            println!("{place:>7}  {:<28} {resolved}{}{why}", row.written, row.verdict);
        }
        println!(
            "{}: {}",
            report.script,
            if report.ok { "muster run takes it" } else { "muster run refuses it" }
        );
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(command::BAD_INPUT) }
}

fn report(name: &str, bytes: &[u8]) -> Report {
    let (mut given, mut mistakes): (Vec<Given>, Vec<Mistake>) = (Vec::new(), Vec::new());
    match Script::read(bytes) {
        Ok(script) => drop(words::read(&script.words, &mut given, &mut mistakes)),
        Err(wrong) => mistakes = wrong,
    }
    let mut rows: Vec<Row> = given.iter().map(row).collect();
    if let Err(wrong) = jobspec(&given, name) {
        // Refusals have rows already.
        mistakes.extend(
            wrong
                .into_iter()
                .filter(|m| !rows.iter().any(|r| r.verdict == "refused" && place(m) == (r.line, r.column))),
        );
    }
    for mistake in &mistakes {
        let (line, column) = place(mistake);
        rows.retain(|r| (r.line, r.column) != (line, column));
        let why = Some(mistake.what.clone());
        rows.push(Row { line, column, written: String::new(), option: String::new(), verdict: "wrong", why });
    }
    rows.sort_by_key(|r| (r.line, r.column));
    let ok = rows.iter().all(|r| r.verdict == "honoured" || r.verdict == "ignored");
    Report { script: name.to_owned(), ok, directives: rows }
}

fn place(mistake: &Mistake) -> (usize, usize) {
    match mistake.origin {
        Origin::Directive { line, column } => (line, column),
        Origin::CommandLine => (0, 0),
    }
}

fn row(given: &Given) -> Row {
    let (line, column) = match given.origin {
        Origin::Directive { line, column } => (line, column),
        Origin::CommandLine => (0, 0),
    };
    let (verdict, why) = match given.option.support {
        Support::Honoured => ("honoured", None),
        Support::Ignored(why) => ("ignored", Some(why.to_owned())),
        Support::Refused(why) => ("refused", Some(why.to_owned())),
    };
    let separate = !given.value.is_empty() && !given.written.contains(&given.value);
    let written = if separate { format!("{} {}", given.written, given.value) } else { given.written.clone() };
    Row { line, column, written, option: format!("--{}", given.option.long), verdict, why }
}
