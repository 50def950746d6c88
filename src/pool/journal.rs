//! `muster journal check|backup|export`: the journal's health, a copy of it, and its records for `muster simulate`.

use super::Which;
use super::client::{Failed, exit};
use muster_core::protocol::journal::pack;
use muster_scheduler::home::journal_of;
use muster_scheduler::journal;
use muster_scheduler::pool::fresh;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do with a journal. Its controller may be up meanwhile.
#[derive(clap::Subcommand)]
pub(crate) enum JournalCommand {
    /// Read it back, record by record, and say what it holds
    Check {
        #[command(flatten)]
        which: Which,
    },
    /// Copy it; to go back to a copy, end the pool and put it in the place of journal.db
    Backup {
        #[command(flatten)]
        which: Which,
        /// The copy, which must not be there
        file: PathBuf,
    },
    /// Write its records to a file, which `muster simulate` replays under any policy
    Export {
        #[command(flatten)]
        which: Which,
        /// The file
        file: PathBuf,
    },
}

pub(crate) fn run(command: &JournalCommand) -> ExitCode {
    exit(match command {
        JournalCommand::Check { which } => check(which),
        JournalCommand::Backup { which, file } => backup(which, file),
        JournalCommand::Export { which, file } => export(which, file),
    })
}

fn failed(error: impl ToString) -> Failed {
    Failed::new(error.to_string(), muster_worker::command::BAD_INPUT)
}

/// The journal of a pool, which must be there: to open it would make one.
fn of(which: &Which) -> Result<PathBuf, Failed> {
    let path = journal_of(&which.dir());
    if path.is_file() {
        Ok(path)
    } else {
        Err(failed(format!(
            "there is no journal {}: --state DIR or MUSTER_STATE names a pool",
            path.display()
        )))
    }
}

fn check(which: &Which) -> Result<(), Failed> {
    let path = of(which)?;
    let (records, standing) = journal::check_file(&path, fresh()).map_err(failed)?;
    let books = standing.desk.books();
    let (jobs, over) = (books.jobs().count(), books.jobs().filter(|job| job.ended().is_some()).count());
    println!("{}: {records} records, each as it was written and in order", path.display());
    println!(
        "term {}, {} hosts, {} jobs that are not over, {over} that are",
        standing.term.0,
        books.hosts().len(),
        jobs - over
    );
    Ok(())
}

fn backup(which: &Which, file: &Path) -> Result<(), Failed> {
    let path = of(which)?;
    if file.exists() {
        return Err(failed(format!("{} is there already: name another file", file.display())));
    }
    journal::backup(&path, file).map_err(failed)?;
    let (records, _) = journal::check_file(file, fresh()).map_err(failed)?;
    println!("{}: {records} records", file.display());
    Ok(())
}

fn export(which: &Which, file: &Path) -> Result<(), Failed> {
    let records = journal::all_records(&of(which)?).map_err(failed)?;
    let packed = pack(records.iter().map(Vec::as_slice));
    std::fs::write(file, packed).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    println!(
        "{}: {} records; `muster simulate {}` replays them",
        file.display(),
        records.len(),
        file.display()
    );
    Ok(())
}
