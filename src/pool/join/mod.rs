//! `muster join`: makes this machine a host of a pool that is up on another, and runs its agent.
//!
//! Step 7 of a job's way (DESIGN section 4), on the hosts that are not the controller's own. What the agent started goes on
//! when this process ends, and is found again by the next, which needs no token.

mod line;
mod membership;

use super::background::{self, host_name, interrupted};
use super::client::{Failed, exit};
use super::config::Config;
use super::{Which, typed};
use crossbeam_channel::{Receiver, bounded, unbounded};
use hyper::Method;
use line::End;
use membership::Membership;
use muster_core::payload::BlobId;
use muster_core::protocol::format::Format;
use muster_core::protocol::line::FromHost;
use muster_scheduler::network::client::{ClientError, Dialer, Place};
use muster_scheduler::network::secret::Secret;
use muster_scheduler::network::wire::{self, Described, Joining, MOST_MESSAGE};
use muster_worker::agent::{self, AgentConfig, Payloads, Site};
use muster_worker::command::BAD_INPUT;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Bytes;

/// Which pool, and as what.
#[derive(clap::Args)]
pub(crate) struct JoinArgs {
    /// The pool, as `muster token` prints it on the pool's host [default: the one that this host has joined]
    #[arg(value_name = "HOST:PORT#FINGERPRINT")]
    place: Option<Place>,
    #[command(flatten)]
    which: Which,
    /// Read the token from a file instead of a prompt or standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// This host's name in the pool [default: the system's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where this host is, or what data it may see: jobs can ask for it
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<String>,
    /// Return when the host has joined; its agent goes on in the background, and tells what it has to say in STATE/join.log
    #[arg(long)]
    detach: bool,
}

/// Where the pool is that this host has joined with a state directory.
pub(super) fn joined(state: &Path) -> Option<String> {
    Some(Membership::read(state).ok()??.place.address)
}

pub(super) fn label(text: &str) -> Result<String, String> {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "._-/".contains(c));
    match text.split_once('=') {
        Some((key, value)) if plain(key) && plain(value) => Ok(text.to_owned()),
        _ => Err("a label is KEY=VALUE, of letters, digits and `._-/`, for instance region=eu".into()),
    }
}

pub(crate) fn run(args: &JoinArgs) -> ExitCode {
    exit(join(args))
}

fn here(error: impl ToString) -> Failed {
    Failed::new(error.to_string(), BAD_INPUT)
}

fn join(args: &JoinArgs) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(here)?;
    let state = args.which.dir();
    muster_worker::state::folder(&state, "").map_err(here)?;
    let set = Config::read(&state)?;
    let shape = agent::shape(set.gpus.as_deref()).map_err(here)?;
    let site = set.site(shape.gpus.len());
    let (membership, fresh) = membership((args, &set), &state)?;
    let described = Described { shape, labels: membership.labels.clone() };
    let mut host = Host { membership, described, state, site };
    host.enter(&runtime, fresh, args.token_file.as_deref())?;
    if args.detach { host.detach() } else { host.serve(&runtime) }
}

/// What this host is to the pool: what it keeps of that, or what it is to be, with whether that is new.
fn membership((args, set): (&JoinArgs, &Config), state: &Path) -> Result<(Membership, bool), Failed> {
    let kept = Membership::read(state).map_err(here)?;
    let place = args.place.clone().or_else(|| Some(kept.as_ref()?.place.clone()));
    let none = "this host has joined no pool: paste the line that `muster token` prints on the pool's host";
    let place = place.ok_or_else(|| here(none))?;
    let named = args.name.clone().or_else(|| set.name.clone());
    let name = named.or_else(|| Some(kept.as_ref()?.name.clone())).unwrap_or_else(host_name);
    let given = if args.labels.is_empty() { set.labels.as_deref().unwrap_or_default() } else { &args.labels };
    let given: BTreeSet<String> = given.iter().cloned().collect();
    match kept {
        Some(kept) if kept.place.fingerprint == place.fingerprint && kept.name == name => {
            let labels = if given.is_empty() { kept.labels.clone() } else { given };
            Ok((Membership { place, labels, ..kept }, false))
        }
        Some(kept) if kept.rules.is_some() => {
            let what = format!(
                "{} is the state directory of host {} of the pool at {}: name another with --state DIR",
                state.display(),
                kept.name,
                kept.place.address
            );
            Err(here(what))
        }
        // What no pool has taken may be chosen anew.
        _ => {
            let credential = Secret::make().map_err(here)?;
            Ok((Membership { place, name, credential, labels: given, rules: None }, true))
        }
    }
}

/// This host, as it is to the pool.
struct Host {
    membership: Membership,
    described: Described,
    state: PathBuf,
    site: Site,
}

impl Host {
    fn dialer(&self) -> Result<Dialer, ClientError> {
        Dialer::new(&self.membership.place, Some(self.membership.credential.clone()))
    }

    /// Makes sure that the pool knows this host, with a token where it does not. A host that has joined waits for no pool.
    fn enter(&mut self, runtime: &Runtime, fresh: bool, token_file: Option<&Path>) -> Result<(), Failed> {
        if fresh {
            self.redeem(runtime, token_file)?;
        }
        let mut met = runtime.block_on(line::describe(&self.dialer()?, &self.described));
        let joined = self.membership.rules.is_some();
        if !fresh && met.as_ref().is_err_and(ClientError::is_unknown) {
            // One that was never taken may have been, and the answer lost.
            if joined {
                eprintln!("muster: the pool knows this host's credential no more: a token lets it join anew");
                self.membership.credential = Secret::make().map_err(here)?;
            }
            self.redeem(runtime, token_file)?;
            met = runtime.block_on(line::describe(&self.dialer()?, &self.described));
        }
        match met {
            Ok(greeting) => {
                self.membership.rules = Some(greeting.rules);
                self.membership.keep(&self.state).map_err(here)
            }
            Err(error) if joined && error.may_pass() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands in a token. The credential is kept before, so that it counts even if the answer is lost.
    fn redeem(&self, runtime: &Runtime, token_file: Option<&Path>) -> Result<(), Failed> {
        let Membership { place, name, credential, .. } = &self.membership;
        let anonymous = Dialer::new(place, None)?;
        // Nobody is asked for a token that cannot be handed in.
        drop(runtime.block_on(anonymous.connect())?);
        let token = typed::token(token_file, "muster token")?;
        self.membership.keep(&self.state).map_err(here)?;
        let joining =
            Joining { token: token.text().to_owned(), name: name.clone(), credential: credential.hash() };
        let body = serde_json::to_vec(&joining).expect("texts encode");
        runtime.block_on(anonymous.ask(Method::POST, wire::JOIN, body))?;
        Ok(())
    }

    /// Runs the agent in the background: this host is known there, so no token is needed.
    fn detach(&self) -> Result<(), Failed> {
        let mut command = Command::new(std::env::current_exe().map_err(here)?);
        command.args(["join", "--state"]).arg(&self.state);
        for label in &self.described.labels {
            command.args(["--label", label]);
        }
        background::start(command, &self.state.join("join.log"), "host ")
    }

    /// Runs the agent until somebody ends it, or the pool knows it no more.
    fn serve(&self, runtime: &Runtime) -> Result<(), Failed> {
        let Membership { place, name, rules, .. } = &self.membership;
        let rules = rules.unwrap_or_default();
        let (to_agent, hear) = bounded(MOST_UNHEARD);
        let (say, said) = unbounded::<FromHost>();
        let (newest, said_last) = watch::channel(Bytes::new());
        let (others, said_else) = mpsc::channel(MOST_UNSAID);
        std::thread::spawn(move || said.iter().try_for_each(|message| forward((&newest, &others), &message)));
        let config = AgentConfig {
            state: self.state.clone(),
            rules,
            program: std::env::current_exe().map_err(here)?,
            host: name.clone(),
            site: self.site.clone(),
        };
        let dialer = self.dialer()?;
        let far = Far { dialer: dialer.clone(), runtime: runtime.handle().clone() };
        let (stop, stopped): (_, Receiver<()>) = bounded(0);
        let agent = std::thread::spawn(move || agent::run(&config, &far, &say, &hear, &stopped));
        println!("host {name} of the pool at {}: {} cores", place.address, self.described.shape.cores());
        let _ = std::io::stdout().flush();
        let mut end = End { said: said_last, said_else, hear: to_agent, rules };
        let ended = runtime.block_on(async {
            tokio::select! {
                error = line::keep(&dialer, &self.described, &mut end) => Err(error.map_or_else(
                    || Failed::new("the agent of this host has ended", 1),
                    Failed::from,
                )),
                () = interrupted() => Ok(()),
            }
        });
        drop(stop);
        let agent = agent.join().unwrap_or_else(|_| Err("it panicked".into()));
        agent.map_err(|why| here(format!("the agent of this host: {why}")))?;
        ended
    }
}

/// How many messages may wait for the agent.
const MOST_UNHEARD: usize = 256;

/// How many other things that were said may wait for a connection; more are lost, and said again.
const MOST_UNSAID: usize = 256;

/// Makes what the agent says the newest, and has the rest wait; none when nobody carries any more.
fn forward(
    (newest, others): (&watch::Sender<Bytes>, &mpsc::Sender<Bytes>),
    message: &FromHost,
) -> Option<()> {
    let bytes = Format::Message.encode(message);
    if bytes.len() > MOST_MESSAGE {
        eprintln!(
            "muster: error: a message of {} bytes is too large to send: end some of what this host holds",
            bytes.len()
        );
        return Some(());
    }
    match message {
        FromHost::Agent(_) => newest.send(bytes.into()).ok(),
        _ => {
            drop(others.try_send(bytes.into()));
            (!others.is_closed()).then_some(())
        }
    }
}

/// Scripts of jobs, from the pool.
struct Far {
    dialer: Dialer,
    runtime: Handle,
}

/// How often a script is asked for while the pool does not answer, and the first pause between.
const TRIES: (u32, Duration) = (6, Duration::from_millis(250));

impl Payloads for Far {
    fn fetch(&self, id: BlobId) -> Result<Vec<u8>, String> {
        let path = format!("{}/{id}", wire::BLOBS);
        let mut pause = TRIES.1;
        for _ in 1..TRIES.0 {
            match self.runtime.block_on(self.dialer.ask(Method::GET, &path, Vec::new())) {
                Err(error) if error.may_pass() => std::thread::sleep(pause),
                answer => return whole(id, answer),
            }
            pause *= 2;
        }
        whole(id, self.runtime.block_on(self.dialer.ask(Method::GET, &path, Vec::new())))
    }
}

/// The bytes, if they are what was asked for.
fn whole(id: BlobId, answer: Result<Bytes, ClientError>) -> Result<Vec<u8>, String> {
    let bytes = answer.map_err(|error| error.to_string())?;
    if blake3::hash(&bytes).as_bytes() == &id.0 {
        Ok(bytes.into())
    } else {
        Err(format!("what came for blob {id} is something else"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        assert!(label("region=eu").is_ok() && label("data=/a/b.c").is_ok());
        for wrong in ["region", "=eu", "region=", "a b=c", "a=b=c"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn something_else_is_not_taken_for_a_script() {
        let id = BlobId(*blake3::hash(b"script").as_bytes());
        assert_eq!(whole(id, Ok(Bytes::from_static(b"script"))).unwrap(), b"script");
        assert!(whole(id, Ok(Bytes::from_static(b"other"))).is_err());
    }
}
