//! The benchmark suite: every figure beside its ceiling or its peer, measured in the same run.
//!
//! `make bench` runs all; `make bench BENCH=team` one: monte-carlo, moments, k-means, group-by, log-scan, replay, queue,
//! agents, team, start.
//! Nothing is asserted here.

mod agents;
mod clusters;
mod logs;
mod measure;
mod memory;
mod pool;
mod process;
mod python;
mod queue;
mod replay;
mod tables;

use measure::{Series, pairs, say};
use muster_kernels::Simd;
use process::{Tool, tool};
use std::process::ExitCode;

/// Interleaved pairs behind every ratio.
const PAIRS: usize = 7;

type Bench = fn() -> Result<(), String>;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let all: [(&str, Bench); 10] = [
        ("monte-carlo", monte_carlo),
        ("moments", moments),
        ("k-means", clusters::k_means),
        ("group-by", tables::group_by),
        ("log-scan", logs::log_scan),
        ("replay", replay::replay),
        ("queue", queue::queue),
        ("agents", agents::agents),
        ("team", team),
        ("start", start),
    ];
    if let Some(unknown) = wanted.iter().find(|w| !all.iter().any(|(name, _)| name == w)) {
        eprintln!("benches: there is no {unknown}; there are {}", all.map(|a| a.0).join(", "));
        return ExitCode::from(2);
    }
    println!("{}", measure::machine());
    for (name, run) in
        all.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name))
    {
        println!("\n{name}");
        if let Err(why) = run() {
            println!("  left out: {why}");
        }
    }
    ExitCode::SUCCESS
}

/// The arithmetic Asian of 252 steps, f64, price only: path-steps a second against the same mathematics in C.
fn monte_carlo() -> Result<(), String> {
    const PATHS: u64 = 6_000_000;
    let muster = tool(Tool::Muster)?;
    let words = format!(
        "kernel monte-carlo --option asian --steps 252 --paths {PATHS} --no-ledger --threads 2 --progress none"
    );
    let steps = PATHS as f64 * 252.0;
    let ours = || process::answer(&muster, &words).map(|a| steps / a.fold_s / 1e6);
    for peer in ["asian_fast", "asian_plain", "asian_expert"] {
        let path = match tool(Tool::Peer(peer)) {
            Ok(path) => path,
            Err(why) => {
                println!("  {peer}: left out: {why}");
                continue;
            }
        };
        // Plain C is an order of magnitude slower: fewer paths say as much.
        let theirs_paths = if peer == "asian_plain" { PATHS / 6 } else { PATHS };
        let theirs = || process::peer_rate(&path, theirs_paths).map(|rate| rate / 1e6);
        let (a, b, ratio) = pairs(PAIRS, ours, theirs)?;
        say("muster", "M path-steps/s", &a);
        say(peer, "M path-steps/s", &b);
        say(&format!("muster / {peer}"), "times", &ratio);
    }
    let ceiling: Result<Series, String> = Series::of(PAIRS, || Ok(memory::normals_rate(2) / 1e6));
    say("ceiling: its normals alone", "M/s", &ceiling?);
    Ok(())
}

/// Moments of numbers in memory against the bandwidth of reading them.
fn moments() -> Result<(), String> {
    let numbers = memory::Numbers::new(2, 1 << 27);
    let forced = std::env::var(muster_kernels::simd::VARIABLE).ok();
    let simd = Simd::choose(forced.as_deref()).map_err(|p| p.to_string())?;
    let (a, b, ratio) = pairs(PAIRS, || Ok(numbers.moments(simd)), || Ok(numbers.read(simd)))?;
    say("moments, two threads", "GB/s", &a);
    say("ceiling: reading", "GB/s", &b);
    say("moments / reading", "times", &ratio);
    Ok(())
}

/// What the team and the ledger cost: a job of some ten seconds.
fn team() -> Result<(), String> {
    let muster = tool(Tool::Muster)?;
    let job = "kernel monte-carlo --option asian --steps 252 --paths 3e7 --fresh --progress none";
    let fold = |words: String| process::answer(&muster, &words).map(|a| a.fold_s);
    let processes = || fold(format!("{job} --no-ledger --ranks 2 --threads 1"));
    let threads = || fold(format!("{job} --no-ledger --team threads --threads 2"));
    let (a, b, ratio) = pairs(PAIRS, processes, threads)?;
    say("fold phase, two ranks", "s", &a);
    say("fold phase, two threads", "s", &b);
    say("ranks / threads", "times", &ratio);
    let cpu = |words: String| process::answer(&muster, &words).map(|a| a.cpu_s);
    let with = || cpu(format!("{job} --team threads --threads 2"));
    let without = || cpu(format!("{job} --no-ledger --team threads --threads 2"));
    let (a, b, ratio) = pairs(PAIRS, with, without)?;
    say("CPU time, ledger on", "s", &a);
    say("CPU time, ledger off", "s", &b);
    say("on / off", "times", &ratio);
    Ok(())
}

/// From command to answer: one European option of a million paths.
fn start() -> Result<(), String> {
    let muster = tool(Tool::Muster)?;
    let job = "kernel monte-carlo --option european --paths 1e6 --progress none";
    let wall = |words: String| process::answer(&muster, &words).map(|a| a.wall_s * 1e3);
    let (threads, version, _) =
        pairs(21, || wall(job.to_owned()), || process::bare(&muster).map(|s| s * 1e3))?;
    say("a team of threads", "ms", &threads);
    say("floor: muster --version", "ms", &version);
    let start = tool(Tool::Peer("mpi_start"))?;
    let (ranks, bare, ratio) = pairs(
        21,
        || wall(format!("{job} --ranks 2 --threads 1")),
        || process::two_ranks(&start).map(|s| s * 1e3),
    )?;
    say("two ranks through mpirun", "ms", &ranks);
    say("floor: an empty MPI program", "ms", &bare);
    say("two ranks / empty", "times", &ratio);
    Ok(())
}
