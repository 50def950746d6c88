//! The hosts of a cluster, what runs on them, and the summaries that answer for classes of requests.
//!
//! Always: what is free and what is held are together what the hosts have. Every change of a host is logged, and a
//! summary looks at the hosts logged since it was last asked, so that an event costs what it touches.

use super::Bits;
use super::class::{ClassId, Classes, Filtered, Needed, Site};
use super::free::Free;
use super::held::{Allocation, Held};
use super::host::{Host, HostId, HostState};
use super::licence::Licences;
use super::misfit::{self, Misfit};
use super::promise::Ready;
use super::request::Request;
use super::room::Rooms;
use super::roster::Roster;
use super::shape::{Shape, ShapeError};
use super::window::{ReservationId, Window, Windows};
use crate::policy::machine::Running;
use crate::time::Time;
use std::collections::BTreeMap;
use thiserror::Error;

/// A cluster: hosts, licences, windows, what runs, and the requests that were asked about.
#[derive(Clone, Debug)]
pub struct Hosts {
    pub(crate) roster: Roster,
    pub(crate) free: Free,
    pub(crate) held: Held,
    pub(crate) licences: Licences,
    pub(crate) windows: Windows,
    pub(crate) classes: Classes,
    /// For each need where it has room, and up to where the log was looked at.
    pub(crate) rooms: Vec<(Rooms, Option<u64>)>,
    /// When hosts become free for the needs that a promise was asked for last.
    pub(crate) ready: Vec<Ready>,
    pub(crate) log: Log,
    pub(crate) now: Time,
    /// Something is free until then that was not by the estimates; none since that was last asked.
    pub(crate) freed: Option<Time>,
}

/// Why a host cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostsError {
    /// There is one of that name.
    #[error("there is a host `{name}` already")]
    SameName {
        /// The name.
        name: String,
    },
    /// Its shape cannot be counted.
    #[error("host `{name}`: {problem}")]
    Shape {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: ShapeError,
    },
}

/// The hosts that changed, in order; the oldest are forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    hosts: Vec<u32>,
    /// How many are forgotten.
    before: u64,
    /// For each host the number of its last entry: the ones before it say nothing more.
    last: Vec<u64>,
}

impl Log {
    /// Adds one; the last `keep` before it are not forgotten.
    pub(crate) fn push(&mut self, host: u32, keep: usize) {
        if self.hosts.len() >= 2 * keep {
            self.before += keep as u64;
            self.hosts.drain(..keep);
        }
        if self.last.len() <= host as usize {
            self.last.resize(host as usize + 1, 0);
        }
        self.last[host as usize] = self.before + self.hosts.len() as u64;
        self.hosts.push(host);
    }

    /// The hosts that changed since `seen`, each once, none when that is forgotten; and up to where that is.
    pub(crate) fn since(&self, seen: Option<u64>) -> (Option<impl Iterator<Item = usize>>, u64) {
        let known = seen.filter(|seen| *seen >= self.before);
        let changed = known.map(|seen| {
            let entries = self.hosts[(seen - self.before) as usize..].iter().zip(seen..);
            entries.filter(|&(&host, at)| self.last[host as usize] == at).map(|(&host, _)| host as usize)
        });
        (changed, self.before + self.hosts.len() as u64)
    }
}

/// What decides whether a need has room on a host.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) free: &'a Free,
    pub(crate) up: &'a Bits,
    pub(crate) windows: &'a Windows,
    pub(crate) now: Time,
}

impl Scene<'_> {
    /// How many pieces a host that passes the filter could take now.
    pub(crate) fn room(&self, needed: &Needed, filtered: &Filtered, host: usize) -> u16 {
        let reservation = filtered.filter.reservation;
        let kept = !self.windows.is_empty() || reservation.is_some();
        if !self.up.contains(host)
            || (kept && !self.windows.open(host, reservation, self.now, self.now.after(1)))
        {
            return 0;
        }
        let kind = needed.gpus_of_shape[self.free.shape_number(host)];
        needed.need.room(self.free.level(host), kind)
    }
}

impl Hosts {
    /// A cluster without hosts, with so many licences of each name.
    pub fn new(licences: &BTreeMap<String, u32>) -> Hosts {
        Hosts {
            roster: Roster::default(),
            free: Free::default(),
            held: Held::default(),
            licences: Licences::new(licences),
            windows: Windows::default(),
            classes: Classes::default(),
            rooms: Vec::new(),
            ready: Vec::new(),
            log: Log::default(),
            now: Time(i64::MIN),
            freed: None,
        }
    }

    /// Adds a host. Where jobs are packed, the hosts that were added first are filled first.
    ///
    /// # Errors
    ///
    /// A name that is there already, or a shape that cannot be counted.
    pub fn add(&mut self, host: Host) -> Result<HostId, HostsError> {
        if self.roster.find(&host.name).is_some() {
            return Err(HostsError::SameName { name: host.name });
        }
        if let Err(problem) = host.shape.check() {
            return Err(HostsError::Shape { name: host.name, problem });
        }
        let number = self.roster.len() as u32;
        self.free.push(host.shape.clone());
        self.held.push_host();
        self.roster.push(host);
        self.classes.add_host(number, &self.roster, &self.free);
        self.touch(number);
        self.frees_until(Time::NEVER);
        Ok(HostId(number))
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.roster.len()
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of a request: equal requests have the same.
    ///
    /// # Errors
    ///
    /// Every reason why it could never start, were all hosts up and empty.
    pub fn intern(&mut self, request: &Request) -> Result<ClassId, Vec<Misfit>> {
        let short = misfit::licences(request, &self.licences);
        match self.classes.find(request) {
            Some(class) if short.is_empty() => Ok(class),
            Some(_) => Err(short),
            None => self.intern_new(request, short),
        }
    }

    /// The class of what runs already: it holds its licences even if the cluster has no more so many.
    ///
    /// # Errors
    ///
    /// Every other reason why it could never start.
    pub(crate) fn intern_held(&mut self, request: &Request) -> Result<ClassId, Vec<Misfit>> {
        for name in request.licences.keys() {
            self.licences.number(name);
        }
        self.classes.find(request).map_or_else(|| self.intern_new(request, Vec::new()), Ok)
    }

    fn intern_new(&mut self, request: &Request, short: Vec<Misfit>) -> Result<ClassId, Vec<Misfit>> {
        let Hosts { roster, free, licences, windows, classes, .. } = self;
        let class = classes.intern(request, Site { roster, free, licences, windows }, short)?;
        let hosts = self.len();
        self.rooms.resize_with(self.classes.needs(), || (Rooms::new(hosts), None));
        Ok(class)
    }

    /// The request of a class.
    pub fn request(&self, class: ClassId) -> &Request {
        &self.classes.get(class).request
    }

    /// The CPUs that a class needs at least.
    pub fn width(&self, class: ClassId) -> u32 {
        self.classes.get(class).width
    }

    /// The host of a name.
    pub fn find(&self, name: &str) -> Option<HostId> {
        self.roster.find(name).map(HostId)
    }

    /// The name of a host.
    pub fn name(&self, host: HostId) -> &str {
        self.roster.name(host.0)
    }

    /// What a host has.
    pub fn shape(&self, host: HostId) -> &Shape {
        &self.free.shape(host.0 as usize).shape
    }

    /// Free CPUs of a host, whether it is up or not.
    pub fn free_cpus(&self, host: HostId) -> u32 {
        self.free.cpus(host.0 as usize)
    }

    /// Makes these all licences that there are. There may be fewer than are held: then none is free until enough came
    /// back. Classes of requests for more are not interned any more, and do not start.
    pub fn set_licences(&mut self, totals: &BTreeMap<String, u32>) {
        self.licences.set(totals);
        self.frees_until(Time::NEVER);
    }

    /// Whether jobs may start on a host.
    pub fn state(&self, host: HostId) -> &HostState {
        self.roster.state(host.0)
    }

    /// Sets whether jobs may start on a host. What runs there goes on: the caller ends what it lost.
    pub fn set_state(&mut self, host: HostId, state: HostState) {
        if state == HostState::Up && *self.state(host) != state {
            self.frees_until(Time::NEVER);
        }
        self.roster.set_state(host.0, state);
        self.touch(host.0);
    }

    /// What `running` holds, and until when by its estimate.
    pub fn allocation(&self, running: Running) -> Option<(Time, &Allocation)> {
        self.held.get(running).map(|(end, allocation)| (*end, &**allocation))
    }

    /// Keeps hosts from all jobs, or from all but those that name it, for a time.
    pub fn reserve(&mut self, window: Window) -> ReservationId {
        let hosts: Vec<usize> = window.hosts.iter().collect();
        hosts.into_iter().for_each(|host| self.touch(host as u32));
        self.windows.add(window)
    }

    /// Takes a window back.
    pub fn release(&mut self, id: ReservationId) -> Option<Window> {
        let window = self.windows.remove(id)?;
        window.hosts.iter().for_each(|host| self.touch(host as u32));
        self.frees_until(window.to);
        Some(window)
    }

    /// The window that keeps a host from others now.
    pub fn reserved_by(&self, host: HostId) -> Option<(ReservationId, &Window)> {
        let id = self.windows.keeps(host.0 as usize, None, self.now)?;
        self.windows.get(id).map(|window| (id, window))
    }

    /// Sets the time: windows open, and those that are over are forgotten. Without windows it need not be called.
    pub fn advance(&mut self, now: Time) {
        let turned = |at: Time| self.now < at && at <= now;
        let windows = self.windows.iter().filter(|(_, window)| turned(window.from) || turned(window.to));
        let hosts: Vec<usize> = windows.flat_map(|(_, window)| window.hosts.iter()).collect();
        let over: Vec<_> = self.windows.iter().filter(|(_, w)| w.to <= now).map(|(id, _)| id).collect();
        over.into_iter().for_each(|id| drop(self.windows.remove(id)));
        hosts.into_iter().for_each(|host| self.touch(host as u32));
        self.now = now;
    }

    /// Until when something is free that was not by the estimates, as far as that is since it was last asked.
    pub(crate) fn take_freed(&mut self) -> Option<Time> {
        self.freed.take()
    }

    /// Notes that something is free until then that was not by the estimates.
    pub(crate) fn frees_until(&mut self, end: Time) {
        self.freed = self.freed.max(Some(end));
    }

    /// Notes that a host changed.
    pub(crate) fn touch(&mut self, host: u32) {
        self.log.push(host, (2 * self.roster.len()).max(1024));
    }

    /// Brings the summary of a need up to date.
    pub(crate) fn freshen(&mut self, need: u32) {
        let needed = self.classes.need(need);
        let filtered = self.classes.filtered(needed);
        let scene = Scene { free: &self.free, up: self.roster.up(), windows: &self.windows, now: self.now };
        let (rooms, seen) = &mut self.rooms[need as usize];
        let (changed, upto) = self.log.since(*seen);
        match changed {
            Some(changed) => {
                for host in changed.filter(|&host| filtered.hosts.contains(host)) {
                    rooms.set(host, scene.room(needed, filtered, host));
                }
            }
            None => {
                *rooms = Rooms::new(self.roster.len());
                filtered.hosts.iter().for_each(|host| rooms.set(host, scene.room(needed, filtered, host)));
            }
        }
        *seen = Some(upto);
    }
}
