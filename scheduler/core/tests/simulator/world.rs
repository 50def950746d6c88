//! One story: a controller, some hosts, a network and some clients in virtual time, told by a seed. First everything
//! breaks as the seed says, then nothing does any more and everything must come to its end.

use crate::checks::Checks;
use crate::faults::{self, Break, Cut, Faults};
use crate::head::Head;
use crate::host::Host;
use crate::random::Random;
use crate::spec::{self, Spec};
use muster_core::books::partition::PreemptMode;
use muster_core::cluster::HostId;
use muster_core::job::event::{Elements, JobEvent};
use muster_core::job::id::RunId;
use muster_core::job::outcome::Outcome;
use muster_core::job::update::{Field, Update};
use muster_core::protocol::agent::AgentInput;
use muster_core::protocol::clerk::Ask;
use muster_core::protocol::controller::Request;
use muster_core::protocol::foreman::ForemanInput;
use muster_core::protocol::lease::Lease;
use muster_core::protocol::message::Conduct;
use muster_core::protocol::probe::ProbeId;
use muster_core::protocol::shepherd::ShepherdInput;
use muster_core::protocol::stamp::AttemptId;
use std::collections::BTreeMap;

/// When the safety phase ends, and when everything must have come to its end.
const CALM: i64 = 360_000;
const LAST: i64 = CALM + 1_500_000;

/// More than ever happens in a story that comes to its end.
const EVENTS: u32 = 100_000;

/// How clocks of the simulator may be off: two in a hundred, so that it matters.
const CLOCK_PPM: i64 = 20_000;

/// What a process does, given which life of it this was meant for.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    ControllerStart,
    ControllerWake {
        life: u32,
        number: u64,
    },
    Synced {
        life: u32,
        upto: usize,
    },
    ToController {
        host: usize,
        bytes: Vec<u8>,
    },
    ToStore {
        host: usize,
        bytes: Vec<u8>,
    },
    Client {
        client: u64,
        ask: Request<Ask>,
    },
    ToAgent {
        host: usize,
        bytes: Vec<u8>,
    },
    ToForeman {
        host: usize,
        bytes: Vec<u8>,
    },
    Foreman {
        host: usize,
        boot: u64,
        id: AttemptId,
        input: ForemanInput,
    },
    ForemanWake {
        host: usize,
        boot: u64,
        id: AttemptId,
        number: u64,
    },
    /// A team has folded some blocks, or is lost.
    Team {
        host: usize,
        boot: u64,
        id: AttemptId,
        team: u32,
    },
    AgentStart {
        host: usize,
    },
    AgentWake {
        host: usize,
        life: u32,
        number: u64,
    },
    Agent {
        host: usize,
        life: u32,
        input: AgentInput,
    },
    Shepherd {
        host: usize,
        boot: u64,
        id: AttemptId,
        input: ShepherdInput,
    },
    ShepherdWake {
        host: usize,
        boot: u64,
        id: AttemptId,
        number: u64,
    },
    /// The script comes to its own end.
    Exit {
        host: usize,
        boot: u64,
        id: AttemptId,
        number: u32,
    },
    /// All processes of it are stopped, as asked under this number.
    Stopped {
        host: usize,
        boot: u64,
        id: AttemptId,
        number: u32,
    },
    /// It has saved its work after a notice, and ends.
    Saved {
        host: usize,
        boot: u64,
        id: AttemptId,
    },
    /// A kill of the shepherd has worked; one of the agent has.
    Killed {
        host: usize,
        boot: u64,
        id: AttemptId,
    },
    GroupKilled {
        host: usize,
        boot: u64,
        life: u32,
        id: AttemptId,
    },
    /// A probe has come to its end.
    Probed {
        host: usize,
        life: u32,
        id: ProbeId,
        what: Vec<u8>,
    },
    HostStart {
        host: usize,
    },
    Break(Break),
    Heal {
        host: usize,
        from: bool,
        to: bool,
    },
    /// A client does what it had planned.
    Act(Act),
    Calm,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Submit(Spec),
    Cancel,
    /// The last job that was taken is not wanted any more.
    CancelLast,
    Requeue,
    Rewrite(u32),
    GiveUp(usize),
    /// Accounts of this kind are set.
    Accounts(u64),
}

/// How a story ended.
pub(crate) struct Told {
    /// What was broken, if anything was.
    pub(crate) broken: Option<String>,
    /// A hash over everything that happened.
    pub(crate) hash: u64,
    pub(crate) lines: Vec<String>,
}

pub(crate) struct World {
    pub(crate) now: i64,
    next: u64,
    queue: BTreeMap<(i64, u64), Event>,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) calm: bool,
    pub(crate) rules: Lease,
    pub(crate) head: Head,
    pub(crate) hosts: Vec<Host>,
    /// Hosts from which, and to which, nothing comes through, and when what is sent meanwhile does.
    cut_from: BTreeMap<usize, i64>,
    cut_to: BTreeMap<usize, i64>,
    pub(crate) asked: BTreeMap<u64, Request<Ask>>,
    pub(crate) accepted: Vec<RunId>,
    pub(crate) checks: Checks,
    hash: u64,
    telling: bool,
    lines: Vec<String>,
}

/// The hash of the first hundred stories, the same in every build. It changes with the protocol and the simulator.
pub(crate) const HUNDRED: u64 = 10216366673579104270;

/// The hash of the first `seeds` stories.
pub(crate) fn stories(seeds: u64) -> u64 {
    (0..seeds).fold(0, |hash, seed| {
        (hash.rotate_left(7) ^ tell(seed, false).hash).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// Tells the story of a seed, in words if asked.
pub(crate) fn tell(seed: u64, telling: bool) -> Told {
    let mut world = World::new(seed, telling);
    let broken = world.run().err();
    Told { broken, hash: world.hash, lines: world.lines }
}

impl World {
    fn new(seed: u64, telling: bool) -> Self {
        let mut random = Random::new(seed);
        let rules = Lease { clock_ppm: CLOCK_PPM, ..Lease::default() };
        let cpus: Vec<u32> = (0..random.between(2, 4)).map(|_| random.between(2, 4) as u32).collect();
        let hosts: Vec<Host> = cpus.iter().map(|_| Host::new(&mut random, CLOCK_PPM)).collect();
        let preempt = [PreemptMode::Requeue, PreemptMode::Suspend][random.below(2) as usize];
        let grace_s = if random.chance(500) { random.between(1, 20) as u32 } else { 0 };
        let preempt = (preempt, grace_s);
        let head = Head::new(&mut random, spec::desk(&cpus, preempt), CLOCK_PPM);
        let faults = Faults::draw(&mut random);
        let mut world = World {
            now: 0,
            next: 0,
            queue: BTreeMap::new(),
            random,
            faults,
            calm: false,
            rules,
            head,
            hosts,
            cut_from: BTreeMap::new(),
            cut_to: BTreeMap::new(),
            asked: BTreeMap::new(),
            accepted: Vec::new(),
            checks: Checks::default(),
            hash: 0xcbf2_9ce4_8422_2325,
            telling,
            lines: Vec::new(),
        };
        world.plan(&cpus);
        world
    }

    /// Draws what will happen.
    fn plan(&mut self, cpus: &[u32]) {
        self.say(|| format!("hosts with {cpus:?} CPUs"));
        self.after(0, Event::ControllerStart);
        for host in 0..self.hosts.len() {
            let at = self.random.between(0, 2_000);
            self.after(at, Event::HostStart { host });
        }
        for (at, what) in faults::breaks(&mut self.random, cpus.len(), CALM) {
            self.after(at, Event::Break(what));
            // What is ordered of a host as it is cut off may arrive when it has been given up.
            if matches!(what, Break::Cut(_, Cut { to: true, keeps: true, .. }, 70_000..))
                && self.random.chance(500)
            {
                let (late, spec) =
                    (self.random.between(0, 20_000), Spec::draw_of(&mut self.random, Conduct::Stay, cpus));
                self.after(at + late, Event::Act(Act::Submit(spec)));
            }
        }
        for _ in 0..self.random.between(2, 7) {
            let (at, spec) = (self.random.between(0, CALM * 2 / 3), Spec::draw(&mut self.random, cpus));
            self.after(at, Event::Act(Act::Submit(spec)));
        }
        let briefs = if self.random.chance(400) { self.random.between(3, 15) } else { 0 };
        let from = self.random.between(0, CALM / 2);
        for _ in 0..briefs {
            let (at, spec) = (from + self.random.between(0, 90_000), Spec::brief(&mut self.random, cpus));
            self.after(at, Event::Act(Act::Submit(spec)));
            if self.random.chance(300) {
                let mind_ms = self.random.between(100, 5_000);
                self.after(at + mind_ms, Event::Act(Act::CancelLast));
            }
        }
        for _ in 0..self.random.below(3) {
            let (at, spec) = (self.random.between(0, CALM / 2), Spec::swarm(&mut self.random, cpus));
            self.after(at, Event::Act(Act::Submit(spec)));
        }
        for _ in 0..self.random.below(3) {
            let (at, kind) = (self.random.between(0, CALM), self.random.below(6));
            self.after(at, Event::Act(Act::Accounts(kind)));
        }
        let host = self.random.below(cpus.len() as u64) as usize;
        for act in [Act::Cancel, Act::Requeue, Act::GiveUp(host)] {
            if self.random.chance(300) {
                let at = self.random.between(10_000, CALM);
                self.after(at, Event::Act(act));
            }
        }
        for _ in 0..self.random.below(3) {
            let (at, blocks) = (self.random.between(5_000, CALM), self.random.between(1, 9) as u32);
            self.after(at, Event::Act(Act::Rewrite(blocks)));
        }
        self.after(CALM, Event::Calm);
    }

    fn run(&mut self) -> Result<(), String> {
        let mut events = 0;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.checks.now = at;
            events += 1;
            if events > EVENTS {
                return Err(format!("more than {EVENTS} things happen: somebody goes round in circles"));
            }
            self.mix(at as u64);
            self.happen(event)?;
            if self.calm && self.is_quiet() {
                break;
            }
            if self.now > LAST {
                self.head.check(&self.checks)?;
                self.checks.end(self.head.standing())?;
                return Err("everything is done, but something is still held at the end".into());
            }
        }
        self.head.check(&self.checks)?;
        self.checks.end(self.head.standing())
    }

    /// Whether nothing is left to be done.
    fn is_quiet(&self) -> bool {
        self.head.is_quiet() && self.hosts.iter().all(Host::is_quiet) && self.checks.running.is_empty()
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Break(what) if !self.calm => self.break_down(what),
            Event::Break(_) => Ok(()),
            Event::Heal { host, from, to } => {
                self.heal(host, from, to);
                Ok(())
            }
            Event::Calm => self.calm_down(),
            Event::Act(act) => {
                self.act(act);
                Ok(())
            }
            Event::ControllerStart
            | Event::ControllerWake { .. }
            | Event::Synced { .. }
            | Event::ToController { .. }
            | Event::ToStore { .. }
            | Event::Client { .. } => self.head_event(event),
            Event::ToForeman { .. }
            | Event::Foreman { .. }
            | Event::ForemanWake { .. }
            | Event::Team { .. } => self.foreman_event(event),
            _ => self.host_event(event),
        }
    }

    fn break_down(&mut self, what: Break) -> Result<(), String> {
        self.say(|| format!("{what:?}"));
        match what {
            Break::Controller(away) => {
                self.head.check(&self.checks)?;
                self.kill_controller(away)?;
            }
            Break::Agent(host, away) => self.kill_agent(host, away),
            Break::Shepherd(host) => self.kill_shepherd(host),
            Break::Host(host, away) => self.kill_host(host, away),
            Break::Cut(host, Cut { from, to, keeps }, away) => {
                let until = if keeps { self.now + away } else { i64::MAX };
                if from {
                    self.cut_from.insert(host, until);
                }
                if to {
                    self.cut_to.insert(host, until);
                }
                self.after(away, Event::Heal { host, from, to });
                // An operator looks at what has been away for long.
                if away > 70_000 && self.random.chance(500) {
                    let at = self.random.between(70_000, away);
                    self.after(at, Event::Act(Act::GiveUp(host)));
                }
            }
        }
        Ok(())
    }

    fn heal(&mut self, host: usize, from: bool, to: bool) {
        if from {
            self.cut_from.remove(&host);
        }
        if to {
            self.cut_to.remove(&host);
        }
    }

    /// From now on nothing breaks, and what is broken comes back.
    fn calm_down(&mut self) -> Result<(), String> {
        self.say(|| "calm".into());
        self.calm = true;
        self.faults = Faults::default();
        self.cut_from.clear();
        self.cut_to.clear();
        self.head.check(&self.checks)
    }

    fn act(&mut self, act: Act) {
        let pick = self.random.below(self.accepted.len().max(1) as u64) as usize;
        let last = matches!(act, Act::CancelLast);
        let run = if last { self.accepted.last() } else { self.accepted.get(pick) }.copied();
        let ask = match (act, run) {
            (Act::Submit(spec), _) => Request::Desk(Ask::Submit(spec.submitted())),
            (Act::Accounts(kind), _) => Request::Desk(Ask::Site(spec::accounting(kind))),
            (Act::Cancel | Act::CancelLast, Some(run)) => {
                self.checks.asked_to_end.insert(run);
                let cancelled = JobEvent::Cancelled { of: Elements::All, by: 1000 };
                Request::Desk(Ask::Job(run.job, cancelled))
            }
            (Act::Requeue, Some(run)) => Request::Desk(Ask::Requeue(run)),
            (Act::Rewrite(blocks), Some(run)) => {
                let Some(name) = self.rewritten(run, blocks) else { return };
                let update = Update { fields: vec![Field::Name(name)] };
                Request::Desk(Ask::Job(run.job, JobEvent::Updated(Box::new(update))))
            }
            (Act::GiveUp(host), _) => Request::GiveUp(HostId(host as u32), 0),
            (_, None) => return,
        };
        let client = self.asked.len() as u64;
        self.asked.insert(client, ask.clone());
        // A client asks once: a doubled request would be two.
        if let Some(delay) = self.ways().first() {
            self.after(*delay, Event::Client { client, ask });
        }
    }

    /// The name of a job that waits, and has not run, when its file has so many blocks.
    fn rewritten(&self, run: RunId, blocks: u32) -> Option<String> {
        let job = self.head.standing().desk.books().job(run.job)?;
        let spec = Spec::of(job.spec(), job.owner());
        let waits = job.run(None).is_some_and(|run| run.attempts == 0) && job.ended().is_none();
        (spec.reads && waits).then(|| Spec { blocks, ..spec }.name())
    }

    /// When a message that is sent now arrives: never, once, or more than once.
    pub(crate) fn ways(&mut self) -> Vec<i64> {
        if self.random.chance(self.faults.drop) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.random.chance(self.faults.double));
        (0..copies)
            .map(|_| {
                let late = self.random.chance(self.faults.late);
                self.random.between(1, if late { 100_000 } else { 40 })
            })
            .collect()
    }

    pub(crate) fn send_to_host(&mut self, host: usize, event: &Event) {
        let cut = self.cut_to.get(&host).copied();
        self.send(cut, event);
    }

    pub(crate) fn send_to_controller(&mut self, host: usize, event: &Event) {
        let cut = self.cut_from.get(&host).copied();
        self.send(cut, event);
    }

    fn send(&mut self, cut: Option<i64>, event: &Event) {
        for delay in self.ways() {
            match cut {
                None => self.after(delay, event.clone()),
                Some(i64::MAX) => {}
                Some(until) => self.after((until - self.now).max(0) + delay, event.clone()),
            }
        }
    }

    pub(crate) fn after(&mut self, delay: i64, event: Event) {
        self.next += 1;
        self.queue.insert((self.now + delay, self.next), event);
    }

    pub(crate) fn dies_midway(&mut self) -> bool {
        let chance = self.faults.die_midway;
        self.random.chance(chance)
    }

    /// A line of the story, made only if somebody listens.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if self.telling {
            let (s, ms) = (self.now / 1000, self.now % 1000);
            self.lines.push(format!("{s:5}.{ms:03} {}", line()));
        }
    }

    /// Mixes something that happened into the hash.
    pub(crate) fn mix(&mut self, what: u64) {
        self.hash = (self.hash.rotate_left(5) ^ what).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }
}

/// How a killed process ends.
pub(crate) const KILLED: Outcome = Outcome::Signalled(9);
