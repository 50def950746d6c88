//! How the desk has the input files of kernels looked for, and what it tells the scheduler of them.
//!
//! Part of step 5 of a job's way (DESIGN section 4). Each host that a job may have is asked, and the job waits until each
//! that is heard has told: then it is known where it can go, once, and not anew with each answer.

use super::clerk::Clerk;
use super::format::Format;
use super::probe::{Probe, Wanted};
use crate::books::Books;
use crate::books::event::Event;
use crate::cluster::{Host, HostId};
use crate::decide::files::Inputs;
use crate::job::id::JobId;
use crate::job::inputs::Lack;
use crate::job::{Job, Owner};
use crate::jobspec::{JobSpec, Work};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a host is told of a job whose input files it shall look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookFor {
    /// With whose rights.
    pub owner: Arc<Owner>,
    /// The job, which names its kernel and the files.
    pub spec: Arc<JobSpec>,
}

/// What can be made anew: which jobs read files, and what was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Sought {
    jobs: BTreeSet<JobId>,
    found: BTreeMap<JobId, Probe>,
    /// The jobs of which the scheduler was told.
    told: BTreeSet<JobId>,
    /// Whether the scheduler must be told.
    stale: bool,
}

impl Sought {
    /// Of books that were read back.
    pub(super) fn of(books: &Books) -> Sought {
        let jobs = books.jobs().filter(|job| reads(job)).map(Job::id);
        Sought { jobs: jobs.collect(), found: BTreeMap::new(), told: BTreeSet::new(), stale: true }
    }

    /// The scheduler is another, or hosts have come or gone.
    pub(super) fn tell_again(&mut self) {
        self.stale = true;
    }

    /// The books have an event more.
    pub(super) fn observe(&mut self, books: &Books, event: &Event) {
        let (Event::Submitted(id, _) | Event::Job(id, _) | Event::Purged(id)) = event else {
            self.stale |= matches!(event, Event::Host(_) | Event::Partition(_) | Event::PartitionGone(_));
            if let Event::Run(run, _) = event {
                self.keep(books, run.job);
            }
            return;
        };
        self.keep(books, *id);
    }

    fn keep(&mut self, books: &Books, id: JobId) {
        self.stale |= if books.job(id).is_some_and(reads) {
            self.jobs.insert(id);
            true
        } else {
            self.jobs.remove(&id)
        };
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.jobs.contains(&id)
    }

    /// The protocol says what is known.
    pub(super) fn found(&mut self, id: JobId, probe: Option<&Probe>) {
        self.stale |= match probe {
            Some(probe) => self.found.insert(id, probe.clone()).as_ref() != Some(probe),
            None => self.found.remove(&id).is_some(),
        };
    }
}

impl Clerk {
    /// What is to be looked for, and where.
    pub(super) fn looks_for(&self) -> Vec<Wanted> {
        let jobs = self.sought.jobs.iter().filter_map(|id| self.books().job(*id));
        let wanted = |job: &Job| Wanted {
            job: job.id(),
            hosts: hosts_for(self.books(), job).map(|(number, _)| number).collect(),
            what: Format::Message.encode(&LookFor { owner: job.owner().clone(), spec: job.spec().clone() }),
        };
        jobs.map(wanted).collect()
    }

    /// Tells the scheduler what it does not know yet.
    pub(super) fn tell_inputs(&mut self) {
        if !std::mem::take(&mut self.sought.stale) {
            return;
        }
        let ids: BTreeSet<JobId> = self.sought.jobs.iter().chain(&self.sought.told).copied().collect();
        let known: Vec<(JobId, Option<Inputs>)> = ids.into_iter().map(|id| (id, self.inputs(id))).collect();
        self.sought.told.clone_from(&self.sought.jobs);
        for (id, inputs) in known {
            self.scheduler_mut().set_inputs(id, inputs);
        }
    }

    /// What is known of the files of a job; nothing when it is over.
    fn inputs(&self, id: JobId) -> Option<Inputs> {
        let job = self.books().job(id).filter(|job| reads(job))?;
        let probe = self.sought.found.get(&id);
        let (mut asked, mut without, mut has) = (Vec::new(), Vec::new(), false);
        for (number, host) in hosts_for(self.books(), job) {
            match probe.and_then(|probe| probe.said(number)) {
                Some(Ok(())) => has = true,
                Some(Err(lack)) => without.push((host.name.clone(), Some(lack.clone()))),
                None => {
                    if self.is_usable(number) {
                        asked.push(host.name.clone());
                    }
                    without.push((host.name.clone(), None));
                }
            }
        }
        let lacks: Vec<(String, Lack)> =
            without.iter().filter_map(|(name, lack)| Some((name.clone(), lack.clone()?))).collect();
        Some(match (asked.is_empty(), has) {
            (false, _) => Inputs::Asked(asked),
            (true, true) => Inputs::There(without),
            (true, false) if lacks.is_empty() => Inputs::Asked(asked),
            (true, false) => Inputs::Nowhere(lacks),
        })
    }
}

/// Whether a job is not over, and reads files.
fn reads(job: &Job) -> bool {
    job.spec().work == Work::KernelOnFiles && job.ended().is_none()
}

/// The hosts that a job may have, as far as partitions and names tell.
fn hosts_for<'a>(books: &'a Books, job: &'a Job) -> impl Iterator<Item = (HostId, &'a Host)> {
    let partitions = books.partitions_of(job.spec()).unwrap_or_default();
    let may = move |host: &Host| {
        partitions.iter().any(|partition| host.partitions.contains(&partition.name))
            && !job.spec().needs.exclude.contains(&host.name)
    };
    (0..).map(HostId).zip(books.hosts()).filter(move |(_, host)| may(host))
}
