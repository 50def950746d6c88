//! Tests of running scripts: exit codes, files, arrays, the time limit, and what a script leaves behind.

use super::*;
use crate::scratch::Scratch;
use crossbeam_channel::{never, unbounded};
use muster_slurm::{Origin, Script, jobspec, words};

fn job(scratch: &Scratch, text: &str, options: &[&str]) -> ScriptJob {
    let script = Script::read(text.as_bytes()).unwrap();
    let (mut given, mut mistakes) = (Vec::new(), Vec::new());
    words::read(&script.words, &mut given, &mut mistakes);
    let line: Vec<_> = options.iter().map(|w| ((*w).to_owned(), Origin::CommandLine)).collect();
    words::read(&line, &mut given, &mut mistakes);
    assert_eq!(mistakes, []);
    ScriptJob {
        spec: jobspec(&given, "test", muster_slurm::Place::Here).unwrap(),
        text: script.text,
        args: vec!["first".into()],
        state: scratch.path().join("state"),
        submit_dir: scratch.path().to_owned(),
        follow: false,
        kill_wait: Duration::from_millis(50),
    }
}

fn outcome_of(job: &ScriptJob) -> Outcome {
    run(job, &never(), &mut |_| {}).unwrap()
}

fn text(scratch: &Scratch, name: &str) -> String {
    std::fs::read_to_string(scratch.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn a_script_writes_its_file_and_has_its_environment() {
    let scratch = Scratch::new("script-plain");
    let script = "#!/bin/sh\n#SBATCH -n 3 -c2 -J tiny\necho $1 $SLURM_NTASKS $SLURM_JOB_ID $SLURM_JOB_NAME $OMP_NUM_THREADS\necho oops >&2\nexit 7\n";
    assert_eq!(outcome_of(&job(&scratch, script, &[])), Outcome::Failed(7));
    let budget = std::env::var("OMP_NUM_THREADS").unwrap_or("2".into());
    assert_eq!(text(&scratch, "slurm-1.out"), format!("first 3 1 tiny {budget}\noops\n"));
    assert_eq!(
        outcome_of(&job(&scratch, "#!/bin/sh\necho $SLURM_JOB_ID\n", &["-o", "%x.%4j", "-J", "b"])),
        Outcome::Completed
    );
    assert_eq!(text(&scratch, "b.0002"), "2\n", "numbers are not given twice");
}

#[test]
fn streams_can_be_parted_appended_and_fed() {
    let scratch = Scratch::new("script-files");
    std::fs::write(scratch.path().join("in"), "fed\n").unwrap();
    let script = "#!/bin/sh\n#SBATCH -o out -e err -i in --open-mode=append\ncat\necho bad >&2\n";
    for _ in 0..2 {
        assert_eq!(outcome_of(&job(&scratch, script, &[])), Outcome::Completed);
    }
    assert_eq!((text(&scratch, "out"), text(&scratch, "err")), ("fed\nfed\n".into(), "bad\nbad\n".into()));
    let error = run(&job(&scratch, script, &["-o", "/nosuch/x"]), &never(), &mut |_| {}).unwrap_err();
    assert!(error.contains("cannot write the output file /nosuch/x"), "{error}");
    assert!(
        run(&job(&scratch, script, &["-D", "nosuch"]), &never(), &mut |_| {})
            .unwrap_err()
            .contains("--chdir")
    );
}

#[test]
fn every_element_of_an_array_runs() {
    let scratch = Scratch::new("script-array");
    let script = "#!/bin/sh\n#SBATCH -a 2-6:2%2\necho $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT\nexit $SLURM_ARRAY_TASK_ID\n";
    assert_eq!(outcome_of(&job(&scratch, script, &[])), Outcome::Failed(6), "the worst");
    for index in [2, 4, 6] {
        assert_eq!(text(&scratch, &format!("slurm-1_{index}.out")), format!("{index} of 3\n"));
    }
}

#[test]
fn export_none_hides_the_environment() {
    let scratch = Scratch::new("script-export");
    let script = "#!/bin/sh\necho ${CARGO_PKG_NAME:-hidden} $A ${PATH:+path} ${SLURM_JOB_ID:+job}\n";
    assert_eq!(outcome_of(&job(&scratch, script, &["--export=NONE,A=1"])), Outcome::Completed);
    assert_eq!(text(&scratch, "slurm-1.out"), "hidden 1 path job\n");
}

#[test]
fn the_time_limit_ends_everything_in_the_job() {
    let scratch = Scratch::new("script-limit");
    // Ignores SIGTERM, and has started a process in a session of its own.
    let script = "#!/bin/sh\ntrap '' TERM\nsetsid sh -c 'trap \"\" TERM; echo $$ > daemon; while :; do read x < nosuchfifo; done' &\nmkfifo hold\nread x < hold\n";
    let mut job = job(&scratch, script, &[]);
    job.spec.time_limit_s = Some(1);
    assert_eq!(outcome_of(&job), Outcome::Timeout);
    let daemon = text(&scratch, "daemon").trim().to_owned();
    let state = std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "the daemon still runs: {state}");
}

#[test]
fn the_early_signal_comes_before_the_limit() {
    let scratch = Scratch::new("script-early");
    let script = "#!/bin/sh\n#SBATCH --signal=B:USR1@30 -t 0:31\ntrap 'echo warned; exit 3' USR1\nmkfifo hold\nread x < hold\n";
    assert_eq!(outcome_of(&job(&scratch, script, &[])), Outcome::Failed(3));
    assert!(text(&scratch, "slurm-1.out").ends_with("warned\n"));
}

#[test]
fn an_interrupt_cancels() {
    let scratch = Scratch::new("script-cancel");
    let (send, interrupt) = unbounded();
    let script =
        "#!/bin/sh\n#SBATCH -a 1-5\nmkfifo hold.$SLURM_ARRAY_TASK_ID\nread x < hold.$SLURM_ARRAY_TASK_ID\n";
    let mut started = 0;
    let outcome = run(&job(&scratch, script, &["--ntasks=1000"]), &interrupt, &mut |happening| {
        if let Happening::Started(..) = happening {
            started += 1;
            send.send(()).unwrap();
        }
    });
    assert_eq!((outcome, started), (Ok(Outcome::Cancelled), 1), "no further element starts");
}

#[test]
fn progress_comes_through_the_pipe() {
    let scratch = Scratch::new("script-progress");
    let script = "#!/bin/sh\necho '{\"event\":\"draining\"}' >> /proc/self/fd/$MUSTER_PROGRESS_FD\n";
    let mut lines = Vec::new();
    run(&job(&scratch, script, &[]), &never(), &mut |happening| {
        if let Happening::Progress(label, line) = happening {
            lines.push(format!("{label} {line}"));
        }
    })
    .unwrap();
    assert_eq!(lines, ["1 {\"event\":\"draining\"}"]);
}
