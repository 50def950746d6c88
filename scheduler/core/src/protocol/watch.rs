//! What the controller knows of one host for now: its session, the orders on their way, and how long it has been silent.
//! Forgotten with the controller.
//!
//! Invariants: orders are numbered from 1 in each session and kept until the agent has obeyed them; `given` is not
//! earlier than any moment at which a lease was given to the host.

use super::guard::Guard;
use super::lease::Lease;
use super::message::{Order, ToAgent};
use super::probe::ProbeId;
use super::stamp::{AttemptId, Boot, Session, Stamp, Term};
use crate::cluster::HostId;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many orders go into one message, so that it has a limit.
const ORDERS_AT_ONCE: usize = 64;

/// What is known of a host.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// When a lease was last given, or may have been.
    given: Time,
    /// When it was last heard.
    heard: Time,
    pub(super) voice: Voice,
    offer: Option<Offer>,
    pub(super) joined: Option<Joined>,
    /// The open attempts that have something here which is not over.
    pub(super) runs: BTreeSet<AttemptId>,
}

/// Whether it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Clear,
    /// For long enough to start kernel steps elsewhere.
    Silent,
    /// For so long that its lease is surely over.
    Lapsed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    boot: Boot,
    sent: Time,
    session: Session,
}

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) boot: Boot,
    pub(super) session: Session,
    /// When the newest report was sent, by the agent's clock.
    sent: Time,
    /// How many orders have been obeyed.
    done: u32,
    /// Those that have not, as far as is known.
    orders: VecDeque<Order>,
    /// What was ordered to be killed, by the number of the order, until it is known to be gone.
    kills: BTreeMap<AttemptId, u32>,
    /// What was ordered to be forgotten, until it is.
    forgets: BTreeSet<AttemptId>,
    /// Which hosts the foremen here were last ordered to use.
    told: BTreeMap<AttemptId, Vec<HostId>>,
    /// What was ordered to be looked for, and the number of the order to forget it, once there is one.
    probes: BTreeMap<ProbeId, Option<u32>>,
    /// What was last ordered to stop or to go on, by the number of the time.
    paces: BTreeMap<AttemptId, (u32, Move)>,
    /// What was told that it has to end, by the number of the order, and within how many milliseconds.
    noticed: BTreeMap<AttemptId, (u32, i64)>,
    /// What is stopped by the newest report, by the number of the time.
    pub(super) stopped: BTreeMap<AttemptId, u32>,
}

/// What is ordered of what may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Stop,
    GoOn,
}

impl Watch {
    /// A host that may have been given a lease until `now`.
    pub(super) fn new(now: Time) -> Self {
        let (offer, joined, runs) = (None, None, BTreeSet::new());
        Watch { given: now, heard: now, voice: Voice::Clear, offer, joined, runs }
    }

    /// A host that has never been given one.
    pub(super) fn unknown() -> Self {
        Watch { voice: Voice::Lapsed, ..Watch::new(Time(i64::MIN)) }
    }

    /// When its silence next means something.
    pub(super) fn due(&self, rules: &Lease) -> Option<Time> {
        match self.voice {
            Voice::Clear => Some(self.heard.after(rules.suspect_ms)),
            Voice::Silent => Some(self.over(rules)),
            Voice::Lapsed => None,
        }
    }

    /// Time passes: what its silence means now.
    pub(super) fn look_at_the_clock(&mut self, now: Time, rules: &Lease) {
        if self.voice == Voice::Clear && now >= self.heard.after(rules.suspect_ms) {
            self.voice = Voice::Silent;
        }
        if self.voice == Voice::Silent && now >= self.over(rules) {
            self.voice = Voice::Lapsed;
            self.joined = None;
            self.offer = None;
        }
    }

    fn over(&self, rules: &Lease) -> Time {
        if !Guard::WaitForLease.stands() {
            self.given.after(rules.suspect_ms)
        } else if !Guard::AllowForSkew.stands() {
            self.given.after(rules.length_ms)
        } else {
            rules.surely_over(self.given)
        }
    }

    /// A hello was heard: the session to offer, `next` if this one has not been answered before.
    pub(super) fn hello(&mut self, now: Time, (boot, sent): (Boot, Time), next: Session) -> Session {
        self.given = now;
        // The lease that is offered counts, though the agent may never take it.
        if self.voice == Voice::Lapsed {
            self.voice = Voice::Silent;
        }
        match self.offer {
            Some(offer) if (offer.boot, offer.sent) == (boot, sent) => offer.session,
            _ => {
                self.offer = Some(Offer { boot, sent, session: next });
                next
            }
        }
    }

    /// Whether a report of this session is to be believed; true as well when the session begins with it.
    pub(super) fn hear(&mut self, now: Time, session: Session, (sent, done): (Time, u32)) -> Option<Heard> {
        let heard = if let Some(joined) = self.joined.as_mut().filter(|joined| joined.session == session) {
            let overtaken = sent < joined.sent && Guard::NewestReport.stands();
            joined.sent = joined.sent.max(sent);
            joined.obeyed(done);
            if overtaken { Heard::Late } else { Heard::Again }
        } else if let Some(offer) = self.offer.filter(|offer| offer.session == session) {
            self.offer = None;
            self.joined = Some(Joined::new(offer.boot, session, sent));
            Heard::First
        } else if !Guard::ReportOfSession.stands() && self.joined.is_some() {
            Heard::First
        } else {
            return None;
        };
        self.heard = now;
        self.voice = Voice::Clear;
        Some(heard)
    }

    /// The lease and the orders that go out now.
    pub(super) fn grant(&mut self, now: Time, term: Term) -> Option<ToAgent> {
        let joined = self.joined.as_ref()?;
        self.given = now;
        let orders = joined.orders.iter().take(ORDERS_AT_ONCE).cloned().collect();
        let stamp = Stamp { term, session: joined.session };
        Some(ToAgent::Grant { stamp, sent: joined.sent, first: joined.done + 1, orders })
    }

    /// Whether new work may go there: it is heard, nothing is left of what is over, and what it left of attempts that are
    /// open is forgotten.
    pub(super) fn is_usable(&self, open: impl Fn(AttemptId) -> bool) -> bool {
        let clean = |joined: &Joined| joined.kills.keys().all(|id| self.runs.contains(id));
        let clean = self.joined.as_ref().is_some_and(|j| clean(j) || !Guard::LeftoversFirst.stands());
        let left = self.joined.iter().flat_map(|joined| &joined.forgets).any(|id| open(*id));
        clean && (!left || !Guard::ForgottenFirst.stands()) && self.voice == Voice::Clear
    }
}

/// What a believed report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The first of its session: what it lacks is not there, and no order of before will be obeyed.
    First,
    /// A later one.
    Again,
    /// One that a newer one has overtaken: that it came says that the host is there, and no more.
    Late,
}

impl Joined {
    fn new(boot: Boot, session: Session, sent: Time) -> Self {
        let (kills, forgets, told) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (paces, noticed, stopped) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (orders, probes) = (VecDeque::new(), BTreeMap::new());
        let done = 0;
        Joined { boot, session, sent, done, orders, kills, forgets, told, probes, paces, noticed, stopped }
    }

    fn obeyed(&mut self, done: u32) {
        for _ in self.done..done {
            self.orders.pop_front();
        }
        self.done = self.done.max(done);
    }

    /// Adds an order.
    pub(super) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// Orders that `id` be killed, unless that is ordered.
    pub(super) fn kill(&mut self, id: AttemptId) {
        if !self.kills.contains_key(&id) {
            self.orders.push_back(Order::Kill(id));
            self.kills.insert(id, self.done + self.orders.len() as u32);
        }
    }

    /// Orders that `id` be forgotten, unless that is ordered.
    pub(super) fn forget(&mut self, id: AttemptId) {
        if self.forgets.insert(id) {
            self.orders.push_back(Order::Forget(id));
        }
    }

    /// Orders that the foreman of `id` use `hosts`, unless that is what it was last told.
    pub(super) fn resize(&mut self, id: AttemptId, hosts: Vec<HostId>) {
        if self.told.get(&id) != Some(&hosts) {
            self.orders.push_back(Order::Resize(id, hosts.clone()));
            self.told.insert(id, hosts);
        }
    }

    /// Whether it was ordered to look for something.
    pub(super) fn is_probed(&self, id: ProbeId) -> bool {
        self.probes.contains_key(&id)
    }

    /// Orders that it look for something.
    pub(super) fn probe(&mut self, id: ProbeId, what: Vec<u8>) {
        self.orders.push_back(Order::Probe(id, what));
        self.probes.insert(id, None);
    }

    /// Orders that what was found be forgotten, unless that is ordered.
    pub(super) fn probe_heard(&mut self, id: ProbeId) {
        if self.probes.get(&id).is_none_or(Option::is_none) {
            self.orders.push_back(Order::ForgetProbe(id));
            self.probes.insert(id, Some(self.done + self.orders.len() as u32));
        }
    }

    /// The agent, having obeyed `done` orders, tells of what `told` says. Whether there is less to remember.
    pub(super) fn probes_forgotten(&mut self, done: u32, told: impl Fn(ProbeId) -> bool) -> bool {
        let before = self.probes.len();
        self.probes.retain(|id, number| number.is_none_or(|number| number > done) || told(*id));
        self.probes.len() < before
    }

    /// Orders that `id` stop for the time of this number, unless that was the last that was ordered of it.
    pub(super) fn suspend(&mut self, id: AttemptId, number: u32) {
        if self.paces.insert(id, (number, Move::Stop)) != Some((number, Move::Stop)) {
            self.orders.push_back(Order::Suspend(id, number));
        }
    }

    /// Orders that `id` go on after the time of this number, unless that was the last that was ordered of it.
    pub(super) fn resume(&mut self, id: AttemptId, number: u32) {
        if self.paces.insert(id, (number, Move::GoOn)) != Some((number, Move::GoOn)) {
            self.orders.push_back(Order::Resume(id, number));
        }
    }

    /// Orders that `id` end within so many milliseconds, unless that, or less, or its end is ordered.
    pub(super) fn notice(&mut self, id: AttemptId, grace_ms: i64) {
        let known = self.noticed.get(&id).is_some_and(|(_, told)| *told <= grace_ms);
        if !known && !self.kills.contains_key(&id) {
            self.orders.push_back(Order::Notice(id, grace_ms));
            self.noticed.insert(id, (self.done + self.orders.len() as u32, grace_ms));
        }
    }

    /// The agent of this session, having obeyed `done` orders, holds nothing that runs but what `runs` says.
    pub(super) fn clear(&mut self, done: u32, runs: impl Fn(AttemptId) -> bool) {
        self.kills.retain(|id, number| *number > done || runs(*id));
        self.noticed.retain(|id, (number, _)| *number > done || runs(*id));
    }

    /// The agent holds nothing of which `held` does not hold.
    pub(super) fn forgotten(&mut self, done: u32, held: impl Fn(AttemptId) -> bool) {
        if done >= self.done {
            self.forgets.retain(|id| held(*id));
        }
    }
}
