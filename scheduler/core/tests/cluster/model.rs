//! The reference: what runs, in lists; whether a request fits is found by trying every set of hosts.

use crate::requests::LICENCES;
use muster_core::cluster::{Allocation, Expr, Gpus, Host, HostState, Per, Request, Sharing, Tasks, Window};
use muster_core::jobspec::Memory;
use muster_core::time::Time;
use std::collections::BTreeMap;

/// A cluster and what runs on it.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) hosts: Vec<Host>,
    pub(crate) running: BTreeMap<u64, (Time, Request, Allocation)>,
    pub(crate) windows: Vec<Window>,
}

/// What is free on one host.
struct Room {
    cpus: u32,
    memory: u64,
    gpus: u64,
    jobs: usize,
}

impl Model {
    /// Whether a job could start at a time and last so long, when all that is to end by then has ended.
    pub(crate) fn fits(&self, request: &Request, at: Time, lasts: i64) -> bool {
        let licences: u32 = self.running_at(at).flat_map(|(_, request, _)| request.licences.values()).sum();
        let wanted: u32 = request.licences.values().sum();
        let alternatives = &request.only.constraint.one_of;
        let choices: Vec<Option<&Expr>> =
            if alternatives.is_empty() { vec![None] } else { alternatives.iter().map(Some).collect() };
        licences + wanted <= LICENCES
            && choices.into_iter().any(|one_of| {
                (1_u32..1 << self.hosts.len()).any(|set| {
                    let hosts: Vec<usize> =
                        (0..self.hosts.len()).filter(|host| set >> host & 1 == 1).collect();
                    self.does(request, &hosts, one_of, (at, lasts))
                })
            })
    }

    /// The earliest time at which a job could start.
    pub(crate) fn earliest(&self, request: &Request, now: Time, lasts: i64) -> Option<Time> {
        let ends = self.running.values().map(|(end, ..)| *end);
        let windows = self.windows.iter().flat_map(|window| [window.from, window.to]);
        let mut times: Vec<Time> = ends.chain(windows).filter(|&at| at > now).chain([now]).collect();
        times.sort_unstable();
        times.into_iter().find(|&at| self.fits(request, at, lasts))
    }

    fn running_at(&self, at: Time) -> impl Iterator<Item = &(Time, Request, Allocation)> {
        self.running.values().filter(move |(end, ..)| *end > at)
    }

    fn room(&self, host: usize, at: Time) -> Room {
        let shape = &self.hosts[host].shape;
        let (cpus, memory) = (shape.cores(), shape.memory_mib());
        let mut room = Room { cpus, memory, gpus: (1 << shape.gpus.len()) - 1, jobs: 0 };
        for (_, _, allocation) in self.running_at(at) {
            for part in allocation.parts.iter().filter(|part| part.host.0 as usize == host) {
                room.cpus -= part.cpus();
                room.memory -= part.memory();
                room.gpus &= !part.gpus;
                room.jobs += 1;
            }
        }
        room
    }

    /// Whether these hosts, all of them, do for a request.
    fn does(
        &self,
        request: &Request,
        hosts: &[usize],
        one_of: Option<&Expr>,
        (at, lasts): (Time, i64),
    ) -> bool {
        let count = hosts.len() as u32;
        let usable = |&host: &usize| self.usable(request, host, one_of, (at, lasts));
        if !(request.hosts_min..=request.hosts_max).contains(&count) || !hosts.iter().all(usable) {
            return false;
        }
        let most: Vec<u32> = hosts.iter().map(|&host| self.most_tasks(request, host, at)).collect();
        let tasks = match request.tasks {
            Tasks::PerHost(each) => most.iter().all(|&most| most >= each),
            Tasks::Total { count: all, most_per_host } => {
                let takes = |&most: &u32| most.min(most_per_host.unwrap_or(u32::MAX));
                all >= count
                    && most.iter().all(|&most| most > 0)
                    && most.iter().map(takes).sum::<u32>() >= all
            }
        };
        let named = |name: &String| hosts.iter().filter(move |&&host| self.hosts[host].name == *name).count();
        let mut places: Vec<Vec<usize>> = Vec::new();
        for (expr, times) in &request.only.constraint.counts {
            let having = hosts.iter().copied().filter(|&host| expr.holds(&self.hosts[host].features));
            places.extend(std::iter::repeat_n(having.collect::<Vec<_>>(), *times as usize));
        }
        for name in &request.only.include {
            places.push(hosts.iter().copied().filter(|&host| self.hosts[host].name == *name).collect());
        }
        tasks
            && request.only.include.iter().all(|name| named(name) == 1)
            && different(&places, &mut Vec::new())
    }

    fn usable(
        &self,
        request: &Request,
        host: usize,
        one_of: Option<&Expr>,
        (at, lasts): (Time, i64),
    ) -> bool {
        let (only, host_of) = (&request.only, &self.hosts[host]);
        let end = at.after(lasts.max(1));
        let kept = |window: &Window| window.hosts.contains(host) && at < window.to && window.from < end;
        host_of.state == HostState::Up
            && only.constraint.each.iter().chain(one_of).all(|expr| expr.holds(&host_of.features))
            && only.labels.is_subset(&host_of.labels)
            && !only.exclude.contains(&host_of.name)
            && !self.windows.iter().any(kept)
    }

    /// How many tasks a host could run, counted up one by one.
    fn most_tasks(&self, request: &Request, host: usize, at: Time) -> u32 {
        let room = self.room(host, at);
        let whole = request.sharing == Sharing::Shared || room.jobs == 0;
        let takes = |tasks: u32| {
            let cpus = tasks * request.cpus_per_task;
            let memory = match request.memory {
                None => 0,
                Some(Memory::PerNode(all)) => all,
                Some(Memory::PerCpu(each)) => each * u64::from(cpus),
            };
            let gpus = match &request.gpus {
                None => 0,
                Some(Gpus { count, per: Per::Host, .. }) => *count,
                Some(Gpus { count, per: Per::Task, .. }) => count * tasks,
                Some(Gpus { per: Per::Job, .. }) => unreachable!("not made at random"),
            };
            cpus <= room.cpus && memory <= room.memory && gpus <= self.gpus(request, host, room.gpus)
        };
        if whole { (1..=room.cpus).take_while(|&tasks| takes(tasks)).count() as u32 } else { 0 }
    }

    /// How many GPUs of a set are of the type asked for.
    pub(crate) fn gpus(&self, request: &Request, host: usize, set: u64) -> u32 {
        let kind = request.gpus.as_ref().and_then(|gpus| gpus.kind.as_ref());
        let fits = |(number, gpu): (usize, &muster_core::cluster::Gpu)| {
            set >> number & 1 == 1 && kind.is_none_or(|kind| *kind == gpu.kind)
        };
        self.hosts[host].shape.gpus.iter().enumerate().filter(|&gpu| fits(gpu)).count() as u32
    }
}

/// Whether each place can have a host of its own.
fn different(places: &[Vec<usize>], taken: &mut Vec<usize>) -> bool {
    let Some((first, rest)) = places.split_first() else { return true };
    first.iter().any(|&host| {
        if taken.contains(&host) {
            return false;
        }
        taken.push(host);
        let done = different(rest, taken);
        taken.pop();
        done
    })
}
