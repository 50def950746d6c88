//! Why a class does not fit now: everything that is missing, who holds it and until when.

use super::class::{Class, ClassId};
use super::free::Level;
use super::host::{HostId, HostState};
use super::hosts::Hosts;
use super::promise::Earmark;
use super::room::{Need, Rooms};
use crate::policy::machine::{Machine, Running};
use crate::time::Time;
use std::collections::BTreeMap;
use std::fmt;

/// Why a class does not start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is missing, each by itself.
    pub missing: Vec<Missing>,
    /// When it will fit by the estimates of what runs; none when hosts must come back first.
    pub until: Option<Time>,
    /// The running jobs whose ends make it fit, ascending by end.
    pub holders: Vec<Holder>,
}

/// A running job that others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub running: Running,
    /// Until when, by its estimate.
    pub end: Time,
    /// Where it holds something that is waited for; empty for licences.
    pub hosts: Vec<HostId>,
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Licences.
    Licence {
        /// Their name.
        name: String,
        /// How many the class needs.
        needs: u32,
        /// How many are free.
        free: u32,
    },
    /// Hosts that match and may be used at all.
    Hosts {
        /// How many the class needs.
        needs: u32,
        /// How many have its features, labels and partition.
        matching: u32,
        /// Of these, down.
        down: u32,
        /// Of these, drained.
        drained: u32,
        /// Of these, kept by a window from a job that starts now and lasts as long as this one.
        reserved: u32,
    },
    /// Enough of one thing on enough of the hosts that may be used.
    Free {
        /// Of what.
        what: Scarce,
        /// How much a host must have free, for a host's share or for one task.
        each: u64,
        /// How many hosts, or tasks on all hosts together, the class needs.
        needs: u32,
        /// For how many there is enough.
        enough: u32,
    },
    /// Hosts that have everything free at once: each thing by itself would do.
    Together {
        /// How many hosts, or tasks on all hosts together, the class needs.
        needs: u32,
        /// For how many there is room.
        enough: u32,
    },
}

/// What a host may have too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scarce {
    /// CPUs.
    Cpus,
    /// Memory, in mebibytes.
    Memory,
    /// GPUs of the type asked for.
    Gpus,
    /// Hosts without other jobs.
    WholeHosts,
}

impl fmt::Display for Missing {
    /// A clause that says what is missing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Licence { name, needs, free } => {
                write!(f, "it needs {needs} of licence {name}, and {free} are free")
            }
            Missing::Hosts { needs, matching, down, drained, reserved } => {
                let hosts = if *matching == 1 { "host" } else { "hosts" };
                write!(f, "it needs {needs} of {matching} {hosts} that could run it, and of these")?;
                let states = [
                    (drained, "drained (`muster hosts` says why)"),
                    (down, "not heard of"),
                    (reserved, "reserved"),
                ];
                let mut told = states.iter().filter(|(count, _)| **count > 0);
                told.next().map_or(Ok(()), |(count, state)| write!(f, " {count} {state}"))?;
                told.try_for_each(|(count, state)| write!(f, ", {count} {state}"))
            }
            Missing::Free { what, each, needs, enough } => {
                write!(
                    f,
                    "{what} are not free: it needs {each} for each of {needs}, and there are for {enough}"
                )
            }
            Missing::Together { needs, enough } => {
                write!(
                    f,
                    "not all is free on one host at once: it needs room for {needs}, and there is for {enough}"
                )
            }
        }
    }
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scarce::Cpus => "CPUs",
            Scarce::Memory => "MiB of memory",
            Scarce::Gpus => "GPUs",
            Scarce::WholeHosts => "whole hosts",
        })
    }
}

impl Hosts {
    /// Why a job of a class that lasts so many ticks cannot start now; none when it can. Of the alternatives of
    /// `[a|b]`, the first is explained.
    pub fn why(&mut self, id: ClassId, now: Time, lasts: i64) -> Option<Wait> {
        let usable = self.usable(id, now, lasts);
        if self.licences.fit(&self.classes.get(id).licences) && usable.fit {
            return None;
        }
        let class = self.classes.get(id);
        let mut missing = Vec::new();
        for &(number, needs) in &class.licences {
            let licence = self.licences.get(number);
            let free = licence.free();
            if free < needs {
                missing.push(Missing::Licence { name: licence.name.clone(), needs, free });
            }
        }
        if !usable.fit {
            missing.extend(self.missing_of_hosts(class, &usable));
        }
        let earmark = self.promise(id, now, lasts);
        let holders = earmark.as_ref().map_or(Vec::new(), |earmark| self.holders(id, earmark));
        Some(Wait { missing, until: earmark.map(|earmark| earmark.at), holders })
    }

    /// The hosts that the first need of a class may use, and whether any need fits on those that it may.
    fn usable(&self, id: ClassId, now: Time, lasts: i64) -> Usable {
        let class = self.classes.get(id);
        let mut first = None;
        let mut fit = false;
        for &need in &class.needs {
            let needed = self.classes.need(need);
            let filtered = self.classes.filtered(needed);
            let mut usable =
                Usable { hosts: Vec::new(), matching: 0, down: 0, drained: 0, reserved: 0, fit: false };
            let mut rooms = Rooms::new(self.len());
            for host in filtered.hosts.iter() {
                usable.matching += 1;
                let open = self.windows.open(host, filtered.filter.reservation, now, now.after(lasts.max(1)));
                match self.roster.state(host as u32) {
                    HostState::Down { .. } => usable.down += 1,
                    HostState::Drained { .. } => usable.drained += 1,
                    HostState::Up if !open => usable.reserved += 1,
                    HostState::Up => {
                        let kind = needed.gpus_of_shape[self.free.shape_number(host)];
                        rooms.set(host, needed.need.room(self.free.level(host), kind));
                        usable.hosts.push((host, kind));
                    }
                }
            }
            fit |= class.sizes.fit(&rooms);
            first.get_or_insert(usable);
        }
        let first = first.expect("a class has a need");
        Usable { fit, ..first }
    }

    fn missing_of_hosts(&self, class: &Class, usable: &Usable) -> Vec<Missing> {
        let need = &self.classes.need(class.needs[0]).need;
        let needs = class.sizes.pieces.unwrap_or(class.sizes.min);
        let mut out = Vec::new();
        if (usable.hosts.len() as u32) < class.sizes.min {
            let &Usable { matching, down, drained, reserved, .. } = usable;
            out.push(Missing::Hosts { needs: class.sizes.min, matching, down, drained, reserved });
        }
        let (memory, gpus) = (need.host_memory + need.memory, need.host_gpus + need.gpus);
        let things = [
            (Scarce::Cpus, u64::from(need.cpus)),
            (Scarce::Memory, memory),
            (Scarce::Gpus, u64::from(gpus)),
            (Scarce::WholeHosts, 1),
        ];
        let could = class.sizes.fit(&self.rooms_if(need, usable, |_| PLENTY));
        for (what, each) in things.into_iter().filter(|_| could) {
            let rooms = self.rooms_if(need, usable, |free| what.alone(free));
            if !class.sizes.fit(&rooms) {
                out.push(Missing::Free { what, each, needs, enough: enough(&rooms, class) });
            }
        }
        if out.is_empty() {
            let rooms = self.rooms_if(need, usable, |free| free);
            out.push(Missing::Together { needs, enough: enough(&rooms, class) });
        }
        out
    }

    /// The room on the usable hosts if what is free were changed so.
    fn rooms_if(&self, need: &Need, usable: &Usable, change: impl Fn(Level) -> Level) -> Rooms {
        let mut rooms = Rooms::new(self.len());
        for &(host, kind) in &usable.hosts {
            rooms.set(host, need.room(change(self.free.level(host)), kind));
        }
        rooms
    }

    /// The jobs that must end before a promise holds.
    fn holders(&self, id: ClassId, earmark: &Earmark) -> Vec<Holder> {
        let mut holders: BTreeMap<(Time, Running), Vec<HostId>> = BTreeMap::new();
        for marked in earmark.hosts() {
            let host = marked.host.0 as usize;
            let mut level = self.free.level(host);
            for hold in self.held.of(host).iter().take_while(|hold| hold.end <= earmark.at) {
                if level.cpus >= marked.cpus
                    && level.memory >= marked.memory_mib
                    && level.gpus.count_ones() >= marked.gpus
                {
                    break;
                }
                level = level.after(hold);
                holders.entry((hold.end, hold.running)).or_default().push(marked.host);
            }
        }
        for &(number, needs) in &self.classes.get(id).licences {
            let licence = self.licences.get(number);
            if licence.free() >= needs {
                continue;
            }
            for (end, running, free) in licence.frees() {
                holders.entry((end, running)).or_default();
                if free >= needs {
                    break;
                }
            }
        }
        let holder = |((end, running), hosts)| Holder { running, end, hosts };
        holders.into_iter().map(holder).collect()
    }
}

impl Scarce {
    /// What would be free if only this were ever taken.
    fn alone(self, free: Level) -> Level {
        match self {
            Scarce::Cpus => Level { cpus: free.cpus, ..PLENTY },
            Scarce::Memory => Level { memory: free.memory, ..PLENTY },
            Scarce::Gpus => Level { gpus: free.gpus, ..PLENTY },
            Scarce::WholeHosts => Level { jobs: free.jobs, ..PLENTY },
        }
    }
}

/// More of everything than any job asks for.
const PLENTY: Level = Level { cpus: u32::MAX, memory: u64::MAX, gpus: u64::MAX, jobs: 0 };

/// The hosts that a need may use.
struct Usable {
    /// Those that are up and open, with the GPUs that will do.
    hosts: Vec<(usize, u64)>,
    matching: u32,
    down: u32,
    drained: u32,
    reserved: u32,
    /// Whether the class fits.
    fit: bool,
}

/// For how many hosts, or tasks, there is room.
fn enough(rooms: &Rooms, class: &Class) -> u32 {
    if class.sizes.pieces.is_none() { rooms.count() } else { rooms.top(class.sizes.max) as u32 }
}
