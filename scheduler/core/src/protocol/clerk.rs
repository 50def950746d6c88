//! The desk of a real controller: the books, the cluster's hosts, and the scheduler that follows both.
//!
//! Invariants: books and roster are the fold of what is noted; scheduler and free resources can be made anew from them,
//! and are, after a restart; a host that is not usable by the protocol is down to the scheduler, whatever the site says.

use super::desk::{Asked, AttemptEnd, Begun, Desk, Due, Place, Why};
use super::format::Format;
use super::message::{Conduct, Role};
use super::stamp::AttemptId;
use crate::books::Books;
use crate::books::error::BooksError;
use crate::books::event::{Event, Fact};
use crate::cluster::{Allocation, Host, HostId, HostState, Hosts, HostsError};
use crate::decide::{Scheduler, asks, running};
use crate::job::event::{Elements, JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::placement::Placement;
use crate::job::usage::Usage;
use crate::job::{Owner, Submitted};
use crate::jobspec::{JobSpec, Requeue, Work};
use crate::policy::Policy;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What may be asked about jobs and hosts. Whether the one who asks may is the shell's to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Take a job.
    Submit(Submitted),
    /// Hold, release, cancel or change a job, or elements of it.
    Job(JobId, JobEvent),
    /// End what runs, and run it again.
    Requeue(RunId),
    /// Change a partition, a reservation or the rules: the books' own words.
    Site(Event),
    /// A new host.
    AddHost(Host),
    /// Drain a host, or take it back.
    SetHost(HostId, HostState),
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The job has this number.
    Accepted(JobId),
    /// The host has this number.
    Added(HostId),
    /// It is done.
    Done,
    /// It cannot be done.
    Refused(Refusal),
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The books say no.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// The host cannot be added.
    #[error(transparent)]
    Host(#[from] HostsError),
    /// There is no such host.
    #[error("there is no host number {}: `sinfo` lists them", .0.0)]
    NoHost(HostId),
    /// It does not run.
    #[error("job {0} does not run, so it cannot be run again: submit it anew, or release it if it is held")]
    NotRunning(RunId),
    /// Jobs and attempts are not changed in this way.
    #[error("only partitions, reservations and rules are changed in this way")]
    NotSite,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Something in the books.
    Books(Event),
    /// A host is added.
    Host(Host),
    /// A host is drained, or taken back.
    HostState(HostId, HostState),
}

/// What a host is told of its part of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Whose job it is.
    pub owner: Arc<Owner>,
    /// What it asks for.
    pub spec: Arc<JobSpec>,
    /// All that it was given.
    pub on: Placement,
}

/// The desk of a real controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Clerk {
    books: Books,
    roster: Vec<Host>,
    #[serde(skip)]
    policy: Option<Policy>,
    #[serde(skip)]
    planner: Option<Box<Planner>>,
    #[serde(skip)]
    usable: BTreeSet<HostId>,
}

/// What can be made anew.
#[derive(Clone, Debug)]
struct Planner {
    scheduler: Scheduler,
    hosts: Hosts,
}

/// What can be made anew does not count.
impl PartialEq for Clerk {
    fn eq(&self, other: &Clerk) -> bool {
        self.books == other.books && self.roster == other.roster
    }
}

impl Clerk {
    /// A desk with these books and no host.
    pub fn new(books: Books) -> Clerk {
        Clerk { books, roster: Vec::new(), policy: None, planner: None, usable: BTreeSet::new() }
    }

    /// Decides by this policy from now on; EASY when nothing is said.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = Some(policy);
        self.planner = None;
    }

    /// The books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The hosts, by their numbers.
    pub fn roster(&self) -> &[Host] {
        &self.roster
    }

    /// What is free and who is next, made anew if need be.
    fn plan(&mut self) -> &mut Planner {
        if self.planner.is_none() {
            let mut planner = Planner::new(self.policy);
            for (number, host) in (0..).zip(&self.roster) {
                planner.add(host, self.usable.contains(&HostId(number)));
            }
            let live: Vec<RunId> = self.books.live().map(|(run, _)| run).collect();
            live.into_iter().for_each(|run| planner.hold(&self.books, run));
            self.planner = Some(Box::new(planner));
        }
        self.planner.as_mut().expect("it was made if it was not there")
    }

    fn check(&self, at: Time, event: Event) -> Result<Event, Refusal> {
        let fact = Fact { at, event };
        self.books.check(&fact)?;
        Ok(fact.event)
    }

    fn try_ask(&self, now: Time, ask: &Ask) -> Result<Asked<Change, Told>, Refusal> {
        let done = |change| Asked { events: vec![change], end: Vec::new(), answer: Told::Done };
        match ask {
            Ask::Submit(submitted) => {
                let id = self.books.next_id();
                let event = self.check(now, Event::Submitted(id, submitted.clone()))?;
                Ok(Asked { answer: Told::Accepted(id), ..done(Change::Books(event)) })
            }
            Ask::Job(id, what) => {
                let event = self.check(now, Event::Job(*id, what.clone()))?;
                let end = match what {
                    JobEvent::Cancelled { of, by } => self.live(*id, of, Why::Cancelled(*by)),
                    _ => Vec::new(),
                };
                Ok(Asked { end, ..done(Change::Books(event)) })
            }
            Ask::Requeue(run) => {
                let placed = self.books.run(*run).is_some_and(|run| run.state.placed().is_some());
                if !placed {
                    return Err(Refusal::NotRunning(*run));
                }
                if !self.may_requeue(run.job) {
                    return Err(BooksError::MayNotRunAgain(run.job).into());
                }
                Ok(Asked { events: Vec::new(), end: vec![(*run, Why::Requeued)], answer: Told::Done })
            }
            Ask::Site(event @ (Event::Partition(_) | Event::PartitionGone(_) | Event::Rules(_)))
            | Ask::Site(event @ (Event::Reservation(_) | Event::ReservationGone(_))) => {
                Ok(done(Change::Books(self.check(now, event.clone())?)))
            }
            Ask::Site(_) => Err(Refusal::NotSite),
            Ask::AddHost(host) => {
                Planner::new(None).hosts.add(host.clone())?;
                if self.roster.iter().any(|other| other.name == host.name) {
                    return Err(HostsError::SameName { name: host.name.clone() }.into());
                }
                let number = HostId(self.roster.len() as u32);
                Ok(Asked { answer: Told::Added(number), ..done(Change::Host(host.clone())) })
            }
            Ask::SetHost(host, state) => {
                self.roster.get(host.0 as usize).ok_or(Refusal::NoHost(*host))?;
                Ok(done(Change::HostState(*host, state.clone())))
            }
        }
    }

    /// What of a job holds hosts, to be ended.
    fn live(&self, id: JobId, of: &Elements, why: Why) -> Vec<(RunId, Why)> {
        let meant = |run: &RunId| match (of, run.element) {
            (Elements::All, _) | (_, None) => true,
            (Elements::Ranges(ranges), Some(at)) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&at)),
        };
        let runs = self.books.job(id).into_iter().flat_map(|job| job.live()).map(|(run, _)| run);
        runs.filter(meant).map(|run| (run, why)).collect()
    }

    fn may_requeue(&self, job: JobId) -> bool {
        self.books.job(job).is_some_and(|job| job.spec().queue.requeue == Requeue::Allowed)
    }

    /// Tells the books, and whoever plans by them.
    fn tell(&mut self, at: Time, event: Event) {
        let fact = Fact { at, event };
        // An attempt may be told of twice, from the books' view: a cancelled one is completing already.
        if self.books.check(&fact).is_err() {
            return;
        }
        self.books.apply(&fact);
        if let Some(planner) = &mut self.planner {
            planner.scheduler.observe(&self.books, &mut planner.hosts, &fact.event);
        }
    }
}

impl Desk for Clerk {
    type Request = Ask;
    type Answer = Told;
    type Event = Change;

    fn ask(&self, now: Time, request: &Ask) -> Asked<Change, Told> {
        self.try_ask(now, request).unwrap_or_else(|refusal| Asked {
            events: Vec::new(),
            end: Vec::new(),
            answer: Told::Refused(refusal),
        })
    }

    fn follows(&self, event: &Change) -> bool {
        match event {
            Change::Books(event) => {
                let at = self.books.last().unwrap_or(Time(i64::MIN));
                self.books.check(&Fact { at, event: event.clone() }).is_ok()
            }
            Change::Host(host) => self.roster.iter().all(|other| other.name != host.name),
            Change::HostState(host, _) => (host.0 as usize) < self.roster.len(),
        }
    }

    fn may_begin(&self, begun: &Begun) -> bool {
        let Ok(on) = Format::Journal.decode::<Arc<Placement>>(&begun.plan) else { return false };
        let event = Event::Run(begun.id.run, RunEvent::Started { attempt: begun.id.attempt, on });
        let at = self.books.last().unwrap_or(Time(i64::MIN));
        self.books.check(&Fact { at, event }).is_ok()
    }

    fn apply(&mut self, at: Time, event: &Change) {
        match event {
            Change::Books(event) => {
                let fact = Fact { at, event: event.clone() };
                self.books.apply(&fact);
                if let Some(planner) = &mut self.planner {
                    planner.scheduler.observe(&self.books, &mut planner.hosts, event);
                }
            }
            Change::Host(host) => {
                let number = HostId(self.roster.len() as u32);
                self.roster.push(host.clone());
                let usable = self.usable.contains(&number);
                if let Some(planner) = &mut self.planner {
                    planner.add(host, usable);
                }
            }
            Change::HostState(number, state) => {
                self.roster[number.0 as usize].state = state.clone();
                let usable = self.usable.contains(number);
                if let Some(planner) = &mut self.planner {
                    planner.hosts.set_state(*number, seen(state, usable));
                }
            }
        }
    }

    fn due(&self, now: Time) -> Due<Change> {
        let events = self.books.due(now);
        let ends = events.iter().filter_map(|event| match event {
            Event::Run(run, RunEvent::Completing { .. }) => Some((*run, Why::Deadline)),
            _ => None,
        });
        Due { end: ends.collect(), events: events.into_iter().map(Change::Books).collect() }
    }

    fn usable(&mut self, host: HostId, usable: bool) {
        if usable { self.usable.insert(host) } else { self.usable.remove(&host) };
        if let (Some(planner), Some(known)) = (&mut self.planner, self.roster.get(host.0 as usize)) {
            planner.hosts.set_state(host, seen(&known.state, usable));
        }
    }

    fn decide(&mut self, now: Time) -> Vec<Begun> {
        self.plan();
        let Clerk { books, planner: Some(planner), .. } = self else { return Vec::new() };
        let passed = planner.scheduler.pass(books, &mut planner.hosts, now);
        let begun = passed.starts.into_iter().map(|start| {
            let spec = books.job(start.run.job).map(|job| job.spec().clone());
            let conduct = spec.map_or(Conduct::Stay, |spec| conduct(&spec));
            let role = |at| if at == 0 { Role::Batch } else { Role::Member };
            let parts = start.on.allocation.parts.iter().enumerate();
            let limit_ms = start.on.limit_s.and_then(|s| i64::try_from(s.saturating_mul(1000)).ok());
            Begun {
                id: AttemptId { run: start.run, attempt: start.attempt },
                conduct,
                limit_ms,
                places: parts.map(|(at, part)| Place { host: part.host, role: role(at) }).collect(),
                plan: Format::Journal.encode(&start.on),
            }
        });
        begun.collect()
    }

    fn launch(&self, begun: &Begun, _: &Place) -> Vec<u8> {
        let job = self.books.job(begun.id.run.job).expect("what begins is in the books");
        let on = Format::Journal.decode(&begun.plan).expect("it was encoded here");
        Format::Message.encode(&Launch { owner: job.owner().clone(), spec: job.spec().clone(), on })
    }

    fn wake(&self, now: Time) -> Option<Time> {
        self.books.next_wake(now)
    }

    fn begun(&mut self, at: Time, begun: &Begun) {
        let on = Format::Journal.decode(&begun.plan).expect("it was encoded by a desk, and checked if it was read back");
        let AttemptId { run, attempt } = begun.id;
        self.tell(at, Event::Run(run, RunEvent::Started { attempt, on }));
    }

    fn up(&mut self, at: Time, id: AttemptId) {
        self.tell(at, Event::Run(id.run, RunEvent::Began { attempt: id.attempt }));
    }

    fn ends(&mut self, at: Time, id: AttemptId, end: AttemptEnd) {
        self.tell(at, Event::Run(id.run, RunEvent::Completing { attempt: id.attempt, outcome: outcome(end) }));
    }

    fn closed(&mut self, at: Time, id: AttemptId, end: AttemptEnd) {
        let (usage, attempt, outcome) = (Usage::default(), id.attempt, outcome(end));
        let again = end.may_run_again() && self.may_requeue(id.run.job);
        let event = if again {
            RunEvent::Requeued { attempt, outcome, usage, hold: None, from: at }
        } else {
            RunEvent::Ended { attempt, outcome, usage }
        };
        self.tell(at, Event::Run(id.run, event));
    }
}

impl Planner {
    fn new(policy: Option<Policy>) -> Planner {
        let easy = Policy::Easy(crate::policy::key::Key::Submit, crate::policy::Candidates::InOrder);
        Planner { scheduler: Scheduler::new(policy.unwrap_or(easy)), hosts: Hosts::new(&BTreeMap::new()) }
    }

    fn add(&mut self, host: &Host, usable: bool) {
        let host = Host { state: seen(&host.state, usable), ..host.clone() };
        self.hosts.add(host).expect("a host is checked before it is noted");
    }

    /// What a run was given before the restart.
    fn hold(&mut self, books: &Books, run: RunId) {
        let Some((job, known)) = books.job(run.job).zip(books.run(run)) else { return };
        let Some(placed) = known.state.placed() else { return };
        let Ok(request) = asks::request(job.spec(), &placed.on.partition, None) else { return };
        // Classes are numbered anew after a restart.
        let Ok(class) = self.hosts.intern(&request) else { return };
        let end = placed.on.limit_s.map_or(Time::NEVER, |s| placed.started.after(s as i64 * 1000));
        let allocation = Allocation { class, ..(*placed.on.allocation).clone() };
        self.hosts.hold(running(run.job, job.place(run.element)), end, &Arc::new(allocation));
    }
}

/// What the scheduler is told of a host.
fn seen(state: &HostState, usable: bool) -> HostState {
    match state {
        HostState::Up if !usable => HostState::Down { reason: "it is not heard of".into() },
        state => state.clone(),
    }
}

fn conduct(spec: &JobSpec) -> Conduct {
    match (spec.work, spec.queue.requeue) {
        (Work::Kernel, _) => Conduct::Fenced,
        (Work::Script, Requeue::Allowed) => Conduct::Requeue,
        (Work::Script, Requeue::Never) => Conduct::Stay,
    }
}

fn outcome(end: AttemptEnd) -> Outcome {
    match end {
        AttemptEnd::Exited(outcome) => outcome,
        AttemptEnd::Ended(Why::Cancelled(user)) => Outcome::Cancelled(user),
        AttemptEnd::Ended(Why::Preempted | Why::Requeued) => Outcome::Preempted,
        AttemptEnd::Ended(Why::Deadline) => Outcome::Deadline,
        AttemptEnd::Lost => Outcome::HostFailed,
        AttemptEnd::NeverBegan => Outcome::NotStarted,
    }
}
