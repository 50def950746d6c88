//! What the controller knows for good: its term, the attempts that are open, and the desk. The fold of its journal.
//!
//! Invariants: [`Standing::apply`] is the only writer, so a replay of the journal equals the memory; a run has at most
//! one open attempt; an attempt is closed when no part of it can do harm any more.

use super::desk::{AttemptEnd, Begun, Desk, Place, Resized, Why};
use super::guard::Guard;
use super::ledger::{Commit, Ledger, Round, Step};
use super::message::{Conduct, Ended, Role};
use super::pause::{Pace, Pause};
use super::probe::{Finding, Probe, ProbeId};
use super::stamp::{AttemptId, Boot, Term};
use crate::cluster::HostId;
use crate::job::id::{JobId, RunId};
use crate::job::inputs::Found;
use crate::job::outcome::Outcome;
use crate::job::usage::Usage;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<E> {
    /// A controller begins its life.
    Term(Term),
    /// The desk's.
    Desk(E),
    /// An attempt begins; the lives of its hosts, in the order of its places.
    Begun(Begun, Vec<Boot>),
    /// Its batch host says that it runs.
    Up(AttemptId),
    /// It shall end.
    End(AttemptId, Why),
    /// What it had on a host is over; what it used there, as far as its agent has said.
    Over(AttemptId, HostId, PartEnd, Usage),
    /// All of it is; what it used on all hosts.
    Closed(AttemptId, AttemptEnd, Usage),
    /// A kernel step is registered.
    Step(RunId, Step),
    /// Blocks of a kernel step are done.
    Commit(AttemptId, [u8; 16], Commit),
    /// A kernel step has other hosts; the lives of those that join, in the order of their places.
    Resized(Resized, Vec<Boot>),
    /// A kernel step begins a round.
    Round(AttemptId, [u8; 16], Round),
    /// A host tells of the input files of a job.
    Probed(ProbeId, HostId, Finding),
    /// It is to stop, stands still, or goes on.
    Paced(AttemptId, Pace),
    /// It shall end, and is told so many milliseconds before it is made to.
    Notice(AttemptId, Why, i64),
    /// The host of a member that is lost is not a kernel step's any more.
    GivenBack(AttemptId, HostId),
    /// Why a host could not start it, in its agent's words; before the record that it is over there.
    Unable(AttemptId, HostId, String),
    /// A script has a kernel step under way, by its spec, or has not any more: meanwhile its hosts may come and go.
    Stepped(AttemptId, [u8; 16], bool),
}

/// Why what an attempt had on a host is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartEnd {
    /// Its agent says so.
    Reported(Ended),
    /// Its agent does not have it, and obeys no order to begin it any more.
    NeverBegan,
    /// The host has been started anew.
    Rebooted,
    /// The host's lease is surely over.
    LeaseOver,
    /// The host is silent, and what it does would be refused.
    Silent,
    /// An operator of this number says that the host is dead.
    GivenUp(u32),
}

/// An attempt that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// What was decided, and decided anew when it was given other hosts.
    pub begun: Begun,
    /// What it has on each host; also on those that leave, until it is over there.
    pub parts: BTreeMap<HostId, Part>,
    /// Whether its batch host has said that it runs.
    pub up: bool,
    /// Why it comes to an end, once it does. The first reason counts, but a user's word that it shall not run again
    /// counts more than a reason after which it would.
    pub cause: Option<AttemptEnd>,
    /// Whether it stands still to make room.
    pub pause: Pause,
    /// How long it may go on after it was told to end, milliseconds, when its cause says so.
    notice_ms: Option<i64>,
    /// What it used on hosts where it is over.
    pub used: Usage,
    /// The kernel steps that a script has under way.
    pub steps: BTreeSet<[u8; 16]>,
    /// The hosts that it began with.
    pub first: BTreeSet<HostId>,
}

/// What an attempt has on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the host does for it.
    pub role: Role,
    /// The life of the host in which it was ordered.
    pub boot: Boot,
    /// Why it is over, if it is.
    pub over: Option<PartEnd>,
}

/// The fold of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing<D> {
    /// When the last record was made.
    pub last: Time,
    /// The newest term.
    pub term: Term,
    /// The attempts that are open.
    pub open: BTreeMap<RunId, Open>,
    /// The ledgers of kernel steps, by run and spec, until the run is over.
    pub ledgers: BTreeMap<(RunId, [u8; 16]), Ledger>,
    /// What is known of the input files of jobs, until they are over.
    pub probes: BTreeMap<JobId, Probe>,
    /// Who decides about jobs.
    pub desk: D,
}

impl<D: Desk> Standing<D> {
    /// Before the first record.
    pub fn new(desk: D) -> Self {
        Standing {
            last: Time(i64::MIN),
            term: Term(0),
            open: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            probes: BTreeMap::new(),
            desk,
        }
    }

    /// The open attempt of this number.
    pub fn attempt(&self, id: AttemptId) -> Option<&Open> {
        self.open.get(&id.run).filter(|open| open.begun.id == id)
    }

    /// Whether `id` has something on `host` that is not over.
    pub fn runs_at(&self, id: AttemptId, host: HostId) -> bool {
        self.attempt(id).and_then(|open| open.parts.get(&host)).is_some_and(|part| part.over.is_none())
    }

    /// Takes one record in.
    pub fn apply(&mut self, at: Time, record: &Record<D::Event>) {
        self.last = self.last.max(at);
        match record {
            Record::Term(term) => self.term = *term,
            Record::Desk(event) => {
                self.desk.apply(at, event);
                if let Some(job) = self.desk.changes(event) {
                    self.job_changed(job);
                }
            }
            Record::Begun(begun, boots) => {
                self.desk.begun(at, begun);
                self.open.insert(begun.id.run, Open::new(begun.clone(), boots));
            }
            Record::Up(id) => {
                if let Some(open) = self.attempt_mut(*id) {
                    open.up = true;
                    self.desk.up(at, *id);
                }
            }
            Record::End(id, why) => self.attempt_changes(at, *id, |open| open.shall_end(*why)),
            Record::Over(id, host, end, usage) => self.over(at, (*id, *host), *end, usage),
            Record::Closed(id, end, usage) => {
                self.open.remove(&id.run);
                self.desk.closed(at, *id, *end, *usage);
                // What may run again finds what is done.
                if !end.may_run_again() {
                    self.ledgers.retain(|(run, _), _| *run != id.run);
                }
                self.forget_if_over(id.run.job);
            }
            Record::Step(run, step) => {
                let inputs = self.inputs(*run).map(|found| found.print);
                self.ledgers.insert((*run, step.spec), Ledger::new(step.clone(), inputs));
            }
            Record::Commit(id, spec, commit) => {
                if let Some(ledger) = self.ledgers.get_mut(&(id.run, *spec)) {
                    ledger.apply(*id, commit.clone());
                }
            }
            Record::Resized(resized, boots) => self.resized(at, resized, boots),
            Record::Probed(id, host, finding) => {
                let probe = self.probes.entry(id.job).or_default();
                probe.note(*host, finding);
                self.desk.found(id.job, Some(probe));
            }
            Record::Round(id, spec, round) => {
                if let Some(ledger) = self.ledgers.get_mut(&(id.run, *spec)) {
                    ledger.begin_round(*id, round.clone());
                }
            }
            Record::Paced(id, pace) => self.paced(at, *id, *pace),
            Record::Notice(id, why, grace_ms) => {
                self.attempt_changes(at, *id, |open| open.is_told(*why, *grace_ms));
            }
            Record::GivenBack(id, host) => {
                if let Some(open) = self.attempt_mut(*id) {
                    open.begun.places.retain(|place| place.host != *host);
                    self.left(at, *id, *host);
                }
            }
            Record::Stepped(id, spec, begins) => self.stepped(at, *id, (*spec, *begins)),
            // For those who ask afterwards.
            Record::Unable(..) => {}
        }
    }

    fn over(&mut self, at: Time, (id, host): (AttemptId, HostId), end: PartEnd, usage: &Usage) {
        if let Some(open) = self.attempt_mut(id) {
            open.used.add(usage);
        }
        if self.leaves(id, host) {
            self.left(at, id, host);
        } else {
            self.attempt_changes(at, id, |open| open.over(host, end));
        }
    }

    fn stepped(&mut self, at: Time, id: AttemptId, (spec, begins): ([u8; 16], bool)) {
        let Some(open) = self.attempt_mut(id) else { return };
        let before = open.steps.is_empty();
        if begins {
            open.steps.insert(spec)
        } else {
            open.steps.remove(&spec)
        };
        let after = open.steps.is_empty();
        if before != after {
            self.desk.stepped(at, id, before);
        }
    }

    fn paced(&mut self, at: Time, id: AttemptId, pace: Pace) {
        let next = self.attempt_mut(id).and_then(|open| Some((open.pause.next(pace)?, open)));
        if let Some((pause, open)) = next {
            open.pause = pause;
            self.desk.paced(at, id, pace);
        }
    }

    /// Whether what a host says of this counts: it is about the current look, and new.
    pub fn awaits(&self, id: ProbeId, host: HostId) -> bool {
        let (look, told) =
            self.probes.get(&id.job).map_or((0, false), |probe| (probe.look(), probe.has_told(host)));
        let current = look == id.look || !Guard::ProbeOfLook.stands();
        current && !told && self.desk.is_probed(id.job)
    }

    /// What the files are that a run reads, if that is known.
    pub(super) fn inputs(&self, run: RunId) -> Option<&Found> {
        self.probes.get(&run.job)?.found()
    }

    /// Somebody has changed a job: what it reads may be something else, or there by now.
    fn job_changed(&mut self, job: JobId) {
        if self.desk.is_probed(job) {
            let probe = self.probes.entry(job).or_default();
            probe.look_again();
            self.desk.found(job, Some(probe));
        }
        self.forget_if_over(job);
    }

    fn forget_if_over(&mut self, job: JobId) {
        if !self.desk.lives(job) {
            self.probes.remove(&job);
            self.desk.found(job, None);
            let first = (RunId { job, element: None }, [0; 16]);
            let ledgers = self.ledgers.range(first..).map(|(key, _)| *key);
            let ledgers: Vec<(RunId, [u8; 16])> = ledgers.take_while(|(run, _)| run.job == job).collect();
            for key in ledgers {
                self.ledgers.remove(&key);
            }
        }
    }

    /// Whether `id` has something on `host` that is not over, and shall not have it any more.
    pub fn leaves(&self, id: AttemptId, host: HostId) -> bool {
        self.runs_at(id, host) && self.attempt(id).is_some_and(|open| open.leaves(host))
    }

    fn resized(&mut self, at: Time, resized: &Resized, boots: &[Boot]) {
        let id = resized.id;
        let Some(open) = self.attempt_mut(id) else { return };
        open.resize(resized, boots);
        let leave = open.parts.iter().filter(|(host, _)| open.leaves(**host));
        let leave: Vec<(HostId, bool)> = leave.map(|(host, part)| (*host, part.over.is_some())).collect();
        self.desk.resized(at, resized);
        for (host, over) in leave {
            // What was lost has nothing to leave with.
            if over {
                self.left(at, id, host);
            } else if !Guard::FreeWhenLeft.stands() {
                self.desk.left(at, id, host);
            }
        }
    }

    fn left(&mut self, at: Time, id: AttemptId, host: HostId) {
        if let Some(open) = self.attempt_mut(id) {
            open.parts.remove(&host);
            self.desk.left(at, id, host);
        }
    }

    /// Changes an attempt, and tells the desk if that changes how it ends.
    fn attempt_changes(&mut self, at: Time, id: AttemptId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.attempt_mut(id) else { return };
        let before = open.cause;
        change(open);
        if let Some(end) = open.cause.filter(|_| open.cause != before) {
            self.desk.ends(at, id, end);
        }
    }

    fn attempt_mut(&mut self, id: AttemptId) -> Option<&mut Open> {
        self.open.get_mut(&id.run).filter(|open| open.begun.id == id)
    }
}

impl Part {
    /// Whether its agent has said, one way or the other, that nothing of it is left.
    pub fn is_surely_gone(&self) -> bool {
        self.over.is_some_and(PartEnd::is_surely_gone)
    }
}

impl PartEnd {
    /// Whether its agent has said so, one way or the other.
    pub fn is_surely_gone(self) -> bool {
        matches!(self, PartEnd::Reported(_) | PartEnd::NeverBegan | PartEnd::Rebooted)
    }
}

impl Open {
    fn new(begun: Begun, boots: &[Boot]) -> Self {
        let part = |role, boot| Part { role, boot, over: None };
        let parts = begun.places.iter().zip(boots).map(|(place, boot)| (place.host, part(place.role, *boot)));
        let (parts, pause, used) = (parts.collect(), Pause::Off(0), Usage::default());
        let (steps, first) = (BTreeSet::new(), begun.places.iter().map(|place| place.host).collect());
        Open { parts, begun, up: false, cause: None, pause, notice_ms: None, used, steps, first }
    }

    /// Whether nothing of it is left that could do harm.
    pub fn is_over(&self) -> bool {
        // What ends by our will makes room, and all of it is waited for: else a part of the room is missing for a moment,
        // and it is placed again where the other part is, before the one for whom it ended.
        let by_us = matches!(self.cause, Some(AttemptEnd::Ended(_)));
        let fenced = self.begun.conduct == Conduct::Fenced && !by_us;
        self.parts.values().filter(|part| !fenced || part.role == Role::Batch).all(|part| part.over.is_some())
    }

    /// How it ended, when it is over.
    pub fn end(&self) -> AttemptEnd {
        let never = self.parts.values().all(|part| part.over == Some(PartEnd::NeverBegan));
        match self.cause {
            Some(AttemptEnd::Lost) | None if never => AttemptEnd::NeverBegan,
            cause => cause.unwrap_or(AttemptEnd::Lost),
        }
    }

    /// Whether [`Record::End`], or [`Record::Notice`], would change anything.
    pub fn can_end(&self, why: Why) -> bool {
        self.cause.is_none_or(|cause| cause.may_run_again() && !why.runs_again())
    }

    /// How long it may go on, milliseconds, when it is to be told that it has to end. What is stopped cannot hear of it
    /// where it is, and what has lost its batch host has nobody to save its work.
    pub fn notice_ms(&self) -> Option<i64> {
        let batch = self.begun.places.first().and_then(|place| self.parts.get(&place.host));
        let hears = matches!(self.pause, Pause::Off(_));
        self.notice_ms.filter(|_| hears && batch.is_some_and(|part| part.over.is_none()))
    }

    /// Whether it can be stopped, or go on, now.
    pub fn can_pace(&self, pace: Pace) -> bool {
        self.up && self.cause.is_none() && self.pause.next(pace).is_some()
    }

    /// Its batch host.
    ///
    /// # Panics
    /// When it has no place, which nothing that has begun lacks.
    pub fn batch(&self) -> HostId {
        self.begun.places[0].host
    }

    /// The hosts that have something of it which is not over.
    pub fn live_hosts(&self) -> impl Iterator<Item = HostId> {
        self.parts.iter().filter(|(_, part)| part.over.is_none()).map(|(host, _)| *host)
    }

    /// Whether it has lost a member without which it goes on, on a host that is still its own: one of a kernel step, or that
    /// a script was lent.
    pub fn has_lost(&self, host: HostId) -> bool {
        let lost = |part: &Part| part.role == Role::Member && part.over.is_some();
        self.spares(host) && !self.leaves(host) && self.parts.get(&host).is_some_and(lost)
    }

    /// Whether it can have these hosts now: it is a kernel step, or has one, that runs and goes on, keeps its foreman where
    /// it is, and gets no host back that is still on its way out.
    pub fn can_resize(&self, resized: &Resized) -> bool {
        let Resized { places, .. } = resized;
        let runs = self.up && self.cause.is_none() && matches!(self.pause, Pause::Off(_));
        let goes_on = runs && (self.begun.conduct == Conduct::Fenced || !self.steps.is_empty());
        let hosts = |places: &[Place]| places.iter().map(|place| place.host).collect::<BTreeSet<HostId>>();
        let new = hosts(places);
        let members = places.iter().skip(1).all(|place| place.role == Role::Member);
        let sound = places.first() == self.begun.places.first() && members && new.len() == places.len();
        let free = new.iter().all(|host| !self.parts.contains_key(host) || !self.leaves(*host));
        goes_on && sound && free && new != hosts(&self.begun.places)
    }

    /// Whether it goes on without its member on a host.
    fn spares(&self, host: HostId) -> bool {
        self.begun.conduct == Conduct::Fenced || !self.first.contains(&host)
    }

    /// Whether its hosts come and go: it is a kernel step, or has one, or something is on its way out.
    pub fn is_malleable(&self) -> bool {
        let leaves = || self.live_hosts().any(|host| self.leaves(host));
        self.begun.conduct == Conduct::Fenced
            || !self.steps.is_empty()
            || leaves()
            || self.live_hosts().any(|host| self.spares(host))
    }

    /// The places that are new in `resized`.
    pub fn joins<'a>(&'a self, resized: &'a Resized) -> impl Iterator<Item = Place> + 'a {
        resized.places.iter().filter(|place| !self.parts.contains_key(&place.host)).copied()
    }

    /// Whether it shall have nothing on a host any more.
    pub fn leaves(&self, host: HostId) -> bool {
        self.begun.places.iter().all(|place| place.host != host)
    }

    /// The hosts that its team can use, the batch host first.
    pub fn hosts(&self) -> Vec<HostId> {
        let lives = |host: &HostId| self.parts.get(host).is_some_and(|part| part.over.is_none());
        self.begun.places.iter().map(|place| place.host).filter(lives).collect()
    }

    fn resize(&mut self, resized: &Resized, boots: &[Boot]) {
        let joins: Vec<Place> = self.joins(resized).collect();
        for (place, boot) in joins.into_iter().zip(boots) {
            self.parts.insert(place.host, Part { role: place.role, boot: *boot, over: None });
        }
        self.begun.places.clone_from(&resized.places);
        self.begun.plan.clone_from(&resized.plan);
    }

    fn shall_end(&mut self, why: Why) {
        if self.can_end(why) {
            self.cause = Some(AttemptEnd::Ended(why));
            self.notice_ms = None;
        }
    }

    fn is_told(&mut self, why: Why, grace_ms: i64) {
        if self.can_end(why) {
            // What is being killed is not spared, and who was told has no longer than that.
            let before = if self.cause.is_some() { self.notice_ms } else { Some(grace_ms) };
            self.notice_ms = before.map(|before| before.min(grace_ms));
            self.cause = Some(AttemptEnd::Ended(why));
        }
    }

    fn over(&mut self, host: HostId, end: PartEnd) {
        let Some(part) = self.parts.get_mut(&host).filter(|part| part.over.is_none()) else { return };
        part.over = Some(end);
        let well = end == PartEnd::Reported(Ended::Exited(Outcome::Completed));
        let role = part.role;
        // What was told to make room and comes to its own end first has ended well.
        let makes_room = matches!(self.cause, Some(AttemptEnd::Ended(Why::Preempted | Why::Evicted)));
        if well && makes_room && role == Role::Batch && self.notice_ms.take().is_some() {
            self.cause = Some(AttemptEnd::Exited(Outcome::Completed));
        }
        let spared = self.spares(host);
        let cause = match (role, end) {
            // A team goes on without a rank's host.
            (Role::Member, _) if spared => return,
            // What a member holds ends when it has nothing to hold any more.
            (Role::Member, PartEnd::Reported(Ended::Exited(Outcome::Completed))) => return,
            (_, PartEnd::Reported(Ended::Exited(outcome))) => AttemptEnd::Exited(outcome),
            (Role::Batch, PartEnd::Reported(Ended::Unfit)) => AttemptEnd::NeverBegan,
            _ => AttemptEnd::Lost,
        };
        self.cause.get_or_insert(cause);
    }
}
