//! A pool of one host for a test: an agent in a process of its own, and a controller that does what the story says.

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};
use muster_core::cluster::{Allocation, ClassId, HostId, Part};
use muster_core::job::Owner;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::job::placement::Placement;
use muster_core::jobspec::{JobSpec, Memory};
use muster_core::payload::{BlobId, Payload, Program};
use muster_core::protocol::clerk::Launch;
use muster_core::protocol::format::Format;
use muster_core::protocol::lease::Lease;
use muster_core::protocol::line::{FromHost, ToHost};
use muster_core::protocol::message::{
    Conduct, Ended, Ending, Holding, Order, Report, Role, Start, ToAgent, ToController,
};
use muster_core::protocol::stamp::{AttemptId, Boot, Session, Stamp, Term};
use muster_core::time::Time;
use muster_worker::agent::{AgentConfig, Payloads, Site, run};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long something may take that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pool of one host.
pub(crate) struct Pool {
    folder: PathBuf,
    /// Whether its agent may use control groups.
    groups: bool,
    lease_ms: Option<i64>,
    agent: Option<(Child, ChildStdin)>,
    heard: Receiver<ToController>,
    stamp: Stamp,
    boot: Boot,
    /// When the agent last spoke, by its clock.
    sent: Time,
    orders: Vec<Order>,
    holds: Vec<(AttemptId, Holding)>,
}

impl Pool {
    pub(crate) fn new(name: &str) -> Pool {
        Pool::with(name, true, None)
    }

    /// A pool whose agent uses no control groups.
    pub(crate) fn plain(name: &str) -> Pool {
        Pool::with(name, false, None)
    }

    /// A pool whose agent has short leases.
    pub(crate) fn hasty(name: &str, lease_ms: i64) -> Pool {
        Pool::with(name, true, Some(lease_ms))
    }

    fn with(name: &str, groups: bool, lease_ms: Option<i64>) -> Pool {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("muster-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("state")).unwrap();
        let stamp = Stamp { term: Term(1), session: Session(0) };
        let mut pool = Pool {
            folder: folder.canonicalize().unwrap(),
            groups,
            lease_ms,
            agent: None,
            heard: unbounded().1,
            stamp,
            boot: Boot(0),
            sent: Time(0),
            orders: Vec::new(),
            holds: Vec::new(),
        };
        pool.start_agent();
        pool
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Makes a pipe with a name, which a job opens to wait or to tell.
    pub(crate) fn pipe(&self, name: &str) {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
    }

    /// What a job writes to a pipe.
    pub(crate) fn hear(&self, name: &str) -> String {
        let (send, text) = bounded(1);
        let path = self.path(name);
        std::thread::spawn(move || send.send(std::fs::read_to_string(path).unwrap()));
        text.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing came through {name}"))
    }

    /// Lets a job go on that reads a pipe.
    pub(crate) fn release(&self, name: &str) {
        let (send, done) = bounded(1);
        let path = self.path(name);
        std::thread::spawn(move || send.send(std::fs::write(path, "go\n")));
        done.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody reads {name}")).unwrap();
    }

    pub(crate) fn start_agent(&mut self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("agent").env("MUSTER_STATE", self.path("state"));
        if let Some(ms) = self.lease_ms {
            command.env("TEST_LEASE_MS", ms.to_string());
        }
        if !self.groups {
            command.env("MUSTER_CGROUPS", "off");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, heard) = unbounded();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut stdout) {
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        self.agent = Some((child, stdin));
        self.heard = heard;
        self.orders.clear();
        self.holds.clear();
        self.stamp.session.0 += 1;
        // The first report of the session.
        let session = self.stamp;
        self.report(|report| report.stamp == session);
    }

    pub(crate) fn kill_agent(&mut self) {
        let (mut child, _) = self.agent.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the agent as `muster down` would.
    pub(crate) fn stop_agent(&mut self) {
        let (mut child, stdin) = self.agent.take().unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }

    /// Begins something, and does not wait.
    pub(crate) fn begin(&mut self, start: Start) -> AttemptId {
        let id = start.id;
        self.order(Order::Start(start));
        id
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.orders.push(order);
        self.grant(self.orders.len() as u32, vec![self.orders.last().unwrap().clone()]);
    }

    /// How an attempt ends.
    pub(crate) fn end(&mut self, id: AttemptId) -> Ended {
        self.ending(id).how
    }

    /// All that is said of the end of an attempt.
    pub(crate) fn ending(&mut self, id: AttemptId) -> Ending {
        let ended = |holds: &[(AttemptId, Holding)]| {
            holds.iter().find_map(|(held, how)| match how {
                Holding::Ended(ending) if *held == id => Some(Ending::clone(ending)),
                _ => None,
            })
        };
        loop {
            if let Some(ended) = ended(&self.holds) {
                return ended;
            }
            self.report(|_| true);
        }
    }

    /// Runs something and lets it be forgotten.
    pub(crate) fn run(&mut self, start: Start) -> Ended {
        let id = self.begin(start);
        let ended = self.end(id);
        self.forget(id);
        ended
    }

    pub(crate) fn forget(&mut self, id: AttemptId) {
        self.order(Order::Forget(id));
        while self.holds(id) {
            self.report(|_| true);
        }
    }

    pub(crate) fn holds(&self, id: AttemptId) -> bool {
        self.holds.iter().any(|(held, _)| *held == id)
    }

    /// Everything that the agent holds.
    pub(crate) fn held(&self) -> &[(AttemptId, Holding)] {
        &self.holds
    }

    /// Hears the next report that is meant.
    pub(crate) fn report(&mut self, meant: impl Fn(&Report) -> bool) {
        loop {
            match self.heard.recv_timeout(PATIENCE) {
                Ok(ToController::Hello { boot, sent }) => {
                    self.boot = boot;
                    self.say(&ToAgent::Welcome { boot, stamp: self.stamp, sent });
                }
                Ok(ToController::Report(report)) => {
                    let now = report.stamp == self.stamp;
                    if now {
                        self.sent = report.sent;
                        self.holds.clone_from(&report.holds);
                        self.grant(report.done + 1, self.orders[report.done as usize..].to_vec());
                    }
                    if now && meant(&report) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("the agent says nothing"),
                Err(RecvTimeoutError::Disconnected) => panic!("the agent has ended"),
            }
        }
    }

    fn grant(&mut self, first: u32, orders: Vec<Order>) {
        let (stamp, sent) = (self.stamp, self.sent);
        self.say(&ToAgent::Grant { stamp, sent, first, orders });
    }

    fn say(&mut self, message: &ToAgent) {
        write(&mut self.agent.as_mut().expect("an agent").1, message);
    }

    /// Whether the agent has found a tree of control groups with memory.
    pub(crate) fn limits_memory(&self) -> bool {
        let groups = std::fs::read(self.path("state/groups")).unwrap();
        String::from_utf8_lossy(&groups).contains("cgroup/memory")
    }

    /// The processes of shepherds that live, by the roll.
    pub(crate) fn shepherds(&self) -> Vec<i32> {
        let entries = std::fs::read_dir(self.path("state/shepherds")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// An order to run `program` with what the test says about it.
    pub(crate) fn start(&self, program: Program, with: impl FnOnce(&mut JobSpec, &mut Start)) -> Start {
        let mut spec = JobSpec::named("story");
        spec.payload = Some(self.store(program));
        spec.files.output = Some("out".into());
        let run = RunId { job: JobId(1), element: None };
        let (role, launch) = (Role::Batch, Vec::new());
        let id = AttemptId { run, attempt: Attempt(1) };
        let conduct = Conduct::Requeue;
        let after = None;
        let mut start = Start { id, conduct, role, limit_ms: None, grace_ms: 100, after, launch };
        with(&mut spec, &mut start);
        let memory = match spec.size.memory {
            Some(Memory::PerNode(mib)) => mib,
            _ => 0,
        };
        let part = Part {
            host: HostId(3),
            tasks: 1,
            cores: [0].into_iter().collect(),
            memory_mib: vec![memory],
            gpus: 0,
        };
        let on = Placement {
            partition: "batch".into(),
            limit_s: None,
            allocation: Arc::new(Allocation { class: ClassId(0), parts: vec![part] }),
        };
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let owner = Arc::new(Owner { uid, gid, user: "ada".into() });
        start.launch = Format::Message.encode(&Launch {
            owner,
            spec: Arc::new(spec),
            on,
            hosts: vec!["n1.example".into()],
        });
        start
    }

    /// Keeps what a job runs where the agent finds it.
    fn store(&self, program: Program) -> BlobId {
        let payload = Payload {
            program,
            environment: [("PATH", "/usr/bin:/bin"), ("COLOUR", "green"), ("SLURM_OLD", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            submit_dir: self.folder.to_str().unwrap().to_owned(),
            folder: None,
            submit_host: "desk".into(),
            client: None,
            umask: 0o027,
        };
        let bytes = Format::Message.encode(&payload);
        let id = BlobId(*blake3::hash(&bytes).as_bytes());
        std::fs::write(self.path(&id.to_string()), bytes).unwrap();
        id
    }

    /// The same for `sh -c TEXT`.
    pub(crate) fn shell(&self, text: &str, with: impl FnOnce(&mut JobSpec, &mut Start)) -> Start {
        self.start(Program::Command(["sh", "-c", text].map(str::to_owned).into()), with)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some((mut child, stdin)) = self.agent.take() {
            drop(stdin);
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether a process has not exited.
pub(crate) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z")
}

/// Returns when a process has exited.
pub(crate) fn await_end(pid: &str) {
    let number = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let Ok(process) = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    let most = rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut all = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut all, Some(&most)), Ok(1), "process {pid} does not end");
}

/// Writes down that a shepherd's process was started.
pub(crate) fn note_start(state: &Path) {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(state.join("started"));
    log.unwrap().write_all(b"1\n").unwrap();
}

struct Beside(PathBuf);

impl Payloads for Beside {
    fn fetch(&self, id: BlobId) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(id.to_string())).map_err(|e| format!("nobody has {id}: {e}"))
    }
}

/// The agent of a test: what it hears comes in on standard input, until that ends, and what it says goes out.
pub(crate) fn agent(state: PathBuf) -> Result<(), String> {
    let (send, said) = unbounded::<FromHost>();
    let (tell, hear) = unbounded();
    let (_keep, stop) = bounded(0);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        while let Some(message) = read::<ToAgent>(&mut stdin) {
            if tell.send(ToHost::Agent(message)).is_err() {
                return;
            }
        }
    });
    let writer = std::thread::spawn(move || {
        let mut stdout = std::io::stdout().lock();
        for message in said {
            if let FromHost::Agent(message) = message {
                write(&mut stdout, &message);
            }
        }
    });
    let payloads = Beside(state.parent().expect("a folder").to_owned());
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut rules = Lease::default();
    if let Some(ms) = std::env::var("TEST_LEASE_MS").ok().and_then(|text| text.parse().ok()) {
        (rules.length_ms, rules.report_ms) = (ms, ms / 8);
    }
    let config = AgentConfig { state, rules, program, host: "n1.example".into(), site: Site::default() };
    run(&config, &payloads, &send, &hear, &stop)?;
    drop(send);
    writer.join().map_err(|_| "the writer panicked".into())
}

fn write<T: Serialize>(to: &mut impl Write, message: &T) {
    let bytes = Format::Message.encode(message);
    let _ = to
        .write_all(&(bytes.len() as u32).to_le_bytes())
        .and_then(|()| to.write_all(&bytes))
        .and_then(|()| to.flush());
}

fn read<T: DeserializeOwned>(from: &mut impl Read) -> Option<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut bytes).ok()?;
    Some(Format::Message.decode(&bytes).expect("a message"))
}
