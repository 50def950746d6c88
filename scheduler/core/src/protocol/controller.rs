//! The controller: hears clients and agents, notes what changes, and orders what follows.
//!
//! Part of step 4 of a job's way (DESIGN section 4). Invariants: all records of one input go out before everything that rests on
//! them; an attempt is placed again only when its conduct allows; every lease given is counted from when it was given.

mod probing;

use super::desk::{Begun, Decided, Desk, Due, Place, Resized, Why};
use super::drain::Drains;
use super::guard::Guard;
use super::lag::Lag;
use super::lease::Lease;
use super::ledger::{FromStore, ToStore};
use super::message::{self, Conduct, Ended, Holding, Order, Report, Role, Start, ToAgent, ToController};
use super::stamp::{AttemptId, Boot, Session, Stamp, Term};
use super::standing::{Part, PartEnd, Record, Standing};
use super::watch::{Heard, Voice, Watch};
use crate::cluster::HostId;
use crate::job::id::RunId;
use crate::job::usage::Usage;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the controller hears.
#[derive(Clone, Debug)]
pub enum Input<R> {
    /// It has been started. Nothing else may come before this.
    Begin,
    /// A client asks, by a number of the shell's for the answer.
    Client(u64, Request<R>),
    /// An agent speaks.
    Agent(HostId, ToController),
    /// A foreman on a host speaks.
    Foreman(HostId, ToStore),
    /// The time that it asked for has come.
    Woken,
}

/// What a client may ask.
#[derive(Clone, Debug)]
pub enum Request<R> {
    /// Something about jobs.
    Desk(R),
    /// An operator of this number says that a host is dead, and nothing runs there.
    GiveUp(HostId, u32),
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<A> {
    /// About jobs.
    Desk(A),
    /// What ran on the host is taken to be over.
    GivenUp,
    /// The host is heard, or was a moment ago: drain it, or stop its agent, and try again when its lease is over.
    StillHeard,
}

/// What the controller does, in this order, and nothing after records before they are on disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<E, A> {
    /// Write this to the journal.
    Persist(Vec<Entry<E>>),
    /// Send this to an agent.
    Send(HostId, ToAgent),
    /// Send this to a foreman on a host.
    Tell(HostId, FromStore),
    /// Answer a client.
    Reply(u64, Answer<A>),
    /// Wake me then, and not at the time asked for before.
    Wake(Time),
}

/// A record, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<E> {
    /// When.
    pub at: Time,
    /// What.
    pub record: Record<E>,
}

/// What a controller does.
pub type Outputs<D> = Vec<Output<<D as Desk>::Event, <D as Desk>::Answer>>;

/// One life of the controller.
#[derive(Clone, Debug)]
pub struct Controller<D: Desk> {
    pub(super) rules: Lease,
    pub(super) standing: Standing<D>,
    pub(super) hosts: BTreeMap<HostId, Watch>,
    /// When each host's silence next means something.
    due: BTreeSet<(Time, HostId)>,
    /// What the desk was told of hosts.
    usable: BTreeSet<HostId>,
    next_session: Session,
    lag: Lag,
    /// Members of kernel steps that leave.
    pub(super) drains: Drains,
    pub(super) turn: Turn<D>,
}

/// What one input has led to so far.
#[derive(Clone, Debug)]
pub(super) struct Turn<D: Desk> {
    entries: Vec<Entry<D::Event>>,
    sends: Vec<(HostId, ToAgent)>,
    tells: Vec<(HostId, FromStore)>,
    replies: Vec<(u64, Answer<D::Answer>)>,
    /// Hosts that get a lease and their orders.
    speak: BTreeSet<HostId>,
    /// Runs to look at: something of them has changed.
    pub(super) touched: BTreeSet<RunId>,
    /// Hosts of which something has changed.
    looked_at: BTreeSet<HostId>,
    /// Whether something may begin that could not.
    pub(super) decide: bool,
    /// Whether hosts may have to be asked for input files that did not.
    look: bool,
}

impl<D: Desk> Default for Turn<D> {
    fn default() -> Self {
        let (entries, sends, tells, replies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (speak, touched, looked_at) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Turn { entries, sends, tells, replies, speak, touched, looked_at, decide: false, look: false }
    }
}

impl<D: Desk> Controller<D> {
    /// A controller that goes on from what the journal says.
    pub fn new(rules: Lease, standing: Standing<D>) -> Self {
        let (hosts, due) = (BTreeMap::new(), BTreeSet::new());
        let (usable, drains) = (BTreeSet::new(), Drains::default());
        let (next_session, lag, turn) = (Session(0), Lag::NONE, Turn::default());
        Controller { rules, standing, hosts, due, usable, next_session, lag, drains, turn }
    }

    /// What is known for good: the fold of all records handed out.
    pub fn standing(&self) -> &Standing<D> {
        &self.standing
    }

    /// Hears one thing, and says what to do.
    pub fn handle(&mut self, now: Time, input: Input<D::Request>) -> Outputs<D> {
        self.look_at_the_clock(now);
        match input {
            Input::Begin => self.begin(now),
            Input::Client(client, Request::Desk(request)) => self.ask(now, client, &request),
            Input::Client(client, Request::GiveUp(host, user)) => self.give_up(now, client, (host, user)),
            Input::Agent(host, ToController::Hello { boot, sent }) => self.hello(now, host, (boot, sent)),
            Input::Foreman(host, message) => self.foreman(now, host, message),
            Input::Agent(host, ToController::Report(report)) => self.report(now, host, &report),
            Input::Woken => {
                self.fall_due(now);
                self.turn.decide = true;
            }
        }
        self.wind_up(now);
        self.place(now);
        self.look_for_inputs();
        self.finish(now)
    }

    fn begin(&mut self, now: Time) {
        self.lag = Lag::new(now, self.standing.last);
        if Guard::NewTerm.stands() || self.standing.term == Term(0) {
            self.note(now, Record::Term(Term(self.standing.term.0 + 1)));
        }
        // Leases that the last controller gave are not known: each may have been given until now.
        let mut hosts: BTreeMap<HostId, Watch> = BTreeMap::new();
        for open in self.standing.open.values() {
            for (host, _) in open.parts.iter().filter(|(_, part)| part.over.is_none()) {
                let given = if Guard::WaitAfterRestart.stands() { now } else { Time(i64::MIN) };
                hosts.entry(*host).or_insert_with(|| Watch::new(given)).runs.insert(open.begun.id);
            }
        }
        for (host, watch) in hosts {
            self.due.extend(watch.due(&self.rules).map(|at| (at, host)));
            self.hosts.insert(host, watch);
        }
        self.turn.touched = self.standing.open.keys().copied().collect();
        self.turn.decide = true;
        for (job, probe) in &self.standing.probes {
            self.standing.desk.found(*job, Some(probe));
        }
        self.look_at_the_clock(now);
    }

    fn ask(&mut self, now: Time, client: u64, request: &D::Request) {
        let asked = self.standing.desk.ask(self.time(now), request);
        for event in asked.events {
            self.note(now, Record::Desk(event));
        }
        self.tell_to_end(now, asked.end);
        self.turn.replies.push((client, Answer::Desk(asked.answer)));
        self.turn.decide = true;
        self.turn.look = true;
    }

    /// Ends what runs as Slurm does, whoever wants it to: it is told, and has a while.
    fn tell_to_end(&mut self, now: Time, all: Vec<(RunId, Why)>) {
        for end in all {
            self.end_after(now, end, self.rules.kill_wait_ms);
        }
    }

    pub(super) fn end(&mut self, now: Time, run: RunId, why: Why) {
        let Some(open) = self.standing.open.get(&run).filter(|open| open.can_end(why)) else { return };
        self.note(now, Record::End(open.begun.id, why));
        self.turn.touched.insert(run);
    }

    fn give_up(&mut self, now: Time, client: u64, (host, user): (HostId, u32)) {
        let lapsed = self.hosts.get(&host).is_none_or(|watch| watch.voice == Voice::Lapsed);
        let runs = self.hosts.get(&host).filter(|_| lapsed).map(|watch| watch.runs.clone());
        for id in runs.into_iter().flatten() {
            self.lost(now, (id, host), PartEnd::GivenUp(user));
        }
        let answer = if lapsed { Answer::GivenUp } else { Answer::StillHeard };
        self.turn.replies.push((client, answer));
    }

    fn hello(&mut self, now: Time, host: HostId, (boot, sent): (Boot, Time)) {
        let next = Session(self.next_session.0 + 1);
        let session = self.watched(host, |watch| watch.hello(now, (boot, sent), next));
        self.next_session = self.next_session.max(session);
        let stamp = Stamp { term: self.standing.term, session };
        self.turn.sends.push((host, ToAgent::Welcome { boot, stamp, sent }));
    }

    fn report(&mut self, now: Time, host: HostId, report: &Report) {
        let (term, stamp) = (self.standing.term, report.stamp);
        let heard = (stamp.term == term)
            .then(|| self.watched(host, |w| w.hear(now, stamp.session, (report.sent, report.done))));
        let Some(heard) = heard.flatten() else {
            return self.turn.sends.push((host, ToAgent::Stale { stamp, term }));
        };
        match heard {
            Heard::First => {
                self.turn.look = true;
                self.miss(now, host, report);
            }
            Heard::Again => {}
            Heard::Late => {
                self.turn.speak.insert(host);
                return;
            }
        }
        self.stopped(host, report);
        // What has ended gives its place to what follows it, which may run by now.
        let ended = |(_, holding): &&(AttemptId, Holding)| matches!(holding, Holding::Ended(_));
        for (id, holding) in report.holds.iter().filter(ended) {
            self.held(now, host, (*id, holding));
        }
        self.wind_up(now);
        for (id, holding) in report.holds.iter().filter(|one| !ended(one)) {
            self.held(now, host, (*id, holding));
        }
        let held = |id| report.holds.binary_search_by_key(&id, |(id, _)| *id).ok();
        let runs = |id| held(id).is_some_and(|at| !matches!(report.holds[at].1, Holding::Ended(_)));
        self.watched(host, |watch| {
            if let Some(joined) = &mut watch.joined {
                joined.clear(report.done, runs);
                joined.forgotten(report.done, |id| held(id).is_some());
            }
        });
        self.probed(now, host, report);
        self.turn.speak.insert(host);
    }

    fn foreman(&mut self, now: Time, host: HostId, message: ToStore) {
        if let ToStore::Uses(id, hosts) = &message {
            self.handed_in(*id, hosts);
        }
        if let ToStore::Close(id, spec) = &message {
            self.go_home(now, *id, *spec);
        }
        let (records, answer) = self.standing.hear_foreman(message);
        for record in records {
            // Who runs has other hosts to be lent, or none any more.
            self.turn.decide |= matches!(record, Record::Stepped(..));
            self.note(now, record);
        }
        self.turn.tells.extend(answer.map(|answer| (host, answer)));
    }

    /// The first report of a session says what is not there, too.
    fn miss(&mut self, now: Time, host: HostId, report: &Report) {
        for id in self.hosts[&host].runs.clone() {
            self.turn.touched.insert(id.run);
            if report.holds.binary_search_by_key(&id, |(id, _)| *id).is_ok() {
                continue;
            }
            let open = self.standing.attempt(id);
            let same = open.is_some_and(|open| open.parts[&host].boot == report.boot);
            let end =
                if same || !Guard::BootKnown.stands() { PartEnd::NeverBegan } else { PartEnd::Rebooted };
            self.lost(now, (id, host), end);
        }
    }

    /// The agent holds this.
    fn held(&mut self, now: Time, host: HostId, (id, holding): (AttemptId, &Holding)) {
        let ours = self.standing.runs_at(id, host);
        match holding {
            Holding::Ended(end) => {
                if ours {
                    if let Some(why) = &end.why {
                        self.note(now, Record::Unable(id, host, message::reason(why)));
                    }
                    if end.how == Ended::Unfit {
                        let why = end.why.as_deref().unwrap_or_default();
                        let events = self.standing.desk.unfit(host, &message::reason(why));
                        events.into_iter().for_each(|event| self.note(now, Record::Desk(event)));
                    }
                    self.over(now, (id, host), PartEnd::Reported(end.how), end.usage);
                }
                self.ordered(host, |joined| joined.forget(id));
            }
            Holding::Running if ours => {
                let open = &self.standing.open[&id.run];
                if !open.up && open.parts[&host].role == Role::Batch {
                    // It may be lent hosts from now on, and may be asked to stop.
                    self.turn.decide = true;
                    self.note(now, Record::Up(id));
                }
            }
            Holding::Suspended(number) if ours => self.is_stopped(host, id, *number),
            Holding::Waits if ours => {}
            // It is over as far as anybody knows: it has no right to be there.
            Holding::Running | Holding::Suspended(_) | Holding::Waits => {
                self.ordered(host, |joined| joined.kill(id));
            }
        }
    }

    /// Hosts that have been silent for long enough to mean something.
    fn look_at_the_clock(&mut self, now: Time) {
        self.turn.touched.extend(self.drains.due(now));
        while let Some((_, host)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let rules = self.rules;
            let voice = self.watched(host, |watch| {
                watch.look_at_the_clock(now, &rules);
                watch.voice
            });
            for id in self.hosts[&host].runs.clone() {
                let Some(open) = self.standing.attempt(id) else { continue };
                match (open.begun.conduct, voice) {
                    (_, Voice::Clear)
                    | (Conduct::Requeue, Voice::Silent)
                    | (Conduct::Stay, Voice::Silent) => {}
                    (Conduct::Stay, Voice::Lapsed) if Guard::StayUnlessReported.stands() => {}
                    (Conduct::Fenced, Voice::Silent) => self.lost(now, (id, host), PartEnd::Silent),
                    (_, Voice::Lapsed) => self.lost(now, (id, host), PartEnd::LeaseOver),
                }
            }
        }
    }

    /// Ends what has a reason to end, and closes what is over.
    fn wind_up(&mut self, now: Time) {
        while let Some(run) = self.turn.touched.pop_first() {
            let Some(open) = self.standing.open.get(&run) else { continue };
            if open.cause.is_none() {
                self.keep_to_hosts(now, run);
                self.keep_pace(now, run);
                continue;
            }
            let (id, end, notice_ms, used) = (open.begun.id, open.end(), open.notice_ms(), open.used);
            // What is over only by our reckoning may run, or begin, where its host is heard again.
            let left = open.parts.iter().filter(|(_, part)| !part.is_surely_gone()).map(|(host, _)| *host);
            let left: Vec<HostId> = left.collect();
            let hosts: Vec<HostId> = open.parts.keys().copied().collect();
            let is_over = open.is_over() || !Guard::AllPartsOver.stands();
            for host in left {
                self.ordered(host, |joined| match notice_ms {
                    Some(grace_ms) => joined.notice(id, grace_ms),
                    None => joined.kill(id),
                });
                if is_over {
                    self.watched(host, |watch| watch.runs.remove(&id));
                }
            }
            if is_over {
                self.note(now, Record::Closed(id, end, used));
                self.drains.close(id);
                // What they were to forget of it is nobody's concern any more.
                let known = hosts.into_iter().filter(|host| self.hosts.contains_key(host));
                self.turn.looked_at.extend(known);
                self.turn.decide = true;
            }
        }
    }

    /// Orders that a kernel step that goes on, or that a script has, use the hosts that it has, and no other.
    fn keep_to_hosts(&mut self, now: Time, run: RunId) {
        if !self.standing.open[&run].is_malleable() {
            return;
        }
        self.give_back(now, run);
        let open = &self.standing.open[&run];
        let (id, batch, hosts) = (open.begun.id, open.begun.places[0].host, open.hosts());
        self.ordered(batch, |joined| joined.resize(id, hosts));
        self.drain(now, run);
    }

    /// Begins what can begin.
    fn place(&mut self, now: Time) {
        for host in std::mem::take(&mut self.turn.looked_at) {
            let usable = self.hosts[&host].is_usable(|id| self.standing.attempt(id).is_some());
            if usable != self.usable.contains(&host) {
                self.standing.desk.usable(host, usable);
                self.turn.look |= usable;
                self.turn.decide |= usable;
                if usable {
                    self.usable.insert(host)
                } else {
                    self.usable.remove(&host)
                };
            }
        }
        let mut decide = std::mem::take(&mut self.turn.decide);
        while decide {
            decide = self.decide(now);
        }
    }

    /// Does what the desk decides now; whether it wants to be asked again.
    fn decide(&mut self, now: Time) -> bool {
        let decided = self.standing.desk.decide(self.time(now));
        let Decided { begun, resized, paced, end, again } = decided;
        for begun in begun {
            let boots = self.boots(&begun.places);
            self.note(now, Record::Begun(begun.clone(), boots));
            self.order_start(&begun, &begun.places);
        }
        for resized in resized {
            self.resize(now, resized);
        }
        for (id, pace) in paced {
            self.pace(now, id, pace);
        }
        for (run, why, grace_ms) in end {
            self.end_after(now, (run, why), grace_ms);
        }
        self.wind_up(now);
        again
    }

    /// The lives of the hosts of these places.
    fn boots(&self, places: &[Place]) -> Vec<Boot> {
        let boot = |place: &Place| self.hosts.get(&place.host)?.joined.as_ref().map(|joined| joined.boot);
        let boots: Vec<Boot> = places.iter().filter_map(boot).collect();
        assert_eq!(boots.len(), places.len(), "the desk places on usable hosts alone");
        boots
    }

    /// Gives an open attempt other hosts, if it can have them now.
    pub(super) fn resize(&mut self, now: Time, resized: Resized) {
        let id = resized.id;
        let Some(open) = self.standing.attempt(id).filter(|open| open.can_resize(&resized)) else { return };
        let joins: Vec<Place> = open.joins(&resized).collect();
        let stays = |host| resized.places.iter().any(|place| place.host == host);
        // What is lost and leaves may run, or begin, where its host is heard again.
        let lost =
            |(host, part): &(&HostId, &Part)| !stays(**host) && part.over.is_some() && !part.is_surely_gone();
        let lost: Vec<HostId> = open.parts.iter().filter(lost).map(|(host, _)| *host).collect();
        let boots = self.boots(&joins);
        self.note(now, Record::Resized(resized, boots));
        for host in lost {
            self.ordered(host, |joined| joined.kill(id));
        }
        let begun = self.standing.open[&id.run].begun.clone();
        self.order_start(&begun, &joins);
        self.turn.touched.insert(id.run);
    }

    /// Notes what is due by itself.
    fn fall_due(&mut self, now: Time) {
        let Due { events, end } = self.standing.desk.due(self.time(now));
        self.turn.decide |= !events.is_empty();
        for event in events {
            self.note(now, Record::Desk(event));
        }
        self.tell_to_end(now, end);
    }

    fn order_start(&mut self, begun: &Begun, places: &[Place]) {
        let Begun { id, conduct, limit_ms, after, .. } = *begun;
        for place in places {
            // One clock decides when its time is over.
            let limit_ms = limit_ms.filter(|_| place.role == Role::Batch);
            let launch = self.standing.desk.launch(begun, place);
            let grace_ms = self.rules.kill_wait_ms;
            let start = Start { id, conduct, role: place.role, limit_ms, grace_ms, after, launch };
            self.watched(place.host, |watch| watch.runs.insert(id));
            self.ordered(place.host, |joined| joined.order(Order::Start(start)));
        }
    }

    fn finish(&mut self, now: Time) -> Outputs<D> {
        let turn = std::mem::take(&mut self.turn);
        let mut out = Vec::new();
        if !turn.entries.is_empty() {
            out.push(Output::Persist(turn.entries));
        }
        out.extend(turn.sends.into_iter().map(|(host, message)| Output::Send(host, message)));
        out.extend(turn.tells.into_iter().map(|(host, message)| Output::Tell(host, message)));
        let term = self.standing.term;
        for host in turn.speak {
            let grant = self.watched(host, |watch| watch.grant(now, term));
            out.extend(grant.map(|grant| Output::Send(host, grant)));
        }
        out.extend(turn.replies.into_iter().map(|(client, answer)| Output::Reply(client, answer)));
        let due = self.due.first().map(|(at, _)| *at);
        // The desk counts by the time of its records, which may be ahead.
        let wake = self.standing.desk.wake(self.time(now)).map(|at| self.lag.when(at));
        let wake = wake.into_iter().chain(self.drains.wake(now));
        out.extend(due.into_iter().chain(wake).min().map(Output::Wake));
        out
    }

    /// What `id` had on `host` is over, and nobody says what it used.
    fn lost(&mut self, now: Time, at: (AttemptId, HostId), end: PartEnd) {
        self.over(now, at, end, Usage::default());
    }

    /// What `id` had on `host` is over.
    fn over(&mut self, now: Time, (id, host): (AttemptId, HostId), end: PartEnd, usage: Usage) {
        let leaves = self.standing.leaves(id, host);
        self.note(now, Record::Over(id, host, end, usage));
        self.watched(host, |watch| watch.runs.remove(&id));
        self.drains.forget(id, host);
        self.turn.decide |= leaves;
        // It is nobody's any more, and may run, or begin, where its host is heard again.
        if leaves && !end.is_surely_gone() {
            self.ordered(host, |joined| joined.kill(id));
        }
        self.turn.touched.insert(id.run);
    }

    /// The time of the desk and of records, which is not before that of the last: a restarted controller's clock may be
    /// behind.
    fn time(&self, now: Time) -> Time {
        self.lag.at(now).max(self.standing.last)
    }

    /// Notes a change.
    pub(super) fn note(&mut self, now: Time, record: Record<D::Event>) {
        let at = self.time(now);
        self.standing.apply(at, &record);
        self.turn.entries.push(Entry { at, record });
    }

    /// Adds orders for the agent of `host`, if it has a session.
    pub(super) fn ordered(&mut self, host: HostId, order: impl FnOnce(&mut super::watch::Joined)) {
        if let Some(joined) = self.hosts.get_mut(&host).and_then(|watch| watch.joined.as_mut()) {
            order(joined);
            self.turn.speak.insert(host);
            self.turn.looked_at.insert(host);
        }
    }

    /// Changes what is known of a host, and with it when its silence means something.
    fn watched<T>(&mut self, host: HostId, change: impl FnOnce(&mut Watch) -> T) -> T {
        self.turn.looked_at.insert(host);
        let watch = self.hosts.entry(host).or_insert_with(Watch::unknown);
        let before = watch.due(&self.rules);
        let result = change(watch);
        let after = watch.due(&self.rules);
        if before != after {
            before.map(|at| self.due.remove(&(at, host)));
            after.map(|at| self.due.insert((at, host)));
        }
        result
    }
}
