//! From an order and a payload to a plan of the first process: its program, environment, directory and files.
//!
//! Steps 6 and 7 of a job's way (DESIGN section 4). What a user got wrong (a directory that is not there, a program that
//! is not one) is a failure of the job, told in its output file where that can be opened; it is not tried again.

use super::errand::Errand;
use super::guise::{self, User, Users};
use super::jobs;
use super::leader::Plan;
use super::mpirun;
use super::programs;
use super::slot::Limits;
use super::spool;
use super::unsent;
use crate::description::PROGRAM;
use crate::job_environment::{Variables, environment};
use crate::marked::Mark;
use crate::pool_foreman::STEP;
use crate::streams::{Care, Opening, open_input, open_output};
use muster_core::cluster::Part;
use muster_core::job::outcome::Outcome;
use muster_core::jobspec::Work;
use muster_core::payload::{Payload, Program};
use muster_core::protocol::clerk::Launch;
use muster_core::protocol::message::Role;
use muster_core::protocol::output::Stream;
use muster_core::protocol::stamp::AttemptId;
use muster_slurm::environment::{Place, Queued, Share};
use muster_slurm::pattern::{Names, default_output, fill};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

/// Where programs are looked for when the job has no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What another job has around it: one that is submitted from there is not of it, nor of its agent.
const OF_ANOTHER: [&str; 5] =
    ["MUSTER_RUN_JOB", "MUSTER_PROGRESS_FD", PROGRAM, jobs::AGENT, mpirun::HOSTS_FILE];

/// Why an attempt could not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What becomes of it.
    pub(super) outcome: Outcome,
    /// For people.
    pub(super) why: String,
    /// Whether nothing can begin on this host.
    pub(super) unfit: bool,
}

/// Whoever asked got it wrong: it would fail on any host.
fn wrong(why: impl Into<String>) -> Failure {
    Failure { outcome: Outcome::Failed(1), why: why.into(), unfit: false }
}

impl Failure {
    /// This host could not do it: another may.
    pub(super) fn of_host(why: impl Into<String>) -> Failure {
        Failure { outcome: Outcome::NotStarted, why: why.into(), unfit: false }
    }
}

/// What the shepherd of one host has around an attempt.
pub(super) struct Around<'a> {
    /// The state directory, with no link in its path.
    pub(super) state: &'a Path,
    /// By which its processes are found.
    pub(super) mark: Mark,
    /// Whether a control group limits memory.
    pub(super) limits_memory: bool,
}

/// What the order says this host may use for it.
pub(super) fn limits(errand: &Errand, launch: &Launch) -> Limits {
    let part = part(launch, &errand.host);
    let (cpus, denied) = (errand.cpus.clone(), errand.denied.clone());
    Limits { memory_mib: part.map_or(0, |part| part.memory()), cpus, denied }
}

/// What a host has for it.
pub(super) fn part<'a>(launch: &'a Launch, host: &str) -> Option<&'a Part> {
    let at = launch.hosts.iter().position(|name| name == host)?;
    launch.on.allocation.parts.get(at)
}

/// The mark of an attempt under a state directory.
pub(super) fn mark(state: &Path, id: AttemptId) -> Mark {
    Mark { name: "MUSTER_MARK", value: format!("{}.{id}", tag(state)) }
}

/// A name for a state directory that no other on this host has: containers that share its control groups may use the
/// same path, but not the same file system.
pub(super) fn tag(state: &Path) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(state.as_os_str().as_bytes());
    if let Ok(meta) = std::fs::metadata(state) {
        hash.update(&meta.dev().to_le_bytes()).update(&meta.ino().to_le_bytes());
    }
    hash.finalize().to_hex()[..16].to_owned()
}

/// The plan of an attempt's first process.
///
/// # Errors
/// Why there is none; the same stands in the output file, where that could be opened.
pub(super) fn plan(
    errand: &Errand,
    launch: &Launch,
    payload: &Payload,
    around: &Around,
) -> Result<Plan, Failure> {
    let user = guise::of(errand.site.users, &launch.owner)?;
    let folder = folder(launch, payload);
    let comes_back = as_user(user.as_ref(), || comes_back(errand, payload))?;
    let (job, state) = ((errand, launch, payload), around.state);
    let streams = Streams { job, folder: &folder, state, comes_back, user: user.as_ref() };
    let (streams, folder) = streams.open()?;
    if let Some(user) = &user {
        own_folder(around.state, (errand, payload), user)?;
    }
    let tell = |failure: Failure| {
        let _ = writeln!(&streams[1], "muster: {}", failure.why);
        failure
    };
    let variables = variables(errand, launch, payload, around);
    let own = programs::path(around.state, payload, launch.spec.program);
    let words = words((payload, own), (&folder, &variables), around).map_err(tell)?;
    let environment = texts(variables).map_err(tell)?;
    let data_limit = data_limit(errand, launch, around);
    let program = text(words.program.into_os_string().into_vec()).map_err(tell)?;
    let words = words.words.into_iter().map(text).collect::<Result<_, _>>().map_err(tell)?;
    let folder = text(folder.into_os_string().into_vec()).map_err(tell)?;
    let umask = payload.umask;
    Ok(Plan { program, words, environment, folder, streams, umask, data_limit, user })
}

/// The plan of a daemon that the batch host of an attempt wants on this host, which writes to `out`.
///
/// # Errors
/// Why there is none.
pub(super) fn of_daemon(
    command: &str,
    (errand, launch, payload): (&Errand, &Launch, &Payload),
    around: &Around,
    out: &File,
) -> Result<Plan, Failure> {
    let user = guise::of(errand.site.users, &launch.owner)?;
    let again =
        |file: &File| file.try_clone().map_err(|e| Failure::of_host(format!("cannot open a file: {e}")));
    let null =
        File::open("/dev/null").map_err(|e| Failure::of_host(format!("cannot read /dev/null: {e}")))?;
    let folder = folder(launch, payload);
    // The daemon looks for the directory of its ranks itself.
    let is_there = as_user(user.as_ref(), || folder.is_dir())?;
    let folder = if is_there { folder } else { PathBuf::from("/") };
    let words = [b"sh".to_vec(), b"-c".to_vec(), command.as_bytes().to_vec()];
    let words = words.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(Plan {
        program: c"/bin/sh".into(),
        words,
        environment: texts(variables(errand, launch, payload, around))?,
        folder: text(folder.into_os_string().into_vec())?,
        streams: [null, again(out)?, again(out)?],
        umask: payload.umask,
        data_limit: data_limit(errand, launch, around),
        user,
    })
}

/// The environment of a prolog or epilog: what Slurm and this host say of the attempt, and nothing that its user has set.
///
/// # Errors
/// Why there is none.
pub(super) fn for_hook(
    (errand, launch, payload): (&Errand, &Launch, &Payload),
    around: &Around,
) -> Result<Vec<CString>, Failure> {
    guise::of(errand.site.users, &launch.owner)?;
    let bare = Payload { environment: Vec::new(), ..payload.clone() };
    let said = variables(errand, launch, &bare, around).into_iter();
    let mut said: Variables = said
        .filter(|(name, _)| {
            ["SLURM", "MUSTER_"].iter().any(|ours| name.as_bytes().starts_with(ours.as_bytes()))
        })
        .collect();
    let owner = &launch.owner;
    let id = errand.start.id.run.job.0.to_string();
    for (name, value) in [
        ("PATH", PATH.to_owned()),
        ("SLURM_JOB_ID", id),
        ("SLURM_JOB_USER", owner.user.clone()),
        ("SLURM_JOB_UID", owner.uid.to_string()),
        ("SLURMD_NODENAME", errand.host.clone()),
    ] {
        said.insert(name.into(), value.into());
    }
    texts(said)
}

/// Does something with the rights of the user of a job.
fn as_user<T>(user: Option<&User>, what: impl FnOnce() -> T) -> Result<T, Failure> {
    let Some(user) = user else { return Ok(what()) };
    user.act(what).map_err(|e| Failure::of_host(format!("the rights of the job's user cannot be taken: {e}")))
}

/// A folder of the job's user for what an attempt has here, and its script for it alone.
fn own_folder(state: &Path, (errand, payload): (&Errand, &Payload), user: &User) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::of_host(format!("cannot make a folder for the job: {e}"));
    let folder = jobs::folder(state, errand.start.id);
    spool::passage(&state.join("jobs")).map_err(failed)?;
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => chown(&folder, Some(user.uid), Some(user.gid)).map_err(failed)?,
    }
    if let Program::Script { .. } = payload.program {
        let script = spool::script(state, std::process::id());
        chown(script, Some(user.uid), Some(user.gid)).map_err(failed)?;
    }
    Ok(())
}

/// Where it runs.
fn folder(launch: &Launch, payload: &Payload) -> PathBuf {
    let submit_dir = Path::new(&payload.submit_dir);
    launch.spec.files.chdir.as_ref().map_or(submit_dir.to_owned(), |d| submit_dir.join(d))
}

/// `NAME=value` each.
fn texts(variables: Variables) -> Result<Vec<CString>, Failure> {
    let pairs = variables.into_iter().map(|(name, value)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        text
    });
    pairs.map(text).collect()
}

/// The most data of each of its processes, bytes, where no group limits memory.
fn data_limit(errand: &Errand, launch: &Launch, around: &Around) -> Option<u64> {
    let mib = limits(errand, launch).memory_mib;
    (!around.limits_memory && mib > 0).then(|| mib.saturating_mul(1 << 20))
}

/// Whether output is sent to where the job was submitted: where its directory is another one on this host.
fn comes_back(errand: &Errand, payload: &Payload) -> bool {
    let here = |told| crate::folder::id(Path::new(&payload.submit_dir)).is_ok_and(|own| own.is_same(told));
    !payload.is_from(&errand.host) && payload.folder.as_ref().is_some_and(|told| !here(told))
}

/// The streams of a job.
struct Streams<'a> {
    job: (&'a Errand, &'a Launch, &'a Payload),
    folder: &'a Path,
    state: &'a Path,
    /// Whether they are sent to where the job was submitted.
    comes_back: bool,
    /// With whose rights the job's files are opened.
    user: Option<&'a User>,
}

impl Streams<'_> {
    /// Standard input, output and error, and where the job runs.
    fn open(&self) -> Result<([File; 3], PathBuf), Failure> {
        let (errand, launch, _) = self.job;
        let (files, names) = (&launch.spec.files, names(errand, launch));
        let pattern = |pattern: &str| self.folder.join(fill(pattern, &names));
        let output = pattern(files.output.as_deref().unwrap_or(default_output(names.element.is_some())));
        let there = self.own(|| Ok(self.folder.is_dir())).map_err(wrong)?;
        let opened = self.file(&output, Stream::Output);
        let mut out = opened.map_err(|why| wrong(if there { why } else { self.not_there() }))?;
        let rest = || -> Result<([File; 2], PathBuf), String> {
            let error = match files.error.as_deref().map(pattern) {
                Some(error) if error != output || !self.is_sent(&error) => {
                    self.file(&error, Stream::Error)?
                }
                _ => out.try_clone().map_err(|e| format!("cannot open the output twice: {e}"))?,
            };
            let folder = if there { self.folder.to_owned() } else { self.instead(&error)? };
            let input = match &files.input {
                Some(input) => self.own(|| open_input(&pattern(input), Care::Careful))?,
                None => File::open("/dev/null").map_err(|e| format!("cannot read /dev/null: {e}"))?,
            };
            Ok(([input, error], folder))
        };
        match rest() {
            Ok(([input, error], folder)) => Ok(([input, out, error], folder)),
            Err(why) => {
                let _ = writeln!(out, "muster: {why}");
                Err(wrong(why))
            }
        }
    }

    /// Does something with the rights of the job's user.
    fn own<T>(&self, what: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        as_user(self.user, what).map_err(|failure| failure.why)?
    }

    /// Whether what is written to this file is sent to where the job was submitted: devices are each host's own.
    fn is_sent(&self, path: &Path) -> bool {
        self.comes_back && !path.starts_with("/dev")
    }

    /// Opens an output file, or what is written in its place and sent.
    fn file(&self, path: &Path, stream: Stream) -> Result<File, String> {
        let (errand, launch, payload) = self.job;
        if !self.is_sent(path) {
            let mode = 0o666 & !payload.umask & 0o777;
            let opening = Opening { append: launch.spec.files.append, care: Care::Careful, mode };
            return self.own(|| open_output(path, opening));
        }
        crate::state::folder(self.state, "output")?;
        let opening = Opening { append: true, care: Care::Careful, mode: 0o600 };
        open_output(&unsent::path(self.state, (errand.start.id, stream)), opening)
    }

    /// An empty folder for a job that shares nothing with this host and names no directory, which is said.
    fn instead(&self, mut error: &File) -> Result<PathBuf, String> {
        let (errand, launch, _) = self.job;
        if launch.spec.files.chdir.is_some() || !self.comes_back {
            return Err(self.not_there());
        }
        crate::state::folder(self.state, "work")?;
        let folder = unsent::work_folder(self.state, errand.start.id);
        let name = folder.display();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .and_then(|()| match self.user {
                Some(user) => {
                    spool::passage(&self.state.join("work"))?;
                    chown(&folder, Some(user.uid), Some(user.gid))
                }
                None => Ok(()),
            })
            .map_err(|e| format!("cannot make {name}: {e} (--chdir DIR names another directory)"))?;
        let _ = writeln!(
            error,
            "muster: {} is not there on host {}: the job runs in an empty folder, which goes with it (--chdir DIR names \
             another)",
            self.folder.display(),
            errand.host
        );
        Ok(folder)
    }

    fn not_there(&self) -> String {
        format!(
            "the working directory {} is not there on this host (--chdir DIR names another)",
            self.folder.display()
        )
    }
}

fn text(bytes: Vec<u8>) -> Result<CString, Failure> {
    CString::new(bytes)
        .map_err(|_| wrong("a zero byte in an argument or a variable, which no program can get"))
}

fn names(errand: &Errand, launch: &Launch) -> Names {
    let run = errand.start.id.run;
    Names {
        job: u64::from(run.job.0),
        element: run.element.map(|element| (u64::from(run.job.0), element)),
        name: launch.spec.name.clone(),
        host: errand.host.split('.').next().unwrap_or_default().to_owned(),
        user: launch.owner.user.clone(),
    }
}

/// The environment of the batch step.
fn variables<'a>(errand: &Errand, launch: &'a Launch, payload: &'a Payload, around: &Around) -> Variables {
    let id = errand.start.id;
    let parts = &launch.on.allocation.parts;
    let share = |(part, host): (&Part, &'a String)| Share { host, cpus: part.cpus(), tasks: part.tasks };
    let mine = part(launch, &errand.host).map_or(0, |part| part.gpus);
    let place = Place {
        gpus: (errand.site.gpus > 0).then(|| (0..64).filter(|number| mine >> number & 1 == 1).collect()),
        submit_host: Some(&payload.submit_host),
        shares: parts.iter().zip(&launch.hosts).map(share).collect(),
        queued: Queued {
            partition: Some(&launch.on.partition),
            account: launch.spec.queue.account.as_deref(),
            qos: launch.spec.queue.qos.as_deref(),
            restarts: id.attempt.0.saturating_sub(1),
            ..Queued::default()
        },
        ..Place::one_host(
            Path::new(&payload.submit_dir),
            parts.first().map_or(1, |part| part.cpus()),
            (launch.owner.uid, &launch.owner.user, launch.owner.gid),
        )
    };
    let names_hosts = payload.environment.iter().any(|(name, _)| name == mpirun::HOSTS_FILE);
    let own = |(name, _): &&(String, String)| {
        let of_hosts = names_hosts && mpirun::BY_FILE.contains(&name.as_str());
        !of_hosts && !OF_ANOTHER.contains(&name.as_str())
    };
    let source = payload.environment.iter().filter(own).map(|(name, value)| (name.into(), value.into()));
    let source = source.collect();
    let mut out = environment(&launch.spec, &names(errand, launch), &place, &source);
    // In a pool of all users it names the controller's, where the job's user keeps nothing.
    out.remove(OsStr::new("MUSTER_STATE"));
    let mut set = |name: &str, value: String| drop(out.insert(name.into(), value.into()));
    match errand.site.users {
        Users::Own => set("MUSTER_STATE", around.state.display().to_string()),
        // What a user keeps is the user's own: the agent's state is root's.
        Users::All => set(jobs::AGENT, around.state.display().to_string()),
    }
    set("MUSTER_JOB", id.run.to_string());
    set("MUSTER_ATTEMPT", id.attempt.0.to_string());
    set(around.mark.name, around.mark.value.clone());
    let ours = matches!(payload.program, Program::Kernel(_));
    let own_program = programs::path(around.state, payload, launch.spec.program);
    if let (Program::Kernel(words), Some(_)) = (&payload.program, &own_program) {
        let name = words.first().map_or("", |name| name);
        set(PROGRAM, Path::new(&payload.submit_dir).join(name).display().to_string());
    }
    if ours && errand.start.role == Role::Batch {
        set(STEP, std::process::id().to_string());
    }
    if launch.hosts.len() > 1 || launch.spec.size.most_nodes() > 1 {
        for_mpirun(&mut out, (errand, launch, own_program), around);
    }
    out
}

/// Adds what a job of several hosts, now or later, needs for its `mpirun`.
fn for_mpirun(
    out: &mut Variables,
    (errand, launch, own_program): (&Errand, &Launch, Option<PathBuf>),
    around: &Around,
) {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("muster"));
    for (name, value) in mpirun::variables(&program, networks(errand).as_deref()) {
        out.entry(name.into()).or_insert_with(|| value.into());
    }
    if launch.spec.size.is_malleable() && launch.spec.work == Work::Script && errand.start.role == Role::Batch
    {
        let path = mpirun::hosts_file(around.state, errand.start.id);
        let tasks = launch
            .hosts
            .iter()
            .zip(&launch.on.allocation.parts)
            .map(|(host, part)| (host.as_str(), part.tasks));
        // Where it cannot be written, the hosts that the job was given first are those that it has.
        let written =
            mpirun::lay_hosts(&path, (guise::of(errand.site.users, &launch.owner).ok().flatten(), tasks))
                .is_ok();
        let from_file = written.then(|| mpirun::from_file(&path));
        out.extend(from_file.into_iter().flatten().map(|(name, value)| (name.into(), value.into())));
    }
    // Each host has a rank program beside its own muster, and that of the job where it was laid.
    let path = out.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| OsString::from(PATH));
    let beside = [own_program.as_deref(), Some(&*program)].into_iter().flatten();
    let beside = beside.filter_map(|program| Some(program.parent()?.to_owned()));
    if let Ok(path) = std::env::join_paths(beside.chain(std::env::split_paths(&path))) {
        out.insert("PATH".into(), path);
    }
}

/// The networks between hosts that MPI may use, where they are known.
fn networks(errand: &Errand) -> Option<String> {
    let set = &errand.site.networks;
    if set.is_empty() { mpirun::networks() } else { Some(set.join(",")) }
}

/// A program and the words that it gets.
struct Words {
    program: PathBuf,
    words: Vec<Vec<u8>>,
}

fn words(
    (payload, own): (&Payload, Option<PathBuf>),
    (folder, variables): (&Path, &Variables),
    around: &Around,
) -> Result<Words, Failure> {
    let bytes = |all: &[String]| all.iter().map(|word| word.clone().into_bytes()).collect::<Vec<_>>();
    Ok(match &payload.program {
        Program::Script { args, .. } => {
            // Its shepherd has laid it there.
            let program = spool::script(around.state, std::process::id());
            let name = program.as_os_str().as_bytes().to_vec();
            Words { program, words: std::iter::once(name).chain(bytes(args)).collect() }
        }
        Program::Command(words) => {
            let first = words.first().ok_or_else(|| wrong("a command without a word"))?;
            let path = variables.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| OsString::from(PATH));
            Words { program: find(first, folder, &path)?, words: bytes(words) }
        }
        // This very program, even if its file has been replaced by a newer one.
        Program::Kernel(words) => {
            let own = own.map(|own| own.into_os_string().into_vec());
            let name = own.into_iter().chain(bytes(words)).next();
            let rest = bytes(words).into_iter().skip(1);
            Words {
                program: "/proc/self/exe".into(),
                words: [b"muster".to_vec(), b"kernel".to_vec()].into_iter().chain(name).chain(rest).collect(),
            }
        }
    })
}

/// The program that a first word names.
fn find(word: &str, folder: &Path, path: &OsStr) -> Result<PathBuf, Failure> {
    if word.contains('/') {
        return Ok(folder.join(word));
    }
    let may_run = |program: &PathBuf| {
        program.is_file() && rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok()
    };
    let mut places = std::env::split_paths(path).map(|place| folder.join(place).join(word));
    places.find(may_run).ok_or_else(|| Failure {
        outcome: Outcome::Failed(127),
        why: format!("no program {word} in PATH ({}) on this host", path.to_string_lossy()),
        unfit: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_in_the_jobs_path() {
        let found = find("sh", Path::new("/"), OsStr::new("/nosuch:/bin")).unwrap();
        assert_eq!(found, Path::new("/bin/sh"));
        assert_eq!(find("./a.out", Path::new("/work"), OsStr::new("")).unwrap(), Path::new("/work/./a.out"));
        let failure = find("nosuch-program", Path::new("/"), OsStr::new("/bin")).unwrap_err();
        assert_eq!(failure.outcome, Outcome::Failed(127));
    }
}
