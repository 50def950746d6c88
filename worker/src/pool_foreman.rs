//! The foreman of a kernel step of a pool, for the value in the core that decides: performs what it says, and tells it
//! what teams, the store in the controller, and the agent say.
//!
//! Step 8 of a job's way (DESIGN section 4). Invariants: what a team finishes is in the book here before it goes to the
//! store, and what the store keeps of it is enough to go on from, on any host; the answer is out only when the store has
//! it, so that a successor finds it.

use crate::agent::{FromJob, HOSTS_FILE, JobLink, ToJob, job_around, jobs_door, now, write_hosts};
use crate::foreman::{Answered, ForemanError, Mark, Outcome, Request, mark, other_version};
use crate::kept::{self, Kept, Whole};
use crate::launch::{self, Launch, Running};
use crate::ledger::Book;
use crate::program::{Described, Program};
use crate::progress::{Event, plural};
use crate::wire::{
    Commit, Failure, Finished, FromTeam, Record, Standing, TeamShape, ToTeam, VERSION, decode, encode,
};
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use muster_core::cluster::HostId;
use muster_core::job::outcome::Outcome as Ended;
use muster_core::protocol::foreman::{Foreman, ForemanInput, ForemanOutput, Team};
use muster_core::protocol::ledger::{FromStore, Refusal, Step, StepId, ToStore};
use muster_core::protocol::line::HostShare;
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use muster_kernels::Pattern;
use muster_kernels::hash::{Hash16, first16};
use muster_spec::{BlockSet, Node};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The variable that tells `muster kernel` that it is the foreman of a kernel step of a pool, by the number of the process
/// that has started it: whatever it starts itself, which inherits the variable, is none.
pub(crate) const STEP: &str = "MUSTER_STEP";

/// How long a team that has to make way may take to hand in what it has.
const MAKE_WAY: Duration = Duration::from_secs(5);
/// How long the store may take before a foreman that has to end does so.
const LAST: Duration = Duration::from_secs(5);

/// How a team is started on these hosts; the batch host comes first.
pub(crate) type Launcher<'a> = dyn Fn(&[HostShare]) -> Result<Launch, String> + 'a;

/// Whether this process is the foreman of a job that is a kernel step itself.
pub(crate) fn is_whole_job() -> bool {
    let parent = std::env::var(STEP).ok().and_then(|parent| parent.parse().ok());
    parent.is_some() && rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) == parent
}

/// The step of a pool that this process is the foreman of, if it runs inside a job of one: the job itself, or a step of
/// its script, which is another where its files are others.
pub(crate) fn step_around(described: &Described, state: &Path) -> Option<StepId> {
    let id = job_around()?;
    if is_whole_job() {
        return Some((id, described.step()));
    }
    // A job that has outlived its pool computes as it would without one.
    UnixStream::connect(jobs_door(state)).ok()?;
    let program = described.program.as_ref().map(|program| &program.hash);
    let files = encode(&(described.step(), &described.inputs, program));
    Some((id, first16(&blake3::hash(&files))))
}

/// A team, or one that is being started.
struct Current {
    number: u32,
    /// Hears once when it has been started, or why not.
    starting: Receiver<Result<Running, String>>,
    /// Has a start given up.
    abort: Sender<()>,
    running: Option<Running>,
    /// How its launcher has ended.
    launcher: Option<String>,
    shape: Option<TeamShape>,
    /// What it is to go on from, until it has been told.
    standing: Option<Standing>,
    /// When it is killed, once it has been told to make way.
    until: Option<Instant>,
}

/// A foreman at work.
pub(crate) struct PoolForeman<'a> {
    request: &'a Request,
    programs: &'static [Program],
    launcher: &'a Launcher<'a>,
    tell: &'a mut dyn FnMut(Event),
    interrupt: &'a Receiver<()>,
    link: JobLink,
    id: AttemptId,
    /// The name of the step.
    spec: [u8; 16],
    foreman: Option<Foreman>,
    /// The hosts by number.
    hosts: BTreeMap<HostId, HostShare>,
    /// What it shall use, when not all of it is known yet.
    wanted: Option<Vec<HostId>>,
    /// What it was told last to use, if it was.
    has: Vec<HostId>,
    team: Option<Current>,
    book: Book,
    resumed: Option<Mark>,
    began: Instant,
    wake: Time,
    attempts: u32,
    /// Teams lost one after another with nothing done between.
    losses: u32,
    /// Entries on their way whose commit is to be confirmed, and since when.
    unconfirmed: VecDeque<(u32, Instant)>,
    /// The last entry that was sent.
    sent: u32,
    /// Whether what is done is small enough to be kept by the store.
    keeps: bool,
    answer: Option<Whole>,
    /// When it gives up waiting for the store, once it has to end.
    ending: Option<Instant>,
    end: Option<Result<Outcome, ForemanError>>,
}

impl<'a> PoolForeman<'a> {
    /// The foreman of a step, whose agent has this state directory.
    pub(crate) fn new(
        request: &'a Request,
        (programs, launcher): (&'static [Program], &'a Launcher<'a>),
        tell: &'a mut dyn FnMut(Event),
        interrupt: &'a Receiver<()>,
        (state, step): (&Path, StepId),
    ) -> PoolForeman<'a> {
        PoolForeman {
            request,
            programs,
            launcher,
            tell,
            interrupt,
            link: JobLink::open(state, step),
            id: step.0,
            spec: step.1,
            foreman: None,
            hosts: BTreeMap::new(),
            wanted: None,
            has: Vec::new(),
            team: None,
            book: Book::new(request.described.grid),
            resumed: None,
            began: Instant::now(),
            wake: Time::NEVER,
            attempts: 0,
            losses: 0,
            unconfirmed: VecDeque::new(),
            sent: 0,
            keeps: true,
            answer: None,
            ending: None,
            end: None,
        }
    }

    /// Works until there is an answer, and the store has it.
    ///
    /// # Errors
    /// When the job cannot be done, or too many teams were lost.
    pub(crate) fn run(mut self) -> Result<Outcome, ForemanError> {
        loop {
            if let Some(end) = self.end.take() {
                if let Some(team) = self.team.take() {
                    team.kill();
                }
                return end;
            }
            self.turn();
        }
    }

    /// Waits for one thing, and does what follows.
    fn turn(&mut self) {
        let team = self.team.as_ref();
        let starting =
            team.filter(|team| team.running.is_none()).map_or(never(), |team| team.starting.clone());
        let running = team.and_then(|team| team.running.as_ref());
        let said = running.map_or(never(), |running| running.line.from_team.clone());
        let unended = team.is_some_and(|team| team.launcher.is_none());
        let ended = running.filter(|_| unended).map_or(never(), |running| running.ended.clone());
        select! {
            recv(self.link.hear) -> message => if let Ok(message) = message { self.heard(message) },
            recv(starting) -> started => self.started(started.unwrap_or_else(|e| Err(e.to_string()))),
            recv(said) -> said => match said {
                Ok(said) => self.team_said(said),
                Err(_) => self.team_gone(),
            },
            recv(ended) -> how => if let Some(team) = &mut self.team {
                team.launcher = Some(how.unwrap_or_default());
                team.kill();
            },
            recv(self.interrupt) -> _ => self.interrupted(),
            default(self.patience()) => self.woken(),
        }
    }

    fn patience(&self) -> Duration {
        let asked = u64::try_from(self.wake - now()).unwrap_or(0);
        let until = self.team.as_ref().and_then(|team| team.until).into_iter().chain(self.ending).min();
        let until = until.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        Duration::from_millis(asked).min(until).min(Duration::from_secs(3600))
    }

    fn woken(&mut self) {
        let past = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if past(self.ending) {
            self.end = Some(Ok(Outcome::Interrupted(self.mark())));
        } else if self.team.as_ref().is_some_and(|team| past(team.until)) {
            self.team_gone();
        } else if self.foreman.is_some() && self.wake <= now() {
            if self.wanted.is_some() {
                self.link.say(&FromJob::Hosts(self.id));
            }
            self.feed(ForemanInput::Woken);
        }
    }

    /// The agent speaks.
    fn heard(&mut self, message: ToJob) {
        match message {
            ToJob::Foreman(said) => {
                if let FromStore::Refused(_, why @ Refusal::TooManySteps) = said {
                    self.end = Some(Err(ForemanError::Unkept(why.to_string())));
                    return;
                }
                if let FromStore::Stored(_, upto) = said {
                    self.confirm(upto);
                }
                self.feed(ForemanInput::Store(said));
            }
            // A step that has begun, and a job that is one, are ended by the agent if they have to end.
            ToJob::Hosts(shares) if shares.is_empty() => {
                if self.foreman.is_none() && !is_whole_job() {
                    let why = "this attempt of the job is over, or this is not its first host";
                    self.end = Some(Err(ForemanError::Unkept(why.into())));
                }
            }
            ToJob::Hosts(shares) => {
                let hosts: Vec<HostId> = shares.iter().map(|share| share.host).collect();
                self.hosts.extend(shares.into_iter().map(|share| (share.host, share)));
                if self.foreman.is_none() {
                    let foreman = Foreman::new(self.id, self.step(), hosts);
                    self.foreman = Some(if is_whole_job() { foreman } else { foreman.of_script() });
                    self.feed(ForemanInput::Begin);
                }
                self.resize();
            }
            ToJob::Resize(hosts) => {
                self.wanted = Some(hosts);
                self.resize();
            }
            ToJob::Taken(pid) => {
                let why = format!(
                    "process {pid} of this job computes the same already: wait for it, or compute this on its own with \
                     --no-ledger"
                );
                self.end = Some(Err(ForemanError::Broken(why)));
            }
            ToJob::Remote(_) => {}
        }
    }

    fn step(&self) -> Step {
        let described = &self.request.described;
        Step {
            spec: self.spec,
            class: described.class.to_string(),
            blocks: described.grid.blocks(),
            hosts: (1, u32::MAX),
        }
    }

    /// Uses the hosts that it shall use, when all of them are known.
    fn resize(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        if self.foreman.is_none() || !wanted.iter().all(|host| self.hosts.contains_key(host)) {
            return self.link.say(&FromJob::Hosts(self.id));
        }
        let hosts = self.wanted.take().unwrap_or_default();
        self.has.clone_from(&hosts);
        self.feed(ForemanInput::Resize(hosts));
    }

    /// Tells the value something, and does what it says.
    fn feed(&mut self, input: ForemanInput) {
        let Some(foreman) = &mut self.foreman else { return };
        self.wake = Time::NEVER;
        for output in foreman.handle(now(), input) {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: ForemanOutput) {
        match output {
            ForemanOutput::Send(message) => {
                if let ToStore::Commit(_, _, commit) = &message {
                    self.sent = self.sent.max(commit.number);
                }
                self.link.say(&FromJob::Foreman(message));
            }
            ForemanOutput::StartTeam(team) => self.start(team),
            ForemanOutput::StopTeam(number) => self.stop(number),
            ForemanOutput::Complain(why) => (self.tell)(Event::Warning { text: why.to_string() }),
            ForemanOutput::Exit(Ended::Completed) => {
                self.leave_hosts();
                let answered = self.answer.take().map(|whole| Box::new(self.answered(whole)));
                let lost = || ForemanError::Broken("the store has an answer that nobody has given".into());
                self.end = Some(answered.map(Outcome::Answered).ok_or_else(lost));
            }
            ForemanOutput::Exit(_) => {
                let why = "the pool does not take what this attempt does: the warning before this says why";
                self.end = Some(Err(ForemanError::Broken(why.into())));
            }
            ForemanOutput::Wake(at) => self.wake = at,
        }
    }

    /// Says to the script which hosts it has now: what it starts next reads that.
    fn leave_hosts(&mut self) {
        let Some(path) = std::env::var_os(HOSTS_FILE).filter(|_| !self.has.is_empty()) else { return };
        let hosts = self.has.iter().filter_map(|host| self.hosts.get(host));
        let written = write_hosts(Path::new(&path), hosts.map(|share| (&*share.name, share.tasks)));
        if let Err(error) = written {
            let text = format!("cannot write {}: {error}", path.display());
            (self.tell)(Event::Warning { text });
        }
    }

    /// Starts a team, unless the answer is there.
    fn start(&mut self, team: Team) {
        let Team { number, hosts, round, state, done, .. } = team;
        if let Err(failure) = self.take_over(round, state, done) {
            return self.fails(failure);
        }
        if self.answer.is_some() {
            return self.feed(ForemanInput::Answered(number));
        }
        self.resumed.get_or_insert(mark(&self.request.described, &self.book));
        self.attempts += 1;
        let shares: Vec<HostShare> = hosts.iter().filter_map(|host| self.hosts.get(host).cloned()).collect();
        let (send, starting) = bounded(1);
        let (abort, aborted) = bounded(1);
        match (self.launcher)(&shares) {
            Ok(launch) => {
                let programs = self.programs;
                std::thread::spawn(move || {
                    let started = launch::start(&launch, programs, &aborted);
                    // Nobody waits any more: what was started must not stay.
                    if let Err(unheard) = send.send(started)
                        && let Ok(running) = unheard.into_inner()
                    {
                        running.kill();
                    }
                });
            }
            Err(why) => drop(send.send(Err(why))),
        }
        let (round, state) = (self.book.round(), self.book.state().map(<[u8]>::to_vec));
        let standing = Some(Standing { round, state, records: self.book.records().to_vec() });
        let (running, launcher, shape, until) = (None, None, None, None);
        self.team = Some(Current { number, starting, abort, running, launcher, shape, standing, until });
    }

    /// Takes over what the store had, of attempts before this one: what this one has done is in the book.
    fn take_over(
        &mut self,
        round: u32,
        state: Option<Vec<u8>>,
        done: Vec<muster_core::protocol::foreman::Done>,
    ) -> Result<(), Failure> {
        if self.attempts > 0 {
            return Ok(());
        }
        let (mut records, mut leaves) = (Vec::new(), Vec::new());
        for one in done {
            match decode::<Kept>(&one.partial)? {
                Kept::Part(partial, of) => {
                    records.push(Record { nodes: one.nodes, partial });
                    leaves.extend(of);
                }
                Kept::Answer(whole) => self.answer = Some(*whole),
                Kept::Unkept => {}
            }
        }
        if self.book.apply(Commit { round, state, records, leaves }) || self.answer.is_some() {
            return Ok(());
        }
        Err(Failure::Broken("what the store has of this step does not fit together".into()))
    }

    /// A team has been started, or not.
    fn started(&mut self, started: Result<Running, String>) {
        let job = self.request.job(true);
        let Some(team) = &mut self.team else { return };
        match started {
            Ok(mut running) => {
                if let Some(standing) = team.standing.take() {
                    running.line.tell(ToTeam::Job(job, standing));
                }
                if team.until.is_some() {
                    running.line.tell(ToTeam::Stop);
                }
                team.running = Some(running);
            }
            Err(why) => self.lost(why),
        }
    }

    /// A team has to make way: it hands in what it has.
    fn stop(&mut self, number: u32) {
        let Some(team) = self.team.as_mut().filter(|team| team.number == number) else { return };
        team.until = Some(Instant::now() + MAKE_WAY);
        match &mut team.running {
            Some(running) => drop(running.line.tell(ToTeam::Stop)),
            None => drop(team.abort.try_send(())),
        }
    }

    /// The user, or the pool, wants it to end: a second time, at once.
    fn interrupted(&mut self) {
        let number = self.team.as_ref().map(|team| team.number);
        match number {
            Some(number) if self.ending.is_none() => {
                self.ending = Some(Instant::now() + MAKE_WAY + LAST);
                (self.tell)(Event::Draining);
                self.stop(number);
            }
            _ => self.end = Some(Ok(Outcome::Interrupted(self.mark()))),
        }
    }

    /// Rank 0 speaks.
    fn team_said(&mut self, said: FromTeam) {
        let Some(team) = &mut self.team else { return };
        match said {
            FromTeam::Version(VERSION) => {}
            FromTeam::Version(other) => self.fails(other_version(other)),
            FromTeam::Started(shape) => {
                self.request.tell_team(self.attempts, &shape, self.tell);
                team.shape = Some(shape);
            }
            FromTeam::Progress { round, done } => {
                let before = (self.resumed.unwrap_or_else(|| self.mark()), self.began);
                (self.tell)(self.request.progress(self.attempts, before, (round, done)));
            }
            FromTeam::Placed(pools) => (self.tell)(Event::Placement { attempt: self.attempts, pools }),
            FromTeam::Commit(commit) => self.commits(commit),
            FromTeam::Finished(finished, rest) => self.finished(finished, rest),
            FromTeam::Drained => self.team_gone(),
            FromTeam::Failed(Failure::Host(why)) => self.lost(why),
            FromTeam::Failed(failure) => self.fails(failure),
        }
    }

    fn fails(&mut self, failure: Failure) {
        self.end = Some(Err(match failure {
            Failure::BadInput(problems) => ForemanError::BadInput(problems),
            Failure::Broken(why) | Failure::Host(why) => ForemanError::Broken(why),
        }));
    }

    /// Part of a round is finished: into the book, and to the store.
    fn commits(&mut self, commit: Commit) {
        let Some(number) = self.team.as_ref().map(|team| team.number) else { return };
        let began = Instant::now();
        let before = self.sent;
        let nodes: Vec<Vec<Node>> = commit.records.iter().map(|record| record.nodes.clone()).collect();
        if !self.enter(number, commit) {
            let why = "the team has committed what does not follow from what is done";
            return self.fails(Failure::Broken(why.into()));
        }
        self.losses = 0;
        for nodes in nodes {
            self.keep(number, nodes);
        }
        if self.sent > before {
            self.unconfirmed.push_back((self.sent, began));
        } else if let Some(running) = self.team.as_mut().and_then(|team| team.running.as_mut()) {
            running.line.tell(ToTeam::Committed { cost_us: 0 });
        }
    }

    /// Enters a commit in the book; a round that begins goes to the store, too.
    fn enter(&mut self, team: u32, mut commit: Commit) -> bool {
        // The state of the first round can be computed again, and is, by each team that is not told of it.
        let again = commit.round == self.book.round() && !self.book.done().is_empty();
        if again {
            commit.state = None;
        }
        let round = commit.state.clone().filter(|_| commit.round > 1).map(|state| (commit.round, state));
        let sound = self.book.apply(commit);
        if let Some((round, state)) = round.filter(|_| sound) {
            self.has_room();
            if self.keeps {
                self.feed(ForemanInput::Round(team, round, state));
            }
        }
        sound
    }

    /// Has the store keep what is done of nodes, if all that is done is small enough for it.
    fn keep(&mut self, team: u32, nodes: Vec<Node>) {
        self.has_room();
        let record = self.book.records().iter().find(|record| record.nodes == nodes);
        let Some(record) = record.filter(|_| self.keeps) else { return };
        let kept = Kept::Part(record.partial.clone(), self.book.leaves_of(&nodes));
        self.feed(ForemanInput::Finished(team, nodes, encode(&kept)));
    }

    /// Sees whether the store can keep what is done; once it cannot, it is given no more.
    fn has_room(&mut self) {
        if self.keeps && !kept::fits(&self.book) {
            self.keeps = false;
            let text = "what is done is too large for the pool to keep: if this host is lost, that work is done again";
            (self.tell)(Event::Warning { text: text.into() });
        }
    }

    /// The store has entries up to this one.
    fn confirm(&mut self, upto: u32) {
        while let Some(&(number, began)) = self.unconfirmed.front()
            && number <= upto
        {
            self.unconfirmed.pop_front();
            let cost_us = began.elapsed().as_micros() as u64;
            if let Some(running) = self.team.as_mut().and_then(|team| team.running.as_mut()) {
                running.line.tell(ToTeam::Committed { cost_us });
            }
        }
    }

    /// The team has the answer: it takes the place of all that was kept.
    fn finished(&mut self, finished: Finished, rest: Commit) {
        let Some(number) = self.team.as_ref().map(|team| team.number) else { return };
        let whole = self.enter(number, rest);
        let leaves: Option<Vec<Hash16>> = self.book.leaves().iter().copied().collect();
        let shape = self.team.as_mut().and_then(|team| team.shape.take());
        let (Some(leaves), Some(team), true) = (leaves, shape, whole) else {
            let why = "the team's answer lacks the hashes of some blocks";
            return self.fails(Failure::Broken(why.into()));
        };
        let (round, state) = (self.book.round(), self.book.state().unwrap_or_default().to_vec());
        let whole = Whole { finished, leaves, team, round, state };
        self.answer = Some(whole.clone());
        let all = BlockSet::empty(self.request.described.grid).missing();
        let mut kept = encode(&Kept::Answer(Box::new(whole)));
        if kept.len() as u64 > kept::MOST_BYTES {
            kept = encode(&Kept::Unkept);
        }
        self.feed(ForemanInput::Finished(number, all, kept));
        self.feed(ForemanInput::Answered(number));
    }

    fn answered(&self, whole: Whole) -> Answered {
        let Whole { finished, leaves, team, round, state } = whole;
        let round = Some(round).filter(|_| self.request.described.pattern == Pattern::Iterate);
        let blocks = self.request.described.grid.blocks();
        let mark = Mark { round, done: blocks, blocks };
        let (resumed, attempts) = (self.resumed.unwrap_or(mark), self.attempts.max(1));
        Answered { finished, mark, state, leaves, attempts, team, resumed }
    }

    fn mark(&self) -> Mark {
        mark(&self.request.described, &self.book)
    }

    /// The line to the team is closed, or it was killed.
    fn team_gone(&mut self) {
        let Some(team) = &self.team else { return };
        if self.answer.is_some() || team.until.is_some() {
            return self.team_ended();
        }
        let said = team.running.as_ref().map_or_else(Vec::new, Running::said);
        let how = team.launcher.clone().unwrap_or_else(|| "rank 0 ended".into());
        let telling =
            said.iter().filter(|l| l.contains("signal") || l.contains("rror") || l.contains("muster"));
        let why = telling.take(3).fold(how, |why, line| format!("{why}; {}", line.trim()));
        self.lost(why);
    }

    /// A team was lost, or could not be started.
    fn lost(&mut self, why: String) {
        if self.team.as_ref().is_some_and(|team| team.until.is_some()) {
            return self.team_ended();
        }
        self.losses += 1;
        let of = self.request.max_attempts;
        if self.losses >= of {
            let lost = plural(self.losses, "team");
            self.end = Some(Err(ForemanError::Broken(format!(
                "{lost} lost with nothing done, the last because {why}"
            ))));
            return;
        }
        let Mark { round, done, blocks } = self.mark();
        (self.tell)(Event::Lost { attempt: self.attempts, of, why, kept: done, blocks, round });
        self.team_ended();
    }

    fn team_ended(&mut self) {
        let Some(team) = self.team.take() else { return };
        team.kill();
        self.unconfirmed.clear();
        if self.ending.is_some() {
            // What it has handed in is on its way: the rest of the time is the store's.
            self.ending = Some(Instant::now() + if self.sent > 0 { LAST / 10 } else { Duration::ZERO });
            return;
        }
        self.feed(ForemanInput::TeamEnded(team.number));
    }
}

impl Current {
    fn kill(&self) {
        let _ = self.abort.try_send(());
        if let Some(running) = &self.running {
            running.kill();
        }
    }
}
