//! Two hosts of one pool, on loopback: each is a state directory of its own, so nothing of the pool's is shared between
//! them. Every wait ends with an event, or the test fails.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

fn muster(state: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    // What a host of tests can do is not what is tested here.
    command.args(words).env("MUSTER_STATE", state).env("MUSTER_CGROUPS", "off").current_dir(state);
    command
}

/// Does something that may wait, and fails when it waits too long.
fn within<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, done) = channel();
    std::thread::spawn(move || send.send(act()));
    done.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} takes too long"))
}

fn output(what: &str, mut command: Command) -> Output {
    within(what, move || command.output().unwrap())
}

/// A command that succeeds, and what it prints.
fn done(state: &Path, words: &[&str]) -> String {
    let output = output(&words.join(" "), muster(state, words));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A daemon of ours, which is ended with the test.
struct Daemon {
    child: Child,
    /// What it said until it was up.
    said: Vec<String>,
}

impl Daemon {
    /// Starts one, and waits for a line that begins with `last`.
    fn start(mut command: Command, input: &str, last: &'static str) -> Daemon {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = within(last, move || {
            let mut said = Vec::new();
            for line in lines.map_while(Result::ok) {
                let is_last = line.starts_with(last);
                said.push(line);
                if is_last {
                    break;
                }
            }
            said
        });
        assert!(said.last().is_some_and(|line| line.starts_with(last)), "it said {said:?}");
        Daemon { child, said }
    }

    /// As a crash would end it.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let (Ok(None), Some(pid)) =
            (self.child.try_wait(), rustix::process::Pid::from_raw(self.child.id() as i32))
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// A pool with its own host `a`, and a place for others.
struct Pool {
    a: TempDir,
    b: TempDir,
    up: Daemon,
    place: String,
    token: String,
}

impl Pool {
    fn up() -> Pool {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let up =
            Daemon::start(muster(a.path(), &["up", "--name", "a", "--listen", "127.0.0.1:0"]), "", "next:");
        let place = up.said.iter().find_map(|line| line.strip_prefix("muster join ")).unwrap().to_owned();
        let is_token = |line: &&String| line.len() == 32 && line.chars().all(|c| c.is_ascii_alphanumeric());
        let token = up.said.iter().find(is_token).unwrap().clone();
        Pool { a, b, up, place, token }
    }

    /// A second host comes in.
    fn join(&self) -> Daemon {
        let words = ["join", &self.place, "--name", "b", "--label", "region=eu"];
        Daemon::start(muster(self.b.path(), &words), &format!("{}\n", self.token), "host b")
    }

    fn invitation(&self) -> Value {
        serde_json::from_str(&done(self.a.path(), &["token", "--json"])).unwrap()
    }

    /// A job on the second host that waits until it is told to go on.
    fn waiting_job(&self) -> (String, File) {
        let fifo = self.path("go");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = "echo begun >> times; read go < go; echo \"$MUSTER_STATE $go\"";
        let words = ["submit", "--parsable", "--nodelist", "b", "--output", "out", "--", "sh", "-c", script];
        let job = done(self.a.path(), &words).trim().to_owned();
        // A pipe can be opened for writing once somebody reads it.
        let go = within("the job's start", move || File::options().write(true).open(fifo).unwrap());
        (job, go)
    }

    /// Waits until a job has ended well, and looks at what it did.
    fn expect(&self, job: &str, wrote: &str) {
        let after = format!("--dependency=afterok:{job}");
        done(self.a.path(), &["submit", "--wait", &after, "--output=/dev/null", "--", "true"]);
        let b = self.b.path().canonicalize().unwrap();
        assert_eq!(std::fs::read_to_string(self.path("out")).unwrap(), format!("{} {wrote}\n", b.display()));
        assert_eq!(std::fs::read_to_string(self.path("times")).unwrap(), "begun\n", "it ran once");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.a.path().join(name)
    }
}

/// What a host that may not join is told.
fn refused(state: &Path, words: &[&str], input: &str) -> String {
    let mut command = muster(state, words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = within("a refusal", move || child.wait_with_output().unwrap());
    assert!(!output.status.success(), "it joined");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_job_runs_on_the_host_that_joined() {
    let pool = Pool::up();
    let _b = pool.join();
    let words =
        ["submit", "--wait", "--nodelist", "b", "--output", "out", "--", "sh", "-c", "echo $MUSTER_STATE"];
    done(pool.a.path(), &words);
    let b = pool.b.path().canonicalize().unwrap();
    assert_eq!(std::fs::read_to_string(pool.path("out")).unwrap(), format!("{}\n", b.display()));
    let hosts: Value = serde_json::from_str(&done(pool.a.path(), &["hosts", "--json"])).unwrap();
    let found = hosts.as_array().unwrap().iter().find(|host| host["host"] == "b").unwrap();
    assert_eq!((found["state"].as_str(), found["labels"][0].as_str()), (Some("up"), Some("region=eu")));
    let there = output("queue", muster(pool.b.path(), &["queue"]));
    let said = String::from_utf8_lossy(&there.stderr).into_owned();
    assert!(there.status.code() == Some(3) && said.contains("has joined the pool at 127.0.0.1:"), "{said}");
}

#[test]
fn a_job_goes_on_while_its_agent_is_dead() {
    let pool = Pool::up();
    let mut b = pool.join();
    let (job, mut go) = pool.waiting_job();
    b.kill();
    // Neither a token nor anything else is needed any more.
    let _b = Daemon::start(muster(pool.b.path(), &["join"]), "", "host b");
    go.write_all(b"again\n").unwrap();
    drop(go);
    pool.expect(&job, "again");
}

#[test]
fn a_job_goes_on_while_the_controller_is_dead() {
    let mut pool = Pool::up();
    let _b = pool.join();
    let (job, mut go) = pool.waiting_job();
    pool.up.kill();
    go.write_all(b"alone\n").unwrap();
    drop(go);
    // It listens where it did.
    pool.up = Daemon::start(muster(pool.a.path(), &["up", "--name", "a"]), "", "next:");
    pool.expect(&job, "alone");
}

#[test]
fn who_may_not_join_is_told_why() {
    let pool = Pool::up();
    let (c, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let join =
        |place: &str, name: &str, token: &str| refused(c.path(), &["join", place, "--name", name], token);
    let wrong = "a".repeat(32);
    assert!(join(&pool.place, "b", &wrong).contains("this token is wrong"));
    assert!(join(&pool.place, "b", "").contains("there is no token"));
    assert!(join(&pool.place, "../b", &pool.token).contains("is no name for a host"));
    assert!(join(&pool.place, "a", &pool.token).contains("is the pool's own host"));
    let (address, _) = pool.place.split_once('#').unwrap();
    let other = format!("{address}#{wrong}");
    assert!(join(&other, "b", &pool.token).contains("is not the pool with this fingerprint"));
    assert!(join("nonsense", "b", &pool.token).contains("names no pool"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(join(&format!("{closed}#{wrong}"), "b", &pool.token).contains("cannot reach the pool"));

    let _b = pool.join();
    assert!(join(&pool.place, "c", &pool.token).contains("this token is used"));
    let second = pool.invitation();
    let told = join(&pool.place, "b", second["token"].as_str().unwrap());
    assert!(told.contains("a host b already, with another credential"), "{told}");
    let other_pool = refused(pool.b.path(), &["join", &other], "");
    assert!(other_pool.contains("is the state directory of host b"), "{other_pool}");
    let nowhere = refused(elsewhere.path(), &["join"], "");
    assert!(nowhere.contains("this host has joined no pool"), "{nowhere}");
}

#[test]
fn a_client_does_what_its_user_may_and_operates_nothing() {
    let pool = Pool::up();
    let desk = tempfile::tempdir().unwrap();
    let login = ["login", &pool.place, "--name", "desk"];
    let told = refused(desk.path(), &login, &pool.token);
    assert!(told.contains("`muster token --login` one for `muster login`"), "{told}");
    assert!(refused(desk.path(), &["queue"], "").contains("no pool is up in"), "nothing is kept of it");
    let invitation: Value =
        serde_json::from_str(&done(pool.a.path(), &["token", "--login", "--json"])).unwrap();
    let token = invitation["token"].as_str().unwrap();
    let told = refused(pool.b.path(), &["join", &pool.place, "--name", "b"], token);
    assert!(told.contains("`muster token` on the pool's host makes one for `muster join`"), "{told}");
    let file = desk.path().join("token");
    std::fs::write(&file, token).unwrap();
    let said = done(desk.path(), &[&login[..], &["--token-file", file.to_str().unwrap()]].concat());
    assert!(said.starts_with("logged in to the pool at 127.0.0.1:"), "{said}");
    // What it has is good: no other token is asked for.
    done(desk.path(), &login);

    let job = done(
        desk.path(),
        &["submit", "--parsable", "--hold", "-o", "out", "--wrap", "echo from there; exit 3"],
    );
    let job = job.trim();
    done(desk.path(), &["release", job]);
    let after = format!("--dependency=afterany:{job}");
    let mut waits = muster(desk.path(), &["submit", "--wait", &after, "--wrap", "exit 7"]);
    waits.env("TZ", "UTC");
    assert_eq!(output("a job's end", waits).status.code(), Some(7));
    assert!(done(desk.path(), &["logs", job]).starts_with("from there"));
    assert_eq!(std::fs::read_to_string(desk.path().join("out")).unwrap(), done(desk.path(), &["logs", job]));
    let there: Value = serde_json::from_str(&done(pool.a.path(), &["history", "--json", job])).unwrap();
    assert_eq!(there[0]["outcome"], "FAILED");
    for words in [&["down"][..], &["drain", "a"], &["token"], &["clients"], &["hosts", "--revoke", "b"]] {
        let told = refused(desk.path(), words, "");
        assert!(told.contains("may not operate the pool") && told.contains("own host"), "{words:?}: {told}");
    }
    let told = refused(desk.path(), &["up"], "");
    assert!(told.contains("`muster logout`"), "{told}");
    let told = refused(pool.a.path(), &login, "");
    assert!(told.contains("is the state directory of a pool on this machine"), "{told}");

    assert_eq!(done(pool.a.path(), &["clients"]), "CLIENT\ndesk\n");
    done(pool.a.path(), &["clients", "--revoke", "desk"]);
    let told = refused(desk.path(), &["queue"], "");
    assert!(told.contains("or has revoked it"), "{told}");
    done(desk.path(), &["logout"]);
    assert!(refused(desk.path(), &["logout"], "").contains("has logged in to no pool"));
}

#[test]
fn a_credential_that_is_revoked_is_good_for_nothing() {
    let pool = Pool::up();
    let b = pool.join();
    done(pool.a.path(), &["hosts", "--revoke", "b"]);
    let status = within("the end of the agent", move || {
        let mut b = b;
        b.child.wait().unwrap()
    });
    assert_eq!(status.code(), Some(2));
    let told = refused(pool.b.path(), &["join"], "");
    assert!(
        told.contains("knows this host's credential no more") && told.contains("there is no token"),
        "{told}"
    );
    // Its name is free, for the same machine or another.
    let c = tempfile::tempdir().unwrap();
    let second = pool.invitation();
    let words = ["join", second["place"].as_str().unwrap(), "--name", "b", "--label", "region=eu"];
    let _c = Daemon::start(muster(c.path(), &words), second["token"].as_str().unwrap(), "host b");
    done(pool.a.path(), &["submit", "--wait", "--nodelist", "b", "--output=/dev/null", "--", "true"]);
}

#[test]
fn the_pool_keeps_no_secret_of_a_host() {
    let pool = Pool::up();
    let _b = pool.join();
    let kept: Value =
        serde_json::from_slice(&std::fs::read(pool.b.path().join("join.json")).unwrap()).unwrap();
    let credential = kept["credential"].as_str().unwrap();
    assert_eq!(files_with(pool.a.path(), credential), Vec::<PathBuf>::new());
    assert_eq!(files_with(pool.a.path(), &pool.token), Vec::<PathBuf>::new());
    assert_eq!(files_with(pool.b.path(), &pool.token), Vec::<PathBuf>::new());
    assert_eq!(files_with(pool.b.path(), credential), [pool.b.path().join("join.json")]);
    for file in ["network/authority.json", "network/controller.json", "network/hosts/b.json"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(pool.path(file)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

/// The files under a folder that have a text in them.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}
