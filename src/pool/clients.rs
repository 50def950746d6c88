//! `muster clients`, `muster clients --revoke CLIENT`: who may give commands over the network.

use super::Which;
use super::client::{Client, Failed, exit};
use super::table::table;
use muster_scheduler::network::clients::ClientRow;
use serde_json::Value;
use std::process::ExitCode;

/// How to list.
#[derive(clap::Args)]
pub(crate) struct ClientsArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    /// Take the credential of a client back
    #[arg(long, value_name = "CLIENT")]
    revoke: Option<String>,
}

pub(crate) fn run(args: &ClientsArgs) -> ExitCode {
    exit(args.revoke.as_ref().map_or_else(|| list(args), |client| revoke(args, client)))
}

fn revoke(args: &ClientsArgs, client: &str) -> Result<(), Failed> {
    let path = format!("/v1/clients/{client}/revoke");
    Client::new(&args.which.pool()).post::<_, Value>(&path, &Value::Null).map(drop)
}

fn list(args: &ClientsArgs) -> Result<(), Failed> {
    let rows: Vec<ClientRow> = Client::new(&args.which.pool()).get("/v1/clients")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows encode"));
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(|row| vec![row.client.clone()]).collect();
        print!("{}", table(&["CLIENT"], &[], &cells));
    }
    Ok(())
}
