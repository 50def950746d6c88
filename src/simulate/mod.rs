//! `muster simulate TRACE.swf[.gz]`: what would have become of a trace's jobs under a policy.
//!
//! The schedules are those of the scheduler's own code (`muster_core::policy`); only reading, timing and printing is here.

mod figures;
mod plot;

use figures::{Figures, Resized, Resizes, Source};
use muster_core::cluster::{Hosts, Shape, synthetic};
use muster_core::policy::Policy;
use muster_core::protocol::journal;
use muster_core::trace::journal::log as of_journal;
use muster_core::trace::malleable::{self, Share};
use muster_core::trace::on_hosts::replay_on;
use muster_core::trace::replay::{Mode, Schedule, replay};
use muster_core::trace::report::{Report, start_lines};
use muster_core::trace::swf::{self, Log, MAX_PROCS};
use muster_core::trace::{Trace, TraceOptions};
use muster_kernels::{Problem, Problems};
use muster_worker::command;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Malformed lines that are told one by one.
const TOLD: usize = 20;

/// Which trace, which policies, and what to make of them.
#[derive(clap::Args)]
#[command(after_help = "\
Policies: default (the one that is shipped: unicep by run times predicted from each user's last jobs, with a bound on \
how long a job may be overtaken), fcfs, easy, easy-sjf, cons (conservative backfilling), and KEY+easy, which orders \
the queue by KEY (sjf, saf, sqf, wfp3, unicep, f1, f2, f3, f4; the lowest first). Times are those of the trace, in \
seconds. A job's processors are field 8 of the trace, else field 5; its estimate is field 9, else its run time. Jobs \
that did not run, that took no processors or more than there are, are left out and counted. The schedule's hash is the \
first 16 digits of SHA-256 over what --out writes.")]
pub(crate) struct SimulateArgs {
    /// The trace in the Standard Workload Format, or a copy of a journal of muster's; plain or packed with gzip
    trace: PathBuf,
    /// The policy; several, with commas between them or given again, are compared [default: easy]
    #[arg(long, short, value_name = "POLICY", value_delimiter = ',')]
    policy: Vec<String>,
    /// The same as several policies
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "policy")]
    compare: Vec<String>,
    /// When the policy is asked: once for each moment (batch), or after each arrival and each end (per-event)
    #[arg(long, value_enum, default_value = "batch", value_name = "MODE")]
    mode: ModeName,
    /// Replay only the first N jobs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    first: Option<u64>,
    /// Processors of the machine [default: MaxProcs in the trace's header]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PROCS)))]
    procs: Option<u32>,
    /// Replay on N hosts that are alike, with a CPU of theirs for each processor of a job
    #[arg(
        long,
        value_name = "N",
        requires = "shape",
        conflicts_with = "procs",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    hosts: Option<u32>,
    /// What each of the hosts has: DOMAINSxCORES[xMEMORY][x[TYPE:]GPUS], such as 2x32 or 2x32x256Gxa100:4
    #[arg(long, value_name = "SHAPE", requires = "hosts")]
    shape: Option<String>,
    /// Let every estimate be the run time
    #[arg(long)]
    perfect: bool,
    /// Let SHARE of the jobs (0.2 or 20%) change their sizes while they run, from half to twice what they asked for;
    /// under easy, batch
    #[arg(long, value_name = "SHARE", value_parser = str::parse::<Share>, conflicts_with = "hosts")]
    malleable: Option<Share>,
    /// What a resize costs: so many seconds of all the processors of the job
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "malleable")]
    resize_cost: u32,
    /// Leave malformed lines out, and count them
    #[arg(long)]
    lenient: bool,
    /// Write the start times to FILE, `id start` a line
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw waits and utilisation over time into FILE, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print one JSON object; an array of them for several policies
    #[arg(long)]
    json: bool,
}

/// When the policy is asked.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ModeName {
    Batch,
    PerEvent,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Mode {
        match name {
            ModeName::Batch => Mode::Batch,
            ModeName::PerEvent => Mode::PerEvent,
        }
    }
}

pub(crate) fn run(args: &SimulateArgs) -> ExitCode {
    match simulate(args) {
        Ok(printed) => {
            print!("{printed}");
            ExitCode::SUCCESS
        }
        Err(problems) => command::report(&problems),
    }
}

/// Does it all, and returns what is to be printed.
fn simulate(args: &SimulateArgs) -> Result<String, Problems> {
    let policies = policies(args)?;
    let cluster = cluster(args)?;
    let began = Instant::now();
    let (trace, malformed) = read(args, cluster.as_ref())?;
    let read_s = began.elapsed().as_secs_f64();
    let source = Source { path: &args.trace, trace: &trace, malformed };
    let mut drawn = Vec::new();
    let mut figures = Vec::new();
    for policy in policies {
        let began = Instant::now();
        let (schedule, resized) = schedule(&trace, policy, args, cluster.as_ref())?;
        let wall_s = read_s + began.elapsed().as_secs_f64();
        let report = Report::new(&trace, &schedule);
        let resized = resized.map(|resized| Resized::new(&trace, &schedule, resized));
        if let Some(out) = &args.out {
            write(out, "--out", &start_lines(&trace, &schedule))?;
        }
        figures.push(Figures::new(&source, (policy, args.mode.into()), (report, resized), wall_s));
        drawn.push((policy, schedule));
    }
    if let Some(path) = &args.plot {
        write(path, "--plot", &plot::svg(&trace, &drawn))?;
    }
    Ok(if args.json { figures::json(&figures) } else { figures::text(&source, &figures) })
}

/// The schedule of one policy, on a cluster where there is one, and how it was resized if it was.
fn schedule(
    trace: &Trace,
    policy: Policy,
    args: &SimulateArgs,
    cluster: Option<&Cluster>,
) -> Result<(Schedule, Option<Resizes>), Problems> {
    if let Some(share) = args.malleable {
        let replayed = malleable::replay(trace, share, args.resize_cost);
        let resizes = replayed.resizes.iter().map(|resizes| u64::from(*resizes)).sum();
        return Ok((replayed.schedule, Some((share, args.resize_cost, resizes))));
    }
    let Some(cluster) = cluster else { return Ok((replay(trace, policy, args.mode.into()), None)) };
    let schedule = replay_on(cluster.hosts.clone(), trace, policy, args.mode.into());
    Ok((schedule.map_err(|why| Problem::new("--hosts", why.to_string()))?, None))
}

/// Hosts that are alike, and how many CPUs they have together.
struct Cluster {
    hosts: Hosts,
    cpus: u32,
}

/// The cluster that `--hosts` and `--shape` describe.
fn cluster(args: &SimulateArgs) -> Result<Option<Cluster>, Problems> {
    let (Some(count), Some(text)) = (args.hosts, &args.shape) else { return Ok(None) };
    let shape = Shape::parse(text).map_err(|why| Problem::new("--shape", why.to_string()))?;
    let cpus = shape.cores().checked_mul(count).filter(|cpus| *cpus <= MAX_PROCS);
    let Some(cpus) = cpus else {
        let what = format!("{count} hosts of {} CPUs are more than {MAX_PROCS} processors", shape.cores());
        return Err(Problem::new("--hosts", what).hint("ask for fewer hosts").into());
    };
    let hosts = synthetic(count, &shape).map_err(|why| Problem::new("--shape", why.to_string()))?;
    Ok(Some(Cluster { hosts, cpus }))
}

/// The policies that were named, each once.
fn policies(args: &SimulateArgs) -> Result<Vec<Policy>, Problems> {
    let (flag, names) =
        if args.compare.is_empty() { ("--policy", &args.policy) } else { ("--compare", &args.compare) };
    let mut problems = Vec::new();
    let mut policies = Vec::new();
    for name in names {
        match name.trim().parse::<Policy>() {
            Ok(policy) if policies.contains(&policy) => {}
            Ok(policy) => policies.push(policy),
            Err(unknown) => problems.push(Problem::new(flag, unknown.to_string())),
        }
    }
    if args.out.is_some() && names.len() > 1 {
        let what = format!("takes the start times of one policy, and there are {}", names.len());
        problems.push(Problem::new("--out", what).hint("run muster simulate once for each"));
    }
    let easy = "easy".parse().expect("it is a policy");
    let rigid = policies.iter().find(|policy| **policy != easy).map(Policy::to_string);
    let rigid = rigid.or(matches!(args.mode, ModeName::PerEvent).then(|| "--mode per-event".to_owned()));
    if let (Some(_), Some(rigid)) = (args.malleable, rigid) {
        let what = format!("works with --policy easy and --mode batch, not with {rigid}");
        problems.push(Problem::new("--malleable", what).hint("run muster simulate once for each"));
    }
    Problems::check(problems)?;
    if policies.is_empty() {
        policies.push(easy);
    }
    Ok(policies)
}

/// The trace, and how many lines of its file are malformed.
fn read(args: &SimulateArgs, cluster: Option<&Cluster>) -> Result<(Trace, usize), Problems> {
    let place = args.trace.display().to_string();
    let bytes = std::fs::read(&args.trace).map_err(|why| {
        Problem::new(&place, format!("cannot be read: {why}")).hint("give the path of a trace")
    })?;
    let bytes = swf::unpack(bytes).map_err(|why| Problem::new(&place, why.to_string()))?;
    let log = if bytes.starts_with(journal::MAGIC) {
        let log = journal::unpack(&bytes).and_then(of_journal);
        log.map_err(|why| Problem::new(&place, why.to_string()))?
    } else {
        swf::read(&bytes)
    };
    if !args.lenient {
        Problems::check(malformed(&place, &log))?;
    }
    let first = args.first.map(|first| usize::try_from(first).unwrap_or(usize::MAX));
    let options = TraceOptions {
        first,
        procs: args.procs.or(cluster.map(|cluster| cluster.cpus)),
        perfect: args.perfect,
    };
    let trace = Trace::new(&log, options).map_err(|why| Problem::new(&place, why.to_string()))?;
    Ok((trace, log.malformed.len()))
}

/// A problem for each malformed line, up to a number that can be read.
fn malformed(place: &str, log: &Log) -> Vec<Problem> {
    let told = log.malformed.iter().take(TOLD);
    let mut problems: Vec<Problem> =
        told.map(|m| Problem::new(format!("{place}:{}", m.line), m.what.to_string())).collect();
    if log.malformed.len() > TOLD {
        let more = log.malformed.len() - TOLD;
        problems.push(Problem::new(place, format!("{more} more lines are malformed")));
    }
    if let Some(last) = problems.pop() {
        problems.push(last.hint("--lenient leaves malformed lines out"));
    }
    problems
}

fn write(path: &Path, flag: &str, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text)
        .map_err(|why| Problem::new(flag, format!("cannot write {}: {why}", path.display())))
}
