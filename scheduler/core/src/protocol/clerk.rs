//! The desk of a real controller: the books, the cluster's hosts, and the scheduler that follows both.
//!
//! Invariants: books, foresight and usage are the fold of what is noted; free resources and the queue can be made anew
//! from them, and are, after a restart; a host that is not usable by the protocol is down to the scheduler, whatever the
//! site says.

mod counsel;

use super::absent::Absent;
use super::desk::{Asked, AttemptEnd, Begun, Decided, Desk, Due, Place, Resized, Why};
use super::format::Format;
use super::guard::Guard;
use super::inputs::Sought;
use super::message::{Conduct, Role};
use super::pause::Pace;
use super::probe::{Probe, Wanted};
use super::stamp::AttemptId;
use crate::books::Books;
use crate::books::error::BooksError;
use crate::books::event::{Event, Fact};
use crate::cluster::{Allocation, Host, HostId, HostState, Hosts, Part};
use crate::decide::decision::Decided as Explained;
use crate::decide::foresight::Foresight;
use crate::decide::preempt::{Preempt, Victim};
use crate::decide::refusal::Refusal as Hopeless;
use crate::decide::used::Used;
use crate::decide::{Passed, Scheduler};
use crate::job::event::{Elements, JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::job::placement::Placement;
use crate::job::usage::Usage;
use crate::job::{Owner, Submitted};
use crate::jobspec::{JobSpec, Requeue, Work};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// For how long a job that was ended to make room does not start again, milliseconds: hosts are not clean at once, and who
/// makes room beside it has its grace; else it would be back before the one for whom it ended. About as long as in Slurm.
const OUT_OF_THE_WAY_MS: i64 = 120_000;

/// What may be asked about jobs and hosts. Whether the one who asks may is the shell's to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Take a job.
    Submit(Submitted),
    /// Hold, release, cancel or change a job, or elements of it.
    Job(JobId, JobEvent),
    /// End what runs, and run it again.
    Requeue(RunId),
    /// Change a partition, a reservation, a host, accounts or the rules: the books' own words. So a host is added,
    /// drained, and taken back.
    Site(Event),
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The job has this number.
    Accepted(JobId),
    /// It is done.
    Done,
    /// It cannot be done.
    Refused(Refusal),
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The books say no.
    Books(BooksError),
    /// The job could never start: all that is in its way.
    Hopeless(Hopeless),
    /// It does not run, so it cannot be run again.
    NotRunning(RunId),
    /// Jobs and attempts are not changed in this way.
    NotSite,
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
    /// The names of its hosts, in the order of its parts.
    pub hosts: Vec<String>,
}

/// The desk of a real controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Clerk {
    books: Books,
    planner: Box<Planner>,
    usable: BTreeSet<HostId>,
    pub(super) sought: Sought,
}

/// What a snapshot says of a clerk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    books: Books,
    foresight: Foresight,
    /// What is being stopped to make room.
    stopping: BTreeSet<RunId>,
    /// Scripts that have kernel steps under way.
    stepping: BTreeSet<RunId>,
    used: Option<Used>,
}

impl From<Clerk> for Written {
    fn from(clerk: Clerk) -> Written {
        let stopping = clerk.planner.scheduler.stopping().collect();
        let stepping = clerk.planner.scheduler.stepping().collect();
        let (foresight, used) = (clerk.foresight().clone(), clerk.used());
        Written { foresight, stopping, stepping, used, books: clerk.books }
    }
}

impl From<Written> for Clerk {
    fn from(Written { books, foresight, stopping, stepping, used }: Written) -> Clerk {
        let scheduler = Scheduler::default().with_foresight(foresight).with_stopping(stopping);
        let scheduler = scheduler.with_stepping(stepping);
        let scheduler = scheduler.with_used(&books, used);
        let sought = Sought::of(&books);
        Clerk { books, planner: Box::new(Planner::new(scheduler)), usable: BTreeSet::new(), sought }
    }
}

/// What can be made anew.
#[derive(Clone, Debug)]
struct Planner {
    scheduler: Scheduler,
    hosts: Hosts,
    /// At which terms of the books the hosts' states were last looked at.
    terms: Option<u64>,
    /// What was last decided, beside its starts, for those who ask why.
    passed: Passed,
    absent: Absent,
}

/// What can be made anew does not count.
impl PartialEq for Clerk {
    fn eq(&self, other: &Clerk) -> bool {
        let (mine, theirs) = (&self.planner.scheduler, &other.planner.scheduler);
        self.books == other.books
            && self.foresight() == other.foresight()
            && self.used() == other.used()
            && mine.stopping().eq(theirs.stopping())
            && mine.stepping().eq(theirs.stepping())
    }
}

impl Clerk {
    /// A desk with these books, which decides by the shipped policy until another scheduler is set.
    pub fn new(books: Books) -> Clerk {
        let foresight = Foresight::default();
        let (stopping, stepping) = (BTreeSet::new(), BTreeSet::new());
        Clerk::from(Written { books, foresight, stopping, stepping, used: None })
    }

    /// Decides by this scheduler from now on; it has not looked at any books, and is told what was learnt of jobs so far,
    /// and what everybody has used.
    pub fn set_scheduler(&mut self, scheduler: Scheduler) {
        let (foresight, used) = (self.foresight().clone(), self.used());
        let stopping: Vec<RunId> = self.planner.scheduler.stopping().collect();
        let stepping: Vec<RunId> = self.planner.scheduler.stepping().collect();
        let scheduler = scheduler.with_foresight(foresight).with_stopping(stopping).with_stepping(stepping);
        *self.planner = Planner::new(scheduler.with_used(&self.books, used));
        self.sought.tell_again();
    }

    /// What everybody has used as of the last record; none where nobody is accounted for.
    pub fn used(&self) -> Option<Used> {
        self.planner.scheduler.used(&self.books)
    }

    fn foresight(&self) -> &Foresight {
        self.planner.scheduler.foresight()
    }

    /// Why a job waits: everything that is in its way, of each group of its elements.
    pub fn explain(&mut self, id: JobId, now: Time) -> Vec<Explained> {
        self.follow(now);
        let Planner { scheduler, hosts, passed, .. } = &mut *self.planner;
        scheduler.explain(&self.books, hosts, (id, passed), now)
    }

    pub(super) fn scheduler_mut(&mut self) -> &mut Scheduler {
        &mut self.planner.scheduler
    }

    /// The books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Whether new work may go to a host, as far as the protocol knows.
    pub fn is_usable(&self, host: HostId) -> bool {
        self.usable.contains(&host)
    }

    /// Brings the scheduler and the hosts up to date.
    fn follow(&mut self, now: Time) {
        self.tell_inputs();
        let Clerk { books, planner, usable, .. } = self;
        planner.scheduler.follow(books, &mut planner.hosts, now);
        if planner.terms.replace(books.terms()) != Some(books.terms()) {
            for (number, host) in (0..).map(HostId).zip(books.hosts()) {
                planner.hosts.set_state(number, seen(&host.state, usable.contains(&number)));
            }
        }
    }

    fn check(&self, at: Time, event: Event) -> Result<Event, Refusal> {
        let fact = Fact { at, event };
        self.books.check(&fact).map_err(Refusal::Books)?;
        Ok(fact.event)
    }

    fn try_ask(&mut self, now: Time, ask: &Ask) -> Result<Asked<Event, Told>, Refusal> {
        let done = |change| Asked { events: vec![change], end: Vec::new(), answer: Told::Done };
        match ask {
            Ask::Submit(submitted) => {
                self.follow(now);
                let Planner { scheduler, hosts, .. } = &mut *self.planner;
                scheduler.admit(&self.books, hosts, submitted, now).map_err(Refusal::Hopeless)?;
                let id = self.books.next_id();
                let event = self.check(now, Event::Submitted(id, submitted.clone()))?;
                Ok(Asked { answer: Told::Accepted(id), ..done(event) })
            }
            Ask::Job(id, what) => {
                let event = self.check(now, Event::Job(*id, what.clone()))?;
                let end = match what {
                    JobEvent::Cancelled { of, by } => self.live(*id, of, Why::Cancelled(*by)),
                    _ => Vec::new(),
                };
                Ok(Asked { end, ..done(event) })
            }
            Ask::Requeue(run) => {
                let placed = self.books.run(*run).is_some_and(|run| run.state.placed().is_some());
                if !placed {
                    return Err(Refusal::NotRunning(*run));
                }
                if !self.may_requeue(run.job) {
                    return Err(Refusal::Books(BooksError::MayNotRunAgain(run.job)));
                }
                Ok(Asked { events: Vec::new(), end: vec![(*run, Why::Requeued)], answer: Told::Done })
            }
            Ask::Site(Event::Submitted(..) | Event::Job(..) | Event::Run(..) | Event::Purged(_)) => {
                Err(Refusal::NotSite)
            }
            Ask::Site(event) => Ok(done(self.check(now, event.clone())?)),
        }
    }

    /// What of a job holds hosts, to be ended.
    fn live(&self, id: JobId, of: &Elements, why: Why) -> Vec<(RunId, Why)> {
        let meant = |run: &RunId| match (of, run.element) {
            (Elements::All, _) | (_, None) => true,
            (Elements::Ranges(ranges), Some(at)) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&at))
            }
        };
        let runs = self.books.job(id).into_iter().flat_map(|job| job.live()).map(|(run, _)| run);
        runs.filter(meant).map(|run| (run, why)).collect()
    }

    fn may_requeue(&self, job: JobId) -> bool {
        self.books.job(job).is_some_and(|job| job.spec().queue.requeue == Requeue::Allowed)
    }

    /// What an attempt has of each of its hosts by the books.
    fn parts(&self, id: AttemptId) -> Vec<Part> {
        let run = self.books.run(id.run);
        let placed = run.as_ref().and_then(|run| run.state.placed());
        placed.map_or(Vec::new(), |placed| placed.on.allocation.parts.clone())
    }

    /// Tells the books of an attempt, and whoever plans by them.
    fn tell(&mut self, at: Time, event: Event) {
        let fact = Fact { at, event };
        // The books may know already: a job that was cancelled is completing before its attempt is told to end.
        if self.books.check(&fact).is_ok() {
            self.note(&fact);
        }
    }

    fn note(&mut self, fact: &Fact) {
        self.books.apply(fact);
        self.sought.observe(&self.books, &fact.event);
        let Planner { scheduler, hosts, terms, .. } = &mut *self.planner;
        scheduler.observe(&self.books, hosts, fact);
        if let Event::Host(_) = fact.event {
            *terms = None;
        }
    }
}

impl Desk for Clerk {
    type Request = Ask;
    type Answer = Told;
    type Event = Event;

    fn ask(&mut self, now: Time, request: &Ask) -> Asked<Event, Told> {
        self.try_ask(now, request).unwrap_or_else(|refusal| Asked {
            events: Vec::new(),
            end: Vec::new(),
            answer: Told::Refused(refusal),
        })
    }

    fn follows(&self, event: &Event) -> bool {
        let at = self.books.last().unwrap_or(Time(i64::MIN));
        self.books.check(&Fact { at, event: event.clone() }).is_ok()
    }

    /// It is drained, as in Slurm: what it cannot begin begins elsewhere.
    fn unfit(&self, host: HostId, why: &str) -> Option<Event> {
        let host = self.books.hosts().get(host.0 as usize).filter(|host| host.state == HostState::Up)?;
        let state = HostState::Drained { reason: why.to_owned() };
        Some(Event::Host(Box::new(Host { state, ..host.clone() })))
    }

    fn may_begin(&self, begun: &Begun) -> bool {
        let Ok(on) = Format::Journal.decode::<Arc<Placement>>(&begun.plan) else { return false };
        self.follows(&started(begun, on))
    }

    fn apply(&mut self, at: Time, event: &Event) {
        self.note(&Fact { at, event: event.clone() });
    }

    fn due(&self, now: Time) -> Due<Event> {
        let events = self.books.due(now);
        let ends = events.iter().filter_map(|event| match event {
            Event::Run(run, RunEvent::Completing { .. }) => Some((*run, Why::Deadline)),
            _ => None,
        });
        Due { end: ends.collect(), events }
    }

    fn usable(&mut self, host: HostId, usable: bool) {
        if usable {
            self.planner.absent.back(host);
            self.usable.insert(host);
        } else {
            self.planner.absent.gone(host);
            self.usable.remove(&host);
        }
        self.sought.tell_again();
        // A host that the books do not have is looked at when they do.
        if let Some(known) = self.books.hosts().get(host.0 as usize).filter(|_| self.planner.terms.is_some())
        {
            self.planner.hosts.set_state(host, seen(&known.state, usable));
        }
    }

    fn decide(&mut self, now: Time) -> Decided {
        self.follow(now);
        let Clerk { books, planner, .. } = self;
        let Planner { scheduler, hosts, passed: last, absent, .. } = &mut **planner;
        let whole = scheduler.retake(books, hosts);
        let mut passed = scheduler.pass(books, hosts, now);
        // Who could start if a host were back that is away for a moment shall find the others idle.
        let keeps_idle = absent.may_be_back(now)
            && passed.head.is_none()
            && !passed.hopeless.is_empty()
            && Guard::KeptIdle.stands();
        let resizes = if keeps_idle { Vec::new() } else { scheduler.resize(books, hosts, &passed) };
        // What is lent is taken back before anybody has to end.
        let makes_room = passed.head.is_some() && !resizes.is_empty();
        let preemption = if makes_room { None } else { scheduler.preempt(books, hosts, &passed) };
        // What starts changes who asks for room: it is noted before anybody goes on, or starts on room that was made.
        let settled = passed.starts.is_empty();
        if let Some(plan) = preemption.as_ref().filter(|plan| settled && plan.is_ready) {
            passed.starts = scheduler.start_on_room(books, hosts, (&passed, plan), now).starts;
        }
        *last = passed.without_starts();
        let starts = !passed.starts.is_empty();
        let ready = preemption.as_ref().is_some_and(|plan| plan.is_ready);
        let again = starts && (ready || !whole.is_empty());
        let victims = preemption.filter(|plan| !plan.is_ready || starts);
        let victims = victims.map_or(Vec::new(), |plan| plan.victims);
        let (mut paced, end) = yields(books, &victims);
        if !starts {
            let still = |run: &RunId| victims.iter().any(|victim| victim.run == *run);
            let whole = whole.iter().filter(|(run, _)| !still(run));
            paced.extend(whole.map(|&(run, attempt)| (AttemptId { run, attempt }, Pace::GoOn)));
        }
        let ahead = if starts { Vec::new() } else { scheduler.ahead(books, hosts, (last, now)) };
        let follow = ahead.into_iter().map(|follow| (follow.start, Some(follow.after)));
        let begun = passed.starts.into_iter().map(|start| (start, None)).chain(follow);
        let begun = begun.map(|(start, after)| Begun {
            id: AttemptId { run: start.run, attempt: start.attempt },
            conduct: books.job(start.run.job).map_or(Conduct::Stay, |job| conduct(job.spec())),
            limit_ms: start.on.limit_s.and_then(|s| i64::try_from(s.saturating_mul(1000)).ok()),
            places: places(&start.on),
            after: after.map(|(run, attempt)| AttemptId { run, attempt }),
            plan: Format::Journal.encode(&start.on),
        });
        let resized = resizes.into_iter().map(|resize| Resized {
            id: AttemptId { run: resize.run, attempt: resize.attempt },
            places: places(&resize.on),
            plan: Format::Journal.encode(&resize.on),
        });
        Decided { begun: begun.collect(), resized: resized.collect(), paced, end, again }
    }

    fn may_resize(&self, resized: &Resized) -> bool {
        let Ok(on) = Format::Journal.decode::<Arc<Placement>>(&resized.plan) else { return false };
        self.follows(&replaced(resized.id, on))
    }

    fn wanted(&self) -> Vec<Wanted> {
        self.looks_for()
    }

    fn found(&mut self, job: JobId, probe: Option<&Probe>) {
        self.sought.found(job, probe);
    }

    fn changes(&self, event: &Event) -> Option<JobId> {
        match event {
            Event::Job(id, _) | Event::Purged(id) => Some(*id),
            _ => None,
        }
    }

    fn lives(&self, job: JobId) -> bool {
        self.books.job(job).is_some_and(|job| job.ended().is_none())
    }

    fn is_probed(&self, job: JobId) -> bool {
        self.sought.contains(job)
    }

    fn launch(&self, begun: &Begun, _: &Place) -> Vec<u8> {
        let job = self.books.job(begun.id.run.job).expect("what begins is in the books");
        let on: Placement = Format::Journal.decode(&begun.plan).expect("it was encoded here");
        let hosts = self.books.hosts();
        let hosts = on.allocation.parts.iter().map(|part| hosts[part.host.0 as usize].name.clone()).collect();
        Format::Message.encode(&Launch { owner: job.owner().clone(), spec: job.spec().clone(), on, hosts })
    }

    fn wake(&self, now: Time) -> Option<Time> {
        let Planner { scheduler, absent, .. } = &*self.planner;
        scheduler.next_wake(&self.books, now).into_iter().chain(absent.next().filter(|at| *at > now)).min()
    }

    fn begun(&mut self, at: Time, begun: &Begun) {
        let on = Format::Journal
            .decode(&begun.plan)
            .expect("it was encoded by a desk, and checked if it was read back");
        self.tell(at, started(begun, on));
    }

    fn up(&mut self, at: Time, id: AttemptId) {
        self.tell(at, Event::Run(id.run, RunEvent::Began { attempt: id.attempt }));
    }

    fn resized(&mut self, at: Time, resized: &Resized) {
        let on: Arc<Placement> = Format::Journal
            .decode(&resized.plan)
            .expect("it was encoded by a desk, and checked if it was read back");
        let mut parts = on.allocation.parts.clone();
        let stays = |part: &Part| on.allocation.parts.iter().any(|other| other.host == part.host);
        parts.extend(self.parts(resized.id).into_iter().filter(|part| !stays(part)));
        self.tell(at, replaced(resized.id, with_parts(&on, parts)));
    }

    fn left(&mut self, at: Time, id: AttemptId, host: HostId) {
        let run = self.books.run(id.run);
        if let Some(placed) = run.as_ref().and_then(|run| run.state.placed()) {
            let mut parts = self.parts(id);
            parts.retain(|part| part.host != host);
            self.tell(at, replaced(id, with_parts(&placed.on, parts)));
        }
    }

    fn stepped(&mut self, _: Time, id: AttemptId, steps: bool) {
        self.planner.scheduler.steps(id.run, steps);
    }

    fn keeping(&self, id: AttemptId, hosts: &[HostId]) -> Option<Resized> {
        let run = self.books.run(id.run)?;
        let on = &run.state.placed()?.on;
        let mut parts = on.allocation.parts.clone();
        parts.retain(|part| hosts.contains(&part.host));
        (parts.len() < on.allocation.parts.len()).then(|| {
            let on = with_parts(on, parts);
            Resized { id, places: places(&on), plan: Format::Journal.encode(&on) }
        })
    }

    fn paced(&mut self, at: Time, id: AttemptId, pace: Pace) {
        self.planner.scheduler.stops(id.run, pace == Pace::Stop);
        let attempt = id.attempt;
        match pace {
            Pace::Stop => {}
            Pace::Still => self.tell(at, Event::Run(id.run, RunEvent::Suspended { attempt })),
            Pace::GoOn => self.tell(at, Event::Run(id.run, RunEvent::Resumed { attempt })),
        }
    }

    fn ends(&mut self, at: Time, id: AttemptId, end: AttemptEnd) {
        self.planner.scheduler.stops(id.run, false);
        self.tell(
            at,
            Event::Run(id.run, RunEvent::Completing { attempt: id.attempt, outcome: end.outcome() }),
        );
    }

    fn closed(&mut self, at: Time, id: AttemptId, end: AttemptEnd, usage: Usage) {
        self.planner.scheduler.stops(id.run, false);
        self.planner.scheduler.steps(id.run, false);
        let (attempt, outcome) = (id.attempt, end.outcome());
        // What never began does not run twice.
        let may = end == AttemptEnd::NeverBegan || self.may_requeue(id.run.job);
        let again = end.may_run_again() && may;
        let event = if again {
            let room = end == AttemptEnd::Ended(Why::Preempted);
            let from = if room { at.after(OUT_OF_THE_WAY_MS) } else { at };
            RunEvent::Requeued { attempt, outcome, usage, hold: None, from }
        } else {
            RunEvent::Ended { attempt, outcome, usage }
        };
        self.tell(at, Event::Run(id.run, event));
    }
}

impl Planner {
    fn new(scheduler: Scheduler) -> Planner {
        let (hosts, passed, absent) = (Hosts::new(&BTreeMap::new()), Passed::default(), Absent::default());
        Planner { scheduler, hosts, terms: None, passed, absent }
    }
}

/// Who stops and who ends to make room, and after how many milliseconds.
#[expect(clippy::type_complexity, reason = "two parts of a decision")]
fn yields(books: &Books, victims: &[Victim]) -> (Vec<(AttemptId, Pace)>, Vec<(RunId, Why, i64)>) {
    let (mut paced, mut end) = (Vec::new(), Vec::new());
    for Victim { run, how, grace_s } in victims.iter().copied() {
        let grace_ms = i64::from(grace_s) * 1000;
        // Those that were to follow it have not begun: they have nothing to save.
        end.extend(books.followers(run).map(|follower| (follower, Why::Preempted, 0)));
        match how {
            Preempt::Checkpoint | Preempt::Requeue => end.push((run, Why::Preempted, grace_ms)),
            Preempt::Cancel => end.push((run, Why::Evicted, grace_ms)),
            Preempt::Suspended => {}
            Preempt::Suspend => {
                let attempt = books.run(run).and_then(|run| Some(run.state.placed()?.attempt));
                paced.extend(attempt.map(|attempt| (AttemptId { run, attempt }, Pace::Stop)));
            }
        }
    }
    (paced, end)
}

/// What the scheduler is told of a host.
fn seen(state: &HostState, usable: bool) -> HostState {
    match state {
        HostState::Up if !usable => HostState::Down { reason: "it is not heard of".into() },
        state => state.clone(),
    }
}

/// What an attempt does on each of its hosts.
fn places(on: &Placement) -> Vec<Place> {
    let role = |at| if at == 0 { Role::Batch } else { Role::Member };
    let parts = on.allocation.parts.iter().enumerate();
    parts.map(|(at, part)| Place { host: part.host, role: role(at) }).collect()
}

fn started(begun: &Begun, on: Arc<Placement>) -> Event {
    let after = begun.after.and_then(|after| after.run.element);
    Event::Run(begun.id.run, RunEvent::Started { attempt: begun.id.attempt, on, after })
}

fn replaced(id: AttemptId, on: Arc<Placement>) -> Event {
    Event::Run(id.run, RunEvent::Replaced { attempt: id.attempt, on })
}

fn with_parts(on: &Placement, parts: Vec<Part>) -> Arc<Placement> {
    let allocation = Arc::new(Allocation { class: on.allocation.class, parts });
    Arc::new(Placement { allocation, ..on.clone() })
}

fn conduct(spec: &JobSpec) -> Conduct {
    match (spec.work, spec.queue.requeue) {
        (Work::Kernel | Work::KernelOnFiles, _) => Conduct::Fenced,
        (Work::Script, Requeue::Allowed) => Conduct::Requeue,
        (Work::Script, Requeue::Never) => Conduct::Stay,
    }
}
