//! The shepherds' processes that an agent has, and which attempt is whose.
//!
//! Invariants: a process is asked to begin something only when nothing runs in it, or when that follows what runs there.
//! One whose attempt is over serves again at once, also before that attempt is forgotten. What follows something begins
//! when that is surely over, wherever it was. What a process is handed is on the spool before: what is not, has not begun.

use super::clock;
use super::complaint::complain;
use super::door::{self, Guest};
use super::errand::{Errand, ToProcess};
use super::frame;
use super::shell::Event;
use super::spool::Spool;
use crossbeam_channel::Sender;
use muster_core::payload::BlobId;
use muster_core::protocol::line::Remote;
use muster_core::protocol::message::ToShepherd;
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long a process that does nothing is kept, in milliseconds.
const IDLE_MS: i64 = 60_000;

/// How long a process may let the agent wait, before it is taken for dead.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much longer a lease must last than a shepherd knows before it is told, in milliseconds: it ends what it holds by
/// that much too early at most, and short attempts are left alone.
const LEASE_STEP_MS: i64 = 1_000;

/// Something to begin, with what it runs.
pub(super) struct Waiting {
    /// The order.
    pub(super) errand: Errand,
    /// What it runs.
    pub(super) payload: Arc<Vec<u8>>,
}

/// The processes of an agent.
pub(super) struct Roster {
    program: PathBuf,
    state: PathBuf,
    events: Sender<Event>,
    processes: BTreeMap<u32, Process>,
    /// Those that have been started and have not come in yet, and those that somebody waits for already.
    starting: BTreeSet<u32>,
    watched: BTreeSet<u32>,
    queue: VecDeque<Waiting>,
    /// What follows something that has no process yet, or whose process is dead.
    behind: Vec<Waiting>,
    /// What had a process that is dead, until nothing is left of it.
    ending: BTreeSet<AttemptId>,
}

struct Process {
    guest: Guest,
    running: Option<AttemptId>,
    /// What follows it there; what an agent before this one has ordered cannot be begun elsewhere.
    line: VecDeque<(AttemptId, Option<Waiting>)>,
    over: BTreeSet<AttemptId>,
    /// The end of the lease that it knows.
    lease: Time,
    /// The payload that it has had last.
    knows: Option<BlobId>,
    /// Since when nothing runs in it.
    idle: Time,
    /// What is to be said to it, in frames.
    unsaid: Vec<u8>,
}

/// What a dead process leaves.
pub(super) struct Gone {
    /// What ran in it, and what followed there. Of those whose end is not on the spool, the first may have begun.
    pub(super) held: Vec<(AttemptId, Option<Waiting>)>,
    /// What was over and not forgotten.
    pub(super) over: Vec<AttemptId>,
    /// What will not begin, since it was to be the first.
    pub(super) unborn: Option<AttemptId>,
}

impl Roster {
    /// No process yet; `program` is started as `program shepherd` where one is needed.
    pub(super) fn new(program: &Path, state: &Path, events: Sender<Event>) -> Roster {
        Roster {
            program: program.to_owned(),
            state: state.to_owned(),
            events,
            processes: BTreeMap::new(),
            starting: BTreeSet::new(),
            watched: BTreeSet::new(),
            queue: VecDeque::new(),
            behind: Vec::new(),
            ending: BTreeSet::new(),
        }
    }

    /// Hears of the end of a process that an agent before this one has started.
    pub(super) fn watch(&mut self, pid: u32) {
        if self.watched.insert(pid) {
            door::watch(pid, &self.events);
        }
    }

    /// A process has come in.
    pub(super) fn join(&mut self, guest: Guest, spool: &mut Spool) {
        self.starting.remove(&guest.pid);
        self.watch(guest.pid);
        let _ = guest.stream.set_write_timeout(Some(PATIENCE));
        let (running, lease, idle) = (guest.running, Time(i64::MIN), clock::now());
        let line = guest.line.iter().map(|id| (*id, None)).collect();
        let process = Process {
            running,
            line,
            over: BTreeSet::new(),
            lease,
            knows: None,
            idle,
            guest,
            unsaid: Vec::new(),
        };
        self.processes.insert(process.guest.pid, process);
        self.serve(spool);
    }

    /// Whether a process has come in.
    pub(super) fn has(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// What has a shepherd in a process that has come in.
    pub(super) fn held(&self) -> BTreeSet<AttemptId> {
        let next = |p: &Process| p.line.iter().map(|(id, _)| *id).collect::<Vec<AttemptId>>();
        self.processes.values().flat_map(|p| p.over.iter().copied().chain(p.running).chain(next(p))).collect()
    }

    /// Whether nothing runs, or is about to.
    pub(super) fn is_quiet(&self) -> bool {
        let rests = |p: &Process| p.running.is_none() && p.line.is_empty();
        self.queue.is_empty() && self.starting.is_empty() && self.processes.values().all(rests)
    }

    /// Has something begun as soon as a process is free, or what it follows is over.
    ///
    /// # Errors
    /// When another process is needed and cannot be started.
    pub(super) fn begin(&mut self, waiting: Waiting, spool: &mut Spool) -> Result<(), (AttemptId, String)> {
        let id = waiting.errand.start.id;
        if let Some(after) = waiting.errand.start.after {
            if let Some(pid) = self.process_of(after) {
                self.hand(pid, waiting, spool);
                return Ok(());
            }
            if self.queued(after).is_some() || self.ending.contains(&after) {
                self.behind.push(waiting);
                return Ok(());
            }
        }
        self.queue.push_back(waiting);
        self.serve(spool);
        if self.queue.len() > self.starting.len() {
            self.start().map_err(|why| {
                self.queue.retain(|waiting| waiting.errand.start.id != id);
                (id, why)
            })?;
        }
        Ok(())
    }

    /// What has not begun for want of a process, if it is that.
    pub(super) fn queued(&mut self, id: AttemptId) -> Option<&mut Errand> {
        let mut all = self.queue.iter_mut().chain(&mut self.behind);
        all.find(|waiting| waiting.errand.start.id == id).map(|waiting| &mut waiting.errand)
    }

    /// Takes something back that has not begun.
    pub(super) fn take_back(&mut self, id: AttemptId) {
        let Some(after) = self.queued(id).map(|errand| errand.start.after) else { return };
        self.queue.retain(|waiting| waiting.errand.start.id != id);
        self.behind.retain(|waiting| waiting.errand.start.id != id);
        let next = |waiting: &&mut Waiting| waiting.errand.start.after == Some(id);
        self.behind.iter_mut().filter(next).for_each(|waiting| waiting.errand.start.after = after);
    }

    /// What may begin now that had to wait for another, though that has no process.
    pub(super) fn freed(&mut self) -> Vec<Waiting> {
        let unborn: BTreeSet<AttemptId> =
            self.queue.iter().chain(&self.behind).map(|waiting| waiting.errand.start.id).collect();
        let waits = |waiting: &mut Waiting| {
            let after = waiting.errand.start.after;
            after.is_some_and(|after| unborn.contains(&after) || self.ending.contains(&after))
        };
        self.behind.extract_if(.., |waiting| !waits(waiting)).collect()
    }

    /// What a dead process was to begin after `before`, of which something may be left, or which is put behind, too.
    pub(super) fn put_behind(&mut self, mut waiting: Waiting, before: AttemptId) {
        waiting.errand.start.after = Some(before);
        self.behind.push(waiting);
    }

    /// A process is dead that held this, of which something may be left.
    pub(super) fn ends(&mut self, id: AttemptId) {
        self.ending.insert(id);
    }

    /// Nothing is left of it.
    pub(super) fn cleared(&mut self, id: AttemptId) {
        self.ending.remove(&id);
    }

    fn process_of(&self, id: AttemptId) -> Option<u32> {
        let holds = |p: &Process| p.running == Some(id) || p.line.iter().any(|(next, _)| *next == id);
        self.processes.iter().find(|(_, process)| holds(process)).map(|(pid, _)| *pid)
    }

    /// Hands a process what follows there.
    fn hand(&mut self, pid: u32, waiting: Waiting, spool: &mut Spool) {
        if !self.is_noted(waiting.errand.start.id, spool) {
            return;
        }
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Waiting { errand, payload } = &waiting;
        let mut errand = errand.clone();
        if process.knows.replace(errand.blob) != Some(errand.blob) {
            errand.payload = Some(payload.to_vec());
        }
        process.line.push_back((errand.start.id, Some(waiting)));
        say(pid, process, &ToProcess::Begin(Box::new(errand)));
    }

    /// Tells the shepherd of an attempt something; false when it has none here.
    pub(super) fn tell(&mut self, id: AttemptId, what: ToShepherd) -> bool {
        let next = |process: &Process| process.line.iter().any(|(next, _)| *next == id);
        let holds = |p: &Process| p.running == Some(id) || p.over.contains(&id) || next(p);
        let Some((pid, process)) = self.processes.iter_mut().find(|(_, p)| holds(p)) else { return false };
        match what {
            ToShepherd::Extend(until) if until < process.lease.after(LEASE_STEP_MS) => return true,
            ToShepherd::Extend(until) => process.lease = until,
            _ => {}
        }
        say(*pid, process, &ToProcess::Tell(id, what));
        true
    }

    /// Says what there is to be said, to each process at once.
    pub(super) fn say_all(&mut self) {
        let all = self.processes.iter_mut().filter(|(_, process)| !process.unsaid.is_empty());
        all.for_each(|(pid, process)| process.say_all(*pid));
    }

    /// Asks the shepherd's process that holds an attempt for a process of it, if there is one.
    pub(super) fn remote(&mut self, remote: Remote) {
        if let Some((pid, process)) = self.processes.iter_mut().find(|(_, p)| p.running == Some(remote.id)) {
            say(*pid, process, &ToProcess::Remote(remote));
        }
    }

    /// An attempt is over: its process goes on with what follows, or is free.
    pub(super) fn over(&mut self, pid: u32, id: AttemptId, spool: &mut Spool) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.running == Some(id) {
            process.running = process.line.pop_front().map(|(next, _)| next);
        } else if let Some(at) = process.line.iter().position(|(next, _)| *next == id) {
            process.line.remove(at);
        } else {
            return;
        }
        process.over.insert(id);
        if process.running.is_none() {
            process.idle = clock::now();
            self.serve(spool);
        }
    }

    /// The shepherd of an attempt has left.
    pub(super) fn left(&mut self, pid: u32, id: AttemptId) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.over.remove(&id);
        }
    }

    /// A process is dead.
    pub(super) fn gone(&mut self, pid: u32) -> Gone {
        self.watched.remove(&pid);
        let was_to_serve = self.starting.remove(&pid) && self.queue.len() > self.starting.len();
        let unborn = if was_to_serve { self.queue.pop_front() } else { None };
        let unborn = unborn.map(|waiting| waiting.errand.start.id);
        let process = self.processes.remove(&pid);
        let over = process.as_ref().map_or(Vec::new(), |process| process.over.iter().copied().collect());
        let held = process.into_iter().flat_map(|p| p.running.map(|id| (id, None)).into_iter().chain(p.line));
        Gone { held: held.collect(), over, unborn }
    }

    /// Lets go of processes that have been idle for long.
    pub(super) fn thin_out(&mut self, now: Time) {
        self.dismiss(|process| process.over.is_empty() && now - process.idle > IDLE_MS);
    }

    /// Lets go of all in which nothing runs, and tells who is to be waited for. What is over is on the spool.
    pub(super) fn close(mut self) -> BTreeSet<u32> {
        self.dismiss(|_| true).into_iter().chain(std::mem::take(&mut self.starting)).collect()
    }

    /// Those that are dismissed serve nobody any more, though it takes a moment until they are gone.
    fn dismiss(&mut self, whom: impl Fn(&Process) -> bool) -> Vec<u32> {
        let idle = self.processes.iter().filter(|(_, process)| process.running.is_none() && whom(process));
        let idle: Vec<u32> = idle.map(|(pid, _)| *pid).collect();
        for pid in &idle {
            if let Some(mut process) = self.processes.remove(pid) {
                say(*pid, &mut process, &ToProcess::Dismiss);
                process.say_all(*pid);
            }
        }
        idle
    }

    /// Gives what waits to processes that are free.
    fn serve(&mut self, spool: &mut Spool) {
        while !self.queue.is_empty() {
            // The one that knows what is to run, else the one that was free last: its memory is still in the cache.
            let wanted = self.queue.front().map(|waiting| waiting.errand.blob);
            let free = self.processes.iter_mut().filter(|(_, process)| process.running.is_none());
            let Some((pid, _)) = free.max_by_key(|(_, p)| (p.knows == wanted, p.idle)) else { return };
            let pid = *pid;
            let Some(Waiting { mut errand, payload }) = self.queue.pop_front() else { return };
            if !self.is_noted(errand.start.id, spool) {
                continue;
            }
            let Some(process) = self.processes.get_mut(&pid) else { return };
            if process.knows.replace(errand.blob) != Some(errand.blob) {
                errand.payload = Some(payload.to_vec());
            }
            let mut last = errand.start.id;
            (process.running, process.lease) = (Some(last), errand.lease);
            say(pid, process, &ToProcess::Begin(Box::new(errand)));
            while let Some(at) = self.behind.iter().position(|next| next.errand.start.after == Some(last)) {
                let next = self.behind.remove(at);
                last = next.errand.start.id;
                self.hand(pid, next, spool);
            }
        }
    }

    /// Notes that something begins, which it does only then.
    fn is_noted(&self, id: AttemptId, spool: &mut Spool) -> bool {
        let Err(error) = spool.note(id) else { return true };
        complain("agent", format!("the spool does not take job {id}: {error}"));
        let _ = self.events.send(Event::Unnoted(id));
        false
    }

    fn start(&mut self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.arg("shepherd").env("MUSTER_STATE", &self.state).current_dir("/");
        crate::files::tell(&mut command);
        // It outlives whoever reads our own standard error.
        let log =
            OpenOptions::new().append(true).create(true).mode(0o600).open(self.state.join("shepherd.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.map_or(Stdio::null(), Stdio::from));
        let mut child = command.spawn().map_err(|e| {
            format!("cannot start {} shepherd: {e} (is muster still there?)", self.program.display())
        })?;
        let (pid, events) = (child.id(), self.events.clone());
        self.starting.insert(pid);
        self.watched.insert(pid);
        std::thread::spawn(move || {
            let _ = child.wait();
            let _ = events.send(Event::Gone(pid));
        });
        Ok(())
    }
}

/// Has something said with what else there is to say.
fn say(pid: u32, process: &mut Process, message: &ToProcess) {
    match frame::bytes(message) {
        Ok(bytes) => process.unsaid.extend(bytes),
        Err(e) => complain("agent", format!("the shepherd of process {pid} cannot be told: {e}")),
    }
}

impl Process {
    /// A process that does not take what is said is as good as dead, and its end is heard of as any other.
    fn say_all(&mut self, pid: u32) {
        let unsaid = std::mem::take(&mut self.unsaid);
        match self.guest.stream.write_all(&unsaid) {
            // It is dead.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(e) => {
                complain("agent", format!("the shepherd of process {pid} does not listen and ends: {e}"));
                kill(pid);
            }
            Ok(()) => {}
        }
    }
}

/// Kills a process that lets everybody wait.
pub(super) fn kill(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
