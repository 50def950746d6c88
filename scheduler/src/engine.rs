//! The engine: one thread that owns the controller's value, hears everything, and performs what it says.
//!
//! Step 4 of a job's way (DESIGN section 4). Invariants: outputs are performed in order, and none that follows a record
//! before the record is on disk ([`Outbox`]); the clock that it gives the controller counts suspended time and never goes
//! back.

use crate::accounting;
use crate::journal::{Batch, Journal};
use crate::returns;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use muster_core::books::event::Event;
use muster_core::ceilings::Ceilings;
use muster_core::cluster::HostId;
use muster_core::job::id::JobId;
use muster_core::protocol::clerk::{Ask, Clerk, Told};
use muster_core::protocol::controller::{Answer, Controller, Entry, Input, Output, Outputs, Request};
use muster_core::protocol::desk::Place;
use muster_core::protocol::format::Format;
use muster_core::protocol::lease::Lease;
use muster_core::protocol::line::{FromHost, HostShare, Reading, Remote, RemoteSaid, RemoteState, ToHost};
use muster_core::protocol::outbox::Outbox;
use muster_core::protocol::output::{Delivered, Had, Sent};
use muster_core::protocol::stamp::AttemptId;
use muster_core::protocol::standing::{Open, Standing};
use muster_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many pieces of files may be waited for: of more, those that were asked for first are taken to be lost.
const MOST_READ: usize = 1024;
/// A snapshot is made after so many records.
const RECORDS_A_SNAPSHOT: u64 = 20_000;
/// How many things that were heard may wait, before those who say more wait themselves.
const MOST_HEARD: usize = 4096;
/// After how long a journal that could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// A way to a host; what it cannot carry is lost, and said again by those who need it.
pub type Line = Box<dyn Fn(ToHost) + Send>;
type Reply = Box<dyn FnOnce(Answer<Told>) + Send>;
type Look = Box<dyn FnOnce(&View) + Send>;
type Call = Box<dyn FnOnce() + Send>;
/// Hears what was read of a file, if there is one, or why it cannot be.
type Reader = Box<dyn FnOnce(Result<Option<Vec<u8>>, String>) + Send>;

enum Heard {
    Ask(Request<Ask>, Reply),
    Host(HostId, FromHost),
    Line(HostId, Line),
    Look(Look),
    Over(JobId, Call),
    Read(HostId, (String, u64, String), Reader),
    Tell(HostId, ToHost),
    Returns(Sender<returns::Heard>),
    Persisted(u64),
    Stop,
}

/// What may be looked at between two inputs.
pub struct View<'a> {
    /// The controller's time.
    pub now: Time,
    /// Jobs, hosts, and who decides.
    pub clerk: &'a Clerk,
    /// The fold of the journal.
    pub standing: &'a Standing<Clerk>,
    /// What hosts can do at most, where that is known.
    pub ceilings: &'a BTreeMap<HostId, Ceilings>,
}

/// A pool's engine, for those who ask.
#[derive(Clone)]
pub struct Engine {
    send: Sender<Heard>,
    stalled: Arc<AtomicBool>,
}

/// The engine's threads.
pub struct Running {
    engine: Engine,
    threads: Vec<JoinHandle<()>>,
}

/// The engine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool is going down")]
pub struct Down;

impl Engine {
    /// Asks for a change; `reply` is called once what it led to is on disk.
    ///
    /// # Errors
    /// When the pool is going down.
    pub fn ask(
        &self,
        request: Request<Ask>,
        reply: impl FnOnce(Answer<Told>) + Send + 'static,
    ) -> Result<(), Down> {
        self.say(Heard::Ask(request, Box::new(reply)))
    }

    /// Looks at what there is, between two inputs.
    ///
    /// # Errors
    /// When the pool is going down.
    pub fn look(&self, look: impl FnOnce(&View) + Send + 'static) -> Result<(), Down> {
        self.say(Heard::Look(Box::new(look)))
    }

    /// Calls `call` when a job is over, which may be at once; also when there is no such job any more.
    ///
    /// # Errors
    /// When the pool is going down.
    pub fn when_over(&self, job: JobId, call: impl FnOnce() + Send + 'static) -> Result<(), Down> {
        self.say(Heard::Over(job, Box::new(call)))
    }

    /// Has a host read a file, from a byte on, for a user, and tells what is there; not at all when the host does not answer.
    ///
    /// # Errors
    /// When the pool is going down.
    pub fn read(
        &self,
        host: HostId,
        file: (String, u64, String),
        tell: impl FnOnce(Result<Option<Vec<u8>>, String>) + Send + 'static,
    ) -> Result<(), Down> {
        self.say(Heard::Read(host, file, Box::new(tell)))
    }

    /// Says something to a host that rests on no record: it may be lost.
    ///
    /// # Errors
    /// When the pool is going down.
    pub(crate) fn tell(&self, host: HostId, what: ToHost) -> Result<(), Down> {
        self.say(Heard::Tell(host, what))
    }

    /// What hosts say of output goes this way from now on.
    ///
    /// # Errors
    /// When the pool is going down.
    pub(crate) fn returns(&self, returns: Sender<returns::Heard>) -> Result<(), Down> {
        self.say(Heard::Returns(returns))
    }

    /// A host has said something.
    ///
    /// # Errors
    /// When the pool is going down.
    pub fn host(&self, host: HostId, said: FromHost) -> Result<(), Down> {
        self.say(Heard::Host(host, said))
    }

    /// What is for `host` goes this way from now on.
    ///
    /// # Errors
    /// When the pool is going down.
    pub fn line(&self, host: HostId, line: Line) -> Result<(), Down> {
        self.say(Heard::Line(host, line))
    }

    /// Whether the disk does not take records at the moment: nothing new should be asked for.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn say(&self, heard: Heard) -> Result<(), Down> {
        self.send.send(heard).map_err(|_| Down)
    }
}

impl Running {
    /// Starts an engine that goes on from `standing`, which is what `journal` says.
    pub fn start(rules: Lease, journal: Journal, standing: Standing<Clerk>) -> Running {
        let (send, hear) = bounded(MOST_HEARD);
        let (write, batches) = unbounded();
        let stalled = Arc::new(AtomicBool::new(false));
        let engine = Engine { send, stalled };
        let thread = Thread {
            controller: Controller::new(rules, standing),
            clock: Clock::start(),
            outbox: Outbox::default(),
            write,
            records: 0,
            since_snapshot: 0,
            lines: BTreeMap::new(),
            replies: BTreeMap::new(),
            readers: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            returns: None,
            next_reply: 0,
            waiting: BTreeMap::new(),
            wake: None,
        };
        let writer = engine.clone();
        let threads = vec![
            std::thread::spawn(move || write_all(journal, &batches, &writer)),
            std::thread::spawn(move || thread.run(&hear)),
        ];
        Running { engine, threads }
    }

    /// For those who ask.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Ends it, with a snapshot of all that it knows on disk.
    pub fn stop(self) {
        let _ = self.engine.say(Heard::Stop);
        drop(self.engine);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Milliseconds since 1970 as they were at the start, counted on by a clock that counts suspended time and never goes back.
struct Clock {
    origin_ms: i64,
}

impl Clock {
    fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { origin_ms: since.as_millis() as i64 - boot_ms() }
    }

    fn now(&self) -> Time {
        Time(self.origin_ms + boot_ms())
    }
}

fn boot_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1000 + i64::from(now.tv_nsec as i32) / 1_000_000
}

/// What is done in its turn.
enum Act {
    Send(HostId, ToHost),
    Reply(u64, Answer<Told>),
    Call(Call),
}

struct Thread {
    controller: Controller<Clerk>,
    clock: Clock,
    outbox: Outbox<Act>,
    write: Sender<Batch>,
    /// How many records this life has handed out.
    records: u64,
    since_snapshot: u64,
    lines: BTreeMap<HostId, Line>,
    replies: BTreeMap<u64, Reply>,
    /// Who waits for a piece of a file, and of which host.
    readers: BTreeMap<u64, (HostId, Reader)>,
    /// What hosts have measured.
    ceilings: BTreeMap<HostId, Ceilings>,
    /// Who keeps output that comes back.
    returns: Option<Sender<returns::Heard>>,
    next_reply: u64,
    /// Who waits for the end of which job.
    waiting: BTreeMap<JobId, Vec<Call>>,
    wake: Option<Time>,
}

impl Thread {
    fn run(mut self, hear: &Receiver<Heard>) {
        self.input(Input::Begin);
        loop {
            match self.next(hear) {
                Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(heard) => self.hear(heard),
                Err(RecvTimeoutError::Timeout) => {
                    self.wake = None;
                    self.input(Input::Woken);
                }
            }
        }
        self.snapshot(Vec::new(), Vec::new());
    }

    fn next(&self, hear: &Receiver<Heard>) -> Result<Heard, RecvTimeoutError> {
        let Some(wake) = self.wake else { return hear.recv().map_err(|_| RecvTimeoutError::Disconnected) };
        let left = u64::try_from(wake - self.clock.now()).unwrap_or(0);
        let far = Duration::from_secs(3600);
        hear.recv_deadline(Instant::now() + Duration::from_millis(left).min(far))
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Ask(request, reply) => {
                self.next_reply += 1;
                self.replies.insert(self.next_reply, reply);
                self.input(Input::Client(self.next_reply, request));
            }
            Heard::Host(host, said) => self.host_said(host, said),
            Heard::Line(host, line) => drop(self.lines.insert(host, line)),
            Heard::Look(look) => {
                let standing = self.controller.standing();
                look(&View {
                    now: self.clock.now(),
                    clerk: &standing.desk,
                    standing,
                    ceilings: &self.ceilings,
                });
            }
            Heard::Over(job, call) => {
                if self.is_over(job) {
                    self.act(Act::Call(call));
                } else {
                    self.waiting.entry(job).or_default().push(call);
                }
            }
            Heard::Read(host, (path, from, user), reader) => {
                self.next_reply += 1;
                let number = self.next_reply;
                self.readers.insert(number, (host, reader));
                if self.readers.len() > MOST_READ {
                    self.readers.pop_first();
                }
                self.perform(Act::Send(host, ToHost::Read(Reading { number, path, from, user })));
            }
            Heard::Tell(host, what) => self.perform(Act::Send(host, what)),
            Heard::Returns(returns) => self.returns = Some(returns),
            Heard::Persisted(upto) => {
                for act in self.outbox.persisted(upto) {
                    self.perform(act);
                }
            }
            Heard::Stop => {}
        }
    }

    fn host_said(&mut self, host: HostId, said: FromHost) {
        match said {
            FromHost::Agent(said) => self.input(Input::Agent(host, said)),
            FromHost::Foreman(said) => self.input(Input::Foreman(host, said)),
            FromHost::Remote(remote) => {
                let act = match asked_of(self.controller.standing(), host, &remote) {
                    Ok(other) => Act::Send(other, ToHost::Remote(remote)),
                    Err(why) => {
                        let (id, number, how) = (remote.id, remote.number, RemoteState::Refused(why));
                        Act::Send(host, ToHost::RemoteSaid(RemoteSaid { id, number, how }))
                    }
                };
                self.act(act);
            }
            FromHost::Hosts(id) => {
                let shares = shares(self.controller.standing(), host, id).unwrap_or_default();
                self.act(Act::Send(host, ToHost::Hosts(id, shares)));
            }
            FromHost::Piece(piece) => {
                if self.readers.get(&piece.number).is_some_and(|(asked, _)| *asked == host)
                    && let Some((_, reader)) = self.readers.remove(&piece.number)
                {
                    reader(piece.what);
                }
            }
            FromHost::Output(sent) => self.output(host, sent),
            FromHost::Delivered(delivered) => self.delivered(host, delivered),
            FromHost::Measured(ceilings) => drop(self.ceilings.insert(host, ceilings)),
            FromHost::RemoteSaid(said) => {
                let open = self.controller.standing().attempt(said.id);
                let batch = open.filter(|open| open.parts.contains_key(&host)).map(Open::batch);
                batch
                    .into_iter()
                    .for_each(|batch| self.act(Act::Send(batch, ToHost::RemoteSaid(said.clone()))));
            }
        }
    }

    /// A host sends output: of an attempt that it is the batch host of, or nobody wants it any more.
    fn output(&mut self, host: HostId, sent: Sent) {
        let open = self.controller.standing().attempt(sent.stream.0);
        if open.is_some_and(|open| open.batch() == host) {
            self.hear_output(returns::Heard::Sent(host, sent));
        } else {
            let had = Had { stream: sent.stream, upto: 0, whole: true };
            self.act(Act::Send(host, ToHost::Had(had)));
        }
    }

    /// A host has written output of a job that was submitted there.
    fn delivered(&mut self, host: HostId, delivered: Delivered) {
        let stream = delivered.had.stream;
        let open = self.controller.standing().open.get(&stream.0.run);
        let outlived = open.is_some_and(|open| open.begun.id.attempt > stream.0.attempt);
        self.hear_output(match outlived {
            true => returns::Heard::Outlived(stream),
            false => returns::Heard::Delivered(host, delivered),
        });
    }

    fn hear_output(&self, heard: returns::Heard) {
        if let Some(returns) = &self.returns {
            // What there is no room for is lost, and said again.
            drop(returns.try_send(heard));
        }
    }

    fn is_over(&self, job: JobId) -> bool {
        self.controller.standing().desk.books().job(job).is_none_or(|job| job.ended().is_some())
    }

    fn input(&mut self, input: Input<Ask>) {
        let outputs: Outputs<Clerk> = self.controller.handle(self.clock.now(), input);
        for output in outputs {
            match output {
                Output::Persist(entries) => self.persist(&entries),
                Output::Send(host, message) => self.act(Act::Send(host, ToHost::Agent(message))),
                Output::Tell(host, message) => self.act(Act::Send(host, ToHost::Foreman(message))),
                Output::Reply(client, answer) => self.act(Act::Reply(client, answer)),
                Output::Wake(at) => self.wake = Some(at),
            }
        }
    }

    fn persist(&mut self, entries: &[Entry<Event>]) {
        let records: Vec<Vec<u8>> = entries.iter().map(|entry| Format::Journal.encode(entry)).collect();
        let rows = accounting::rows(self.controller.standing(), entries);
        let over: Vec<JobId> = rows
            .iter()
            .filter_map(|row| match row {
                accounting::Row::Over(job, ..) => Some(*job),
                _ => None,
            })
            .collect();
        self.since_snapshot += records.len() as u64;
        self.records += records.len() as u64;
        self.outbox.wrote(records.len() as u64);
        if self.since_snapshot >= RECORDS_A_SNAPSHOT {
            self.snapshot(records, rows);
        } else {
            let _ = self.write.send(Batch { records, rows, snapshot: None });
        }
        for job in over {
            for call in self.waiting.remove(&job).into_iter().flatten() {
                self.act(Act::Call(call));
            }
        }
    }

    fn snapshot(&mut self, records: Vec<Vec<u8>>, rows: Vec<accounting::Row>) {
        self.since_snapshot = 0;
        let snapshot = Some(Format::Journal.encode(self.controller.standing()));
        let _ = self.write.send(Batch { records, rows, snapshot });
    }

    fn act(&mut self, act: Act) {
        for act in self.outbox.push(act) {
            self.perform(act);
        }
    }

    fn perform(&mut self, act: Act) {
        match act {
            Act::Send(host, message) => {
                if let Some(line) = self.lines.get(&host) {
                    line(message);
                }
            }
            Act::Reply(client, answer) => {
                if let Some(reply) = self.replies.remove(&client) {
                    reply(answer);
                }
            }
            Act::Call(call) => call(),
        }
    }
}

/// Whose turn it is to start a process that the host `from` wants: another host of the job whose script runs on it.
fn asked_of(standing: &Standing<Clerk>, from: HostId, remote: &Remote) -> Result<HostId, String> {
    let open = standing.attempt(remote.id).filter(|open| open.batch() == from && open.cause.is_none());
    let open = open.ok_or_else(|| format!("job {} does not run on this host any more", remote.id.run))?;
    let hosts = standing.desk.books().hosts();
    let named = |host: &HostId| hosts.get(host.0 as usize).is_some_and(|known| known.name == remote.host);
    let found = open.live_hosts().find(named);
    found.ok_or_else(|| format!("{} is no host of job {}", remote.host, remote.id.run))
}

/// What an attempt has of each of its hosts, for a foreman on its batch host; none for any other, or when it is over.
fn shares(standing: &Standing<Clerk>, from: HostId, id: AttemptId) -> Option<Vec<HostShare>> {
    let open = standing.attempt(id).filter(|open| open.batch() == from)?;
    let run = standing.desk.books().run(id.run)?;
    let parts = &run.state.placed()?.on.allocation.parts;
    let hosts = standing.desk.books().hosts();
    let share = |place: &Place| {
        let part = parts.iter().find(|part| part.host == place.host)?;
        let name = hosts.get(place.host.0 as usize)?.name.clone();
        Some(HostShare { host: place.host, name, tasks: part.tasks })
    };
    Some(open.begun.places.iter().filter_map(share).collect())
}

/// Writes batches as they come, all that wait at once, until there are no more.
fn write_all(mut journal: Journal, batches: &Receiver<Batch>, engine: &Engine) {
    let before = journal.records();
    while let Ok(first) = batches.recv() {
        let group: Vec<Batch> = std::iter::once(first).chain(batches.try_iter()).collect();
        while let Err(error) = journal.write(&group) {
            if !engine.stalled.swap(true, Ordering::Relaxed) {
                eprintln!(
                    "muster: the journal cannot be written ({error}): nothing is taken until it can; make room on its disk"
                );
            }
            std::thread::sleep(TRY_AGAIN);
        }
        if engine.stalled.swap(false, Ordering::Relaxed) {
            eprintln!("muster: the journal can be written again; nothing was lost");
        }
        if engine.say(Heard::Persisted(journal.records() - before)).is_err() && batches.is_empty() {
            return;
        }
    }
}
