//! The agent: acts for the controller on one host, for as long as its lease lasts.
//!
//! Invariants: an order is obeyed only within the session that it quotes, while the lease lasts, once, and in order;
//! what begins is on the spool before it begins, and is reported until the controller has its end on disk; what is
//! reported as ended has no process left. The spool need not survive the host's boot.

use super::guard::Guard;
use super::lease::Lease;
use super::message::{
    Ended, Ending, FromShepherd, Holding, Order, Report, Start, ToAgent, ToController, ToShepherd,
};
use super::probe::{Finding, ProbeId};
use super::stamp::{AttemptId, Boot, Stamp, Term};
use crate::time::Time;
use std::collections::BTreeMap;

/// What an agent hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentInput {
    /// It has been started, and the spool holds this.
    Begin(Vec<(AttemptId, Found)>),
    /// The controller speaks.
    Controller(ToAgent),
    /// A shepherd speaks.
    Shepherd(AttemptId, FromShepherd),
    /// A shepherd has died, or has left.
    ShepherdDied(AttemptId),
    /// No process of the attempt is left, after [`AgentOutput::KillGroup`].
    GroupGone(AttemptId),
    /// A probe has come to its end, after [`AgentOutput::Probe`].
    Probed(ProbeId, Finding),
    /// The time that it asked for has come.
    Woken,
}

/// What an agent finds on the spool when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A shepherd that lives.
    Shepherd,
    /// An outcome, and no shepherd.
    Outcome(Box<Ending>),
    /// Neither.
    Nothing,
}

/// What an agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentOutput {
    /// Send this to the controller.
    Send(ToController),
    /// Write to the spool that this begins, before it does.
    Note(AttemptId),
    /// Start a shepherd for it, under a lease that ends then.
    Launch(Start, Time),
    /// Tell a shepherd.
    Tell(AttemptId, ToShepherd),
    /// Kill every process of an attempt that has no shepherd, and answer [`AgentInput::GroupGone`].
    KillGroup(AttemptId),
    /// Remove the spool's entry.
    Unnote(AttemptId),
    /// Look for the input files of a job, not for longer than the rules let it, and answer [`AgentInput::Probed`]. To be
    /// asked again means that the answer was lost with a session: one look is enough for both.
    Probe(ProbeId, Vec<u8>),
    /// Wake me then, by the host's clock, and not at the time asked for before.
    Wake(Time),
}

/// How long what one of many short tasks leads to may wait to be told with the next, milliseconds: each report costs the
/// host and the controller a good part of what such a task does.
const TOGETHER_MS: i64 = 4;
/// How many tasks must wait behind each that runs for that.
const ENOUGH: usize = 6;

/// The agent of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    rules: Lease,
    boot: Boot,
    link: Link,
    /// When the lease ends; in the past when there is none.
    lease: Time,
    /// The highest term heard of.
    term: Term,
    /// When it next speaks without being asked.
    speaks: Time,
    /// When it last spoke: two reports of one moment could not be told apart.
    spoke: Time,
    holds: BTreeMap<AttemptId, Held>,
    /// What each follows that was to begin when that is over.
    after: BTreeMap<AttemptId, AttemptId>,
    /// What was ordered to be looked for in this session, and what was found.
    probes: BTreeMap<ProbeId, Option<Finding>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Since this hello, if one has been sent.
    Seeking(Option<Time>),
    /// So many orders have been obeyed.
    Joined(Stamp, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    /// By a shepherd; stopped for the time of this number, when the shepherd has said so last.
    Shepherd(Option<u32>),
    /// By nobody; being killed.
    Orphan,
    /// The outcome, and whether a shepherd still waits to be let go.
    Over(Box<Ending>, bool),
    /// The same, of a shepherd that was let go and has not left: another may not take its place before.
    Leaving(Box<Ending>),
}

impl Agent {
    /// The agent of a host in this life of it.
    pub fn new(rules: Lease, boot: Boot) -> Self {
        let (link, term, never) = (Link::Seeking(None), Term(0), Time(i64::MIN));
        let (holds, after, probes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Agent { rules, boot, link, lease: never, term, speaks: never, spoke: never, holds, after, probes }
    }

    /// Hears one thing, and says what to do.
    pub fn handle(&mut self, now: Time, input: AgentInput) -> Vec<AgentOutput> {
        let mut out = Vec::new();
        self.look_at_the_clock(now);
        match input {
            AgentInput::Begin(found) => {
                found.into_iter().for_each(|(id, what)| self.find(id, what, &mut out))
            }
            AgentInput::Controller(message) => self.told(now, message, &mut out),
            AgentInput::Shepherd(id, FromShepherd::Ended(end)) => {
                if let Some(held @ Held::Shepherd(_)) = self.holds.get_mut(&id) {
                    *held = Held::Over(end, true);
                    self.speak_soon(now);
                }
            }
            AgentInput::Shepherd(id, FromShepherd::Running) => self.stands(now, id, None),
            AgentInput::Shepherd(id, FromShepherd::Suspended(time)) => self.stands(now, id, Some(time)),
            AgentInput::ShepherdDied(id) => self.shepherd_died(now, id, &mut out),
            AgentInput::GroupGone(id) => {
                if let Some(held @ Held::Orphan) = self.holds.get_mut(&id) {
                    *held = Held::Over(Ending::bare(Ended::ShepherdLost), false);
                    self.speaks = now;
                }
            }
            AgentInput::Probed(id, finding) => {
                if let Some(found @ None) = self.probes.get_mut(&id) {
                    *found = Some(finding);
                    self.speaks = now;
                }
            }
            AgentInput::Woken => {}
        }
        if now >= self.speaks && now > self.spoke {
            self.speak(now, &mut out);
        }
        let next = self.speaks.max(self.spoke + 1);
        let end = if self.is_joined() && now < self.lease { self.lease } else { Time::NEVER };
        out.push(AgentOutput::Wake(next.min(end)));
        out
    }

    /// Has something told: at once, but where it is known for long enough what comes next, with what else there is by then.
    fn speak_soon(&mut self, now: Time) {
        let waits = self.after.len();
        let live = self.holds.values().filter(|held| held.is_live()).count();
        let has_enough = waits > 0 && waits >= ENOUGH * live.saturating_sub(waits);
        self.speaks = self.speaks.min(if has_enough { now.after(TOGETHER_MS) } else { now });
    }

    /// Whether it has a session.
    pub fn is_joined(&self) -> bool {
        matches!(self.link, Link::Joined(..))
    }

    /// A lease that has ended takes the session with it: what was ordered under it is not obeyed any more.
    fn look_at_the_clock(&mut self, now: Time) {
        if now >= self.lease && self.is_joined() && Guard::OrderInLease.stands() {
            self.link = Link::Seeking(None);
            self.speaks = now;
        }
    }

    fn find(&mut self, id: AttemptId, what: Found, out: &mut Vec<AgentOutput>) {
        let held = match what {
            Found::Shepherd => {
                out.push(AgentOutput::Tell(id, ToShepherd::Adopt));
                Held::Shepherd(None)
            }
            Found::Outcome(end) => Held::Over(end, false),
            Found::Nothing => {
                out.push(AgentOutput::KillGroup(id));
                Held::Orphan
            }
        };
        self.holds.insert(id, held);
    }

    /// A shepherd says whether what it holds is stopped.
    fn stands(&mut self, now: Time, id: AttemptId, stopped: Option<u32>) {
        if let Some(Held::Shepherd(known)) = self.holds.get_mut(&id)
            && std::mem::replace(known, stopped) != stopped
        {
            self.speaks = now;
        }
    }

    fn shepherd_died(&mut self, now: Time, id: AttemptId, out: &mut Vec<AgentOutput>) {
        match self.holds.get_mut(&id) {
            Some(held @ Held::Shepherd(_)) if Guard::ShepherdWatched.stands() => {
                *held = Held::Orphan;
                out.push(AgentOutput::KillGroup(id));
            }
            Some(held @ Held::Shepherd(_)) => *held = Held::Over(Ending::bare(Ended::ShepherdLost), false),
            Some(Held::Over(_, shepherd)) => *shepherd = false,
            Some(Held::Leaving(_)) => {
                out.push(AgentOutput::Unnote(id));
                self.holds.remove(&id);
                self.speak_soon(now);
            }
            _ => {}
        }
    }

    fn told(&mut self, now: Time, message: ToAgent, out: &mut Vec<AgentOutput>) {
        match message {
            ToAgent::Welcome { boot, stamp, sent } => {
                let asked = self.link == Link::Seeking(Some(sent)) && self.boot == boot;
                if asked && stamp.term >= self.term {
                    self.term = stamp.term;
                    self.link = Link::Joined(stamp, 0);
                    self.probes.clear();
                    self.extend(now, sent, out);
                    self.speaks = now;
                }
            }
            ToAgent::Grant { stamp, sent, first, orders } => {
                let Link::Joined(mine, done) = self.link else { return };
                if mine != stamp && Guard::OrderOfSession.stands() {
                    return;
                }
                self.extend(now, sent, out);
                self.obey(done, (first, orders), out);
                if self.link != Link::Joined(mine, done) {
                    self.speak_soon(now);
                }
            }
            ToAgent::Stale { stamp, term } => {
                if matches!(self.link, Link::Joined(mine, _) if mine == stamp) && term >= self.term {
                    self.term = term;
                    self.link = Link::Seeking(None);
                    self.speaks = now;
                }
            }
        }
    }

    /// The controller has answered what was sent at `sent`.
    fn extend(&mut self, now: Time, sent: Time, out: &mut Vec<AgentOutput>) {
        let asked = if Guard::LeaseFromAsking.stands() { sent } else { now };
        let end = self.rules.end(asked);
        if end <= self.lease {
            return;
        }
        self.lease = end;
        let held = self.holds.iter().filter(|(_, held)| matches!(held, Held::Shepherd(_)));
        out.extend(held.map(|(id, _)| AgentOutput::Tell(*id, ToShepherd::Extend(end))));
    }

    /// Obeys the orders that come next, of those numbered from `first`.
    fn obey(&mut self, mut done: u32, (first, orders): (u32, Vec<Order>), out: &mut Vec<AgentOutput>) {
        for (number, order) in (first..).zip(orders) {
            if number != done + 1 && Guard::OrderOnce.stands() {
                continue;
            }
            done = done.max(number);
            self.perform(order, out);
        }
        if let Link::Joined(stamp, _) = self.link {
            self.link = Link::Joined(stamp, done);
        }
    }

    fn perform(&mut self, order: Order, out: &mut Vec<AgentOutput>) {
        match order {
            Order::Start(start) if !self.holds.contains_key(&start.id) => {
                self.holds.insert(start.id, Held::Shepherd(None));
                self.after.extend(start.after.map(|after| (start.id, after)));
                if Guard::NoteBeforeLaunch.stands() {
                    out.push(AgentOutput::Note(start.id));
                }
                out.push(AgentOutput::Launch(start, self.lease));
            }
            Order::Start(_) => {}
            Order::Kill(id) => self.tell(id, ToShepherd::Kill, out),
            Order::Forget(id) => match self.holds.get_mut(&id) {
                // It leaves, or dies before it hears of this: its note goes in either case.
                Some(Held::Over(end, true)) => {
                    let leaving = Held::Leaving(end.clone());
                    self.holds.insert(id, leaving);
                    out.push(AgentOutput::Tell(id, ToShepherd::Forget));
                }
                Some(Held::Over(_, false)) => {
                    out.push(AgentOutput::Unnote(id));
                    self.holds.remove(&id);
                }
                _ => {}
            },
            Order::Resize(id, hosts) => out.push(AgentOutput::Tell(id, ToShepherd::Resize(hosts))),
            Order::Probe(id, what) => {
                self.probes.insert(id, None);
                out.push(AgentOutput::Probe(id, what));
            }
            Order::ForgetProbe(id) => drop(self.probes.remove(&id)),
            Order::Suspend(id, time) => self.tell(id, ToShepherd::Suspend(time), out),
            Order::Resume(id, time) => self.tell(id, ToShepherd::Resume(time), out),
            Order::Notice(id, grace_ms) => self.tell(id, ToShepherd::Notice(grace_ms), out),
        }
    }

    /// Tells the shepherd of an attempt, if one holds something of it.
    fn tell(&self, id: AttemptId, message: ToShepherd, out: &mut Vec<AgentOutput>) {
        if let Some(Held::Shepherd(_)) = self.holds.get(&id) {
            out.push(AgentOutput::Tell(id, message));
        }
    }

    /// Whether something here is yet to begin, after what it follows.
    fn waits(&self, id: AttemptId) -> bool {
        let before = self.after.get(&id).and_then(|before| self.holds.get(before));
        before.is_some_and(Held::is_live)
    }

    fn holding(&self, id: AttemptId, held: &Held) -> Holding {
        match held.holding() {
            Holding::Running if self.waits(id) => Holding::Waits,
            holding => holding,
        }
    }

    /// What follows something that is over follows what that was to follow, or nothing any more.
    fn move_up(&mut self) {
        let Agent { holds, after, .. } = self;
        let live = |id: &AttemptId| holds.get(id).is_some_and(Held::is_live);
        let over: Vec<AttemptId> = after.keys().copied().filter(|id| !live(id)).collect();
        for gone in over {
            let Some(before) = after.remove(&gone) else { continue };
            after.values_mut().filter(|next| **next == gone).for_each(|next| *next = before);
        }
        after.retain(|_, before| live(before));
    }

    /// Reports, or asks for a session.
    fn speak(&mut self, now: Time, out: &mut Vec<AgentOutput>) {
        self.speaks = now.after(self.rules.report_ms);
        self.spoke = now;
        let (boot, sent) = (self.boot, now);
        out.push(AgentOutput::Send(match self.link {
            Link::Joined(stamp, done) => {
                self.move_up();
                let holds = self.holds.iter().map(|(id, held)| (*id, self.holding(*id, held))).collect();
                let found = self.probes.iter().filter_map(|(id, found)| Some((*id, found.clone()?)));
                let probes = found.collect();
                ToController::Report(Report { boot, stamp, sent, done, holds, probes })
            }
            Link::Seeking(_) => {
                self.link = Link::Seeking(Some(now));
                ToController::Hello { boot, sent }
            }
        }));
        if !Guard::KeepOutcome.stands() {
            self.holds.retain(|_, held| !matches!(held, Held::Over(..) | Held::Leaving(_)));
        }
    }
}

impl Held {
    /// Whether something of it may run, or is yet to.
    fn is_live(&self) -> bool {
        matches!(self, Held::Shepherd(_) | Held::Orphan)
    }

    fn holding(&self) -> Holding {
        match self {
            Held::Shepherd(Some(time)) => Holding::Suspended(*time),
            Held::Shepherd(None) | Held::Orphan => Holding::Running,
            Held::Over(end, _) | Held::Leaving(end) => Holding::Ended(end.clone()),
        }
    }
}
