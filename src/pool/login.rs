//! `muster login`, `muster logout`: commands that are given on this machine to a pool on another, over its network door.
//!
//! Part of step 3 of a job's way (DESIGN section 4). Kept in `STATE/login.json`, its owner's alone. Invariant: a credential
//! is on disk before the pool hears of it, so an answer that is lost costs nothing.

use super::background::host_name;
use super::client::{Failed, NO_POOL, exit};
use super::{Which, kept, typed};
use hyper::Method;
use muster_scheduler::home;
use muster_scheduler::network::client::{ClientError, Dialer, Place};
use muster_scheduler::network::private;
use muster_scheduler::network::secret::Secret;
use muster_scheduler::network::wire::{self, Joining};
use muster_worker::command::BAD_INPUT;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// Which pool, and as what.
#[derive(clap::Args)]
pub(crate) struct LoginArgs {
    /// The pool, as `muster token --login` prints it on the pool's host
    #[arg(value_name = "HOST:PORT#FINGERPRINT")]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// Read the token from a file instead of a prompt or standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What the pool calls this machine [default: the system's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// What a machine keeps of the pool that it has logged in to.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) place: Place,
    name: String,
    credential: Secret,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    place: String,
    name: String,
    credential: String,
}

impl Login {
    /// What is kept in a state directory.
    pub(super) fn read(state: &Path) -> Result<Option<Login>, String> {
        kept::read(&file(state), "log in again", |kept: Kept| {
            let (place, credential) = (kept.place.parse().ok()?, Secret::read(&kept.credential)?);
            Some(Login { place, name: kept.name, credential })
        })
    }

    fn keep(&self, state: &Path) -> Result<(), Failed> {
        let kept = Kept {
            version: 1,
            place: self.place.to_string(),
            name: self.name.clone(),
            credential: self.credential.text().to_owned(),
        };
        kept::keep(&file(state), &kept).map_err(here)
    }

    /// The way to the pool.
    pub(super) fn dialer(&self) -> Result<Dialer, ClientError> {
        Dialer::new(&self.place, Some(self.credential.clone()))
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("login.json")
}

fn here(error: impl ToString) -> Failed {
    Failed::new(error.to_string(), BAD_INPUT)
}

pub(crate) fn run(args: &LoginArgs) -> ExitCode {
    exit(log_in(args))
}

pub(crate) fn log_out(which: &Which) -> ExitCode {
    exit(end(which))
}

fn log_in(args: &LoginArgs) -> Result<(), Failed> {
    let state = args.which.dir();
    if home::journal_of(&state).exists() {
        let what = format!(
            "{} is the state directory of a pool on this machine, to which commands go here: name another with --state \
             DIR or MUSTER_STATE",
            state.display()
        );
        return Err(here(what));
    }
    muster_worker::state::folder(&state, "").map_err(here)?;
    let kept = Login::read(&state).map_err(here)?;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.place.fingerprint != args.place.fingerprint) {
        let what = format!(
            "this machine has logged in to the pool at {}: `muster logout` ends that, and --state DIR keeps another beside it",
            kept.place.address
        );
        return Err(here(what));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(here)?;
    let name = args.name.clone().or_else(|| Some(kept.as_ref()?.name.clone())).unwrap_or_else(host_name);
    let known = kept.filter(|kept| kept.name == name);
    let login = match known {
        Some(known) if is_known(&runtime, &known, &args.place)? => {
            let login = Login { place: args.place.clone(), ..known };
            login.keep(&state)?;
            login
        }
        _ => {
            let credential = Secret::make().map_err(here)?;
            let login = Login { place: args.place.clone(), name, credential };
            redeem(&runtime, &login, (&state, args.token_file.as_deref()))?;
            login
        }
    };
    println!("logged in to the pool at {} as {}", login.place.address, login.name);
    println!("next: muster submit JOB.SH, muster queue, muster hosts; muster logout ends it");
    Ok(())
}

/// Whether the pool takes a credential that is kept here, where it is now.
fn is_known(runtime: &Runtime, kept: &Login, place: &Place) -> Result<bool, Failed> {
    let dialer = Dialer::new(place, Some(kept.credential.clone()))?;
    match runtime.block_on(dialer.ask(Method::GET, "/v1/pool", Vec::new())) {
        Ok(_) => Ok(true),
        Err(error) if error.is_unknown() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn redeem(runtime: &Runtime, login: &Login, (state, token): (&Path, Option<&Path>)) -> Result<(), Failed> {
    let anonymous = Dialer::new(&login.place, None)?;
    // Nobody is asked for a token that cannot be handed in.
    drop(runtime.block_on(anonymous.connect())?);
    let token = typed::token(token, "muster token --login")?;
    login.keep(state)?;
    let joining = Joining {
        token: token.text().to_owned(),
        name: login.name.clone(),
        credential: login.credential.hash(),
    };
    let body = serde_json::to_vec(&joining).expect("texts encode");
    let told = runtime.block_on(anonymous.ask(Method::POST, wire::LOGIN, body));
    if let Err(ClientError::Refused(..)) = told {
        let _ = std::fs::remove_file(file(state));
    }
    Ok(told.map(drop)?)
}

/// Gives the credential back, and forgets it.
fn end(which: &Which) -> Result<(), Failed> {
    let state = which.dir();
    let none = || here("this machine has logged in to no pool: `muster login` does");
    let login = Login::read(&state).map_err(here)?.ok_or_else(none)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(here)?;
    let told = runtime.block_on(login.dialer()?.ask(Method::POST, "/v1/logout", Vec::new()));
    private::remove(&file(&state)).map_err(|error| here(format!("{}: {error}", file(&state).display())))?;
    match told {
        Err(error) if !error.is_unknown() => {
            let what = format!(
                "the credential is removed here, but the pool was not told ({error}): `muster clients --revoke {}` on its \
                 host takes it back",
                login.name
            );
            Err(Failed::new(what, NO_POOL))
        }
        Ok(_) | Err(_) => {
            println!("logged out of the pool at {}", login.place.address);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Login::read(folder.path()).unwrap().is_none());
        let place: Place = format!("a:1#{}", "a".repeat(32)).parse().unwrap();
        let one = Login { place, name: "b".into(), credential: Secret::make().unwrap() };
        one.keep(folder.path()).unwrap();
        let found = Login::read(folder.path()).unwrap().unwrap();
        assert_eq!((found.place, found.name, found.credential), (one.place, one.name, one.credential));
        std::fs::write(file(folder.path()), "{}").unwrap();
        assert!(Login::read(folder.path()).unwrap_err().contains("remove it"));
    }
}
