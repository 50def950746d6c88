//! Starting a team: threads of this process or of a user's program, or ranks of `muster-rank` through `mpirun`.
//!
//! Step 7 of a job's way (DESIGN section 4). A run is complete when rank 0 has said so: mpirun's exit code tells
//! nothing (Open MPI 5 exits 0 when a host is lost), only that the team has ended.

use crate::comm::ThreadComm;
use crate::link::{Line, Link, within_process};
use crate::program::Program;
use crate::team::{self, TeamError};
use crossbeam_channel::{Receiver, bounded, never, select};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The variable that tells rank 0 where its foreman listens.
pub const FOREMAN: &str = "MUSTER_FOREMAN";
/// The variable that makes a rank program a whole team: how many of its threads are ranks.
pub const THREAD_RANKS: &str = "MUSTER_THREAD_RANKS";

/// How to start a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// Threads of this process as ranks.
    Threads {
        /// How many ranks.
        ranks: usize,
    },
    /// Threads of one process of a user's program, which has kernels that this program lacks.
    Program(ProgramLaunch),
    /// Processes through `mpirun`.
    Mpi(MpiLaunch),
}

/// A team of threads in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLaunch {
    /// How many ranks.
    pub ranks: usize,
    /// The rank program's path.
    pub program: PathBuf,
    /// Where the socket of the foreman goes; a folder of this user's alone.
    pub run_dir: PathBuf,
}

/// An MPI team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpiLaunch {
    /// How many ranks.
    pub ranks: usize,
    /// The launcher's path.
    pub mpirun: PathBuf,
    /// The rank program's path.
    pub program: PathBuf,
    /// A host file in mpirun's format; this host alone without one.
    pub hosts: Option<PathBuf>,
    /// A real Slurm allocation: its hosts, started by its own launcher.
    pub slurm: bool,
    /// Where the socket of the foreman goes; a folder of this user's alone.
    pub run_dir: PathBuf,
}

/// A team that has been started.
pub(crate) struct Running {
    /// The line to its rank 0.
    pub(crate) line: Line,
    /// Hears once when the launcher has ended, and how; never for threads.
    pub(crate) ended: Receiver<String>,
    launcher: Option<rustix::process::Pid>,
    /// What the launcher is called.
    pub(crate) name: String,
    socket: Option<PathBuf>,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Running {
    /// A team that somebody else started and whose rank 0 is this process.
    pub(crate) fn given(line: Line) -> Running {
        Running {
            line,
            ended: never(),
            launcher: None,
            name: String::new(),
            socket: None,
            said: Arc::default(),
        }
    }

    /// Kills what is left of the team. The ranks on this host die with their launcher, those elsewhere with theirs.
    pub(crate) fn kill(&self) {
        if let Some(pid) = self.launcher {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }

    /// Waits until the launcher has ended, and says how; `None` when it does not in time, or there is none.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<String> {
        self.launcher.and_then(|_| self.ended.recv_timeout(at_most).ok())
    }

    /// The last lines that launcher and ranks wrote.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().expect("nobody panics with it").iter().cloned().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Starts a team and waits until its rank 0 is on the line. Hearing from `interrupt` gives up.
///
/// # Errors
/// Why there is no team: the launcher could not be started, or ended first.
pub(crate) fn start(
    launch: &Launch,
    programs: &'static [Program],
    interrupt: &Receiver<()>,
) -> Result<Running, String> {
    match launch {
        Launch::Threads { ranks } => Ok(threads(*ranks, programs)),
        Launch::Program(own) => processes(&own.run_dir, interrupt, |socket| own_command(own, socket)),
        Launch::Mpi(mpi) => processes(&mpi.run_dir, interrupt, |socket| command(mpi, socket)),
    }
}

/// Starts a team outside this process, by the command line that `command` makes of the foreman's socket.
fn processes(
    run_dir: &Path,
    interrupt: &Receiver<()>,
    command: impl FnOnce(&Path) -> Command,
) -> Result<Running, String> {
    let (listener, socket) = listen(run_dir)?;
    let result = start_process(command(&socket), listener, &socket, interrupt);
    if result.is_err() {
        let _ = std::fs::remove_file(&socket);
    }
    result
}

fn threads(ranks: usize, programs: &'static [Program]) -> Running {
    let (link, line) = within_process();
    // A rank that ends early closes its line, and the foreman sees that.
    std::thread::spawn(move || lead_threads(ranks, programs, link));
    Running::given(line)
}

/// A team of threads of this process whose rank 0 is this thread, with `link` to its foreman.
///
/// # Errors
/// When the team cannot go on.
pub fn lead_threads(ranks: usize, programs: &'static [Program], link: Link) -> Result<(), TeamError> {
    let mut team = ThreadComm::team(ranks.max(1)).into_iter();
    let mut first = team.next().expect("a team has a rank");
    for mut comm in team {
        std::thread::spawn(move || team::run(&mut comm, programs, None));
    }
    team::run(&mut first, programs, Some(link))
}

fn listen(dir: &Path) -> Result<(UnixListener, PathBuf), String> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = dir.join(format!("foreman-{}-{n}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    std::fs::create_dir_all(dir)
        .and_then(|()| UnixListener::bind(&path))
        .map(|listener| (listener, path.clone()))
        .map_err(|e| {
            format!("cannot listen on {}: {e} (--state DIR names another, shorter folder)", path.display())
        })
}

fn start_process(
    mut command: Command,
    listener: UnixListener,
    socket: &Path,
    interrupt: &Receiver<()>,
) -> Result<Running, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let path = Path::new(command.get_program());
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|e| format!("cannot start {name}: {e}"))?;
    let said = Arc::<Mutex<VecDeque<String>>>::default();
    keep_lines(child.stdout.take(), &said);
    keep_lines(child.stderr.take(), &said);
    let launcher = rustix::process::Pid::from_child(&child);
    let (send_end, ended) = bounded(1);
    std::thread::spawn(move || {
        let how = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        let _ = send_end.send(how);
    });
    let (send_line, connected) = bounded(1);
    std::thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            let _ = send_line.send(Line::over(stream));
        }
    });
    let kill = || rustix::process::kill_process_group(launcher, rustix::process::Signal::KILL);
    select! {
        recv(connected) -> line => {
            let line = line.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
            Ok(Running { line, ended, launcher: Some(launcher), name, socket: Some(socket.to_owned()), said })
        }
        recv(ended) -> how => {
            // Lets the accepting thread end.
            let _ = std::os::unix::net::UnixStream::connect(socket);
            let how = how.unwrap_or_default();
            let lines = said.lock().expect("nobody panics with it").iter().cloned().collect::<Vec<_>>().join("\n");
            Err(format!("{name} ended before the team had met ({how})\n{lines}"))
        }
        recv(interrupt) -> _ => {
            let _ = kill();
            Err("interrupted".into())
        }
    }
}

/// Keeps the last lines of a stream.
fn keep_lines(stream: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<VecDeque<String>>>) {
    let (Some(stream), lines) = (stream, lines.clone()) else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut lines = lines.lock().expect("nobody panics with it");
            if lines.len() == 40 {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
}

/// The command line and environment of a user's program as a team of threads.
fn own_command(own: &ProgramLaunch, socket: &Path) -> Command {
    let mut command = Command::new(&own.program);
    command.env(FOREMAN, socket).env(THREAD_RANKS, own.ranks.to_string());
    one_thread_each(&mut command);
    command
}

/// Libraries that a kernel calls do not start threads of their own: the team has one for each core.
fn one_thread_each(command: &mut Command) {
    for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            command.env(name, "1");
        }
    }
}

/// The command line and environment of `mpirun`.
fn command(mpi: &MpiLaunch, socket: &Path) -> Command {
    let mut command = Command::new(&mpi.mpirun);
    command.args(["-n", &mpi.ranks.to_string()]);
    if let Some(hosts) = &mpi.hosts {
        command.arg("--hostfile").arg(hosts);
        // These, whatever the script around has.
        for name in ["OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile"] {
            command.env_remove(name);
        }
    }
    for variable in [FOREMAN, "MUSTER_SIMD", "HWLOC_SYNTHETIC", "HWLOC_XMLFILE"] {
        if variable == FOREMAN || std::env::var_os(variable).is_some() {
            command.args(["-x", variable]);
        }
    }
    command.arg(&mpi.program).env(FOREMAN, socket);
    for (name, value) in settings(mpi) {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    if !mpi.slurm {
        // Where the variables of an allocation are set but are not Slurm's own, mpirun would reach for srun.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("SLURM_") || name_text.starts_with("PMI") {
                command.env_remove(&name);
            }
        }
    }
    command.env_remove(THREAD_RANKS);
    one_thread_each(&mut command);
    command
}

/// Settings of Open MPI 4 and 5 that a team needs; what the user has set stays.
fn settings(mpi: &MpiLaunch) -> Vec<(&'static str, &'static str)> {
    let mut out = vec![
        // Root is refused by default; the team does nothing that the user could not do.
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("PRTE_ALLOW_RUN_AS_ROOT", "1"),
        ("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        // Muster binds threads itself, and more ranks than cores is the user's choice (with a warning).
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
        ("PRTE_MCA_hwloc_default_binding_policy", "none"),
        // A lost host is noticed within seconds instead of never.
        ("OMPI_MCA_oob_tcp_keepalive_time", "2"),
        ("OMPI_MCA_oob_tcp_keepalive_intvl", "1"),
        ("OMPI_MCA_oob_tcp_keepalive_probes", "3"),
    ];
    if !mpi.slurm {
        // Open MPI 4 does not start here alone where it has been told to use a remote shell that is not there.
        let shell = mpi.hosts.is_some() || ["ssh", "rsh"].into_iter().any(|name| on_path(name).is_some());
        out.push(("OMPI_MCA_plm", if shell { "rsh" } else { "isolated" }));
        out.push(("PRTE_MCA_plm", "ssh"));
    }
    let fabric = Path::new("/sys/class/infiniband").exists() || Path::new("/sys/class/cxi").exists();
    if !fabric || (mpi.hosts.is_none() && !mpi.slurm) {
        // Probing for fabrics takes two thirds of mpirun's start.
        out.push(("OMPI_MCA_pml", "ob1"));
        out.push(("OMPI_MCA_btl", "self,vader,tcp"));
        out.push(("OMPI_MCA_mtl", "^ofi,psm,psm2"));
        // Open MPI looks for the devices near each core, of use to fabrics alone: reading PCI in a virtual machine
        // and loading plug-ins takes two fifths of the rest.
        out.push(("HWLOC_COMPONENTS", "-linux:pci"));
        out.push(("HWLOC_PLUGINS_PATH", "/dev/null"));
    }
    out
}

/// The path of `mpirun`: `MUSTER_MPIRUN`, or the first on `PATH`.
pub fn find_mpirun() -> Option<PathBuf> {
    match std::env::var_os("MUSTER_MPIRUN") {
        Some(path) => Some(PathBuf::from(path)).filter(|p| p.exists()),
        None => on_path("mpirun"),
    }
}

/// The path of `muster-rank`: `MUSTER_RANK`, beside this program, or the first on `PATH`.
pub fn find_rank_program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("MUSTER_RANK") {
        return Some(PathBuf::from(path)).filter(|p| p.exists());
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("muster-rank")));
    beside.filter(|p| p.exists()).or_else(|| on_path("muster-rank"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}
