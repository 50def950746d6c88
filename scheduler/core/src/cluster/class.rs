//! Requests, interned: what cannot differ in whether it fits is decided once.
//!
//! A request becomes pieces that each host takes one or more of ([`Need`]), and how many hosts and pieces there must be
//! ([`Sizes`]). Different requests often share a need, and a need is what costs.

use super::bits::Bits;
use super::constraint::Expr;
use super::free::Free;
use super::licence::Licences;
use super::misfit::{self, Misfit};
use super::request::{Gpus, Per, Request, Sharing, Tasks};
use super::room::Need;
use super::roster::{Filter, Roster};
use super::select::{Group, GroupOf, Sizes};
use super::window::Windows;
use crate::jobspec::Memory;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of a class: equal requests have the same, others have another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClassId(pub u32);

impl From<ClassId> for u32 {
    fn from(class: ClassId) -> u32 {
        class.0
    }
}

/// An interned request.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) request: Request,
    /// The needs that will do, each for all hosts: one, or one for each alternative of `[a|b]`.
    pub(crate) needs: Vec<u32>,
    pub(crate) sizes: Sizes,
    /// Licences by number.
    pub(crate) licences: Vec<(usize, u32)>,
    /// CPUs that it needs at least.
    pub(crate) width: u32,
}

/// The hosts of a filter.
#[derive(Clone, Debug)]
pub(crate) struct Filtered {
    pub(crate) filter: Filter,
    pub(crate) hosts: Bits,
}

/// A need, with the GPUs of each shape that will do, a bit each.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    pub(crate) need: Need,
    pub(crate) gpus_of_shape: Vec<u64>,
}

/// The cluster that requests are made of.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) free: &'a Free,
    pub(crate) licences: &'a Licences,
    pub(crate) windows: &'a Windows,
}

/// All classes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    classes: Vec<Class>,
    numbers: BTreeMap<Request, ClassId>,
    needs: Vec<Needed>,
    need_numbers: BTreeMap<Need, u32>,
    filters: Vec<Filtered>,
    filter_numbers: BTreeMap<Filter, u32>,
}

impl Classes {
    pub(crate) fn find(&self, request: &Request) -> Option<ClassId> {
        self.numbers.get(request).copied()
    }

    /// The class of a request that was not interned before, or every reason why it could never start, with what its
    /// licences are `short` of.
    pub(crate) fn intern(
        &mut self,
        request: &Request,
        site: Site<'_>,
        short: Vec<Misfit>,
    ) -> Result<ClassId, Vec<Misfit>> {
        let mut misfits = misfit::unknown(request, site);
        misfits.extend(short);
        let cut = cut(request);
        match cut {
            Ok((need, sizes)) if misfits.is_empty() => {
                let class = self.class(request, need, sizes, site);
                misfits.extend(misfit::too_small(&class, self, site));
                if misfits.is_empty() {
                    let id = ClassId(self.classes.len() as u32);
                    self.classes.push(class);
                    self.numbers.insert(request.clone(), id);
                    return Ok(id);
                }
            }
            Ok(_) => {}
            Err(more) => misfits.extend(more),
        }
        Err(misfits)
    }

    pub(crate) fn get(&self, id: ClassId) -> &Class {
        &self.classes[id.0 as usize]
    }

    pub(crate) fn need(&self, number: u32) -> &Needed {
        &self.needs[number as usize]
    }

    /// How many needs there are.
    pub(crate) fn needs(&self) -> usize {
        self.needs.len()
    }

    /// The hosts that a need may use, whatever is free on them.
    pub(crate) fn filtered(&self, needed: &Needed) -> &Filtered {
        &self.filters[needed.need.filter as usize]
    }

    /// Counts in a host that was added to the roster, and its shape.
    pub(crate) fn add_host(&mut self, host: u32, roster: &Roster, free: &Free) {
        for filtered in &mut self.filters {
            if roster.matches(&filtered.filter, host) {
                filtered.hosts.insert(host as usize);
            }
        }
        for group in self.classes.iter_mut().flat_map(|class| &mut class.sizes.groups) {
            group.hosts = members(&group.of, roster);
        }
        for needed in &mut self.needs {
            let new = free.shapes().iter().skip(needed.gpus_of_shape.len());
            needed.gpus_of_shape.extend(new.map(|known| known.gpus(needed.need.kind.as_deref())));
        }
    }

    fn class(&mut self, request: &Request, need: Need, mut sizes: Sizes, site: Site<'_>) -> Class {
        let constraint = &request.only.constraint;
        let counted = constraint.counts.iter().map(|(expr, count)| (GroupOf::Features(expr.clone()), *count));
        let included = (!request.only.include.is_empty())
            .then(|| (GroupOf::Names(request.only.include.clone()), request.only.include.len() as u32));
        let group = |(of, count)| Group { hosts: members(&of, site.roster), of, count };
        sizes.groups = counted.chain(included).map(group).collect();
        sizes.min = sizes.min.max(sizes.groups.iter().fold(0, |sum, group| group.count.saturating_add(sum)));
        let needs = if constraint.one_of.is_empty() {
            vec![self.need_with(request, &need, None, site)]
        } else {
            constraint.one_of.iter().map(|expr| self.need_with(request, &need, Some(expr), site)).collect()
        };
        let licence = |(name, &count): (&String, &u32)| Some((site.licences.find(name)?, count));
        let pieces = sizes.pieces.unwrap_or(sizes.min);
        let width = need.cpus.saturating_mul(pieces);
        let licences = request.licences.iter().filter_map(licence).collect();
        Class { request: request.clone(), needs, sizes, licences, width }
    }

    fn need_with(&mut self, request: &Request, need: &Need, also: Option<&Expr>, site: Site<'_>) -> u32 {
        let only = &request.only;
        let filter = Filter {
            partition: only.partition.clone(),
            each: only.constraint.each.iter().chain(also).cloned().collect(),
            labels: only.labels.clone(),
            exclude: only.exclude.clone(),
            reservation: only.reservation,
        };
        let filter = match self.filter_numbers.get(&filter) {
            Some(&number) => number,
            None => {
                let number = self.filters.len() as u32;
                let hosts = site.roster.matching(&filter);
                self.filter_numbers.insert(filter.clone(), number);
                self.filters.push(Filtered { filter, hosts });
                number
            }
        };
        let need = Need { filter, ..need.clone() };
        if let Some(&number) = self.need_numbers.get(&need) {
            return number;
        }
        let number = self.needs.len() as u32;
        let gpus_of_shape = site.free.shapes().iter().map(|known| known.gpus(need.kind.as_deref())).collect();
        self.need_numbers.insert(need.clone(), number);
        self.needs.push(Needed { need, gpus_of_shape });
        number
    }
}

fn members(of: &GroupOf, roster: &Roster) -> Bits {
    match of {
        GroupOf::Features(expr) => roster.matching(&Filter { each: vec![expr.clone()], ..Filter::default() }),
        GroupOf::Names(names) => names.iter().filter_map(|n| roster.find(n)).map(|h| h as usize).collect(),
    }
}

/// Cuts a request into pieces. Where every host takes the same, a piece is a host's whole share; else it is a task, or
/// the fewest tasks that a whole number of the job's GPUs can be dealt with.
fn cut(request: &Request) -> Result<(Need, Sizes), Vec<Misfit>> {
    let (min, max) = (request.hosts_min, request.hosts_max);
    let mut misfits = Vec::new();
    if min == 0 || min > max {
        misfits.push(Misfit::HostRange { min, max });
    }
    if request.cpus_per_task == 0
        || matches!(request.tasks, Tasks::PerHost(0) | Tasks::Total { count: 0, .. })
    {
        misfits.push(Misfit::NoCpus);
    }
    if request.only.constraint.counts.len() > 7 {
        misfits.push(Misfit::TooManyCounts { counts: request.only.constraint.counts.len() });
    }
    if !misfits.is_empty() {
        return Err(misfits);
    }
    let (tasks, pieces) = share(request).map_err(|misfit| vec![misfit])?;
    let most = match (pieces, request.tasks) {
        (Some(all), Tasks::Total { most_per_host, .. }) => all.min(most_per_host.unwrap_or(u32::MAX) / tasks),
        _ => 1,
    };
    let sizes = Sizes {
        min,
        max: max.min(pieces.unwrap_or(u32::MAX)),
        pieces,
        groups: Vec::new(),
        layout: request.layout,
    };
    let need = need(request, tasks, most, pieces.is_none()).map_err(|misfit| vec![misfit])?;
    Ok((need, sizes))
}

/// Tasks of a piece, and how many pieces there are where hosts may take different numbers of them.
fn share(request: &Request) -> Result<(u32, Option<u32>), Misfit> {
    let (min, max) = (request.hosts_min, request.hosts_max);
    let (count, most) = match request.tasks {
        Tasks::PerHost(tasks) => return Ok((tasks, None)),
        Tasks::Total { count, most_per_host } => (count, most_per_host.unwrap_or(u32::MAX)),
    };
    if count < min {
        return Err(Misfit::FewerTasksThanHosts { tasks: count, hosts: min });
    }
    if u64::from(max) * u64::from(most) < u64::from(count) {
        return Err(Misfit::MoreTasksThanHostsTake { tasks: count, hosts: max, most_per_host: most });
    }
    let same = min == max && (max == 1 || max.checked_mul(most) == Some(count) || max == count);
    if same {
        return Ok((count / max, None));
    }
    let tasks = match &request.gpus {
        Some(Gpus { per: Per::Job, count: gpus, .. }) if *gpus > 0 => count / gcd(count, *gpus),
        _ => 1,
    };
    if tasks > most || count / tasks < min {
        return Err(Misfit::UnevenGpus { tasks: count, hosts: min });
    }
    Ok((tasks, Some(count / tasks)))
}

/// What a host must have for a piece of so many tasks.
fn need(request: &Request, tasks: u32, most: u32, same: bool) -> Result<Need, Misfit> {
    let cpus = request.cpus_per_task.checked_mul(tasks).ok_or(Misfit::Overflow { what: "CPUs" })?;
    let (memory, host_memory) = match request.memory {
        None => (0, 0),
        Some(Memory::PerCpu(each)) => {
            (each.checked_mul(u64::from(cpus)).ok_or(Misfit::Overflow { what: "memory" })?, 0)
        }
        Some(Memory::PerNode(all)) if same => (all, 0),
        Some(Memory::PerNode(all)) => (0, all),
    };
    let too_many = Misfit::Overflow { what: "GPUs" };
    let (gpus, host_gpus) = match &request.gpus {
        None => (0, 0),
        Some(Gpus { per: Per::Host, count, .. }) if same => (*count, 0),
        Some(Gpus { per: Per::Host, count, .. }) => (0, *count),
        Some(Gpus { per: Per::Task, count, .. }) => (count.checked_mul(tasks).ok_or(too_many)?, 0),
        Some(Gpus { per: Per::Job, count, .. }) => (gpus_of_piece(request, *count, tasks)?, 0),
    };
    Ok(Need {
        filter: 0,
        tasks,
        cpus,
        memory,
        gpus,
        host_memory,
        host_gpus,
        kind: request.gpus.as_ref().and_then(|gpus| gpus.kind.clone()),
        most,
        exclusive: request.sharing == Sharing::Exclusive,
    })
}

/// GPUs of a piece when the job has `count`.
fn gpus_of_piece(request: &Request, count: u32, tasks: u32) -> Result<u32, Misfit> {
    let (hosts, pieces) = match request.tasks {
        Tasks::PerHost(_) if request.hosts_min != request.hosts_max => (request.hosts_min, None),
        Tasks::PerHost(_) => (request.hosts_min, Some(request.hosts_min)),
        Tasks::Total { count: all, .. } => (request.hosts_min, Some(all / tasks)),
    };
    match pieces {
        Some(pieces) if count.is_multiple_of(pieces) => Ok(count / pieces),
        _ => Err(Misfit::UnevenGpus { tasks: pieces.unwrap_or(0) * tasks, hosts }),
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
