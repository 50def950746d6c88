//! What is told ahead: elements of an array that begin one after another where one of them runs, so that no host waits a
//! round trip between short tasks.
//!
//! Who follows is given what its array's element before it has, and nothing else: so what is free, held and limited stays
//! as it is, and is handed over when that one is over. Invariants: who waits in front is not overtaken by more than
//! [`AHEAD_MS`]; a line is as the books say, and can be made anew from them, but for how long elements have run lately.

use super::{Passed, Scheduler, Start, number};
use crate::books::Books;
use crate::books::event::{Event, Fact};
use crate::cluster::{Allocation, ClassId, HostState, Hosts};
use crate::job::Job;
use crate::job::event::RunEvent;
use crate::job::id::{Attempt, JobId, RunId};
use crate::job::state::{Gate, Placed, State};
use crate::jobspec::Requeue;
use crate::policy::machine::{Machine, Running};
use crate::protocol::guard::Guard;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How much of what comes next a host knows, in milliseconds of work: more than a round trip with its records.
const AHEAD_MS: i64 = 40;
/// And at most so many elements.
const MOST_AHEAD: i64 = 16;
/// Elements that run for longer are not told ahead: a round trip is nothing to them, and others may want their place.
const SHORT_MS: i64 = 400;

/// The elements of arrays that have hosts, and who follows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<RunId, Line>,
    /// In whose line who follows is.
    of: BTreeMap<RunId, RunId>,
    /// How long elements have run lately.
    paces: BTreeMap<JobId, Pace>,
    /// Lines that have become shorter since somebody looked.
    shorter: BTreeSet<RunId>,
}

/// One that has hosts, since when, and who follows it there.
#[derive(Clone, Debug)]
struct Line {
    since: Time,
    followers: VecDeque<RunId>,
}

/// How many elements have ended, and how long they ran, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    ended: i64,
    ran_ms: i64,
}

/// An element that begins when another is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// What begins, on what the other has.
    pub start: Start,
    /// The other.
    pub after: (RunId, Attempt),
}

impl Pace {
    /// The last dozens count.
    fn note(&mut self, ran_ms: i64) {
        self.ended += 1;
        self.ran_ms = self.ran_ms.saturating_add(ran_ms.max(0));
        if self.ended >= 64 {
            (self.ended, self.ran_ms) = (self.ended / 2, self.ran_ms / 2);
        }
    }

    /// How many may be told ahead.
    fn depth(self) -> usize {
        if self.ended == 0 || self.ran_ms > SHORT_MS * self.ended {
            return 0;
        }
        let depth = AHEAD_MS * self.ended / self.ran_ms.max(1);
        depth.clamp(1, MOST_AHEAD) as usize
    }
}

impl Lines {
    /// The lines of the books.
    pub(super) fn of(books: &Books) -> Lines {
        let mut lines = Lines::default();
        for (run, live) in books.live() {
            let Some(placed) = live.state.holds().filter(|_| run.element.is_some()) else { continue };
            let followers: VecDeque<RunId> = books.followers(run).collect();
            lines.of.extend(followers.iter().map(|follower| (*follower, run)));
            lines.lines.insert(run, Line { since: placed.started, followers });
            lines.shorter.insert(run);
        }
        lines
    }

    /// An element was given hosts, or is to follow another.
    fn started(&mut self, run: RunId, (after, at): (Option<u32>, Time)) {
        let before = after.map(|index| RunId { element: Some(index), ..run });
        let Some(before) = before else {
            self.lines.insert(run, Line { since: at, followers: VecDeque::new() });
            self.shorter.insert(run);
            return;
        };
        let first = self.of.get(&before).copied().unwrap_or(before);
        if let Some(line) = self.lines.get_mut(&first) {
            line.followers.push_back(run);
            self.of.insert(run, first);
        }
    }

    /// An element is over: who has its hosts now, if it had them and somebody does.
    fn over(&mut self, run: RunId, at: Time) -> Option<RunId> {
        if let Some(first) = self.of.remove(&run) {
            if let Some(line) = self.lines.get_mut(&first) {
                line.followers.retain(|follower| *follower != run);
                self.shorter.insert(first);
            }
            return None;
        }
        let Line { since, mut followers } = self.lines.remove(&run)?;
        self.shorter.remove(&run);
        self.paces.entry(run.job).or_default().note(at - since);
        let next = followers.pop_front()?;
        self.of.remove(&next);
        self.of.extend(followers.iter().map(|follower| (*follower, next)));
        self.lines.insert(next, Line { since: at, followers });
        self.shorter.insert(next);
        Some(next)
    }
}

impl Scheduler {
    /// Keeps the lines as the books have them after a record; `hosts` give an element's place to who follows it.
    pub(super) fn keep_lines(&mut self, books: &Books, hosts: &mut Hosts, fact: &Fact) {
        let Event::Run(run, event) = &fact.event else { return };
        match event {
            RunEvent::Started { after, .. } if run.element.is_some() => {
                self.lines.started(*run, (*after, fact.at));
            }
            RunEvent::Ended { .. } | RunEvent::Requeued { .. } => {
                let running = running(books, *run);
                let class = hosts.allocation(running).map(|(_, held)| held.class);
                hosts.finish(running);
                if let Some((next, class)) = self.lines.over(*run, fact.at).zip(class)
                    && Guard::HandedOver.stands()
                {
                    take_over(books, hosts, next, class);
                }
                if books.job(run.job).is_none_or(|job| job.ended().is_some()) {
                    self.lines.paces.remove(&run.job);
                }
            }
            _ => {}
        }
    }

    /// What shall follow what runs, after a pass that started nothing. Only lines that have become shorter are looked at.
    pub fn ahead(&mut self, books: &Books, hosts: &Hosts, (passed, now): (&Passed, Time)) -> Vec<Follow> {
        let shorter = std::mem::take(&mut self.lines.shorter);
        // Accounts count what runs, and a reservation may come between.
        if self.dues.is_some() || books.reservations().next().is_some() {
            return Vec::new();
        }
        let mut all = Vec::new();
        let mut from: BTreeMap<JobId, u32> = BTreeMap::new();
        for first in shorter {
            let in_front = passed.head.is_some_and(|head| head.job != first.job);
            let line = self.lines.lines.get(&first).filter(|_| !in_front);
            let Some((job, line)) = books.job(first.job).zip(line) else { continue };
            let pace = self.lines.paces.get(&first.job).copied().unwrap_or_default();
            let room = pace.depth().saturating_sub(line.followers.len());
            let Some(array) = job.array().filter(|_| room > 0) else { continue };
            let Some(on) = held(books, hosts, first).filter(|on| may_follow(books, job, on, now)) else {
                continue;
            };
            let next = from.entry(first.job).or_default();
            let last = *line.followers.back().unwrap_or(&first);
            let mut after = (last, Attempt(books.run(last).map_or(0, |run| run.attempts)));
            for _ in 0..room {
                let Some(place) = array.next(*next) else { break };
                *next = place + 1;
                let run = RunId { element: Some(array.indices().index(place)), ..first };
                // What waits like the others was never started.
                let start = Start { run, attempt: Attempt(1), on: on.on.clone() };
                all.push(Follow { start, after });
                after = (run, Attempt(1));
            }
        }
        all
    }
}

/// Whether elements of a job may be told ahead where another is: nothing but room, or how many may run, keeps them from
/// starting there, and to lose a host costs them nothing.
fn may_follow(books: &Books, job: &Job, on: &Placed, now: Time) -> bool {
    let spec = job.spec();
    let script = !spec.work.is_kernel() && spec.queue.requeue == Requeue::Allowed;
    let waits = matches!(job.gate(), Gate::From(from) if from <= now);
    let partition = books.partition(&on.on.partition);
    script && waits && partition.is_some_and(|partition| books.barred(job, partition, now).is_empty())
}

fn running(books: &Books, run: RunId) -> Running {
    number::running(run.job, books.job(run.job).and_then(|job| job.place(run.element)))
}

/// What an element has on one host that takes new work, and does not give up.
fn held(books: &Books, hosts: &Hosts, run: RunId) -> Option<Placed> {
    let live = books.run(run)?.state;
    let stays = matches!(live, State::Starting(_) | State::Running { .. });
    let placed = live.holds().filter(|_| stays)?;
    let [part] = &placed.on.allocation.parts[..] else { return None };
    (*hosts.state(part.host) == HostState::Up).then(|| placed.clone())
}

/// Gives an element what the one before it had.
fn take_over(books: &Books, hosts: &mut Hosts, run: RunId, class: ClassId) {
    let Some(live) = books.run(run) else { return };
    let Some(placed) = live.state.placed() else { return };
    let parts = placed.on.allocation.parts.clone();
    hosts.hold(running(books, run), super::follow::end(&live, placed), &Allocation { class, parts });
}
