//! The agent's shell: performs what the agent (a value of the core) says, in order, and tells it what happens.
//!
//! Invariants: one thread decides; nothing is waited for but messages and the time that the agent asked for; what an
//! attempt runs is fetched aside, so that the lease is kept meanwhile.

use super::clock;
use super::complaint::complain;
use super::devices::Device;
use super::door::{Door, Guest};
use super::errand::{Errand, FromProcess, Wish};
use super::gpus;
use super::groups::{self, Groups};
use super::guise::Users;
use super::hooks::Site;
use super::jobs::{self, FromJob, Jobs, ToJob};
use super::larder::Larder;
use super::prepare::{self, mark};
use super::programs;
use super::reading;
use super::returned::Returned;
use super::roll;
use super::roster::{self, Roster, Waiting};
use super::scout;
use super::spool::{self, Spool};
use super::surveyor::Surveyor;
use super::unsent::Unsent;
use super::{AgentConfig, Payloads};
use crossbeam_channel::{Receiver, Sender, after, bounded, select, unbounded};
use muster_core::ceilings::Ceilings;
use muster_core::job::outcome::Outcome;
use muster_core::job::usage::Usage;
use muster_core::plan::HostShape;
use muster_core::protocol::agent::{Agent, AgentInput, AgentOutput, Found};
use muster_core::protocol::clerk::Launch;
use muster_core::protocol::format::Format;
use muster_core::protocol::line::{FromHost, ToHost};
use muster_core::protocol::message::{self, Ended, Ending, FromShepherd, Start, ToController, ToShepherd};
use muster_core::protocol::output::Delivery;
use muster_core::protocol::probe::{Finding, ProbeId};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What happens on this host.
pub(super) enum Event {
    /// A shepherd's process has come in.
    Joined(Guest),
    /// It speaks.
    Said(u32, FromProcess),
    /// It is dead.
    Gone(u32),
    /// No process of an attempt is left.
    Cleared(AttemptId),
    /// The pool has all of the output of an attempt.
    AllSent(AttemptId),
    /// The spool did not take what was to begin.
    Unnoted(AttemptId),
    /// Input files were looked for.
    Probed(ProbeId, Finding),
    /// What this host can do at most was measured, or that had to give way.
    Measured(Option<Ceilings>),
    /// What a blob holds, or why nobody knows.
    Fetched(Wish, Result<Vec<u8>, String>),
    /// A process of a job has come in.
    JobJoined(u64, UnixStream),
    /// It speaks.
    JobSaid(u64, FromJob),
    /// It is gone.
    JobGone(u64),
}

/// Where the agent is.
struct Here<'a> {
    state: PathBuf,
    host: &'a str,
    site: &'a Site,
    shape: HostShape,
    /// Its cards, in the order of their numbers.
    cards: Vec<Device>,
}

struct Shell<'a> {
    here: Here<'a>,
    agent: Agent,
    spool: Spool,
    roster: Roster,
    send: &'a Sender<FromHost>,
    jobs: Jobs,
    events: Sender<Event>,
    larder: Larder,
    /// Jobs whose input files the scout shall look for.
    scout: Sender<(ProbeId, Vec<u8>)>,
    inputs: VecDeque<AgentInput>,
    wake: Time,
    /// The groups of attempts whose shepherd is dead.
    orphans: BTreeMap<AttemptId, Vec<PathBuf>>,
    unsent: Unsent,
    surveyor: Surveyor,
    /// Output of jobs that were submitted here.
    returns: Sender<Delivery>,
}

/// Runs the agent until `stop` hears something or its other end goes; blocking. Shepherds and what they hold go on.
///
/// # Errors
/// What keeps it from running: another agent of this state directory, a directory that cannot be written, a host
/// without a usable CPU.
pub fn run(
    config: &AgentConfig,
    payloads: &dyn Payloads,
    send: &Sender<FromHost>,
    hear: &Receiver<ToHost>,
    stop: &Receiver<()>,
) -> Result<(), String> {
    let _rule = roll::rule(&config.state)?;
    let path = |e| format!("cannot use {}: {e}", config.state.display());
    let state = config.state.canonicalize().map_err(path)?;
    let (spool, shape) = (Spool::open(&state, clock::boot()?)?, crate::topology::discover()?);
    if config.site.users == Users::All {
        open_to_all(&state)?;
    }
    let groups = Groups::make(&prepare::tag(&state));
    roll::tell_groups(&state, &groups)?;
    complain("agent", format!("host {}: {}", config.host, groups.describe()));
    let (events, happen) = unbounded();
    let (wanted, wants) = unbounded();
    std::thread::scope(|scope| {
        let (fetched, at) = (events.clone(), &state);
        scope.spawn(move || {
            for wish in wants {
                let _ = fetched.send(Event::Fetched(wish, programs::fetch(at, payloads, wish)));
            }
        });
        let (scout, asked) = unbounded();
        let told = events.clone();
        scope.spawn(move || {
            let tell = |id, finding| drop(told.send(Event::Probed(id, finding)));
            scout::look((config, at), payloads, &asked, tell);
        });
        let unsent = Unsent::open(&state, send.clone(), events.clone())?;
        let returns = take_back(Returned::open(&state, config.site.users)?, send.clone());
        let mut roster = Roster::new(&config.program, &state, events.clone());
        let expected = roll::living(&state);
        expected.iter().for_each(|pid| roster.watch(*pid));
        let surveyor = Surveyor::open(&state, &shape, events.clone());
        let cards = gpus::devices(Path::new("/"));
        let doors = [
            Door::of_shepherds(&state, events.clone())?,
            jobs::open(&state, config.site.users, events.clone())?,
        ];
        let mut shell = Shell {
            here: Here { state: state.clone(), host: &config.host, site: &config.site, shape, cards },
            agent: Agent::new(config.rules, spool.life()),
            spool,
            roster,
            send,
            jobs: Jobs::default(),
            events,
            larder: Larder::new(wanted, &state),
            scout,
            inputs: VecDeque::new(),
            wake: clock::now(),
            orphans: BTreeMap::new(),
            unsent,
            surveyor,
            returns,
        };
        shell.gather(expected.into_iter().collect(), &happen, config.rules.kill_ms);
        shell.serve(&happen, hear, stop);
        shell.close(doors, &happen, config.rules.kill_ms);
        groups.remove();
        Ok(())
    })
}

/// Lets users' processes pass to what is theirs under the state directory; all else there is root's alone.
fn open_to_all(state: &Path) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            "jobs of many users run with each user's rights, and only root can give them: start it as root"
                .into(),
        );
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let told = |e: std::io::Error| format!("cannot prepare {}: {e}", state.display());
    spool::lock_up(state).map_err(told)?;
    for folder in ["", "spool", "jobs", "programs", "work"] {
        spool::passage(&state.join(folder)).map_err(told)?;
    }
    Ok(())
}

impl Shell<'_> {
    /// Waits until every process that lives has come to the door, and takes stock.
    fn gather(&mut self, mut expected: BTreeSet<u32>, happen: &Receiver<Event>, most_ms: i64) {
        let end = Instant::now() + Duration::from_millis(most_ms.unsigned_abs());
        while !expected.is_empty() {
            match happen.recv_deadline(end) {
                Ok(event) => {
                    if let Event::Joined(Guest { pid, .. }) | Event::Gone(pid) = &event {
                        expected.remove(pid);
                    }
                    self.happened(event);
                }
                // As good as dead, and soon dead: what it held is cared for below.
                Err(_) => {
                    for pid in std::mem::take(&mut expected) {
                        complain("agent", format!("the shepherd of process {pid} does not come and ends"));
                        roster::kill(pid);
                    }
                }
            }
        }
        let held = self.roster.held();
        self.spool.hear(|pid| self.roster.has(pid));
        for id in self.unsent.all().into_iter().filter(|id| !held.contains(id)) {
            match self.spool.saved(id) {
                Some(ending) => self.unsent.ends(id, end_of(id, Box::new(ending))),
                None => self.unsent.forget(id),
            }
        }
        let found = |id: AttemptId| match self.spool.saved(id) {
            _ if held.contains(&id) => Found::Shepherd,
            // It is heard of when its output is sent.
            Some(_) if self.unsent.has(id) => Found::Shepherd,
            Some(ending) => Found::Outcome(Box::new(ending)),
            None => Found::Nothing,
        };
        let all: BTreeSet<AttemptId> = self.spool.held().into_iter().chain(held.iter().copied()).collect();
        let found = all.into_iter().map(|id| (id, found(id))).collect();
        // What was said before is said again to those who adopt.
        self.inputs = VecDeque::from([AgentInput::Begin(found)]);
    }

    fn serve(&mut self, happen: &Receiver<Event>, hear: &Receiver<ToHost>, stop: &Receiver<()>) {
        loop {
            self.settle();
            self.roster.say_all();
            let now = clock::now();
            let wait = Duration::from_millis((self.wake.0.saturating_sub(now.0)).max(0).unsigned_abs());
            let wait = self.survey().map_or(wait, |rest| rest.min(wait));
            select! {
                recv(happen) -> event => {
                    let more = happen.try_iter().take(MOST_AT_ONCE);
                    event.into_iter().chain(more).for_each(|event| self.happened(event));
                }
                recv(hear) -> message => match message {
                    Ok(message) => self.told(message),
                    Err(_) => return,
                },
                recv(stop) -> _ => return,
                recv(after(wait)) -> _ => {
                    self.roster.thin_out(clock::now());
                    self.inputs.push_back(AgentInput::Woken);
                }
            }
        }
    }

    /// Has this host measured when nothing runs on it; how long until that is to be looked at again.
    fn survey(&mut self) -> Option<Duration> {
        if self.roster.is_quiet() {
            return self.surveyor.rest(&self.here.shape);
        }
        self.surveyor.give_way();
        None
    }

    /// Closes the doors and lets go of what is idle; what runs goes on.
    fn close(self, doors: [Door; 2], happen: &Receiver<Event>, most_ms: i64) {
        drop(doors);
        let end = Instant::now() + Duration::from_millis(most_ms.unsigned_abs());
        let Shell { roster, here: Here { state, .. }, .. } = self;
        let mut leaving = roster.close();
        while !leaving.is_empty() {
            match happen.recv_deadline(end) {
                Ok(Event::Gone(pid)) => {
                    if leaving.remove(&pid) {
                        groups::clear(&roll::strike(&state, pid));
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            for output in self.agent.handle(clock::now(), input) {
                self.perform(output);
            }
        }
    }

    /// The pool speaks.
    fn told(&mut self, message: ToHost) {
        match message {
            ToHost::Agent(message) => self.inputs.push_back(AgentInput::Controller(message)),
            ToHost::Foreman(said) => self.jobs.tell(said.step(), &ToJob::Foreman(said)),
            ToHost::Hosts(id, shares) => self.jobs.tell_all(id, &ToJob::Hosts(shares)),
            ToHost::Remote(remote) => self.roster.remote(remote),
            ToHost::RemoteSaid(said) => self.jobs.hear(said),
            ToHost::Had(had) => self.unsent.had(had),
            // What there is no room for is lost, and said again.
            ToHost::Deliver(delivery) => drop(self.returns.try_send(delivery)),
            // Aside: its disk may be slow.
            ToHost::Read(what) => {
                let (send, users) = (self.send.clone(), self.here.site.users);
                std::thread::spawn(move || send.send(FromHost::Piece(reading::read(&what, users))));
            }
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Joined(guest) => self.roster.join(guest, &mut self.spool),
            Event::Said(pid, FromProcess::Said(id, what)) => {
                if let FromShepherd::Ended(_) = what {
                    self.roster.over(pid, id, &mut self.spool);
                    if self.unsent.has(id) {
                        return self.unsent.ends(id, vec![AgentInput::Shepherd(id, what)]);
                    }
                }
                self.inputs.push_back(AgentInput::Shepherd(id, what));
            }
            Event::Said(_, FromProcess::Unsent(id)) => self.unsent.begins(id),
            Event::Unnoted(id) => {
                let why = "the spool does not take it (free space on the disk of the state directory)";
                self.cannot_start(id, why);
            }
            Event::AllSent(id) => self.inputs.extend(self.unsent.all_sent(id)),
            Event::Said(pid, FromProcess::Left(id)) => {
                self.roster.left(pid, id);
                self.inputs.push_back(AgentInput::ShepherdDied(id));
            }
            Event::Said(_, FromProcess::RemoteSaid(said)) => {
                let _ = self.send.send(FromHost::RemoteSaid(said));
            }
            Event::Said(_, FromProcess::Resize(id, hosts)) => self.jobs.resize(id, hosts),
            Event::Said(_, FromProcess::Hello { .. }) => {}
            Event::JobJoined(number, stream) => self.jobs.join(number, stream),
            Event::JobSaid(number, FromJob::Remote(remote)) => {
                self.jobs.ask(number, &remote);
                let _ = self.send.send(FromHost::Remote(remote));
            }
            Event::JobSaid(number, FromJob::IsForeman(step, pid)) => {
                self.jobs.is_foreman(number, (step, pid))
            }
            Event::JobSaid(_, FromJob::Foreman(said)) => drop(self.send.send(FromHost::Foreman(said))),
            Event::JobSaid(_, FromJob::Hosts(id)) => drop(self.send.send(FromHost::Hosts(id))),
            Event::JobGone(number) => {
                self.jobs.leave(number);
                self.close_steps();
            }
            Event::Gone(pid) => self.gone(pid),
            Event::Cleared(id) => {
                match self.unsent.has(id) {
                    true => self.unsent.ends(id, vec![AgentInput::GroupGone(id)]),
                    false => self.inputs.push_back(AgentInput::GroupGone(id)),
                }
                self.roster.cleared(id);
                self.begin_freed();
            }
            Event::Measured(found) => {
                self.surveyor.measured(found);
                self.tell_ceilings();
            }
            Event::Probed(id, finding) => self.inputs.push_back(AgentInput::Probed(id, finding)),
            Event::Fetched(wish, payload) => self.fetched(wish, payload),
        }
    }

    /// A shepherd's process is dead. What it had saved counts, though it may not have told.
    fn gone(&mut self, pid: u32) {
        let gone = self.roster.gone(pid);
        let folders = roll::strike(&self.here.state, pid);
        self.spool.bury(pid);
        let died = gone.over.into_iter().filter_map(|id| self.unsent.hold(id, AgentInput::ShepherdDied(id)));
        self.inputs.extend(died);
        let (mut left, mut before) = (Some(folders), None);
        for (id, next) in gone.held {
            match (self.spool.saved(id), next, before) {
                (Some(saved), ..) => {
                    match self.unsent.has(id) {
                        true => self.unsent.ends(id, end_of(id, Box::new(saved))),
                        false => self.inputs.extend(end_of(id, Box::new(saved))),
                    }
                    continue;
                }
                // It did not begin: what was before it there is not over.
                (_, Some(next), Some(before)) => self.roster.put_behind(next, before),
                // Cleared aside, as that may take a while.
                _ => {
                    self.orphans.insert(id, left.take().unwrap_or_default());
                    self.roster.ends(id);
                    self.inputs.push_back(AgentInput::ShepherdDied(id));
                }
            }
            before = Some(id);
        }
        left.iter().for_each(|folders| groups::clear(folders));
        if let Some(id) = gone.unborn {
            let why = "its shepherd ended before it began (shepherd.log in the state directory says why)";
            self.cannot_start(id, why);
        }
    }

    fn perform(&mut self, output: AgentOutput) {
        match output {
            AgentOutput::Send(message) => {
                let begins = matches!(message, ToController::Hello { .. });
                let _ = self.send.send(FromHost::Agent(message));
                self.close_steps();
                if begins {
                    self.tell_ceilings();
                }
            }
            // It is noted when a process is handed it: what nobody was handed has not begun, and is not lost with the agent.
            AgentOutput::Note(_) => {}
            AgentOutput::Launch(start, lease) => self.launch(start, lease),
            AgentOutput::Probe(id, what) => drop(self.scout.send((id, what))),
            AgentOutput::Tell(id, what) => self.tell(id, what),
            AgentOutput::KillGroup(id) => {
                let (folders, mark) =
                    (self.orphans.remove(&id).unwrap_or_default(), mark(&self.here.state, id));
                let events = self.events.clone();
                std::thread::spawn(move || {
                    groups::clear(&folders);
                    mark.end_all();
                    let _ = events.send(Event::Cleared(id));
                });
            }
            AgentOutput::Unnote(id) => {
                self.orphans.remove(&id);
                self.jobs.forget(id);
                let _ = std::fs::remove_dir_all(jobs::folder(&self.here.state, id));
                self.unsent.forget(id);
                self.spool.remove(id);
            }
            AgentOutput::Wake(at) => self.wake = at,
        }
    }

    /// Says again which steps have no foreman any more: it may have been lost.
    fn close_steps(&self) {
        self.jobs.close().for_each(|close| drop(self.send.send(FromHost::Foreman(close))));
    }

    fn tell_ceilings(&self) {
        let _ = self.surveyor.known().map(|known| self.send.send(FromHost::Measured(known)));
    }

    fn launch(&mut self, start: Start, lease: Time) {
        self.surveyor.give_way();
        let id = start.id;
        match self.errand(start, lease) {
            Ok(errand) => {
                let waiting = self.larder.serve(errand);
                waiting.into_iter().for_each(|waiting| self.begin(waiting));
            }
            Err(why) => self.cannot_start(id, &why),
        }
    }

    fn errand(&self, start: Start, lease: Time) -> Result<Errand, String> {
        let launch: Launch = Format::Message.decode(&start.launch).map_err(|e| e.to_string())?;
        let blob = launch.spec.payload.ok_or("the job does not say what it runs")?;
        let program = launch.spec.program;
        let mine = prepare::part(&launch, self.here.host).filter(|_| self.here.shape.real);
        // Where somebody has told of other cards than there are, nobody knows which is which.
        let cards = Some(&self.here.cards).filter(|cards| cards.len() == self.here.site.gpus as usize);
        let given = prepare::part(&launch, self.here.host).map_or(0, |part| part.gpus);
        let denied = cards.into_iter().flatten().enumerate().take(64).filter(|(at, _)| given >> at & 1 == 0);
        let denied = denied.map(|(_, device)| *device).collect();
        let within = mine.map(|part| part.within(&self.here.shape));
        let cpus = within.into_iter().flat_map(|host| host.domains).flat_map(|domain| domain.cores);
        let (host, site) = (self.here.host.to_owned(), self.here.site.clone());
        let cpus = cpus.collect();
        Ok(Errand { start, lease, blob, program, payload: None, cpus, denied, host, site, told: Vec::new() })
    }

    /// Has begun what waited for something that is over, and has no process.
    fn begin_freed(&mut self) {
        self.roster.freed().into_iter().for_each(|waiting| self.begin(waiting));
    }

    fn begin(&mut self, waiting: Waiting) {
        if let Err((id, why)) = self.roster.begin(waiting, &mut self.spool) {
            self.cannot_start(id, &why);
        }
    }

    fn fetched(&mut self, wish: Wish, payload: Result<Vec<u8>, String>) {
        match payload {
            Ok(payload) => {
                self.larder.store(wish, payload).into_iter().for_each(|waiting| self.begin(waiting));
            }
            Err(why) => {
                let why = format!("what it runs cannot be fetched: {why}");
                self.larder.give_up(wish).into_iter().for_each(|id| self.cannot_start(id, &why));
            }
        }
    }

    /// Tells a shepherd, or does what one would do for an attempt that has none yet.
    fn tell(&mut self, id: AttemptId, what: ToShepherd) {
        if let ToShepherd::Kill | ToShepherd::Notice(_) = what {
            // It is over: whoever wants it to end shall not wait for what it has written.
            self.inputs.extend(self.unsent.let_go(id));
        }
        if self.roster.tell(id, what.clone()) {
            return;
        }
        let Some(errand) = self.larder.waiting(id).or_else(|| self.roster.queued(id)) else { return };
        match what {
            ToShepherd::Extend(until) => errand.lease = until.max(errand.lease),
            // Nothing of it has begun: there is nothing to save.
            ToShepherd::Kill | ToShepherd::Notice(_) => {
                self.larder.take_back(id);
                self.roster.take_back(id);
                self.ends(id, Ended::Killed, None);
                self.begin_freed();
            }
            ToShepherd::Suspend(_) | ToShepherd::Resume(_) | ToShepherd::Resize(_) => errand.told.push(what),
            ToShepherd::Adopt | ToShepherd::Forget => {}
        }
    }

    /// This host could not start it: another may.
    fn cannot_start(&mut self, id: AttemptId, why: &str) {
        complain("agent", format!("job {id} cannot start here: {why}"));
        self.ends(id, Ended::Exited(Outcome::NotStarted), Some(why.to_owned()));
        self.begin_freed();
    }

    /// An attempt has ended without a shepherd.
    fn ends(&mut self, id: AttemptId, ended: Ended, why: Option<String>) {
        let why = why.as_deref().map(message::reason);
        let ending = Ending { how: ended, usage: Usage::default(), why };
        let _ = self.spool.save(id, &ending);
        self.inputs.extend(end_of(id, Box::new(ending)));
    }
}

/// What the agent hears of an attempt that has ended and has no shepherd.
fn end_of(id: AttemptId, ending: Box<Ending>) -> Vec<AgentInput> {
    vec![AgentInput::Shepherd(id, FromShepherd::Ended(ending)), AgentInput::ShepherdDied(id)]
}

/// How many things that have happened are looked at before what they lead to is done.
const MOST_AT_ONCE: usize = 64;
/// How many pieces of output may wait until they are written.
const MOST_RETURNS: usize = 64;

/// Writes output that comes back, aside: disks may be slow.
fn take_back(mut returned: Returned, send: Sender<FromHost>) -> Sender<Delivery> {
    let (returns, deliveries) = bounded::<Delivery>(MOST_RETURNS);
    std::thread::spawn(move || {
        for delivery in deliveries {
            let _ = send.send(FromHost::Delivered(returned.take(&delivery)));
        }
    });
    returns
}
