//! The configuration file of a pool: prolog and epilog, GPUs, labels.

use crate::place::Pool;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn program(path: &Path, text: &str) -> String {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).expect("a program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    path.display().to_string()
}

fn log_of(pool: &Pool) -> String {
    pool.read("log", |_| true)
}

#[test]
fn what_runs_around_each_job_runs_around_it() {
    let pool = Pool::configured(|work| {
        let says = |word: &str| {
            format!(
                "echo {word} $SLURM_JOB_ID $SLURM_SCRIPT_CONTEXT $SLURMD_NODENAME $SECRET >> {}/log\n",
                work.display()
            )
        };
        let prolog = program(&work.join("prolog"), &says("before"));
        let epilog = program(&work.join("epilog"), &says("after"));
        format!("name = \"n\"\nprolog = \"{prolog}\"\nepilog = \"{epilog}\"\n")
    });
    let around =
        |id: &str, job: &str| format!("before {id} prolog_slurmd n\n{job}after {id} epilog_slurmd n\n");
    let mut submit =
        pool.muster(&["submit", "--wait", "-o", "/dev/null", "--wrap", "echo $SECRET >> log; exit 3"]);
    assert_eq!(submit.env("SECRET", "told").status().unwrap().code(), Some(3));
    assert_eq!(log_of(&pool), around("1", "told\n"));

    // Whoever is killed has an epilog, too, and is not over before that is.
    std::fs::write(pool.work().join("log"), "").unwrap();
    let job = pool.submit(&["-o", "/dev/null", "--wrap", "echo began >> log; exec sleep 1000"]);
    pool.read("log", |text| text.contains("began"));
    pool.ok(&["cancel", &job]);
    assert_eq!(pool.wait(&job)[0].0, "CANCELLED");
    let log = log_of(&pool);
    assert!(log.starts_with(&around(&job, "began\n")), "{log}");
}

#[test]
fn a_job_does_not_begin_after_a_prolog_that_fails() {
    let pool = Pool::configured(|work| {
        let bad = work.join("bad");
        std::fs::write(&bad, "").expect("a file");
        let tried = work.join("tried");
        let (bad, tried) = (bad.display(), tried.display());
        let text = format!("test ! -e {bad} || {{ echo > {tried}; echo no scratch disk >&2; exit 9; }}\n");
        format!("prolog = \"{}\"\n", program(&work.join("prolog"), &text))
    });
    // A pipe tells that it was tried.
    assert!(std::process::Command::new("mkfifo").arg(pool.work().join("tried")).status().unwrap().success());
    let job = pool.submit(&["-o", "/dev/null", "--no-requeue", "--wrap", "touch ran"]);
    drop(std::fs::read(pool.work().join("tried")).unwrap());
    // Submitted later: it is decided about when what was before is known.
    let drained = || pool.json(&["hosts"])[0].clone();
    while drained()["state"] != "drained" {
        std::thread::yield_now();
    }
    let reason = drained()["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("prolog") && reason.contains("exited with 9: no scratch disk"), "{reason}");
    let why = pool.ok(&["why", &job]);
    assert!(
        why.contains("1 host that could run it, and of these 1 drained (`muster hosts` says why)"),
        "{why}"
    );
    assert!(!pool.work().join("ran").exists());
    std::fs::remove_file(pool.work().join("bad")).unwrap();
    pool.ok(&["resume", drained()["host"].as_str().unwrap()]);
    assert_eq!(pool.wait(&job).first().map(|last| last.0.as_str()), Some("COMPLETED"));
    let past: Vec<String> = pool.past(&job).into_iter().map(|one| one.0).collect();
    assert_eq!(past, ["COMPLETED", "BOOT_FAIL"]);
    assert!(pool.work().join("ran").exists());
}

#[test]
fn who_is_cancelled_in_the_prolog_leaves_a_host_that_is_fit() {
    let pool = Pool::configured(|work| {
        let at = |name: &str| work.join(name).display().to_string();
        for pipe in ["here", "go"] {
            assert!(std::process::Command::new("mkfifo").arg(at(pipe)).status().unwrap().success());
        }
        // What it leaves in the background ends with it, and is no trouble to the job.
        let text = format!("sleep 1000 & echo > {}; read x < {}\n", at("here"), at("go"));
        let cleans = program(&work.join("epilog"), &format!("echo cleaned $SLURM_JOB_ID >> {}\n", at("log")));
        format!("prolog = \"{}\"\nepilog = \"{cleans}\"\n", program(&work.join("prolog"), &text))
    });
    let tell = |pipe: &str| std::fs::write(pool.work().join(pipe), "go\n").unwrap();
    let begins = || drop(std::fs::read(pool.work().join("here")).unwrap());
    let job = pool.submit(&["-o", "/dev/null", "--wrap", "true"]);
    begins();
    pool.ok(&["cancel", &job]);
    tell("go");
    let next = pool.submit(&["-o", "/dev/null", "--mem=64", "--wrap", "touch next"]);
    begins();
    tell("go");
    // Whoever would wait for both would have a prolog, too.
    let ended = |job: &str| pool.past(job).first().map(|one| one.0.clone()).unwrap_or_default();
    while ended(&next).is_empty() || ended(&job).is_empty() {
        std::thread::yield_now();
    }
    assert_eq!((ended(&job), ended(&next)), ("CANCELLED".to_owned(), "COMPLETED".to_owned()));
    // Whether its end was heard of before the prolog was over is not ours to say.
    assert!(pool.work().join("next").exists());
    assert_eq!(pool.json(&["hosts"])[0]["state"], "up");
    let log = log_of(&pool);
    let cleaned: std::collections::BTreeSet<&str> = log.lines().collect();
    assert_eq!(cleaned, [&format!("cleaned {job}")[..], &format!("cleaned {next}")].into(), "{log}");
}

#[test]
fn who_asks_for_gpus_has_them_and_nobody_else() {
    let pool =
        Pool::configured(|_| "gpus = [\"a100\", \"a100\", \"h100\"]\nlabels = [\"region=eu\"]\n".to_owned());
    let hosts = pool.json(&["hosts"]);
    assert_eq!(hosts[0]["gpus"], serde_json::json!(["a100", "a100", "h100"]));
    assert_eq!(hosts[0]["labels"], serde_json::json!(["region=eu"]));
    let sees = |words: &[&str]| {
        let script = "echo \"$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER ${SLURM_JOB_GPUS-none}\" > saw";
        pool.ok(&[&["submit", "--wait", "-o", "/dev/null"], words, &["--wrap", script]].concat());
        pool.read("saw", |_| true)
    };
    assert_eq!(sees(&[]), " PCI_BUS_ID none\n");
    assert_eq!(sees(&["--gres=gpu:h100:1"]), "2 PCI_BUS_ID 2\n");
    assert_eq!(sees(&["--gres=gpu:a100:2"]), "0,1 PCI_BUS_ID 0,1\n");
    // Two that run at once have one each: each waits for the other.
    for pipe in ["one", "two"] {
        assert!(std::process::Command::new("mkfifo").arg(pool.work().join(pipe)).status().unwrap().success());
    }
    let first = "echo $CUDA_VISIBLE_DEVICES > saw-1; echo > one; read x < two";
    let second = "echo $CUDA_VISIBLE_DEVICES > saw-2; read x < one; echo > two";
    let submit = |script: &str| pool.submit(&["--gres=gpu:a100:1", "-o", "/dev/null", "--wrap", script]);
    let jobs = [submit(first), submit(second)];
    jobs.iter().for_each(|job| drop(pool.wait(job)));
    let mut saw = [pool.read("saw-1", |_| true), pool.read("saw-2", |_| true)];
    saw.sort_unstable();
    assert_eq!(saw, ["0\n", "1\n"]);
    let said = pool.refused(&["submit", "--gres=gpu:h100:2", "--", "/bin/true"], 2);
    assert!(said.contains("needs 2 GPUs of type h100"), "{said}");
}

#[test]
fn a_file_that_is_wrong_keeps_a_pool_from_coming_up() {
    let pool = Pool::configured(|_| "lease_s = 7\n".to_owned());
    let told = pool.ok(&["config"]);
    assert!(told.contains("\nlease_s = 7\n") && told.contains("\n#kill_wait_s = 30\n"), "{told}");
    pool.ok(&["down"]);
    std::fs::write(pool.state().join("config.toml"), "lease = 7\n").unwrap();
    let said = pool.refused(&["up"], 2);
    assert!(said.contains("config.toml") && said.contains("unknown field `lease`"), "{said}");
    // What `muster config` prints is a file that can be read.
    std::fs::write(pool.state().join("config.toml"), told).unwrap();
    pool.bring_up();
}
