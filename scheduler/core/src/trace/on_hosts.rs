//! A trace on the hosts of a cluster: its jobs' processors become CPUs of hosts.

use super::Trace;
use super::replay::{Mode, Queued, Schedule, run};
use crate::cluster::{ClassId, Hosts, Misfit, Request, Tasks};
use crate::decide::NotForHosts;
use crate::policy::Policy;
use std::collections::BTreeMap;

/// Why a trace cannot be replayed on hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnHostsError {
    /// The policy plans counted processors.
    #[error(transparent)]
    Policy(#[from] NotForHosts),
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
/// When the policy is not one for hosts, or a job is larger than all of them.
pub fn replay_on(hosts: Hosts, trace: &Trace, policy: Policy, mode: Mode) -> Result<Schedule, OnHostsError> {
    let (key, backfill) = policy.queued().ok_or(NotForHosts(policy))?;
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
    Ok(run(trace, mode, &mut Queued::new(hosts, requests, key, backfill)))
}
