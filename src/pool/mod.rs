//! The commands of a pool: bringing it up, submitting to it, and asking what it does.

mod background;
mod client;
mod clients;
mod config;
mod down;
mod history;
mod hosts;
mod install;
mod job;
mod join;
mod journal;
mod kept;
mod login;
mod logs;
mod queue;
mod submit;
mod table;
mod token;
mod typed;
mod up;
mod why;

use client::Failed;
use muster_worker::command::BAD_INPUT;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is done with a pool.
#[derive(clap::Subcommand)]
pub(crate) enum PoolCommand {
    /// Bring up a pool: the controller, and the agent of this host
    Up(up::UpArgs),
    /// Make this machine a host of a pool on another
    Join(join::JoinArgs),
    /// Print a token, with which one more host may join the pool, or one machine log in to it
    Token(token::TokenArgs),
    /// Give commands to a pool on another machine, from this one
    Login(login::LoginArgs),
    /// Give them no more
    Logout(Which),
    /// List the machines that have logged in to the pool
    Clients(clients::ClientsArgs),
    /// End the pool; its jobs are kept
    Down(Which),
    /// Submit a script, a command or a kernel to the pool's queue: the options of sbatch go before it
    Submit(submit::SubmitArgs),
    /// List what runs and what waits
    Queue(queue::QueueArgs),
    /// Show everything about a job
    Show(job::ShowArgs),
    /// Tell every reason why a job waits, and when it will start
    Why(why::WhyArgs),
    /// Print the output of a job
    Logs(logs::LogsArgs),
    /// Cancel jobs, or elements of them
    Cancel(job::JobsArgs),
    /// Hold jobs that wait
    Hold(job::JobsArgs),
    /// Release jobs that are held
    Release(job::JobsArgs),
    /// End jobs that run, and run them again
    Requeue(job::JobsArgs),
    /// List what ran, and how it ended
    History(history::HistoryArgs),
    /// List the pool's hosts
    Hosts(hosts::HostsArgs),
    /// Start nothing new on a host
    Drain(hosts::DrainArgs),
    /// Start jobs on a host again
    Resume(hosts::ResumeArgs),
    /// Tell every key of the configuration file, with its unit, its default and what it is set to
    Config(config::ConfigArgs),
    /// Write a unit of systemd that keeps the pool up
    Install(install::InstallArgs),
    /// Check, copy or export the journal
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Hold what an agent starts; agents start it
    #[command(hide = true)]
    Shepherd(Which),
    /// Start the daemon of an mpirun on another host of its job; mpirun starts it, in the place of ssh
    #[command(hide = true)]
    Launch {
        /// A host and a command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// Where a pool of all users of a machine has its state.
const EVERYBODYS: &str = "/var/lib/muster";

/// Which pool.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Which {
    /// The pool's state directory [default: MUSTER_STATE, else ~/.local/state/muster; where no pool is there, commands go to
    /// that of all users of this machine, in /var/lib/muster]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

impl Which {
    /// Its state directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(muster_worker::state::dir)
    }

    /// The state directory of the pool that commands go to: the user's own, or else that of all users of this machine.
    pub(crate) fn pool(&self) -> PathBuf {
        let own = self.dir();
        let named =
            self.state.is_some() || std::env::var_os("MUSTER_STATE").is_some_and(|set| !set.is_empty());
        let is_up = |state: &Path| muster_scheduler::home::socket(state).exists();
        let has_own = is_up(&own) || !matches!(login::Login::read(&own), Ok(None));
        let everybodys = Path::new(EVERYBODYS);
        if named || has_own || !is_up(everybodys) { own } else { everybodys.to_owned() }
    }
}

pub(crate) fn run(command: &PoolCommand) -> ExitCode {
    match command {
        PoolCommand::Up(args) => up::run(args),
        PoolCommand::Join(args) => join::run(args),
        PoolCommand::Token(args) => token::run(args),
        PoolCommand::Login(args) => login::run(args),
        PoolCommand::Logout(which) => login::log_out(which),
        PoolCommand::Clients(args) => clients::run(args),
        PoolCommand::Down(which) => down::run(which),
        PoolCommand::Submit(args) => submit::run(args),
        PoolCommand::Queue(args) => queue::run(args),
        PoolCommand::Show(args) => job::show(args),
        PoolCommand::Why(args) => why::run(args),
        PoolCommand::Logs(args) => logs::run(args),
        PoolCommand::Cancel(args) => job::change(args, "cancel"),
        PoolCommand::Hold(args) => job::change(args, "hold"),
        PoolCommand::Release(args) => job::change(args, "release"),
        PoolCommand::Requeue(args) => job::change(args, "requeue"),
        PoolCommand::History(args) => history::run(args),
        PoolCommand::Hosts(args) => hosts::run(args),
        PoolCommand::Drain(args) => hosts::drain(args),
        PoolCommand::Resume(args) => hosts::resume(args),
        PoolCommand::Config(args) => config::run(args),
        PoolCommand::Install(args) => install::run(args),
        PoolCommand::Journal(command) => journal::run(command),
        PoolCommand::Launch { words } => launch(words),
        PoolCommand::Shepherd(which) => match muster_worker::agent::shepherd(&which.dir()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("muster: error: {why}");
                ExitCode::FAILURE
            }
        },
    }
}

/// As a remote shell does: the words after the host are a line for a shell there.
fn launch(words: &[String]) -> ExitCode {
    let Some((host, command)) = words.split_first() else {
        return Failed::new("launch needs a host and a command", BAD_INPUT).report();
    };
    match muster_worker::agent::launch(&muster_worker::state::dir(), host, command.join(" ")) {
        Ok(code) => ExitCode::from(code),
        Err(why) => Failed::new(why, 1).report(),
    }
}
