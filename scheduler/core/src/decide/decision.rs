//! Decisions: of everything that waits, exactly one thing is said.
//!
//! Invariant: the elements of all decisions about a job are those of it that wait, each once. Reasons are shared, so that
//! many jobs that wait for the same cost little.

use super::reason::Reason;
use super::{Head, Passed, Scheduler, number};
use crate::books::Books;
use crate::cluster::{ClassId, Hosts};
use crate::job::array::Array;
use crate::job::hold::HeldBy;
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::placement::Placement;
use crate::job::state::{Gate, State};
use crate::job::{Body, Job};
use crate::policy::queue::Waiting;
use crate::policy::reserve::MOST_PROMISED;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is decided about a job, or about so many elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The job; with an element when it is about that one alone.
    pub run: RunId,
    /// About how many elements, at least 1.
    pub elements: u32,
    /// What.
    pub decision: Decision,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It starts now.
    Start(Attempt, Arc<Placement>),
    /// It is promised a start, and waits until then.
    Reserve {
        /// When.
        at: Time,
        /// Why not now.
        reasons: Arc<[Reason]>,
    },
    /// Others are ended to make room for it.
    Preempt(Arc<[Reason]>),
    /// It waits.
    Wait(Arc<[Reason]>),
    /// It can never start as it is: it, or the cluster, must change.
    Refuse(Arc<[Reason]>),
}

impl Decision {
    /// Why it does not start now; nothing when it does.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Decision::Start(..) => &[],
            Decision::Reserve { reasons, .. }
            | Decision::Preempt(reasons)
            | Decision::Wait(reasons)
            | Decision::Refuse(reasons) => reasons,
        }
    }
}

/// How much is said of those that are not first in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That others are before it.
    Brief,
    /// Also what it would lack if nobody were.
    Full,
}

impl Scheduler {
    /// Runs a pass, and says what it decided of everything that waits: by the numbers of jobs, starts first.
    pub fn decide(&mut self, books: &mut Books, hosts: &mut Hosts, now: Time) -> Vec<Decided> {
        let passed = self.pass(books, hosts, now);
        self.tell(books, hosts, &passed, now)
    }

    /// What a pass decided of everything that waits, in brief.
    pub fn tell(&self, books: &Books, hosts: &mut Hosts, passed: &Passed, now: Time) -> Vec<Decided> {
        let preempting = self.preempt(books, hosts, passed);
        let mut told = Told::new(self, books, hosts, (passed, now, Depth::Brief));
        told.preempting = preempting.map(|plan| (plan.job, plan.reason()));
        books.waiting().for_each(|job| told.job(job));
        told.decided
    }

    /// Why one job waits: everything that is in its way, of each group of its elements. Nothing is decided anew: `passed`
    /// is what the last pass said, whose starts are recorded.
    pub fn explain(
        &self,
        books: &Books,
        hosts: &mut Hosts,
        (id, passed): (JobId, &Passed),
        now: Time,
    ) -> Vec<Decided> {
        let passed = Passed { starts: Vec::new(), ..passed.clone() };
        let mut told = Told::new(self, books, hosts, (&passed, now, Depth::Full));
        if let Some(job) = books.job(id).filter(|job| job.waiting_count() > 0) {
            told.job(job);
        }
        told.decided
    }
}

/// An entry of a job, its class and its estimate.
type Listing = (Waiting, ClassId, i64);

/// What is told of all that waits.
struct Told<'a> {
    scheduler: &'a Scheduler,
    books: &'a Books,
    hosts: &'a mut Hosts,
    passed: &'a Passed,
    /// Classes that no hosts that are up could run, and from which estimate on.
    hopeless: BTreeMap<u32, i64>,
    /// What starts, by job, with the places of elements.
    starts: BTreeMap<JobId, Vec<usize>>,
    preempting: Option<(JobId, Reason)>,
    now: Time,
    depth: Depth,
    /// What classes lack.
    lacks: BTreeMap<(ClassId, i64), Option<Reason>>,
    /// The last reasons, which are often the next.
    last: Arc<[Reason]>,
    decided: Vec<Decided>,
}

impl<'a> Told<'a> {
    fn new(
        scheduler: &'a Scheduler,
        books: &'a Books,
        hosts: &'a mut Hosts,
        (passed, now, depth): (&'a Passed, Time, Depth),
    ) -> Told<'a> {
        let mut starts: BTreeMap<JobId, Vec<usize>> = BTreeMap::new();
        for (number, start) in passed.starts.iter().enumerate() {
            starts.entry(start.run.job).or_default().push(number);
        }
        Told {
            scheduler,
            books,
            hosts,
            passed,
            hopeless: passed.hopeless.iter().copied().collect(),
            starts,
            preempting: None,
            now,
            depth,
            lacks: BTreeMap::new(),
            last: Arc::new([]),
            decided: Vec::new(),
        }
    }

    fn job(&mut self, job: &Job) {
        let id = job.id();
        for number in self.starts.remove(&id).unwrap_or_default() {
            let start = &self.passed.starts[number];
            let decision = Decision::Start(start.attempt, start.on.clone());
            self.decided.push(Decided { run: start.run, elements: 1, decision });
        }
        let started = |element: Option<u32>| {
            self.passed.starts.iter().any(|start| start.run == RunId { job: id, element })
        };
        match job.body() {
            Body::One(run) => {
                if !started(None) {
                    self.group(job, (None, 1), &run.state);
                }
            }
            Body::Array(array) => self.array(job, array),
        }
    }

    /// Elements that wait alike are told of together, others one by one.
    fn array(&mut self, job: &Job, array: &Array) {
        let id = job.id();
        let started: BTreeSet<u32> = self
            .passed
            .starts
            .iter()
            .filter(|start| start.run.job == id)
            .filter_map(|start| job.place(start.run.element))
            .collect();
        let apart: BTreeSet<u32> = array.apart().map(|(place, _)| place).collect();
        let alike = array.alike() - (started.difference(&apart).count() as u32);
        // What the throttle leaves after those that start now, and after those that were started before, which go first.
        let left = array.may_start().saturating_sub(started.len() as u32);
        let ripe = array.again().take_while(|(from, _)| *from <= self.now).map(|(_, place)| place);
        let ripe: Vec<u32> = ripe.filter(|place| !started.contains(place)).collect();
        let throttled: BTreeSet<u32> = ripe.iter().skip(left as usize).copied().collect();
        let free = alike.min(left.saturating_sub(ripe.len() as u32));
        let gate = job.gate().state();
        let (user, operator) = array.held();
        let (open, never) = array.blocked();
        let groups = [
            (free, gate.clone(), false),
            (alike - free, gate, true),
            (open + never, State::Depends, false),
            (user, State::Held(HeldBy::User), false),
            (operator, State::Held(HeldBy::Operator), false),
        ];
        for (elements, state, throttled) in groups.into_iter().filter(|(elements, ..)| *elements > 0) {
            if throttled {
                self.throttled(job, array, (None, elements), &state);
            } else {
                self.group(job, (None, elements), &state);
            }
        }
        for (place, run) in array.apart().filter(|(place, run)| run.state.waits() && !started.contains(place))
        {
            if throttled.contains(&place) {
                self.throttled(job, array, (Some(place), 1), &run.state);
            } else {
                self.group(job, (Some(place), 1), &run.state);
            }
        }
    }

    /// Elements that the throttle keeps back, whatever else does.
    fn throttled(&mut self, job: &Job, array: &Array, (place, elements): (Option<u32>, u32), state: &State) {
        let mut reasons = self.reasons(job, state);
        let most = array.throttle().unwrap_or(u32::MAX);
        reasons.push(Reason::Throttle { most, live: array.live() });
        let element = place.map(|place| array.indices().index(place));
        self.say((job.id(), element, elements), reasons, Decision::Wait);
    }

    /// So many elements in one state, or the one at a place.
    fn group(&mut self, job: &Job, (place, elements): (Option<u32>, u32), state: &State) {
        let element = place.and_then(|place| match job.body() {
            Body::Array(array) => Some(array.indices().index(place)),
            Body::One(_) => None,
        });
        let of = (job.id(), element, elements);
        let mut reasons = self.reasons(job, state);
        let listed = self.scheduler.listed.get(&job.id());
        let entries = listed.map_or(&[][..], |listed| &listed.entries);
        if let Some(listed) = listed.filter(|_| reasons.is_empty()) {
            reasons.extend(listed.barred.iter().cloned());
        }
        let mine: Vec<&Listing> =
            entries.iter().filter(|(waiting, ..)| number::place_of(*waiting) == place).collect();
        if mine.is_empty() || !matches!(state, State::Pending { from } if *from <= self.now) {
            let never = !reasons.is_empty() && reasons.iter().all(Reason::is_lasting);
            return self.say(of, reasons, if never { Decision::Refuse } else { Decision::Wait });
        }
        let head = self.passed.head.filter(|head| mine.iter().any(|(waiting, ..)| *waiting == head.waiting));
        let preempts =
            self.preempting.as_ref().filter(|(id, _)| *id == job.id()).map(|(_, reason)| reason.clone());
        let first = head.is_some() || self.passed.head.is_none() || self.is_hopeless(&mine);
        if let (false, Some(Head { job: behind, .. })) = (first, self.passed.head) {
            reasons.push(Reason::Priority { behind });
        }
        reasons.extend(self.limits(job));
        reasons.extend(self.unpromised(job, &mine));
        if first || self.depth == Depth::Full {
            let lacks: Vec<Reason> =
                mine.iter().filter_map(|&&(_, class, lasts)| self.lack(class, lasts)).collect();
            reasons.extend(lacks);
        }
        if reasons.is_empty() {
            reasons.extend(self.promised_before(job, &mine));
        }
        if !reasons.is_empty() {
            reasons.extend(self.scheduler.left_out(job));
        }
        match (preempts, head.and_then(|head| head.at).or(self.promised(&mine))) {
            (Some(reason), _) => {
                reasons.push(reason);
                self.say(of, reasons, Decision::Preempt);
            }
            (None, Some(at)) => self.say(of, reasons, |reasons| Decision::Reserve { at, reasons }),
            (None, None) => self.say(of, reasons, Decision::Wait),
        }
    }

    /// Whether no hosts that are up could run one of these entries.
    fn is_hopeless(&self, mine: &[&Listing]) -> bool {
        let known =
            |class: ClassId, lasts: i64| self.hopeless.get(&class.into()).is_some_and(|from| lasts >= *from);
        mine.iter().any(|&&(_, class, lasts)| known(class, lasts))
    }

    /// The first start that one of these entries is promised, where everybody is.
    fn promised(&self, mine: &[&Listing]) -> Option<Time> {
        let (promised, _) = self.passed.promised.as_ref()?;
        let is_mine = |waiting: Waiting| mine.iter().any(|listing| listing.0 == waiting);
        promised.iter().filter(|(waiting, _)| is_mine(*waiting)).map(|(_, at)| *at).min()
    }

    /// That entries are too far behind to be promised a start, where they could be.
    fn unpromised(&self, job: &Job, mine: &[&Listing]) -> Option<Reason> {
        let (_, is_full) = self.passed.promised.as_ref()?;
        let other = self.promised(mine).is_some() || self.is_hopeless(mine);
        let behind = *is_full && !other && !self.passed.limited.contains_key(&job.id());
        behind.then_some(Reason::Unpromised { most: MOST_PROMISED })
    }

    /// Who is in the way of entries that would fit: the next of those who are promised a start, though they may be behind
    /// in the queue. It may be another element of the job.
    fn promised_before(&self, job: &Job, mine: &[&Listing]) -> Option<Reason> {
        let (promised, _) = self.passed.promised.as_ref()?;
        let is_mine = |waiting: Waiting| mine.iter().any(|listing| listing.0 == waiting);
        let others = promised.iter().filter(|(waiting, _)| !is_mine(*waiting));
        let next = others.min_by_key(|(waiting, at)| (*at, *waiting));
        let behind = next.map_or(job.id(), |(waiting, _)| number::job_of(*waiting));
        Some(Reason::Priority { behind })
    }

    /// What is in the way of elements in one state that is not a matter of the queue.
    fn reasons(&self, job: &Job, state: &State) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let from = match state {
            State::Held(by) => {
                reasons.push(Reason::Held(*by));
                job.from()
            }
            State::Pending { from } => *from,
            _ => job.from(),
        };
        if matches!(state, State::Held(_) | State::Depends) || job.gate() == Gate::Depends {
            reasons.extend(self.books.unmet(job));
        }
        if from > self.now {
            reasons.push(Reason::Begin(from));
        }
        if reasons.is_empty() {
            return reasons;
        }
        // It waits for something else, and is not in the queue, so nobody has looked at its partitions.
        match self.books.partitions_of(job.spec()) {
            Ok(partitions) => {
                partitions.iter().for_each(|p| reasons.extend(self.books.barred(job, p, self.now)));
            }
            Err(none) => reasons.extend(none),
        }
        reasons
    }

    /// Limits in the way of a job of which something may start but for others.
    fn limits(&self, job: &Job) -> Vec<Reason> {
        if let Some(limits) = self.passed.limited.get(&job.id()) {
            return limits.clone();
        }
        let Some(dues) = self.scheduler.dues() else { return Vec::new() };
        let partitions = self.books.partitions_of(job.spec()).unwrap_or_default();
        partitions.iter().flat_map(|p| dues.obstacles(&dues.holdings, job, p, self.now)).collect()
    }

    /// What a class lacks now; none when it fits.
    fn lack(&mut self, class: ClassId, lasts: i64) -> Option<Reason> {
        if let Some(known) = self.lacks.get(&(class, lasts)) {
            return known.clone();
        }
        let wait = self.hosts.why(class, self.now, lasts);
        let books = self.books;
        let reason = wait.map(|wait| {
            let run = |running| number::run_of(running, |id| books.job(id));
            let holders =
                wait.holders.iter().filter_map(|holder| Some((run(holder.running)?, holder.end))).collect();
            Reason::Resources { wait, holders }
        });
        self.lacks.insert((class, lasts), reason.clone());
        reason
    }

    fn say(
        &mut self,
        (job, element, elements): (JobId, Option<u32>, u32),
        reasons: Vec<Reason>,
        decision: impl Fn(Arc<[Reason]>) -> Decision,
    ) {
        if self.last[..] != reasons[..] {
            self.last = reasons.into();
        }
        let decision = decision(self.last.clone());
        self.decided.push(Decided { run: RunId { job, element }, elements, decision });
    }
}
