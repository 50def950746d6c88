//! Every option of `sbatch`, once: its names, whether it takes a value, and what `muster run` does with it.

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

/// What a run on one host without a queue does with an option.
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
    /// What happens to it here.
    pub support: Support,
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

const fn option(long: &'static str, short: Option<char>, takes: Takes, support: Support) -> OptionDef {
    OptionDef { long, short, takes, support }
}

use Support::{Honoured, Ignored, Refused};
use Takes::{Maybe, Nothing, Value};

/// The options of `sbatch`, by name.
pub static OPTIONS: &[OptionDef] = &[
    option("account", Some('A'), Value, Ignored(NO_ACCOUNTS)),
    option("acctg-freq", None, Value, Ignored(NOT_KEPT)),
    option("array", Some('a'), Value, Honoured),
    option("batch", None, Value, Ignored(ONE_HOST)),
    option("bb", None, Value, Refused("there are no burst buffers here")),
    option("bbf", None, Value, Refused("there are no burst buffers here")),
    option("begin", Some('b'), Value, Refused(NEEDS_QUEUE)),
    option("chdir", Some('D'), Value, Honoured),
    option("cluster-constraint", None, Value, Refused("there is one cluster")),
    option("clusters", Some('M'), Value, Refused("there is one cluster")),
    option("comment", None, Value, Ignored(NOT_KEPT)),
    option("constraint", Some('C'), Value, Ignored(ONE_HOST)),
    option("container", None, Value, Refused("containers are not supported")),
    option("contiguous", None, Nothing, Ignored(ONE_HOST)),
    option("core-spec", Some('S'), Value, Ignored(WHOLE_HOST)),
    option("cores-per-socket", None, Value, Ignored(ONE_HOST)),
    option("cpu-freq", None, Value, Ignored("the frequency is left to the system")),
    option("cpus-per-gpu", None, Value, Ignored(NO_GPU)),
    option("cpus-per-task", Some('c'), Value, Honoured),
    option("deadline", None, Value, Refused(NEEDS_QUEUE)),
    option("delay-boot", None, Value, Ignored(ONE_HOST)),
    option("dependency", Some('d'), Value, Refused(NEEDS_QUEUE)),
    option("distribution", Some('m'), Value, Ignored(BINDING)),
    option("error", Some('e'), Value, Honoured),
    option("exclude", Some('x'), Value, Ignored(ONE_HOST)),
    option("exclusive", None, Maybe, Ignored(WHOLE_HOST)),
    option("export", None, Value, Honoured),
    option("export-file", None, Value, Refused("an environment from a file is not supported")),
    option("extra-node-info", Some('B'), Value, Ignored(ONE_HOST)),
    option("get-user-env", None, Maybe, Ignored("the job has your environment already")),
    option("gid", None, Value, Refused("a run has your own rights")),
    option("gpu-bind", None, Value, Ignored(NO_GPU)),
    option("gpu-freq", None, Value, Ignored(NO_GPU)),
    option("gpus", Some('G'), Value, Ignored(NO_GPU)),
    option("gpus-per-node", None, Value, Ignored(NO_GPU)),
    option("gpus-per-socket", None, Value, Ignored(NO_GPU)),
    option("gpus-per-task", None, Value, Ignored(NO_GPU)),
    option("gres", None, Value, Ignored(NO_GPU)),
    option("gres-flags", None, Value, Ignored(NO_GPU)),
    option("hint", None, Value, Ignored(BINDING)),
    option("hold", Some('H'), Nothing, Refused(NEEDS_QUEUE)),
    option("ignore-pbs", None, Nothing, Ignored("#PBS lines are never read")),
    option("input", Some('i'), Value, Honoured),
    option("job-name", Some('J'), Value, Honoured),
    option("kill-on-invalid-dep", None, Value, Ignored(NO_QUEUE)),
    option("licenses", Some('L'), Value, Ignored("licences are not counted here")),
    option("mail-type", None, Value, Ignored(NO_MAIL)),
    option("mail-user", None, Value, Ignored(NO_MAIL)),
    option("mcs-label", None, Value, Ignored(NO_ACCOUNTS)),
    option("mem", None, Value, Honoured),
    option("mem-bind", None, Value, Ignored(BINDING)),
    option("mem-per-cpu", None, Value, Honoured),
    option("mem-per-gpu", None, Value, Ignored(NO_GPU)),
    option("mincpus", None, Value, Ignored(ONE_HOST)),
    option("network", None, Value, Ignored(ONE_HOST)),
    option("nice", None, Maybe, Ignored(NO_QUEUE)),
    option("no-kill", Some('k'), Maybe, Ignored(ONE_HOST)),
    option("no-requeue", None, Nothing, Ignored(NO_QUEUE)),
    option("nodefile", Some('F'), Value, Ignored(ONE_HOST)),
    option("nodelist", Some('w'), Value, Ignored(ONE_HOST)),
    option("nodes", Some('N'), Value, Honoured),
    option("ntasks", Some('n'), Value, Honoured),
    option("ntasks-per-core", None, Value, Ignored(BINDING)),
    option("ntasks-per-gpu", None, Value, Ignored(NO_GPU)),
    option("ntasks-per-node", None, Value, Honoured),
    option("ntasks-per-socket", None, Value, Ignored(BINDING)),
    option("open-mode", None, Value, Honoured),
    option("output", Some('o'), Value, Honoured),
    option("overcommit", Some('O'), Nothing, Ignored(WHOLE_HOST)),
    option("oversubscribe", Some('s'), Nothing, Ignored(WHOLE_HOST)),
    option("parsable", None, Nothing, Ignored(WAITS)),
    option("partition", Some('p'), Value, Ignored("there are no partitions here")),
    option("power", None, Value, Ignored(ONE_HOST)),
    option("prefer", None, Value, Ignored(ONE_HOST)),
    option("priority", None, Value, Ignored(NO_QUEUE)),
    option("profile", None, Value, Ignored(NOT_KEPT)),
    option("propagate", None, Maybe, Ignored("limits are your own already")),
    option("qos", Some('q'), Value, Ignored(NO_ACCOUNTS)),
    option("quiet", Some('Q'), Nothing, Honoured),
    option("reboot", None, Nothing, Refused("muster reboots nothing")),
    option("requeue", None, Nothing, Ignored(NO_QUEUE)),
    option("reservation", None, Value, Ignored(NO_QUEUE)),
    option("signal", None, Value, Honoured),
    option("sockets-per-node", None, Value, Ignored(ONE_HOST)),
    option("spread-job", None, Nothing, Ignored(ONE_HOST)),
    option("switches", None, Value, Ignored(ONE_HOST)),
    option("tasks-per-node", None, Value, Honoured),
    option("test-only", None, Nothing, Refused("muster check JOB.SH reads a script without running it")),
    option("thread-spec", None, Value, Ignored(WHOLE_HOST)),
    option("threads-per-core", None, Value, Ignored(BINDING)),
    option("time", Some('t'), Value, Honoured),
    option("time-min", None, Value, Ignored(NO_QUEUE)),
    option("tmp", None, Value, Ignored(ONE_HOST)),
    option("tres-per-task", None, Value, Ignored(NO_GPU)),
    option("uid", None, Value, Refused("a run has your own rights")),
    option("use-min-nodes", None, Nothing, Ignored(ONE_HOST)),
    option("verbose", Some('v'), Nothing, Ignored("muster check JOB.SH tells what it reads")),
    option("wait", Some('W'), Nothing, Ignored(WAITS)),
    option("wait-all-nodes", None, Value, Ignored(ONE_HOST)),
    option("wckey", None, Value, Ignored(NO_ACCOUNTS)),
    option("wrap", None, Value, Honoured),
];

/// What stands for `hetjob` lines.
pub(crate) const HETEROGENEOUS: Support = Refused(HET);

/// The option with this long name, or the only one that begins so, as getopt finds it.
///
/// # Errors
/// The candidates: none, or several.
pub fn find_long(name: &str) -> Result<&'static OptionDef, Vec<&'static str>> {
    if let Some(exact) = OPTIONS.iter().find(|o| o.long == name) {
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
        assert_eq!(find_long("bogus").unwrap_err(), Vec::<&str>::new());
    }
}
