//! `muster kernel NAME`: computes a kernel here, a built-in one or that of a program of the user's own.

use crate::PROGRAMS;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};
use muster_kernels::Problem;
use muster_worker::command::{self, Ranks, RunArgs};
use muster_worker::description::{Description, Told};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// What `--help` says of programs.
const OWN: &str = "In the place of NAME, a path such as ./target/release/my-rank computes the kernel of a program of \
your own;\ndocs/writing-a-kernel.md shows how to write one.";

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
            .allow_external_subcommands(true)
            .external_subcommand_value_parser(clap::value_parser!(OsString))
            .after_help(OWN)
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
    let Some(program) = PROGRAMS.iter().find(|p| p.name == args.name) else {
        let words = args.matches.get_many::<OsString>("").into_iter().flatten();
        return own(&args.name, &words.cloned().collect::<Vec<_>>());
    };
    let run = match RunArgs::from_arg_matches(&args.matches) {
        Ok(run) => run,
        Err(error) => error.exit(),
    };
    match (program.resolve)(&args.matches) {
        Ok(described) => command::execute(described, &PROGRAMS, &run, Ranks::Ours),
        Err(problems) => command::report(&problems),
    }
}

/// What words of `muster kernel` stand for; on standard error, what is wrong with them, and the exit code for that.
pub(crate) fn describe(words: &[String]) -> Result<Description, ExitCode> {
    let name = words.first().map_or("", |name| name);
    if name.contains('/') {
        let flags: Vec<OsString> = words[1..].iter().map(OsString::from).collect();
        let program = std::path::absolute(Path::new(name));
        let program = program.map_err(|e| command::report(&Problem::new(name, e.to_string()).into()))?;
        return match Description::ask(&program, &flags) {
            Ok(Told::Description(asked)) => Ok(*asked),
            Ok(Told::Done(code)) => Err(code),
            Err(problem) => Err(command::report(&problem.into())),
        };
    }
    let command = KernelArgs::augment_args(Command::new("muster kernel")).no_binary_name(true);
    let matches = command.try_get_matches_from(words).unwrap_or_else(|error| error.exit());
    let args = KernelArgs::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let Some(program) = PROGRAMS.iter().find(|p| p.name == args.name) else {
        return Err(own(&args.name, &[]));
    };
    let run = RunArgs::from_arg_matches(&args.matches).unwrap_or_else(|error| error.exit());
    let described = (program.resolve)(&args.matches).map_err(|problems| command::report(&problems))?;
    Ok(Description::new(described, run))
}

/// Prints what words stand for, as JSON: an agent asks so for the grid of input files.
pub(crate) fn tell(words: &[String]) -> ExitCode {
    match describe(words) {
        Ok(description) => {
            println!("{}", serde_json::to_string(&description).expect("a description encodes"));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Computes the kernel of a user's program: it says what its flags stand for, and this process is its foreman.
fn own(name: &str, words: &[OsString]) -> ExitCode {
    if !name.contains('/') {
        let names: Vec<&str> = PROGRAMS.iter().map(|p| p.name).collect();
        let what = format!("unrecognized subcommand '{name}': the kernels are {}", names.join(", "));
        let hint = format!("a program of your own is named by a path: ./{name}");
        return command::report(&Problem::new("kernel", what).hint(hint).into());
    }
    let program = match std::path::absolute(Path::new(name)) {
        Ok(program) => program,
        Err(error) => return command::report(&Problem::new(name, error.to_string()).into()),
    };
    match Description::ask(&program, words) {
        Ok(Told::Description(asked)) => {
            command::execute(asked.described, &PROGRAMS, &asked.run, Ranks::Theirs(program))
        }
        Ok(Told::Done(code)) => code,
        Err(problem) => command::report(&problem.into()),
    }
}
