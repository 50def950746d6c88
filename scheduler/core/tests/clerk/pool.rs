//! A controller with the real desk, agents that always answer, and scripts that run for as long as their names say.

use muster_core::books::Books;
use muster_core::books::accounting::Accounting;
use muster_core::books::event::Event;
use muster_core::books::partition::{Partition, PreemptMode};
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, HostId, Shape};
use muster_core::decide::Scheduler;
use muster_core::decide::reason::Reason;
use muster_core::job::id::JobId;
use muster_core::job::outcome::Outcome;
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::{ArraySpec, JobSpec, Work};
use muster_core::policy::Policy;
use muster_core::protocol::agent::{Agent, AgentInput, AgentOutput};
use muster_core::protocol::clerk::{Ask, Clerk, Launch, Told};
use muster_core::protocol::controller::{Answer, Controller, Input, Output, Outputs, Request};
use muster_core::protocol::format::Format;
use muster_core::protocol::journal::{self};
use muster_core::protocol::lease::Lease;
use muster_core::protocol::ledger::ToStore;
use muster_core::protocol::message::{Ended, Ending, FromShepherd, Role, ToController, ToShepherd};
use muster_core::protocol::stamp::{AttemptId, Boot};
use muster_core::protocol::standing::Standing;
use muster_core::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(crate) const HOSTS: usize = 3;
pub(crate) const CPUS: u32 = 4;

/// A controller, agents that are always heard, and scripts that run for as long as their names say.
pub(crate) struct Pool {
    pub(crate) now: Time,
    pub(crate) controller: Controller<Clerk>,
    pub(crate) journal: Vec<Vec<u8>>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) said: VecDeque<(HostId, ToController)>,
    pub(crate) answers: Vec<Answer<Told>>,
    /// What runs, on how many CPUs, and when it ends by itself.
    pub(crate) scripts: BTreeMap<(AttemptId, usize), (u32, Option<Time>)>,
    /// What of it is stopped, and since when.
    pub(crate) stopped: BTreeMap<(AttemptId, usize), Time>,
    /// What was told that it has to end, and when it is killed.
    pub(crate) noticed: BTreeMap<(AttemptId, usize), Time>,
    /// Which hosts foremen were told to use, and what they say of it, if they do.
    pub(crate) told: BTreeMap<AttemptId, Vec<HostId>>,
    pub(crate) uses: VecDeque<(HostId, ToStore)>,
    pub(crate) hand_in: bool,
    /// A host that nobody hears, and that hears nothing.
    pub(crate) silent: Option<usize>,
    pub(crate) policy: Policy,
}

pub(crate) fn fresh() -> Standing<Clerk> {
    Standing::new(Clerk::new(Books::new(Rules { keep_s: 1_000_000, ..Rules::default() })))
}

/// The same under a policy.
pub(crate) fn under(policy: Policy) -> Standing<Clerk> {
    let mut standing = fresh();
    standing.desk.set_scheduler(Scheduler::new(policy));
    standing
}

impl Pool {
    pub(crate) fn new() -> Self {
        Pool::with(PreemptMode::Off, 0)
    }

    /// One whose jobs make way so, after a grace, for those in a rush.
    pub(crate) fn with(preempt: PreemptMode, grace_s: u32) -> Self {
        Pool::under(Policy::Default, preempt, grace_s)
    }

    /// The same under a policy.
    pub(crate) fn under(policy: Policy, preempt: PreemptMode, grace_s: u32) -> Self {
        let agents = (0..HOSTS).map(|host| Agent::new(Lease::default(), Boot(host as u64))).collect();
        let mut pool = Pool {
            now: Time(0),
            controller: Controller::new(Lease::default(), under(policy)),
            journal: Vec::new(),
            agents,
            said: VecDeque::new(),
            answers: Vec::new(),
            scripts: BTreeMap::new(),
            stopped: BTreeMap::new(),
            noticed: BTreeMap::new(),
            told: BTreeMap::new(),
            uses: VecDeque::new(),
            hand_in: true,
            silent: None,
            policy,
        };
        pool.hear(Input::Begin);
        let all = Partition { is_default: true, preempt, grace_s, ..Partition::named("all") };
        let rush = Partition { tier: 2, ..Partition::named("rush") };
        for partition in [all, rush] {
            pool.ask(Ask::Site(Event::Partition(partition)));
        }
        for host in 0..HOSTS {
            let shape = Shape::parse(&format!("1x{CPUS}")).expect("a shape");
            let mut host = Host::new(format!("host{host}"), shape);
            host.partitions.extend(["all".to_owned(), "rush".to_owned()]);
            pool.ask(Ask::Site(Event::Host(Box::new(host))));
        }
        for host in 0..HOSTS {
            pool.agent(host, AgentInput::Begin(Vec::new()));
        }
        pool
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> Answer<Told> {
        self.hear(Input::Client(0, Request::Desk(ask)));
        self.answers.pop().expect("every request is answered")
    }

    pub(crate) fn submit(&mut self, spec: JobSpec) {
        self.submit_as("ada", spec);
    }

    pub(crate) fn submit_as(&mut self, user: &str, spec: JobSpec) -> JobId {
        let owner = Arc::new(Owner { user: user.into(), ..Owner::clone(&owner()) });
        let answer = self.ask(Ask::Submit(Submitted { owner, spec: Arc::new(spec) }));
        let Answer::Desk(Told::Accepted(id)) = answer else { panic!("{answer:?}") };
        id
    }

    /// What an operator is told who sets these accounts.
    pub(crate) fn set_accounts(&mut self, table: &str, half_life_s: u32) -> Answer<Told> {
        let table = toml::from_str(table).expect("a table");
        let accounting = Accounting { table, half_life_s: Some(half_life_s), ..Accounting::default() };
        self.ask(Ask::Site(Event::Accounting(Box::new(accounting))))
    }

    /// Why a job waits, in Slurm's words.
    pub(crate) fn words(&self, job: JobId) -> Vec<&'static str> {
        let mut desk = self.controller.standing().desk.clone();
        let told = desk.explain(job, self.now);
        told.iter().flat_map(|said| said.decision.reasons()).map(Reason::word).collect()
    }

    /// The controller dies, and another goes on from the journal.
    pub(crate) fn restart(&mut self) {
        let records = self.journal.iter().map(|record| &record[..]);
        let standing = journal::replay(under(self.policy), 0, records).expect("the journal can be read back");
        assert_eq!(standing, *self.controller.standing(), "the journal says what the memory said");
        let snapshot = Format::Journal.encode(&standing);
        assert_eq!(Format::Journal.decode(&snapshot), Ok(standing.clone()));
        self.controller = Controller::new(Lease::default(), standing);
        self.hear(Input::Begin);
    }

    pub(crate) fn second(&mut self) {
        self.now = self.now.after(1000);
        let late = |key| self.noticed.get(key).is_some_and(|at| *at <= self.now);
        let killed: Vec<(AttemptId, usize)> = self.scripts.keys().filter(|key| late(key)).copied().collect();
        for (id, host) in killed {
            self.is_killed(id, host);
        }
        let over = |end: Option<Time>| end.is_some_and(|end| end <= self.now);
        let goes_on = self.scripts.iter().filter(|(key, _)| !self.stopped.contains_key(key));
        let ended: Vec<(AttemptId, usize)> =
            goes_on.filter(|(_, (_, end))| over(*end)).map(|(key, _)| *key).collect();
        for (id, host) in ended {
            self.scripts.remove(&(id, host));
            let ended = FromShepherd::Ended(Ending::bare(Ended::Exited(Outcome::Completed)));
            self.agent(host, AgentInput::Shepherd(id, ended));
        }
        for host in 0..HOSTS {
            self.agent(host, AgentInput::Woken);
        }
        self.hear(Input::Woken);
    }

    pub(crate) fn hear(&mut self, input: Input<Ask>) {
        let outputs = self.controller.handle(self.now, input);
        self.perform(outputs);
        loop {
            let input = match (self.said.pop_front(), self.hand_in) {
                (Some((host, message)), _) => Input::Agent(host, message),
                (None, true) => match self.uses.pop_front() {
                    Some((host, message)) => Input::Foreman(host, message),
                    None => break,
                },
                (None, false) => break,
            };
            let outputs = self.controller.handle(self.now, input);
            self.perform(outputs);
        }
    }

    pub(crate) fn perform(&mut self, outputs: Outputs<Clerk>) {
        for output in outputs {
            match output {
                Output::Persist(entries) => self.journal.extend(entries.iter().map(journal::encode::<Clerk>)),
                Output::Send(host, message) => {
                    self.agent_hears(host.0 as usize, AgentInput::Controller(message))
                }
                Output::Reply(_, answer) => self.answers.push(answer),
                Output::Tell(..) | Output::Wake(_) => {}
            }
        }
    }

    pub(crate) fn agent(&mut self, host: usize, input: AgentInput) {
        self.agent_hears(host, input);
        if let Some((host, message)) = self.said.pop_front() {
            self.hear(Input::Agent(host, message));
        }
    }

    pub(crate) fn agent_hears(&mut self, host: usize, input: AgentInput) {
        if self.silent == Some(host) {
            return;
        }
        for output in self.agents[host].handle(self.now, input) {
            match output {
                AgentOutput::Send(message) => self.said.push_back((HostId(host as u32), message)),
                AgentOutput::Launch(start, _) => {
                    let launch: Launch = Format::Message.decode(&start.launch).expect("a launch");
                    let part = launch.on.allocation.parts.iter().find(|part| part.host.0 as usize == host);
                    let seconds: i64 = launch.spec.name.parse().expect("a name of the test");
                    let end = (start.role == Role::Batch).then(|| self.now.after(seconds * 1000));
                    self.scripts.insert((start.id, host), (part.expect("its part").cpus(), end));
                    self.check_cpus(host);
                }
                AgentOutput::Tell(id, message) => self.shepherd_hears(host, id, message),
                _ => {}
            }
        }
    }

    pub(crate) fn check_cpus(&self, host: usize) {
        let here = self
            .scripts
            .iter()
            .filter(|((id, at), _)| *at == host && !self.stopped.contains_key(&(*id, host)));
        let used: u32 = here.map(|(_, (cpus, _))| cpus).sum();
        assert!(used <= CPUS, "host {host} runs {used} CPUs of {CPUS}");
    }

    pub(crate) fn is_killed(&mut self, id: AttemptId, host: usize) {
        if self.scripts.remove(&(id, host)).is_some() {
            self.stopped.remove(&(id, host));
            self.noticed.remove(&(id, host));
            self.agent_hears(
                host,
                AgentInput::Shepherd(id, FromShepherd::Ended(Ending::bare(Ended::Killed))),
            );
        }
    }

    pub(crate) fn shepherd_hears(&mut self, host: usize, id: AttemptId, message: ToShepherd) {
        let key = (id, host);
        match message {
            ToShepherd::Kill => self.is_killed(id, host),
            ToShepherd::Forget => self.agent_hears(host, AgentInput::ShepherdDied(id)),
            ToShepherd::Resize(hosts) => {
                self.told.insert(id, hosts.clone());
                self.uses.push_back((HostId(host as u32), ToStore::Uses(id, hosts)));
            }
            ToShepherd::Suspend(number) if self.scripts.contains_key(&key) => {
                self.stopped.entry(key).or_insert(self.now);
                self.agent_hears(host, AgentInput::Shepherd(id, FromShepherd::Suspended(number)));
            }
            ToShepherd::Resume(_) => {
                if let (Some(since), Some((_, end))) = (self.stopped.remove(&key), self.scripts.get_mut(&key))
                {
                    *end = end.map(|end| end.after(self.now.0 - since.0));
                }
                self.check_cpus(host);
                self.agent_hears(host, AgentInput::Shepherd(id, FromShepherd::Running));
            }
            ToShepherd::Notice(grace_ms) => {
                assert!(!self.stopped.contains_key(&key), "nothing is woken to be told that it has to end");
                self.noticed.entry(key).or_insert(self.now.after(grace_ms));
            }
            _ => {}
        }
    }

    /// The hosts on which something of a job runs.
    pub(crate) fn hosts_of(&self, job: JobId) -> Vec<HostId> {
        let keys = self.scripts.keys().filter(|(id, _)| id.run.job == job);
        keys.map(|(_, host)| HostId(*host as u32)).collect()
    }
}

pub(crate) fn owner() -> Arc<Owner> {
    Arc::new(Owner { uid: 1000, gid: 1000, user: "ada".into() })
}

/// The same, in a rush.
pub(crate) fn in_a_rush(mut spec: JobSpec) -> JobSpec {
    spec.queue.partitions = vec!["rush".into()];
    spec
}

/// Hosts, CPUs on each, seconds, and elements if it is an array.
pub(crate) type Wish = (u32, u32, i64, Option<u32>);

pub(crate) fn spec((hosts, cpus, seconds, elements): Wish) -> JobSpec {
    let mut spec = JobSpec::named(seconds.to_string());
    spec.size.nodes = hosts;
    spec.size.cpus_per_task = Some(cpus);
    spec.time_limit_s = Some(100);
    spec.array = elements.map(|count| ArraySpec { ranges: vec![(0, count - 1, 1)], throttle: None });
    spec
}

/// A kernel step on `least` to `most` whole hosts.
pub(crate) fn kernel(least: u32, most: u32, seconds: i64) -> JobSpec {
    let mut spec = spec((least, CPUS, seconds, None));
    (spec.work, spec.size.max_nodes) = (Work::Kernel, Some(most));
    spec
}
