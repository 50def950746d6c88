//! A pool of all users of its hosts: a controller that is nobody much, agents that are root, and jobs with the rights of those
//! whose they are.

use super::hosts::{Hosts, address};
use std::process::Output;

/// The pool of hosts h1, h2, ..., of which the first has the controller, too; bob operates it.
struct Everybodys {
    hosts: Hosts,
}

impl Everybodys {
    fn up(count: usize) -> Option<Everybodys> {
        let pool = Everybodys { hosts: Hosts::new(count)? };
        let lines = format!("users = \"all\"\\noperators = [\"bob\"]\\nlisten = \"{}\"\\n", address(1));
        let config = format!("mkdir pool && printf '{lines}' > pool/config.toml");
        pool.ok((1, "muster"), &["sh", "-c", &config]);
        let said = pool.ok((1, "muster"), &["muster", "up", "--detach", "--lease", "6"]);
        let place = said.split_whitespace().find(|word| word.contains('#'));
        let place = place.expect("it says where").trim_end_matches(':').to_owned();
        (1..=count).for_each(|number| pool.join(number, &place));
        Some(pool)
    }

    /// Root has a host join.
    fn join(&self, number: usize, place: &str) {
        let config = "mkdir -p /tmp/state && printf 'users = \"all\"\\n' > /tmp/state/config.toml";
        self.hosts.ok(number, &["sh", "-c", config]);
        let told = self.ok((1, "muster"), &["muster", "token"]);
        self.hosts.enter(number, &told, &["muster", "join", place, "--detach"]);
    }

    fn run(&self, who: (usize, &str), words: &[&str]) -> Output {
        self.hosts.command_as(who, words).output().expect("it starts")
    }

    fn ok(&self, who: (usize, &str), words: &[&str]) -> String {
        let output = self.run(who, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{who:?}: {words:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What is said to who may not.
    fn denied(&self, who: (usize, &str), words: &[&str]) -> String {
        let output = self.run(who, words);
        assert!(!output.status.success(), "{who:?}: {words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What root finds in a file of a host.
    fn read(&self, number: usize, path: &str) -> String {
        self.hosts.ok(number, &["cat", path])
    }

    /// Submits as a user of the first host, and waits.
    fn submit(&self, user: &str, words: &[&str]) -> Output {
        self.run((1, user), &[&["muster", "submit", "--quiet", "--wait"], words].concat())
    }
}

#[test]
fn jobs_have_the_rights_of_those_whose_they_are() {
    let Some(pool) = Everybodys::up(2) else { return };
    // On the pool's own machine, and on another: who it is, in which groups, and with no way to more.
    let script = "id -u; id -G; grep NoNewPrivs /proc/self/status; ls -ld . | cut -c1-10; touch made";
    for host in ["h1", "h2"] {
        let done = pool.submit("ada", &[&format!("--nodelist={host}"), "-o", host, "--wrap", script]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let said = pool.read(1, &format!("/tmp/ada/{host}"));
        assert_eq!(said, "2001\n2001 2100\nNoNewPrivs:\t1\ndrwx------\n", "{host}");
        let number = host[1..].parse().expect("a number");
        assert_eq!(pool.hosts.ok(number, &["stat", "-c", "%U", "/tmp/ada/made"]), "ada\n");
    }
    let whose = pool.hosts.ok(1, &["stat", "-c", "%U %a", "/tmp/ada/h1", "/tmp/ada/h2"]);
    assert_eq!(whose, "ada 644\nada 644\n", "output that came back is hers, too");
    // What ada may not write, her job does not write: bob's file, one of root's, or either by a link.
    pool.hosts.ok(1, &["ln", "-s", "/etc/shadow", "/tmp/ada/link"]);
    for path in ["/tmp/bob/out", "/etc/passwd", "link", "/tmp/state/spool/out"] {
        let done = pool.submit("ada", &["--nodelist=h1", "-o", path, "--", "id"]);
        assert_eq!(done.status.code(), Some(1), "{path}");
    }
    assert!(!pool.run((1, "bob"), &["test", "-e", "out"]).status.success());
    // Accounts of the system run nothing: not root, and not the pool's own.
    for who in ["root", "muster"] {
        let words = ["muster", "submit", "--wait", "-o", "/dev/null", "--", "id"];
        let said = pool.denied((1, who), &words);
        assert!(said.contains("account of the system"), "{who}: {said}");
    }
    let said = pool.hosts.run(1, &["muster", "up", "--state", "/tmp/state"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("root does not run it"));
}

#[test]
fn who_may_what_is_told_by_the_system() {
    let Some(pool) = Everybodys::up(1) else { return };
    let (ada, bob) = ((1, "ada"), (1, "bob"));
    assert!(pool.submit("ada", &["-o", "out", "--", "id", "-un"]).status.success());
    let held = |who| {
        let words = ["muster", "submit", "--parsable", "--hold", "-o", "/dev/null", "--wrap", "id"];
        pool.ok(who, &words).trim().to_owned()
    };
    let (hers, his) = (held(ada), held(bob));
    let keeping = "cat /tmp/muster/pool/blobs/* /tmp/muster/pool/journal.db /tmp/state/join.json";
    assert_eq!(pool.denied(bob, &["sh", "-c", keeping]).matches("denied").count(), 3);
    assert!(pool.denied(ada, &["muster", "drain", "h1"]).contains("ada may not operate the pool"));
    assert!(
        pool.denied(ada, &["muster", "token"])
            .contains("ada may not operate the pool so far as to make tokens")
    );
    assert!(pool.denied(ada, &["muster", "cancel", &his]).contains("ada may not change this job"));
    assert!(pool.denied(bob, &["muster", "down"]).contains("bob may not"));
    assert!(pool.denied(bob, &["muster", "logs", "1"]).contains("bob may not read"));
    assert_eq!(pool.ok(ada, &["muster", "logs", "1"]), "ada\n");
    pool.ok(bob, &["muster", "cancel", &hers]);
    pool.ok(bob, &["muster", "drain", "h1"]);
    pool.ok(bob, &["muster", "resume", "h1"]);
    // The door of jobs hears of an attempt from its own user alone.
    let asks = "exec muster launch h1 true";
    let done = pool.submit(
        "bob",
        &["-o", "said", "--wrap", &format!("MUSTER_JOB=1 MUSTER_ATTEMPT=1 timeout 3 sh -c '{asks}'")],
    );
    assert_eq!(done.status.code(), Some(124), "nobody answers: {}", pool.read(1, "/tmp/bob/said"));
}

#[test]
fn files_are_looked_for_with_the_rights_of_whose_job_it_is() {
    let Some(pool) = Everybodys::up(2) else { return };
    for user in ["ada", "bob"] {
        for number in 1..=2 {
            let file = "printf 'x\n1\n2\n6\n' > data.csv && chmod 600 data.csv";
            pool.ok((number, user), &["sh", "-c", file]);
        }
    }
    let kernel = ["--kernel", "moments", "data.csv"];
    let done = pool.submit("ada", &[&["--nodelist=h2", "-o", "moments"], &kernel[..]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(pool.read(1, "/tmp/ada/moments").contains('3'));
    // A host where it is another's is none that has it.
    pool.hosts.ok(2, &["chown", "ada", "/tmp/bob/data.csv"]);
    let done = pool.submit("bob", &[&["-o", "/dev/null"], &kernel[..]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let past = pool.ok((1, "bob"), &["muster", "history"]);
    let last = past.lines().nth(1).expect("the newest comes first");
    assert!(last.contains(" bob ") && last.ends_with("  h1"), "{past}");
}

#[test]
fn teams_of_a_user_span_hosts() {
    let Some(pool) = Everybodys::up(2) else { return };
    let found = ["sh", "-c", "command -v mpirun && command -v muster-rank"];
    if !pool.hosts.run(1, &found).status.success() {
        return println!("passed over: no mpirun, or no muster-rank");
    }
    let kernel = ["monte-carlo", "--option", "asian", "--steps", "64", "--paths", "4e6", "--json"];
    let own = ["--no-ledger", "--state", "/tmp/ada/own"];
    let here = pool.ok((1, "ada"), &[&["muster", "kernel"], &kernel[..], &own].concat());
    let hash = |text: &str| text.split("\"hash\": \"").nth(1).map(|rest| rest[..64].to_owned());
    let team = |out: &str, words: &[&str]| {
        let done = pool.submit("ada", &[&["--nodes=2", "--exclusive", "-o", out], words].concat());
        let said = pool.read(1, &format!("/tmp/ada/{out}"));
        assert!(done.status.success(), "{said}");
        assert!(hash(&here).is_some() && hash(&said) == hash(&here), "{said}");
    };
    team("answer", &[&["--kernel"], &kernel[..]].concat());
    let script = format!("mpirun id -un | sort > who; muster kernel {}", kernel.join(" "));
    team("step", &["--wrap", &script]);
    assert_eq!(pool.read(1, "/tmp/ada/who"), "ada\nada\n");
}
