//! The jobspec: a validated request. Who asks, in which dialect, does not show here.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a job asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Partition, account and the like: names that a queue would look at.
    pub labels: BTreeMap<String, String>,
}

/// How large a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Hosts, at least.
    pub nodes: u32,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Memory {
    /// For each host.
    PerNode(u64),
    /// For each CPU.
    PerCpu(u64),
}

impl Size {
    /// How many tasks the job has.
    pub fn tasks(&self) -> u32 {
        self.ntasks.or(self.ntasks_per_node.map(|n| n * self.nodes)).unwrap_or(self.nodes)
    }

    /// How many CPUs the job needs.
    pub fn cpus(&self) -> u32 {
        self.tasks() * self.cpus_per_task.unwrap_or(1)
    }
}

/// The elements of an array: ranges of indices, each with a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Export {
    /// Everything, and these.
    All(Vec<(String, String)>),
    /// Variables by name, and these.
    Only(Vec<String>, Vec<(String, String)>),
}

/// A signal that is sent before the time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlySignal {
    /// Its number.
    pub signal: i32,
    /// So many seconds before.
    pub before_s: u64,
    /// To the script's own process alone.
    pub batch_only: bool,
}
