//! Every option of `sbatch`, once: its names, whether it takes a value, and what becomes of it on one host and in a
//! queue.

use crate::moment::Now;
use crate::own::OWN;

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Never.
    Nothing,
    /// Always.
    Value,
    /// Only as `--name=value`.
    Maybe,
}

/// Where a script is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this host, without a queue: `muster run`.
    Here,
    /// Wherever the queue says, submitted now: `muster submit`, `sbatch`.
    Queue(Now),
}

/// What becomes of an option in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// What Slurm does.
    Honoured,
    /// Nothing, because of this; the script means the same without it.
    Ignored(&'static str),
    /// An error, because of this; without it the script would mean something else.
    Refused(&'static str),
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionDef {
    /// The long name, without dashes.
    pub long: &'static str,
    /// The short name.
    pub short: Option<char>,
    /// Whether it takes a value.
    pub takes: Takes,
    /// What becomes of it on this host, without a queue.
    pub here: Support,
    /// What becomes of it in a queue.
    pub queue: Support,
}

impl OptionDef {
    /// What becomes of it in a place.
    pub fn support(&self, place: Place) -> Support {
        match place {
            Place::Here => self.here,
            Place::Queue(_) => self.queue,
        }
    }
}

const NO_QUEUE: &str = "there is no queue here: the job starts at once";
const NO_ACCOUNTS: &str = "there are no accounts here";
const ONE_HOST: &str = "this host is the only one";
const WHOLE_HOST: &str = "a run here may use the whole host";
const NO_MAIL: &str = "nothing here sends mail: you see the end of the job";
const NOT_KEPT: &str = "nothing here keeps it";
const NO_GPU: &str = "GPUs are not handed out here: the job sees those of the host";
const BINDING: &str = "muster binds the threads of its own kernels; other programs are left to the system";
const WAITS: &str = "a run here waits for its job";
const HET: &str = "heterogeneous jobs are not supported";
const NEEDS_QUEUE: &str = "it needs a queue";

const NO_SAMPLES: &str = "how often usage is sampled is the site's to say";
const NO_BUFFERS: &str = "there are no burst buffers here";
const ONE_CLUSTER: &str = "there is one cluster";
const NO_CONTAINERS: &str = "containers are not supported";
const NO_SPECIAL: &str = "no cores are set aside for the system here";
const NO_SOCKETS: &str = "CPUs are handed out by task, whatever their sockets and threads";
const FREQUENCY: &str = "the frequency is left to the system";
const PLAN: &str = "the queue plans where tasks and their devices lie";
const NO_EXPORT_FILE: &str = "an environment from a file is not supported";
const OWN_RIGHTS: &str = "a run has your own rights";
const ALL_GPUS: &str = "the tasks of a job see all of its GPUs on their host";
const NO_PBS: &str = "#PBS lines are never read";
const NO_MAIL_YET: &str = "muster sends no mail yet";
const OWN_CPUS: &str = "each job has CPUs of its own";
const NO_REBOOT: &str = "muster reboots nothing";

/// An option; what becomes of it here, and in a queue.
pub(crate) const fn option(
    long: &'static str,
    short: Option<char>,
    takes: Takes,
    [here, queue]: [Support; 2],
) -> OptionDef {
    OptionDef { long, short, takes, here, queue }
}

use Support::{Honoured, Ignored, Refused};
use Takes::{Maybe, Nothing, Value};

/// The options of `sbatch`, by name.
pub static OPTIONS: &[OptionDef] = &[
    option("account", Some('A'), Value, [Ignored(NO_ACCOUNTS), Honoured]),
    option("acctg-freq", None, Value, [Ignored(NOT_KEPT), Ignored(NO_SAMPLES)]),
    option("array", Some('a'), Value, [Honoured, Honoured]),
    option(
        "batch",
        None,
        Value,
        [
            Ignored(ONE_HOST),
            Refused("the first of the job's hosts runs the script: say --constraint for all of them"),
        ],
    ),
    option("bb", None, Value, [Refused(NO_BUFFERS), Refused(NO_BUFFERS)]),
    option("bbf", None, Value, [Refused(NO_BUFFERS), Refused(NO_BUFFERS)]),
    option("begin", Some('b'), Value, [Refused(NEEDS_QUEUE), Honoured]),
    option("chdir", Some('D'), Value, [Honoured, Honoured]),
    option("cluster-constraint", None, Value, [Refused(ONE_CLUSTER), Refused(ONE_CLUSTER)]),
    option("clusters", Some('M'), Value, [Refused(ONE_CLUSTER), Refused(ONE_CLUSTER)]),
    option("comment", None, Value, [Ignored(NOT_KEPT), Honoured]),
    option("constraint", Some('C'), Value, [Ignored(ONE_HOST), Honoured]),
    option("container", None, Value, [Refused(NO_CONTAINERS), Refused(NO_CONTAINERS)]),
    option("contiguous", None, Nothing, [Ignored(ONE_HOST), Ignored("hosts stand in no order here")]),
    option("core-spec", Some('S'), Value, [Ignored(WHOLE_HOST), Ignored(NO_SPECIAL)]),
    option("cores-per-socket", None, Value, [Ignored(ONE_HOST), Ignored(NO_SOCKETS)]),
    option("cpu-freq", None, Value, [Ignored(FREQUENCY), Ignored(FREQUENCY)]),
    option(
        "cpus-per-gpu",
        None,
        Value,
        [Ignored(NO_GPU), Refused("CPUs are counted by task: say --cpus-per-task")],
    ),
    option("cpus-per-task", Some('c'), Value, [Honoured, Honoured]),
    option("deadline", None, Value, [Refused(NEEDS_QUEUE), Honoured]),
    option("delay-boot", None, Value, [Ignored(ONE_HOST), Ignored("no host is booted for a job")]),
    option("dependency", Some('d'), Value, [Refused(NEEDS_QUEUE), Honoured]),
    option("distribution", Some('m'), Value, [Ignored(BINDING), Ignored(PLAN)]),
    option("error", Some('e'), Value, [Honoured, Honoured]),
    option("exclude", Some('x'), Value, [Ignored(ONE_HOST), Honoured]),
    option("exclusive", None, Maybe, [Ignored(WHOLE_HOST), Honoured]),
    option("export", None, Value, [Honoured, Honoured]),
    option("export-file", None, Value, [Refused(NO_EXPORT_FILE), Refused(NO_EXPORT_FILE)]),
    option("extra-node-info", Some('B'), Value, [Ignored(ONE_HOST), Ignored(NO_SOCKETS)]),
    option(
        "get-user-env",
        None,
        Maybe,
        [
            Ignored("the job has your environment already"),
            Ignored("the job has the environment that it is submitted from"),
        ],
    ),
    option("gid", None, Value, [Refused(OWN_RIGHTS), Refused(OWN_RIGHTS)]),
    option("gpu-bind", None, Value, [Ignored(NO_GPU), Ignored(ALL_GPUS)]),
    option("gpu-freq", None, Value, [Ignored(NO_GPU), Ignored(FREQUENCY)]),
    option("gpus", Some('G'), Value, [Ignored(NO_GPU), Honoured]),
    option("gpus-per-node", None, Value, [Ignored(NO_GPU), Honoured]),
    option(
        "gpus-per-socket",
        None,
        Value,
        [Ignored(NO_GPU), Refused("GPUs are counted by host, by task or for the job: say --gpus-per-node")],
    ),
    option("gpus-per-task", None, Value, [Ignored(NO_GPU), Honoured]),
    option("gres", None, Value, [Ignored(NO_GPU), Honoured]),
    option("gres-flags", None, Value, [Ignored(NO_GPU), Ignored(PLAN)]),
    option("hint", None, Value, [Ignored(BINDING), Ignored(BINDING)]),
    option("hold", Some('H'), Nothing, [Refused(NEEDS_QUEUE), Honoured]),
    option("ignore-pbs", None, Nothing, [Ignored(NO_PBS), Ignored(NO_PBS)]),
    option("input", Some('i'), Value, [Honoured, Honoured]),
    option("job-name", Some('J'), Value, [Honoured, Honoured]),
    option("kill-on-invalid-dep", None, Value, [Ignored(NO_QUEUE), Honoured]),
    option("licenses", Some('L'), Value, [Ignored("licences are not counted here"), Honoured]),
    option("mail-type", None, Value, [Ignored(NO_MAIL), Ignored(NO_MAIL_YET)]),
    option("mail-user", None, Value, [Ignored(NO_MAIL), Ignored(NO_MAIL_YET)]),
    option(
        "mcs-label",
        None,
        Value,
        [
            Ignored(NO_ACCOUNTS),
            Refused("there are no such labels here; --exclusive keeps others off its hosts"),
        ],
    ),
    option("mem", None, Value, [Honoured, Honoured]),
    option("mem-bind", None, Value, [Ignored(BINDING), Ignored(BINDING)]),
    option("mem-per-cpu", None, Value, [Honoured, Honoured]),
    option(
        "mem-per-gpu",
        None,
        Value,
        [Ignored(NO_GPU), Refused("memory is counted by host or by CPU: say --mem or --mem-per-cpu")],
    ),
    option(
        "mincpus",
        None,
        Value,
        [Ignored(ONE_HOST), Refused("CPUs are counted by task: say --ntasks-per-node and --cpus-per-task")],
    ),
    option("network", None, Value, [Ignored(ONE_HOST), Ignored("networks are not handed out")]),
    option("nice", None, Maybe, [Ignored(NO_QUEUE), Honoured]),
    option(
        "no-kill",
        Some('k'),
        Maybe,
        [
            Ignored(ONE_HOST),
            Refused("a script that loses a host ends; a kernel goes on without being told to"),
        ],
    ),
    option("no-requeue", None, Nothing, [Ignored(NO_QUEUE), Honoured]),
    option("nodefile", Some('F'), Value, [Ignored(ONE_HOST), Refused("name the hosts with --nodelist")]),
    option("nodelist", Some('w'), Value, [Ignored(ONE_HOST), Honoured]),
    option("nodes", Some('N'), Value, [Honoured, Honoured]),
    option("ntasks", Some('n'), Value, [Honoured, Honoured]),
    option("ntasks-per-core", None, Value, [Ignored(BINDING), Ignored(NO_SOCKETS)]),
    option(
        "ntasks-per-gpu",
        None,
        Value,
        [Ignored(NO_GPU), Refused("GPUs are counted by task: say --gpus-per-task")],
    ),
    option("ntasks-per-node", None, Value, [Honoured, Honoured]),
    option("ntasks-per-socket", None, Value, [Ignored(BINDING), Ignored(NO_SOCKETS)]),
    option("open-mode", None, Value, [Honoured, Honoured]),
    option("output", Some('o'), Value, [Honoured, Honoured]),
    option("overcommit", Some('O'), Nothing, [Ignored(WHOLE_HOST), Ignored(OWN_CPUS)]),
    option("oversubscribe", Some('s'), Nothing, [Ignored(WHOLE_HOST), Ignored(OWN_CPUS)]),
    option("parsable", None, Nothing, [Ignored(WAITS), Honoured]),
    option("partition", Some('p'), Value, [Ignored("there are no partitions here"), Honoured]),
    option("power", None, Value, [Ignored(ONE_HOST), Ignored(FREQUENCY)]),
    option(
        "prefer",
        None,
        Value,
        [Ignored(ONE_HOST), Ignored("only what a job must have is looked at: say --constraint")],
    ),
    option("priority", None, Value, [Ignored(NO_QUEUE), Honoured]),
    option("profile", None, Value, [Ignored(NOT_KEPT), Ignored(NO_SAMPLES)]),
    option(
        "propagate",
        None,
        Maybe,
        [Ignored("limits are your own already"), Ignored("a job has the limits of its hosts")],
    ),
    option("qos", Some('q'), Value, [Ignored(NO_ACCOUNTS), Honoured]),
    option("quiet", Some('Q'), Nothing, [Honoured, Honoured]),
    option("reboot", None, Nothing, [Refused(NO_REBOOT), Refused(NO_REBOOT)]),
    option("requeue", None, Nothing, [Ignored(NO_QUEUE), Honoured]),
    option("reservation", None, Value, [Ignored(NO_QUEUE), Honoured]),
    option("signal", None, Value, [Honoured, Honoured]),
    option("sockets-per-node", None, Value, [Ignored(ONE_HOST), Ignored(NO_SOCKETS)]),
    option("spread-job", None, Nothing, [Ignored(ONE_HOST), Honoured]),
    option("switches", None, Value, [Ignored(ONE_HOST), Ignored("how hosts are wired is not known here")]),
    option("tasks-per-node", None, Value, [Honoured, Honoured]),
    option(
        "test-only",
        None,
        Nothing,
        [Refused("muster check JOB.SH reads a script without running it"), Honoured],
    ),
    option("thread-spec", None, Value, [Ignored(WHOLE_HOST), Ignored(NO_SPECIAL)]),
    option("threads-per-core", None, Value, [Ignored(BINDING), Ignored(NO_SOCKETS)]),
    option("time", Some('t'), Value, [Honoured, Honoured]),
    option("time-min", None, Value, [Ignored(NO_QUEUE), Honoured]),
    option(
        "tmp",
        None,
        Value,
        [
            Ignored(ONE_HOST),
            Refused("room on local disks is not counted here: choose hosts with --constraint"),
        ],
    ),
    option(
        "tres-per-task",
        None,
        Value,
        [Ignored(NO_GPU), Refused("say --cpus-per-task and --gpus-per-task")],
    ),
    option("uid", None, Value, [Refused(OWN_RIGHTS), Refused(OWN_RIGHTS)]),
    option(
        "use-min-nodes",
        None,
        Nothing,
        [Ignored(ONE_HOST), Ignored("a job gets the fewest hosts already")],
    ),
    option("verbose", Some('v'), Nothing, [Ignored("muster check JOB.SH tells what it reads"), Honoured]),
    option("wait", Some('W'), Nothing, [Ignored(WAITS), Honoured]),
    option(
        "wait-all-nodes",
        None,
        Value,
        [Ignored(ONE_HOST), Ignored("a script starts when all of its hosts are ready")],
    ),
    option("wckey", None, Value, [Ignored(NO_ACCOUNTS), Ignored("work is charged to accounts alone")]),
    option("wrap", None, Value, [Honoured, Honoured]),
];

/// What stands for `hetjob` lines.
pub(crate) const HETEROGENEOUS: Support = Refused(HET);

/// The option with this long name, or the only one of `sbatch` that begins so, as getopt finds it. Muster's own options
/// want their whole names, so that none of them makes a beginning ambiguous that `sbatch` takes.
///
/// # Errors
/// The candidates: none, or several.
pub fn find_long(name: &str) -> Result<&'static OptionDef, Vec<&'static str>> {
    if let Some(exact) = OPTIONS.iter().chain(OWN).find(|o| o.long == name) {
        return Ok(exact);
    }
    let found: Vec<&'static OptionDef> =
        OPTIONS.iter().filter(|o| !name.is_empty() && o.long.starts_with(name)).collect();
    match found[..] {
        [only] => Ok(only),
        _ => Err(found.iter().map(|o| o.long).collect()),
    }
}

/// The option with this letter.
pub fn find_short(letter: char) -> Option<&'static OptionDef> {
    OPTIONS.iter().find(|o| o.short == Some(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(OPTIONS.windows(2).all(|w| w[0].long < w[1].long));
        let mut letters: Vec<char> = OPTIONS.iter().filter_map(|o| o.short).collect();
        letters.sort_unstable();
        assert!(letters.windows(2).all(|w| w[0] != w[1]), "{letters:?}");
    }

    #[test]
    fn beginnings_are_enough() {
        assert_eq!(find_long("out").unwrap().long, "output");
        assert_eq!(find_long("tasks").unwrap().long, "tasks-per-node", "the trap");
        assert_eq!(find_long("time").unwrap().long, "time", "exact, though time-min begins so, too");
        assert!(find_long("mem-").unwrap_err().len() > 1);
        assert_eq!(find_long("l").unwrap().long, "licenses", "a name of ours is in nobody's way");
        assert_eq!(find_long("label").unwrap().long, "label");
        assert!(find_long("labe").unwrap_err().is_empty());
        assert_eq!(find_long("bogus").unwrap_err(), Vec::<&str>::new());
    }
}
