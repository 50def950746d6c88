//! A queue of a few lines: first come, first served where it fits. It lets the protocol be tried by the thousand
//! seeds; the books have tests of their own.

use muster_core::cluster::HostId;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::protocol::desk::{Asked, AttemptEnd, Begun, Decided, Desk, Due, Place, Resized, Why};
use muster_core::protocol::message::{Conduct, Role};
use muster_core::protocol::pause::Pace;
use muster_core::protocol::probe::{Probe, Wanted};
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
    /// How many hosts it may be given while it runs, when it is a kernel step.
    pub(crate) most: u32,
    /// How long its script runs when nothing happens to it.
    pub(crate) runs_ms: i64,
    /// How many blocks it has, when it is a kernel step.
    pub(crate) blocks: u32,
    /// How many rounds it goes.
    pub(crate) rounds: u32,
    /// Whether its blocks are those of a file, which not every host has.
    pub(crate) reads: bool,
    pub(crate) limit_ms: Option<i64>,
    pub(crate) rush: Rush,
}

/// What others do that run while it has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rush {
    /// They go on.
    No,
    /// They stop.
    Stops,
    /// They end, so long after they are told, milliseconds.
    Ends(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Submit(Spec),
    Cancel(RunId),
    Requeue(RunId),
    /// Its file has so many blocks from now on, if it waits.
    Rewrite(RunId, u32),
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
    Rewritten(RunId, u32),
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
    /// What it holds, the batch host first.
    hosts: Vec<HostId>,
    /// How often its attempt was given other hosts.
    resizes: u32,
    pub(crate) halt: Halt,
    /// How often its attempt was stopped.
    stops: u32,
}

/// Whether an attempt makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Halt {
    GoesOn,
    Stopping,
    Still,
}

/// How many attempts of a job may be ended to make room: else two would take turns for ever.
const MOST_ENDS: u32 = 4;

/// How often an attempt is stopped.
const MOST_STOPS: u32 = 4;

/// How often an attempt is given other hosts: each time its team starts again.
const MOST_RESIZES: u32 = 6;

/// How long to wait for the next time, at most, milliseconds.
const RESIZE_MS: i64 = 12_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SmallDesk {
    /// CPUs of each host.
    pub(crate) cpus: Vec<u32>,
    last: u32,
    pub(crate) jobs: BTreeMap<RunId, Job>,
    #[serde(skip)]
    usable: Usable,
    #[serde(skip)]
    found: Found,
}

/// What was said of files: the same.
#[derive(Clone, Debug, Default)]
struct Found(BTreeMap<JobId, Probe>);

impl PartialEq for Found {
    fn eq(&self, _: &Self) -> bool {
        true
    }
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
        SmallDesk { cpus, last: 0, jobs: BTreeMap::new(), usable: Usable::default(), found: Found::default() }
    }

    fn free(&self) -> Vec<u32> {
        let mut free = self.cpus.clone();
        for job in self.jobs.values().filter(|job| job.halt != Halt::Still) {
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
            Ask::Rewrite(..) => {}
        }
        if let Ask::Rewrite(run, blocks) = *request
            && self.follows(&Change::Rewritten(run, blocks))
        {
            events.push(Change::Rewritten(run, blocks));
        }
        Asked { events, end, answer }
    }

    fn follows(&self, event: &Change) -> bool {
        match event {
            Change::Submitted(job, _) => job.0 == self.last + 1,
            Change::Cancelled(run) => self.jobs.get(run).is_some_and(|job| job.state == State::Pending),
            // A ledger of before would be of another grid.
            Change::Rewritten(run, _) => self
                .jobs
                .get(run)
                .is_some_and(|job| job.state == State::Pending && job.attempts == 0 && job.spec.reads),
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
                let (state, hosts) = (State::Pending, Vec::new());
                let (halt, stops) = (Halt::GoesOn, 0);
                let new = Job { spec, state, attempts: 0, up: false, hosts, resizes: 0, halt, stops };
                self.jobs.insert(RunId { job, element: None }, new);
            }
            Change::Cancelled(run) => {
                let end = AttemptEnd::Ended(Why::Cancelled(1000));
                self.jobs.get_mut(&run).expect("it was there when it was cancelled").state = State::Done(end);
            }
            Change::Rewritten(run, blocks) => {
                self.jobs.get_mut(&run).expect("a job that waits is there").spec.blocks = blocks;
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

    fn wanted(&self) -> Vec<Wanted> {
        let jobs = self.jobs.iter().filter(|(_, job)| job.reads());
        let hosts: Vec<HostId> = (0..self.cpus.len() as u32).map(HostId).collect();
        let what = |spec| postcard::to_stdvec(spec).expect("a spec can be encoded");
        jobs.map(|(run, job)| Wanted { job: run.job, hosts: hosts.clone(), what: what(&job.spec) }).collect()
    }

    fn found(&mut self, job: JobId, probe: Option<&Probe>) {
        match probe {
            Some(probe) => drop(self.found.0.insert(job, probe.clone())),
            None => drop(self.found.0.remove(&job)),
        }
    }

    fn changes(&self, event: &Change) -> Option<JobId> {
        match event {
            Change::Submitted(..) => None,
            Change::Cancelled(run) | Change::Rewritten(run, _) => Some(run.job),
        }
    }

    fn lives(&self, job: JobId) -> bool {
        self.jobs.get(&RunId { job, element: None }).is_some_and(Job::lives)
    }

    fn is_probed(&self, job: JobId) -> bool {
        self.jobs.get(&RunId { job, element: None }).is_some_and(Job::reads)
    }

    fn launch(&self, begun: &Begun, _: &Place) -> Vec<u8> {
        postcard::to_stdvec(&self.jobs[&begun.id.run].spec).expect("a spec can be encoded")
    }

    fn decide(&mut self, now: Time) -> Decided {
        let mut free = self.free();
        for (host, cpus) in (0..).zip(&mut free) {
            *cpus *= u32::from(self.usable.0.contains(&HostId(host)));
        }
        let mut begins = Vec::new();
        let mut waiting: Vec<(&RunId, &Job)> =
            self.jobs.iter().filter(|(_, job)| job.state == State::Pending).collect();
        waiting.sort_by_key(|(_, job)| job.spec.rush == Rush::No);
        for (run, job) in waiting {
            let fits = (0..).zip(&free).filter(|(_, cpus)| **cpus >= job.spec.cpus).map(|(host, _)| host);
            let fits = fits.filter(|host| self.found.may_have(run.job, job, HostId(*host)));
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
        let begun: BTreeSet<RunId> = begins.iter().map(|begun| begun.id.run).collect();
        let mut paced = self.go_on(now, &mut free);
        let (stop, end) = self.make_room(&begun, &free);
        paced.extend(stop);
        let resized = self.jobs.iter().filter_map(|(run, job)| {
            let may = |host| self.found.may_have(run.job, job, host);
            resize(now, *run, (job, &may), &mut free)
        });
        let resized = resized.collect();
        Decided { begun: begins, resized, paced, end, again: false }
    }

    fn may_resize(&self, resized: &Resized) -> bool {
        self.jobs.get(&resized.id.run).is_some_and(|job| job.state == State::Running(resized.id))
    }

    fn wake(&self, now: Time) -> Option<Time> {
        let waits = |job: &Job| job.may_resize() || job.halt != Halt::GoesOn;
        self.jobs.values().any(waits).then(|| now.after(RESIZE_MS))
    }

    fn begun(&mut self, _: Time, begun: &Begun) {
        let job = self.jobs.get_mut(&begun.id.run).expect("a job that begins is there");
        job.attempts = begun.id.attempt.0;
        job.state = State::Running(begun.id);
        job.hosts = begun.places.iter().map(|place| place.host).collect();
        (job.resizes, job.halt, job.stops) = (0, Halt::GoesOn, 0);
    }

    fn paced(&mut self, _: Time, id: AttemptId, pace: Pace) {
        let job = self.jobs.get_mut(&id.run).expect("a job that runs is there");
        job.stops += u32::from(pace == Pace::Stop);
        job.halt = match pace {
            Pace::Stop => Halt::Stopping,
            Pace::Still => Halt::Still,
            Pace::GoOn => Halt::GoesOn,
        };
    }

    fn resized(&mut self, _: Time, resized: &Resized) {
        let job = self.jobs.get_mut(&resized.id.run).expect("a job that runs is there");
        job.resizes += 1;
        for place in &resized.places {
            if !job.hosts.contains(&place.host) {
                job.hosts.push(place.host);
            }
        }
    }

    fn left(&mut self, _: Time, id: AttemptId, host: HostId) {
        let job = self.jobs.get_mut(&id.run).expect("a job that runs is there");
        job.hosts.retain(|other| *other != host);
    }

    fn up(&mut self, _: Time, id: AttemptId) {
        self.jobs.get_mut(&id.run).expect("a job that runs is there").up = true;
    }

    fn ends(&mut self, _: Time, _: AttemptId, _: AttemptEnd) {}

    fn closed(&mut self, _: Time, id: AttemptId, end: AttemptEnd) {
        let job = self.jobs.get_mut(&id.run).expect("a job that ends is there");
        job.hosts.clear();
        (job.up, job.halt) = (false, Halt::GoesOn);
        job.state = match (end, job.spec.conduct) {
            (AttemptEnd::Ended(Why::Preempted | Why::Requeued) | AttemptEnd::NeverBegan, _) => State::Pending,
            (AttemptEnd::Lost, Conduct::Requeue | Conduct::Fenced) => State::Pending,
            _ => State::Done(end),
        };
    }
}

impl Found {
    /// Whether a job may have a host, as far as files go.
    fn may_have(&self, id: JobId, job: &Job, host: HostId) -> bool {
        !job.spec.reads || self.0.get(&id).and_then(|probe| probe.said(host)) == Some(Ok(()))
    }
}

impl SmallDesk {
    /// What is stopped goes on where its CPUs are free; what is on its way to stop now and then does, too.
    fn go_on(&self, now: Time, free: &mut [u32]) -> Vec<(AttemptId, Pace)> {
        let mut paced = Vec::new();
        for (run, job) in &self.jobs {
            let State::Running(id) = job.state else { continue };
            let fits = job.hosts.iter().all(|host| free[host.0 as usize] >= job.spec.cpus);
            if job.halt == Halt::Still && fits {
                job.hosts.iter().for_each(|host| free[host.0 as usize] -= job.spec.cpus);
                paced.push((id, Pace::GoOn));
            }
            if job.halt == Halt::Stopping && luck(now, *run)(6) == 0 {
                paced.push((id, Pace::GoOn));
            }
        }
        paced
    }

    /// The first in a rush that does not fit lets others make room: as many as it needs, in the order of their numbers.
    fn make_room(&self, begun: &BTreeSet<RunId>, free: &[u32]) -> (Vec<(AttemptId, Pace)>, Ends) {
        let (mut paced, mut end) = (Vec::new(), Vec::new());
        let waits = |(run, job): &(&RunId, &Job)| {
            job.state == State::Pending && job.spec.rush != Rush::No && !begun.contains(run)
        };
        let Some((first_run, first)) = self.jobs.iter().find(waits) else { return (paced, end) };
        let may = |host: HostId| self.found.may_have(first_run.job, first, host);
        // Room on a host without its file is of no use to it.
        let mut free: Vec<u32> =
            (0..).map(HostId).zip(free).map(|(host, cpus)| cpus * u32::from(may(host))).collect();
        let fits = |free: &[u32]| {
            free.iter().filter(|cpus| **cpus >= first.spec.cpus).count() >= first.spec.hosts as usize
        };
        for (run, job) in self.jobs.iter().filter(|(_, job)| job.up && job.spec.rush == Rush::No) {
            let State::Running(id) = job.state else { continue };
            if fits(&free) {
                break;
            }
            if !job.hosts.iter().any(|host| may(*host)) {
                continue;
            }
            match (first.spec.rush, job.halt) {
                (_, Halt::Stopping) => {}
                // What is stopped has something, too, that who ends it needs.
                (Rush::Ends(grace_ms), _) if job.attempts < MOST_ENDS => {
                    end.push((*run, Why::Preempted, grace_ms))
                }
                (Rush::Ends(_), _) | (_, Halt::Still) => continue,
                _ if job.stops >= MOST_STOPS => continue,
                _ => paced.push((id, Pace::Stop)),
            }
            if job.halt != Halt::Still {
                let usable = job.hosts.iter().filter(|host| self.usable.0.contains(host) && may(**host));
                usable.for_each(|host| free[host.0 as usize] += job.spec.cpus);
            }
        }
        (paced, end)
    }
}

/// What ends to make room.
type Ends = Vec<(RunId, Why, i64)>;

/// Draws that hang on the time and the job alone, so that stories are told twice alike.
fn luck(now: Time, run: RunId) -> impl FnMut(u64) -> u64 {
    let mut luck = (now.0 as u64 ^ u64::from(run.job.0) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move |of: u64| {
        luck = (luck ^ luck >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (luck >> 33) % of
    }
}

impl Job {
    fn lives(&self) -> bool {
        !matches!(self.state, State::Done(_))
    }

    fn reads(&self) -> bool {
        self.lives() && self.spec.reads
    }

    fn may_resize(&self) -> bool {
        self.up
            && self.halt == Halt::GoesOn
            && self.spec.most > 1
            && self.resizes < MOST_RESIZES
            && matches!(self.state, State::Running(_))
    }
}

/// Other hosts for a kernel step, at times and of a choice that hang on the time alone, so that stories are told twice
/// alike: some that it has go, and some that are free come.
fn resize(
    now: Time,
    run: RunId,
    (job, may): (&Job, &dyn Fn(HostId) -> bool),
    free: &mut [u32],
) -> Option<Resized> {
    let State::Running(id) = job.state else { return None };
    let mut draw = luck(now, run);
    if !job.may_resize() || draw(3) > 0 {
        return None;
    }
    let mut hosts = vec![*job.hosts.first()?];
    hosts.extend(job.hosts.iter().skip(1).filter(|_| draw(2) == 0));
    for host in (0..free.len() as u32).map(HostId) {
        let room = &mut free[host.0 as usize];
        let joins = *room >= job.spec.cpus && !job.hosts.contains(&host) && may(host);
        if joins && hosts.len() < job.spec.most as usize && draw(2) == 0 {
            *room -= job.spec.cpus;
            hosts.push(host);
        }
    }
    let role = |at| if at == 0 { Role::Batch } else { Role::Member };
    let places = hosts.into_iter().enumerate().map(|(at, host)| Place { host, role: role(at) });
    Some(Resized { id, places: places.collect(), plan: Vec::new() })
}
