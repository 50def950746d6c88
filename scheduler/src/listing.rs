//! What the pool shows of its jobs and hosts: rows that encode as JSON, and are printed as tables.

use crate::accounting::Past;
use crate::blobs::Blobs;
use crate::engine::View;
use crate::returns::Destination;
use muster_core::ceilings::Ceilings;
use muster_core::cluster::{Allocation, HostId, HostState};
use muster_core::decide::decision::{Decided, Decision};
use muster_core::decide::reason::{self, Reason};
use muster_core::job::array::Array;
use muster_core::job::id::{JobId, RunId};
use muster_core::job::state::{Run, State};
use muster_core::job::{Body, Job};
use muster_core::jobspec::JobSpec;
use muster_core::payload::Payload;
use muster_core::protocol::format::Format;
use muster_core::protocol::output::{OutputFile, Stream, StreamId};
use muster_slurm::pattern::{Names, default_output, fill};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A job, an element of an array, or elements that wait alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRow {
    /// `12`, `12_3`, or `12_[4-9]` for elements that wait alike.
    pub job: String,
    /// The job's number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Whose.
    pub user: String,
    /// Its partition, or those that it may start in.
    pub partition: String,
    /// Its state, in Slurm's word.
    pub state: String,
    /// Why it waits, in Slurm's word.
    pub reason: Option<String>,
    /// How many elements the row is of.
    pub elements: u32,
    /// How often it was started.
    pub attempts: u32,
    /// CPUs of one element: what it has, or what it asks for.
    pub cpus: u32,
    /// Hosts of one element: what it has, or what it asks for.
    pub nodes: u32,
    /// On which hosts it is, by commas.
    pub hosts: String,
    /// When it was submitted, milliseconds since 1970.
    pub submitted_ms: i64,
    /// When it was given its hosts, milliseconds since 1970.
    pub started_ms: Option<i64>,
    /// When it ended, milliseconds since 1970.
    pub ended_ms: Option<i64>,
    /// Its time limit, seconds.
    pub limit_s: Option<u64>,
    /// How it ended: exit code and signal.
    pub exit: Option<(u8, u8)>,
}

/// Everything about a job.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobDetail {
    /// Its rows, as the queue shows them.
    pub rows: Vec<JobRow>,
    /// Whose: number.
    pub uid: u32,
    /// What it asks for.
    #[schemars(with = "serde_json::Value")]
    pub spec: JobSpec,
    /// Whether all of it is over.
    pub over: bool,
    /// Its attempts, the newest first: how they ended, and what they used.
    pub attempts: Vec<Past>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostRow {
    /// Its name.
    pub host: String,
    /// `up`, `drained`, `down`, or `silent` when its agent is not heard.
    pub state: String,
    /// Why, where an operator or the pool said so.
    pub reason: Option<String>,
    /// Cores of each NUMA domain.
    pub domains: Vec<u32>,
    /// Cores in all.
    pub cores: u32,
    /// Cores that jobs hold.
    pub cores_held: u32,
    /// Memory, mebibytes.
    pub memory_mib: u64,
    /// Memory that jobs hold, mebibytes.
    pub memory_held_mib: u64,
    /// GPUs, by their types.
    pub gpus: Vec<String>,
    /// What all its cores reach together, once it is measured.
    #[schemars(with = "Option<BTreeMap<String, u64>>")]
    pub ceilings: Option<Ceilings>,
    /// Its partitions.
    pub partitions: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// How many jobs or elements have something of it.
    pub running: u32,
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyRow {
    /// Of which job or elements.
    pub job: String,
    /// How many elements it is about.
    pub elements: u32,
    /// What is decided: `start`, `reserve`, `preempt`, `wait` or `refuse`.
    pub decision: String,
    /// When it is promised a start, milliseconds since 1970.
    pub promised_ms: Option<i64>,
    /// When it starts by the estimates of what runs and waits, milliseconds since 1970.
    pub foretold_ms: Option<i64>,
    /// Every reason: Slurm's word, and a sentence.
    pub reasons: Vec<(String, String)>,
}

/// Rows of all jobs that are not over, or of all that are remembered; of one job, or of all.
pub fn queue(view: &View, only: Option<JobId>, over_too: bool) -> Vec<JobRow> {
    let books = view.clerk.books();
    let reasons = match only {
        Some(job) => by_job(view.clerk.why(job, view.now)),
        None if books.waiting().next().is_some() => by_job(view.clerk.decisions(view.now)),
        None => BTreeMap::new(),
    };
    let shown = |job: &&Job| over_too || job.ended().is_none();
    let jobs: Vec<&Job> = match only {
        Some(id) => books.job(id).into_iter().collect(),
        None => books.jobs().filter(shown).collect(),
    };
    jobs.into_iter().flat_map(|job| rows(view, job, &reasons)).collect()
}

/// Everything about a job but its attempts; none when there is no such job, or it is forgotten.
pub fn job(view: &View, id: JobId) -> Option<JobDetail> {
    let job = view.clerk.books().job(id)?;
    Some(JobDetail {
        rows: queue(view, Some(id), true),
        uid: job.owner().uid,
        spec: JobSpec::clone(job.spec()),
        over: job.ended().is_some(),
        attempts: Vec::new(),
    })
}

type Words = BTreeMap<JobId, Vec<Decided>>;

fn by_job(decided: Vec<Decided>) -> Words {
    let mut words = Words::new();
    for one in decided {
        words.entry(one.run.job).or_default().push(one);
    }
    words
}

fn rows(view: &View, job: &Job, words: &Words) -> Vec<JobRow> {
    match job.body() {
        Body::One(run) => vec![row(view, job, run, None).reasoned(words.get(&job.id()))],
        Body::Array(array) => array_rows(view, job, array, words),
    }
}

/// Elements that hold hosts or were started one by one, the others in spans.
fn array_rows(view: &View, job: &Job, array: &Array, words: &Words) -> Vec<JobRow> {
    let indices = array.indices();
    let mut rows: Vec<JobRow> = Vec::new();
    for (first, last, run) in array.spans(job.gate()) {
        let written = match (indices.index(first), indices.index(last)) {
            (first, last) if first == last => first.to_string(),
            (from, to) => {
                let step = indices.index(first + 1) - from;
                if step == 1 { format!("{from}-{to}") } else { format!("{from}-{to}:{step}") }
            }
        };
        let elements = last - first + 1;
        let mut new = row(view, job, &run, Some(elements));
        let alike = run.state.placed().is_none();
        // Spans between those that run are one row, as long as they wait alike.
        let same = |row: &&mut JobRow| {
            (&row.state, row.attempts, row.ended_ms) == (&new.state, new.attempts, new.ended_ms)
                && row.started_ms.is_none()
        };
        match rows.iter_mut().rev().find(same).filter(|_| alike) {
            Some(before) => {
                before.job = format!("{},{written}]", before.job.trim_end_matches(']'));
                before.elements += elements;
            }
            None => {
                new.job = if alike {
                    format!("{}_[{written}]", job.id())
                } else {
                    format!("{}_{written}", job.id())
                };
                rows.push(new);
            }
        }
    }
    rows.into_iter().map(|row| row.reasoned(words.get(&job.id()))).collect()
}

impl JobRow {
    fn reasoned(mut self, decided: Option<&Vec<Decided>>) -> JobRow {
        if self.state == "PENDING" {
            let reasons: Vec<Reason> =
                decided.into_iter().flatten().flat_map(|one| one.decision.reasons()).cloned().collect();
            self.reason = Some(reason::word(&reasons).to_owned());
        }
        self
    }
}

fn row(view: &View, job: &Job, run: &Run, elements: Option<u32>) -> JobRow {
    let (spec, placed) = (job.spec(), run.state.placed());
    let asked = || match &spec.queue.partitions[..] {
        [] => view.clerk.books().default_partition().map_or(String::new(), |p| p.name.clone()),
        names => names.join(","),
    };
    let parts = placed.map(|placed| &placed.on.allocation.parts);
    let done = match &run.state {
        State::Done(done) => Some(done),
        _ => None,
    };
    JobRow {
        job: job.id().to_string(),
        id: job.id().0,
        name: spec.name.clone(),
        user: job.owner().user.clone(),
        partition: placed.map_or_else(asked, |placed| placed.on.partition.clone()),
        state: run.state.word().to_owned(),
        reason: None,
        elements: elements.unwrap_or(1),
        attempts: run.attempts,
        cpus: parts.map_or(spec.size.cpus(), |parts| parts.iter().map(|part| part.cpus()).sum()),
        nodes: parts.map_or(spec.size.nodes, |parts| parts.len() as u32),
        hosts: placed.map_or(String::new(), |placed| names(view, &placed.on.allocation)),
        submitted_ms: job.submitted().0,
        started_ms: placed.map(|p| p.started.0).or(done.and_then(|done| done.started).map(|at| at.0)),
        ended_ms: done.map(|done| done.ended.0),
        limit_s: placed.map_or(spec.time_limit_s, |placed| placed.on.limit_s),
        exit: done.map(|done| crate::accounting::exit_code(done.outcome)),
    }
}

fn names(view: &View, on: &Allocation) -> String {
    let hosts = view.clerk.books().hosts();
    let name = |host: HostId| hosts.get(host.0 as usize).map_or("", |host| &host.name);
    on.parts.iter().map(|part| name(part.host)).collect::<Vec<&str>>().join(",")
}

/// All hosts, by their numbers.
pub fn hosts(view: &View) -> Vec<HostRow> {
    let books = view.clerk.books();
    let mut held: BTreeMap<HostId, (u32, u64, u32)> = BTreeMap::new();
    let placed = books.live().filter_map(|(_, run)| run.state.holds());
    for part in placed.flat_map(|placed| &placed.on.allocation.parts) {
        let (cores, memory, running) = held.entry(part.host).or_default();
        *cores += part.cpus();
        *memory += part.memory();
        *running += 1;
    }
    let row = |(number, host): (HostId, &muster_core::cluster::Host)| {
        let (state, reason) = match &host.state {
            HostState::Up if !view.clerk.is_usable(number) => ("silent", None),
            HostState::Up => ("up", None),
            HostState::Drained { reason } => ("drained", Some(reason.clone())),
            HostState::Down { reason } => ("down", Some(reason.clone())),
        };
        let (cores_held, memory_held_mib, running) = held.get(&number).copied().unwrap_or_default();
        HostRow {
            host: host.name.clone(),
            state: state.to_owned(),
            reason,
            domains: host.shape.domains.iter().map(|domain| domain.cores).collect(),
            cores: host.shape.cores(),
            cores_held,
            memory_mib: host.shape.memory_mib(),
            memory_held_mib,
            gpus: host.shape.gpus.iter().map(|gpu| gpu.kind.clone()).collect(),
            ceilings: view.ceilings.get(&number).copied(),
            partitions: host.partitions.iter().cloned().collect(),
            labels: host.labels.iter().cloned().collect(),
            running,
        }
    };
    (0..).map(HostId).zip(books.hosts()).map(row).collect()
}

/// Where a job's streams are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Streams {
    /// Its standard output.
    pub output: String,
    /// Its standard error, which may be the same.
    pub error: String,
    /// Whether nothing is added any more.
    pub over: bool,
    /// The host that writes them, or has; none when nothing has begun.
    pub host: Option<String>,
    /// Whose job it is.
    pub user: String,
}

/// Where the streams of a job, or of an element, are, which has run on the host of this name, if it has; none when there is
/// no such job.
pub fn streams(
    view: &View,
    (id, element): (JobId, Option<u32>),
    ran_on: Option<String>,
    blobs: &Blobs,
) -> Option<Result<Streams, String>> {
    let job = view.clerk.books().job(id)?;
    let Some(run) = job.run(element) else {
        return Some(Err(format!(
            "job {id} is an array, or is none: name an element as {id}_3, or leave it out"
        )));
    };
    let spec = job.spec();
    let payload = match payload(spec, blobs) {
        Ok(payload) => payload,
        Err(what) => return Some(Err(what)),
    };
    let first = run.state.placed().and_then(|placed| placed.on.allocation.parts.first());
    let host = first.and_then(|part| view.clerk.books().hosts().get(part.host.0 as usize));
    let host = host.map(|host| host.name.clone()).or(ran_on);
    let (output, error) = paths(job, element, &payload, host.as_deref().unwrap_or(&payload.submit_host));
    let user = job.owner().user.clone();
    Some(Ok(Streams { output, error, over: matches!(run.state, State::Done(_)), host, user }))
}

fn payload(spec: &JobSpec, blobs: &Blobs) -> Result<Payload, String> {
    let blob = spec.payload.ok_or_else(|| "it runs nothing".to_owned())?;
    let bytes = blobs.get(blob).map_err(|error| format!("its script cannot be read: {error}"))?;
    Format::Message.decode::<Payload>(&bytes).map_err(|error| error.to_string())
}

/// The files of a job that runs on this host.
fn paths(job: &Job, element: Option<u32>, payload: &Payload, host: &str) -> (String, String) {
    let (id, spec) = (u64::from(job.id().0), job.spec());
    let names = Names {
        job: id,
        element: element.map(|element| (id, element)),
        name: spec.name.clone(),
        host: host.split('.').next().unwrap_or_default().to_owned(),
        user: job.owner().user.clone(),
    };
    let folder = Path::new(&payload.submit_dir);
    let folder = spec.files.chdir.as_ref().map_or(folder.to_owned(), |chdir| folder.join(chdir));
    let path = |pattern: &str| folder.join(fill(pattern, &names)).to_string_lossy().into_owned();
    let output = path(spec.files.output.as_deref().unwrap_or(default_output(element.is_some())));
    let error = spec.files.error.as_deref().map_or(output.clone(), path);
    (output, error)
}

/// Where a stream of an attempt that is open goes, which does not share its submit directory, if it was submitted on host
/// `to`; none where that cannot be told.
pub(crate) fn destination(
    view: &View,
    (id, stream): StreamId,
    blobs: &Blobs,
    to: Option<HostId>,
) -> Option<Destination> {
    let (job, hosts) = (view.clerk.books().job(id.run.job)?, view.clerk.books().hosts());
    let open = view.standing.attempt(id)?;
    let host = hosts.get(open.batch().0 as usize)?.name.clone();
    let payload = payload(job.spec(), blobs).ok()?;
    let (output, error) = paths(job, id.run.element, &payload, &host);
    let path = match stream {
        Stream::Output => output,
        Stream::Error => error,
    };
    let (append, mode) = (job.spec().files.append, 0o666 & !payload.umask & 0o777);
    let file = OutputFile { path, append, mode, user: job.owner().user.clone() };
    // Where the pool has no host of its own, the machine of its socket has joined it under its name.
    let named = || {
        let at = hosts.iter().position(|host| host.name == payload.submit_host)?;
        u32::try_from(at).ok().map(HostId)
    };
    // A client's directory is on no host of the pool, though one may have the same name.
    let to = to.or_else(named).filter(|_| payload.client.is_none());
    Some(Destination { to, host, file })
}

/// Why a job waits, group by group; nothing when nothing of it does.
pub fn why(view: &View, id: JobId) -> Vec<WhyRow> {
    /// So many starts are foretold before one gives up.
    const STARTS: usize = 5_000;
    let decided = view.clerk.why(id, view.now);
    if decided.is_empty() {
        return Vec::new();
    }
    let horizon = muster_core::decide::forecast::Horizon::starts(STARTS, view.now);
    let foretold = view.clerk.forecast(view.now, horizon);
    let at = |run: RunId| {
        let of = |start: &&muster_core::decide::forecast::Foretold| match run.element {
            Some(_) => start.run == run,
            None => start.run.job == run.job,
        };
        foretold.iter().find(of).map(|start| start.at.0)
    };
    let row = |one: Decided| {
        let (decision, promised_ms) = match &one.decision {
            Decision::Start(..) => ("start", None),
            Decision::Reserve { at, .. } => ("reserve", Some(at.0)),
            Decision::Preempt(_) => ("preempt", None),
            Decision::Wait(_) => ("wait", None),
            Decision::Refuse(_) => ("refuse", None),
        };
        let reasons = one.decision.reasons().iter();
        WhyRow {
            job: one.run.to_string(),
            elements: one.elements,
            decision: decision.to_owned(),
            promised_ms,
            foretold_ms: at(one.run),
            reasons: reasons.map(|reason| (reason.word().to_owned(), reason.to_string())).collect(),
        }
    };
    decided.into_iter().map(row).collect()
}
