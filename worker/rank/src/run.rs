//! What a rank program does: takes part in a foreman's team or is the whole of it, leads a team that was started by
//! hand, describes a job, or computes blocks of an answer again.

use crate::mpi_comm::MpiComm;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use muster_kernels::{Problem, Problems};
use muster_worker::comm::Comm;
use muster_worker::command::{self, Ranks, RunArgs};
use muster_worker::description::Description;
use muster_worker::launch::{FOREMAN, THREAD_RANKS, lead_threads};
use muster_worker::link::{Link, within_process};
use muster_worker::program::{Described, Program, ProgramFile};
use muster_worker::team;
use muster_worker::verify::{self, ReplayArgs, VerifyArgs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// The package of the built-in kernels.
const BUILT_IN: &str = env!("CARGO_PKG_NAME");

/// Runs the rank program of `package` that has these kernels.
///
/// * Under a foreman (`MUSTER_FOREMAN` is set): folds what it is told, as one rank of an MPI team, or without MPI as a
///   team of threads (`MUSTER_THREAD_RANKS` says of how many ranks).
/// * `PROGRAM [NAME] FLAGS`: one rank of a team that was started by hand; rank 0 prints the answer. The name may be
///   left out where there is one kernel.
/// * `PROGRAM describe [NAME] FLAGS`: prints the resolved request as JSON, without MPI.
/// * `PROGRAM verify RECEIPT`, `PROGRAM replay RECEIPT BLOCK`: as `muster` does for the built-in kernels.
pub fn main_of(programs: &'static [Program], package: &'static str) -> ExitCode {
    if let Some(socket) = std::env::var_os(FOREMAN) {
        return match std::env::var(THREAD_RANKS).map(|ranks| ranks.parse()) {
            Ok(Ok(ranks)) => serve_threads(programs, &socket, ranks),
            _ => serve(programs, &socket),
        };
    }
    let words: Vec<String> = std::env::args().collect();
    match act(programs, package, words) {
        Ok(code) => code,
        Err(error) => {
            // Every rank reads the same words: one of them complains.
            if !error.use_stderr() || first_by_environment() {
                let _ = error.print();
            }
            ExitCode::from(if error.use_stderr() { command::BAD_INPUT } else { 0 })
        }
    }
}

/// Does what the command line says.
fn act(
    programs: &'static [Program],
    package: &'static str,
    mut words: Vec<String>,
) -> Result<ExitCode, clap::Error> {
    match words.get(1).map(String::as_str) {
        Some("verify") => {
            let matches =
                VerifyArgs::augment_args(Command::new("verify")).try_get_matches_from(&words[1..])?;
            Ok(verify::verify(programs, &VerifyArgs::from_arg_matches(&matches)?))
        }
        Some("replay") => {
            let matches =
                ReplayArgs::augment_args(Command::new("replay")).try_get_matches_from(&words[1..])?;
            Ok(verify::replay(programs, &ReplayArgs::from_arg_matches(&matches)?))
        }
        Some("describe") => {
            words.remove(1);
            let (program, matches) = parse(programs, package, words)?;
            let run = RunArgs::from_arg_matches(&matches)?;
            Ok(match resolve(program, package, &matches) {
                Ok(described) => {
                    let description = Description::new(described, run);
                    println!(
                        "{}",
                        serde_json::to_string_pretty(&description).expect("a description encodes")
                    );
                    ExitCode::SUCCESS
                }
                Err(problems) => command::report(&problems),
            })
        }
        _ => {
            let (program, matches) = parse(programs, package, words)?;
            let run = RunArgs::from_arg_matches(&matches)?;
            Ok(by_hand(programs, &run, || resolve(program, package, &matches)))
        }
    }
}

/// The request that parsed flags stand for; a user's program goes with it.
fn resolve(program: &Program, package: &str, matches: &ArgMatches) -> Result<Described, Problems> {
    let mut described = (program.resolve)(matches)?;
    if package != BUILT_IN {
        let file = ProgramFile::running()
            .map_err(|e| Problem::new(package, format!("the program's own file cannot be read: {e}")))?;
        described.program = Some(file);
    }
    Ok(described)
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
    package: &'static str,
    mut words: Vec<String>,
) -> Result<(&'static Program, ArgMatches), clap::Error> {
    let version = concat!("of muster ", env!("CARGO_PKG_VERSION"));
    if let [only] = programs {
        if words.get(1).is_some_and(|word| word == only.name) {
            words.remove(1);
        }
        let matches = (only.command)().name(package).version(version).try_get_matches_from(words)?;
        return Ok((only, matches));
    }
    let top = Command::new(package)
        .about("One rank of a Muster team: start it with mpirun -n N")
        .version(version)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(programs.iter().map(|p| (p.command)()));
    let matches = top.try_get_matches_from(words)?;
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

/// Is the whole team of a foreman, which this process does not outlive: the line between them ends with either.
fn serve_threads(programs: &'static [Program], socket: &std::ffi::OsStr, ranks: usize) -> ExitCode {
    let link = match UnixStream::connect(socket).and_then(Link::over) {
        Ok(link) => link,
        Err(error) => return fail(&format!("cannot reach the foreman: {error}")),
    };
    match lead_threads(ranks, programs, link) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// One rank of a team that was started by hand; rank 0 is its own foreman, on a thread.
fn by_hand(
    programs: &'static [Program],
    run: &RunArgs,
    resolve: impl FnOnce() -> Result<Described, Problems>,
) -> ExitCode {
    let mut comm = match MpiComm::start() {
        Ok(comm) => comm,
        Err(error) => return fail(&error.to_string()),
    };
    if comm.rank() > 0 {
        return end(team::run(&mut comm, programs, None), comm);
    }
    let described = match resolve() {
        Ok(described) => described,
        Err(problems) => {
            let _ = command::report(&problems);
            // The others wait for a job that will not come.
            comm.abort();
        }
    };
    let (link, line) = within_process();
    let (ranks, args) = (comm.size() as u32, run.clone());
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
