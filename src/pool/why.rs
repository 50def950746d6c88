//! `muster why N`: every reason why a job waits, and when it will start.

use super::Which;
use super::client::{Client, Failed, exit};
use super::table::relative;
use muster_scheduler::listing::{JobDetail, WhyRow};
use std::process::ExitCode;

/// Which job.
#[derive(clap::Args)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    which: Which,
    /// Its number
    job: u32,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &WhyArgs) -> ExitCode {
    exit(tell(args))
}

fn tell(args: &WhyArgs) -> Result<(), Failed> {
    let client = Client::new(&args.which.pool());
    let rows: Vec<WhyRow> = client.get(&format!("/v1/jobs/{}/why", args.job))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows encode"));
        return Ok(());
    }
    if rows.is_empty() {
        let detail: JobDetail = client.get(&format!("/v1/jobs/{}", args.job))?;
        let states: Vec<&str> = detail.rows.iter().map(|row| &row.state[..]).collect();
        println!("nothing of job {} waits: {}", args.job, states.join(", "));
        return Ok(());
    }
    for row in rows {
        let of = if row.elements > 1 {
            format!("{} elements of job {}", row.elements, row.job)
        } else {
            format!("job {}", row.job)
        };
        println!("{of}: {}", decision(&row));
        for (word, sentence) in &row.reasons {
            println!("  {word}: {sentence}");
        }
        match row.foretold_ms {
            Some(at) => println!("  it starts {} by the time limits of what runs and waits", relative(at)),
            None if row.decision != "refuse" => println!("  nothing foretells when it starts"),
            None => {}
        }
    }
    Ok(())
}

fn decision(row: &WhyRow) -> String {
    match (&row.decision[..], row.promised_ms) {
        ("reserve", Some(at)) => format!("is promised a start {}", relative(at)),
        ("preempt", _) => "waits for others to make room".into(),
        ("refuse", _) => "can never start as it is".into(),
        ("start", _) => "starts now".into(),
        _ => "waits".into(),
    }
}
