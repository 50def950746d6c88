//! The environment of a batch script: the variables that Slurm sets, from one place.

use crate::pattern::Names;
use crate::{dependency, hostlist, resource};
use muster_core::jobspec::{GresPer, JobSpec, Memory};
use std::path::Path;

/// Where a script runs, and what is known there.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Where the job was submitted.
    pub submit_dir: &'a Path,
    /// The host that it was submitted from; none for this one.
    pub submit_host: Option<&'a str>,
    /// CPUs of this host, where no shares are told.
    pub cpus: u32,
    /// Number and name of the user, number of the group.
    pub user: (u32, &'a str, u32),
    /// What the job has of each of its hosts, the one of its script first; empty for a job of this host alone.
    pub shares: Vec<Share<'a>>,
    /// The numbers of the GPUs that it has of this host; none where GPUs are not handed out.
    pub gpus: Option<Vec<u32>>,
    /// What the queue decided.
    pub queued: Queued<'a>,
}

/// What a job has of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// The host's name.
    pub host: &'a str,
    /// CPUs.
    pub cpus: u32,
    /// Tasks.
    pub tasks: u32,
}

/// What a queue decided about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued<'a> {
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The partition that it runs in; the one that was asked for, or `local`, when absent.
    pub partition: Option<&'a str>,
    /// Who pays.
    pub account: Option<&'a str>,
    /// Its quality of service.
    pub qos: Option<&'a str>,
    /// How often it was started before.
    pub restarts: u32,
    /// Seconds since 1970 when it started.
    pub started_s: Option<i64>,
}

impl Default for Queued<'_> {
    /// No queue.
    fn default() -> Self {
        Queued { cluster: "muster", partition: None, account: None, qos: None, restarts: 0, started_s: None }
    }
}

impl<'a> Place<'a> {
    /// A job of this host alone, without a queue.
    pub fn one_host(submit_dir: &'a Path, cpus: u32, user: (u32, &'a str, u32)) -> Place<'a> {
        let queued = Queued::default();
        Place { submit_dir, submit_host: None, cpus, user, shares: Vec::new(), gpus: None, queued }
    }
}

/// Variables by name, in the order in which they are set.
type Variables = Vec<(String, String)>;

/// The variables of the batch step of a job.
pub fn batch(spec: &JobSpec, names: &Names, place: &Place) -> Variables {
    let mut out = Variables::new();
    let alone =
        [Share { host: &names.host, cpus: spec.size.cpus().min(place.cpus), tasks: spec.size.tasks() }];
    let shares: &[Share] = if place.shares.is_empty() { &alone } else { &place.shares };
    identity(&mut out, spec, names, place);
    hosts(&mut out, shares, place.submit_host.unwrap_or(shares[0].host));
    size(&mut out, spec, shares);
    devices(&mut out, spec, place);
    asked(&mut out, spec);
    array(&mut out, spec, names);
    out
}

fn set(out: &mut Variables, names: &[&str], value: impl ToString) {
    let value = value.to_string();
    out.extend(names.iter().map(|name| ((*name).to_owned(), value.clone())));
}

/// Which job it is, whose, and where it came from.
fn identity(out: &mut Variables, spec: &JobSpec, names: &Names, place: &Place) {
    let (user, user_name, group) = place.user;
    let queued = &place.queued;
    set(out, &["SLURM_JOB_ID", "SLURM_JOBID"], names.job);
    set(out, &["SLURM_JOB_NAME"], &names.name);
    set(out, &["SLURM_SUBMIT_DIR"], place.submit_dir.display());
    set(out, &["SLURM_CLUSTER_NAME"], queued.cluster);
    let asked = spec.labels.get("partition").map_or("local", String::as_str);
    set(out, &["SLURM_JOB_PARTITION"], queued.partition.unwrap_or(asked));
    set(out, &["SLURM_JOB_UID"], user);
    set(out, &["SLURM_JOB_USER"], user_name);
    set(out, &["SLURM_JOB_GID"], group);
    for (name, value) in [
        ("SLURM_JOB_ACCOUNT", queued.account),
        ("SLURM_JOB_QOS", queued.qos),
        ("SLURM_JOB_RESERVATION", spec.queue.reservation.as_deref()),
    ] {
        value.into_iter().for_each(|value| set(out, &[name], value));
    }
    if queued.restarts > 0 {
        set(out, &["SLURM_RESTART_COUNT"], queued.restarts);
    }
    if let Some(started_s) = queued.started_s {
        set(out, &["SLURM_JOB_START_TIME"], started_s);
        if let Some(limit_s) = spec.time_limit_s {
            set(out, &["SLURM_JOB_END_TIME"], started_s.saturating_add_unsigned(limit_s));
        }
    }
}

/// Its hosts, of which the first runs the script.
fn hosts(out: &mut Variables, shares: &[Share], submit_host: &str) {
    let all: Vec<&str> = shares.iter().map(|share| share.host).collect();
    set(out, &["SLURM_JOB_NODELIST", "SLURM_NODELIST"], hostlist::print(&all));
    set(out, &["SLURMD_NODENAME", "SLURM_TOPOLOGY_ADDR"], all[0]);
    set(out, &["SLURM_SUBMIT_HOST"], submit_host);
    set(out, &["SLURM_JOB_NUM_NODES", "SLURM_NNODES"], all.len());
    let zeros = ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_PRIO_PROCESS"];
    set(out, &zeros, 0);
}

/// How large it is, on each host and together.
fn size(out: &mut Variables, spec: &JobSpec, shares: &[Share]) {
    set(out, &["SLURM_TASKS_PER_NODE"], per_host(shares.iter().map(|share| share.tasks)));
    set(out, &["SLURM_JOB_CPUS_PER_NODE"], per_host(shares.iter().map(|share| share.cpus)));
    set(out, &["SLURM_CPUS_ON_NODE"], shares[0].cpus);
    if spec.size.ntasks.is_some() || spec.size.ntasks_per_node.is_some() {
        let placed = shares.iter().map(|share| share.tasks).fold(0, u32::saturating_add);
        set(out, &["SLURM_NTASKS", "SLURM_NPROCS"], spec.size.ntasks.unwrap_or(placed));
    }
    if let Some(n) = spec.size.ntasks_per_node {
        set(out, &["SLURM_NTASKS_PER_NODE"], n);
    }
    if let Some(n) = spec.size.cpus_per_task {
        set(out, &["SLURM_CPUS_PER_TASK"], n);
    }
    match spec.size.memory {
        Some(Memory::PerNode(mib)) => set(out, &["SLURM_MEM_PER_NODE"], mib),
        Some(Memory::PerCpu(mib)) => set(out, &["SLURM_MEM_PER_CPU"], mib),
        None => {}
    }
}

/// The GPUs that it has of this host. Where they are handed out and it has none, it sees none.
fn devices(out: &mut Variables, spec: &JobSpec, place: &Place) {
    let Some(gpus) = &place.gpus else { return };
    let list = gpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    set(out, &["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"], &list);
    // They are numbered by their places on the bus, and not by their speed.
    set(out, &["CUDA_DEVICE_ORDER"], "PCI_BUS_ID");
    if gpus.is_empty() {
        return;
    }
    set(out, &["SLURM_JOB_GPUS"], &list);
    set(out, &["SLURM_GPUS_ON_NODE"], gpus.len());
    for gres in spec.needs.gres.iter().filter(|gres| gres.name == "gpu") {
        let name = match gres.per {
            GresPer::Job => "SLURM_GPUS",
            GresPer::Host => "SLURM_GPUS_PER_NODE",
            GresPer::Task => "SLURM_GPUS_PER_TASK",
        };
        let kind = gres.kind.as_ref().map_or_else(String::new, |kind| format!("{kind}:"));
        set(out, &[name], format!("{kind}{}", gres.count));
    }
}

/// What else it asked for, as it asked.
fn asked(out: &mut Variables, spec: &JobSpec) {
    if !spec.when.dependency.clauses.is_empty() {
        set(out, &["SLURM_JOB_DEPENDENCY"], dependency::print(&spec.when.dependency));
    }
    if !spec.needs.licences.is_empty() {
        set(out, &["SLURM_JOB_LICENSES"], resource::print_licences(&spec.needs.licences));
    }
}

fn array(out: &mut Variables, spec: &JobSpec, names: &Names) {
    let (Some((array, index)), Some(spec)) = (names.element, &spec.array) else { return };
    let indices = spec.indices();
    set(out, &["SLURM_ARRAY_JOB_ID"], array);
    set(out, &["SLURM_ARRAY_TASK_ID"], index);
    set(out, &["SLURM_ARRAY_TASK_COUNT"], indices.len());
    set(out, &["SLURM_ARRAY_TASK_MIN"], indices.first().copied().unwrap_or(0));
    set(out, &["SLURM_ARRAY_TASK_MAX"], indices.last().copied().unwrap_or(0));
    set(out, &["SLURM_ARRAY_TASK_STEP"], spec.step());
}

/// Numbers of hosts one after the other, neighbours that are equal told once: `2(x3),1`.
pub fn per_host(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((last, times)) if *last == number => *times += 1,
            _ => runs.push((number, 1)),
        }
    }
    let one = |(number, times): (u32, usize)| match times {
        1 => number.to_string(),
        _ => format!("{number}(x{times})"),
    };
    runs.into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// How many threads a task may use, for the libraries that would take every CPU.
pub fn thread_budget(spec: &JobSpec) -> Vec<(String, String)> {
    let threads = spec.size.cpus_per_task.unwrap_or(1).to_string();
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]
        .map(|name| (name.to_owned(), threads.clone()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Now;
    use crate::words::{self, Origin};
    use proptest::prelude::*;

    fn spec(list: &[&str], place: crate::Place) -> JobSpec {
        let words: Vec<_> = list.iter().map(|w| ((*w).to_owned(), Origin::CommandLine)).collect();
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        words::read(&words, &mut given, &mut mistakes);
        crate::jobspec(&given, "env", place).expect("a jobspec")
    }

    fn names(element: Option<(u64, u32)>) -> Names {
        Names { job: 216, element, name: "env".into(), host: "n1".into(), user: "ada".into() }
    }

    fn assert_set(all: &Variables, wanted: &[(&str, Option<&str>)]) {
        let get = |name: &str| all.iter().find(|v| v.0 == name).map(|v| v.1.as_str());
        wanted.iter().for_each(|(name, value)| assert_eq!(get(name), *value, "{name}"));
        let mut each: Vec<&String> = all.iter().map(|v| &v.0).collect();
        each.sort();
        assert!(each.windows(2).all(|w| w[0] != w[1]), "each once: {each:?}");
    }

    #[test]
    fn an_array_element_has_slurms_variables() {
        let spec = spec(&["--array=2-6:2%1", "-n3", "--mem=500"], crate::Place::Here);
        let place = Place::one_host(Path::new("/home/ada"), 2, (1000, "ada", 100));
        let wanted = [
            ("SLURM_ARRAY_JOB_ID", Some("214")),
            ("SLURM_ARRAY_TASK_COUNT", Some("3")),
            ("SLURM_ARRAY_TASK_ID", Some("4")),
            ("SLURM_ARRAY_TASK_MAX", Some("6")),
            ("SLURM_ARRAY_TASK_MIN", Some("2")),
            ("SLURM_ARRAY_TASK_STEP", Some("2")),
            ("SLURM_JOB_ID", Some("216")),
            ("SLURM_JOB_NODELIST", Some("n1")),
            ("SLURM_JOB_PARTITION", Some("local")),
            ("SLURM_CLUSTER_NAME", Some("muster")),
            ("SLURM_SUBMIT_HOST", Some("n1")),
            ("SLURM_CPUS_ON_NODE", Some("2")),
            ("SLURM_TASKS_PER_NODE", Some("3")),
            ("SLURM_NTASKS", Some("3")),
            ("SLURM_MEM_PER_NODE", Some("500")),
            ("SLURM_SUBMIT_DIR", Some("/home/ada")),
            // Only when asked for, handed out or so, as Slurm has it.
            ("SLURM_CPUS_PER_TASK", None),
            ("SLURM_RESTART_COUNT", None),
            ("CUDA_VISIBLE_DEVICES", None),
            ("SLURM_JOB_ACCOUNT", None),
        ];
        assert_set(&batch(&spec, &names(Some((214, 4))), &place), &wanted);
    }

    #[test]
    fn a_job_of_several_hosts_has_slurms_variables() {
        let queue = crate::Place::Queue(Now::default());
        let list =
            ["-N2", "-n3", "-c2", "--mem=500", "-t7", "-d", "afterok:9", "-L", "a:2", "--gres=gpu:a100:2"];
        let spec = spec(&list, queue);
        let share = |host, cpus, tasks| Share { host, cpus, tasks };
        let mut place = Place {
            submit_host: Some("vm"),
            shares: vec![share("n1", 4, 2), share("n2", 2, 1)],
            gpus: Some(vec![1, 3]),
            queued: Queued {
                cluster: "peer",
                partition: Some("debug"),
                account: Some("lab"),
                qos: Some("normal"),
                restarts: 1,
                started_s: Some(1000),
            },
            ..Place::one_host(Path::new("/home/ada"), 8, (1000, "ada", 100))
        };
        let wanted = [
            ("SLURM_CLUSTER_NAME", Some("peer")),
            ("SLURM_CPUS_ON_NODE", Some("4")),
            ("SLURM_CPUS_PER_TASK", Some("2")),
            ("SLURM_JOB_ACCOUNT", Some("lab")),
            ("SLURM_JOB_CPUS_PER_NODE", Some("4,2")),
            ("SLURM_JOB_NODELIST", Some("n[1-2]")),
            ("SLURM_NODELIST", Some("n[1-2]")),
            ("SLURM_JOB_NUM_NODES", Some("2")),
            ("SLURM_NNODES", Some("2")),
            ("SLURM_JOB_PARTITION", Some("debug")),
            ("SLURM_JOB_QOS", Some("normal")),
            ("SLURM_NPROCS", Some("3")),
            ("SLURM_TASKS_PER_NODE", Some("2,1")),
            ("SLURM_SUBMIT_HOST", Some("vm")),
            ("SLURMD_NODENAME", Some("n1")),
            ("SLURM_RESTART_COUNT", Some("1")),
            ("SLURM_JOB_START_TIME", Some("1000")),
            ("SLURM_JOB_END_TIME", Some("1420")),
            ("SLURM_JOB_GPUS", Some("1,3")),
            ("CUDA_VISIBLE_DEVICES", Some("1,3")),
            ("SLURM_GPUS_ON_NODE", Some("2")),
            ("SLURM_GPUS_PER_NODE", Some("a100:2")),
            ("SLURM_JOB_DEPENDENCY", Some("afterok:9")),
            ("SLURM_JOB_LICENSES", Some("a:2")),
        ];
        assert_set(&batch(&spec, &names(None), &place), &wanted);
        place.gpus = Some(vec![]);
        let none = [("CUDA_VISIBLE_DEVICES", Some("")), ("SLURM_JOB_GPUS", None)];
        assert_set(&batch(&spec, &names(None), &place), &none);
    }

    #[test]
    fn equal_neighbours_are_told_once() {
        for (numbers, wanted) in
            [(&[2, 2, 2, 1][..], "2(x3),1"), (&[4], "4"), (&[1, 2, 1], "1,2,1"), (&[], "")]
        {
            assert_eq!(per_host(numbers.iter().copied()), wanted);
        }
    }

    proptest! {
        #[test]
        fn no_host_is_lost(numbers in prop::collection::vec(1..3_u32, 0..9)) {
            let times = |part: &str| match part.split_once("(x") {
                Some((number, times)) => vec![number.parse().unwrap(); times.trim_end_matches(')').parse().unwrap()],
                None => vec![part.parse::<u32>().unwrap()],
            };
            let text = per_host(numbers.iter().copied());
            let read: Vec<u32> = text.split(',').filter(|part| !part.is_empty()).flat_map(times).collect();
            prop_assert_eq!(read, numbers);
        }
    }
}
