//! The agent of a host and the processes of its shepherds: the shells around the values of `muster_core::protocol`.
//!
//! Step 7 of a job's way (DESIGN section 4). The agent obeys the controller while its lease lasts; a shepherd's process
//! holds what an attempt starts, and its deadlines, and outlives the agent. Under the state directory:
//!
//! | path | what |
//! | --- | --- |
//! | `agent.lock` | locked by the one agent |
//! | `agent.sock` | where shepherds' processes come in, this user's alone |
//! | `jobs.sock` | where processes of jobs come in: foremen, and what `mpirun` starts for other hosts |
//! | `groups` | the control groups that the agent has made |
//! | `shepherds/PID` | locked while that process lives; the groups of its slot |
//! | `spool/agent` | what has begun, and what is forgotten |
//! | `spool/PID.ends` | how what that shepherd's process held ended |
//! | `spool/PID.script` | the script that it runs |
//! | `shepherd.log` | what shepherds' processes complain of |
//! | `spool/boot` | the life of the host that the spool is of |
//! | `output/JOB.ATTEMPT.out`, `.err` | what a job has written that was submitted elsewhere, until the pool has it |
//! | `jobs/JOB.ATTEMPT/hosts` | the hosts of a script whose kernel steps may have more of them, or fewer |
//! | `programs/HASH/NAME` | programs of users that jobs have needed here |
//! | `ceilings.json` | what this host can do at most, as it was measured |
//! | `work/JOB.ATTEMPT` | where such a job runs when its directory is not on this host |
//! | `returned/JOB.out`, `.err` | what is written here of the output of jobs that run elsewhere |
//!
//! What a job finds around it, besides what `sbatch` would give it: `MUSTER_RUN=1`, `MUSTER_STATE`, `MUSTER_JOB` (`12`, or
//! `12_3` for an element), `MUSTER_ATTEMPT` (from 1), and `MUSTER_MARK`, by which an agent finds its processes when their
//! shepherd is dead. An agent that is started with `MUSTER_CGROUPS=off` makes no control groups, and with `MUSTER_CEILINGS=off`
//! does not measure its host.

mod alarm;
mod attempt;
mod clock;
mod complaint;
mod daemon;
mod devices;
mod door;
mod ends;
mod errand;
mod family;
mod frame;
mod gpus;
mod groups;
mod guise;
mod hooks;
mod job_link;
mod jobs;
mod larder;
mod launch_agent;
mod leader;
mod log;
mod mpirun;
mod prepare;
mod process;
mod programs;
mod reading;
mod remote;
mod returned;
mod roll;
mod roster;
mod scout;
mod shape;
mod shell;
mod slot;
mod spool;
mod surveyor;
mod unsent;

use muster_core::payload::BlobId;
use muster_core::protocol::lease::Lease;
use std::path::PathBuf;

pub(crate) use clock::{boot, now};
pub use guise::Users;
pub use hooks::{Site, check as check_hook};
pub(crate) use job_link::JobLink;
pub(crate) use jobs::{FromJob, ToJob, agent_of, door_of as jobs_door};
pub(crate) use launch_agent::job_around;
pub use launch_agent::launch;
pub(crate) use mpirun::{HOSTS_FILE, write_hosts};
pub use process::shepherd;
pub(crate) use programs::folder as programs;
pub use shape::shape;
pub use shell::run;

/// What an agent is told when it is started.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The state directory.
    pub state: PathBuf,
    /// How long it may act unheard.
    pub rules: Lease,
    /// This muster, started again as `muster shepherd`, with `MUSTER_STATE` set.
    pub program: PathBuf,
    /// This host's name.
    pub host: String,
    /// What is set for all that runs here.
    pub site: Site,
}

/// Where an agent gets what jobs run.
pub trait Payloads: Send + Sync {
    /// The bytes of a blob: a `Payload` in the format of messages. Called on a thread of its own, one at a time; it may
    /// take its time, but must come back.
    ///
    /// # Errors
    /// Why it cannot be had; what was to run it is then not started here.
    fn fetch(&self, id: BlobId) -> Result<Vec<u8>, String>;
}
