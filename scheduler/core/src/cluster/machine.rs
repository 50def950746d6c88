//! The cluster as the policy sees it: what fits, starts, and ends.
//!
//! Always: a job that fits and is limited by neither a promise nor a window starts; a start takes what is free and
//! nothing else; an end gives back exactly that.

use super::class::{Class, ClassId};
use super::course::{Mark, Spot};
use super::held::{Allocation, Part};
use super::hosts::Hosts;
use super::place::place;
use super::promise::Earmark;
use super::room::Rooms;
use super::select::Choice;
use crate::policy::machine::{Machine, Running};
use crate::time::Time;
use std::sync::Arc;

impl Machine for Hosts {
    type Request = ClassId;
    type Place = Arc<Allocation>;
    type Promise = Earmark;

    fn free(&self) -> u32 {
        u32::try_from(self.free.all_cpus()).unwrap_or(u32::MAX)
    }

    fn size(&self) -> u32 {
        u32::try_from(self.free.size()).unwrap_or(u32::MAX)
    }

    fn drained(&self, now: Time) -> Time {
        self.held.last_end().map_or(now, |end| now.max(end))
    }

    /// Windows that open later are left out of account: a start may still fail by its end.
    fn fits(&mut self, request: ClassId) -> bool {
        let needs = self.needs_of(request);
        self.licences.fit(&self.classes.get(request).licences)
            && (0..needs).any(|at| {
                let need = self.classes.get(request).needs[at];
                self.freshen(need);
                self.classes.get(request).sizes.fit(&self.rooms[need as usize].0)
            })
    }

    fn minds_ends(&self) -> bool {
        !self.windows.is_empty()
    }

    /// None, too, when `running` holds something already.
    fn start(
        &mut self,
        running: Running,
        request: ClassId,
        end: Time,
        beside: Option<&mut Earmark>,
    ) -> Option<Arc<Allocation>> {
        let mut outlived = beside.filter(|earmark| end > earmark.at);
        let licences = &self.classes.get(request).licences;
        let spare = outlived.as_ref().is_none_or(|earmark| earmark.spares_licences(licences));
        if !spare || !self.licences.fit(licences) || self.held.contains(running) {
            return None;
        }
        for at in 0..self.needs_of(request) {
            let need = self.classes.get(request).needs[at];
            self.freshen(need);
            let limits = Limits { hosts: self, need, end, outlived: outlived.as_deref() };
            let class = self.classes.get(request);
            if let Some(chosen) = limits.choose(class) {
                let parts = chosen.into_iter().map(|choice| limits.part(class, choice)).collect();
                let allocation = Arc::new(Allocation { class: request, parts });
                self.take(running, end, &allocation);
                if let Some(earmark) = &mut outlived {
                    earmark.take(&allocation, &self.classes.get(request).licences);
                }
                return Some(allocation);
            }
        }
        None
    }

    fn finish(&mut self, running: Running) {
        let Some((end, allocation)) = self.held.remove(running) else { return };
        for part in &allocation.parts {
            self.free.give(part);
            self.touch(part.host.0);
        }
        self.licences.give(&self.classes.get(allocation.class).licences, running, end);
        self.frees_until(end);
    }

    fn promise(&mut self, request: ClassId, now: Time, lasts: i64) -> Option<Earmark> {
        self.earmark(request, now, lasts)
    }
}

impl Hosts {
    fn needs_of(&self, class: ClassId) -> usize {
        self.classes.get(class).needs.len()
    }

    /// Starts a job of a class, until `end` by its estimate, on what was promised to it; none when `running` holds something
    /// already.
    pub(crate) fn start_on(
        &mut self,
        running: Running,
        (class, end): (ClassId, Time),
        spot: &Spot,
    ) -> Option<Arc<Allocation>> {
        if self.held.contains(running) {
            return None;
        }
        let layout = self.classes.get(class).sizes.layout;
        let part = |mark: &Mark| place(&self.free, mark.host as usize, &mark.amount(), layout);
        let allocation = Arc::new(Allocation { class, parts: spot.marks().iter().map(part).collect() });
        self.take(running, end, &allocation);
        Some(allocation)
    }

    /// Gives `running` exactly these parts, which are free.
    pub(crate) fn take(&mut self, running: Running, end: Time, allocation: &Arc<Allocation>) {
        for part in &allocation.parts {
            self.free.take(part);
            self.touch(part.host.0);
        }
        self.held.insert(running, end, allocation);
        self.licences.take(&self.classes.get(allocation.class).licences, running, end);
    }
}

/// What a start must respect beside what is free: windows that open before it ends, and a promise that it outlives.
struct Limits<'a> {
    hosts: &'a Hosts,
    need: u32,
    end: Time,
    outlived: Option<&'a Earmark>,
}

impl Limits<'_> {
    fn choose(&self, class: &Class) -> Option<Vec<Choice>> {
        let hosts = self.hosts;
        let rooms = &hosts.rooms[self.need as usize].0;
        if !class.sizes.fit(rooms) {
            return None;
        }
        if self.outlived.is_none() && hosts.windows.is_empty() {
            return class.sizes.choose(rooms, &hosts.free);
        }
        if class.sizes.takes_the_first() {
            let may = |&host: &usize| self.room(rooms, host) > 0;
            return match self.outlived {
                Some(earmark) => class.sizes.first_of(rooms.able().without(&earmark.full).filter(may)),
                None => class.sizes.first_of(rooms.able().iter().filter(may)),
            };
        }
        let marked = self.outlived.into_iter().flat_map(Earmark::marked);
        let able = |&host: &usize| rooms.of(host) > 0;
        let mut within: Option<Rooms> = None;
        for host in marked.chain(hosts.windows.hosts().iter()).filter(able) {
            within.get_or_insert_with(|| rooms.clone()).set(host, self.room(rooms, host));
        }
        class.sizes.choose(within.as_ref().unwrap_or(rooms), &hosts.free)
    }

    /// How many pieces a host could take within the limits.
    fn room(&self, rooms: &Rooms, host: usize) -> u16 {
        let hosts = self.hosts;
        let needed = hosts.classes.need(self.need);
        if !hosts.windows.is_empty() {
            let reservation = hosts.classes.filtered(needed).filter.reservation;
            if !hosts.windows.open(host, reservation, hosts.now, self.end.max(hosts.now.after(1))) {
                return 0;
            }
        }
        match self.outlived.and_then(|earmark| earmark.spare_of(host)) {
            None => rooms.of(host),
            Some(spare) => {
                let kind = needed.gpus_of_shape[hosts.free.shape_number(host)];
                needed.need.room(hosts.free.level(host).within(spare), kind)
            }
        }
    }

    fn part(&self, class: &Class, (host, pieces): Choice) -> Part {
        let (free, needed) = (&self.hosts.free, self.hosts.classes.need(self.need));
        let host = host as usize;
        let mut level = free.level(host);
        if let Some(spare) = self.outlived.and_then(|earmark| earmark.spare_of(host)) {
            level = level.within(spare);
        }
        let amount = needed.need.amount(pieces, level, needed.gpus_of_shape[free.shape_number(host)]);
        place(free, host, &amount, class.sizes.layout)
    }
}
