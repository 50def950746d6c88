//! Running a job script on this host: its number, files, environment, time limit, and the end of everything in it.
//!
//! Step 7 of a job's way (DESIGN section 4), without a daemon. Each script leads a process group of its own; what
//! leaves the group stays a descendant of ours, because we are its subreaper, and is found by its environment.

use crate::job_environment::environment;
use crate::marked::Mark;
use crate::progress::PROGRESS_FD;
use crate::state;
use crate::streams::{Care, Opening, open_input, open_output};
use crossbeam_channel::{Receiver, Sender, unbounded};
use muster_core::jobspec::JobSpec;
use muster_slurm::environment::Place;
use muster_slurm::pattern::{Names, default_output, fill};
use rustix::process::{Pid, Signal};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The variable by which the processes of a job are found.
const MARK: &str = "MUSTER_RUN_JOB";

/// A script to run.
pub struct ScriptJob {
    /// What it asks for.
    pub spec: JobSpec,
    /// Its text.
    pub text: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The state directory.
    pub state: PathBuf,
    /// Where it was submitted.
    pub submit_dir: PathBuf,
    /// Whether its output is shown as well as written.
    pub follow: bool,
    /// How long it may take to end after SIGTERM.
    pub kill_wait: Duration,
}

/// What happens to a job, told while it happens.
pub enum Happening<'a> {
    /// It has begun, and writes to this file.
    Started(&'a str, &'a Path),
    /// A kernel in it has told of its progress: a JSON line.
    Progress(&'a str, &'a str),
    /// It has ended.
    Ended(&'a str, Outcome, Duration),
}

/// How a job ended, in Slurm's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With exit code 0.
    Completed,
    /// With another exit code; 128 and the signal's number when a signal killed it.
    Failed(u8),
    /// At its time limit.
    Timeout,
    /// By the user.
    Cancelled,
}

impl Outcome {
    /// The exit code of `muster run` for it.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Completed => 0,
            Outcome::Failed(code) => code,
            Outcome::Timeout => 143,
            Outcome::Cancelled => 130,
        }
    }
}

enum Event {
    Exited(usize, ExitStatus),
    Progress(usize, String),
}

/// A script that runs.
struct Running {
    label: String,
    /// What all of its processes carry in their environment.
    mark: Mark,
    pid: Pid,
    began: Instant,
    early: Option<Instant>,
    limit: Option<Instant>,
    kill: Option<Instant>,
    ended_by: Option<Outcome>,
}

/// Runs a job, or every element of an array: as many at once as its throttle and the CPUs allow. A message on
/// `interrupt` cancels, a second one kills. Returns the worst outcome.
///
/// # Errors
/// What keeps the job from starting: a directory or file that cannot be made.
pub fn run(
    job: &ScriptJob,
    interrupt: &Receiver<()>,
    tell: &mut dyn FnMut(Happening),
) -> Result<Outcome, String> {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let cpus = crate::topology::discover()?.cores() as u32;
    let indices = job.spec.array.as_ref().map(|a| a.indices());
    let elements: Vec<Option<u32>> = indices.map_or(vec![None], |i| i.into_iter().map(Some).collect());
    let first = take_numbers(&job.state, elements.len() as u64)?;
    let throttle = job.spec.array.as_ref().and_then(|a| a.throttle).unwrap_or(u32::MAX);
    let at_once = (cpus / job.spec.size.cpus().max(1)).clamp(1, throttle) as usize;
    let (send, events) = unbounded();
    let mut waiting = elements.into_iter().enumerate().peekable();
    let mut running: Vec<Option<Running>> = Vec::new();
    let mut worst = Outcome::Completed;
    let mut cancelled = 0;
    loop {
        while cancelled == 0 && running.iter().flatten().count() < at_once {
            let Some((nth, index)) = waiting.next() else { break };
            let names = names(job, first, (nth as u64, index))?;
            let one = start(job, &names, cpus, (nth, &send, &mut *tell))?;
            running.push(Some(one));
        }
        if running.iter().all(Option::is_none) {
            return Ok(if cancelled > 0 { Outcome::Cancelled } else { worst });
        }
        let now = Instant::now();
        let next = running.iter().flatten().flat_map(|r| [r.early, r.limit, r.kill]).flatten().min();
        let wait = next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(now));
        crossbeam_channel::select! {
            recv(events) -> event => match event.expect("we hold a sender") {
                Event::Progress(nth, line) => if let Some(Some(one)) = running.get(nth) {
                    tell(Happening::Progress(&one.label, &line));
                },
                Event::Exited(nth, status) => {
                    let one = running[nth].take().expect("it ran");
                    let outcome = one.ended_by.unwrap_or_else(|| outcome(status));
                    tell(Happening::Ended(&one.label, outcome, one.began.elapsed()));
                    if outcome.exit_code() > worst.exit_code() {
                        worst = outcome;
                    }
                }
            },
            recv(interrupt) -> _ => {
                cancelled += 1;
                for one in running.iter_mut().flatten() {
                    cancel(one, cancelled > 1, job.kill_wait);
                }
            }
            default(wait) => running.iter_mut().flatten().for_each(|one| on_time(one, job)),
        }
    }
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Completed,
        (Some(code), _) => Outcome::Failed(code as u8),
        (None, signal) => Outcome::Failed(128 + signal.unwrap_or(0) as u8),
    }
}

fn cancel(one: &mut Running, at_once: bool, kill_wait: Duration) {
    one.ended_by.get_or_insert(Outcome::Cancelled);
    if at_once {
        one.mark.signal_all(Signal::KILL);
    } else {
        one.mark.signal_all(Signal::CONT);
        one.mark.signal_all(Signal::TERM);
        one.kill = Some(Instant::now() + kill_wait);
    }
}

/// Does what is due: the early signal, the time limit, the kill after it.
fn on_time(one: &mut Running, job: &ScriptJob) {
    let now = Instant::now();
    if one.early.is_some_and(|at| at <= now) {
        one.early = None;
        let early = job.spec.signal.expect("it has a time for it");
        if let Some(signal) = Signal::from_named_raw(early.signal) {
            match early.batch_only {
                true => drop(rustix::process::kill_process(one.pid, signal)),
                false => one.mark.signal_all(signal),
            }
        }
    }
    if one.limit.is_some_and(|at| at <= now) {
        one.limit = None;
        one.ended_by = Some(Outcome::Timeout);
        one.mark.signal_all(Signal::CONT);
        one.mark.signal_all(Signal::TERM);
        one.kill = Some(now + job.kill_wait);
    }
    if one.kill.is_some_and(|at| at <= now) {
        one.kill = None;
        one.mark.signal_all(Signal::KILL);
    }
}

/// A mark that no other job of this host carries.
fn new_mark(job: u64) -> Mark {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let value = format!("{}.{}.{job}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Mark { name: MARK, value }
}

/// Takes the next numbers of jobs; none is ever given twice.
fn take_numbers(state: &Path, count: u64) -> Result<u64, String> {
    let path = state::folder(state, "jobs")?.join("next");
    let told = |e: std::io::Error| format!("cannot number the job: {}: {e}", path.display());
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(told)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|e| told(e.into()))?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(told)?;
    let next: u64 = text.trim().parse().unwrap_or(1);
    // Written beside and renamed, so that a crash leaves the old number or the new one.
    crate::receipt::write_atomically(&path, &format!("{}\n", next + count)).map_err(told)?;
    Ok(next)
}

fn names(job: &ScriptJob, first: u64, (nth, index): (u64, Option<u32>)) -> Result<Names, String> {
    let count = job.spec.array.as_ref().map_or(1, |a| a.indices().len() as u64);
    // The last element has the array's own number, as in Slurm.
    let number =
        if index.is_some() && nth + 1 == count { first } else { first + nth + u64::from(index.is_some()) };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Names {
        job: number,
        element: index.map(|i| (first, i)),
        name: job.spec.name.clone(),
        host: host.split('.').next().unwrap_or("").to_owned(),
        user: std::env::var("USER").unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string()),
    })
}

type Sinks<'a, 'b> = (usize, &'a Sender<Event>, &'b mut dyn FnMut(Happening));

fn start(
    job: &ScriptJob,
    names: &Names,
    cpus: u32,
    (nth, send, tell): Sinks<'_, '_>,
) -> Result<Running, String> {
    let label =
        names.element.map_or_else(|| names.job.to_string(), |(array, index)| format!("{array}_{index}"));
    let folder = state::folder(&job.state, &format!("jobs/{}", names.job))?;
    let script = folder.join("script");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&script);
    written
        .and_then(|mut file| file.write_all(job.text.as_bytes()))
        .map_err(|e| format!("cannot write {}: {e}", script.display()))?;
    let chdir = job.spec.files.chdir.as_ref().map_or(job.submit_dir.clone(), |d| job.submit_dir.join(d));
    if !chdir.is_dir() {
        return Err(format!("--chdir: {} is not a directory", chdir.display()));
    }
    let pattern =
        job.spec.files.output.clone().unwrap_or_else(|| default_output(names.element.is_some()).into());
    let output = chdir.join(fill(&pattern, names));
    let mut command = Command::new(&script);
    let mark = new_mark(names.job);
    set_environment(job, names, cpus, &mut command);
    command.env(mark.name, &mark.value);
    command.args(&job.args).current_dir(&chdir).process_group(0);
    command.stdin(match &job.spec.files.input {
        Some(pattern) => Stdio::from(open_input(&chdir.join(fill(pattern, names)), Care::Plain)?),
        None => Stdio::null(),
    });
    let opening = Opening { append: job.spec.files.append, care: Care::Plain, mode: 0o666 };
    let out = open_output(&output, opening)?;
    let err = match &job.spec.files.error {
        Some(pattern) => open_output(&chdir.join(fill(pattern, names)), opening)?,
        None => out.try_clone().map_err(|e| e.to_string())?,
    };
    let tee = follow(job.follow, out, err, &mut command)?;
    let (read, write) = std::io::pipe().map_err(|e| e.to_string())?;
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::empty()).map_err(|e| e.to_string())?;
    command.env(PROGRESS_FD, write.as_raw_fd().to_string());
    let mut child =
        command.spawn().map_err(|e| format!("cannot start the script: {e} (is its first line right?)"))?;
    drop((write, command));
    tell(Happening::Started(&label, &output));
    let pid = Pid::from_child(&child);
    let lines = send.clone();
    let progress = std::thread::spawn(move || {
        for line in BufReader::new(read).lines().map_while(Result::ok) {
            let _ = lines.send(Event::Progress(nth, line));
        }
    });
    let (exits, left) = (send.clone(), mark.clone());
    std::thread::spawn(move || {
        let status = child.wait().unwrap_or_default();
        // As in Slurm, what a script leaves behind ends with it; then its pipes close, and their last lines are read.
        left.end_all();
        tee.into_iter().chain([progress]).for_each(|t| drop(t.join()));
        let _ = exits.send(Event::Exited(nth, status));
    });
    let began = Instant::now();
    let limit = job.spec.time_limit_s.and_then(|s| began.checked_add(Duration::from_secs(s)));
    let early = job
        .spec
        .signal
        .zip(limit)
        .map(|(s, at)| at.checked_sub(Duration::from_secs(s.before_s)).unwrap_or(began));
    Ok(Running { label, mark, pid, began, early, limit, kill: None, ended_by: None })
}

fn set_environment(job: &ScriptJob, names: &Names, cpus: u32, command: &mut Command) {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let place = Place::one_host(&job.submit_dir, cpus, (user, &names.user, group));
    let variables = environment(&job.spec, names, &place, &std::env::vars_os().collect());
    command.env_clear().envs(variables).env("MUSTER_STATE", &job.state);
}

/// Sends the script's streams to its files, and to the terminal as well when they are followed.
fn follow(
    wanted: bool,
    out: File,
    err: File,
    command: &mut Command,
) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
    if !wanted {
        command.stdout(out).stderr(err);
        return Ok(Vec::new());
    }
    let (read, write) = std::io::pipe().map_err(|e| e.to_string())?;
    let second = write.try_clone().map_err(|e| e.to_string())?;
    command.stdout(write).stderr(second);
    let mut out = out;
    Ok(vec![std::thread::spawn(move || {
        let (mut read, mut buffer) = (read, vec![0; 1 << 16]);
        while let Ok(n @ 1..) = read.read(&mut buffer) {
            let _ = out.write_all(&buffer[..n]);
            let mut terminal = std::io::stdout().lock();
            let _ = terminal.write_all(&buffer[..n]).and_then(|()| terminal.flush());
        }
        drop(err);
    })])
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
