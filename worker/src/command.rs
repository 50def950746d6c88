//! `muster kernel NAME` and `mpirun -n N muster-rank NAME`: the flags around a kernel's own, and what they start.
//!
//! Step 8 of a job's way (DESIGN section 4), as a command.

use crate::agent;
use crate::foreman::{Answered, Foreman, ForemanError, Mark, Outcome, Request, mark};
use crate::launch::{self, Launch, MpiLaunch, ProgramLaunch};
use crate::ledger::{Header, Ledger, LedgerError};
use crate::link::Line;
use crate::pool_foreman::{PoolForeman, is_whole_job, step_around};
use crate::program::{Described, Program};
use crate::progress::{Event, Progress, Style};
use crate::receipt::{Answer, Receipt, write_atomically};
use crate::state;
use crossbeam_channel::{Receiver, unbounded};
use muster_core::protocol::ledger::StepId;
use muster_core::protocol::line::HostShare;
use muster_spec::quantity::Bytes;
use muster_spec::{Problem, Problems};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Bad input: nothing was computed, nothing is lost.
pub const BAD_INPUT: u8 = 2;
/// Interrupted; the ledger holds what is done.
pub const INTERRUPTED: u8 = 130;

/// How and where to run a kernel.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
#[command(next_help_heading = "How to run it")]
pub struct RunArgs {
    /// Ranks of an MPI team, started with mpirun [default: SLURM_NTASKS in a job, else a team of threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    ranks: Option<u32>,
    /// What a rank is: a process (mpi) or a thread group of this process (threads)
    #[arg(long, value_enum)]
    team: Option<TeamKind>,
    /// Threads in each rank [default: the cores of its share of the host]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
    /// Hosts of an MPI team, in mpirun's hostfile format
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// Teams to start at most, when teams are lost
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: u32,
    /// Go on from the ledger of an earlier run that did not end
    #[arg(long, conflicts_with = "fresh")]
    resume: bool,
    /// Forget the ledger of an earlier run that did not end
    #[arg(long)]
    fresh: bool,
    /// Keep no ledger: a loss of anything starts the work again
    #[arg(long, conflicts_with = "resume")]
    no_ledger: bool,
    /// How to show progress
    #[arg(long, value_enum, default_value = "auto", value_name = "STYLE")]
    progress: Style,
    /// Tell on which CPUs each pool's threads ran, and on which NUMA domain the memory lay that they folded in
    #[arg(long)]
    placement: bool,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
    /// Write the answer to FILE, whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the receipt to FILE [default: receipts/ in the state directory]
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Memory that each rank may use for data, such as 512M; acts by smaller tiles and less that is kept between rounds,
    /// and changes no bit [default: half of what is free, shared by the ranks of a host]
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<Bytes>,
    /// The state directory [default: MUSTER_STATE, else ~/.local/state/muster]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// What a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
enum TeamKind {
    Threads,
    Mpi,
}

/// Where the ranks come from.
pub enum Ranks {
    /// The foreman starts them, of the built-in kernels.
    Ours,
    /// The foreman starts them, of the program that the job was described by.
    Theirs(PathBuf),
    /// They are there: this process is rank 0 of so many, and this is the line to its main thread.
    Given(Line, u32),
}

impl RunArgs {
    /// Whether a step of a script may have its ledger and its hosts from the pool: where it names its own, it has those.
    fn may_be_step(&self, ranks: &Ranks) -> bool {
        let own_team = self.ranks.is_some() || self.team.is_some() || self.hosts.is_some();
        let own_ledger = self.no_ledger || self.fresh || self.state.is_some();
        !own_team && !own_ledger && !matches!(ranks, Ranks::Given(..))
    }
}

/// Computes a described job and prints its answer.
pub fn execute(described: Described, programs: &'static [Program], args: &RunArgs, ranks: Ranks) -> ExitCode {
    let interrupts = interrupts();
    let pipe = progress_pipe();
    let mut progress = Progress::new(args.progress, pipe);
    match compute(described, programs, args, (ranks, &interrupts, &mut progress)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(progress);
            eprintln!("{}", error.text());
            ExitCode::from(error.code())
        }
    }
}

/// Prints problems the way every command does.
pub fn report(problems: &Problems) -> ExitCode {
    eprintln!("{}", CommandError::BadInput(problems.clone()).text());
    ExitCode::from(BAD_INPUT)
}

/// Who keeps what is done.
enum Keeper {
    Ledger,
    Pool,
    Nobody,
}

/// Why a command failed.
enum CommandError {
    BadInput(Problems),
    Ledger(LedgerError),
    Foreman(ForemanError),
    Interrupted { kept: Mark, by: Keeper },
    Output { path: PathBuf, why: std::io::Error },
}

impl CommandError {
    fn code(&self) -> u8 {
        match self {
            CommandError::BadInput(_) | CommandError::Ledger(_) | CommandError::Output { .. } => BAD_INPUT,
            CommandError::Foreman(ForemanError::BadInput(_)) => BAD_INPUT,
            CommandError::Foreman(_) => 1,
            CommandError::Interrupted { .. } => INTERRUPTED,
        }
    }

    fn text(&self) -> String {
        let all = |problems: &Problems| {
            let lines: Vec<String> = problems.0.iter().map(|p| format!("muster: error: {p}")).collect();
            lines.join("\n")
        };
        match self {
            CommandError::BadInput(problems) | CommandError::Foreman(ForemanError::BadInput(problems)) => {
                all(problems)
            }
            CommandError::Ledger(error) => format!("muster: error: {error}"),
            CommandError::Foreman(error) => format!("muster: error: {error}"),
            CommandError::Interrupted { kept, by: Keeper::Pool } => {
                format!("muster: interrupted; the pool keeps {kept} for as long as the job may run again")
            }
            CommandError::Interrupted { kept, by: Keeper::Ledger } => format!(
                "muster: interrupted; {kept} are in the ledger\n\
                 muster: the same command with --resume goes on from there"
            ),
            CommandError::Interrupted { .. } => "muster: interrupted; no ledger was kept".into(),
            CommandError::Output { path, why } => {
                format!(
                    "muster: error: cannot write {}: {why}; the answer was not lost: it is below",
                    path.display()
                )
            }
        }
    }
}

impl From<ForemanError> for CommandError {
    fn from(error: ForemanError) -> Self {
        CommandError::Foreman(error)
    }
}

impl From<Problem> for CommandError {
    fn from(problem: Problem) -> Self {
        CommandError::BadInput(problem.into())
    }
}

type Shell<'a> = (Ranks, &'a Receiver<()>, &'a mut Progress);

fn compute(
    described: Described,
    programs: &'static [Program],
    args: &RunArgs,
    (ranks, interrupts, progress): Shell<'_>,
) -> Result<(), CommandError> {
    let began = Instant::now();
    let state = args.state.clone().unwrap_or_else(state::dir);
    check_outputs(args)?;
    let program = match &ranks {
        Ranks::Theirs(program) => Some(program.clone()),
        Ranks::Ours | Ranks::Given(..) => None,
    };
    let whole = is_whole_job();
    let step = step_around(&described, &state).filter(|_| whole || args.may_be_step(&ranks));
    if let Some(step) = step {
        let of = (described.clone(), program);
        let done = compute_in_pool(of, (programs, args), (interrupts, progress), step);
        let why = match done {
            Err(CommandError::Foreman(ForemanError::Unkept(why))) if !whole => why,
            done => return done,
        };
        let text = format!("{why}: this step keeps its ledger on this host");
        progress.tell(&Event::Warning { text });
    }
    let launch = match ranks {
        Ranks::Ours => Some(choose_launch(args, &state, None, progress)?),
        Ranks::Theirs(ref program) => Some(choose_launch(args, &state, Some(program), progress)?),
        Ranks::Given(..) => None,
    };
    warn_of_crowding(args, launch.as_ref(), progress);
    let ledger = open_ledger(&described, args, &state, progress)?;
    let kept = ledger.is_some();
    let request = request(described, args);
    let mut tell = |event| progress.tell(&event);
    let mut foreman = Foreman::new(&request, ledger, &mut tell, interrupts);
    let outcome = match (launch, ranks) {
        (Some(launch), _) => foreman.run(&launch, programs)?,
        (None, Ranks::Given(line, _)) => foreman.run_given(line)?,
        (None, _) => unreachable!("ranks that the foreman starts have a launch"),
    };
    let answered = match outcome {
        Outcome::Answered(answered) => answered,
        Outcome::Interrupted(mark) => {
            let by = if kept { Keeper::Ledger } else { Keeper::Nobody };
            return Err(CommandError::Interrupted { kept: mark, by });
        }
    };
    let answer = give((&request.described, &answered), args, &state, began)?;
    foreman.close();
    progress.tell(&Event::Answer { kernel: answer.kernel, hash: answer.hash });
    Ok(())
}

fn request(described: Described, args: &RunArgs) -> Request {
    Request {
        threads: args.threads.or_else(threads_of_job),
        memory_limit: args.memory_limit.map(|b| b.0),
        simd: std::env::var("MUSTER_SIMD").ok(),
        placement: args.placement,
        max_attempts: args.max_attempts,
        described,
    }
}

/// Gives the answer out, with its receipt.
fn give(
    (described, answered): (&Described, &Answered),
    args: &RunArgs,
    state: &Path,
    began: Instant,
) -> Result<Answer, CommandError> {
    let mut answer = Answer::new(described, answered, began.elapsed().as_secs_f64());
    let receipt = Receipt::new(described, answered, &answer);
    answer.receipt = write_receipt(&receipt, described, args, state)?;
    deliver(&answer, args)?;
    Ok(answer)
}

/// The same as a kernel step of a pool: on the hosts that it gives, with the ledger in its keeping.
fn compute_in_pool(
    (described, program): (Described, Option<PathBuf>),
    (programs, args): (&'static [Program], &RunArgs),
    (interrupts, progress): (&Receiver<()>, &mut Progress),
    step: StepId,
) -> Result<(), CommandError> {
    let began = Instant::now();
    let state = args.state.clone().unwrap_or_else(state::dir);
    let run_dir = state::folder(&state, "run").map_err(|why| Problem::new("--state", why))?;
    let laid =
        program.as_ref().filter(|program| program.starts_with(agent::programs(&agent::agent_of(&state))));
    let named = laid.and_then(|program| program.file_name()).map(PathBuf::from);
    let launcher = |shares: &[HostShare]| match &named {
        // Each host has it in a folder of its own: by its name alone it is found there.
        Some(named) if shares.len() > 1 => pool_launch(shares, Some(named), &run_dir),
        _ => pool_launch(shares, program.as_deref(), &run_dir),
    };
    let request = request(described, args);
    let mut tell = |event| progress.tell(&event);
    let foreman = PoolForeman::new(&request, (programs, &launcher), &mut tell, interrupts, (&state, step));
    match foreman.run()? {
        Outcome::Answered(answered) => {
            let answer = give((&request.described, &answered), args, &state, began)?;
            progress.tell(&Event::Answer { kernel: answer.kernel, hash: answer.hash });
            Ok(())
        }
        Outcome::Interrupted(kept) => Err(CommandError::Interrupted { kept, by: Keeper::Pool }),
    }
}

/// How to start a team of a kernel step on hosts of its pool, the batch host, which is this one, first.
fn pool_launch(shares: &[HostShare], program: Option<&Path>, run_dir: &Path) -> Result<Launch, String> {
    let ranks = shares.iter().map(|share| share.tasks.max(1) as usize).sum::<usize>().max(1);
    let mpi = ranks > 1 || program.is_some();
    if !mpi {
        return Ok(Launch::Threads { ranks });
    }
    let mpirun = launch::find_mpirun().ok_or("mpirun is not on PATH here, and a team of ranks needs it")?;
    let run_dir = run_dir.to_owned();
    let slurm = false;
    if shares.len() < 2 {
        let program = program.map(Path::to_owned).or_else(launch::find_rank_program);
        let program = program.ok_or("muster-rank is not beside muster here, nor on PATH")?;
        return Ok(Launch::Mpi(MpiLaunch { ranks, mpirun, program, hosts: None, slurm, run_dir }));
    }
    // By a path it would look for its daemon under the same path on each host.
    let named = std::env::var_os("MUSTER_MPIRUN").is_none();
    let mpirun = if named { PathBuf::from("mpirun") } else { mpirun };
    // By its name alone it is found on each host beside that host's muster.
    let program = program.map_or_else(|| PathBuf::from("muster-rank"), Path::to_owned);
    let hosts = run_dir.join(format!("hosts-{}", std::process::id()));
    agent::write_hosts(&hosts, shares.iter().map(|share| (&*share.name, share.tasks)))
        .map_err(|e| format!("cannot write {}: {e}", hosts.display()))?;
    Ok(Launch::Mpi(MpiLaunch { ranks, mpirun, program, hosts: Some(hosts), slurm, run_dir }))
}

/// Refuses outputs that cannot be written before any work is done.
fn check_outputs(args: &RunArgs) -> Result<(), CommandError> {
    for (flag, path) in [("--output", &args.output), ("--receipt", &args.receipt)] {
        let Some(path) = path else { continue };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let refuse = |why: String| Problem::new(flag, format!("cannot write {}: {why}", path.display()));
        if path.is_dir() {
            return Err(refuse("it is a directory".into()).into());
        }
        if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            continue;
        }
        let probe = folder.join(format!(".muster-probe-{}", std::process::id()));
        std::fs::write(&probe, b"x").map_err(|e| refuse(e.to_string()))?;
        let _ = std::fs::remove_file(&probe);
    }
    Ok(())
}

/// Decides how to start the team.
fn choose_launch(
    args: &RunArgs,
    state: &Path,
    program: Option<&Path>,
    progress: &mut Progress,
) -> Result<Launch, CommandError> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u32>().ok());
    let ours = std::env::var_os("MUSTER_RUN").is_some();
    let slurm = !ours && std::env::var_os("SLURM_JOB_ID").is_some();
    let of_job = number("SLURM_NTASKS").or_else(|| slurm.then(|| number("SLURM_JOB_NUM_NODES")).flatten());
    let asked = args.ranks.is_some() || args.hosts.is_some() || args.team == Some(TeamKind::Mpi);
    let ranks = args.ranks.or(of_job.filter(|_| ours || slurm)).unwrap_or(1) as usize;
    let run_dir = || state::folder(state, "run").map_err(|why| Problem::new("--state", why));
    let threads = || {
        let own = program.map(|p| Ok::<_, Problem>((p.to_owned(), run_dir()?))).transpose()?;
        let launch = own.map(|(program, run_dir)| Launch::Program(ProgramLaunch { ranks, program, run_dir }));
        Ok(launch.unwrap_or(Launch::Threads { ranks }))
    };
    if args.team == Some(TeamKind::Threads) || (!asked && ranks == 1) {
        return threads();
    }
    if let Some(hosts) = &args.hosts {
        std::fs::metadata(hosts)
            .map_err(|e| Problem::new("--hosts", format!("cannot read {}: {e}", hosts.display())))?;
    }
    let program = program.map(Path::to_owned).or_else(launch::find_rank_program);
    let (mpirun, program) = match (launch::find_mpirun(), program) {
        (Some(mpirun), Some(program)) => (mpirun, program),
        (mpirun, _) => {
            let lack = match mpirun {
                None => Problem::new("mpirun", "not found, and a team of processes needs it")
                    .hint("on Debian or Ubuntu: apt install openmpi-bin libopenmpi-dev; or --team threads"),
                Some(_) => Problem::new("muster-rank", "not found beside muster or on PATH")
                    .hint("cargo build --release -p muster-rank; or --team threads"),
            };
            if asked {
                return Err(lack.into());
            }
            progress.tell(&Event::Warning { text: format!("{lack}; going on with a team of threads") });
            return threads();
        }
    };
    let (hosts, run_dir) = (args.hosts.clone(), run_dir()?);
    Ok(Launch::Mpi(MpiLaunch { ranks, mpirun, program, hosts, slurm, run_dir }))
}

/// The threads of each rank that the job script asked for.
fn threads_of_job() -> Option<u32> {
    std::env::var("SLURM_CPUS_PER_TASK").ok()?.parse().ok().filter(|&n| n > 0)
}

fn warn_of_crowding(args: &RunArgs, launch: Option<&Launch>, progress: &mut Progress) {
    let ranks = match launch {
        Some(Launch::Threads { ranks } | Launch::Program(ProgramLaunch { ranks, .. })) => *ranks,
        Some(Launch::Mpi(mpi)) if mpi.hosts.is_none() && !mpi.slurm => mpi.ranks,
        _ => return,
    };
    // Counts what this process may run on, without the time that a whole topology takes.
    let cores = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    let threads = ranks * args.threads.or_else(threads_of_job).unwrap_or(1) as usize;
    if threads > cores {
        let text = format!("{threads} threads in {ranks} ranks share {cores} cores");
        progress.tell(&Event::Warning { text });
    }
}

fn open_ledger(
    described: &Described,
    args: &RunArgs,
    state: &Path,
    progress: &mut Progress,
) -> Result<Option<Ledger>, CommandError> {
    if args.no_ledger {
        return Ok(None);
    }
    let root = match state::folder(state, "ledgers") {
        Ok(root) => root,
        Err(why) if !args.resume => {
            progress.tell(&Event::Warning { text: format!("{why}; going on without a ledger") });
            return Ok(None);
        }
        Err(why) => return Err(Problem::new("--resume", why).into()),
    };
    let header = Header {
        kernel: described.kernel.clone(),
        class: described.class,
        spec_json: described.identity_json.clone(),
        grid: described.grid,
        inputs: described.inputs.clone(),
        program: described.program.as_ref().map(|p| p.hash.clone()),
    };
    let dir = root.join(&described.spec_hash);
    let fresh = args.fresh && dir.exists();
    let mut ledger = match Ledger::open(&dir, &header) {
        Err(LedgerError::InputChanged { .. } | LedgerError::OtherBuild | LedgerError::Foreign { .. })
            if fresh =>
        {
            std::fs::remove_dir_all(&dir).map_err(|why| CommandError::Output { path: dir.clone(), why })?;
            Ledger::open(&dir, &header).map_err(CommandError::Ledger)?
        }
        opened => opened.map_err(CommandError::Ledger)?,
    };
    let restarted = std::env::var("SLURM_RESTART_COUNT").is_ok_and(|n| n != "0");
    let begun = !ledger.book().is_new();
    if begun && args.fresh {
        ledger.clear().map_err(CommandError::Ledger)?;
    } else if begun && !args.resume && !restarted {
        let left = mark(described, ledger.book());
        let what = format!("an earlier run of this job left {left} in its ledger");
        return Err(Problem::new("ledger", what)
            .hint("--resume goes on from there, --fresh starts again")
            .into());
    }
    Ok(Some(ledger))
}

fn write_receipt(
    receipt: &Receipt,
    described: &Described,
    args: &RunArgs,
    state: &Path,
) -> Result<Option<PathBuf>, CommandError> {
    let json = serde_json::to_string_pretty(receipt).expect("a receipt encodes") + "\n";
    if let Some(path) = &args.receipt {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        return match write_atomically(path, &json) {
            Ok(()) => Ok(Some(absolute)),
            Err(why) => Err(CommandError::Output { path: absolute, why }),
        };
    }
    // Without a place of the user's choice, an answer without a receipt is better than none.
    let Ok(folder) = state::folder(state, "receipts") else { return Ok(None) };
    let path = folder.join(format!("{}-{}.json", described.kernel, described.spec_hash));
    Ok(write_atomically(&path, &json).is_ok().then_some(path))
}

fn deliver(answer: &Answer, args: &RunArgs) -> Result<(), CommandError> {
    let text = if args.json { answer.to_json() } else { answer.to_text() };
    let print = |text: &str| {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    };
    let Some(path) = &args.output else {
        return print(&text).map_err(|why| CommandError::Output { path: "standard output".into(), why });
    };
    write_atomically(path, &text).map_err(|why| {
        // The work is done: a full disk must not lose it.
        let _ = print(&text);
        CommandError::Output { path: path.clone(), why }
    })
}

/// The pipe to `muster run`, when there is one.
fn progress_pipe() -> Option<std::fs::File> {
    let fd: i32 = std::env::var(crate::progress::PROGRESS_FD).ok()?.parse().ok()?;
    std::fs::OpenOptions::new().append(true).open(format!("/proc/self/fd/{fd}")).ok()
}

/// Hears of every SIGINT and SIGTERM.
fn interrupts() -> Receiver<()> {
    let (send, receive) = unbounded();
    // Without a handler the default stays: the process ends, and the ledger has what was committed.
    let _ = on_interrupt(move || send.send(()).is_ok());
    receive
}

/// Calls `each` at every SIGINT and SIGTERM, on a thread of its own, until it returns false.
///
/// # Errors
/// When the operating system allows no handler.
pub fn on_interrupt(mut each: impl FnMut() -> bool + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || signals.forever().take_while(|_| each()).for_each(drop));
    Ok(())
}
