//! The kernels that a program carries, with their types erased: what a command line, a rank and a verifier call.

use crate::comm::Comm;
use crate::command::RunArgs;
use crate::link::Link;
use crate::team::{self, Gathering, TeamError};
use crate::wire::{TeamJob, decode};
use crate::{crew, hub};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use muster_core::plan::PoolPlan;
use muster_kernels::hash::{self, Hash16, first16};
use muster_kernels::{Class, Grid, Input, Iterate, Pattern, Problem, Problems, Work};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A resolved request: what `describe` prints and what a foreman needs to know of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// The kernel's name.
    pub kernel: String,
    /// The program that has it, when it is not built in.
    pub program: Option<ProgramFile>,
    /// Whether it goes round.
    pub pattern: Pattern,
    /// Its arithmetic class.
    pub class: Class,
    /// The resolved spec as canonical JSON.
    pub spec_json: String,
    /// The part of the spec that the bits depend on, as canonical JSON.
    pub identity_json: String,
    /// The hash of it: it names the job.
    pub spec_hash: String,
    /// How the index space is cut.
    pub grid: Grid,
    /// How much work it is.
    pub work: Work,
    /// The files it reads, as they are now.
    pub inputs: Vec<Input>,
}

impl Described {
    /// The name of the step in a pool.
    pub fn step(&self) -> [u8; 16] {
        first16(&blake3::hash(self.spec_hash.as_bytes()))
    }
}

/// A user's own rank program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFile {
    /// Its absolute path.
    pub path: PathBuf,
    /// The hash of its bytes in hexadecimal: another build may give other bits.
    pub hash: String,
}

impl ProgramFile {
    /// The program that is running.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn running() -> std::io::Result<ProgramFile> {
        let path = std::env::current_exe()?;
        let hash = blake3::hash(&std::fs::read(&path)?).to_hex().to_string();
        Ok(ProgramFile { path, hash })
    }
}

/// One block, folded by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// The partial as JSON.
    pub partial: serde_json::Value,
    /// Its leaf hash.
    pub hash: Hash16,
}

/// A kernel behind plain functions.
pub struct Program {
    /// The kernel's name.
    pub name: &'static str,
    /// Its command: the kernel's own flags and those of how to run it.
    pub command: fn() -> Command,
    /// The request that parsed flags stand for.
    pub resolve: fn(&ArgMatches) -> Result<Described, Problems>,
    /// The request that a spec in JSON stands for.
    pub describe: fn(&str) -> Result<Described, Problems>,
    /// Folds blocks one by one, from spec and state, with the vector instructions named, and hands each to the
    /// callback, which returns false to end.
    pub replay: Replay,
    pub(crate) lead: fn(&mut dyn Comm, Link, Gathering) -> Result<(), TeamError>,
    pub(crate) follow: fn(&mut dyn Comm, &TeamJob, &[PoolPlan]) -> Result<(), TeamError>,
}

/// See [`Program::replay`].
pub type Replay =
    fn((&str, &[u8]), Option<&str>, &[u32], &mut dyn FnMut(u32, Replayed) -> bool) -> Result<(), Problems>;

impl Program {
    /// The program of a kernel.
    pub fn of<K: Iterate>() -> Program {
        Program {
            name: K::NAME,
            command: || with_run_flags(K::Spec::augment_args(Command::new(K::NAME))),
            resolve: |matches| {
                let spec =
                    K::Spec::from_arg_matches(matches).map_err(|e| Problem::new("flags", e.to_string()))?;
                described::<K>(&K::resolve(spec)?)
            },
            describe: |json| described::<K>(&read::<K>(json)?),
            replay: replay::<K>,
            lead: hub::lead::<K>,
            follow: team::follow::<K>,
        }
    }
}

/// Adds the flags of how to run a kernel; the kernel's own description stays.
fn with_run_flags(kernel: Command) -> Command {
    let (about, long) = (kernel.get_about().cloned(), kernel.get_long_about().cloned());
    let full = RunArgs::augment_args(kernel.next_help_heading(None::<&str>));
    full.about(about.unwrap_or_default()).long_about(long.unwrap_or_default())
}

/// The program called `name`.
///
/// # Errors
/// When there is none.
pub fn find<'a>(programs: &'a [Program], name: &str) -> Result<&'a Program, Problem> {
    programs.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = programs.iter().map(|p| p.name).collect();
        Problem::new(
            "kernel",
            format!("there is no kernel {name} in this program; it has {}", names.join(", ")),
        )
    })
}

fn read<K: Iterate>(json: &str) -> Result<K::Spec, Problems> {
    serde_json::from_str(json)
        .map_err(|e| Problem::new("spec", format!("cannot be read by the kernel {}: {e}", K::NAME)).into())
}

fn described<K: Iterate>(spec: &K::Spec) -> Result<Described, Problems> {
    let kernel = K::prepare(spec)?;
    let json = |spec: &K::Spec| serde_json::to_string(spec).map_err(|e| Problem::new("spec", e.to_string()));
    let (spec_json, identity_json) = (json(spec)?, json(&K::identity(spec))?);
    let class = kernel.class();
    Ok(Described {
        kernel: K::NAME.into(),
        program: None,
        pattern: K::PATTERN,
        class,
        spec_hash: hash::spec(K::NAME, class, &identity_json),
        identity_json,
        spec_json,
        grid: kernel.grid(),
        work: kernel.work(),
        inputs: kernel.inputs(),
    })
}

fn replay<K: Iterate>(
    (json, state): (&str, &[u8]),
    simd: Option<&str>,
    blocks: &[u32],
    each: &mut dyn FnMut(u32, Replayed) -> bool,
) -> Result<(), Problems> {
    let job = TeamJob {
        kernel: K::NAME.into(),
        spec_json: json.into(),
        threads: Some(1),
        memory_limit: None,
        sharers: 1,
        simd: simd.map(str::to_owned),
        commits: false,
        placement: false,
    };
    let prepared = crew::prepare::<K>(&job, 1)?;
    let state: K::State = decode(state).map_err(|_| {
        Problem::new("state", format!("cannot be read by the kernel {}: is it another build?", K::NAME))
    })?;
    for &block in blocks {
        let (partial, hash) = prepared.leaf(&state, block)?;
        let partial = serde_json::to_value(&partial).map_err(|e| Problem::new("partial", e.to_string()))?;
        if !each(block, Replayed { partial, hash }) {
            break;
        }
    }
    Ok(())
}
