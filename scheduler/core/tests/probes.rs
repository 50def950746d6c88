//! Jobs that read files: hosts are asked for them, those that lack them are left out by name, and a job that none can run
//! is refused with what each says. With the real desk; what happens when things break is the simulator's to try.

use muster_core::books::Books;
use muster_core::books::event::Event;
use muster_core::books::partition::Partition;
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, HostId, Shape};
use muster_core::decide::decision::Decision;
use muster_core::decide::reason::Reason;
use muster_core::job::event::{Elements, JobEvent};
use muster_core::job::hold::HeldBy;
use muster_core::job::id::{JobId, RunId};
use muster_core::job::inputs::{Found, Lack};
use muster_core::job::outcome::Outcome;
use muster_core::job::update::{Field, Update};
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::{JobSpec, Work};
use muster_core::protocol::agent::{Agent, AgentInput, AgentOutput};
use muster_core::protocol::clerk::{Ask, Clerk, Told};
use muster_core::protocol::controller::{Answer, Controller, Input, Output, Request};
use muster_core::protocol::format::Format;
use muster_core::protocol::inputs::LookFor;
use muster_core::protocol::journal;
use muster_core::protocol::lease::Lease;
use muster_core::protocol::ledger::{Commit, FromStore, Refusal, Round, Step, ToStore};
use muster_core::protocol::message::{Ended, Ending, FromShepherd, ToController, ToShepherd};
use muster_core::protocol::probe::{Finding, ProbeId};
use muster_core::protocol::stamp::{AttemptId, Boot};
use muster_core::protocol::standing::Standing;
use muster_core::time::Time;
use muster_spec::Node;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const HOSTS: usize = 3;
const JOB: JobId = JobId(1);

/// A controller and agents that are always heard; what probes find is what the test says.
struct Pool {
    now: Time,
    controller: Controller<Clerk>,
    journal: Vec<Vec<u8>>,
    agents: Vec<Agent>,
    said: VecDeque<(HostId, ToController)>,
    answers: Vec<Answer<Told>>,
    files: BTreeMap<usize, Finding>,
    /// Probes that nobody has answered.
    asked: Vec<(usize, ProbeId)>,
    runs: BTreeSet<(AttemptId, usize)>,
    told: Vec<FromStore>,
}

fn fresh() -> Standing<Clerk> {
    Standing::new(Clerk::new(Books::new(Rules { keep_s: 1_000_000, ..Rules::default() })))
}

fn found(blocks: u32) -> Finding {
    let class = "exact".into();
    Ok(Found { spec: [7; 16], class, blocks, files: 1, bytes: 99, print: [blocks as u8; 16] })
}

fn missing() -> Finding {
    Err(Lack::Missing("/data/a.csv".into()))
}

fn unreadable() -> Finding {
    Err(Lack::Unreadable { path: "/data/a.csv".into(), why: "permission denied".into() })
}

impl Pool {
    fn new(files: [Option<Finding>; HOSTS]) -> Self {
        let files = files.into_iter().enumerate().filter_map(|(host, file)| Some((host, file?)));
        let mut pool = Pool {
            now: Time(0),
            controller: Controller::new(Lease::default(), fresh()),
            journal: Vec::new(),
            agents: (0..HOSTS).map(|host| Agent::new(Lease::default(), Boot(host as u64))).collect(),
            said: VecDeque::new(),
            answers: Vec::new(),
            files: files.collect(),
            asked: Vec::new(),
            runs: BTreeSet::new(),
            told: Vec::new(),
        };
        pool.hear(Input::Begin);
        pool.ask(Ask::Site(Event::Partition(Partition { is_default: true, ..Partition::named("all") })));
        for host in 0..HOSTS {
            let mut host = Host::new(format!("host{host}"), Shape::parse("1x4").expect("a shape"));
            host.partitions.insert("all".into());
            pool.ask(Ask::Site(Event::Host(Box::new(host))));
        }
        for host in 0..HOSTS {
            pool.agent_hears(host, AgentInput::Begin(Vec::new()));
        }
        pool.seconds(15);
        let mut spec = JobSpec::named("reads");
        (spec.work, spec.size.nodes, spec.size.max_nodes) = (Work::KernelOnFiles, 1, Some(3));
        spec.size.cpus_per_task = Some(4);
        let owner = Arc::new(Owner { uid: 1000, gid: 1000, user: "ada".into() });
        let answer = pool.ask(Ask::Submit(Submitted { owner, spec: Arc::new(spec) }));
        assert_eq!(answer, Answer::Desk(Told::Accepted(JOB)));
        pool
    }

    fn ask(&mut self, ask: Ask) -> Answer<Told> {
        self.hear(Input::Client(0, Request::Desk(ask)));
        self.answers.pop().expect("every request is answered")
    }

    fn seconds(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now = self.now.after(1000);
            (0..HOSTS).for_each(|host| self.agent_hears(host, AgentInput::Woken));
            self.hear(Input::Woken);
        }
    }

    /// What is asked is found, where the test says what.
    fn answer(&mut self) {
        for (host, id) in std::mem::take(&mut self.asked) {
            match self.files.get(&host).cloned() {
                Some(finding) => self.agent_hears(host, AgentInput::Probed(id, finding)),
                None => self.asked.push((host, id)),
            }
        }
        self.seconds(1);
    }

    fn restart(&mut self) {
        let records = self.journal.iter().map(|record| &record[..]);
        let standing = journal::replay(fresh(), 0, records).expect("the journal can be read back");
        assert_eq!(standing, *self.controller.standing(), "the journal says what the memory said");
        let snapshot = Format::Journal.encode(&standing);
        let standing = Format::Journal.decode(&snapshot).expect("a snapshot can be read back");
        self.controller = Controller::new(Lease::default(), standing);
        self.hear(Input::Begin);
        self.seconds(15);
    }

    fn hear(&mut self, input: Input<Ask>) {
        let mut next = Some(input);
        while let Some(input) = next {
            for output in self.controller.handle(self.now, input) {
                match output {
                    Output::Persist(entries) => {
                        self.journal.extend(entries.iter().map(journal::encode::<Clerk>))
                    }
                    Output::Send(host, message) => {
                        self.agent_does(host.0 as usize, AgentInput::Controller(message));
                    }
                    Output::Reply(_, answer) => self.answers.push(answer),
                    Output::Tell(_, message) => self.told.push(message),
                    Output::Wake(_) => {}
                }
            }
            next = self.said.pop_front().map(|(host, message)| Input::Agent(host, message));
        }
    }

    fn agent_hears(&mut self, host: usize, input: AgentInput) {
        self.agent_does(host, input);
        if let Some((host, message)) = self.said.pop_front() {
            self.hear(Input::Agent(host, message));
        }
    }

    fn agent_does(&mut self, host: usize, input: AgentInput) {
        for output in self.agents[host].handle(self.now, input) {
            match output {
                AgentOutput::Send(message) => self.said.push_back((HostId(host as u32), message)),
                AgentOutput::Launch(start, _) => drop(self.runs.insert((start.id, host))),
                AgentOutput::Probe(id, what) => {
                    let what: LookFor = Format::Message.decode(&what).expect("the desk has encoded it");
                    assert_eq!((what.owner.uid, &what.spec.name[..]), (1000, "reads"));
                    self.asked.push((host, id));
                }
                AgentOutput::Tell(id, ToShepherd::Kill) if self.runs.remove(&(id, host)) => {
                    let ended = FromShepherd::Ended(Ending::bare(Ended::Killed));
                    self.agent_does(host, AgentInput::Shepherd(id, ended));
                }
                AgentOutput::Tell(id, ToShepherd::Forget) => {
                    self.agent_does(host, AgentInput::ShepherdDied(id));
                }
                _ => {}
            }
        }
    }

    /// Why the job waits, if it does.
    fn why(&self) -> Option<Decision> {
        let mut desk = self.controller.standing().desk.clone();
        desk.explain(JOB, self.now).pop().map(|decided| decided.decision)
    }

    /// What the store tells the foreman of the attempt that runs.
    fn store(&mut self, message: ToStore) -> FromStore {
        self.hear(Input::Foreman(HostId(0), message));
        self.told.pop().expect("it answers")
    }

    /// The attempt that runs.
    fn attempt(&self) -> AttemptId {
        self.runs.first().expect("it runs").0
    }

    fn hosts(&self) -> Vec<usize> {
        self.runs.iter().map(|(_, host)| *host).collect()
    }
}

#[test]
fn hosts_without_the_files_are_left_out_by_name() {
    for restart in [false, true] {
        let mut pool = Pool::new([Some(missing()), Some(found(12)), Some(found(12))]);
        pool.seconds(2);
        let Some(Decision::Wait(reasons)) = pool.why() else { panic!("{:?}", pool.why()) };
        let all = ["host0", "host1", "host2"].map(String::from).to_vec();
        assert_eq!(reasons[..], [Reason::Probing(all)]);
        if restart {
            pool.restart();
        }
        pool.answer();
        pool.seconds(30);
        assert_eq!(pool.hosts(), [1, 2], "it grows where the files are, and nowhere else");
        let probe = &pool.controller.standing().probes[&JOB];
        assert_eq!(probe.found().map(|found| found.blocks), Some(12));
        pool.restart();
        pool.seconds(30);
        assert_eq!(pool.hosts(), [1, 2]);
        let (id, _) = *pool.runs.first().expect("it runs");
        pool.runs.clear();
        let ended = FromShepherd::Ended(Ending::bare(Ended::Exited(Outcome::Completed)));
        pool.agent_hears(1, AgentInput::Shepherd(id, ended));
        pool.seconds(15);
        assert_eq!(pool.controller.standing().open.len(), 0);
        assert_eq!(pool.controller.standing().probes.len(), 0, "forgotten with the job");
    }
}

#[test]
fn a_job_whose_files_are_nowhere_is_refused_with_what_each_host_says() {
    let other = found(13);
    let mut pool = Pool::new([Some(missing()), Some(unreadable()), Some(missing())]);
    pool.answer();
    let lack = |host: &str, finding: Finding| (host.to_owned(), finding.expect_err("a lack"));
    let lacks = vec![lack("host0", missing()), lack("host1", unreadable()), lack("host2", missing())];
    let Some(Decision::Refuse(reasons)) = pool.why() else { panic!("{:?}", pool.why()) };
    assert_eq!(reasons[..], [Reason::NoInputs(lacks)]);
    let says = reasons[0].to_string();
    assert!(says.contains("host1: /data/a.csv cannot be read: permission denied"), "{says}");
    // Somebody puts the file there, and has the job looked at again.
    pool.files.extend([(0, found(12)), (1, other)]);
    pool.restart();
    assert!(matches!(pool.why(), Some(Decision::Refuse(_))), "nobody has said so");
    for event in [
        JobEvent::Held { of: Elements::All, by: HeldBy::User },
        JobEvent::Released { of: Elements::All, by: HeldBy::User },
    ] {
        assert_eq!(pool.ask(Ask::Job(JOB, event)), Answer::Desk(Told::Done));
    }
    pool.seconds(1);
    pool.answer();
    pool.seconds(30);
    assert_eq!(pool.hosts(), [0], "host 1 has other files than the first to tell");
    let probe = &pool.controller.standing().probes[&JOB];
    assert_eq!(probe.said(HostId(1)), Some(Err(&Lack::Differs)));
    pool.restart();
}

#[test]
fn a_probe_that_is_lost_is_asked_again_and_holds_nothing_up() {
    let mut pool = Pool::new([Some(found(12)), Some(found(12)), None]);
    pool.answer();
    let Some(Decision::Wait(reasons)) = pool.why() else { panic!("{:?}", pool.why()) };
    assert_eq!(reasons[..], [Reason::Probing(vec!["host2".into()])]);
    // Its host dies: the job goes where the files are known to be.
    pool.agents[2] = Agent::new(Lease::default(), Boot(99));
    pool.asked.clear();
    for _ in 0..40 {
        pool.now = pool.now.after(1000);
        (0..2).for_each(|host| pool.agent_hears(host, AgentInput::Woken));
        pool.hear(Input::Woken);
    }
    assert_eq!(pool.hosts(), [0, 1]);
    // It is back, is asked again, and says nothing new when it says it twice.
    pool.files.insert(2, found(12));
    pool.agent_hears(2, AgentInput::Begin(Vec::new()));
    pool.seconds(15);
    let again = pool.asked.clone();
    assert_eq!(again.iter().map(|(host, _)| *host).collect::<Vec<usize>>(), [2]);
    pool.answer();
    let records = pool.journal.len();
    let (host, id) = again[0];
    pool.agent_hears(host, AgentInput::Probed(id, missing()));
    pool.seconds(30);
    assert_eq!(pool.hosts(), [0, 1, 2]);
    assert!(pool.journal.len() >= records);
    let run = RunId { job: JOB, element: None };
    assert!(pool.controller.standing().open.contains_key(&run));
    let probe = &pool.controller.standing().probes[&JOB];
    assert_eq!(probe.said(HostId(2)), Some(Ok(())));
}

/// What a controller wrote in the test below when probes and rounds were new.
const FIXTURE: &[u8] = include_bytes!("journal-v4-files.bin");

#[test]
fn a_step_has_the_grid_and_the_files_that_were_found() {
    let mut pool = Pool::new([Some(found(12)), Some(found(12)), Some(found(12))]);
    pool.answer();
    pool.seconds(2);
    let id = pool.attempt();
    let step = |blocks| Step { spec: [7; 16], class: "exact".into(), blocks, hosts: (1, 3) };
    let of = (id, [7; 16]);
    let other = FromStore::Refused(of, Refusal::OtherGrid { found: 12, said: 13 });
    assert_eq!(pool.store(ToStore::Open(id, step(13))), other);
    assert!(matches!(pool.store(ToStore::Open(id, step(12))), FromStore::Opened(..)));
    let leaf = |number, block| Commit { number, nodes: vec![Node::leaf(block)], partial: vec![1; 9] };
    let commit = |commit| ToStore::Commit(id, [7; 16], commit);
    assert_eq!(pool.store(commit(leaf(1, 0))), FromStore::Stored(of, 1));
    let round = Round { number: 2, round: 2, state: vec![5; 4] };
    assert_eq!(pool.store(ToStore::Round(id, [7; 16], round)), FromStore::Stored(of, 2));
    assert_eq!(pool.store(commit(leaf(3, 0))), FromStore::Stored(of, 3));
    // The job is changed, so its files are looked at again: as many blocks, of something else.
    let fields = vec![Field::Comment(Some("again".into()))];
    let answer = pool.ask(Ask::Job(JOB, JobEvent::Updated(Box::new(Update { fields }))));
    assert_eq!(answer, Answer::Desk(Told::Done));
    for host in 0..HOSTS {
        let changed = found(12).map(|found| Found { print: [99; 16], ..found });
        pool.files.insert(host, changed);
    }
    pool.seconds(1);
    assert!(matches!(pool.store(ToStore::Open(id, step(12))), FromStore::Opened(..)), "nobody has told");
    pool.answer();
    assert_eq!(pool.store(ToStore::Open(id, step(12))), FromStore::Refused(of, Refusal::OtherInputs));
    pool.restart();
    assert_eq!(pool.store(ToStore::Open(id, step(12))), FromStore::Refused(of, Refusal::OtherInputs));
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], FIXTURE] {
        let records = journal::unpack(file).expect("it is whole");
        let standing = journal::replay(fresh(), 0, records).expect("each record follows");
        let opened = standing.ledgers.values().next().expect("it is under way").list();
        assert_eq!((opened.round, opened.done.len()), (2, 1));
        assert_eq!(standing.probes[&JOB].found().map(|found| found.print), Some([99; 16]));
    }
}
