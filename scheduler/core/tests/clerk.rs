//! The real desk in the controller: books, hosts and scheduler, with agents that always answer, and a restart from the
//! journal on the way. What the protocol does when things break is the simulator's to try.

use muster_core::books::Books;
use muster_core::books::accounting::Accounting;
use muster_core::books::error::BooksError;
use muster_core::books::event::Event;
use muster_core::books::partition::{Partition, PreemptMode};
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, HostId, Shape};
use muster_core::decide::Scheduler;
use muster_core::decide::reason::Reason;
use muster_core::job::event::{Elements, JobEvent};
use muster_core::job::id::{JobId, RunId};
use muster_core::job::outcome::Outcome;
use muster_core::job::state::State;
use muster_core::job::update::{Field, Update};
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::{ArraySpec, JobSpec, Work};
use muster_core::policy::Policy;
use muster_core::protocol::agent::{Agent, AgentInput, AgentOutput};
use muster_core::protocol::clerk::{Ask, Clerk, Launch, Refusal, Told};
use muster_core::protocol::controller::{Answer, Controller, Entry, Input, Output, Outputs, Request};
use muster_core::protocol::desk::Desk;
use muster_core::protocol::format::Format;
use muster_core::protocol::journal::{self, JournalError};
use muster_core::protocol::lease::Lease;
use muster_core::protocol::ledger::ToStore;
use muster_core::protocol::message::{Ended, FromShepherd, Role, ToController, ToShepherd};
use muster_core::protocol::stamp::{AttemptId, Boot};
use muster_core::protocol::standing::{Record, Standing};
use muster_core::time::Time;
use muster_core::trace;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const HOSTS: usize = 3;
const CPUS: u32 = 4;

/// A controller, agents that are always heard, and scripts that run for as long as their names say.
struct Pool {
    now: Time,
    controller: Controller<Clerk>,
    journal: Vec<Vec<u8>>,
    agents: Vec<Agent>,
    said: VecDeque<(HostId, ToController)>,
    answers: Vec<Answer<Told>>,
    /// What runs, on how many CPUs, and when it ends by itself.
    scripts: BTreeMap<(AttemptId, usize), (u32, Option<Time>)>,
    /// What of it is stopped, and since when.
    stopped: BTreeMap<(AttemptId, usize), Time>,
    /// What was told that it has to end, and when it is killed.
    noticed: BTreeMap<(AttemptId, usize), Time>,
    /// Which hosts foremen were told to use, and what they say of it, if they do.
    told: BTreeMap<AttemptId, Vec<HostId>>,
    uses: VecDeque<(HostId, ToStore)>,
    hand_in: bool,
    /// A host that nobody hears, and that hears nothing.
    silent: Option<usize>,
    policy: Policy,
}

fn fresh() -> Standing<Clerk> {
    Standing::new(Clerk::new(Books::new(Rules { keep_s: 1_000_000, ..Rules::default() })))
}

/// The same under a policy.
fn under(policy: Policy) -> Standing<Clerk> {
    let mut standing = fresh();
    standing.desk.set_scheduler(Scheduler::new(policy));
    standing
}

impl Pool {
    fn new() -> Self {
        Pool::with(PreemptMode::Off, 0)
    }

    /// One whose jobs make way so, after a grace, for those in a rush.
    fn with(preempt: PreemptMode, grace_s: u32) -> Self {
        Pool::under(Policy::Default, preempt, grace_s)
    }

    /// The same under a policy.
    fn under(policy: Policy, preempt: PreemptMode, grace_s: u32) -> Self {
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

    fn ask(&mut self, ask: Ask) -> Answer<Told> {
        self.hear(Input::Client(0, Request::Desk(ask)));
        self.answers.pop().expect("every request is answered")
    }

    fn submit(&mut self, spec: JobSpec) {
        self.submit_as("ada", spec);
    }

    fn submit_as(&mut self, user: &str, spec: JobSpec) -> JobId {
        let owner = Arc::new(Owner { user: user.into(), ..Owner::clone(&owner()) });
        let answer = self.ask(Ask::Submit(Submitted { owner, spec: Arc::new(spec) }));
        let Answer::Desk(Told::Accepted(id)) = answer else { panic!("{answer:?}") };
        id
    }

    /// What an operator is told who sets these accounts.
    fn set_accounts(&mut self, table: &str, half_life_s: u32) -> Answer<Told> {
        let table = toml::from_str(table).expect("a table");
        let accounting = Accounting { table, half_life_s: Some(half_life_s), ..Accounting::default() };
        self.ask(Ask::Site(Event::Accounting(Box::new(accounting))))
    }

    /// Why a job waits, in Slurm's words.
    fn words(&self, job: JobId) -> Vec<&'static str> {
        let mut desk = self.controller.standing().desk.clone();
        let told = desk.explain(job, self.now);
        told.iter().flat_map(|said| said.decision.reasons()).map(Reason::word).collect()
    }

    /// The controller dies, and another goes on from the journal.
    fn restart(&mut self) {
        let records = self.journal.iter().map(|record| &record[..]);
        let standing = journal::replay(under(self.policy), 0, records).expect("the journal can be read back");
        assert_eq!(standing, *self.controller.standing(), "the journal says what the memory said");
        let snapshot = Format::Journal.encode(&standing);
        assert_eq!(Format::Journal.decode(&snapshot), Ok(standing.clone()));
        self.controller = Controller::new(Lease::default(), standing);
        self.hear(Input::Begin);
    }

    fn second(&mut self) {
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
            let ended = FromShepherd::Ended(Ended::Exited(Outcome::Completed));
            self.agent(host, AgentInput::Shepherd(id, ended));
        }
        for host in 0..HOSTS {
            self.agent(host, AgentInput::Woken);
        }
        self.hear(Input::Woken);
    }

    fn hear(&mut self, input: Input<Ask>) {
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

    fn perform(&mut self, outputs: Outputs<Clerk>) {
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

    fn agent(&mut self, host: usize, input: AgentInput) {
        self.agent_hears(host, input);
        if let Some((host, message)) = self.said.pop_front() {
            self.hear(Input::Agent(host, message));
        }
    }

    fn agent_hears(&mut self, host: usize, input: AgentInput) {
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

    fn check_cpus(&self, host: usize) {
        let here = self
            .scripts
            .iter()
            .filter(|((id, at), _)| *at == host && !self.stopped.contains_key(&(*id, host)));
        let used: u32 = here.map(|(_, (cpus, _))| cpus).sum();
        assert!(used <= CPUS, "host {host} runs {used} CPUs of {CPUS}");
    }

    fn is_killed(&mut self, id: AttemptId, host: usize) {
        if self.scripts.remove(&(id, host)).is_some() {
            self.stopped.remove(&(id, host));
            self.noticed.remove(&(id, host));
            self.agent_hears(host, AgentInput::Shepherd(id, FromShepherd::Ended(Ended::Killed)));
        }
    }

    fn shepherd_hears(&mut self, host: usize, id: AttemptId, message: ToShepherd) {
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
    fn hosts_of(&self, job: JobId) -> Vec<HostId> {
        let keys = self.scripts.keys().filter(|(id, _)| id.run.job == job);
        keys.map(|(_, host)| HostId(*host as u32)).collect()
    }
}

fn owner() -> Arc<Owner> {
    Arc::new(Owner { uid: 1000, gid: 1000, user: "ada".into() })
}

/// The same, in a rush.
fn in_a_rush(mut spec: JobSpec) -> JobSpec {
    spec.queue.partitions = vec!["rush".into()];
    spec
}

/// Hosts, CPUs on each, seconds, and elements if it is an array.
type Wish = (u32, u32, i64, Option<u32>);

fn spec((hosts, cpus, seconds, elements): Wish) -> JobSpec {
    let mut spec = JobSpec::named(seconds.to_string());
    spec.size.nodes = hosts;
    spec.size.cpus_per_task = Some(cpus);
    spec.time_limit_s = Some(100);
    spec.array = elements.map(|count| ArraySpec { ranges: vec![(0, count - 1, 1)], throttle: None });
    spec
}

/// A kernel step on `least` to `most` whole hosts.
fn kernel(least: u32, most: u32, seconds: i64) -> JobSpec {
    let mut spec = spec((least, CPUS, seconds, None));
    (spec.work, spec.size.max_nodes) = (Work::Kernel, Some(most));
    spec
}

#[test]
fn idle_hosts_are_lent_to_a_kernel_and_taken_back() {
    let (lender, waits) = (JobId(1), JobId(2));
    for restart in 0..60 {
        let mut pool = Pool::new();
        // A foreman that says nothing is waited for only so long.
        pool.hand_in = restart % 3 > 0;
        pool.submit(kernel(1, HOSTS as u32, 90));
        let mut widths = Vec::new();
        for second in 0..300_u32 {
            if second == restart {
                pool.restart();
            }
            if second == 15 {
                pool.submit(spec((2, CPUS, 10, None)));
            }
            pool.second();
            let hosts = pool.hosts_of(lender);
            if pool.hosts_of(waits).len() == 2 {
                assert_eq!(hosts.len(), 1, "restart at {restart}, second {second}");
            }
            // Agents answer at once, so at the end of a second the foreman knows what it has.
            if pool.hand_in
                && let Some(open) = pool.controller.standing().open.get(&RunId { job: lender, element: None })
                && let Some(told) = pool.told.get(&open.begun.id)
                && second.abs_diff(restart) > 15
            {
                let mut told = told.clone();
                told.sort();
                assert_eq!(told, hosts, "restart at {restart}, second {second}");
            }
            widths.push(hosts.len());
        }
        let mut rest = widths.iter();
        let grew = [3, 1, 3, 0].iter().all(|width| rest.any(|other| other == width));
        assert!(grew, "restart at {restart}: {widths:?}");
        for job in [lender, waits] {
            let run = pool.controller.standing().desk.books().job(job).and_then(|job| job.run(None));
            let run = run.expect("it is kept");
            let State::Done(done) = run.state else { panic!("job {job} is {:?}", run.state) };
            assert_eq!((run.attempts, done.outcome), (1, Outcome::Completed));
        }
        pool.restart();
    }
}

/// How a job ended, and after how many attempts.
fn ended(pool: &Pool, job: JobId) -> (Outcome, u32) {
    let run = pool.controller.standing().desk.books().job(job).and_then(|job| job.run(None));
    let run = run.expect("it is kept");
    let State::Done(done) = run.state else { panic!("job {job} is {:?}", run.state) };
    (done.outcome, run.attempts)
}

/// The word for what a job does.
fn word(pool: &Pool, job: JobId) -> &'static str {
    let run = pool.controller.standing().desk.books().job(job).and_then(|job| job.run(None));
    run.expect("it is kept").state.name()
}

#[test]
fn what_is_stopped_goes_on_where_it_was_before_others_come() {
    let (stops, rush, later) = (JobId(1), JobId(2), JobId(3));
    for restart in 0..50 {
        let mut pool = Pool::with(PreemptMode::Suspend, 0);
        pool.submit(spec((2, CPUS, 30, None)));
        let mut words = Vec::new();
        for second in 0..120 {
            if second == restart {
                pool.restart();
            }
            if second == 15 {
                // It needs half a host more than there is, and leaves half of what it gets.
                pool.submit(in_a_rush(spec((3, CPUS / 2, 12, None))));
                pool.submit(spec((1, CPUS, 5, None)));
                pool.submit(spec((1, 1, 5, None)));
            }
            pool.second();
            let runs = |job| pool.scripts.keys().any(|(id, _)| id.run.job == job);
            if word(&pool, stops) == "suspended" {
                assert_eq!(pool.stopped.len(), 2, "restart at {restart}, second {second}");
                assert!(!runs(later), "restart at {restart}, second {second}: it has no right to the place");
            }
            words.push(word(&pool, stops));
        }
        let rest = words.into_iter().skip_while(|word| *word != "running");
        let mut rest: Vec<&str> = rest.filter(|word| *word != "completing").collect();
        rest.dedup();
        assert_eq!(rest, ["running", "suspended", "running", "done"], "restart at {restart}");
        for job in [stops, rush, later, JobId(4)] {
            assert_eq!(ended(&pool, job), (Outcome::Completed, 1), "restart at {restart}, job {job}");
        }
        pool.restart();
    }
}

#[test]
fn what_is_stopped_can_be_cancelled_and_requeued() {
    let (stops, rush) = (JobId(1), JobId(2));
    for requeue in [false, true] {
        let mut pool = Pool::with(PreemptMode::Suspend, 30);
        pool.submit(spec((3, CPUS, 30, None)));
        for second in 0..200 {
            if second == 12 {
                pool.submit(in_a_rush(spec((3, CPUS, 60, None))));
            }
            if second == 40 {
                assert_eq!((word(&pool, stops), pool.scripts.len()), ("suspended", 6));
                let cancel = JobEvent::Cancelled { of: Elements::All, by: 1000 };
                pool.ask(match requeue {
                    true => Ask::Requeue(RunId { job: stops, element: None }),
                    false => Ask::Job(stops, cancel),
                });
                pool.restart();
            }
            pool.second();
            if second == 60 {
                assert_eq!(pool.scripts.len(), 3, "it is killed though it is stopped");
            }
        }
        assert_eq!(ended(&pool, rush), (Outcome::Completed, 1));
        let how = if requeue { (Outcome::Completed, 2) } else { (Outcome::Cancelled(1000), 1) };
        assert_eq!(ended(&pool, stops), how);
        pool.restart();
    }
}

#[test]
fn who_has_to_end_is_told_and_has_its_grace() {
    let (ends, other, rush) = (JobId(1), JobId(2), JobId(3));
    for restart in 10..50 {
        let mut pool = Pool::with(PreemptMode::Requeue, 20);
        pool.submit(spec((2, CPUS, 60, None)));
        pool.submit(spec((1, CPUS, 60, None)));
        let mut began = None;
        for second in 0..400 {
            if second == restart {
                pool.restart();
            }
            if second == 12 {
                pool.submit(in_a_rush(spec((1, CPUS, 10, None))));
            }
            pool.second();
            let told: Vec<Time> = pool.noticed.values().copied().collect();
            assert!(pool.noticed.keys().all(|(id, _)| id.run.job == other), "one is enough: {told:?}");
            if pool.scripts.keys().any(|(id, _)| id.run.job == rush) && began.is_none() {
                began = Some(second);
            }
        }
        let began = began.expect("it runs");
        assert!(began >= 31, "restart at {restart}: it is given a place after {began} s");
        assert_eq!(ended(&pool, ends), (Outcome::Completed, 1));
        assert_eq!(ended(&pool, other), (Outcome::Completed, 2));
        assert_eq!(ended(&pool, rush), (Outcome::Completed, 1));
        pool.restart();
    }
}

#[test]
fn the_host_of_a_lost_member_is_given_back() {
    let mut pool = Pool::new();
    let mut fixed = kernel(HOSTS as u32, HOSTS as u32, 150);
    fixed.size.max_nodes = Some(HOSTS as u32);
    pool.submit(fixed);
    (0..15).for_each(|_| pool.second());
    assert_eq!(pool.hosts_of(JobId(1)).len(), HOSTS);
    let run = RunId { job: JobId(1), element: None };
    let id = pool.controller.standing().open[&run].begun.id;
    let lost = 2;
    pool.silent = Some(lost);
    pool.submit(spec((1, CPUS, 10, None)));
    (0..40).for_each(|_| pool.second());
    assert_eq!(pool.told[&id], [HostId(0), HostId(1)]);
    assert!(!pool.controller.standing().open[&run].parts.contains_key(&HostId(lost as u32)));
    assert_eq!(pool.hosts_of(JobId(2)), [], "nobody hears the host");
    // It comes back with what it had, which has no right to be there any more.
    pool.silent = None;
    for second in 0..30 {
        if second == 5 {
            pool.restart();
        }
        pool.second();
    }
    assert_eq!(pool.hosts_of(JobId(1)), [HostId(0), HostId(1)]);
    (0..150).for_each(|_| pool.second());
    assert_eq!(ended(&pool, JobId(1)), (Outcome::Completed, 1));
    assert_eq!(ended(&pool, JobId(2)), (Outcome::Completed, 1));
    pool.restart();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn jobs_come_to_their_ends(
        wishes in prop::collection::vec(
            (1u32..=HOSTS as u32, 1u32..=CPUS, 1i64..40, prop::option::of(1u32..5)), 1..12),
        kernels in prop::collection::vec((1u32..=2, 2u32..=HOSTS as u32, 1i64..60), 0..4),
        restart_s in 1i64..60, cancel_s in 1i64..60, cancelled in 0usize..12, requeue_s in 1i64..60,
        rush in prop::collection::vec((0i64..60, 1u32..=HOSTS as u32, 1u32..=CPUS, 1i64..40), 0..4),
        mode in prop::sample::select(vec![PreemptMode::Suspend, PreemptMode::Requeue, PreemptMode::Cancel]),
        grace_s in prop::sample::select(vec![0u32, 5]),
        policy in prop::sample::select(vec![Policy::Default, Policy::Conservative]),
    ) {
        let mut pool = Pool::under(policy, mode, grace_s);
        for wish in &wishes {
            let submitted = Submitted { owner: owner(), spec: Arc::new(spec(*wish)) };
            let answer = pool.ask(Ask::Submit(submitted));
            prop_assert!(matches!(answer, Answer::Desk(Told::Accepted(_))), "{:?}", answer);
        }
        for (least, most, seconds) in &kernels {
            pool.submit(kernel(*least, *most, *seconds));
        }
        let cancelled = JobId(1 + (cancelled % (wishes.len() + kernels.len())) as u32);
        for second in 0..2_000 {
            if second == restart_s {
                pool.restart();
            }
            if second == cancel_s {
                let cancel = JobEvent::Cancelled { of: Elements::All, by: 1000 };
                pool.ask(Ask::Job(cancelled, cancel));
            }
            if second == requeue_s {
                pool.ask(Ask::Requeue(RunId { job: JobId(1), element: None }));
            }
            for (_, hosts, cpus, seconds) in rush.iter().filter(|(at, ..)| *at == second) {
                pool.submit(in_a_rush(spec((*hosts, *cpus, *seconds, None))));
            }
            pool.second();
        }
        let standing = pool.controller.standing();
        prop_assert!(standing.open.is_empty(), "{:?}", standing.open);
        prop_assert!(pool.scripts.is_empty(), "{:?}", pool.scripts);
        for job in standing.desk.books().jobs() {
            prop_assert!(job.ended().is_some(), "job {} is {}", job.id(), job.summary());
            if let Some(State::Done(done)) = job.run(None).map(|run| run.state) {
                let ok = match done.outcome {
                    Outcome::Completed => true,
                    Outcome::Preempted => mode == PreemptMode::Cancel,
                    _ => job.id() == cancelled,
                };
                prop_assert!(ok, "job {} ended with {:?}", job.id(), done.outcome);
            }
        }
        pool.restart();
    }
}

#[test]
fn what_could_never_start_is_refused() {
    let mut pool = Pool::new();
    let submitted = Submitted { owner: owner(), spec: Arc::new(spec((HOSTS as u32 + 1, 1, 1, None))) };
    let answer = pool.ask(Ask::Submit(submitted));
    assert!(matches!(answer, Answer::Desk(Told::Refused(_))), "{answer:?}");
    let answer = pool.ask(Ask::Site(Event::Purged(JobId(1))));
    assert!(matches!(answer, Answer::Desk(Told::Refused(_))), "{answer:?}");
}

#[test]
fn licences_are_in_the_journal() {
    let mut pool = Pool::new();
    let mut licensed = spec((1, 1, 30, None));
    licensed.needs.licences = vec![("solver".into(), 1)];
    let submitted = Submitted { owner: owner(), spec: Arc::new(licensed) };
    let answer = pool.ask(Ask::Submit(submitted.clone()));
    assert!(matches!(answer, Answer::Desk(Told::Refused(_))), "nobody knows the licence: {answer:?}");
    let licences = BTreeMap::from([("solver".to_owned(), 1)]);
    let rules = Rules { keep_s: 1_000_000, licences, ..Rules::default() };
    pool.ask(Ask::Site(Event::Rules(rules.clone())));
    for _ in 0..2 {
        let answer = pool.ask(Ask::Submit(submitted.clone()));
        assert!(matches!(answer, Answer::Desk(Told::Accepted(_))), "{answer:?}");
    }
    for second in 0..40 {
        if second == 10 {
            pool.restart();
            assert_eq!(pool.controller.standing().desk.books().rules(), &rules);
        }
        pool.second();
        assert!(pool.scripts.len() <= 1, "one licence for two");
    }
    (0..40).for_each(|_| pool.second());
    let books = pool.controller.standing().desk.books();
    assert!(books.jobs().all(|job| job.ended().is_some()));
}

#[test]
fn two_accounts_get_their_shares() {
    const HALF_LIFE_S: u32 = 2400;
    let mut pool = Pool::new();
    let table = "accounts.a = { shares = 3, users.ada = {} }\naccounts.b = { shares = 1, users.bob = {} }";
    assert_eq!(pool.set_accounts(table, HALF_LIFE_S), Answer::Desk(Told::Done));
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    let mut submitted = 0;
    for second in 0..3 * HALF_LIFE_S {
        // Both always have jobs that wait, of lengths that differ; bob's are wider, and ada's are more.
        for (user, cpus) in [("ada", 1), ("bob", 2)] {
            let books = pool.controller.standing().desk.books();
            let waiting = books.waiting().filter(|job| job.owner().user == user).count();
            for _ in waiting..24 {
                submitted += 1;
                pool.submit_as(user, spec((1, cpus, 10 + submitted * 7 % 40, None)));
            }
        }
        if second % 3001 == 3000 {
            pool.restart();
        }
        pool.second();
        for ((id, _), (cpus, _)) in &pool.scripts {
            let job = pool.controller.standing().desk.books().job(id.run.job).expect("it runs");
            *got.entry(job.owner().user.clone()).or_default() += u64::from(*cpus);
        }
    }
    let all: u64 = got.values().sum();
    assert!(all > u64::from(3 * HALF_LIFE_S * CPUS * HOSTS as u32) * 9 / 10, "the hosts are busy: {got:?}");
    for (user, due) in [("ada", 0.75), ("bob", 0.25)] {
        let part = 100.0 * got[user] as f64 / all as f64 / due;
        assert!((part - 100.0).abs() < 1.0, "{user} got {part} % of its share");
    }
    pool.restart();
}

#[test]
fn limits_of_accounts_act_in_the_live_queue() {
    let mut pool = Pool::new();
    let wrong =
        "accounts.a.parent = 'none'\nqos.p.preempts = ['q']\nqos.q.preempts = ['r']\nqos.r.preempts = ['p']
        partitions.nowhere = {}";
    let Answer::Desk(Told::Refused(Refusal::Books(BooksError::Accounting(errors)))) =
        pool.set_accounts(wrong, 0)
    else {
        panic!("it was taken")
    };
    let errors = errors.to_string();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(
        lines,
        [
            "accounts.a: there is no account `none` to be its parent: add it, or name another",
            "qos.p preempts itself through others: p preempts q preempts r preempts p: break the ring",
            "partitions.nowhere: there is no such partition: add it first, or name another",
            "half_life_s: the half-life is 0 ticks: give 1 to 1099511627776, or none for usage that never fades",
        ]
    );
    let site = |limits: &str| {
        format!(
            "accounts.lab = {{ {limits}, users = {{ ada = {{}}, bob = {{}} }} }}\n[qos.one]\nlimits.total.jobs = 2"
        )
    };
    let done = Answer::Desk(Told::Done);
    assert_eq!(pool.set_accounts(&site("limits.total.jobs = 1"), 600), done);
    let jobs = ["ada", "bob", "ada"].map(|user| pool.submit_as(user, spec((1, 2, 60, None))));
    let nobody = Arc::new(Owner { user: "eve".into(), ..Owner::clone(&owner()) });
    let refused = pool.ask(Ask::Submit(Submitted { owner: nobody, spec: Arc::new(spec((1, 1, 1, None))) }));
    assert!(matches!(refused, Answer::Desk(Told::Refused(Refusal::Hopeless(_)))), "{refused:?}");
    (0..20).for_each(|_| pool.second());
    assert_eq!((pool.scripts.len(), pool.words(jobs[1])), (1, vec!["AssocGrpJobsLimit"]));
    pool.restart();
    (0..20).for_each(|_| pool.second());
    assert_eq!((pool.scripts.len(), pool.words(jobs[1])), (1, vec!["AssocGrpJobsLimit"]));
    // What is limited by the account no more is limited by the QOS of the partition.
    let table = site("limits.total.jobs = 9") + "\n[partitions.all]\nqos = 'one'";
    assert_eq!(pool.set_accounts(&table, 600), done);
    pool.second();
    assert_eq!((pool.scripts.len(), pool.words(jobs[2])), (2, vec!["QOSGrpJobsLimit"]));
    // Two CPU-minutes were used by now, and one is allowed: what waits starts by itself when enough has faded.
    assert_eq!(pool.set_accounts(&site("limits.total.minutes.cpus = 1"), 600), done);
    pool.second();
    (0..100).for_each(|_| pool.second());
    assert_eq!((pool.scripts.len(), pool.words(jobs[2])), (0, vec!["AssocGrpCPUMinutesLimit"]));
    assert!(pool.controller.standing().desk.wake(pool.now).is_some_and(|at| at <= pool.now.after(3000)));
    pool.restart();
    let waited = (0..6000).find(|_| {
        pool.second();
        !pool.scripts.is_empty()
    });
    assert!(waited.is_some_and(|seconds| seconds > 600), "{waited:?}");
    assert_eq!(pool.ask(Ask::Site(Event::AccountingGone)), done);
    pool.restart();
    assert!(pool.controller.standing().desk.used().is_none());
    assert!(matches!(pool.ask(Ask::Site(Event::AccountingGone)), Answer::Desk(Told::Refused(_))));
}

#[test]
fn what_was_given_to_a_job_stays_while_it_runs() {
    let mut pool = Pool::new();
    let licences = BTreeMap::from([("solver".to_owned(), 2)]);
    pool.ask(Ask::Site(Event::Rules(Rules { keep_s: 1_000_000, licences, ..Rules::default() })));
    let mut licensed = spec((1, 4, 30, Some(4)));
    licensed.needs.licences = vec![("solver".into(), 1)];
    let array = pool.submit_as("ada", licensed.clone());
    licensed.array = None;
    let waits = pool.submit_as("ada", licensed);
    (0..15).for_each(|_| pool.second());
    assert_eq!(pool.scripts.len(), 2, "of two licences");
    let update = |count| JobEvent::Updated(Box::new(Update { fields: vec![Field::Licences(count)] }));
    let Answer::Desk(Told::Refused(Refusal::Books(why))) = pool.ask(Ask::Job(array, update(Vec::new())))
    else {
        panic!("it was changed")
    };
    let said = format!(
        "job {array}: Licenses cannot be changed: it is running, and keeps what it was given until it ends or is requeued"
    );
    assert_eq!(why.to_string(), said);
    // What waits may ask for others; for more than there are it waits.
    let many = update(vec![("solver".into(), 3)]);
    assert_eq!(pool.ask(Ask::Job(waits, many)), Answer::Desk(Told::Done));
    assert_eq!(pool.words(waits), ["Licenses"]);
    assert_eq!(pool.ask(Ask::Job(waits, update(Vec::new()))), Answer::Desk(Told::Done));
    pool.second();
    assert_eq!(pool.scripts.len(), 3, "it needs none");
    pool.restart();
}

/// What a controller wrote in the test below when version 1 was new: every journal of this version can be read.
const FIXTURE: &[u8] = include_bytes!("journal-v1.bin");

#[test]
fn a_journal_is_a_log_of_what_ran() {
    let mut pool = Pool::new();
    for wish in [(1, 4, 30, None), (3, 4, 20, None), (1, 2, 5, Some(3)), (1, 1, 7, None)] {
        pool.ask(Ask::Submit(Submitted { owner: owner(), spec: Arc::new(spec(wish)) }));
        (0..2).for_each(|_| pool.second());
    }
    pool.ask(Ask::Requeue(RunId { job: JobId(1), element: None }));
    (0..200).for_each(|_| pool.second());
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], FIXTURE] {
        let records = journal::unpack(file).expect("it is whole");
        journal::replay(fresh(), 0, records.iter().copied()).expect("each record follows");
        let log = trace::journal::log(records).expect("it can be read");
        assert_eq!(log.max_procs, Some(HOSTS as u32 * CPUS));
        // The first ran from its start after it was requeued.
        let part = (4, 5, 2, 100);
        let wanted = [(0, 30, 4, 100), (2, 20, 12, 100), part, part, part, (6, 7, 1, 100)];
        assert_eq!(log.records.len(), wanted.len());
        for (job, (submit, run, cpus, estimate)) in log.records.iter().zip(wanted) {
            assert_eq!((job.submit, job.requested_procs, job.estimate), (submit, cpus, estimate));
            // An end is heard with the next report, which may be a second later.
            assert!((run..=run + 1).contains(&job.run), "{job:?}");
        }
    }
}

/// What a controller wrote in the test below when resizes were new.
const RESIZED: &[u8] = include_bytes!("journal-v1-resized.bin");

#[test]
fn resizes_are_read_back_and_refused_where_they_cannot_follow() {
    let mut pool = Pool::new();
    pool.submit(kernel(1, HOSTS as u32, 20));
    (0..3).for_each(|_| pool.second());
    pool.submit(spec((2, CPUS, 5, None)));
    (0..60).for_each(|_| pool.second());
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], RESIZED] {
        let records = journal::unpack(file).expect("it is whole");
        journal::replay(fresh(), 0, records.iter().copied()).expect("each record follows");
        let is_resize = |record: &&[u8]| {
            let entry: Entry<Event> = Format::Journal.decode(record).expect("a record");
            matches!(entry.record, Record::Resized(..))
        };
        let at: Vec<usize> = (0..records.len()).filter(|at| is_resize(&records[*at])).collect();
        assert!(at.len() >= 3, "it grew, shrank and grew again: {at:?}");
        at.into_iter().for_each(|at| cannot_follow_itself(&records, at));
    }
}

fn cannot_follow_itself(records: &[&[u8]], at: usize) {
    let twice = records[..=at].iter().chain(&records[at..=at]).copied();
    let refused = journal::replay(fresh(), 0, twice).expect_err("it is so already");
    let number = at as u64 + 2;
    assert!(
        matches!(refused, JournalError::CannotFollow { number: which, .. } if which == number),
        "{refused}"
    );
}

/// What a controller wrote in the test below when stops, notices and hosts that are given back were new.
const YIELDS: &[u8] = include_bytes!("journal-v1-yields.bin");

/// Which of the records of those who make room, if it is one.
fn kind(record: &[u8]) -> Option<usize> {
    let entry: Entry<Event> = Format::Journal.decode(record).expect("a record");
    match entry.record {
        Record::Paced(_, pace) => Some(pace as usize),
        Record::Notice(..) => Some(3),
        Record::GivenBack(..) => Some(4),
        _ => None,
    }
}

#[test]
fn who_makes_room_is_read_back_and_refused_where_it_cannot_follow() {
    let mut pool = Pool::with(PreemptMode::Suspend, 0);
    let room = |pool: &mut Pool| {
        pool.submit(spec((3, CPUS, 20, None)));
        (0..3).for_each(|_| pool.second());
        pool.submit(in_a_rush(spec((1, CPUS, 5, None))));
        (0..200).for_each(|_| pool.second());
    };
    room(&mut pool);
    let (preempt, grace_s) = (PreemptMode::Requeue, 5);
    let all = Partition { is_default: true, preempt, grace_s, ..Partition::named("all") };
    pool.ask(Ask::Site(Event::Partition(all)));
    room(&mut pool);
    pool.submit(kernel(HOSTS as u32, HOSTS as u32, 60));
    for second in 0..150 {
        pool.silent = (3..40).contains(&second).then_some(2);
        pool.second();
    }
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], YIELDS] {
        let records = journal::unpack(file).expect("it is whole");
        let standing = journal::replay(fresh(), 0, records.iter().copied()).expect("each record follows");
        assert_eq!(standing.open.len(), 0);
        let at: Vec<usize> = (0..records.len()).filter(|at| kind(records[*at]).is_some()).collect();
        let kinds: BTreeSet<Option<usize>> = at.iter().map(|at| kind(records[*at])).collect();
        assert_eq!(kinds.len(), 5, "of each kind there is one: {kinds:?}");
        at.into_iter().for_each(|at| cannot_follow_itself(&records, at));
    }
}

#[test]
fn a_cut_journal_is_refused_or_ends_with_a_whole_record() {
    let all = journal::unpack(FIXTURE).expect("it is whole");
    for cut in 0..FIXTURE.len() {
        match journal::unpack(&FIXTURE[..cut]) {
            Ok(records) => assert_eq!(records, all[..records.len()], "cut at {cut}"),
            Err(why) => assert!(why.to_string().contains("journal"), "cut at {cut}: {why}"),
        }
    }
}
