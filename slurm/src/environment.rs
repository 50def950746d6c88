//! The environment of a batch script: the variables that Slurm sets, from one place.

use crate::pattern::Names;
use muster_core::jobspec::{JobSpec, Memory};
use std::path::Path;

/// What a script's host is like.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Where the job was submitted.
    pub submit_dir: &'a Path,
    /// CPUs of this host.
    pub cpus: u32,
    /// Number and name of the user, number of the group.
    pub user: (u32, &'a str, u32),
}

/// The variables of the batch step of a job.
pub fn batch(spec: &JobSpec, names: &Names, place: &Place) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &dyn ToString| out.push((name.to_owned(), value.to_string()));
    let (job, host, name) = (names.job, &names.host, &names.name);
    let cpus = spec.size.cpus().min(place.cpus);
    for variable in ["SLURM_JOB_ID", "SLURM_JOBID"] {
        set(variable, &job);
    }
    set("SLURM_JOB_NAME", name);
    for variable in [
        "SLURM_JOB_NODELIST",
        "SLURM_NODELIST",
        "SLURMD_NODENAME",
        "SLURM_SUBMIT_HOST",
        "SLURM_TOPOLOGY_ADDR",
    ] {
        set(variable, host);
    }
    for variable in ["SLURM_JOB_NUM_NODES", "SLURM_NNODES"] {
        set(variable, &1);
    }
    for variable in ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_PRIO_PROCESS"] {
        set(variable, &0);
    }
    set("SLURM_SUBMIT_DIR", &place.submit_dir.display());
    set("SLURM_CLUSTER_NAME", &"muster");
    set("SLURM_JOB_PARTITION", spec.labels.get("partition").unwrap_or(&"local".to_owned()));
    set("SLURM_TASKS_PER_NODE", &spec.size.tasks());
    set("SLURM_CPUS_ON_NODE", &cpus);
    set("SLURM_JOB_CPUS_PER_NODE", &cpus);
    set("SLURM_JOB_UID", &place.user.0);
    set("SLURM_JOB_USER", &place.user.1);
    set("SLURM_JOB_GID", &place.user.2);
    if spec.size.ntasks.is_some() || spec.size.ntasks_per_node.is_some() {
        set("SLURM_NTASKS", &spec.size.tasks());
        set("SLURM_NPROCS", &spec.size.tasks());
    }
    if let Some(n) = spec.size.ntasks_per_node {
        set("SLURM_NTASKS_PER_NODE", &n);
    }
    if let Some(n) = spec.size.cpus_per_task {
        set("SLURM_CPUS_PER_TASK", &n);
    }
    match spec.size.memory {
        Some(Memory::PerNode(mib)) => set("SLURM_MEM_PER_NODE", &mib),
        Some(Memory::PerCpu(mib)) => set("SLURM_MEM_PER_CPU", &mib),
        None => {}
    }
    if let (Some((array, index)), Some(spec)) = (names.element, &spec.array) {
        let indices = spec.indices();
        set("SLURM_ARRAY_JOB_ID", &array);
        set("SLURM_ARRAY_TASK_ID", &index);
        set("SLURM_ARRAY_TASK_COUNT", &indices.len());
        set("SLURM_ARRAY_TASK_MIN", &indices.first().copied().unwrap_or(0));
        set("SLURM_ARRAY_TASK_MAX", &indices.last().copied().unwrap_or(0));
        set("SLURM_ARRAY_TASK_STEP", &spec.step());
    }
    out
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
    use crate::options::OPTIONS;
    use crate::words::{Given, Origin};

    #[test]
    fn an_array_element_has_slurms_variables() {
        let given = |long: &str, value: &str| Given {
            option: OPTIONS.iter().find(|o| o.long == long).unwrap(),
            value: value.into(),
            written: String::new(),
            origin: Origin::CommandLine,
        };
        let given = [given("array", "2-6:2%1"), given("ntasks", "3"), given("mem", "500")];
        let spec = crate::jobspec(&given, "env", crate::Place::Here).unwrap();
        let names = Names {
            job: 216,
            element: Some((214, 4)),
            name: "env".into(),
            host: "n1".into(),
            user: "ada".into(),
        };
        let place = Place { submit_dir: Path::new("/home/ada"), cpus: 2, user: (1000, "ada", 100) };
        let all = batch(&spec, &names, &place);
        let get = |name: &str| all.iter().find(|v| v.0 == name).map(|v| v.1.as_str());
        for (name, want) in [
            ("SLURM_ARRAY_JOB_ID", "214"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
            ("SLURM_ARRAY_TASK_ID", "4"),
            ("SLURM_ARRAY_TASK_MAX", "6"),
            ("SLURM_ARRAY_TASK_MIN", "2"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_JOB_ID", "216"),
            ("SLURM_JOB_NODELIST", "n1"),
            ("SLURM_NTASKS", "3"),
            ("SLURM_MEM_PER_NODE", "500"),
            ("SLURM_SUBMIT_DIR", "/home/ada"),
        ] {
            assert_eq!(get(name), Some(want), "{name}");
        }
        assert_eq!(get("SLURM_CPUS_PER_TASK"), None, "only when asked for, as Slurm has it");
    }
}
