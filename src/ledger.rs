//! `muster ledger list|prune`: the ledgers of unfinished work under the state directory.

use clap::Subcommand;
use muster_worker::ledger::{self, Listed};
use muster_worker::{command, state};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do with ledgers.
#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    /// List them
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        /// The state directory [default: MUSTER_STATE, else ~/.local/state/muster]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Remove those named, or all; one that is in use stays
    Prune {
        /// Names, as `muster ledger list` prints them, or their beginnings
        #[arg(value_name = "NAME", required_unless_present = "all")]
        names: Vec<String>,
        /// Remove all
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// The state directory [default: MUSTER_STATE, else ~/.local/state/muster]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
}

pub(crate) fn run(command: &LedgerCommand) -> ExitCode {
    match command {
        LedgerCommand::List { json, state } => list(*json, &root(state.as_ref())),
        LedgerCommand::Prune { names, all, state } => prune(names, *all, &root(state.as_ref())),
    }
}

fn root(state: Option<&PathBuf>) -> PathBuf {
    state.cloned().unwrap_or_else(state::dir).join("ledgers")
}

fn list(json: bool, root: &std::path::Path) -> ExitCode {
    let all = ledger::list(root);
    if json {
        println!("{}", serde_json::to_string_pretty(&all).expect("a list encodes"));
        return ExitCode::SUCCESS;
    }
    if all.is_empty() {
        println!("no unfinished work under {}", root.display());
        return ExitCode::SUCCESS;
    }
    println!("{:<32}  {:<12} {:>16} {:>10}  state", "name", "kernel", "blocks", "bytes");
    for Listed { key, kernel, round, done, blocks, bytes, held_by, .. } in &all {
        let kernel = kernel.as_deref().unwrap_or("unreadable");
        let state =
            held_by.as_ref().map_or("unfinished".to_owned(), |pid| format!("in use by process {pid}"));
        let round = round.map_or_else(String::new, |round| format!(", round {round}"));
        let done = format!("{done} of {blocks}{round}");
        println!("{key:<32}  {kernel:<12} {done:>16} {bytes:>10}  {state}");
    }
    ExitCode::SUCCESS
}

fn prune(names: &[String], all: bool, root: &std::path::Path) -> ExitCode {
    let mut failed = false;
    let listed = ledger::list(root);
    for name in names.iter().filter(|n| !listed.iter().any(|l| l.key.starts_with(*n))) {
        eprintln!("muster: error: there is no ledger {name}; `muster ledger list` shows those there are");
        failed = true;
    }
    for ledger in listed.iter().filter(|l| all || names.iter().any(|n| l.key.starts_with(n))) {
        if let Some(pid) = &ledger.held_by {
            eprintln!("muster: error: {} is in use by process {pid}", ledger.key);
            failed = true;
        } else if let Err(error) = std::fs::remove_dir_all(root.join(&ledger.key)) {
            eprintln!("muster: error: cannot remove {}: {error}", ledger.key);
            failed = true;
        } else {
            println!("removed {}", ledger.key);
        }
    }
    if failed { ExitCode::from(command::BAD_INPUT) } else { ExitCode::SUCCESS }
}
