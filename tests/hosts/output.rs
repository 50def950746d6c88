//! Output of jobs on hosts that share nothing with the one where they were submitted: it comes back, whoever is lost.

use super::once;
use super::pool::Pool;
use std::os::unix::fs::PermissionsExt;

/// Writes a third of what it has to say, waits until somebody writes to its pipe, and so on; some of it apart. It may
/// find the end of what was written for the wait before.
const SPEAKS: &str = "hears() { until read word < go; do :; done; }; hostname; echo apart >&2; seq 1 150000; hears; \
                      seq 150001 300000; hears; seq 300001 450000; echo the end >&2";

/// What it says.
fn spoken(upto: u32) -> String {
    std::iter::once("h2\n".to_owned()).chain((1..=upto).map(|line| format!("{line}\n"))).collect()
}

fn submit(pool: &Pool) -> String {
    pool.hosts.ok(2, &["mkfifo", "go"]);
    let options = ["--exclude=h1", "-o", "out-%N", "-e", "err-%j"];
    pool.submit(&[&options[..], &["--", "/bin/sh", "-c", SPEAKS]].concat())
}

/// Lets it go on.
fn go_on(pool: &Pool) {
    pool.hosts.ok(2, &["sh", "-c", "echo on > go"]);
}

#[track_caller]
fn equal(there: &str, spoken: &str) {
    assert!(there == spoken, "{} of {} bytes: {:.100}", there.len(), spoken.len(), there);
}

#[test]
fn it_comes_back_while_the_job_runs() {
    let Some(mut pool) = Pool::up(2) else { return };
    std::fs::write(pool.hosts.folder(1).join("out-h2"), "of somebody before").expect("it is written");
    let job = submit(&pool);
    let seen = std::thread::scope(|scope| {
        let seen = scope.spawn(|| pool.ok(&["logs", "-f", &job]));
        equal(&pool.read(1, "out-h2", |text| text.ends_with("150000\n")), &spoken(150_000));
        go_on(&pool);
        pool.read(1, "out-h2", |text| text.ends_with("300000\n"));
        go_on(&pool);
        seen.join().expect("it is seen")
    });
    assert_eq!(pool.wait(&job), once("COMPLETED", "h2"));
    // Nothing is waited for: who sees the end sees all.
    let here = |name: &str| std::fs::read_to_string(pool.hosts.folder(1).join(name)).unwrap_or_default();
    equal(&here("out-h2"), &spoken(450_000));
    assert_eq!(here(&format!("err-{job}")), "apart\nthe end\n");
    equal(&seen, &spoken(450_000));
    equal(&pool.ok(&["logs", &job]), &spoken(450_000));
    assert_eq!(pool.ok(&["logs", "--error", &job]), "apart\nthe end\n");
    assert!(!pool.hosts.folder(2).join("out-h2").exists(), "nothing is written where it ran");
    pool.hosts.ok(2, &["sh", "-c", "test -z \"$(ls /tmp/state/output)\""]);
    // What has come back is seen without the host.
    pool.hosts.kill(2);
    equal(&pool.ok(&["logs", &job]), &spoken(450_000));
}

#[test]
fn it_comes_back_though_the_controller_and_the_agent_die() {
    let Some(pool) = Pool::up(2) else { return };
    let job = submit(&pool);
    pool.read(1, "out-h2", |text| text.len() > 100_000);
    pool.hosts.ok(1, &["pkill", "-KILL", "-f", "muster up"]);
    go_on(&pool);
    pool.hosts.ok(1, &["muster", "up", "--detach"]);
    equal(&pool.read(1, "out-h2", |text| text.ends_with("300000\n")), &spoken(300_000));
    pool.hosts.ok(2, &["pkill", "-KILL", "-f", "muster join"]);
    go_on(&pool);
    pool.hosts.ok(2, &["muster", "join", "--detach"]);
    assert_eq!(pool.wait(&job), once("COMPLETED", "h2"));
    equal(&pool.read(1, "out-h2", |_| true), &spoken(450_000));
    assert_eq!(pool.read(1, &format!("err-{job}"), |_| true), "apart\nthe end\n");
}

#[test]
fn it_comes_back_to_a_host_of_another_name() {
    let Some(pool) = Pool::up_with(2, &["--name", "front"]) else { return };
    pool.ok(&["submit", "--quiet", "--wait", "--nodelist=h2", "-o", "out", "--", "hostname"]);
    assert_eq!(pool.read(1, "out", |_| true), "h2\n");
}

#[test]
fn it_stays_with_the_pool_for_a_client_that_shares_nothing_with_it() {
    let Some(pool) = Pool::alone(3, &[]) else { return };
    pool.join(2);
    pool.log_in(3);
    let at = |script: &str| {
        let folder = "mkdir -p /tmp/desk && cd /tmp/desk && ";
        pool.hosts.run(3, &["sh", "-c", &format!("{folder}{script}")])
    };
    // Whoever has a folder of the same name has another.
    pool.hosts.ok(2, &["mkdir", "-p", "/tmp/desk"]);
    for host in ["h1", "h2"] {
        let script = format!("muster submit --wait -o out --nodelist={host} --wrap 'hostname; exit 5'");
        let waited = at(&script);
        assert_eq!(waited.status.code(), Some(5), "{}", String::from_utf8_lossy(&waited.stderr));
        let job =
            String::from_utf8_lossy(&waited.stdout).split(' ').nth(2).expect("a number").trim().to_owned();
        let said = at(&format!("muster logs -f {job}"));
        assert!(String::from_utf8_lossy(&said.stdout).ends_with(&format!("{host}\n")), "{said:?}");
    }
    pool.hosts.ok(1, &["sh", "-c", "test ! -e /tmp/desk"]);
    pool.hosts.ok(2, &["sh", "-c", "test -z \"$(ls /tmp/desk)\""]);
}

#[test]
fn what_had_come_of_a_lost_host_stays() {
    let Some(mut pool) = Pool::up(2) else { return };
    pool.hosts.ok(2, &["mkfifo", "go"]);
    let script = "seq 1 1000; read word < go";
    let options = ["--exclude=h1", "--no-requeue", "-o", "out", "--", "/bin/sh", "-c", script];
    let job = pool.submit(&options);
    let lines = pool.read(1, "out", |text| text.ends_with("1000\n"));
    pool.hosts.kill(2);
    pool.hosts.start(2).expect("it was started before");
    pool.ok(&["hosts", "--revoke", "h2"]);
    pool.join(2);
    assert_eq!(pool.wait(&job), once("NODE_FAIL", "h2"));
    assert_eq!(pool.read(1, "out", |_| true), lines);
    let said = pool.ok(&["logs", &job]);
    assert!(said.starts_with(&lines) && said.contains("has not come back"), "{said}");
}

#[test]
fn a_job_without_its_directory_runs_in_an_empty_one() {
    let Some(pool) = Pool::up(2) else { return };
    let inside = |words: &[&str]| {
        let words =
            [&["sh", "-c", "mkdir -p /tmp/work/deep && cd /tmp/work/deep && exec \"$@\"", "sh"], words];
        pool.hosts.run(1, &words.concat())
    };
    let submit = ["muster", "submit", "--wait", "--exclude=h1", "--open-mode=append", "-o", "out"];
    let script = "ls -A; umask; pwd; touch mine";
    let run = |more: &[&str]| inside(&[&submit[..], more, &["--", "/bin/sh", "-c", script]].concat());
    assert!(run(&["-e", "err"]).status.success());
    let said = pool.read(1, "deep/out", |_| true);
    let lines: Vec<&str> = said.lines().collect();
    assert!(matches!(lines[..], ["0022", folder] if folder.contains("/state/work/")), "{said}");
    let told = pool.read(1, "deep/err", |_| true);
    assert!(
        told.contains("/tmp/work/deep is not there on host h2") && told.contains("--chdir DIR"),
        "{told}"
    );
    pool.hosts.ok(2, &["sh", "-c", "test -z \"$(ls /tmp/state/work)\""]);
    let mode = std::fs::metadata(pool.hosts.folder(1).join("deep/out")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    // One that asks for a directory is told that it is not there.
    assert!(!run(&["--chdir=/tmp/work/deep"]).status.success());
    let after = pool.read(1, "deep/out", |_| true);
    assert!(after.starts_with(&said) && after.contains("is not there on this host (--chdir"), "{after}");
}
