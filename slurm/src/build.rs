//! From options to a jobspec, or all mistakes at once. Later options override earlier ones: directives, then the
//! environment, then the command line.

use crate::options::{OPTIONS, Support};
use crate::value;
use crate::words::{Given, Mistake, Origin, refusals};
use muster_core::jobspec::JobSpec;

/// The variables of the environment that stand for options, as `sbatch` has them, for the options honoured here.
pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Vec<Given> {
    const NAMES: [(&str, &str); 6] = [
        ("SBATCH_JOB_NAME", "job-name"),
        ("SBATCH_TIMELIMIT", "time"),
        ("SBATCH_ARRAY_INX", "array"),
        ("SBATCH_OPEN_MODE", "open-mode"),
        ("SBATCH_EXPORT", "export"),
        ("SBATCH_SIGNAL", "signal"),
    ];
    let one = |(variable, long): (&str, &str)| {
        let option = OPTIONS.iter().find(|o| o.long == long)?;
        let value = get(variable)?;
        Some(Given { option, written: format!("{variable}={value}"), value, origin: Origin::CommandLine })
    };
    NAMES.into_iter().filter_map(one).collect()
}

/// The jobspec that options stand for, the last of each kind winning; `name` is the script's.
///
/// # Errors
/// Everything that is wrong or refused.
pub fn jobspec(given: &[Given], name: &str) -> Result<JobSpec, Vec<Mistake>> {
    let mut mistakes = refusals(given);
    let mut spec = JobSpec::named(name);
    for one in given {
        if let Err(mistake) = fill(&mut spec, one) {
            mistakes.push(mistake);
        }
    }
    let last = |long: &str| given.iter().rfind(|g| g.option.long == long);
    if let (Some(_), Some(second)) = (last("mem"), last("mem-per-cpu")) {
        let what = "--mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.";
        mistakes.push(Mistake::refusal(&second.origin, what));
    }
    if mistakes.is_empty() { Ok(spec) } else { Err(mistakes) }
}

/// Puts one option into the spec.
fn fill(spec: &mut JobSpec, given: &Given) -> Result<(), Mistake> {
    let (value, origin) = (&given.value[..], &given.origin);
    let usage = |what: String| Mistake::usage(origin, what);
    let refusal = |what: String| Mistake::refusal(origin, what);
    let text = || {
        let what = || usage(format!("option '--{}' requires an argument", given.option.long));
        if value.is_empty() { Err(what()) } else { Ok(value.to_owned()) }
    };
    match given.option.long {
        "job-name" => spec.name = text()?,
        "output" => spec.files.output = Some(text()?),
        "error" => spec.files.error = Some(text()?),
        "input" => spec.files.input = Some(text()?),
        "chdir" => spec.files.chdir = Some(text()?),
        "open-mode" => {
            spec.files.append = match value.to_lowercase().as_str() {
                "a" | "append" => true,
                "t" | "truncate" => false,
                _ => {
                    return Err(usage(format!(
                        "Invalid --open-mode specification: '{value}', expected append or truncate"
                    )));
                }
            }
        }
        "time" => spec.time_limit_s = value::time_s(value).map_err(usage)?,
        "array" => spec.array = Some(value::array(value).map_err(refusal)?),
        "signal" => spec.signal = Some(value::early_signal(value).map_err(usage)?),
        "export" => spec.export = value::export(value),
        "nodes" => {
            let most = value.rsplit('-').next().unwrap_or(value);
            spec.size.nodes = value::nodes(value).map_err(usage)?;
            spec.size.max_nodes = Some(value::nodes(most).map_err(usage)?);
        }
        "ntasks" => spec.size.ntasks = Some(value::count("ntasks", value).map_err(refusal)?),
        "cpus-per-task" => {
            spec.size.cpus_per_task = Some(value::count("cpus-per-task", value).map_err(refusal)?)
        }
        "ntasks-per-node" | "tasks-per-node" => {
            spec.size.ntasks_per_node = Some(value::count("ntasks-per-node", value).map_err(refusal)?);
        }
        "mem" => spec.size.memory = Some(value::memory_per_node(value).map_err(usage)?),
        "mem-per-cpu" => spec.size.memory = Some(value::memory_per_cpu(value).map_err(usage)?),
        long if matches!(given.option.support, Support::Ignored(_)) => {
            spec.labels.insert(long.to_owned(), value.to_owned());
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use crate::words;
    use proptest::prelude::*;

    fn from_words(list: &[&str]) -> Result<JobSpec, Vec<Mistake>> {
        let words: Vec<_> = list.iter().map(|w| ((*w).to_owned(), Origin::CommandLine)).collect();
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        words::read(&words, &mut given, &mut mistakes);
        if mistakes.is_empty() { jobspec(&given, "job.sh") } else { Err(mistakes) }
    }

    fn from_script(line: &str) -> Result<JobSpec, Vec<Mistake>> {
        let script = Script::read(format!("#!/bin/sh\n#SBATCH {line}\n").as_bytes())?;
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        words::read(&script.words, &mut given, &mut mistakes);
        if mistakes.is_empty() { jobspec(&given, "job.sh") } else { Err(mistakes) }
    }

    #[test]
    fn every_spelling_fills_the_same_options() {
        for list in
            [&["-n4", "-c", "2", "-t", "1:30"][..], &["--ntasks=4", "--cpus-per-task", "2", "--time=1:30"]]
        {
            let spec = from_words(list).unwrap();
            assert_eq!((spec.size.tasks(), spec.size.cpus(), spec.time_limit_s), (4, 8, Some(90)));
        }
        assert_eq!(from_words(&["-QHn2"]).unwrap_err()[0].what, "--hold is refused: it needs a queue");
        assert_eq!(from_words(&["-N2", "--tasks=3"]).unwrap().size.tasks(), 6);
        assert_eq!(from_words(&["-J", "a", "--job-name=b"]).unwrap().name, "b", "the last wins");
        assert_eq!(from_words(&["-p", "short"]).unwrap().labels["partition"], "short");
    }

    #[test]
    fn mistakes_have_slurms_words_and_exit_codes() {
        for (list, exit, wanted) in [
            (&["-t", "abc"][..], 255, "Invalid --time specification"),
            (&["--bogus"], 255, "unrecognized option '--bogus'"),
            (&["--mem=abc"], 255, "Invalid --mem specification"),
            (&["-N", "abc"], 255, "\"abc\" is not a valid node count"),
            (&["-c", "0"], 1, "Invalid numeric value \"0\" for --cpus-per-task."),
            (&["--array=abc"], 1, "Invalid job array specification"),
            (&["--signal=FOO"], 255, "Invalid --signal specification"),
            (
                &["--mem=1", "--mem-per-cpu=1"],
                1,
                "--mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.",
            ),
            (&["-Z"], 255, "invalid option -- 'Z'"),
            (&["--time"], 255, "option '--time' requires an argument"),
            (&["--quiet=1"], 255, "option '--quiet' doesn't allow an argument"),
            (&["--mem-"], 255, "option '--mem-' is ambiguous"),
        ] {
            let mistakes = from_words(list).unwrap_err();
            assert!(mistakes[0].what.contains(wanted), "{list:?}: {}", mistakes[0]);
            assert_eq!(mistakes[0].slurm_exit, exit, "{list:?}");
        }
        let two = from_script("-t abc --mem=x").unwrap_err();
        let places: Vec<String> = two.iter().map(|m| m.origin.to_string()).collect();
        assert_eq!(places, ["line 2, column 9", "line 2, column 16"]);
    }

    proptest! {
        #[test]
        fn directive_and_command_line_agree(list in prop::collection::vec("[-a-z0-9=:%,]{1,12}", 0..6)) {
            let line = list.join(" ");
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let plain = |r: Result<JobSpec, Vec<Mistake>>| r.map_err(|m| m.into_iter().map(|m| m.what).collect::<Vec<_>>());
            prop_assert_eq!(plain(from_words(&list)), plain(from_script(&line)));
        }

        #[test]
        fn no_script_panics(text in "(#!/bin/sh\n)?(#SBATCH \\PC{0,30}\n){0,4}\\PC{0,20}") {
            if let Ok(script) = Script::read(text.as_bytes()) {
                let (mut given, mut mistakes) = (Vec::new(), Vec::new());
                words::read(&script.words, &mut given, &mut mistakes);
                let _ = jobspec(&given, "x");
            }
        }
    }
}
