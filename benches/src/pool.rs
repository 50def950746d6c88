//! A pool that benches measure: the one that people run, in a folder of its own.

use crate::process::{Tool, tool};
use muster_core::jobspec::JobSpec;
use muster_core::payload::{Payload, Program};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// How many submissions are on their way at once.
pub(crate) const IN_FLIGHT: usize = 64;

/// A pool in a folder of its own, which goes when this does.
pub(crate) struct Pool {
    muster: PathBuf,
    pub(crate) state: PathBuf,
}

impl Pool {
    pub(crate) fn up(options: &[&str]) -> Result<Pool, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = std::env::temp_dir().join(format!("muster-bench-{}.{number}", std::process::id()));
        let pool = Pool { muster: tool(Tool::Muster)?, state };
        pool.run(&[&["up", "--detach"], options].concat())?;
        Ok(pool)
    }

    /// What `muster` prints with these words.
    pub(crate) fn read(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.muster);
        let output = command.args(words).env("MUSTER_STATE", &self.state).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("muster {words:?}: {}", output.status)),
        }
    }

    /// Runs `muster` with these words; seconds that it took.
    pub(crate) fn run(&self, words: &[&str]) -> Result<f64, String> {
        let began = Instant::now();
        let mut command = Command::new(&self.muster);
        // Nothing else is measured meanwhile.
        command
            .args(words)
            .env("MUSTER_STATE", &self.state)
            .env("MUSTER_CEILINGS", "off")
            .stdout(Stdio::null());
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
    pub(crate) fn memory_kib(&self) -> Option<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most that it has held.
    pub(crate) fn peak_kib(&self) -> Option<u64> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.controller()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Kills the controller, and the agent with it, as a power cut would.
    pub(crate) fn kill(&self) -> Result<(), String> {
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

/// A request that submits a job, held or not.
pub(crate) fn submission(hold: bool) -> String {
    let mut spec = JobSpec::named("bench");
    spec.when.hold = hold;
    let payload = Payload {
        program: Program::Command(vec!["/bin/true".into()]),
        environment: vec![("PATH".into(), "/bin".into())],
        submit_dir: "/tmp".into(),
        folder: None,
        submit_host: "bench".into(),
        client: None,
        umask: 0o022,
    };
    let body = json!({ "spec": spec, "payload": payload }).to_string();
    format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: muster\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request so often, [`IN_FLIGHT`] at once, through the API on the local socket; seconds that it took.
pub(crate) fn submit_many(pool: &Pool, times: usize, request: &str) -> Result<f64, String> {
    let socket = pool.state.join("api.sock");
    let began = Instant::now();
    let share = |n: usize| times / IN_FLIGHT + usize::from(n < times % IN_FLIGHT);
    std::thread::scope(|scope| {
        let socket = &socket;
        let clients: Vec<_> =
            (0..IN_FLIGHT).map(|n| scope.spawn(move || client(socket, request, share(n)))).collect();
        clients.into_iter().try_for_each(|one| one.join().map_err(|_| "a client fell".to_owned())?)
    })?;
    Ok(began.elapsed().as_secs_f64())
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
