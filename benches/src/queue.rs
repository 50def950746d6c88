//! The queue of one host beside what does the same without one: the journal is durable in each figure.

use crate::measure::{Series, pairs, say};
use crate::process::{Tool, tool};
use muster_core::jobspec::JobSpec;
use muster_core::payload::{Payload, Program};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Elements of the array that is timed.
const ELEMENTS: u32 = 10_000;
/// Single jobs that are timed.
const SINGLE: usize = 200;
/// Submissions, each time of five, and how many of them are on their way at once.
const SUBMISSIONS: usize = 20_000;
const IN_FLIGHT: usize = 64;

/// A pool in a folder of its own, which goes when this does.
struct Pool {
    muster: PathBuf,
    state: PathBuf,
}

impl Pool {
    fn up() -> Result<Pool, String> {
        let state = std::env::temp_dir().join(format!("muster-bench-{}", std::process::id()));
        let pool = Pool { muster: tool(Tool::Muster)?, state };
        pool.run(&["up", "--detach"])?;
        Ok(pool)
    }

    /// Runs `muster` with these words; seconds that it took.
    fn run(&self, words: &[&str]) -> Result<f64, String> {
        let began = Instant::now();
        let mut command = Command::new(&self.muster);
        command.args(words).env("MUSTER_STATE", &self.state).stdout(Stdio::null());
        let status = command.status().map_err(|error| error.to_string())?;
        let took = began.elapsed().as_secs_f64();
        if status.success() { Ok(took) } else { Err(format!("muster {words:?}: {status}")) }
    }

    /// The process of the controller.
    fn controller(&self) -> Option<u32> {
        let mark = format!("MUSTER_STATE={}", self.state.display());
        let pids = std::fs::read_dir("/proc")
            .ok()?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let read =
            |pid: u32, name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        pids.filter_map(|pid| pid.parse().ok()).find(|pid| {
            read(*pid, "environ").split('\0').any(|one| one == mark)
                && read(*pid, "cmdline").contains("\0up\0")
        })
    }

    /// Kibibytes that the controller holds.
    fn memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.controller()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Kills the controller, and the agent with it, as a power cut would.
    fn kill(&self) -> Result<(), String> {
        let pid = self.controller().ok_or("no controller runs")?.to_string();
        let status =
            Command::new("kill").args(["-KILL", &pid]).status().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("kill {pid}: {status}")) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.run(&["down"]);
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

pub(crate) fn queue() -> Result<(), String> {
    let pool = Pool::up()?;
    array(&pool, "/bin/true")?;
    let script = pool.state.join("bench-script");
    std::fs::write(&script, "#!/bin/bash\n:\n").map_err(|error| error.to_string())?;
    array(&pool, &script.display().to_string())?;
    single(&pool)?;
    million(&pool)?;
    submissions(&pool)?;
    restart(&pool)
}

/// Many short runs of a program, or of a script by bash, as one array, beside the least that starts as many.
fn array(pool: &Pool, program: &str) -> Result<(), String> {
    let is_script = program.ends_with("script");
    let range = format!("--array=1-{ELEMENTS}");
    let options = ["submit", "--quiet", "--wait", &range, "--output=/dev/null"];
    let words: Vec<&str> = if is_script { vec![program] } else { vec!["--", program] };
    let ours = || pool.run(&[&options[..], &words].concat());
    let command = if is_script { format!("bash {program}") } else { program.to_owned() };
    let theirs = || {
        let began = Instant::now();
        let xargs = format!("seq {ELEMENTS} | xargs -P2 -n1 {command}");
        let status = Command::new("sh").args(["-c", &xargs]).status().map_err(|error| error.to_string())?;
        if status.success() { Ok(began.elapsed().as_secs_f64()) } else { Err(format!("xargs: {status}")) }
    };
    let (a, b, ratio) = pairs(7, ours, theirs)?;
    say(if is_script { "10,000 elements of a script" } else { "10,000 elements of /bin/true" }, "s", &a);
    say("floor: xargs -P2", "s", &b);
    say("array / xargs", "times", &ratio);
    Ok(())
}

/// One job from submit to end, as its client sees it, beside what one sync costs.
fn single(pool: &Pool) -> Result<(), String> {
    let mut file = File::create(pool.state.join("bench-sync")).map_err(|error| error.to_string())?;
    let (mut jobs, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE {
        jobs.push(1e3 * pool.run(&["submit", "--quiet", "--wait", "-o", "/dev/null", "--", "/bin/true"])?);
        let began = Instant::now();
        let synced = file.write_all(&[0; 512]).and_then(|()| file.sync_data());
        synced.map_err(|error| error.to_string())?;
        syncs.push(1e3 * began.elapsed().as_secs_f64());
    }
    jobs.sort_unstable_by(f64::total_cmp);
    syncs.sort_unstable_by(f64::total_cmp);
    let (median, last) = (SINGLE / 2, SINGLE * 99 / 100);
    println!(
        "  one /bin/true, submit to end: median {:.1} ms, 99th percentile {:.1} ms",
        jobs[median], jobs[last]
    );
    println!("  fdatasync: median {:.2} ms, 99th percentile {:.2} ms", syncs[median], syncs[last]);
    Ok(())
}

/// Separate submissions through the API on the local socket, each acknowledged on disk.
fn submissions(pool: &Pool) -> Result<(), String> {
    let mut spec = JobSpec::named("bench");
    spec.when.hold = true;
    let payload = Payload {
        program: Program::Command(vec!["/bin/true".into()]),
        environment: vec![("PATH".into(), "/bin".into())],
        submit_dir: "/tmp".into(),
        folder: None,
        submit_host: "bench".into(),
        umask: 0o022,
    };
    let body = json!({ "spec": spec, "payload": payload }).to_string();
    let request = format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: muster\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let socket = pool.state.join("api.sock");
    let rate = || {
        let began = Instant::now();
        let each = || client(&socket, &request, SUBMISSIONS / IN_FLIGHT);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(each)).collect();
            clients.into_iter().try_for_each(|one| one.join().map_err(|_| "a client fell".to_owned())?)
        })?;
        Ok((SUBMISSIONS / IN_FLIGHT * IN_FLIGHT) as f64 / began.elapsed().as_secs_f64())
    };
    say("submissions, 64 in flight", "a second", &Series::of(5, rate)?);
    Ok(())
}

/// Submits so often, one after another on one connection.
fn client(socket: &Path, request: &str, times: usize) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", socket.display());
    let stream = UnixStream::connect(socket).map_err(told)?;
    let mut lines = BufReader::new(stream.try_clone().map_err(told)?);
    let mut stream = stream;
    for _ in 0..times {
        stream.write_all(request.as_bytes()).map_err(told)?;
        let (mut length, mut line) = (0, String::new());
        let mut first = true;
        loop {
            line.clear();
            lines.read_line(&mut line).map_err(told)?;
            if first && !line.contains(" 200 ") {
                return Err(format!("the pool answers {line}"));
            }
            first = false;
            match line.trim_end() {
                "" => break,
                header => {
                    if let Some(value) = header.strip_prefix("content-length: ") {
                        length = value.parse().map_err(|_| format!("the pool says {header}"))?;
                    }
                }
            }
        }
        lines.read_exact(&mut vec![0; length]).map_err(told)?;
    }
    Ok(())
}

/// An array of a million elements: submitted, listed, and what it takes.
fn million(pool: &Pool) -> Result<(), String> {
    let before = pool.memory_kib();
    let submitted = pool.run(&["submit", "--quiet", "--hold", "--array=1-1000000", "--", "/bin/true"])?;
    let after = pool.memory_kib();
    let listed = pool.run(&["queue", "--json"])?;
    println!("  a million elements: submitted in {:.1} ms", 1e3 * submitted);
    if let Some((before, after)) = before.zip(after) {
        println!("  controller: {} MiB before, {} MiB after", before >> 10, after >> 10);
    }
    println!("  muster queue with it: {:.1} ms", 1e3 * listed);
    Ok(())
}

/// A new life of a controller that was killed with all that is queued by now.
fn restart(pool: &Pool) -> Result<(), String> {
    let listed = pool.run(&["queue", "--json"])?;
    println!("  muster queue with {} jobs: {:.1} ms", 5 * SUBMISSIONS, 1e3 * listed);
    if let Some(memory) = pool.memory_kib() {
        println!("  controller: {} MiB", memory >> 10);
    }
    pool.kill()?;
    println!("  killed and up again: {:.2} s", pool.run(&["up", "--detach"])?);
    Ok(())
}
