//! The command `muster`: parses, calls, prints. One small file for each subcommand.

mod check;
mod doctor;
mod kernel;
mod ledger;
mod manual;
mod pool;
mod request;
mod run;
mod simulate;
mod topology;
mod verify;

use clap::{Parser, Subcommand};
use muster_kernels::command::CommandKernel;
use muster_kernels::group_by::GroupBy;
use muster_kernels::histogram::Histogram;
use muster_kernels::k_means::KMeans;
use muster_kernels::linreg::Linreg;
use muster_kernels::log_scan::LogScan;
use muster_kernels::moments::Moments;
use muster_kernels::monte_carlo::MonteCarlo;
use muster_kernels::quantile::Quantiles;
use muster_worker::program::Program;
use std::process::ExitCode;
use std::sync::LazyLock;

/// The built-in kernels.
static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| {
    vec![
        Program::of::<MonteCarlo>(),
        Program::of::<Moments>(),
        Program::of::<GroupBy>(),
        Program::of::<Histogram>(),
        Program::of::<Quantiles>(),
        Program::of::<Linreg>(),
        Program::of::<KMeans>(),
        Program::of::<LogScan>(),
        Program::of::<CommandKernel>(),
    ]
});

/// One virtual supercomputer out of the machines you have.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 110)]
struct Muster {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Compute a kernel here: a team of threads, or of MPI ranks
    Kernel(kernel::KernelArgs),
    /// Print what a kernel's words stand for; agents ask for it
    #[command(hide = true)]
    Describe {
        /// A kernel and its flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Run a job script here, without a daemon: the options of sbatch go before it
    Run(run::RunScriptArgs),
    /// Tell what becomes of every directive of a job script
    Check(check::CheckArgs),
    /// Compute blocks of an answer again and compare them with its receipt
    Verify(verify::VerifyArgs),
    /// Compute one block of an answer again and print its partial
    Replay(verify::ReplayArgs),
    /// Replay a workload trace under a policy, or under several to compare them
    Simulate(simulate::SimulateArgs),
    /// Show the NUMA domains of this host: cores, memory and distances, as teams are planned over them
    Topology(topology::TopologyArgs),
    /// Show the GPUs of this host, what drives them, and why one is not used
    Doctor(doctor::DoctorArgs),
    #[command(flatten)]
    Pool(pool::PoolCommand),
    /// Print completions for a shell
    Completions(manual::CompletionsArgs),
    /// Write manual pages
    Manual(manual::ManualArgs),
    /// List or remove the ledgers of unfinished work
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
}

fn main() -> ExitCode {
    match Muster::parse().command {
        Subcommands::Kernel(args) => kernel::run(args),
        Subcommands::Describe { words } => kernel::tell(&words),
        Subcommands::Run(args) => run::run(&args),
        Subcommands::Check(args) => check::run(&args),
        Subcommands::Verify(args) => verify::verify(&args),
        Subcommands::Replay(args) => verify::replay(&args),
        Subcommands::Simulate(args) => simulate::run(&args),
        Subcommands::Topology(args) => topology::run(&args),
        Subcommands::Doctor(args) => doctor::run(&args),
        Subcommands::Ledger(command) => ledger::run(&command),
        Subcommands::Completions(args) => manual::completions(&args),
        Subcommands::Manual(args) => manual::manual(&args),
        Subcommands::Pool(command) => pool::run(&command),
    }
}
