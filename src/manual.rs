//! `muster completions SHELL` and `muster manual DIR`: made from the definitions of the commands, so they say what is.

use clap::CommandFactory;
use clap_complete::Shell;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// For which shell.
#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Where to.
#[derive(clap::Args)]
pub(crate) struct ManualArgs {
    /// A directory, such as ~/.local/share/man/man1; it is made if it is not there
    directory: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut command = crate::Muster::command();
    clap_complete::generate(args.shell, &mut command, "muster", &mut io::stdout());
    ExitCode::SUCCESS
}

pub(crate) fn manual(args: &ManualArgs) -> ExitCode {
    let written = std::fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(crate::Muster::command(), &args.directory));
    match written {
        Ok(()) => {
            println!("{}: `man -M` with its parent finds muster and muster-submit", args.directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("muster: error: {}: {error}", args.directory.display());
            ExitCode::from(muster_worker::command::BAD_INPUT)
        }
    }
}
