//! From options to a jobspec, or all mistakes at once. Later options override earlier ones: directives, then the
//! environment, then the command line.

use crate::fill::{devices, fill};
use crate::options::Place;
use crate::words::{Given, Mistake, refusals};
use muster_core::jobspec::JobSpec;

/// The jobspec that options stand for in a place, the last of each kind winning; `name` is the script's.
///
/// # Errors
/// Everything that is wrong or refused.
pub fn jobspec(given: &[Given], name: &str, place: Place) -> Result<JobSpec, Vec<Mistake>> {
    let mut mistakes = refusals(given, place);
    let mut spec = JobSpec::named(name);
    for one in given {
        if let Err(mistake) = fill(&mut spec, one, place) {
            mistakes.push(mistake);
        }
    }
    spec.needs.gres = devices(given, place);
    count_hosts(&mut spec);
    mistakes.extend(contradictions(given, &spec));
    if mistakes.is_empty() { Ok(spec) } else { Err(mistakes) }
}

/// Options that cannot be meant together.
fn contradictions(given: &[Given], spec: &JobSpec) -> Vec<Mistake> {
    let last = |long: &str| given.iter().rfind(|g| g.option.long == long);
    let mut mistakes = Vec::new();
    if let (Some(_), Some(second)) = (last("mem"), last("mem-per-cpu")) {
        let what = "--mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.";
        mistakes.push(Mistake::refusal(&second.origin, what));
    }
    if let (Some(limit), Some(least), Some(one)) =
        (spec.time_limit_s, spec.when.least_time_s, last("time-min"))
        && least > limit
    {
        let what = format!("--time-min={} is longer than --time", one.value);
        mistakes.push(Mistake::refusal(&one.origin, what));
    }
    mistakes
}

/// A job that names its hosts has at least as many, as Slurm counts them.
fn count_hosts(spec: &mut JobSpec) {
    let named = spec.needs.include.len() as u32;
    spec.size.nodes = spec.size.nodes.max(named);
    spec.size.max_nodes = spec.size.max_nodes.map(|most| most.max(named));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::{self, Now};
    use crate::script::Script;
    use crate::words::{self, Origin};
    use muster_core::jobspec::{Gres, GresPer, InvalidDependency, Requeue};
    use muster_core::time::Time;
    use proptest::prelude::*;

    /// 2026-11-26 10:30:40, in Greenwich.
    const QUEUE: Place = Place::Queue(Now { at: Time(1_795_689_040_000), utc_offset_s: 0 });

    fn from_words(list: &[&str]) -> Result<JobSpec, Vec<Mistake>> {
        submitted(list, Place::Here)
    }

    fn submitted(list: &[&str], place: Place) -> Result<JobSpec, Vec<Mistake>> {
        let words: Vec<_> = list.iter().map(|w| ((*w).to_owned(), Origin::CommandLine)).collect();
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        words::read(&words, &mut given, &mut mistakes);
        if mistakes.is_empty() { jobspec(&given, "job.sh", place) } else { Err(mistakes) }
    }

    fn from_script(line: &str, place: Place) -> Result<JobSpec, Vec<Mistake>> {
        let script = Script::read(format!("#!/bin/sh\n#SBATCH {line}\n").as_bytes())?;
        let (mut given, mut mistakes) = (Vec::new(), Vec::new());
        words::read(&script.words, &mut given, &mut mistakes);
        if mistakes.is_empty() { jobspec(&given, "job.sh", place) } else { Err(mistakes) }
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
        let two = from_script("-t abc --mem=x", Place::Here).unwrap_err();
        let places: Vec<String> = two.iter().map(|m| m.origin.to_string()).collect();
        assert_eq!(places, ["line 2, column 9", "line 2, column 16"]);
    }

    /// What one option changes of a job in a queue.
    fn changed(words: &[&str], change: impl Fn(&mut JobSpec)) {
        let mut wanted = JobSpec::named("job.sh");
        change(&mut wanted);
        assert_eq!(submitted(words, QUEUE), Ok(wanted), "{words:?}");
    }

    #[test]
    fn a_queue_hears_who_pays_and_when() {
        let time = |text: &str| moment::parse(text, Now::default());
        changed(&["-p", "short,long"], |s| s.queue.partitions = vec!["short".into(), "long".into()]);
        changed(&["-A", "lab"], |s| s.queue.account = Some("lab".into()));
        changed(&["-q", "high"], |s| s.queue.qos = Some("high".into()));
        changed(&["--reservation=r"], |s| s.queue.reservation = Some("r".into()));
        changed(&["--comment", "a b"], |s| s.queue.comment = Some("a b".into()));
        changed(&["--priority=7"], |s| s.queue.priority = Some(7));
        changed(&["--priority=top"], |s| s.queue.priority = Some(4_294_967_293));
        changed(&["--nice"], |s| s.queue.nice = 100);
        changed(&["--nice=-5"], |s| s.queue.nice = -5);
        changed(&["--no-requeue"], |s| s.queue.requeue = Requeue::Never);
        changed(&["--no-requeue", "--requeue"], |_| {});
        changed(&["-H"], |s| s.when.hold = true);
        changed(&["--begin=2026-12-24T18:00"], |s| s.when.begin = time("2026-12-24T18:00"));
        changed(&["-b", "now+1hour"], |s| s.when.begin = Some(Time(1_795_692_640_000)));
        changed(&["--deadline=2027-01-01"], |s| s.when.deadline = time("2027-01-01"));
        changed(&["--time-min=1:30"], |s| s.when.least_time_s = Some(90));
        changed(&["--kill-on-invalid-dep=yes"], |s| s.when.invalid_dependency = InvalidDependency::End);
        changed(&["-d", "afterok:1:2?singleton"], |s| {
            s.when.dependency = crate::dependency::parse("afterok:1:2?singleton").unwrap();
        });
    }

    #[test]
    fn a_queue_hears_what_hosts_must_have() {
        let gpus = |kind: Option<&str>, count, per| Gres {
            name: "gpu".into(),
            kind: kind.map(str::to_owned),
            count,
            per,
        };
        changed(&["-C", "a&b"], |s| s.needs.constraint = Some("a&b".into()));
        changed(&["-w", "n[1-2],n1"], |s| {
            s.needs.include = vec!["n1".into(), "n2".into()];
            s.size.nodes = 2;
        });
        changed(&["-N1", "-w", "n[1-3]"], |s| {
            s.needs.include = vec!["n1".into(), "n2".into(), "n3".into()];
            (s.size.nodes, s.size.max_nodes) = (3, Some(3));
        });
        changed(&["-x", "n[05-06]"], |s| s.needs.exclude = vec!["n05".into(), "n06".into()]);
        changed(&["--gres=gpu:a100:2"], |s| s.needs.gres = vec![gpus(Some("a100"), 2, GresPer::Host)]);
        changed(&["-G", "4", "-G3"], |s| s.needs.gres = vec![gpus(None, 3, GresPer::Job)]);
        changed(&["--gpus-per-task=1"], |s| s.needs.gres = vec![gpus(None, 1, GresPer::Task)]);
        changed(&["--gres=gpu:2", "--gpus-per-node=2"], |s| {
            s.needs.gres = vec![gpus(None, 2, GresPer::Host)]
        });
        changed(&["--gres=gpu:2", "--gres=none"], |_| {});
        changed(&["-L", "a:2,b"], |s| s.needs.licences = vec![("a".into(), 2), ("b".into(), 1)]);
        changed(&["--exclusive"], |s| s.needs.exclusive = true);
        changed(&["--spread-job"], |s| s.needs.spread = true);
        changed(&["--label", "data=a", "--label=cache=b", "--label=data=a"], |s| {
            s.needs.labels = vec!["data=a".into(), "cache=b".into()];
        });
        changed(&["-W", "-v", "--parsable", "--test-only"], |_| {});
        changed(&["--wckey=x", "--mail-type=END"], |s| {
            s.labels.extend([("wckey".into(), "x".into()), ("mail-type".into(), "END".into())]);
        });
    }

    #[test]
    fn a_queue_refuses_in_slurms_words() {
        for (list, exit, wanted) in [
            (&["--begin=foo"][..], 255, "Invalid --begin specification"),
            (&["--deadline=foo"], 255, "Invalid --deadline specification"),
            (&["--time-min=x"], 255, "Invalid --time-min specification"),
            (&["--mail-type=FOO"], 255, "Invalid --mail-type specification"),
            (&["--nice=x"], 255, "Invalid --nice specification"),
            (&["--priority=-1"], 255, "Invalid --priority specification"),
            (&["--kill-on-invalid-dep=x"], 255, "Invalid --kill-on-invalid-dep specification"),
            (&["--label=x"], 255, "Invalid --label specification: 'x', expected KEY=VALUE"),
            (&["-d", "foo:1"], 1, "Batch job submission failed: Job dependency problem"),
            (&["--array=abc"], 1, "Batch job submission failed: Invalid job array specification"),
            (&["-C", "a&"], 1, "Batch job submission failed: Invalid feature specification"),
            (&["-w", "n[1"], 1, "Batch job submission failed: Invalid node name specified"),
            (&["-x", "./hosts"], 1, "Batch job submission failed: Invalid node name specified: './hosts'"),
            (&["-L", "a:0"], 1, "Batch job submission failed: Invalid license specification"),
            (&["-p", ","], 1, "Batch job submission failed: Invalid partition name specified"),
            (&["--gres=gpu:x:y"], 1, "Invalid generic resource (gres) specification"),
            (&["--time-min=10", "-t5"], 1, "--time-min=10 is longer than --time"),
            (&["--exclusive=user"], 1, "--exclusive=user is refused"),
            (&["--no-kill"], 1, "--no-kill is refused: a script that loses a host ends"),
            (&["-c", "0"], 1, "Invalid numeric value \"0\" for --cpus-per-task."),
        ] {
            let mistakes = submitted(list, QUEUE).unwrap_err();
            assert!(mistakes[0].what.starts_with(wanted), "{list:?}: {}", mistakes[0]);
            assert_eq!((mistakes[0].slurm_exit, mistakes.len()), (exit, 1), "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn directive_and_command_line_agree(list in prop::collection::vec("[-a-z0-9=:%,]{1,12}", 0..6)) {
            let line = list.join(" ");
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let plain = |r: Result<JobSpec, Vec<Mistake>>| r.map_err(|m| m.into_iter().map(|m| m.what).collect::<Vec<_>>());
            for place in [Place::Here, QUEUE] {
                prop_assert_eq!(plain(submitted(&list, place)), plain(from_script(&line, place)));
            }
        }

        #[test]
        fn no_script_panics(text in "(#!/bin/sh\n)?(#SBATCH \\PC{0,30}\n){0,4}\\PC{0,20}") {
            if let Ok(script) = Script::read(text.as_bytes()) {
                let (mut given, mut mistakes) = (Vec::new(), Vec::new());
                words::read(&script.words, &mut given, &mut mistakes);
                let _ = (jobspec(&given, "x", Place::Here), jobspec(&given, "x", QUEUE));
            }
        }
    }
}
