//! What a rank program does: takes part in a foreman's team, leads a team that was started by hand, or describes a
//! job.

use crate::mpi_comm::MpiComm;
use clap::{ArgMatches, Command, FromArgMatches};
use muster_worker::comm::Comm;
use muster_worker::command::{self, Ranks, RunArgs};
use muster_worker::launch::FOREMAN;
use muster_worker::link::{Link, within_process};
use muster_worker::program::{Described, Program};
use muster_worker::team;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Runs a rank program that has these kernels.
///
/// * Under a foreman (`MUSTER_FOREMAN` is set): folds what it is told.
/// * `PROGRAM [NAME] FLAGS`: one rank of a team that was started by hand; rank 0 prints the answer. The name may be
///   left out where there is one kernel.
/// * `PROGRAM describe [NAME] FLAGS`: prints the resolved request as JSON, without MPI.
pub fn main_of(programs: &'static [Program]) -> ExitCode {
    if let Some(socket) = std::env::var_os(FOREMAN) {
        return serve(programs, &socket);
    }
    let words: Vec<String> = std::env::args().collect();
    let describe = words.get(1).is_some_and(|w| w == "describe");
    let rest = words.iter().skip(1 + usize::from(describe)).cloned();
    let (program, matches) = match parse(programs, words[0].clone(), rest) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Every rank reads the same words: one of them complains.
            if !error.use_stderr() || first_by_environment() {
                let _ = error.print();
            }
            return ExitCode::from(if error.use_stderr() { command::BAD_INPUT } else { 0 });
        }
    };
    if describe {
        return match (program.resolve)(&matches) {
            Ok(described) => {
                println!("{}", serde_json::to_string_pretty(&described).expect("a description encodes"));
                ExitCode::SUCCESS
            }
            Err(problems) => command::report(&problems),
        };
    }
    by_hand(programs, program, &matches)
}

/// Whether this is rank 0, as far as a launcher has said so in the environment.
fn first_by_environment() -> bool {
    ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .is_none_or(|rank| rank == "0")
}

fn parse(
    programs: &'static [Program],
    name: String,
    words: impl Iterator<Item = String>,
) -> Result<(&'static Program, ArgMatches), clap::Error> {
    let words: Vec<String> = words.collect();
    let top = Command::new("muster-rank")
        .about("One rank of a Muster team: start it with mpirun -n N")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(programs.iter().map(|p| (p.command)()));
    let named = words.first().is_some_and(|w| programs.iter().any(|p| p.name == w));
    let full = match programs {
        [only] if !named => [vec![name, only.name.to_owned()], words].concat(),
        _ => [vec![name], words].concat(),
    };
    let matches = top.try_get_matches_from(full)?;
    let (name, matches) = matches.subcommand().expect("a subcommand is required");
    let program = programs.iter().find(|p| p.name == name).expect("clap knows the programs alone");
    Ok((program, matches.clone()))
}

/// Takes part in the team of a foreman.
fn serve(programs: &'static [Program], socket: &std::ffi::OsStr) -> ExitCode {
    die_with_launcher();
    let mut comm = match MpiComm::start() {
        Ok(comm) => comm,
        Err(error) => return fail(&error.to_string()),
    };
    let mut link = None;
    if comm.rank() == 0 {
        match UnixStream::connect(socket).and_then(Link::over) {
            Ok(connected) => link = Some(connected),
            Err(error) => {
                eprintln!("muster-rank: error: cannot reach the foreman: {error}");
                comm.abort();
            }
        }
    }
    end(team::run(&mut comm, programs, link), comm)
}

/// One rank of a team that was started by hand; rank 0 is its own foreman, on a thread.
fn by_hand(programs: &'static [Program], program: &'static Program, matches: &ArgMatches) -> ExitCode {
    let mut comm = match MpiComm::start() {
        Ok(comm) => comm,
        Err(error) => return fail(&error.to_string()),
    };
    if comm.rank() > 0 {
        return end(team::run(&mut comm, programs, None), comm);
    }
    let args = RunArgs::from_arg_matches(matches).expect("clap has checked them");
    let described: Described = match (program.resolve)(matches) {
        Ok(described) => described,
        Err(problems) => {
            let _ = command::report(&problems);
            // The others wait for a job that will not come.
            comm.abort();
        }
    };
    let (link, line) = within_process();
    let ranks = comm.size() as u32;
    let foreman =
        std::thread::spawn(move || command::execute(described, programs, &args, Ranks::Given(line, ranks)));
    let ended = team::run(&mut comm, programs, Some(link));
    let code = foreman.join().unwrap_or(ExitCode::FAILURE);
    match ended {
        Ok(()) => code,
        Err(_) => comm.abort(),
    }
}

fn end(ended: Result<(), team::TeamError>, comm: MpiComm) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-rank: error: {error}");
            comm.abort();
        }
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("muster-rank: error: {why}");
    ExitCode::FAILURE
}

/// Asks to be killed when the launcher dies: a rank without one would wait for ever.
fn die_with_launcher() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if rustix::process::getppid().is_none_or(|parent| parent == rustix::process::Pid::INIT) {
        std::process::exit(1);
    }
}
