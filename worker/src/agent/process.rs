//! The shepherd's process: serves one slot of a host, with a shepherd (a value of the core) for each attempt.
//!
//! Invariants: one thread; one attempt runs at a time, and what follows it begins when it is over, not without an agent;
//! it reads the clock, the socket and its children only in `poll`, and nothing is looked at again and again; what it holds
//! is held in the kernel's sense, as it is their subreaper, so when it says that an attempt has exited, the operating
//! system has said that no process of it is left.

use super::alarm::Alarm;
use super::attempt::Attempt;
use super::clock;
use super::complaint::complain;
use super::ends::Ends;
use super::errand::{Errand, FromProcess, ToProcess};
use super::frame::{self, Inbox};
use super::groups::Groups;
use super::guise::Users;
use super::leader;
use super::prepare::Failure;
use super::roll;
use super::slot::Slot;
use super::spool;
use super::unsent;
use muster_core::job::outcome::Outcome;
use muster_core::payload::{BlobId, Payload, Program};
use muster_core::protocol::format::Format;
use muster_core::protocol::line::Remote;
use muster_core::protocol::message::{Ended, FromShepherd, Role, ToShepherd};
use muster_core::protocol::shepherd::{ShepherdInput, ShepherdOutput};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// How long the end of a short task may wait to be said with the next, milliseconds.
const TOGETHER_MS: i64 = 4;
/// How many must be to come for that.
const ENOUGH: usize = 6;

/// How the process is connected.
enum Link {
    /// To an agent; its end is the end of the connection, which is as sure as a pidfd and hears of a clean stop, too.
    Agent(UnixStream, Inbox),
    /// To nobody: this tells when another agent has taken the door.
    Waiting(OwnedFd),
}

/// The shepherd's process.
struct Process {
    state: PathBuf,
    ends: Ends,
    /// Whose script lies on the spool.
    script: Option<BlobId>,
    slot: Slot,
    link: Link,
    reaper: OwnedFd,
    alarm: Alarm,
    attempts: BTreeMap<AttemptId, Attempt>,
    running: Option<AttemptId>,
    /// What begins when that is over, in order; not without an agent.
    line: VecDeque<Box<Errand>>,
    /// The last payload, since the elements of an array share one.
    payload: Option<(BlobId, Payload)>,
    inputs: VecDeque<(AttemptId, ShepherdInput)>,
    /// What is to be said to the agent, in frames, and when at the latest.
    unsaid: Vec<u8>,
    say_at: Time,
    dismissed: bool,
    /// Locked for as long as this process lives.
    _life: File,
}

/// The shepherd's process: `muster shepherd` calls it with the state directory. Returns when it is not needed.
///
/// # Errors
/// What keeps it from serving: no agent at the door, or something that the operating system does not give.
pub fn shepherd(state: &Path) -> Result<(), String> {
    let state = state.canonicalize().map_err(|e| format!("cannot use {}: {e}", state.display()))?;
    // Its signals and its terminal are not those of whoever started the agent.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("cannot inherit the processes of jobs: {e}"))?;
    crate::files::restore();
    // Modes are always said, since each job has a mask of its own.
    rustix::process::umask(rustix::fs::Mode::empty());
    let groups: Groups = roll::groups(&state);
    let slot = Slot::make(&groups);
    let life = roll::sign(&state, &slot.folders())?;
    let reaper = leader::ends().map_err(|e| format!("cannot hear of the ends of processes: {e}"))?;
    let link = Link::Waiting(watch(&state)?);
    let mut process = Process {
        ends: Ends::make(&state)?,
        script: None,
        state,
        slot,
        link,
        reaper,
        alarm: Alarm::new()?,
        attempts: BTreeMap::new(),
        running: None,
        line: VecDeque::new(),
        payload: None,
        inputs: VecDeque::new(),
        unsaid: Vec::new(),
        say_at: Time::NEVER,
        dismissed: false,
        _life: life,
    };
    process.connect();
    process.serve()
}

impl Process {
    fn serve(&mut self) -> Result<(), String> {
        loop {
            self.settle();
            if self.say_at <= clock::now() {
                self.say_all();
            }
            let alone = self.dismissed || matches!(self.link, Link::Waiting(_));
            if alone && self.running.is_none() && self.line.is_empty() {
                return Ok(());
            }
            let running = self.running.and_then(|id| self.attempts.get(&id));
            let next = self.line.iter().map(|next| next.lease).min().unwrap_or(Time::NEVER);
            self.alarm.set(running.map_or(next, Attempt::next).min(self.say_at))?;
            let connection = match &self.link {
                Link::Agent(stream, _) => PollFd::new(stream, PollFlags::IN),
                Link::Waiting(watch) => PollFd::new(watch, PollFlags::IN),
            };
            let other = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut all = [other(self.reaper.as_fd()), other(self.alarm.as_fd()), connection];
            match poll(&mut all, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(|e| format!("cannot wait for anything: {e}"))?,
            };
            let [ended, woken, spoken] = all.map(|fd| !fd.revents().is_empty());
            if ended {
                self.exited();
            }
            if woken {
                self.woken();
            }
            if spoken {
                self.hear();
            }
        }
    }

    /// Lets shepherds handle what they have heard, and does what they say; what is next begins when nothing runs.
    fn settle(&mut self) {
        loop {
            while let Some((id, input)) = self.inputs.pop_front() {
                let Some(attempt) = self.attempts.get_mut(&id) else { continue };
                for output in attempt.hear(clock::now(), input) {
                    self.perform(id, output);
                }
            }
            let free = self.running.is_none() && matches!(self.link, Link::Agent(..));
            if !free {
                return;
            }
            let Some(next) = self.line.pop_front() else { return };
            self.begin(next);
        }
    }

    fn perform(&mut self, id: AttemptId, output: ShepherdOutput) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        match output {
            ShepherdOutput::Spawn => self.spawn(id),
            ShepherdOutput::Kill => {
                if !attempt.kill(&self.state, &mut self.slot) {
                    // Nothing of it is left.
                    self.inputs.push_back((id, ShepherdInput::Exited(Outcome::Completed)));
                }
            }
            ShepherdOutput::Stop(number) => {
                attempt.stop();
                self.inputs.push_back((id, ShepherdInput::Stopped(number)));
            }
            ShepherdOutput::GoOn => attempt.go_on(&self.slot),
            ShepherdOutput::Warn => attempt.warn_of_end(&self.slot),
            ShepherdOutput::Save(ended) => self.save(id, ended),
            ShepherdOutput::Tell(what) => self.say(&FromProcess::Said(id, what)),
            ShepherdOutput::TellEnd(ended) => {
                let what = FromShepherd::Ended(attempt.ending(ended));
                self.say(&FromProcess::Said(id, what));
            }
            ShepherdOutput::Resize(hosts) => self.say(&FromProcess::Resize(id, hosts)),
            // Whoever started the agent starts it again: a service manager, or `muster up`.
            ShepherdOutput::CallAgent => {}
            ShepherdOutput::Wake(at) => attempt.wake = at,
            ShepherdOutput::Leave => {
                self.attempts.remove(&id);
                self.ends.forget(id);
                self.say(&FromProcess::Left(id));
            }
        }
    }

    fn spawn(&mut self, id: AttemptId) {
        let Some(users) = self.attempts.get(&id).map(Attempt::users) else { return };
        let laid = self.lay_script(users);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let payload = self.payload.as_ref().map(|(_, payload)| payload);
        let born = laid.and_then(|()| attempt.spawn(payload, &self.state, &mut self.slot));
        let elsewhere = payload.is_some_and(|payload| attempt.is_away_from(payload));
        if let Err(failure) = born {
            let input = attempt.cannot_start(failure);
            self.inputs.push_back((id, input));
        }
        if elsewhere && unsent::is_there(&self.state, id) {
            self.say(&FromProcess::Unsent(id));
        }
    }

    /// Lays the script of what begins where it can be run, if it is another than that of the one before. One that may be
    /// another user's is laid anew: whoever had it before may still write what was there.
    fn lay_script(&mut self, users: Users) -> Result<(), Failure> {
        let Some((blob, Payload { program: Program::Script { text, .. }, .. })) = &self.payload else {
            return Ok(());
        };
        let path = spool::script(&self.state, std::process::id());
        match (self.script.replace(*blob), users) {
            (Some(before), Users::Own) if before == *blob => return Ok(()),
            (_, Users::All) => drop(std::fs::remove_file(&path)),
            _ => {}
        }
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&path);
        open.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| {
            self.script = None;
            Failure::of_host(format!("cannot write the script to {}: {e}", path.display()))
        })
    }

    /// Writes how it ended. A disk that takes no more has the agent report it all the same; only if the agent dies
    /// before the controller has heard is the outcome lost, and then it is told as that of a lost shepherd.
    fn save(&mut self, id: AttemptId, ended: Ended) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if let Err(e) = self.ends.save(id, *attempt.ending(ended)) {
            complain(
                "shepherd",
                format!("cannot save how job {id} ended: {e} (free space on the state disk)"),
            );
        }
        // The next of an array runs the same.
        if self.line.is_empty() && self.script.take().is_some() {
            let _ = std::fs::remove_file(spool::script(&self.state, std::process::id()));
        }
        self.running.take_if(|running| *running == id);
    }

    /// A process has ended, perhaps the first one of what runs.
    fn exited(&mut self) {
        let _ = rustix::io::read(&self.reaper, &mut [0u8; 128]);
        let Some(id) = self.running else { return };
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let input = attempt.ended(&self.state, &mut self.slot);
        self.inputs.extend(input.map(|input| (id, input)));
        attempt.said().into_iter().for_each(|said| self.say(&FromProcess::RemoteSaid(said)));
    }

    fn woken(&mut self) {
        self.alarm.heard();
        let Some(id) = self.running else {
            // No agent has come in time: what has not begun never will.
            return self.line.retain(|next| next.lease > clock::now());
        };
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.warn(clock::now(), &self.slot);
            self.inputs.push_back((id, ShepherdInput::Woken));
        }
    }

    /// Reads what the agent says, or that there is another one, or none any more.
    fn hear(&mut self) {
        let Link::Agent(stream, inbox) = &mut self.link else {
            if let Link::Waiting(watch) = &self.link {
                drain(watch);
            }
            return self.connect();
        };
        let mut goes_on = matches!(inbox.fill(stream), Ok(true));
        loop {
            let Link::Agent(_, inbox) = &mut self.link else { return };
            match inbox.next::<ToProcess>() {
                Ok(Some(message)) => {
                    self.told(message);
                    self.settle();
                }
                Ok(None) => break,
                Err(e) => {
                    complain("shepherd", format!("the agent is not understood: {e}"));
                    goes_on = false;
                    break;
                }
            }
        }
        if !goes_on {
            self.lose_agent();
        }
    }

    fn told(&mut self, message: ToProcess) {
        match message {
            ToProcess::Begin(errand) => self.line.push_back(errand),
            ToProcess::Tell(_, ToShepherd::Extend(until)) => self.extend(until),
            ToProcess::Tell(id, what) => match self.line.iter().position(|next| next.start.id == id) {
                Some(at) => self.tell_next(at, what),
                None => self.inputs.push_back((id, ShepherdInput::Agent(what))),
            },
            ToProcess::Remote(remote) => self.remote(&remote),
            ToProcess::Dismiss => self.dismissed = true,
        }
    }

    /// The lease is the host's: it lasts for all that is here.
    fn extend(&mut self, until: Time) {
        self.line.iter_mut().for_each(|next| next.lease = until.max(next.lease));
        let extend = ShepherdInput::Agent(ToShepherd::Extend(until));
        self.inputs.extend(self.running.map(|id| (id, extend)));
    }

    /// The agent tells something that has not begun.
    fn tell_next(&mut self, at: usize, what: ToShepherd) {
        let id = self.line[at].start.id;
        match what {
            ToShepherd::Kill | ToShepherd::Notice(_) => {
                let errand = self.line.remove(at).expect("it was found");
                self.attempts.insert(id, Attempt::new(errand));
                self.inputs.push_back((id, ShepherdInput::Agent(what)));
            }
            ToShepherd::Adopt => self.say(&FromProcess::Said(id, FromShepherd::Running)),
            what => self.line[at].told.push(what),
        }
    }

    /// What does not run is said nothing of: it may begin yet, and is asked for again.
    fn remote(&mut self, remote: &Remote) {
        let running = self.attempts.get_mut(&remote.id).filter(|_| self.running == Some(remote.id));
        if let Some(attempt) = running
            && let Some(said) = attempt.remote(remote, &self.state, &self.slot)
        {
            self.say(&FromProcess::RemoteSaid(said));
        }
    }

    fn begin(&mut self, mut errand: Box<Errand>) {
        if let Some(bytes) = errand.payload.take() {
            self.payload = Format::Message.decode(&bytes).ok().map(|payload| (errand.blob, payload));
        } else if self.payload.as_ref().is_none_or(|(blob, _)| *blob != errand.blob) {
            self.payload = None;
        }
        let id = errand.start.id;
        let told = std::mem::take(&mut errand.told);
        if errand.start.role == Role::Member
            && let Err(e) = self.ends.begins_again(id)
        {
            complain(
                "shepherd",
                format!("cannot note that job {id} begins: {e} (free space on the state disk)"),
            );
        }
        self.attempts.insert(id, Attempt::new(errand));
        self.running = Some(id);
        let told = told.into_iter().map(ShepherdInput::Agent);
        self.inputs.extend(std::iter::once(ShepherdInput::Begin).chain(told).map(|input| (id, input)));
    }

    /// Has something said to the agent, with what else there is: at once, but for the ends of short tasks of which enough are
    /// to come, since to wake an agent costs a good part of what such a task does.
    fn say(&mut self, message: &FromProcess) {
        if !matches!(self.link, Link::Agent(..)) {
            return;
        }
        let Ok(bytes) = frame::bytes(message) else { return };
        self.unsaid.extend(bytes);
        let is_end = matches!(message, FromProcess::Said(_, FromShepherd::Ended(_)) | FromProcess::Left(_));
        let may_wait = is_end && self.line.len() >= ENOUGH;
        let now = clock::now();
        self.say_at = self.say_at.min(if may_wait { now.after(TOGETHER_MS) } else { now });
    }

    fn say_all(&mut self) {
        self.say_at = Time::NEVER;
        let said = std::mem::take(&mut self.unsaid);
        if let Link::Agent(stream, _) = &mut self.link {
            // An agent that has died is heard of by the end of its stream.
            let _ = stream.write_all(&said);
        }
    }

    /// The agent is gone. What is over is on the spool, and the next agent finds it there.
    fn lose_agent(&mut self) {
        // The next one asks.
        self.unsaid.clear();
        let Ok(watch) = watch(&self.state) else {
            // What runs must not go on unheard of for ever: it ends by its lease, or with its limit; nothing begins.
            self.line.clear();
            return self.dismissed = true;
        };
        self.link = Link::Waiting(watch);
        self.attempts.retain(|id, _| self.running == Some(*id));
        self.inputs.extend(self.running.map(|id| (id, ShepherdInput::AgentDied)));
        self.settle();
        if self.running.is_some() {
            self.connect();
        }
    }

    /// Knocks at the door, if there is one and an agent behind it; else what watches the door will tell.
    fn connect(&mut self) {
        let Ok(mut stream) = UnixStream::connect(roll::door(&self.state)) else { return };
        // Whoever took our door must be our user, or the administrator.
        let owner = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.uid.as_raw());
        if !owner.is_ok_and(|uid| uid == rustix::process::getuid().as_raw() || uid == 0) {
            return;
        }
        let line = self.line.iter().map(|next| next.start.id).collect();
        let hello = FromProcess::Hello { running: self.running, line };
        if frame::write(&mut stream, &hello).is_ok() {
            self.link = Link::Agent(stream, Inbox::default());
        }
    }
}

/// Tells when an agent takes the door of a state directory: it makes its socket under another name, and renames it.
fn watch(state: &Path) -> Result<OwnedFd, String> {
    let told = |e: rustix::io::Errno| format!("cannot watch {}: {e}", state.display());
    let watch =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(told)?;
    inotify::add_watch(&watch, state, inotify::WatchFlags::MOVED_TO).map_err(told)?;
    Ok(watch)
}

fn drain(watch: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while events.next().is_ok() {}
}
