//! The configuration of a pool or a host: one file, which need not be there, and `muster config`, which tells of it.
//!
//! Invariants: what is given on the command line goes before what the file says, and that before what is kept or the
//! default; a key that is none is an error; there are at most fifteen.

use super::Which;
use super::client::{Failed, exit};
use muster_scheduler::door::Whose;
use muster_worker::agent::{self, Site, check_hook};
use muster_worker::command::BAD_INPUT;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the file may say. A key that is not there is left to the command line and the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) name: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) lease_s: Option<u32>,
    pub(super) kill_wait_s: Option<u32>,
    pub(super) labels: Option<Vec<String>>,
    networks: Option<Vec<String>>,
    prolog: Option<PathBuf>,
    epilog: Option<PathBuf>,
    pub(super) gpus: Option<Vec<String>>,
    users: Option<Users>,
    operators: Option<Vec<String>>,
}

/// Whose jobs are taken, and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Users {
    Own,
    All,
}

/// Each key, what it is in a TOML file, and what it is for; the default stands in the last.
const KEYS: [(&str, &str, &str); 11] = [
    ("name", "\"ada\"", "this host's name in the pool; default: the system's"),
    (
        "listen",
        "\"10.0.0.1:7461\"",
        "the controller: where other hosts and clients come in; default: where it was last, else nowhere",
    ),
    (
        "lease_s",
        "60",
        "the controller, seconds: how long a host may go on unheard, for good from the first start on",
    ),
    (
        "kill_wait_s",
        "30",
        "the controller, seconds: how long who was told to end may take; default: as it was last",
    ),
    (
        "labels",
        "[\"region=eu\"]",
        "this host: where it is, or what data it may see; jobs can ask for it; default: none",
    ),
    (
        "networks",
        "[\"10.0.0.0/24\"]",
        "this host: networks between hosts that MPI may use, in clear text; default: the private ones of its interfaces",
    ),
    (
        "prolog",
        "\"/etc/muster/prolog\"",
        "this host: a program that runs before each job on it, which begins only if that exits with 0; default: none",
    ),
    (
        "epilog",
        "\"/etc/muster/epilog\"",
        "this host: a program that runs after each job on it; default: none",
    ),
    (
        "gpus",
        "[\"h100\", \"h100\"]",
        "this host: the kinds of its GPUs, in the order of their numbers; default: those that NVIDIA's driver shows",
    ),
    (
        "users",
        "\"all\"",
        "\"own\": jobs of the user as whom it runs; \"all\": the controller, which is not root, takes those of every user of its \
         machine, and this host's agent, which is root, runs each with its user's rights; default: own",
    ),
    (
        "operators",
        "[\"ada\"]",
        "the controller of all users: who may drain hosts, and change jobs of others; default: nobody but root and its user",
    ),
];

/// Of which pool or host.
#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    which: Which,
    /// Print what the file says as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ConfigArgs) -> ExitCode {
    exit(print(args))
}

fn print(args: &ConfigArgs) -> Result<(), Failed> {
    let state = args.which.dir();
    let config = Config::read(&state)?;
    let told = serde_json::to_value(&config).expect("texts encode");
    if args.json {
        println!("{}", serde_json::to_string_pretty(&told).expect("texts encode"));
        return Ok(());
    }
    let path = file(&state);
    let is_there = if path.exists() { "" } else { ", which is not there" };
    println!("# {}{is_there}: read by `muster up` and `muster join` when they start\n", path.display());
    for (key, example, what) in KEYS {
        println!("# {what}");
        match toml::Value::try_from(&told[key]) {
            Ok(value) if !told[key].is_null() => println!("{key} = {value}\n"),
            _ => println!("#{key} = {example}\n"),
        }
    }
    Ok(())
}

fn file(state: &Path) -> PathBuf {
    state.join("config.toml")
}

impl Config {
    /// What the file of a state directory says, made sure of.
    pub(super) fn read(state: &Path) -> Result<Config, Failed> {
        let path = file(state);
        let wrong = |what: String| {
            let told = format!("{}: {} (`muster config` tells every key)", path.display(), what.trim_end());
            Failed::new(told, BAD_INPUT)
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let config: Config = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let lease = super::up::LEASES;
        if let Some(lease_s) = self.lease_s.filter(|lease_s| !lease.contains(lease_s)) {
            return Err(format!(
                "lease_s is {lease_s}: leases last {} to {} seconds",
                lease.start(),
                lease.end()
            ));
        }
        let most = super::up::KILL_WAITS;
        if let Some(wait_s) = self.kill_wait_s.filter(|wait_s| !most.contains(wait_s)) {
            return Err(format!("kill_wait_s is {wait_s}: it is at most {} seconds", most.end()));
        }
        for label in self.labels.iter().flatten() {
            super::join::label(label).map_err(|why| format!("labels has {label}: {why}"))?;
        }
        if let Some(network) = self.networks.iter().flatten().find(|network| !is_network(network)) {
            return Err(format!(
                "networks has {network}: a network is ADDRESS/BITS, for instance 10.0.0.0/24"
            ));
        }
        let is_kind = |kind: &String| {
            !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if let Some(kind) = self.gpus.iter().flatten().find(|kind| !is_kind(kind)) {
            return Err(format!(
                "gpus has {kind:?}: a kind is of letters, digits and `._-`, for instance h100"
            ));
        }
        for (key, hook) in [("prolog", &self.prolog), ("epilog", &self.epilog)] {
            hook.as_ref().map_or(Ok(()), |hook| check_hook(hook)).map_err(|why| format!("{key}: {why}"))?;
        }
        Ok(())
    }

    /// Whose pool it is.
    pub(super) fn whose(&self) -> Whose {
        match self.users {
            Some(Users::All) => Whose::Everybody { operators: self.operators.clone().unwrap_or_default() },
            Some(Users::Own) | None => Whose::Own,
        }
    }

    /// What is set for all that runs on this host, which has so many GPUs.
    pub(super) fn site(&self, gpus: usize) -> Site {
        let networks = self.networks.clone().unwrap_or_default();
        let gpus = u32::try_from(gpus).unwrap_or(u32::MAX);
        let users = match self.users {
            Some(Users::All) => agent::Users::All,
            Some(Users::Own) | None => agent::Users::Own,
        };
        Site { prolog: self.prolog.clone(), epilog: self.epilog.clone(), networks, gpus, users }
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(file(folder.path()), text).unwrap();
        Config::read(folder.path()).map_err(|failed| failed.what)
    }

    #[test]
    fn every_key_is_told_and_its_example_is_right() {
        let keys: serde_json::Value = serde_json::to_value(Config::default()).unwrap();
        let keys: Vec<&str> = keys.as_object().unwrap().keys().map(String::as_str).collect();
        let mut told = KEYS.map(|(key, ..)| key);
        told.sort_unstable();
        assert_eq!(keys, told);
        assert!(KEYS.len() <= 15);
        let all: String = KEYS.iter().map(|(key, example, _)| format!("{key} = {example}\n")).collect();
        toml::from_str::<Config>(&all).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_the_key() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(read("name = \"a\"\nlease_s = 5").unwrap().lease_s, Some(5));
        for (text, said) in [
            ("nmae = \"a\"", "unknown field `nmae`"),
            ("lease_s = 1", "leases last 3 to 86400 seconds"),
            ("lease_s = \"5\"", "lease_s"),
            ("kill_wait_s = 70000", "at most 65533"),
            ("labels = [\"eu\"]", "KEY=VALUE"),
            ("networks = [\"10.0.0.0\"]", "ADDRESS/BITS"),
            ("networks = [\"10.0.0.0/33\"]", "ADDRESS/BITS"),
            ("gpus = [\"a b\"]", "a kind is of letters"),
            ("prolog = \"bin/x\"", "prolog: bin/x has no absolute path"),
            ("epilog = \"/nosuch\"", "epilog: /nosuch"),
            ("name = ", "line 1"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(said) && told.contains("`muster config`"), "{text}: {told}");
        }
    }
}
