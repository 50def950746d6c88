//! What happens to attempts on a host.

use crate::Story;
use crate::pool::{Pool, await_end, lives};
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::job::outcome::Outcome;
use muster_core::jobspec::{ArraySpec, EarlySignal, Memory};
use muster_core::payload::{BlobId, Program};
use muster_core::protocol::message::{Conduct, Ended, Ending, Holding, Order, Role, Start};
use muster_core::protocol::stamp::AttemptId;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const ALL: &[Story] = &[
    ("a_command_ends_with_its_code_and_its_files_are_whole", a_command),
    ("a_script_has_its_environment", a_script),
    ("a_kernel_is_run_by_this_very_program", a_kernel),
    ("another_host_of_a_job_holds_nothing_yet_and_can_be_ended", a_member),
    ("what_cannot_start_says_why", what_cannot_start),
    ("a_kill_reaches_what_has_left_the_session", || a_kill(Pool::new("kill"))),
    ("a_kill_reaches_it_without_groups", || a_kill(Pool::plain("kill"))),
    ("what_a_script_leaves_behind_ends_with_it", || left_behind(Pool::new("left"))),
    ("what_a_script_leaves_behind_ends_without_groups", || left_behind(Pool::plain("left"))),
    ("more_memory_than_it_had_asked_for", memory),
    ("the_time_limit_ends_it", time_limit),
    ("the_early_signal_comes_before_the_limit", early_signal),
    ("an_agent_that_is_started_again_adopts_what_runs", adoption),
    ("what_ends_while_there_is_no_agent_is_reported_by_the_next", ended_unheard),
    ("what_a_dead_shepherd_held_ends", || dead_shepherd(Pool::new("lost"))),
    ("what_a_dead_shepherd_held_ends_without_groups", || dead_shepherd(Pool::plain("lost"))),
    ("a_shepherd_that_hangs_is_as_good_as_dead", hanging_shepherd),
    ("the_end_of_the_lease_ends_what_may_run_again", lease),
    ("an_array_takes_one_process_for_each_slot", an_array),
    ("what_is_told_ahead_begins_in_its_order", told_ahead),
    ("what_is_told_ahead_outlives_the_agent", told_ahead_to_another_agent),
    ("what_is_told_ahead_begins_elsewhere_when_its_shepherd_dies", told_ahead_to_a_dead_shepherd),
    ("a_stop_lets_go_of_idle_shepherds", a_stop),
];

fn plain(_: &mut muster_core::jobspec::JobSpec, _: &mut Start) {}

/// Starts a process in a session of its own, whose parent exits, and which never ends by itself.
const DAEMON: &str = "setsid sh -c '(setsid sh -c \"echo \\$\\$ > daemon; cat hold\" &)'; until [ -s daemon ]; do :; done; echo up > ready;";

fn a_command() {
    let mut pool = Pool::new("command");
    let text = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo bad >&2; exit 7";
    let start = pool.shell(text, |spec, _| spec.files.output = Some("%x-%j.%N".into()));
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Failed(7)));
    let out = pool.text("story-1.n1");
    assert!(out.ends_with("line 1999\nbad\n"), "{out}");
    assert_eq!(out.lines().count(), 2001);
    assert_eq!(pool.held(), []);
    pool.kill_agent();
    pool.start_agent();
    assert_eq!(pool.held(), [], "what is forgotten stays so");
}

fn a_script() {
    let mut pool = Pool::new("script");
    let text = "#!/bin/sh\necho $1 $SLURM_JOB_ID $SLURM_ARRAY_TASK_ID $MUSTER_JOB.$MUSTER_ATTEMPT $COLOUR $EXTRA \
        ${SLURM_OLD-gone} $SLURM_JOB_NUM_NODES $SLURM_JOB_PARTITION $OMP_NUM_THREADS $(umask) $PWD\n\
        grep Cpus_allowed_list /proc/self/status\nkill -TERM $$\n";
    let program = Program::Script { text: text.into(), args: vec!["first".into()] };
    let start = pool.start(program, |spec, start| {
        spec.files.output = None;
        spec.export = muster_core::jobspec::Export::All(vec![("EXTRA".into(), "more".into())]);
        spec.array = Some(ArraySpec { ranges: vec![(5, 6, 1)], throttle: None });
        spec.size.cpus_per_task = Some(3);
        start.id.run.element = Some(5);
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Signalled(15)));
    let folder = pool.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let core = muster_worker::topology::discover().unwrap().domains[0].cores[0];
    let cores = format!("Cpus_allowed_list:\t{core}");
    let want = format!("first 1 5 1_5.1 green more gone 1 batch 3 0027 {folder}\n{cores}\n");
    assert_eq!(pool.text("slurm-1_5.out"), want);
    let mode = std::os::unix::fs::MetadataExt::mode(&pool.path("slurm-1_5.out").metadata().unwrap());
    assert_eq!(mode & 0o777, 0o640, "the submitter's mask");
    let mut left = std::fs::read_dir(pool.path("state/spool")).unwrap().map(|entry| entry.unwrap().path());
    assert!(left.all(|path| path.extension() != Some("script".as_ref())), "no script is left");
}

fn a_kernel() {
    let mut pool = Pool::new("kernel");
    let words = ["monte-carlo", "--paths", "1e6"].map(str::to_owned).into();
    let start = pool.start(Program::Kernel(words), plain);
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Failed(9)));
    assert_eq!(pool.text("out"), "kernel monte-carlo --paths 1e6\n");
}

fn a_member() {
    let mut pool = Pool::new("member");
    let start = pool.shell("true", |_, start| start.role = Role::Member);
    let id = pool.begin(start);
    pool.order(Order::Kill(id));
    assert_eq!(pool.end(id), Ended::Killed);
    assert!(!pool.path("out").exists());
}

fn what_cannot_start() {
    let mut pool = Pool::new("start");
    let output = pool.path("why").to_str().unwrap().to_owned();
    let start = pool.shell("true", |spec, _| {
        spec.files.chdir = Some("nosuch".into());
        spec.files.output = Some(output);
    });
    let id = pool.begin(start);
    let Ending { how, why, .. } = pool.ending(id);
    assert_eq!(how, Ended::Exited(Outcome::Failed(1)));
    assert!(why.is_some_and(|why| why.contains("nosuch is not there on this host")));
    pool.forget(id);
    assert!(pool.text("why").contains("nosuch is not there on this host (--chdir"), "{}", pool.text("why"));
    std::os::unix::fs::symlink(pool.path("why"), pool.path("link")).unwrap();
    let start = pool.shell("true", |spec, start| {
        spec.files.output = Some("link".into());
        start.id.attempt.0 = 2;
    });
    let id = pool.begin(start);
    assert_eq!(pool.end(id), Ended::Exited(Outcome::Failed(1)), "a link is not followed");
    pool.forget(id);
    let start = pool.shell("true", |spec, start| {
        spec.payload = Some(BlobId([1; 32]));
        start.id.attempt.0 = 3;
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::NotStarted), "nobody has what it runs");
}

fn a_kill(mut pool: Pool) {
    pool.pipe("ready");
    pool.pipe("hold");
    let start = pool.shell(&format!("trap '' TERM; {DAEMON} cat hold"), plain);
    let id = pool.begin(start);
    assert_eq!(pool.hear("ready"), "up\n");
    let daemon = pool.text("daemon");
    assert!(lives(&daemon));
    pool.order(Order::Kill(id));
    assert_eq!(pool.end(id), Ended::Killed);
    assert!(!lives(&daemon), "it ended before its end was told");
}

fn left_behind(mut pool: Pool) {
    pool.pipe("hold");
    let start = pool.shell(&DAEMON.replace("echo up > ready;", "exit 0"), plain);
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Completed));
    assert!(!lives(&pool.text("daemon")));
}

fn memory() {
    let mut pool = Pool::new("memory");
    if !pool.limits_memory() {
        return println!("passed over: no control group limits memory here");
    }
    let start = pool.shell("head -c 400000000 /dev/zero | tail -n 1 | wc -c", |spec, _| {
        spec.size.memory = Some(Memory::PerNode(64));
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::OutOfMemory));
    let start = pool.shell("head -c 4000000 /dev/zero | tail -n 1 | wc -c", |spec, start| {
        spec.size.memory = Some(Memory::PerNode(64));
        start.id.attempt.0 = 2;
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Completed), "the next one is not blamed for it");
}

fn time_limit() {
    let mut pool = Pool::new("limit");
    pool.pipe("hold");
    let start = pool.shell("cat hold", |_, start| start.limit_ms = Some(100));
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Timeout));
    let start = pool.shell("trap 'echo saved; exit 0' TERM; cat hold", |spec, start| {
        spec.files.output = Some("saves".into());
        (start.limit_ms, start.grace_ms, start.id.attempt.0) = (Some(2_000), 600_000, 2);
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Timeout), "however it ends");
    assert!(pool.text("saves").ends_with("saved\n"), "{}", pool.text("saves"));
    let start = pool.shell("trap '' TERM; cat hold", |_, start| {
        (start.limit_ms, start.id.attempt.0) = (Some(100), 3);
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Timeout), "it does not care, and is killed");
}

fn early_signal() {
    let mut pool = Pool::new("early");
    pool.pipe("hold");
    let start = pool.shell("trap 'echo warned; exit 3' USR1; read x < hold", |spec, start| {
        spec.signal = Some(EarlySignal { signal: 10, before_s: 600, batch_only: true });
        start.limit_ms = Some(603_000);
    });
    assert_eq!(pool.run(start), Ended::Exited(Outcome::Failed(3)));
    assert!(pool.text("out").ends_with("warned\n"), "{}", pool.text("out"));
}

fn adoption() {
    let mut pool = Pool::new("adopt");
    pool.pipe("ready");
    pool.pipe("hold");
    let start = pool.shell("echo up > ready; cat hold; exit 4", plain);
    let id = pool.begin(start);
    pool.hear("ready");
    pool.kill_agent();
    pool.start_agent();
    assert_eq!(pool.held(), [(id, Holding::Running)]);
    pool.release("hold");
    assert_eq!(pool.end(id), Ended::Exited(Outcome::Failed(4)));
    pool.forget(id);
    assert_eq!((pool.text("out"), pool.text("state/started")), ("go\n".into(), "1\n".into()));
}

fn ended_unheard() {
    let mut pool = Pool::new("unheard");
    pool.pipe("ready");
    pool.pipe("hold");
    pool.pipe("last");
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let text = format!("echo up > ready; cat hold; {burn}; exec echo done > last");
    let start = pool.shell(&text, plain);
    let id = pool.begin(start);
    pool.hear("ready");
    pool.kill_agent();
    pool.release("hold");
    pool.hear("last");
    // Whether it has ended by now or ends a little later: nothing of it is lost.
    pool.start_agent();
    let Ending { how, usage, why } = pool.ending(id);
    assert_eq!((how, why), (Ended::Exited(Outcome::Completed), None));
    assert!(usage.cpu_ms() > 0 && usage.peak_memory_kib > 0 && usage.voluntary_switches > 0, "{usage:?}");
    pool.forget(id);
    assert_eq!(pool.held(), []);
}

fn dead_shepherd(mut pool: Pool) {
    pool.pipe("ready");
    pool.pipe("hold");
    let start = pool.shell(&format!("{DAEMON} cat hold"), plain);
    let id = pool.begin(start);
    pool.hear("ready");
    let daemon = pool.text("daemon");
    let [shepherd] = pool.shepherds()[..] else { panic!("one shepherd: {:?}", pool.shepherds()) };
    kill_process(Pid::from_raw(shepherd).unwrap(), Signal::KILL).unwrap();
    assert_eq!(pool.end(id), Ended::ShepherdLost);
    assert!(!lives(&daemon));
    pool.forget(id);
    let again = pool.shell("exit 5", |_, start| start.id.attempt.0 = 2);
    assert_eq!(pool.run(again), Ended::Exited(Outcome::Failed(5)), "another shepherd serves the slot");
}

fn hanging_shepherd() {
    let mut pool = Pool::new("hangs");
    pool.pipe("ready");
    pool.pipe("hold");
    let start = pool.shell(&format!("{DAEMON} cat hold"), |_, start| start.conduct = Conduct::Stay);
    let id = pool.begin(start);
    pool.hear("ready");
    let [shepherd] = pool.shepherds()[..] else { panic!("one shepherd: {:?}", pool.shepherds()) };
    pool.kill_agent();
    kill_process(Pid::from_raw(shepherd).unwrap(), Signal::STOP).unwrap();
    pool.start_agent();
    assert_eq!(pool.end(id), Ended::ShepherdLost);
    assert!(!lives(&pool.text("daemon")));
}

fn lease() {
    let mut pool = Pool::hasty("lease", 1_000);
    pool.pipe("ready");
    pool.pipe("hold");
    let start = pool.shell(&format!("{DAEMON} cat hold"), plain);
    let id = pool.begin(start);
    pool.hear("ready");
    let daemon = pool.text("daemon");
    pool.kill_agent();
    await_end(&daemon);
    pool.start_agent();
    assert_eq!(pool.end(id), Ended::LeaseEnded);
}

fn an_array() {
    let mut pool = Pool::new("array");
    let element = |pool: &Pool, index| {
        let program = Program::Command(vec!["/bin/true".into()]);
        pool.start(program, |spec, start| {
            spec.files.output = Some("/dev/null".into());
            start.id.run.element = Some(index);
        })
    };
    let mut next = 0;
    let mut running = Vec::new();
    while next < 200 || !running.is_empty() {
        // What is over is forgotten only after the next one has begun in its place.
        let ended =
            |id: &_| pool.held().iter().any(|(held, how)| held == id && matches!(how, Holding::Ended(_)));
        let over: Vec<_> = running.extract_if(.., |id| ended(id)).collect();
        while next < 200 && running.len() < 2 {
            let start = element(&pool, next);
            running.push(pool.begin(start));
            next += 1;
        }
        for id in over {
            assert_eq!(pool.end(id), Ended::Exited(Outcome::Completed));
            pool.order(Order::Forget(id));
        }
        if !running.is_empty() {
            pool.report(|_| true);
        }
    }
    while !pool.held().is_empty() {
        pool.report(|_| true);
    }
    assert_eq!(pool.text("state/started"), "1\n1\n", "two processes for two hundred elements");
}

/// Orders elements to follow one another: the first waits for the pipe `hold`, and each writes down that it runs.
fn line(pool: &mut Pool, count: u32) -> Vec<AttemptId> {
    pool.pipe("ready");
    pool.pipe("hold");
    let id = |index| AttemptId { run: RunId { job: JobId(1), element: Some(index) }, attempt: Attempt(1) };
    let orders: Vec<Start> = (0..count)
        .map(|index| {
            let first = if index == 0 { "echo up > ready; cat hold;" } else { "" };
            let text = format!("{first} echo $SLURM_ARRAY_TASK_ID >> all");
            pool.shell(&text, |spec, start| {
                spec.files.output = Some("/dev/null".into());
                spec.array = Some(ArraySpec { ranges: vec![(0, count - 1, 1)], throttle: None });
                (start.id, start.after) = (id(index), index.checked_sub(1).map(id));
            })
        })
        .collect();
    let ids = orders.into_iter().map(|start| pool.begin(start)).collect();
    pool.hear("ready");
    ids
}

/// Reports until something is held in this way.
fn until(pool: &mut Pool, id: AttemptId, how: &Holding) {
    while !pool.held().iter().any(|(held, is)| (held, is) == (&id, how)) {
        pool.report(|_| true);
    }
}

fn told_ahead() {
    let mut pool = Pool::new("ahead");
    let ids = line(&mut pool, 5);
    until(&mut pool, ids[4], &Holding::Waits);
    // One in the middle is not wanted any more.
    pool.order(Order::Kill(ids[2]));
    assert_eq!(pool.end(ids[2]), Ended::Killed);
    until(&mut pool, ids[3], &Holding::Waits);
    pool.release("hold");
    for at in [0, 1, 3, 4] {
        assert_eq!(pool.end(ids[at]), Ended::Exited(Outcome::Completed));
    }
    assert_eq!(pool.text("all"), "0\n1\n3\n4\n");
    assert_eq!(pool.text("state/started"), "1\n", "one process serves them all");
    ids.into_iter().for_each(|id| pool.forget(id));
    assert_eq!(pool.held(), []);
}

fn told_ahead_to_another_agent() {
    let mut pool = Pool::new("ahead-adopted");
    let ids = line(&mut pool, 3);
    until(&mut pool, ids[2], &Holding::Waits);
    pool.kill_agent();
    pool.start_agent();
    assert_eq!(pool.held().len(), 3);
    pool.release("hold");
    for id in &ids {
        assert_eq!(pool.end(*id), Ended::Exited(Outcome::Completed));
    }
    assert_eq!(pool.text("all"), "0\n1\n2\n");
    assert_eq!(pool.text("state/started"), "1\n", "nothing begins elsewhere");
}

fn told_ahead_to_a_dead_shepherd() {
    let mut pool = Pool::new("ahead-lost");
    let ids = line(&mut pool, 3);
    until(&mut pool, ids[2], &Holding::Waits);
    let [shepherd] = pool.shepherds()[..] else { panic!("one shepherd: {:?}", pool.shepherds()) };
    kill_process(Pid::from_raw(shepherd).unwrap(), Signal::KILL).unwrap();
    assert_eq!(pool.end(ids[0]), Ended::ShepherdLost);
    for id in &ids[1..] {
        assert_eq!(pool.end(*id), Ended::Exited(Outcome::Completed));
    }
    assert_eq!(pool.text("all"), "1\n2\n");
}

fn a_stop() {
    let mut pool = Pool::new("stop");
    pool.pipe("ready");
    pool.pipe("hold");
    let start = pool.shell("true", plain);
    pool.run(start);
    let idle = pool.shepherds();
    assert_eq!(idle.len(), 1);
    pool.stop_agent();
    assert!(idle.iter().all(|pid| !lives(&pid.to_string())), "it went with the agent");
    assert_eq!(pool.shepherds(), [0; 0]);
    pool.start_agent();
    let start = pool.shell("echo up > ready; cat hold", |_, start| start.id.attempt.0 = 2);
    let id = pool.begin(start);
    pool.hear("ready");
    pool.stop_agent();
    pool.start_agent();
    assert_eq!(pool.held(), [(id, Holding::Running)], "what runs goes on");
    pool.order(Order::Kill(id));
    assert_eq!(pool.end(id), Ended::Killed);
}
