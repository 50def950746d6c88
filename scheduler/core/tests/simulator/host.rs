//! A host: its agent, its shepherds, its spool, and what runs.
//!
//! What the real host must guarantee is what is modelled here: messages between agent and shepherd arrive in order; a
//! kill works within the time allowed for it; no process outlives both its shepherd and the agent.

use crate::checks::{FILE, Held, has_file, usage};
use crate::clock::Clock;
use crate::office::{Office, step_name};
use crate::random::Random;
use crate::spec::Spec;
use crate::world::{Event, KILLED, World};
use muster_core::cluster::Bits;
use muster_core::job::inputs::{Found as Cut, Lack};
use muster_core::job::outcome::Outcome;
use muster_core::job::usage::Usage;
use muster_core::protocol::agent::{Agent, AgentInput, AgentOutput, Found};
use muster_core::protocol::clerk::Launch;
use muster_core::protocol::foreman::ForemanInput;
use muster_core::protocol::format::Format;
use muster_core::protocol::inputs::LookFor;
use muster_core::protocol::message::{Conduct, Ended, Ending, FromShepherd, Role, ToAgent, ToShepherd};
use muster_core::protocol::probe::ProbeId;
use muster_core::protocol::shepherd::{Shepherd, ShepherdInput, ShepherdOutput};
use muster_core::protocol::stamp::{AttemptId, Boot};
use muster_core::time::Time;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Host {
    pub(crate) clock: Clock,
    ppm: i64,
    /// Which life it has, when it is up.
    pub(crate) boot: Option<u64>,
    agent: Option<Agent>,
    life: u32,
    wake: (Time, u64),
    spool: BTreeMap<AttemptId, Option<Box<Ending>>>,
    pub(crate) shepherds: BTreeMap<AttemptId, Herd>,
    /// What each follows that was told ahead and has not begun.
    after: BTreeMap<AttemptId, AttemptId>,
    /// What the spool says no end of, and nothing is left of: its group was killed.
    gone: BTreeSet<AttemptId>,
    /// When the last message on this host arrives: they keep their order.
    local: i64,
}

/// A shepherd and what it was told to hold.
pub(crate) struct Herd {
    machine: Shepherd,
    pub(crate) spec: Spec,
    /// The cores that it was given.
    cores: Bits,
    role: Role,
    wake: (Time, u64),
    /// Whether anything of it has run.
    ran: bool,
    /// The number of the exit that is under way, and when it comes; how long it still runs while it is stopped.
    exit: (u32, i64),
    /// The number under which it is to stop.
    stop: Option<u32>,
    pub(crate) office: Option<Office>,
}

impl Host {
    pub(crate) fn new(random: &mut Random, ppm: i64) -> Self {
        Host {
            clock: Clock::new(random, ppm),
            ppm,
            boot: None,
            agent: None,
            life: 0,
            wake: (Time::NEVER, 0),
            spool: BTreeMap::new(),
            shepherds: BTreeMap::new(),
            after: BTreeMap::new(),
            gone: BTreeSet::new(),
            local: 0,
        }
    }

    /// Whether it is up and holds nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.agent.is_some() && self.spool.is_empty() && self.shepherds.is_empty()
    }
}

impl World {
    pub(crate) fn host_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::HostStart { host } => self.start_host(host),
            Event::AgentStart { host } => return self.start_agent(host),
            Event::ToAgent { host, bytes } => {
                let message: ToAgent = Format::Message.decode(&bytes).map_err(|error| error.to_string())?;
                self.mix_bytes(&bytes);
                return self.agent_hears(host, AgentInput::Controller(message));
            }
            Event::AgentWake { host, life, number } => {
                let known = &mut self.hosts[host];
                if known.life == life && known.wake.1 == number {
                    known.wake = (Time::NEVER, number + 1);
                    return self.agent_hears(host, AgentInput::Woken);
                }
            }
            Event::Agent { host, life, input } if self.hosts[host].life == life => {
                return self.agent_hears(host, input);
            }
            Event::Shepherd { host, boot, id, input } if self.hosts[host].boot == Some(boot) => {
                return self.shepherd_hears(host, id, input);
            }
            Event::ShepherdWake { host, boot, id, number } if self.hosts[host].boot == Some(boot) => {
                if let Some(herd) = self.hosts[host].shepherds.get_mut(&id).filter(|h| h.wake.1 == number) {
                    herd.wake = (Time::NEVER, number + 1);
                    return self.shepherd_hears(host, id, ShepherdInput::Woken);
                }
            }
            Event::Probed { host, life, id, what } if self.hosts[host].life == life => {
                return self.probe_ends(host, id, &what);
            }
            Event::Exit { host, boot, id, number } if self.hosts[host].boot == Some(boot) => {
                let herd = self.hosts[host].shepherds.get(&id);
                if herd.is_none_or(|herd| herd.exit.0 == number) {
                    return self.exits(host, id, Outcome::Completed);
                }
            }
            Event::Stopped { host, boot, id, number } if self.hosts[host].boot == Some(boot) => {
                return self.is_stopped(host, id, number);
            }
            Event::Saved { host, boot, id }
                if self.hosts[host].boot == Some(boot) && !self.checks.is_stopped(id, host) =>
            {
                return self.exits(host, id, Outcome::Signalled(15));
            }
            Event::Killed { host, boot, id } if self.hosts[host].boot == Some(boot) => {
                return self.is_killed(host, id);
            }
            Event::GroupKilled { host, boot, life, id } if self.hosts[host].boot == Some(boot) => {
                self.checks.running.remove(&(id, host));
                self.hosts[host].gone.insert(id);
                self.move_up(host, id);
                if self.hosts[host].life == life {
                    return self.agent_hears(host, AgentInput::GroupGone(id));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What runs comes to its own end.
    pub(crate) fn exits(&mut self, host: usize, id: AttemptId, outcome: Outcome) -> Result<(), String> {
        if self.checks.running.remove(&(id, host)).is_none() {
            return Ok(());
        }
        self.checks.ends_in_time(id, host, self.rules)?;
        self.say(|| format!("host {host}: {id} comes to its end: {outcome:?}"));
        if outcome == Outcome::Completed {
            self.checks.finished.insert(id);
        }
        self.shepherd_hears(host, id, ShepherdInput::Exited(outcome))
    }

    /// All processes of something are stopped.
    fn is_stopped(&mut self, host: usize, id: AttemptId, number: u32) -> Result<(), String> {
        let now = self.now;
        let runs = self.checks.running.contains_key(&(id, host));
        let Some(herd) = self.hosts[host].shepherds.get_mut(&id) else { return Ok(()) };
        if herd.stop != Some(number) || !runs {
            return Ok(());
        }
        if !self.checks.is_stopped(id, host) {
            herd.exit = (herd.exit.0 + 1, herd.exit.1 - now);
            self.checks.stopped.insert((id, host));
            self.say(|| format!("host {host}: {id} is stopped"));
        }
        self.shepherd_hears(host, id, ShepherdInput::Stopped(number))
    }

    /// The processes of something go on.
    fn goes_on(&mut self, host: usize, id: AttemptId) -> Result<(), String> {
        let (now, boot) = (self.now, self.hosts[host].boot.unwrap_or(0));
        let Some(herd) = self.hosts[host].shepherds.get_mut(&id) else { return Ok(()) };
        herd.stop = None;
        if !self.checks.is_stopped(id, host) {
            return Ok(());
        }
        let left = herd.exit.1;
        herd.exit.1 += now;
        let (number, batch) = (herd.exit.0, herd.role == Role::Batch);
        let script = batch && herd.spec.conduct != Conduct::Fenced;
        let asleep = herd.office.as_mut().map_or(Vec::new(), |office| std::mem::take(&mut office.asleep));
        self.say(|| format!("host {host}: {id} goes on"));
        asleep.into_iter().for_each(|event| self.after(0, event));
        if script {
            self.after(left, Event::Exit { host, boot, id, number });
        }
        self.checks.goes_on(id, host)
    }

    fn is_killed(&mut self, host: usize, id: AttemptId) -> Result<(), String> {
        if self.checks.running.remove(&(id, host)).is_none() {
            return Ok(());
        }
        self.checks.ends_in_time(id, host, self.rules)?;
        self.say(|| format!("host {host}: {id} is dead"));
        self.shepherd_hears(host, id, ShepherdInput::Exited(KILLED))
    }

    /// What was looked for is there as it was asked for, or is not there.
    fn probe_ends(&mut self, host: usize, id: ProbeId, what: &[u8]) -> Result<(), String> {
        let what: LookFor = Format::Message.decode(what).map_err(|error| error.to_string())?;
        let spec = Spec::of(&what.spec, &what.owner);
        let finding = if has_file(id.job, host, self.hosts.len()) {
            let (class, bytes) = ("exact".into(), u64::from(spec.blocks));
            Ok(Cut { spec: step_name(id.job), class, blocks: spec.blocks, files: 1, bytes, print: [0; 16] })
        } else {
            Err(Lack::Missing(FILE.into()))
        };
        self.say(|| format!("host {host}: looks for the file of {id:?}: {finding:?}"));
        self.agent_hears(host, AgentInput::Probed(id, finding))
    }

    fn start_host(&mut self, host: usize) {
        if self.hosts[host].boot.is_some() {
            return;
        }
        let boot = self.random.next();
        self.say(|| format!("host {host} starts"));
        let known = &mut self.hosts[host];
        known.boot = Some(boot);
        known.clock = Clock::new(&mut self.random, known.ppm);
        let delay = self.random.between(0, 3_000);
        self.after(delay, Event::AgentStart { host });
    }

    fn start_agent(&mut self, host: usize) -> Result<(), String> {
        let rules = self.rules;
        let known = &mut self.hosts[host];
        let (Some(boot), None) = (known.boot, &known.agent) else { return Ok(()) };
        known.life += 1;
        known.wake = (Time::NEVER, known.wake.1 + 1);
        known.agent = Some(Agent::new(rules, Boot(boot)));
        let found = known.spool.iter().map(|(id, ending)| {
            let found = match ending {
                _ if known.shepherds.contains_key(id) => Found::Shepherd,
                Some(ending) => Found::Outcome(ending.clone()),
                None => Found::Nothing,
            };
            (*id, found)
        });
        let found: Vec<_> = found.collect();
        self.say(|| format!("host {host}: agent starts, finds {found:?}"));
        self.agent_hears(host, AgentInput::Begin(found))
    }

    /// The agent dies; the kernel kills what has no shepherd.
    pub(crate) fn kill_agent(&mut self, host: usize, away: i64) {
        if self.hosts[host].agent.take().is_none() {
            return;
        }
        self.hosts[host].life += 1;
        self.after(away, Event::AgentStart { host });
        let held: Vec<AttemptId> = self.hosts[host].shepherds.keys().copied().collect();
        for id in &held {
            self.local(host, |boot| Event::Shepherd { host, boot, id: *id, input: ShepherdInput::AgentDied });
        }
        self.checks.running.retain(|(id, at), _| *at != host || held.contains(id));
    }

    pub(crate) fn kill_shepherd(&mut self, host: usize) {
        let known = &mut self.hosts[host];
        let pick = self.random.below(known.shepherds.len().max(1) as u64) as usize;
        let Some(id) = known.shepherds.keys().nth(pick).copied() else { return };
        known.shepherds.remove(&id);
        if known.agent.is_some() {
            let life = known.life;
            self.local(host, |_| Event::Agent { host, life, input: AgentInput::ShepherdDied(id) });
        } else {
            self.checks.running.remove(&(id, host));
        }
    }

    pub(crate) fn kill_host(&mut self, host: usize, away: i64) {
        let known = &mut self.hosts[host];
        if known.boot.take().is_none() {
            return;
        }
        known.agent = None;
        known.life += 1;
        known.spool.clear();
        known.shepherds.clear();
        known.after.clear();
        known.gone.clear();
        self.checks.running.retain(|(_, at), _| *at != host);
        self.after(away, Event::HostStart { host });
    }

    fn agent_hears(&mut self, host: usize, input: AgentInput) -> Result<(), String> {
        let known = &mut self.hosts[host];
        let now = known.clock.at(self.now);
        let Some(agent) = &mut known.agent else { return Ok(()) };
        for output in agent.handle(now, input) {
            if self.dies_midway() {
                let away = self.random.between(100, 90_000);
                self.say(|| format!("host {host}: agent dies midway"));
                self.kill_agent(host, away);
                return Ok(());
            }
            if let AgentOutput::Tell(id, ToShepherd::Kill) = &output {
                let uses = self.teams_use(*id, host);
                self.checks.ordered_to_kill(*id, host, uses)?;
            }
            self.agent_does(host, output);
        }
        Ok(())
    }

    /// Whether a team of an attempt uses a host.
    fn teams_use(&self, id: AttemptId, host: usize) -> bool {
        let herds = self.hosts.iter().filter_map(|known| known.shepherds.get(&id));
        let offices = herds.filter_map(|herd| herd.office.as_ref());
        offices.into_iter().any(|office| office.uses.iter().any(|used| used.0 as usize == host))
    }

    fn agent_does(&mut self, host: usize, output: AgentOutput) {
        let life = self.hosts[host].life;
        match output {
            AgentOutput::Send(message) => {
                self.say(|| format!("host {host} -> controller: {message:?}"));
                let bytes = Format::Message.encode(&message);
                self.send_to_controller(host, &Event::ToController { host, bytes });
            }
            AgentOutput::Note(id) => {
                self.hosts[host].spool.insert(id, None);
                self.hosts[host].gone.remove(&id);
            }
            AgentOutput::Launch(start, lease) => {
                let launch: Launch = Format::Message.decode(&start.launch).expect("the desk has encoded it");
                let part = launch.on.allocation.parts.iter().find(|part| part.host.0 as usize == host);
                let cores = part.expect("it was given something here").cores.clone();
                let spec = Spec::of(&launch.spec, &launch.owner);
                let machine = Shepherd::new(&start, lease);
                let wake = (Time::NEVER, 0);
                let (role, exit, ran) = (start.role, (0, 0), false);
                let herd = Herd { machine, spec, cores, role, wake, ran, exit, stop: None, office: None };
                let known = &mut self.hosts[host];
                known.shepherds.insert(start.id, herd);
                let is_open = |id: &AttemptId| known.spool.get(id).is_some_and(Option::is_none);
                let unended = |id: &AttemptId| is_open(id) && !known.gone.contains(id);
                match start.after.filter(unended) {
                    Some(after) => drop(known.after.insert(start.id, after)),
                    None => self.begins(host, start.id),
                }
            }
            AgentOutput::Tell(id, message) => {
                let input = ShepherdInput::Agent(message);
                self.local(host, |boot| Event::Shepherd { host, boot, id, input });
            }
            AgentOutput::KillGroup(id) => {
                let delay = self.random.between(1, 3_000);
                let boot = self.hosts[host].boot.expect("a host with an agent is up");
                self.after(delay, Event::GroupKilled { host, boot, life, id });
            }
            AgentOutput::Unnote(id) => {
                self.hosts[host].spool.remove(&id);
                self.hosts[host].gone.remove(&id);
            }
            AgentOutput::Probe(id, what) => {
                let delay = self.random.between(50, 20_000);
                self.after(delay, Event::Probed { host, life, id, what });
            }
            AgentOutput::Wake(at) => {
                let known = &mut self.hosts[host];
                if at != known.wake.0 {
                    let number = known.wake.1 + 1;
                    known.wake = (at, number);
                    let delay = known.clock.when(at, self.now) - self.now;
                    self.after(delay, Event::AgentWake { host, life, number });
                }
            }
        }
    }

    fn shepherd_hears(&mut self, host: usize, id: AttemptId, input: ShepherdInput) -> Result<(), String> {
        let known = &mut self.hosts[host];
        let now = known.clock.at(self.now);
        let Some(herd) = known.shepherds.get_mut(&id) else { return Ok(()) };
        for output in herd.machine.handle(now, input) {
            self.shepherd_does(host, id, output)?;
        }
        Ok(())
    }

    fn shepherd_does(&mut self, host: usize, id: AttemptId, output: ShepherdOutput) -> Result<(), String> {
        let known = &mut self.hosts[host];
        let (life, boot) = (known.life, known.boot.expect("a host with a shepherd is up"));
        let Some(herd) = known.shepherds.get_mut(&id) else { return Ok(()) };
        match output {
            ShepherdOutput::Spawn => return self.spawns(host, id),
            ShepherdOutput::Stop(number) => {
                herd.stop = Some(number);
                let delay = self.random.between(0, 500);
                self.after(delay, Event::Stopped { host, boot, id, number });
            }
            ShepherdOutput::GoOn => return self.goes_on(host, id),
            ShepherdOutput::Warn => {
                self.goes_on(host, id)?;
                self.checks.told.entry((id, host)).or_insert(self.now);
                // Some save their work and end, some do not care.
                if self.random.chance(600) {
                    let delay = self.random.between(0, 15_000);
                    self.after(delay, Event::Saved { host, boot, id });
                }
            }
            ShepherdOutput::Kill => {
                let delay = self.random.between(0, 3_000);
                self.after(delay, Event::Killed { host, boot, id });
            }
            ShepherdOutput::Save(how) => self.save(host, id, how),
            ShepherdOutput::Tell(message) => {
                self.local(host, |_| Event::Agent { host, life, input: AgentInput::Shepherd(id, message) });
            }
            ShepherdOutput::TellEnd(_) => {
                let ending = known.spool.get(&id).cloned().flatten().expect("its end was saved");
                let message = FromShepherd::Ended(ending);
                self.local(host, |_| Event::Agent { host, life, input: AgentInput::Shepherd(id, message) });
            }
            ShepherdOutput::CallAgent => self.after(5_000, Event::AgentStart { host }),
            ShepherdOutput::Wake(at) => {
                if at != herd.wake.0 {
                    let number = herd.wake.1 + 1;
                    herd.wake = (at, number);
                    // A process that waits for a time gets it a little late.
                    let delay = known.clock.when(at, self.now) - self.now + self.random.between(0, 1_000);
                    self.after(delay, Event::ShepherdWake { host, boot, id, number });
                }
            }
            ShepherdOutput::Resize(hosts) => {
                let input = ForemanInput::Resize(hosts);
                self.local(host, |boot| Event::Foreman { host, boot, id, input });
            }
            ShepherdOutput::Leave => {
                known.shepherds.remove(&id);
                // To who watches, that it left is as that it died.
                self.local(host, |_| Event::Agent { host, life, input: AgentInput::ShepherdDied(id) });
            }
        }
        Ok(())
    }

    /// What a shepherd holds begins.
    fn spawns(&mut self, host: usize, id: AttemptId) -> Result<(), String> {
        let known = &self.hosts[host];
        let boot = known.boot.expect("a host with a shepherd is up");
        let Some(herd) = known.shepherds.get(&id) else { return Ok(()) };
        let (spec, role, cores) = (herd.spec, herd.role, herd.cores.clone());
        self.say(|| format!("host {host}: {id} begins on {:?}, {spec:?}", cores.words()));
        self.mix(u64::from(id.run.job.0) << 32 | u64::from(id.attempt.0) << 8 | host as u64);
        let (ends, hosts) = (self.now + spec.runs_ms, self.hosts.len());
        self.checks.spawn(id, (host, hosts), Held { spec, cores })?;
        if let Some(herd) = self.hosts[host].shepherds.get_mut(&id) {
            (herd.ran, herd.exit.1) = (true, ends);
        }
        if role == Role::Member {
            return Ok(());
        }
        if spec.conduct != Conduct::Fenced {
            self.after(spec.runs_ms, Event::Exit { host, boot, id, number: 0 });
        }
        if spec.blocks > 0 {
            self.open_office(host, id);
        }
        Ok(())
    }

    /// Writes how something ended to the spool, and what it used, if it ran.
    fn save(&mut self, host: usize, id: AttemptId, how: Ended) {
        let ran = self.hosts[host].shepherds.get(&id).is_some_and(|herd| herd.ran);
        let usage = if ran { usage(id, host, self.now) } else { Usage::default() };
        self.checks.used.entry((id, host)).or_default().push(usage);
        let ending = Box::new(Ending { how, usage, why: None });
        self.hosts[host].spool.insert(id, Some(ending));
        self.move_up(host, id);
    }

    fn begins(&mut self, host: usize, id: AttemptId) {
        self.local(host, |boot| Event::Shepherd { host, boot, id, input: ShepherdInput::Begin });
    }

    /// Something is over: what was told to follow it follows what that was to follow, or begins. Without an agent nothing
    /// begins, and who was to hold it leaves.
    fn move_up(&mut self, host: usize, id: AttemptId) {
        let known = &mut self.hosts[host];
        let before = known.after.remove(&id);
        let next = known.after.iter().find(|(_, after)| **after == id).map(|(next, _)| *next);
        let Some(next) = next else { return };
        match before {
            Some(before) => drop(known.after.insert(next, before)),
            None if known.agent.is_some() => {
                known.after.remove(&next);
                self.begins(host, next);
            }
            None => {
                let mut line = vec![next];
                while let Some(last) = line.last()
                    && let Some((more, _)) = known.after.iter().find(|(_, after)| *after == last)
                {
                    line.push(*more);
                }
                for gone in line {
                    known.after.remove(&gone);
                    known.shepherds.remove(&gone);
                }
            }
        }
    }

    /// Something between two processes of a host, which arrives in order.
    pub(crate) fn local(&mut self, host: usize, event: impl FnOnce(u64) -> Event) {
        let Some(boot) = self.hosts[host].boot else { return };
        let at = self.hosts[host].local.max(self.now + self.random.between(0, 300));
        self.hosts[host].local = at;
        self.after(at - self.now, event(boot));
    }
}
