//! `muster up`: a controller and the agent of this host in one process, as an ordinary user and without configuration.
//!
//! Step 4 of a job's way (DESIGN section 4) begins here. The agent's end is a thread; what it started goes on when this
//! process ends, and is found again by the next.

use super::background::{self, host_name, interrupted};
use super::client::{Client, Failed, exit};
use super::{Which, token};
use crossbeam_channel::{Receiver, bounded, unbounded};
use muster_core::cluster::HostId;
use muster_core::payload::BlobId;
use muster_core::protocol::line::{FromHost, ToHost};
use muster_scheduler::api::Shared;
use muster_scheduler::network::Network;
use muster_scheduler::network::wire::Invitation;
use muster_scheduler::pool::Pool;
use muster_worker::agent::{self, AgentConfig, Payloads};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::Arc;

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
    /// For how many seconds a host may go on unheard before what may run again is killed there, and runs elsewhere; for
    /// good, from the first time that the pool comes up [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(3..=86_400))]
    lease: Option<u32>,
    /// Kill what was told to end (SIGTERM, at its time limit or when it is cancelled or requeued) after so many seconds
    /// [default: as it was last; 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=65_533))]
    kill_wait: Option<u32>,
}

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
    let shape = agent::shape().map_err(failed)?;
    let name = args.name.clone().unwrap_or_else(host_name);
    let mut pool = Pool::up(&state, (args.lease, args.kill_wait)).map_err(failed)?;
    let host = pool.host(&name, shape.clone()).map_err(failed)?;
    let config = AgentConfig {
        state: state.clone(),
        rules: pool.shared().rules,
        program: std::env::current_exe().map_err(failed)?,
        host: name.clone(),
    };
    let network = pool.listen(&name, args.listen.as_deref()).map_err(failed)?;
    let welcome = network.map(|network| welcome(&network, args.listen.is_some())).transpose()?;
    let (stop, stopped) = bounded::<()>(0);
    let agent = start_agent(&pool, host, config, stopped)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let served = runtime.block_on(async {
        let cores = shape.cores();
        let ready = || {
            println!("the pool in {} is up: host {name} with {cores} cores", state.display());
            print!("{}", welcome.unwrap_or_default());
            println!("next: muster submit JOB.SH, muster queue, muster hosts; muster down ends it");
            let _ = std::io::stdout().flush();
        };
        pool.serve(ready, interrupted()).await.map_err(failed)
    });
    drop(stop);
    let _ = agent.join();
    pool.down();
    served
}

/// What other hosts need to join. A token is made for whoever opens the door, not for a service that starts again, whose
/// words end in a log.
fn welcome(network: &Network, opened: bool) -> Result<String, Failed> {
    let place = network.place();
    if !opened {
        return Ok(format!("other hosts join at {place}: `muster token` makes a token for one\n"));
    }
    let token = network.make_token().map_err(failed)?;
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
    if let Some(lease) = args.lease {
        command.args(["--lease", &lease.to_string()]);
    }
    if let Some(kill_wait) = args.kill_wait {
        command.args(["--kill-wait", &kill_wait.to_string()]);
    }
    background::start(command, &state.join("pool.log"), "next:")
}
