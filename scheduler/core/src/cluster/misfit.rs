//! Why a request could never start: every reason, as data.

use super::class::{Class, Classes, Needed, Site};
use super::constraint::Expr;
use super::free::Level;
use super::host::HostId;
use super::licence::Licences;
use super::request::Request;
use super::room::Rooms;
use super::select::{Group, GroupOf};
use super::window::Purpose;
use std::collections::BTreeSet;
use thiserror::Error;

/// One reason why a request could never start on this cluster, were it empty and all of it up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Misfit {
    /// A name that no host has, or the cluster does not know.
    #[error("there is no {what} `{name}` in this cluster")]
    Unknown {
        /// Feature, label, partition, host, licence, or reservation.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// No hosts, or fewer at most than at least.
    #[error("{min} to {max} hosts are no range: ask for at least one, and not fewer at most than at least")]
    HostRange {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
    /// No tasks, or tasks without CPUs.
    #[error("a job has at least one task, and a task at least one CPU")]
    NoCpus,
    /// More counted parts of a constraint than are looked at.
    #[error("a constraint counts hosts of {counts} kinds: it may count 7")]
    TooManyCounts {
        /// How many there are.
        counts: usize,
    },
    /// Hosts that would have no task.
    #[error("{tasks} tasks cannot be on {hosts} hosts: ask for at most as many hosts as tasks")]
    FewerTasksThanHosts {
        /// Tasks of the job.
        tasks: u32,
        /// Hosts, at least.
        hosts: u32,
    },
    /// Tasks that would have no host.
    #[error("{hosts} hosts take {most_per_host} tasks each, fewer than the {tasks} of the job")]
    MoreTasksThanHostsTake {
        /// Tasks of the job.
        tasks: u32,
        /// Hosts, at most.
        hosts: u32,
        /// Tasks on a host, at most.
        most_per_host: u32,
    },
    /// The job's GPUs cannot be dealt evenly.
    #[error(
        "the job's GPUs cannot be dealt evenly to its tasks on {hosts} hosts: ask for GPUs per task or per host"
    )]
    UnevenGpus {
        /// Tasks of the job.
        tasks: u32,
        /// Hosts, at least.
        hosts: u32,
    },
    /// A number too large to count with.
    #[error("more {what} than can be counted")]
    Overflow {
        /// Of what.
        what: &'static str,
    },
    /// More licences than there are.
    #[error("needs {needs} of licence `{name}`, there are {total}")]
    Licence {
        /// Its name.
        name: String,
        /// How many the job needs.
        needs: u32,
        /// How many there are.
        total: u32,
    },
    /// Fewer hosts match than are asked for.
    #[error("needs {needs} hosts, and {matching} have the features, labels and partition asked for")]
    Hosts {
        /// How many the job needs.
        needs: u32,
        /// How many match.
        matching: u32,
    },
    /// No matching host has so much of something.
    #[error("needs {needs} {what} on one host, the largest that matches has {largest}")]
    Largest {
        /// CPUs, MiB of memory, or GPUs with their type.
        what: String,
        /// How many the job needs on one host.
        needs: u64,
        /// How many the largest has.
        largest: u64,
        /// Which host that is.
        host: HostId,
    },
    /// Each is there, but not together.
    #[error("needs {needs} hosts that have all of it at once, {able} have")]
    Together {
        /// How many the job needs.
        needs: u32,
        /// How many have.
        able: u32,
    },
    /// The hosts that it may have take fewer tasks.
    #[error("has {tasks} tasks, the {hosts} hosts that it may have take {room}")]
    Tasks {
        /// Tasks of the job.
        tasks: u64,
        /// Hosts, at most.
        hosts: u32,
        /// How many tasks they take when they are empty.
        room: u64,
    },
    /// Hosts that must be among the job's cannot be.
    #[error("needs {needs} hosts for `{of}` among its own, {able} of them can be")]
    Group {
        /// The features or names.
        of: String,
        /// How many of them the job needs.
        needs: u32,
        /// How many could run a part of it.
        able: u32,
    },
}

/// The names in a request that nothing has.
pub(crate) fn unknown(request: &Request, site: Site<'_>) -> Vec<Misfit> {
    let (only, roster) = (&request.only, site.roster);
    let constraint = &only.constraint;
    let mut features = BTreeSet::new();
    let exprs = constraint.each.iter().chain(&constraint.one_of);
    exprs.chain(constraint.counts.iter().map(|(expr, _)| expr)).for_each(|expr| expr.features(&mut features));
    let unknown = |what, name: &str| Misfit::Unknown { what, name: name.to_owned() };
    let mut out = Vec::new();
    out.extend(features.into_iter().filter(|f| !roster.has_feature(f)).map(|f| unknown("feature", f)));
    out.extend(only.labels.iter().filter(|l| !roster.has_label(l)).map(|l| unknown("label", l)));
    out.extend(only.partition.iter().filter(|p| !roster.has_partition(p)).map(|p| unknown("partition", p)));
    let hosts = only.include.iter().chain(&only.exclude);
    out.extend(hosts.filter(|h| roster.find(h).is_none()).map(|h| unknown("host", h)));
    let named = only.reservation.and_then(|id| site.windows.get(id));
    if let (Some(id), None) = (only.reservation, named.filter(|w| w.purpose == Purpose::Reservation)) {
        out.push(unknown("reservation", &id.0.to_string()));
    }
    out
}

/// Licences in a request that there are not, or not so many of.
pub(crate) fn licences(request: &Request, licences: &Licences) -> Vec<Misfit> {
    let misfit = |(name, &needs): (&String, &u32)| {
        let name = name.clone();
        match licences.find(&name).and_then(|number| licences.get(number).total) {
            None => Some(Misfit::Unknown { what: "licence", name }),
            Some(total) if total < needs => Some(Misfit::Licence { name, needs, total }),
            Some(_) => None,
        }
    };
    request.licences.iter().filter_map(misfit).collect()
}

/// Why the cluster is too small for a class; nothing when one of its needs fits.
pub(crate) fn too_small(class: &Class, classes: &Classes, site: Site<'_>) -> Vec<Misfit> {
    let mut out = BTreeSet::new();
    for &need in &class.needs {
        let needed = classes.need(need);
        let empty = Empty::new(class, needed, classes, site);
        if class.sizes.fit(&empty.rooms) {
            return Vec::new();
        }
        let reasons = empty.reasons(class, needed);
        out.extend(reasons);
    }
    out.into_iter().collect()
}

/// The hosts that match a need, as if nothing ran and all were up.
struct Empty {
    rooms: Rooms,
    matching: Vec<(u32, Level, u64)>,
}

impl Empty {
    fn new(class: &Class, needed: &Needed, classes: &Classes, site: Site<'_>) -> Empty {
        let reserved = class.request.only.reservation.and_then(|id| site.windows.get(id));
        let hosts = classes.filtered(needed).hosts.iter();
        let level = |host: usize| {
            let known = site.free.shape(host);
            let gpus = known.gpus(None);
            let level = Level { cpus: known.cores, memory: known.memory_mib, gpus, jobs: 0 };
            (host as u32, level, needed.gpus_of_shape[site.free.shape_number(host)])
        };
        let within = |host: &usize| reserved.is_none_or(|window| window.hosts.contains(*host));
        let matching: Vec<_> = hosts.filter(within).map(level).collect();
        let mut rooms = Rooms::new(site.roster.len());
        for &(host, level, kind) in &matching {
            rooms.set(host as usize, needed.need.room(level, kind));
        }
        Empty { rooms, matching }
    }

    fn reasons(&self, class: &Class, needed: &Needed) -> Vec<Misfit> {
        let (sizes, need) = (&class.sizes, &needed.need);
        let mut out = Vec::new();
        let matching = self.matching.len() as u32;
        if matching < sizes.min {
            out.push(Misfit::Hosts { needs: sizes.min, matching });
        }
        let kind = need.kind.as_ref().map_or("GPUs".to_owned(), |kind| format!("GPUs of type {kind}"));
        let (memory, gpus) = (need.host_memory + need.memory, need.host_gpus + need.gpus);
        out.extend(self.largest("CPUs", u64::from(need.cpus), |level, _| u64::from(level.cpus)));
        out.extend(self.largest("MiB of memory", memory, |level, _| level.memory));
        out.extend(
            self.largest(&kind, u64::from(gpus), |level, kind| u64::from((level.gpus & kind).count_ones())),
        );
        out.extend(sizes.groups.iter().filter_map(|group| self.group(group)));
        if !out.is_empty() {
            return out;
        }
        let able = self.rooms.count();
        let room = self.rooms.top(sizes.max) * u64::from(need.tasks);
        match sizes.pieces.map(|pieces| u64::from(pieces) * u64::from(need.tasks)) {
            Some(tasks) if able >= sizes.min => vec![Misfit::Tasks { tasks, hosts: sizes.max, room }],
            _ => vec![Misfit::Together { needs: sizes.min, able }],
        }
    }

    fn largest(&self, what: &str, needs: u64, has: impl Fn(Level, u64) -> u64) -> Option<Misfit> {
        let each =
            self.matching.iter().map(|&(host, level, kind)| (has(level, kind), std::cmp::Reverse(host)));
        let (largest, host) = each.max()?;
        (largest < needs).then(|| Misfit::Largest { what: what.into(), needs, largest, host: HostId(host.0) })
    }

    fn group(&self, group: &Group) -> Option<Misfit> {
        let able = self.rooms.able().iter().filter(|&host| group.hosts.contains(host)).count() as u32;
        let of = match &group.of {
            GroupOf::Features(expr) => written(expr),
            GroupOf::Names(names) => names.iter().cloned().collect::<Vec<_>>().join(","),
        };
        (able < group.count).then_some(Misfit::Group { of, needs: group.count, able })
    }
}

/// An expression as it is written.
fn written(expr: &Expr) -> String {
    let join =
        |parts: &[Expr], with| format!("({})", parts.iter().map(written).collect::<Vec<_>>().join(with));
    match expr {
        Expr::Feature(name) => name.clone(),
        Expr::All(parts) => join(parts, "&"),
        Expr::Any(parts) => join(parts, "|"),
    }
}
