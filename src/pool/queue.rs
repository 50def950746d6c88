//! `muster queue`: what runs and what waits.

use super::Which;
use super::client::{Client, Failed, exit};
use super::table::{now_ms, span, table};
use muster_scheduler::listing::JobRow;
use std::process::ExitCode;

/// What to list.
#[derive(clap::Args)]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    which: Which,
    /// Also what is over and still remembered
    #[arg(short, long)]
    all: bool,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &QueueArgs) -> ExitCode {
    exit(list(args))
}

fn list(args: &QueueArgs) -> Result<(), Failed> {
    let rows: Vec<JobRow> = Client::new(&args.which.pool()).get(&format!("/v1/jobs?all={}", args.all))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows encode"));
    } else if rows.is_empty() {
        println!(
            "nothing runs and nothing waits: `muster submit JOB.SH` submits, `muster history` lists what was"
        );
    } else {
        print!("{}", text(&rows));
    }
    Ok(())
}

/// A row for each job, or group of elements.
pub(crate) fn text(rows: &[JobRow]) -> String {
    let heading = ["JOB", "NAME", "USER", "PARTITION", "STATE", "TIME", "LIMIT", "CPUS", "WHERE OR WHY"];
    let cells = |row: &JobRow| {
        let end = row.ended_ms.unwrap_or_else(now_ms);
        let time = row.started_ms.map_or("-".to_owned(), |started| span((end - started) / 1000));
        let place = match (&row.reason, &row.exit) {
            (Some(reason), _) if row.elements > 1 => format!("({reason}) x {}", row.elements),
            (Some(reason), _) => format!("({reason})"),
            (None, Some((code, signal))) if (*code, *signal) != (0, 0) => format!("exit {code}:{signal}"),
            _ => row.hosts.clone(),
        };
        let limit = row.limit_s.map_or("-".to_owned(), |s| span(s as i64));
        let state = row.state.clone();
        let (name, user, partition) = (row.name.clone(), row.user.clone(), row.partition.clone());
        vec![row.job.clone(), name, user, partition, state, time, limit, row.cpus.to_string(), place]
    };
    table(&heading, &[5, 6, 7], &rows.iter().map(cells).collect::<Vec<_>>())
}
