//! `muster hosts`, `muster hosts --revoke HOST`, `muster drain HOST`, `muster resume HOST`.

use super::Which;
use super::client::{Client, Failed, exit};
use super::table::{memory, table};
use muster_scheduler::api::Because;
use muster_scheduler::listing::HostRow;
use serde_json::Value;
use std::process::ExitCode;

/// How to list.
#[derive(clap::Args)]
pub(crate) struct HostsArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    /// Take the credential of a joined host back: its agent is cut off, and another may join under its name
    #[arg(long, value_name = "HOST")]
    revoke: Option<String>,
}

/// Which host, and why.
#[derive(clap::Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    which: Which,
    /// The host
    host: String,
    /// Why, for those who wonder
    #[arg(long, default_value = "")]
    reason: String,
}

/// Which host.
#[derive(clap::Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    which: Which,
    /// The host
    host: String,
}

pub(crate) fn run(args: &HostsArgs) -> ExitCode {
    exit(args.revoke.as_ref().map_or_else(|| list(args), |host| revoke(args, host)))
}

pub(crate) fn drain(args: &DrainArgs) -> ExitCode {
    let because = Because { reason: args.reason.clone() };
    let path = format!("/v1/hosts/{}/drain", args.host);
    exit(Client::new(&args.which.pool()).post::<_, Value>(&path, &because).map(drop))
}

pub(crate) fn resume(args: &ResumeArgs) -> ExitCode {
    let path = format!("/v1/hosts/{}/resume", args.host);
    exit(Client::new(&args.which.pool()).post::<_, Value>(&path, &Value::Null).map(drop))
}

fn revoke(args: &HostsArgs, host: &str) -> Result<(), Failed> {
    let path = format!("/v1/hosts/{host}/revoke");
    Client::new(&args.which.pool()).post::<_, Value>(&path, &Value::Null).map(drop)
}

/// How many thousand millions, if it is known.
fn thousand_millions(number: Option<u64>) -> String {
    number.map_or("-".to_owned(), |number| format!("{:.1}", number as f64 / 1e9))
}

fn list(args: &HostsArgs) -> Result<(), Failed> {
    let rows: Vec<HostRow> = Client::new(&args.which.pool()).get("/v1/hosts")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows encode"));
        return Ok(());
    }
    let cells = |row: &HostRow| {
        let domains: Vec<String> = row.domains.iter().map(ToString::to_string).collect();
        vec![
            row.host.clone(),
            row.state.clone(),
            format!("{}/{}", row.cores_held, row.cores),
            domains.join("+"),
            format!("{}/{}", memory(row.memory_held_mib), memory(row.memory_mib)),
            row.gpus.len().to_string(),
            thousand_millions(row.ceilings.map(|most| most.read_bytes_per_s)),
            thousand_millions(row.ceilings.map(|most| most.flops_per_s)),
            row.running.to_string(),
            row.partitions.join(","),
            row.labels.iter().cloned().chain(row.reason.clone()).collect::<Vec<_>>().join(" "),
        ]
    };
    let heading = [
        "HOST",
        "STATE",
        "CORES",
        "DOMAINS",
        "MEMORY",
        "GPUS",
        "GB/S",
        "GFLOP/S",
        "RUNS",
        "PARTITIONS",
        "NOTES",
    ];
    print!("{}", table(&heading, &[2, 4, 5, 6, 7, 8], &rows.iter().map(cells).collect::<Vec<_>>()));
    Ok(())
}
