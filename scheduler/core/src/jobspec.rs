//! The jobspec: a validated request. Who asks, in which dialect, does not show here.

use crate::job::dependency::Dependency;
use crate::payload::BlobId;
use crate::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a job asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// How large it is.
    pub size: Size,
    /// Seconds after which it is ended; none without a limit.
    pub time_limit_s: Option<u64>,
    /// The elements, when it is an array.
    pub array: Option<ArraySpec>,
    /// Where its streams go.
    pub files: Files,
    /// What it gets of the submitter's environment.
    pub export: Export,
    /// The signal it wants before its time is over.
    pub signal: Option<EarlySignal>,
    /// Names that nothing here looks at, kept for those who ask.
    pub labels: BTreeMap<String, String>,
    /// What it runs.
    pub work: Work,
    /// Who pays, and where it stands in line.
    pub queue: Queueing,
    /// What must be true before it starts.
    pub when: When,
    /// What its hosts must have, and be.
    pub needs: Needs,
    /// What it runs, with its environment, kept apart; none where nothing is really run.
    pub payload: Option<BlobId>,
    /// The program of the user's own that has its kernel, kept apart, too: it goes to each host of the job.
    #[serde(default)]
    pub program: Option<BlobId>,
}

/// What a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Work {
    /// A script: its hosts are its own until it ends.
    #[default]
    Script,
    /// A kernel: hosts may come and go between [`Size::nodes`] and [`Size::max_nodes`] while it runs.
    Kernel,
    /// A kernel whose grid hangs on its input files: they are looked for first, and it goes only to hosts that have them.
    KernelOnFiles,
}

impl Work {
    /// Whether a foreman owns it.
    pub fn is_kernel(self) -> bool {
        match self {
            Work::Script => false,
            Work::Kernel | Work::KernelOnFiles => true,
        }
    }
}

/// Who pays for a job, and where it stands in line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queueing {
    /// Partitions of which it takes the one that lets it start first; the site's default when there is none.
    pub partitions: Vec<String>,
    /// The account; the user's own when absent.
    pub account: Option<String>,
    /// The quality of service; the account's own when absent.
    pub qos: Option<String>,
    /// The reservation that it runs in.
    pub reservation: Option<String>,
    /// A priority set by an operator, in place of the computed one.
    pub priority: Option<u32>,
    /// Taken off its priority.
    pub nice: i32,
    /// Whether it may be started again after it was lost or preempted.
    pub requeue: Requeue,
    /// What people are told about it.
    pub comment: Option<String>,
}

/// Whether a job may be started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Requeue {
    /// It may.
    #[default]
    Allowed,
    /// It must never run twice.
    Never,
}

/// What must be true before a job starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct When {
    /// It waits for somebody to release it.
    pub hold: bool,
    /// Not before this time.
    pub begin: Option<Time>,
    /// It is of no use when it has not ended by this time.
    pub deadline: Option<Time>,
    /// The shortest time limit that would do, seconds: between it and the limit, the queue may choose.
    pub least_time_s: Option<u64>,
    /// Other jobs that must have started or ended.
    pub dependency: Dependency,
    /// What becomes of it when they cannot do so any more.
    pub invalid_dependency: InvalidDependency,
}

/// What becomes of a job whose dependency cannot come true any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InvalidDependency {
    /// What the site says.
    #[default]
    Site,
    /// It is ended.
    End,
    /// It waits until somebody changes it.
    Keep,
}

/// What a job's hosts must have, and be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Needs {
    /// Features, as `--constraint` writes them.
    pub constraint: Option<String>,
    /// Hosts that must be among them.
    pub include: Vec<String>,
    /// Hosts that must not.
    pub exclude: Vec<String>,
    /// Labels of hosts, `key=value`, each of which all must have: where data may be.
    pub labels: Vec<String>,
    /// Devices.
    pub gres: Vec<Gres>,
    /// Licences of the cluster: name and count.
    pub licences: Vec<(String, u32)>,
    /// Nobody else's jobs on its hosts.
    pub exclusive: bool,
    /// Its tasks lie on as many hosts as it may have, not on the fewest.
    pub spread: bool,
}

/// Devices of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gres {
    /// What they are: `gpu`.
    pub name: String,
    /// Their type; none for any.
    pub kind: Option<String>,
    /// How many.
    pub count: u32,
    /// For what.
    pub per: GresPer,
}

/// What a number of devices is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GresPer {
    /// Each host.
    Host,
    /// Each task.
    Task,
    /// The job.
    Job,
}

impl JobSpec {
    /// A script of this name, on one host, with nothing else said.
    pub fn named(name: impl Into<String>) -> JobSpec {
        JobSpec {
            name: name.into(),
            size: Size::default(),
            time_limit_s: None,
            array: None,
            files: Files::default(),
            export: Export::All(Vec::new()),
            signal: None,
            labels: BTreeMap::new(),
            work: Work::Script,
            queue: Queueing::default(),
            when: When::default(),
            needs: Needs::default(),
            payload: None,
            program: None,
        }
    }

    /// All that is kept apart of it.
    pub fn blobs(&self) -> impl Iterator<Item = BlobId> {
        self.payload.into_iter().chain(self.program)
    }
}

/// How large a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Hosts, at least.
    pub nodes: u32,
    /// Hosts, at most; as many as its tasks need when absent.
    pub max_nodes: Option<u32>,
    /// Tasks; none when the script did not say.
    pub ntasks: Option<u32>,
    /// Tasks on each host; none when the script did not say.
    pub ntasks_per_node: Option<u32>,
    /// CPUs of each task; none when the script did not say.
    pub cpus_per_task: Option<u32>,
    /// Memory in mebibytes, for each host or each CPU.
    pub memory: Option<Memory>,
}

/// An amount of memory in mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Memory {
    /// For each host.
    PerNode(u64),
    /// For each CPU.
    PerCpu(u64),
}

impl Default for Size {
    fn default() -> Size {
        Size {
            nodes: 1,
            max_nodes: None,
            ntasks: None,
            ntasks_per_node: None,
            cpus_per_task: None,
            memory: None,
        }
    }
}

impl Size {
    /// Hosts, at most: never more than it has tasks, where their number is given.
    pub fn most_nodes(&self) -> u32 {
        self.max_nodes.or(self.ntasks).unwrap_or(self.nodes).max(self.nodes)
    }

    /// Whether a kernel may have more hosts and fewer while it runs: it has so many tasks on each.
    pub fn is_malleable(&self) -> bool {
        self.ntasks.is_none() && self.max_nodes.is_some_and(|most| most > self.nodes)
    }

    /// How many tasks the job has.
    pub fn tasks(&self) -> u32 {
        self.ntasks.or(self.ntasks_per_node.map(|n| n.saturating_mul(self.nodes))).unwrap_or(self.nodes)
    }

    /// How many CPUs the job needs.
    pub fn cpus(&self) -> u32 {
        self.tasks().saturating_mul(self.cpus_per_task.unwrap_or(1))
    }
}

/// The elements of an array: ranges of indices, each with a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArraySpec {
    /// First, last and step of each range, in the order of the request.
    pub ranges: Vec<(u32, u32, u32)>,
    /// How many elements may run at once.
    pub throttle: Option<u32>,
}

impl ArraySpec {
    /// The indices, ascending and each once.
    pub fn indices(&self) -> Vec<u32> {
        let all = self.ranges.iter().flat_map(|&(first, last, step)| (first..=last).step_by(step as usize));
        all.collect::<std::collections::BTreeSet<u32>>().into_iter().collect()
    }

    /// The step that Slurm shows: that of the only range, else 1.
    pub fn step(&self) -> u32 {
        if let [(_, _, step)] = self.ranges[..] { step } else { 1 }
    }
}

/// Where a job's streams go: patterns, not yet filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Files {
    /// Standard output.
    pub output: Option<String>,
    /// Standard error; where the output goes when absent.
    pub error: Option<String>,
    /// Standard input.
    pub input: Option<String>,
    /// Whether to append to what is there.
    pub append: bool,
    /// The directory it runs in; where it was submitted when absent.
    pub chdir: Option<String>,
}

/// What a job gets of its submitter's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Export {
    /// Everything, and these.
    All(Vec<(String, String)>),
    /// Variables by name, and these.
    Only(Vec<String>, Vec<(String, String)>),
}

/// A signal that is sent before the time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlySignal {
    /// Its number.
    pub signal: i32,
    /// So many seconds before.
    pub before_s: u64,
    /// To the script's own process alone.
    pub batch_only: bool,
}
