//! `muster token`: a token, with which one more host may join, or one machine log in.

use super::Which;
use super::client::{Client, Failed, exit};
use muster_scheduler::network::wire::{Invitation, Wanted};
use std::process::ExitCode;

/// Of which pool.
#[derive(clap::Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    which: Which,
    /// For `muster login`: a machine that gives commands, and is no host of the pool
    #[arg(long)]
    login: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TokenArgs) -> ExitCode {
    exit(print(args))
}

fn print(args: &TokenArgs) -> Result<(), Failed> {
    let invitation: Invitation =
        Client::new(&args.which.pool()).post("/v1/tokens", &Wanted { login: args.login })?;
    if args.json {
        println!("{}", serde_json::to_string(&invitation).expect("texts encode"));
    } else if args.login {
        print!("{}", for_login(&invitation));
    } else {
        print!("{}", text(&invitation));
    }
    Ok(())
}

fn for_login(invitation: &Invitation) -> String {
    format!(
        "on the machine that is to give commands:\nmuster login {}\nit asks for this token, which is good once and for ten \
         minutes:\n{}\nwhoever logs in with it runs jobs as you: give it to nobody else\n",
        invitation.place, invitation.token
    )
}

/// The line to paste, and the token, each alone on its line.
pub(super) fn text(invitation: &Invitation) -> String {
    format!(
        "on the host that is to join:\nmuster join {}\nit asks for this token, which is good for one host and ten \
         minutes:\n{}\na token is your shell on each host that joins with it: give it to nobody else\n",
        invitation.place, invitation.token
    )
}
