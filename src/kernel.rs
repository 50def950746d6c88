//! `muster kernel NAME`: computes a kernel here.

use crate::PROGRAMS;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};
use muster_worker::command::{self, Ranks, RunArgs};
use std::process::ExitCode;

/// The kernel's name, its flags, and how to run it.
pub(crate) struct KernelArgs {
    name: String,
    matches: ArgMatches,
}

impl FromArgMatches for KernelArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (name, matches) = matches.subcommand().expect("clap demands a kernel");
        Ok(KernelArgs { name: name.to_owned(), matches: matches.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for KernelArgs {
    fn augment_args(command: Command) -> Command {
        command
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand_value_name("NAME")
            .subcommand_help_heading("Kernels")
            .disable_help_subcommand(true)
            .subcommands(PROGRAMS.iter().map(|p| (p.command)()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Subcommand for KernelArgs {
    fn augment_subcommands(command: Command) -> Command {
        Self::augment_args(command)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }

    fn has_subcommand(name: &str) -> bool {
        PROGRAMS.iter().any(|p| p.name == name)
    }
}

pub(crate) fn run(args: KernelArgs) -> ExitCode {
    let program = PROGRAMS.iter().find(|p| p.name == args.name).expect("clap knows the programs alone");
    let run = match RunArgs::from_arg_matches(&args.matches) {
        Ok(run) => run,
        Err(error) => error.exit(),
    };
    match (program.resolve)(&args.matches) {
        Ok(described) => command::execute(described, &PROGRAMS, &run, Ranks::Ours),
        Err(problems) => command::report(&problems),
    }
}
