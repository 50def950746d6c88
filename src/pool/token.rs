//! `muster token`: a token, with which one more host may join.

use super::Which;
use super::client::{Client, Failed, exit};
use muster_scheduler::network::wire::Invitation;
use serde_json::Value;
use std::process::ExitCode;

/// Of which pool.
#[derive(clap::Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TokenArgs) -> ExitCode {
    exit(print(args))
}

fn print(args: &TokenArgs) -> Result<(), Failed> {
    let invitation: Invitation = Client::new(&args.which.dir()).post("/v1/tokens", &Value::Null)?;
    if args.json {
        println!("{}", serde_json::to_string(&invitation).expect("texts encode"));
    } else {
        print!("{}", text(&invitation));
    }
    Ok(())
}

/// The line to paste, and the token, each alone on its line.
pub(super) fn text(invitation: &Invitation) -> String {
    format!(
        "on the host that is to join:\nmuster join {}\nit asks for this token, which is good for one host and ten \
         minutes:\n{}\na token is your shell on each host that joins with it: give it to nobody else\n",
        invitation.place, invitation.token
    )
}
