//! A trace on the hosts of a cluster: its jobs' processors become CPUs of hosts.

use super::replay::{Clock, Mode, Queued, Schedule, System, run};
use super::{Trace, TraceJob};
use crate::cluster::{ClassId, Hosts, Misfit, Request, Tasks};
use crate::policy::Policy;
use crate::policy::key::Key;
use crate::policy::machine::{Machine, Running};
use crate::policy::queue::{Entry, Queue, Waiting};
use crate::policy::reserve::Reserving;
use crate::time::Time;
use std::collections::BTreeMap;

/// Why a trace cannot be replayed on hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnHostsError {
    /// A job does not fit the empty cluster.
    #[error("job {id} does not fit: {}", .misfits.iter().map(Misfit::to_string).collect::<Vec<_>>().join("; "))]
    Job {
        /// Its number in the file.
        id: i64,
        /// Every reason.
        misfits: Vec<Misfit>,
    },
}

/// Replays `trace` on `hosts`: a job takes one CPU for each of its processors, on as few hosts as hold them.
///
/// # Errors
///
/// When a job is larger than all of them.
pub fn replay_on(hosts: Hosts, trace: &Trace, policy: Policy, mode: Mode) -> Result<Schedule, OnHostsError> {
    let mut hosts = hosts;
    let most = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    let mut classes: BTreeMap<u32, ClassId> = BTreeMap::new();
    let mut requests = Vec::with_capacity(trace.jobs.len());
    for job in &trace.jobs {
        let class = match classes.get(&job.width) {
            Some(&class) => class,
            None => {
                let request = Request {
                    hosts_max: most.min(job.width),
                    tasks: Tasks::Total { count: job.width, most_per_host: None },
                    ..Request::cpus(1)
                };
                let interned = hosts.intern(&request);
                interned.map_err(|misfits| OnHostsError::Job { id: job.id, misfits })?
            }
        };
        classes.insert(job.width, class);
        requests.push(class);
    }
    Ok(match policy.queued() {
        Some((key, backfill)) => run(trace, mode, &mut Queued::new(hosts, requests, key, backfill)),
        None => run(trace, mode, &mut Promising::new(hosts, requests)),
    })
}

/// Hosts, and jobs that are promised a start when they arrive.
struct Promising {
    hosts: Hosts,
    /// What each job of the trace asks of the hosts.
    requests: Vec<ClassId>,
    queue: Queue<ClassId>,
    reserving: Reserving,
}

impl Promising {
    fn new(hosts: Hosts, requests: Vec<ClassId>) -> Promising {
        // A trace counts seconds, and nothing in it outlasts its estimate.
        let reserving = Reserving::new(|waiting| waiting.0, 1);
        Promising { hosts, requests, queue: Queue::new(Key::Submit, 1), reserving }
    }
}

impl System for Promising {
    fn arrive(&mut self, index: usize, job: &TraceJob, now: Time) {
        let entry = Entry {
            job: Waiting(index as u64),
            rank: 0,
            submit: job.submit,
            estimate: job.estimate,
            width: job.width,
            count: 1,
            request: self.requests[index],
        };
        self.queue.insert(entry, now);
    }

    fn end(&mut self, index: usize, _: &TraceJob, _: Time) {
        self.hosts.finish(Running(index as u64));
    }

    fn due(&self) -> Option<Time> {
        self.reserving.due()
    }

    fn pass(&mut self, clock: &mut Clock<'_>) {
        self.reserving.run(&mut self.queue, &mut self.hosts, (clock.now(), clock));
    }
}
