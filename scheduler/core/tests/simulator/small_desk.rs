//! A queue of a few lines: first come, first served where it fits. It lets the protocol be tried by the thousand
//! seeds; the books have tests of their own.

use muster_core::cluster::HostId;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::protocol::desk::{Asked, AttemptEnd, Begun, Decided, Desk, Due, Place, Why};
use muster_core::protocol::message::{Conduct, Role};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a job of the simulator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) conduct: Conduct,
    /// CPUs on each host.
    pub(crate) cpus: u32,
    pub(crate) hosts: u32,
    /// How long its script runs when nothing happens to it.
    pub(crate) runs_ms: i64,
    /// How many blocks it has, when it is a kernel step.
    pub(crate) blocks: u32,
    pub(crate) limit_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Submit(Spec),
    Cancel(RunId),
    Requeue(RunId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Accepted(RunId),
    Done,
    NoSuchJob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Submitted(JobId, Spec),
    Cancelled(RunId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Pending,
    Running(AttemptId),
    Done(AttemptEnd),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) spec: Spec,
    pub(crate) state: State,
    attempts: u32,
    up: bool,
    hosts: Vec<HostId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SmallDesk {
    /// CPUs of each host.
    pub(crate) cpus: Vec<u32>,
    last: u32,
    pub(crate) jobs: BTreeMap<RunId, Job>,
    #[serde(skip)]
    usable: Usable,
}

/// Hosts that are usable: known for now, and no part of what is compared.
#[derive(Clone, Debug, Default)]
struct Usable(BTreeSet<HostId>);

impl PartialEq for Usable {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl SmallDesk {
    pub(crate) fn new(cpus: Vec<u32>) -> Self {
        SmallDesk { cpus, last: 0, jobs: BTreeMap::new(), usable: Usable::default() }
    }

    fn free(&self) -> Vec<u32> {
        let mut free = self.cpus.clone();
        for job in self.jobs.values() {
            for host in &job.hosts {
                free[host.0 as usize] -= job.spec.cpus;
            }
        }
        free
    }
}

impl Desk for SmallDesk {
    type Request = Ask;
    type Answer = Told;
    type Event = Change;

    fn ask(&mut self, _: Time, request: &Ask) -> Asked<Change, Told> {
        let (mut events, mut end, mut answer) = (Vec::new(), Vec::new(), Told::Done);
        match *request {
            Ask::Submit(spec) => {
                let job = JobId(self.last + 1);
                events.push(Change::Submitted(job, spec));
                answer = Told::Accepted(RunId { job, element: None });
            }
            Ask::Cancel(run) | Ask::Requeue(run) => match self.jobs.get(&run).map(|job| job.state) {
                Some(State::Pending) if matches!(request, Ask::Cancel(_)) => {
                    events.push(Change::Cancelled(run))
                }
                Some(State::Running(_)) if matches!(request, Ask::Cancel(_)) => {
                    end.push((run, Why::Cancelled(1000)));
                }
                Some(State::Running(_)) => end.push((run, Why::Requeued)),
                Some(_) => {}
                None => answer = Told::NoSuchJob,
            },
        }
        Asked { events, end, answer }
    }

    fn follows(&self, event: &Change) -> bool {
        match event {
            Change::Submitted(job, _) => job.0 == self.last + 1,
            Change::Cancelled(run) => self.jobs.get(run).is_some_and(|job| job.state == State::Pending),
        }
    }

    fn may_begin(&self, begun: &Begun) -> bool {
        let id = begun.id;
        self.jobs.get(&id.run).is_some_and(|job| job.state == State::Pending && job.attempts < id.attempt.0)
    }

    fn apply(&mut self, _: Time, event: &Change) {
        match *event {
            Change::Submitted(job, spec) => {
                self.last = job.0;
                let job_state =
                    Job { spec, state: State::Pending, attempts: 0, up: false, hosts: Vec::new() };
                self.jobs.insert(RunId { job, element: None }, job_state);
            }
            Change::Cancelled(run) => {
                let end = AttemptEnd::Ended(Why::Cancelled(1000));
                self.jobs.get_mut(&run).expect("it was there when it was cancelled").state = State::Done(end);
            }
        }
    }

    fn due(&self, _: Time) -> Due<Change> {
        Due::default()
    }

    fn usable(&mut self, host: HostId, usable: bool) {
        if usable {
            self.usable.0.insert(host)
        } else {
            self.usable.0.remove(&host)
        };
    }

    fn launch(&self, begun: &Begun, _: &Place) -> Vec<u8> {
        postcard::to_stdvec(&self.jobs[&begun.id.run].spec).expect("a spec can be encoded")
    }

    fn decide(&mut self, _: Time) -> Decided {
        let mut free = self.free();
        for (host, cpus) in (0..).zip(&mut free) {
            *cpus *= u32::from(self.usable.0.contains(&HostId(host)));
        }
        let mut begins = Vec::new();
        for (run, job) in self.jobs.iter().filter(|(_, job)| job.state == State::Pending) {
            let fits = (0..).zip(&free).filter(|(_, cpus)| **cpus >= job.spec.cpus).map(|(host, _)| host);
            let hosts: Vec<u32> = fits.take(job.spec.hosts as usize).collect();
            if hosts.len() < job.spec.hosts as usize {
                continue;
            }
            let places = hosts.iter().enumerate().map(|(i, host)| {
                free[*host as usize] -= job.spec.cpus;
                let role = if i == 0 { Role::Batch } else { Role::Member };
                Place { host: HostId(*host), role }
            });
            let places = places.collect();
            let id = AttemptId { run: *run, attempt: Attempt(job.attempts + 1) };
            let (conduct, limit_ms) = (job.spec.conduct, job.spec.limit_ms);
            begins.push(Begun { id, conduct, limit_ms, places, plan: Vec::new() });
        }
        Decided { begun: begins, end: Vec::new() }
    }

    fn wake(&self, _: Time) -> Option<Time> {
        None
    }

    fn begun(&mut self, _: Time, begun: &Begun) {
        let job = self.jobs.get_mut(&begun.id.run).expect("a job that begins is there");
        job.attempts = begun.id.attempt.0;
        job.state = State::Running(begun.id);
        job.hosts = begun.places.iter().map(|place| place.host).collect();
    }

    fn up(&mut self, _: Time, id: AttemptId) {
        self.jobs.get_mut(&id.run).expect("a job that runs is there").up = true;
    }

    fn ends(&mut self, _: Time, _: AttemptId, _: AttemptEnd) {}

    fn closed(&mut self, _: Time, id: AttemptId, end: AttemptEnd) {
        let job = self.jobs.get_mut(&id.run).expect("a job that ends is there");
        job.hosts.clear();
        job.up = false;
        job.state = match (end, job.spec.conduct) {
            (AttemptEnd::Ended(Why::Preempted | Why::Requeued) | AttemptEnd::NeverBegan, _) => State::Pending,
            (AttemptEnd::Lost, Conduct::Requeue | Conduct::Fenced) => State::Pending,
            _ => State::Done(end),
        };
    }
}
