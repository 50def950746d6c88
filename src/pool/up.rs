//! `muster up`: a controller and the agent of this host in one process, as an ordinary user and without configuration.
//!
//! Step 4 of a job's way (DESIGN section 4) begins here. The agent's end is a thread; what it started goes on when this
//! process ends, and is found again by the next.

use super::background::{self, host_name, interrupted};
use super::client::{Client, Failed, exit};
use super::config::Config;
use super::login::Login;
use super::{Which, token};
use crossbeam_channel::{Receiver, bounded, unbounded};
use muster_core::cluster::HostId;
use muster_core::payload::BlobId;
use muster_core::protocol::line::{FromHost, ToHost};
use muster_scheduler::api::Shared;
use muster_scheduler::door::Whose;
use muster_scheduler::network::Network;
use muster_scheduler::network::tokens::Right;
use muster_scheduler::network::wire::Invitation;
use muster_scheduler::pool::Pool;
use muster_worker::agent::{self, AgentConfig, Payloads};
use serde_json::Value;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

/// How long leases may last, in seconds.
pub(super) const LEASES: RangeInclusive<u32> = 3..=86_400;
/// How long who was told to end may take, in seconds: Slurm's KillWait has this limit.
pub(super) const KILL_WAITS: RangeInclusive<u32> = 0..=65_533;

fn of(range: &RangeInclusive<u32>) -> RangeInclusive<i64> {
    i64::from(*range.start())..=i64::from(*range.end())
}

/// How the pool comes up.
#[derive(clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    which: Which,
    /// Return when the pool answers; it goes on in the background, and tells what it has to say in STATE/pool.log
    #[arg(long)]
    detach: bool,
    /// This host's name in the pool [default: the system's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Let other hosts join at this address of this host; `off` to end that [default: where it was last; port 7461]
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    listen: Option<String>,
    /// Where this host is, or what data it may see: jobs can ask for it
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::join::label)]
    labels: Vec<String>,
    /// For how many seconds a host may go on unheard before what may run again is killed there, and runs elsewhere; for
    /// good, from the first time that the pool comes up [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(of(&LEASES)))]
    lease: Option<u32>,
    /// Kill what was told to end (SIGTERM, at its time limit or when it is cancelled or requeued) after so many seconds
    /// [default: as it was last; 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(of(&KILL_WAITS)))]
    kill_wait: Option<u32>,
}

/// Where a pool of all users listens that nobody has told where.
const HERE: &str = "127.0.0.1";

/// Scripts of jobs, out of the controller's own keeping.
struct Own(Arc<Shared>);

impl Payloads for Own {
    fn fetch(&self, id: BlobId) -> Result<Vec<u8>, String> {
        self.0.blobs.get(id).map_err(|error| format!("the script of this job cannot be read: {error}"))
    }
}

pub(crate) fn run(args: &UpArgs) -> ExitCode {
    exit(if args.detach { detach(args) } else { up(args) })
}

fn failed(error: impl ToString) -> Failed {
    Failed::new(error.to_string(), muster_worker::command::BAD_INPUT)
}

fn up(args: &UpArgs) -> Result<(), Failed> {
    muster_worker::files::raise();
    let state = args.which.dir();
    refuse_login(&state)?;
    let set = Config::read(&state)?;
    let whose = set.whose();
    if whose != Whose::Own && rustix::process::geteuid().is_root() {
        let what = "the controller of a pool of all users (users = \"all\") needs no power over them, so root does not run it: \
                    run `muster up` as a user of its own, and `muster join` as root on each host";
        return Err(failed(what));
    }
    let name = args.name.clone().or_else(|| set.name.clone()).unwrap_or_else(host_name);
    let times = (args.lease.or(set.lease_s), args.kill_wait.or(set.kill_wait_s));
    let mut pool = Pool::up(&state, times, whose.clone()).map_err(failed)?;
    pool.partition().map_err(failed)?;
    let (stop, stopped) = bounded::<()>(0);
    let asked = args.listen.as_deref().or(set.listen.as_deref());
    let (own, listen, agent, what) = if whose == Whose::Own {
        let (agent, what) = with_agent(&pool, (args, &set), (&state, &name), stopped)?;
        (name.as_str(), asked, Some(agent), what)
    } else {
        // Its hosts join it, that of its own machine, too.
        (
            "",
            asked.or(Some(HERE)),
            None,
            "jobs of every user; its hosts are those that root has join it".to_owned(),
        )
    };
    let network = pool.listen(own, listen).map_err(failed)?;
    let welcome = network.map(|network| welcome(&network, args.listen.is_some())).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let served = runtime.block_on(async {
        let ready = || {
            println!("the pool in {} is up: {what}", state.display());
            print!("{}", welcome.unwrap_or_default());
            println!("next: muster submit JOB.SH, muster queue, muster hosts; muster down ends it");
            let _ = std::io::stdout().flush();
        };
        pool.serve(ready, interrupted()).await.map_err(failed)
    });
    drop(stop);
    agent.into_iter().for_each(|agent| drop(agent.join()));
    pool.down();
    served
}

/// The agent of this host in the pool's own process, and what that is for people.
fn with_agent(
    pool: &Pool,
    (args, set): (&UpArgs, &Config),
    (state, name): (&Path, &str),
    stop: Receiver<()>,
) -> Result<(std::thread::JoinHandle<()>, String), Failed> {
    let shape = agent::shape(set.gpus.as_deref()).map_err(failed)?;
    let given = Some(&args.labels).filter(|labels| !labels.is_empty()).or(set.labels.as_ref());
    let labels = given.map(|labels| labels.iter().cloned().collect());
    let host = pool.host(name, shape.clone(), labels).map_err(failed)?;
    let config = AgentConfig {
        state: state.to_owned(),
        rules: pool.shared().rules,
        program: std::env::current_exe().map_err(failed)?,
        host: name.to_owned(),
        site: set.site(shape.gpus.len()),
    };
    Ok((start_agent(pool, host, config, stop)?, format!("host {name} with {} cores", shape.cores())))
}

/// Commands that are given here would not go to a pool that is here.
fn refuse_login(state: &Path) -> Result<(), Failed> {
    match Login::read(state).map_err(failed)? {
        None => Ok(()),
        Some(login) => Err(failed(format!(
            "this machine has logged in to the pool at {}: `muster logout` ends that, and --state DIR keeps another pool \
             beside it",
            login.place.address
        ))),
    }
}

/// What other hosts need to join. A token is made for whoever opens the door, not for a service that starts again, whose
/// words end in a log.
fn welcome(network: &Network, opened: bool) -> Result<String, Failed> {
    let place = network.place();
    if !opened {
        return Ok(format!("other hosts join at {place}: `muster token` makes a token for one\n"));
    }
    let token = network.make_token(Right::Join).map_err(failed)?;
    Ok(token::text(&Invitation { place, token: token.text().to_owned() }))
}

/// The agent of this host, on threads of this process.
fn start_agent(
    pool: &Pool,
    host: HostId,
    config: AgentConfig,
    stop: Receiver<()>,
) -> Result<std::thread::JoinHandle<()>, Failed> {
    let (to_host, hear) = unbounded::<ToHost>();
    let (say, said) = unbounded::<FromHost>();
    let engine = pool.engine().clone();
    engine.line(host, Box::new(move |to| drop(to_host.send(to)))).map_err(failed)?;
    std::thread::spawn(move || said.iter().try_for_each(|message| engine.host(host, message)));
    let own = Own(pool.shared().clone());
    Ok(std::thread::spawn(move || {
        if let Err(why) = agent::run(&config, &own, &say, &hear, &stop) {
            eprintln!("muster: error: the agent of this host: {why}");
        }
    }))
}

/// Starts the same in the background, and waits until it says that it is up.
fn detach(args: &UpArgs) -> Result<(), Failed> {
    let state = args.which.dir();
    refuse_login(&state)?;
    if let Ok(pool) = Client::new(&state).get::<Value>("/v1/pool") {
        return Err(failed(format!(
            "a pool is up in {}: {} jobs; `muster down` ends it",
            state.display(),
            pool["jobs"]
        )));
    }
    muster_worker::state::folder(&state, "").map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["up", "--state"]).arg(&state);
    if let Some(name) = &args.name {
        command.args(["--name", name]);
    }
    if let Some(listen) = &args.listen {
        command.args(["--listen", listen]);
    }
    for label in &args.labels {
        command.args(["--label", label]);
    }
    if let Some(lease) = args.lease {
        command.args(["--lease", &lease.to_string()]);
    }
    if let Some(kill_wait) = args.kill_wait {
        command.args(["--kill-wait", &kill_wait.to_string()]);
    }
    background::start(command, &state.join("pool.log"), "next:")
}
