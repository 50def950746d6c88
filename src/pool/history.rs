//! `muster history`: what ran, when, where, how it ended, and what it used.

use super::Which;
use super::client::{Client, Failed, exit};
use super::table::{cpu, memory, relative, span, table};
use muster_scheduler::accounting::Past;
use std::fmt::Write;
use std::process::ExitCode;

/// What to list.
#[derive(clap::Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    which: Which,
    /// One job's attempts
    job: Option<u32>,
    /// At most so many, the newest first
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    most: u32,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &HistoryArgs) -> ExitCode {
    exit(list(args))
}

fn list(args: &HistoryArgs) -> Result<(), Failed> {
    let of = args.job.map_or(String::new(), |job| format!("&job={job}"));
    let path = format!("/v1/history?most={}{of}", args.most);
    let rows: Vec<Past> = Client::new(&args.which.pool()).get(&path)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows encode"));
        return Ok(());
    }
    print!("{}", text(&rows));
    Ok(())
}

/// A row for each attempt, and why it could not start where it could not.
pub(crate) fn text(rows: &[Past]) -> String {
    let cells = |past: &Past| {
        let ran = past.started_ms.zip(past.ended_ms).map(|(from, to)| span((to - from) / 1000));
        let exit = past.exit_code.zip(past.signal).map(|(code, signal)| format!("{code}:{signal}"));
        let outcome = past.outcome.clone().unwrap_or_else(|| "not over".into());
        let (name, user, hosts) = (past.name.clone(), past.user.clone(), past.hosts.clone());
        let ended = past.ended_ms.map_or("-".into(), relative);
        let none = || "-".to_owned();
        vec![
            past.job.clone(),
            past.attempt.to_string(),
            name,
            user,
            outcome,
            exit.unwrap_or_else(none),
            ran.unwrap_or_else(none),
            past.usage.map_or_else(none, |usage| cpu(usage.cpu_ms())),
            past.usage.map_or_else(none, |usage| memory(usage.peak_memory_kib.div_ceil(1024))),
            ended,
            hosts,
        ]
    };
    let heading =
        ["JOB", "ATTEMPT", "NAME", "USER", "OUTCOME", "EXIT", "RAN", "CPU", "MEMORY", "ENDED", "HOSTS"];
    let mut out = table(&heading, &[1, 6, 7, 8, 9], &rows.iter().map(cells).collect::<Vec<_>>());
    for past in rows {
        if let Some(why) = &past.why {
            let _ = writeln!(out, "job {}, attempt {}, could not start: {why}", past.job, past.attempt);
        }
    }
    out
}
