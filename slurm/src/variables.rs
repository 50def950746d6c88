//! The variables of the environment that stand for options, as `sbatch` has them.

use crate::options::{OPTIONS, Place, Support, Takes};
use crate::words::{Given, Origin};

/// Variables and the options that they stand for; a later one overrides an earlier one for the same option.
const VARIABLES: &[(&str, &str)] = &[
    ("SBATCH_ACCOUNT", "account"),
    ("SBATCH_ACCTG_FREQ", "acctg-freq"),
    ("SBATCH_ARRAY_INX", "array"),
    ("SBATCH_BATCH", "batch"),
    ("SLURM_CLUSTERS", "clusters"),
    ("SBATCH_CLUSTERS", "clusters"),
    ("SBATCH_CLUSTER_CONSTRAINT", "cluster-constraint"),
    ("SBATCH_CONSTRAINT", "constraint"),
    ("SBATCH_CONTAINER", "container"),
    ("SBATCH_CORE_SPEC", "core-spec"),
    ("SBATCH_CPU_FREQ_REQ", "cpu-freq"),
    ("SBATCH_CPUS_PER_GPU", "cpus-per-gpu"),
    ("SBATCH_DEBUG", "verbose"),
    ("SBATCH_DELAY_BOOT", "delay-boot"),
    ("SBATCH_DISTRIBUTION", "distribution"),
    ("SBATCH_ERROR", "error"),
    ("SBATCH_EXCLUSIVE", "exclusive"),
    ("SBATCH_EXPORT", "export"),
    ("SBATCH_GET_USER_ENV", "get-user-env"),
    ("SBATCH_GPU_BIND", "gpu-bind"),
    ("SBATCH_GPU_FREQ", "gpu-freq"),
    ("SBATCH_GPUS", "gpus"),
    ("SBATCH_GPUS_PER_NODE", "gpus-per-node"),
    ("SBATCH_GPUS_PER_TASK", "gpus-per-task"),
    ("SBATCH_GRES", "gres"),
    ("SBATCH_GRES_FLAGS", "gres-flags"),
    ("SLURM_HINT", "hint"),
    ("SBATCH_HINT", "hint"),
    ("SBATCH_IGNORE_PBS", "ignore-pbs"),
    ("SBATCH_INPUT", "input"),
    ("SBATCH_JOB_NAME", "job-name"),
    ("SBATCH_MEM_BIND", "mem-bind"),
    ("SBATCH_MEM_PER_CPU", "mem-per-cpu"),
    ("SBATCH_MEM_PER_GPU", "mem-per-gpu"),
    ("SBATCH_MEM_PER_NODE", "mem"),
    ("SBATCH_NETWORK", "network"),
    ("SBATCH_NO_KILL", "no-kill"),
    ("SBATCH_NO_REQUEUE", "no-requeue"),
    ("SBATCH_OPEN_MODE", "open-mode"),
    ("SBATCH_OUTPUT", "output"),
    ("SBATCH_OVERCOMMIT", "overcommit"),
    ("SBATCH_PARTITION", "partition"),
    ("SBATCH_POWER", "power"),
    ("SBATCH_PROFILE", "profile"),
    ("SBATCH_QOS", "qos"),
    ("SBATCH_REQ_SWITCH", "switches"),
    ("SBATCH_REQUEUE", "requeue"),
    ("SBATCH_RESERVATION", "reservation"),
    ("SBATCH_SIGNAL", "signal"),
    ("SBATCH_SPREAD_JOB", "spread-job"),
    ("SBATCH_THREAD_SPEC", "thread-spec"),
    ("SBATCH_THREADS_PER_CORE", "threads-per-core"),
    ("SBATCH_TIMELIMIT", "time"),
    ("SBATCH_TRES_PER_TASK", "tres-per-task"),
    ("SBATCH_USE_MIN_NODES", "use-min-nodes"),
    ("SBATCH_WAIT", "wait"),
    ("SBATCH_WAIT_ALL_NODES", "wait-all-nodes"),
    ("SBATCH_WCKEY", "wckey"),
];

/// The options that the environment gives. Of a run here, those that it honours; a queue hears all, so that it refuses
/// by name what it cannot do. A variable that is set to nothing gives no option that wants a value.
pub fn from_environment(place: Place, get: impl Fn(&str) -> Option<String>) -> Vec<Given> {
    let one = |&(variable, long): &(&str, &str)| {
        let option = OPTIONS.iter().find(|o| o.long == long)?;
        let heard = place != Place::Here || option.support(place) == Support::Honoured;
        let value =
            get(variable).filter(|value| heard && (option.takes != Takes::Value || !value.is_empty()))?;
        Some(Given { option, written: format!("{variable}={value}"), value, origin: Origin::CommandLine })
    };
    VARIABLES.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Now;

    #[test]
    fn every_variable_stands_for_an_option() {
        let queue = Place::Queue(Now::default());
        let all = from_environment(queue, |_| Some("1".into()));
        assert_eq!(all.len(), VARIABLES.len());
        let set =
            |name: &str| (name == "SBATCH_PARTITION" || name == "SBATCH_QOS").then(|| "short".to_owned());
        let longs = |given: Vec<Given>| given.iter().map(|g| g.option.long).collect::<Vec<_>>();
        assert_eq!(longs(from_environment(queue, set)), ["partition", "qos"]);
        assert_eq!(longs(from_environment(Place::Here, set)), [""; 0], "only what is honoured");
        let empty = |_: &str| Some(String::new());
        assert!(from_environment(queue, empty).iter().all(|g| g.option.takes != Takes::Value));
    }
}
