//! What is promised to one waiting job: when it can start by the estimates of what runs, and on what.
//!
//! Always: no earlier time would do, and a job that starts beside it and outlives it takes nothing of it. The shadow of
//! EASY (Lifka, 1995), on hosts.

use super::Bits;
use super::class::{Class, ClassId};
use super::free::Level;
use super::held::Allocation;
use super::host::HostId;
use super::hosts::Hosts;
use super::room::{Amount, Rooms};
use super::select::{Choice, Sizes};
use crate::policy::machine::Promise;
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Resources promised to one waiting job.
#[derive(Clone, Debug)]
pub struct Earmark {
    pub(crate) at: Time,
    hosts: Vec<EarmarkedHost>,
    /// Hosts of which nothing is spare when the job starts.
    pub(crate) full: Bits,
    /// What is spare on the others of its hosts when the job starts.
    spare: BTreeMap<u32, Level>,
    /// What is spare of the licences that it needs when it starts.
    licences: BTreeMap<usize, u32>,
    /// CPUs that a job could take now and keep beyond the start, at most.
    width: u64,
}

/// What is promised of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarmarkedHost {
    /// Which.
    pub host: HostId,
    /// Tasks of the job on it.
    pub tasks: u32,
    /// CPUs.
    pub cpus: u32,
    /// Memory in mebibytes.
    pub memory_mib: u64,
    /// GPUs.
    pub gpus: u32,
}

/// When each host becomes able to take a piece of a need, kept from promise to promise.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    need: u32,
    /// The least time for a host that is able now, [`Time::NEVER`] for one that never is.
    at: Vec<Time>,
    seen: Option<u64>,
}

/// For how many needs [`Ready`] is kept: a promise is asked for again and again for the same few jobs.
const READY_KEPT: usize = 8;

impl Promise for Earmark {
    fn at(&self) -> Time {
        self.at
    }

    fn spare(&self) -> u32 {
        u32::try_from(self.width).unwrap_or(u32::MAX)
    }
}

impl Earmark {
    /// What is promised, ascending by host.
    pub fn hosts(&self) -> &[EarmarkedHost] {
        &self.hosts
    }

    /// What is spare on a host of the promise; none when the promise has nothing of it.
    pub(crate) fn spare_of(&self, host: usize) -> Option<Level> {
        const NOTHING: Level = Level { cpus: 0, memory: 0, gpus: 0, jobs: 1 };
        if self.full.contains(host) { Some(NOTHING) } else { self.spare.get(&(host as u32)).copied() }
    }

    /// The hosts of which something is promised, in no order.
    pub(crate) fn marked(&self) -> impl Iterator<Item = usize> {
        self.full.iter().chain(self.spare.keys().map(|&host| host as usize))
    }

    pub(crate) fn spares_licences(&self, wanted: &[(usize, u32)]) -> bool {
        wanted.iter().all(|(licence, count)| self.licences.get(licence).is_none_or(|spare| spare >= count))
    }

    /// Counts off what a job took that outlives the promise.
    pub(crate) fn take(&mut self, allocation: &Allocation, licences: &[(usize, u32)]) {
        for part in &allocation.parts {
            let cpus = part.cpus();
            self.width = self.width.saturating_sub(u64::from(cpus));
            let Some(spare) = self.spare.get_mut(&part.host.0) else { continue };
            spare.cpus -= cpus;
            spare.memory -= part.memory();
            spare.gpus &= !part.gpus;
            if spare.cpus == 0 {
                self.spare.remove(&part.host.0);
                self.full.insert(part.host.0 as usize);
            }
        }
        for (licence, count) in licences {
            if let Some(spare) = self.licences.get_mut(licence) {
                *spare -= count;
            }
        }
    }
}

impl Level {
    /// What is both free now and spare later. A host that another job will be on is not whole for anybody.
    pub(crate) fn within(self, spare: Level) -> Level {
        Level {
            cpus: self.cpus.min(spare.cpus),
            memory: self.memory.min(spare.memory),
            gpus: self.gpus & spare.gpus,
            jobs: self.jobs.max(1),
        }
    }
}

impl Hosts {
    /// The earliest promise for a job of a class that lasts so many ticks.
    pub(crate) fn earmark(&mut self, id: ClassId, now: Time, lasts: i64) -> Option<Earmark> {
        let from = self.licences.ready(&self.classes.get(id).licences, now)?;
        let mut best: Option<(Time, u32, Vec<Choice>)> = None;
        for at in 0..self.classes.get(id).needs.len() {
            let need = self.classes.get(id).needs[at];
            let found = match self.same_everywhere(id, need, from) {
                Some(Some((at, _))) if self.kept_within(need, now, at.after(lasts)) => {
                    self.walk(id, need, Span { from, lasts })
                }
                Some(found) => found,
                None => self.walk(id, need, Span { from, lasts }),
            };
            if let Some((at, chosen)) = found
                && best.as_ref().is_none_or(|(before, ..)| at < *before)
            {
                best = Some((at, need, chosen));
            }
        }
        best.map(|(at, need, chosen)| self.marked(id, need, at, &chosen))
    }

    /// Whether a window keeps any host from a job of this need between two times.
    fn kept_within(&self, need: u32, from: Time, to: Time) -> bool {
        let filtered = self.classes.filtered(self.classes.need(need));
        filtered.filter.reservation.is_some()
            || self.windows.iter().any(|(_, window)| window.from < to && from < window.to)
    }

    /// When and where a job can start of which each host takes the same, windows aside: the hosts become able one by
    /// one, so the time is an order statistic. The hosts that become able last are taken, so that those that are free
    /// now remain for others. None where the job's hosts differ.
    fn same_everywhere(&mut self, id: ClassId, need: u32, from: Time) -> Option<Option<(Time, Vec<Choice>)>> {
        let sizes = &self.classes.get(id).sizes;
        if sizes.pieces.is_some() || !sizes.groups.is_empty() {
            return None;
        }
        let min = sizes.min as usize;
        let ready = self.ready(need);
        let mut able: Vec<(Time, u32)> = ready
            .at
            .iter()
            .zip(0..)
            .filter(|(at, _)| **at < Time::NEVER)
            .map(|(&at, host)| (at, host))
            .collect();
        if able.len() < min {
            return Some(None);
        }
        let at = able.select_nth_unstable(min - 1).1.0.max(from);
        able.retain(|(ready, _)| *ready <= at);
        if able.len() > min {
            able.select_nth_unstable_by_key(min, |&host| Reverse(host));
            able.truncate(min);
        }
        let mut chosen: Vec<Choice> = able.into_iter().map(|(_, host)| (host, 1)).collect();
        chosen.sort_unstable();
        Some(Some((at, chosen)))
    }

    /// When each host becomes able to take a piece, brought up to date.
    fn ready(&mut self, need: u32) -> &Ready {
        let mut ready = match self.ready.iter().position(|ready| ready.need == need) {
            Some(at) => self.ready.remove(at),
            None => Ready { need, at: Vec::new(), seen: None },
        };
        let hosts = self.len();
        let (changed, upto) = self.log.since(ready.seen);
        ready.at.resize(hosts, Time::NEVER);
        match changed {
            Some(changed) => {
                changed.for_each(|host| ready.at[host] = self.able_at(need, host));
            }
            None => (0..hosts).for_each(|host| ready.at[host] = self.able_at(need, host)),
        }
        ready.seen = Some(upto);
        self.ready.truncate(READY_KEPT - 1);
        self.ready.insert(0, ready);
        &self.ready[0]
    }

    fn able_at(&self, need: u32, host: usize) -> Time {
        let needed = self.classes.need(need);
        if !self.classes.filtered(needed).hosts.contains(host) || !self.roster.up().contains(host) {
            return Time::NEVER;
        }
        let kind = needed.gpus_of_shape[self.free.shape_number(host)];
        let mut level = self.free.level(host);
        if needed.need.room(level, kind) > 0 {
            return Time(i64::MIN);
        }
        let able = |hold: &&super::held::Hold| {
            level = level.after(hold);
            needed.need.room(level, kind) > 0
        };
        self.held.of(host).iter().find(able).map_or(Time::NEVER, |hold| hold.end)
    }

    /// When and where a job can start, by going through the ends of what runs and the edges of windows in order.
    fn walk(&self, id: ClassId, need: u32, span: Span) -> Option<(Time, Vec<Choice>)> {
        let class = self.classes.get(id);
        let mut later = Later::new(self, need, span);
        loop {
            if class.sizes.fit(&later.rooms) {
                let least = Sizes { max: class.sizes.max_for_least(), ..class.sizes.clone() };
                return least.choose(&later.rooms, &self.free).map(|chosen| (later.at, chosen));
            }
            if !later.step() {
                return None;
            }
        }
    }

    /// The promise of pieces on hosts at a time.
    fn marked(&self, id: ClassId, need: u32, at: Time, chosen: &[Choice]) -> Earmark {
        let class: &Class = self.classes.get(id);
        let needed = self.classes.need(need);
        let licence =
            |&(licence, count): &(usize, u32)| (licence, self.licences.get(licence).free_at(at) - count);
        let mut earmark = Earmark {
            at,
            hosts: Vec::with_capacity(chosen.len()),
            full: Bits::new(self.len()),
            spare: BTreeMap::new(),
            licences: class.licences.iter().map(licence).collect(),
            width: self.free.all_cpus(),
        };
        for &(host, pieces) in chosen {
            let now = self.free.level(host as usize);
            let ended = self.held.of(host as usize).iter().take_while(|hold| hold.end <= at);
            let then = ended.fold(now, Level::after);
            let kind = needed.gpus_of_shape[self.free.shape_number(host as usize)];
            let amount = needed.need.amount(pieces, then, kind);
            let spare = then.beside(&amount, now);
            let (cpus, memory_mib, gpus) = (amount.cpus, amount.memory, amount.gpus);
            earmark.hosts.push(EarmarkedHost {
                host: HostId(host),
                tasks: amount.tasks,
                cpus,
                memory_mib,
                gpus,
            });
            earmark.width -= u64::from(now.cpus.saturating_sub(spare.cpus));
            if spare.cpus == 0 {
                earmark.full.insert(host as usize);
            } else {
                earmark.spare.insert(host, spare);
            }
        }
        earmark
    }
}

impl Level {
    /// What is left when a job takes an amount: of the GPUs rather those that are not free `now`, so that these remain
    /// for jobs that start now.
    fn beside(self, amount: &Amount, now: Level) -> Level {
        let mut gpus = self.gpus;
        for _ in 0..amount.gpus {
            let may = gpus & amount.gpus_from;
            let later = may & !now.gpus;
            let from = if later == 0 { may } else { later };
            gpus &= !(from & from.wrapping_neg());
        }
        Level {
            cpus: self.cpus - amount.cpus,
            memory: self.memory - amount.memory,
            gpus,
            jobs: self.jobs + 1,
        }
    }
}

impl Sizes {
    /// The most hosts that a promise needs to name.
    pub(super) fn max_for_least(&self) -> u32 {
        if self.pieces.is_none() { self.min } else { self.max }
    }
}

/// What a promise is asked for.
#[derive(Clone, Copy)]
struct Span {
    /// Not earlier than this.
    from: Time,
    lasts: i64,
}

/// The room of a need at a time to come.
struct Later<'a> {
    hosts: &'a Hosts,
    need: u32,
    lasts: i64,
    at: Time,
    rooms: Rooms,
    /// What is free on each host, and how many of its jobs have ended.
    levels: Vec<(Level, usize)>,
    /// When a host changes next.
    next: BinaryHeap<Reverse<(Time, u32)>>,
}

impl<'a> Later<'a> {
    fn new(hosts: &'a Hosts, need: u32, span: Span) -> Later<'a> {
        let filtered = hosts.classes.filtered(hosts.classes.need(need));
        let mut later = Later {
            hosts,
            need,
            lasts: span.lasts,
            at: span.from,
            rooms: Rooms::new(hosts.len()),
            levels: (0..hosts.len()).map(|host| (hosts.free.level(host), 0)).collect(),
            next: BinaryHeap::new(),
        };
        let mut next = Vec::new();
        for host in filtered.hosts.iter().filter(|&host| hosts.roster.up().contains(host)) {
            later.look_at(host);
            next.extend(later.next_end(host).map(Reverse));
        }
        for (_, window) in hosts.windows.iter() {
            // A host closes once the job would last into the window, and opens when it is over; the reservation's own
            // jobs the other way round.
            let edges =
                [window.from.after(1 - span.lasts), window.to, window.from, window.to.after(1 - span.lasts)];
            for at in edges.into_iter().filter(|&at| at > span.from) {
                let open = |host: &usize| filtered.hosts.contains(*host) && hosts.roster.up().contains(*host);
                next.extend(window.hosts.iter().filter(open).map(|host| Reverse((at, host as u32))));
            }
        }
        later.next = BinaryHeap::from(next);
        later
    }

    /// Goes on to the next time at which something changes; false when nothing does any more.
    fn step(&mut self) -> bool {
        let Some(&Reverse((at, _))) = self.next.peek() else { return false };
        self.at = at;
        while let Some(&Reverse((next, host))) = self.next.peek()
            && next == at
        {
            self.next.pop();
            let ended = self.levels[host as usize].1;
            self.look_at(host as usize);
            if self.levels[host as usize].1 > ended {
                self.next.extend(self.next_end(host as usize).map(Reverse));
            }
        }
        true
    }

    fn look_at(&mut self, host: usize) {
        let hosts = self.hosts;
        let (level, ended) = &mut self.levels[host];
        for hold in hosts.held.of(host)[*ended..].iter().take_while(|hold| hold.end <= self.at) {
            *level = level.after(hold);
            *ended += 1;
        }
        let needed = hosts.classes.need(self.need);
        let reservation = hosts.classes.filtered(needed).filter.reservation;
        let end = self.at.after(self.lasts.max(1));
        let open = hosts.windows.open(host, reservation, self.at, end);
        let kind = needed.gpus_of_shape[hosts.free.shape_number(host)];
        let room = if open { needed.need.room(*level, kind) } else { 0 };
        self.rooms.set(host, room);
    }

    fn next_end(&self, host: usize) -> Option<(Time, u32)> {
        let hold = self.hosts.held.of(host).get(self.levels[host].1)?;
        Some((hold.end, host as u32))
    }
}
