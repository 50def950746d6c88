//! A pool as its user meets it: brought up, submitted to, asked, killed and brought up again.

mod config;
mod place;

use place::Pool;

fn completed() -> Vec<(String, u64, u64)> {
    vec![("COMPLETED".to_owned(), 0, 0)]
}

/// Whether a process is there and not dead: whoever inherits the dead may be slow to bury them.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

#[test]
fn two_commands_from_nothing_to_a_finished_job() {
    let pool = Pool::up();
    assert_eq!(pool.ok(&["submit", "--wait", "--", "/bin/true"]), "submitted job 1\n");
    assert_eq!(pool.past("1"), completed());
    let hosts = pool.json(&["hosts"]);
    assert_eq!((&hosts[0]["state"], &hosts[0]["cores_held"]), (&"up".into(), &0.into()));
    assert!(pool.ok(&["queue"]).contains("nothing waits"));
    assert!(pool.refused(&["up"], 2).contains("is up in"), "one pool to a state directory");
}

#[test]
fn a_script_finds_what_slurm_would_give_it() {
    let pool = Pool::up();
    pool.script(
        "job.sh",
        "#!/bin/bash\n#SBATCH --job-name=look --comment='said twice'\n#SBATCH -o out-%j-%x\n#SBATCH -e err\n\
         echo $SLURM_JOB_ID $SLURM_JOB_NAME $SLURM_NNODES $SLURM_CPUS_ON_NODE $1 $KEPT\n\
         pwd; echo to stderr >&2; exit 7\n",
    );
    let output = pool.muster(&["submit", "--wait", "job.sh", "word"]).env("KEPT", "kept").output().unwrap();
    assert_eq!(output.status.code(), Some(7), "it exits as the job did");
    let work = pool.work().canonicalize().unwrap();
    assert_eq!(pool.read("out-1-look", |_| true), format!("1 look 1 1 word kept\n{}\n", work.display()));
    assert_eq!(pool.read("err", |_| true), "to stderr\n");
    assert_eq!(pool.past("1"), [("FAILED".to_owned(), 7, 0)]);
    assert_eq!(pool.ok(&["logs", "1", "--error"]), "to stderr\n");
    assert_eq!(pool.json(&["show", "job", "1"])["spec"]["queue"]["comment"], "said twice");
}

#[test]
fn every_element_of_an_array_runs_once() {
    let pool = Pool::up();
    pool.script("job.sh", "#!/bin/sh\necho $SLURM_ARRAY_TASK_ID >> all\ntest $SLURM_ARRAY_TASK_ID != 13\n");
    let output = pool.run(&["submit", "--wait", "--array=1-40%3", "-o", "/dev/null", "job.sh"]);
    assert_eq!(output.status.code(), Some(1), "one of them failed");
    let mut ran: Vec<u32> = pool.read("all", |_| true).lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (1..=40).collect::<Vec<_>>());
    let past = pool.past("1");
    assert_eq!(past.iter().filter(|one| one.0 == "FAILED").count(), 1);
    assert_eq!(past.iter().filter(|one| one.0 == "COMPLETED").count(), 39);
}

#[test]
fn what_is_told_ahead_runs_once_whoever_dies() {
    let pool = Pool::up();
    pool.script("job.sh", "#!/bin/sh\necho $SLURM_ARRAY_TASK_ID >> all\n");
    let elements: Vec<String> = (1..=2_000).map(|element: u32| element.to_string()).collect();
    let job = pool.submit(&["--array=1-2000", "-o", "/dev/null", "job.sh"]);
    for (killed, upto) in [(["up"], 100), (["shepherd"], 500), (["up"], 900)] {
        pool.read("all", |text| text.lines().count() >= upto);
        pool.kill(&killed);
        if killed == ["up"] {
            pool.bring_up();
        }
    }
    let past = pool.wait(&job);
    let ended = |outcome: &str| past.iter().filter(|one| one.0 == outcome).count();
    // What a killed shepherd held runs again: one of each slot.
    let lost = ended("NODE_FAIL");
    // An order that was on its way to a killed agent is given again.
    let unbegun = ended("BOOT_FAIL");
    assert_eq!((ended("COMPLETED"), past.len()), (2_000, 2_000 + lost + unbegun));
    assert!(lost <= 10, "what was told ahead outlives who told it: {lost} were lost");
    let all = pool.read("all", |_| true);
    let mut ran: Vec<&str> = all.lines().collect();
    ran.sort_unstable_by_key(|element| element.parse::<u32>().expect("a number"));
    assert!(ran.len() <= 2_000 + lost, "nothing that was reported runs again: {} of {lost} lost", ran.len());
    ran.dedup();
    assert_eq!(ran, elements);
}

#[test]
fn what_is_told_ahead_has_run_only_as_long_as_it_ran() {
    let pool = Pool::up();
    let cores = pool.json(&["hosts"])[0]["cores"].as_u64().expect("cores");
    let each = format!("--cpus-per-task={cores}");
    // The time of one is known when it is over: from then on the next is told ahead.
    let burn = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    let job = pool.submit(&["--array=1-12", &each, "-o", "/dev/null", "--wrap", burn]);
    pool.wait(&job);
    let past = pool.json(&["history", &job]);
    let times: Vec<(i64, i64)> = past
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["started_ms"].as_i64().expect("a time"), row["ended_ms"].as_i64().expect("a time")))
        .collect();
    let (first, last) = (times.iter().map(|t| t.0).min(), times.iter().map(|t| t.1).max());
    let ran: i64 = times.iter().map(|(from, to)| to - from).sum();
    let whole = last.zip(first).map_or(0, |(last, first)| last - first);
    assert!(ran <= whole + whole / 4, "one after another: {ran} ms of {whole}: {times:?}");
}

#[test]
fn what_waits_says_why_and_does_as_it_is_told() {
    let pool = Pool::up();
    let held = pool.submit(&["--hold", "--", "/bin/true"]);
    let after = pool.submit(&["-d", &format!("afterok:{held}"), "-J", "second", "--", "/bin/true"]);
    let queue = pool.json(&["queue"]);
    let reasons: Vec<&str> = (0..2).map(|at| queue[at]["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["JobHeldUser", "Dependency"]);
    let why = pool.ok(&["why", &after]);
    assert!(why.contains(&format!("it waits for afterok:{held}")), "{why}");
    pool.ok(&["release", &held]);
    assert_eq!(pool.wait(&after), completed());
    assert_eq!(pool.past(&held), completed());

    let never = pool.submit(&["--hold", "--array=1-1000000", "--", "/bin/true"]);
    let rows = pool.json(&["queue"]);
    assert_eq!((&rows[0]["elements"], rows.as_array().unwrap().len()), (&1_000_000.into(), 1));
    pool.ok(&["cancel", &format!("{never}_[1-999999]"), &never]);
    assert_eq!(pool.past(&never)[0].0, "CANCELLED");
    let said = pool.refused(&["submit", "-N", "9", "--", "/bin/true"], 2);
    assert!(said.contains("needs 9 hosts"), "{said}");
    pool.ok(&["drain", pool.json(&["hosts"])[0]["host"].as_str().unwrap(), "--reason", "dust"]);
    assert_eq!(pool.json(&["hosts"])[0]["reason"], "dust");
    let waits = pool.submit(&["--", "/bin/true"]);
    assert!(pool.ok(&["why", &waits]).contains("ReqNodeNotAvail"));
    pool.ok(&["resume", pool.json(&["hosts"])[0]["host"].as_str().unwrap()]);
    assert_eq!(pool.wait(&waits), completed());
}

#[test]
fn a_cancelled_job_leaves_no_process() {
    let pool = Pool::up();
    pool.script("job.sh", "#!/bin/bash\nsetsid sleep 1000 &\necho $! > pid\nwait\n");
    let job = pool.submit(&["job.sh"]);
    let pid = pool.read("pid", |text| text.ends_with('\n'));
    pool.ok(&["cancel", &job]);
    assert_eq!(pool.wait(&job)[0].0, "CANCELLED");
    assert!(!runs(pid.trim()), "the grandchild is gone");
}

#[test]
fn what_a_job_used_is_in_the_books_when_it_is_over() {
    let pool = Pool::up();
    pool.script("burn.sh", "#!/bin/sh\ni=0; while [ $i -lt 300000 ]; do i=$((i+1)); done\n");
    pool.ok(&["submit", "--wait", "-o", "out", "burn.sh"]);
    let used = |job: &str| pool.json(&["history", job])[0]["usage"].clone();
    let number = |of: &serde_json::Value, name: &str| of[name].as_u64().expect(name);
    let burnt = used("1");
    assert!(number(&burnt, "user_ms") + number(&burnt, "system_ms") > 0, "{burnt}");
    // One buffer of 64 MiB, which is written and read once.
    let job = pool.submit(&["-o", "out", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    pool.wait(&job);
    let held = used(&job);
    assert!(number(&held, "peak_memory_kib") >= 60 << 10, "{held}");
    assert_eq!(pool.json(&["show", "job", &job])["attempts"][0]["usage"], held);
    assert!(pool.ok(&["history", &job]).contains("MEMORY"));
    let waits = pool.submit(&["--hold", "--", "/bin/true"]);
    assert!(used(&waits).is_null(), "nothing of it has run");
}

#[test]
fn jobs_may_open_as_many_files_as_without_a_pool() {
    let pool = Pool::up();
    pool.ok(&["down"]);
    let few = "ulimit -Sn 200 && exec \"$0\" up --detach";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", few, env!("CARGO_BIN_EXE_muster")]).env("MUSTER_STATE", pool.state());
    assert!(command.status().expect("sh starts").success());
    pool.ok(&["submit", "--wait", "-o", "out", "--", "/bin/sh", "-c", "ulimit -Sn"]);
    assert_eq!(pool.read("out", |_| true), "200\n");
    let controller = place::living(&pool.state(), &["up"]).pop().expect("it is up");
    let limits = std::fs::read_to_string(format!("/proc/{controller}/limits")).expect("it lives");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "a host of many has many lines");
}

#[test]
fn a_script_of_many_steps_keeps_what_the_pool_does_not() {
    let pool = Pool::up();
    // Each has a seed of its own, which makes it another step; the first comes again at the end.
    let script = "for seed in $(seq 1 65) 1; do muster kernel moments --generate normal:1e4 --seed $seed --json --progress none \
                  || exit; done";
    let path = std::env::var_os("PATH").expect("a path");
    let beside = std::path::Path::new(env!("CARGO_BIN_EXE_muster")).parent().expect("a folder").to_owned();
    let path =
        std::env::join_paths(std::iter::once(beside).chain(std::env::split_paths(&path))).expect("a path");
    let submitted = pool
        .muster(&["submit", "--wait", "-o", "out", "-e", "err", "--wrap", script])
        .env("PATH", path)
        .status();
    assert!(submitted.expect("it starts").success(), "{}", pool.read("err", |_| true));
    let said = pool.read("out", |_| true);
    let resumed: Vec<&str> = said.lines().filter(|line| line.contains("resumed_blocks")).collect();
    assert_eq!(resumed.len(), 66);
    assert!(
        resumed[..65].iter().all(|line| line.contains(": 0,")) && !resumed[65].contains(": 0,"),
        "{resumed:?}"
    );
    assert_eq!(pool.read("err", |_| true).matches("keeps the first 64 steps of a job").count(), 1);
}

#[test]
fn a_time_limit_ends_a_job() {
    let pool = Pool::up();
    let output = pool.run(&["submit", "--wait", "--time=0:01", "--", "sleep", "1000"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(pool.past("1")[0].0, "TIMEOUT");
}

/// Waits for a word of the test's, and when it is told to end saves its work and says that all is well.
const SAVES: &str = "#!/bin/bash\ntrap 'echo saved >> log; exit 0' TERM\necho up >> log\nsleep 1000\n";

#[test]
fn who_is_told_to_end_may_save_its_work_and_has_not_ended_well() {
    // Who waits for the grace waits for longer than this test.
    let pool = Pool::up_with(&["--kill-wait", "3600"]);
    pool.script("saves.sh", SAVES);
    assert_eq!(pool.run(&["submit", "--wait", "--time=0:03", "saves.sh"]).status.code(), Some(1));
    assert_eq!(pool.past("1"), [("TIMEOUT".to_owned(), 0, 0)]);
    assert_eq!(pool.read("log", |_| true), "up\nsaved\n");
    let job = pool.submit(&["saves.sh"]);
    pool.read("log", |text| text.ends_with("saved\nup\n"));
    pool.ok(&["cancel", &job]);
    assert_eq!(pool.wait(&job), [("CANCELLED".to_owned(), 0, 0)]);
    assert!(pool.read("log", |_| true).ends_with("up\nsaved\n"));
    let again = pool.submit(&["saves.sh"]);
    pool.read("log", |text| text.matches("up").count() == 3);
    pool.ok(&["requeue", &again]);
    pool.read("log", |text| text.matches("up").count() == 4);
    pool.ok(&["cancel", &again]);
    let outcomes: Vec<String> = pool.wait(&again).into_iter().map(|one| one.0).collect();
    assert_eq!(outcomes, ["CANCELLED", "PREEMPTED"]);
}

#[test]
fn who_does_not_care_is_killed_when_the_grace_is_over() {
    let pool = Pool::up_with(&["--kill-wait", "1"]);
    pool.script("stays.sh", "#!/bin/bash\ntrap '' TERM\nsleep 1000 &\necho $! >> pids\nwait; wait\n");
    assert_eq!(pool.run(&["submit", "--wait", "--time=0:03", "stays.sh"]).status.code(), Some(1));
    assert_eq!(pool.past("1")[0].0, "TIMEOUT");
    let job = pool.submit(&["stays.sh"]);
    pool.read("pids", |text| text.lines().count() == 2 && text.ends_with('\n'));
    pool.ok(&["cancel", &job]);
    assert_eq!(pool.json(&["queue"])[0]["state"], "COMPLETING", "nobody waits for its end");
    assert_eq!(pool.wait(&job)[0].0, "CANCELLED");
    let pids = pool.read("pids", |_| true);
    assert!(pids.lines().all(|pid| !runs(pid)), "nothing of it is left: {pids}");
}

#[test]
fn a_killed_controller_loses_nothing_and_runs_nothing_twice() {
    let pool = Pool::up();
    // Its end waits for us, so that it runs through the controller's death.
    pool.script(
        "job.sh",
        "#!/bin/sh\necho begun >> log\nwhile ! test -e go; do sleep 0.05; done\necho ended >> log\n",
    );
    let running = pool.submit(&["job.sh"]);
    pool.read("log", |text| text == "begun\n");
    let waiting =
        pool.submit(&["-d", &format!("afterok:{running}"), "--", "/bin/sh", "-c", "echo last >> log"]);
    pool.kill(&["up"]);
    assert!(pool.refused(&["queue"], 3).contains("no pool is up"));
    std::fs::write(pool.work().join("go"), "").unwrap();
    // It goes on while nobody asks, and its end is kept.
    pool.read("log", |text| text.ends_with("ended\n"));
    pool.bring_up();
    assert_eq!(pool.wait(&waiting), completed());
    assert_eq!(pool.past(&running), completed());
    assert_eq!(pool.read("log", |_| true), "begun\nended\nlast\n");
    let next: u32 = pool.submit(&["--", "/bin/true"]).parse().unwrap();
    assert!(next > waiting.parse().unwrap(), "no number is given twice");
}

#[test]
fn a_killed_shepherd_is_noticed_and_its_job_runs_again() {
    let pool = Pool::up();
    pool.script(
        "job.sh",
        "#!/bin/sh\necho $SLURM_RESTART_COUNT $$ >> log\ntest -n \"$SLURM_RESTART_COUNT\" || sleep 1000\n",
    );
    let job = pool.submit(&["job.sh"]);
    let pid = pool.read("log", |text| text.ends_with('\n')).trim().to_owned();
    pool.kill(&["shepherd"]);
    let outcomes: Vec<String> = pool.wait(&job).into_iter().map(|one| one.0).collect();
    assert_eq!(outcomes, ["COMPLETED", "NODE_FAIL"]);
    assert!(!runs(&pid), "nothing of the first attempt is left");
    let log = pool.read("log", |_| true);
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn a_kernel_gives_the_queue_and_the_laptop_one_answer() {
    let pool = Pool::up();
    let words = ["monte-carlo", "--option", "asian", "--steps", "12", "--paths", "20000", "--json"];
    let here = pool.ok(&[&["kernel"], &words[..], &["--progress", "none"]].concat());
    pool.ok(
        &[&["submit", "--wait", "-o", "answer", "--kernel"], &words[..], &["--progress", "none"]].concat()
    );
    let hash = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["hash"].clone();
    assert_eq!(hash(&pool.read("answer", |_| true)), hash(&here));
    let said = pool.refused(&["submit", "--kernel", "monte-carlo", "--paths", "none"], 2);
    assert!(said.contains("--paths"), "{said}");
    std::fs::write(pool.work().join("table.csv"), "x\n1\n2\n").unwrap();
    pool.ok(&["submit", "--wait", "-o", "moments", "--kernel", "moments", "table.csv", "--json"]);
    assert!(pool.read("moments", |_| true).contains("\"hash\""));
}

#[test]
fn bad_input_is_refused_with_the_next_command() {
    let pool = Pool::up();
    for (words, exit, wanted) in [
        (&["submit", "nosuch.sh"][..], 2, "Unable to open file nosuch.sh"),
        (&["submit", "-p", "nosuch", "--", "true"], 2, "there is no partition nosuch"),
        (&["submit", "--time=abc", "--", "true"], 2, "Invalid --time specification"),
        (&["submit", "--"], 2, "there is no command after --"),
        (&["submit", "--kernel"], 2, "--kernel needs a kernel's name"),
        (&["cancel", "99"], 2, "there is no job 99"),
        (&["cancel", "one"], 2, "`one` names no job"),
        (&["why", "99"], 2, "muster history 99"),
        (&["drain", "nosuch"], 2, "`muster hosts` lists them"),
        (&["requeue", "99"], 2, "there is no job 99"),
    ] {
        let said = pool.refused(words, exit);
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().to_str().unwrap();
    assert!(pool.refused(&["queue", "--state", state], 3).contains("`muster up` starts one"));
    let chdir = pool.run(&["submit", "--wait", "-D", "/nosuch", "-o", "out", "--", "/bin/true"]);
    assert!(!chdir.status.success());
    assert!(pool.ok(&["history"]).contains("could not start: "), "and the books say why");
    let past = pool.json(&["history"]);
    assert!(
        past[0]["why"].as_str().expect("a reason").contains("/nosuch is not there on this host"),
        "{past}"
    );
}

#[test]
fn a_journal_is_checked_copied_and_replayed() {
    let pool = Pool::up();
    pool.ok(&[
        "submit",
        "--quiet",
        "--wait",
        "--time=5",
        "--array=1-9",
        "-o",
        "/dev/null",
        "--",
        "/bin/true",
    ]);
    assert!(pool.ok(&["journal", "check"]).contains("each as it was written"));
    pool.ok(&["journal", "backup", "copy.db"]);
    assert!(pool.refused(&["journal", "backup", "copy.db"], 2).contains("name another file"));
    pool.ok(&["journal", "export", "records"]);
    assert_eq!(pool.json(&["simulate", "records"])["jobs"], 9);
    assert!(pool.refused(&["journal", "check", "--state", "nosuch"], 2).contains("there is no journal"));
}

#[test]
fn shells_man_and_systemd_are_told_what_there_is() {
    let pool = Pool::up();
    assert!(pool.ok(&["completions", "bash"]).contains("requeue"));
    let said = pool.ok(&["manual", "man1"]);
    assert!(
        std::fs::read_to_string(pool.work().join("man1/muster-submit.1")).unwrap().contains("sbatch"),
        "{said}"
    );
    assert!(pool.ok(&["install", "--print"]).contains("KillMode=process"));
}
