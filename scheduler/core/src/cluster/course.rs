//! What will be free on each host and when, by the estimates of what runs and by all that is promised.
//!
//! Always: what is in it at a time fits the hosts at that time, licences included, and runs into no window. So what takes
//! its place at its time finds it free, as long as nothing outlasts its estimate.

use super::class::{Class, ClassId};
use super::free::Level;
use super::hosts::Hosts;
use super::place::gpus_of;
use super::room::{Amount, Rooms};
use super::select::{Choice, Sizes};
use crate::policy::conservative::Profile;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// What a job asks for: a class, for so many ticks by its estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) class: ClassId,
    pub(crate) lasts: i64,
}

impl Wish {
    fn end(self, at: Time) -> Time {
        at.after(self.lasts.max(1))
    }
}

/// A place: what a job takes of each of its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// By which of the needs that will do.
    need: u32,
    marks: Vec<Mark>,
}

/// What a job takes of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) host: u32,
    pub(crate) tasks: u32,
    pub(crate) cpus: u32,
    /// In mebibytes.
    pub(crate) memory: u64,
    /// A bit for each GPU.
    pub(crate) gpus: u64,
}

impl Spot {
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    fn cpus(&self) -> u32 {
        self.marks.iter().fold(0, |sum, mark| sum + mark.cpus)
    }
}

/// What is free on one host from each time until the next; from the last on, for ever. No time is there twice.
type Line = Vec<(Time, Level)>;

/// What will be free.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    lines: Vec<Line>,
    /// CPUs of all hosts that are up: where they are too few, no place need be looked for.
    cpus: Profile,
    /// By number.
    licences: Vec<Profile>,
    /// When something ends, or a window opens or closes: the earliest start of anything is one of these, or now.
    times: BTreeSet<Time>,
}

impl Course {
    /// What will be free if nothing more starts. What should have ended is expected to end `late` ticks from now.
    pub(crate) fn new(hosts: &Hosts, now: Time, late: i64) -> Course {
        let ends = |end: Time| if end > now { end } else { now.after(late) };
        let mut lines = Vec::with_capacity(hosts.len());
        let (mut free, mut back) = (0, BTreeMap::<Time, u32>::new());
        let edges = hosts.windows.iter().flat_map(|(_, window)| [window.from, window.to]);
        let mut times: BTreeSet<Time> = edges.filter(|edge| *edge > now).collect();
        for host in 0..hosts.len() {
            let up = hosts.roster.up().contains(host);
            let (mut at, mut level) = (now, hosts.free.level(host));
            free += if up { level.cpus } else { 0 };
            let mut line = vec![(now, level)];
            for hold in hosts.held.of(host) {
                (at, level) = (at.max(ends(hold.end)), level.after(hold));
                match line.last_mut().filter(|(last, _)| *last == at) {
                    Some((_, last)) => *last = level,
                    None => line.push((at, level)),
                }
                times.insert(at);
                if up {
                    *back.entry(at).or_default() += hold.cpus;
                }
            }
            lines.push(line);
        }
        let mut cpus = Profile::new(free);
        for (at, more) in back {
            free += more;
            cpus.goes_on(at, free);
        }
        let licences = (0..hosts.licences.len()).map(|number| {
            let licence = hosts.licences.get(number);
            let (mut profile, mut at) = (Profile::new(licence.free()), now);
            for (end, _, free) in licence.frees() {
                at = at.max(ends(end));
                profile.goes_on(at, free);
            }
            profile
        });
        Course { lines, cpus, licences: licences.collect(), times }
    }

    /// The first time from `from` on at which a start is worth a try; none when there is no such time.
    pub(crate) fn next_try(&self, hosts: &Hosts, wish: Wish, from: Time) -> Option<Time> {
        self.cpus.hole(hosts.width(wish.class), wish.lasts.max(1), from, Time::NEVER)
    }

    /// The next time after `at` at which more may be free than before.
    pub(crate) fn next_time(&self, at: Time) -> Option<Time> {
        self.times.range(at.after(1)..).next().copied()
    }

    /// A place from `at` on beside all that is here: for as many hosts as there are, or for `least` as few as will do.
    pub(crate) fn find(&self, hosts: &Hosts, wish: Wish, at: Time, least: bool) -> Option<Spot> {
        let class = hosts.classes.get(wish.class);
        if !self.spares_licences(class, at, wish.end(at)) {
            return None;
        }
        let few = Sizes { max: class.sizes.max_for_least(), ..class.sizes.clone() };
        let sizes = if least { &few } else { &class.sizes };
        class.needs.iter().find_map(|&need| {
            let rooms = self.rooms(hosts, need, (at, wish.end(at)));
            let chosen = sizes.choose(&rooms, &hosts.free)?;
            let mark = |choice| self.mark(hosts, need, choice, (at, wish.end(at)));
            Some(Spot { need, marks: chosen.into_iter().map(mark).collect() })
        })
    }

    /// Whether a place is free from `at` on.
    pub(crate) fn is_free(&self, hosts: &Hosts, wish: Wish, at: Time, spot: &Spot) -> bool {
        let needed = hosts.classes.need(spot.need);
        let reservation = hosts.classes.filtered(needed).filter.reservation;
        let (to, alone) = (wish.end(at), needed.need.exclusive);
        self.spares_licences(hosts.classes.get(wish.class), at, to)
            && spot.marks.iter().all(|mark| {
                let host = mark.host as usize;
                let free = self.least(host, at, to);
                hosts.roster.up().contains(host)
                    && hosts.windows.open(host, reservation, at, to)
                    && (free.jobs == 0 || !alone)
                    && free.cpus >= mark.cpus
                    && free.memory >= mark.memory
                    && free.gpus & mark.gpus == mark.gpus
            })
    }

    /// Takes a place that is free.
    pub(crate) fn take(&mut self, hosts: &Hosts, wish: Wish, at: Time, spot: &Spot) {
        let to = wish.end(at);
        for mark in &spot.marks {
            self.change(mark.host, (at, to), |free| Level {
                cpus: free.cpus - mark.cpus,
                memory: free.memory - mark.memory,
                gpus: free.gpus & !mark.gpus,
                jobs: free.jobs + 1,
            });
        }
        self.cpus.take(at, to, spot.cpus());
        for &(number, count) in &hosts.classes.get(wish.class).licences {
            self.licences[number].take(at, to, count);
        }
        self.times.insert(to);
    }

    /// Gives back what [`Course::take`] took.
    pub(crate) fn give(&mut self, hosts: &Hosts, wish: Wish, at: Time, spot: &Spot) {
        let to = wish.end(at);
        for mark in &spot.marks {
            self.change(mark.host, (at, to), |free| Level {
                cpus: free.cpus + mark.cpus,
                memory: free.memory + mark.memory,
                gpus: free.gpus | mark.gpus,
                jobs: free.jobs - 1,
            });
        }
        self.cpus.give(at, to, spot.cpus());
        for &(number, count) in &hosts.classes.get(wish.class).licences {
            self.licences[number].give(at, to, count);
        }
    }

    fn spares_licences(&self, class: &Class, at: Time, to: Time) -> bool {
        class.licences.iter().all(|&(number, count)| self.licences[number].least(at, to) >= count)
    }

    /// The room that a need has throughout a time.
    fn rooms(&self, hosts: &Hosts, need: u32, (at, to): (Time, Time)) -> Rooms {
        let needed = hosts.classes.need(need);
        let filtered = hosts.classes.filtered(needed);
        let reservation = filtered.filter.reservation;
        let kept = reservation.is_some() || !hosts.windows.is_empty();
        let mut rooms = Rooms::new(hosts.len());
        for host in filtered.hosts.iter().filter(|&host| hosts.roster.up().contains(host)) {
            if !kept || hosts.windows.open(host, reservation, at, to) {
                let kind = needed.gpus_of_shape[hosts.free.shape_number(host)];
                rooms.set(host, needed.need.room(self.least(host, at, to), kind));
            }
        }
        rooms
    }

    fn mark(&self, hosts: &Hosts, need: u32, (host, pieces): Choice, (at, to): (Time, Time)) -> Mark {
        let needed = hosts.classes.need(need);
        let kind = needed.gpus_of_shape[hosts.free.shape_number(host as usize)];
        let amount = needed.need.amount(pieces, self.least(host as usize, at, to), kind);
        let gpus = gpus_of(hosts.free.shape(host as usize), &amount);
        Mark { host, tasks: amount.tasks, cpus: amount.cpus, memory: amount.memory, gpus }
    }

    /// What is free on a host throughout a time.
    fn least(&self, host: usize, from: Time, to: Time) -> Level {
        let line = &self.lines[host];
        let first = line.partition_point(|(start, _)| *start <= from).saturating_sub(1);
        let within = line[first + 1..].iter().take_while(|(start, _)| *start < to);
        within.fold(line[first].1, |least, (_, level)| Level {
            cpus: least.cpus.min(level.cpus),
            memory: least.memory.min(level.memory),
            gpus: least.gpus & level.gpus,
            jobs: least.jobs.max(level.jobs),
        })
    }

    fn change(&mut self, host: u32, (from, to): (Time, Time), new: impl Fn(Level) -> Level) {
        let line = &mut self.lines[host as usize];
        let mut cut = |time: Time| {
            let at = line.partition_point(|(start, _)| *start < time);
            if line.get(at).is_none_or(|(start, _)| *start != time) {
                // Nothing is before now, so there is one before it.
                line.insert(at, (time, line[at - 1].1));
            }
            at
        };
        let (first, last) = (cut(from), cut(to));
        line[first..last].iter_mut().for_each(|(_, level)| *level = new(*level));
    }
}

impl Mark {
    /// The same, to be placed on cores and domains.
    pub(crate) fn amount(&self) -> Amount {
        let Mark { tasks, cpus, memory, gpus, .. } = *self;
        Amount { cpus, memory, gpus: gpus.count_ones(), gpus_from: gpus, tasks }
    }
}
