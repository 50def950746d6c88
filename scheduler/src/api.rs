//! The API: HTTP and JSON, version 1, the same over every listener.
//!
//! Step 3 of a job's way (DESIGN section 4). Every handler asks the door first. What changes something is answered once it
//! is on disk. Errors are `{"error": TEXT}` with the status that fits.

use crate::accounting;
use crate::blobs::Blobs;
use crate::door::{Caller, Denied, Verb, Way, Whose, may};
use crate::engine::{Down, Engine, View};
use crate::journal;
use crate::listing;
use crate::network::{Network, agents, clients};
use crate::output;
use crate::programs;
use crate::returns::Returns;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use muster_core::books::event::Event;
use muster_core::cluster::{Host, HostState};
use muster_core::job::event::{Elements, JobEvent};
use muster_core::job::hold::HeldBy;
use muster_core::job::id::{JobId, RunId};
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::JobSpec;
use muster_core::payload::Payload;
use muster_core::protocol::clerk::{Ask, Refusal, Told};
use muster_core::protocol::controller::{Answer, Request};
use muster_core::protocol::format::Format;
use muster_core::protocol::lease::Lease;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// The largest request: a script with its environment.
const MOST_BYTES: usize = 64 << 20;

/// Below are accounts of the system, where hosts do not say otherwise: those that say so refuse more of them.
const LEAST_UID: u32 = 500;

/// How many attempts of a job are shown with it.
const MOST_ATTEMPTS: u32 = 100;

/// What handlers share.
pub struct Shared {
    /// Who decides.
    pub engine: Engine,
    /// Scripts and environments.
    pub blobs: Arc<Blobs>,
    /// Output that has come back.
    pub returns: Arc<Returns>,
    /// The journal's file, for accounting.
    pub journal: PathBuf,
    /// The user as whom it runs.
    pub owner: u32,
    /// Whose pool it is.
    pub whose: Whose,
    /// The state directory.
    pub state: PathBuf,
    /// Told when somebody ends the pool.
    pub stop: Notify,
    /// How long agents may act unheard.
    pub rules: Lease,
    /// The door of other hosts, once it is open.
    pub network: OnceLock<Arc<Network>>,
}

pub(crate) type Api = State<Arc<Shared>>;
pub(crate) type From = ConnectInfo<Caller>;

/// A job to be taken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// What it asks for.
    pub spec: JobSpec,
    /// What it runs.
    pub payload: Payload,
}

/// Elements of an array, first and last of each range; all of the job where there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Which {
    /// The ranges.
    #[serde(default)]
    pub elements: Vec<(u32, u32)>,
}

/// Why a host is drained.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Because {
    /// In the operator's words.
    #[serde(default)]
    pub reason: String,
}

/// What is not done, and why.
#[derive(Debug)]
pub struct Failure(StatusCode, String);

impl Failure {
    pub(crate) fn new(status: StatusCode, what: impl Into<String>) -> Failure {
        Failure(status, what.into())
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (StatusCode, String) {
        (self.0, self.1)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl std::convert::From<Denied> for Failure {
    fn from(denied: Denied) -> Failure {
        Failure(StatusCode::FORBIDDEN, denied.to_string())
    }
}

impl std::convert::From<Down> for Failure {
    fn from(down: Down) -> Failure {
        Failure(StatusCode::SERVICE_UNAVAILABLE, down.to_string())
    }
}

/// All routes.
pub fn router(shared: Arc<Shared>) -> Router {
    let jobs = Router::new()
        .route("/", get(queue).post(submit))
        .route("/{job}", get(job))
        .route("/{job}/why", get(why))
        .route("/{job}/over", get(over))
        .route("/{job}/streams", get(output::streams))
        .route("/{job}/output", get(output::output))
        .route("/{job}/cancel", post(cancel))
        .route("/{job}/hold", post(hold))
        .route("/{job}/release", post(release))
        .route("/{job}/requeue", post(requeue));
    let hosts = Router::new()
        .route("/", get(hosts))
        .route("/{host}/drain", post(drain))
        .route("/{host}/resume", post(resume));
    Router::new()
        .route("/v1/pool", get(pool))
        .route("/v1/pool/down", post(down))
        .route("/v1/history", get(history))
        .nest("/v1/jobs", jobs)
        .nest("/v1/hosts", hosts)
        .merge(agents::routes())
        .merge(clients::routes())
        .nest("/v1/programs", programs::routes())
        .route("/openapi.json", get(|| async { Json(crate::openapi::document()) }))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(shared)
}

impl Shared {
    pub(crate) fn allow(&self, caller: &Caller, verb: Verb) -> Result<(), Failure> {
        Ok(may(caller, caller.role(self.owner, &self.whose), verb)?)
    }

    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (send, found) = oneshot::channel();
        self.engine.look(move |view| drop(send.send(look(view))))?;
        found.await.map_err(|_| Down.into())
    }

    /// Asks for a change, and says what was told when that is on disk.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Told, Failure> {
        if self.engine.is_stalled() {
            let what = "the journal's disk takes nothing: make room, and try again; nothing was lost";
            return Err(Failure(StatusCode::INSUFFICIENT_STORAGE, what.into()));
        }
        let (send, told) = oneshot::channel();
        self.engine.ask(Request::Desk(ask), move |answer| drop(send.send(answer)))?;
        match told.await.map_err(|_| Down)? {
            Answer::Desk(Told::Refused(refusal)) => Err(refused(refusal)),
            Answer::Desk(told) => Ok(told),
            Answer::GivenUp | Answer::StillHeard => Ok(Told::Done),
        }
    }

    /// Returns when a job is over, and that is on disk.
    async fn when_over(&self, job: JobId) -> Result<(), Failure> {
        let (send, ended) = oneshot::channel();
        self.engine.when_over(job, move || {
            let _ = send.send(());
        })?;
        ended.await.map_err(|_| Down.into())
    }

    /// The user's number of a job, if the caller may change it.
    pub(crate) async fn own(
        &self,
        caller: &Caller,
        job: JobId,
        verb: impl Fn(u32) -> Verb,
    ) -> Result<(), Failure> {
        let uid = self.look(move |view| view.clerk.books().job(job).map(|job| job.owner().uid)).await?;
        // Whoever may not look learns nothing of what there is.
        self.allow(caller, Verb::Look)?;
        self.allow(caller, verb(uid.ok_or_else(|| no_job(job))?))
    }
}

pub(crate) fn no_job(job: JobId) -> Failure {
    let what =
        format!("there is no job {job}, or it is forgotten: `muster history {job}` still knows what ended");
    Failure(StatusCode::NOT_FOUND, what)
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Books(error) => Failure(StatusCode::CONFLICT, error.to_string()),
        Refusal::Hopeless(why) => {
            let array = why.array.map(|error| error.to_string());
            let reasons: Vec<String> =
                array.into_iter().chain(why.reasons.iter().map(ToString::to_string)).collect();
            Failure(StatusCode::UNPROCESSABLE_ENTITY, reasons.join("; "))
        }
        Refusal::NotRunning(run) => {
            Failure(StatusCode::CONFLICT, format!("job {run} does not run: `muster queue` shows what does"))
        }
        Refusal::NotSite => {
            Failure(StatusCode::BAD_REQUEST, "jobs are not changed in this way: `muster --help`".into())
        }
    }
}

async fn pool(State(shared): Api, ConnectInfo(caller): From) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    let state = shared.state.display().to_string();
    let found = shared.look(move |view| {
        let books = view.clerk.books();
        json!({
            "version": env!("CARGO_PKG_VERSION"), "state": state, "term": view.standing.term.0,
            "hosts": books.hosts().len(), "jobs": books.jobs().filter(|job| job.ended().is_none()).count(),
            "running": books.live().filter(|(_, run)| run.state.holds().is_some()).count(), "now_ms": view.now.0,
        })
    });
    Ok(Json(found.await?))
}

async fn down(State(shared): Api, ConnectInfo(caller): From) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Admit)?;
    shared.stop.notify_one();
    Ok(Json(json!({})))
}

async fn submit(
    State(shared): Api,
    ConnectInfo(caller): From,
    Json(submission): Json<Submission>,
) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Submit)?;
    if matches!(shared.whose, Whose::Everybody { .. }) && caller.uid < LEAST_UID {
        let what = format!(
            "{} is an account of the system: jobs in this pool are those of people, submit as one",
            caller.user
        );
        return Err(Failure(StatusCode::FORBIDDEN, what));
    }
    let Submission { mut spec, mut payload } = submission;
    payload.client = match &caller.way {
        Way::Client(name) => Some(name.clone()),
        Way::Socket | Way::Host(_) | Way::Network(_) => None,
    };
    if spec.program.is_some_and(|program| !shared.blobs.has(program)) {
        let what = "the program of this job is not here: PUT it to /v1/programs/HASH first";
        return Err(Failure(StatusCode::CONFLICT, what.into()));
    }
    let bytes = Format::Message.encode(&payload);
    let keeper = shared.clone();
    let kept = tokio::task::spawn_blocking(move || keeper.blobs.put(&bytes)).await;
    let kept = kept.map_err(|_| Down)?;
    spec.payload = Some(kept.map_err(|error| {
        let what = format!("the script cannot be kept: {error}; make room in {}", shared.state.display());
        Failure(StatusCode::INSUFFICIENT_STORAGE, what)
    })?);
    let owner = Owner { uid: caller.uid, gid: caller.gid, user: caller.user };
    let submitted = Submitted { owner: Arc::new(owner), spec: Arc::new(spec) };
    match shared.ask(Ask::Submit(submitted)).await? {
        Told::Accepted(job) => Ok(Json(json!({ "job": job.0 }))),
        _ => Err(Down.into()),
    }
}

/// Of which jobs, and whether what is over is listed, too.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    all: bool,
}

async fn queue(
    State(shared): Api,
    ConnectInfo(caller): From,
    Query(listed): Query<Listed>,
) -> Result<Json<Vec<listing::JobRow>>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    Ok(Json(shared.look(move |view| listing::queue(view, None, listed.all)).await?))
}

async fn job(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
) -> Result<Json<listing::JobDetail>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    let job = JobId(job);
    let mut found = shared.look(move |view| listing::job(view, job)).await?.ok_or_else(|| no_job(job))?;
    // Of a job that is over, accounting says so by then.
    if found.over && !shared.engine.is_stalled() {
        shared.when_over(job).await?;
    }
    found.attempts = past(&shared, Some(job), MOST_ATTEMPTS).await?;
    found.attempts.retain(|past| past.attempt > 0);
    Ok(Json(found))
}

async fn why(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
) -> Result<Json<Vec<listing::WhyRow>>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    let job = JobId(job);
    let found = shared.look(move |view| view.clerk.books().job(job).map(|_| listing::why(view, job))).await?;
    found.map(Json).ok_or_else(|| no_job(job))
}

/// How long is waited at most for the end of a job.
#[derive(Deserialize)]
struct Patience {
    within_s: Option<u64>,
}

/// Answers when the job is over: with its attempts, from accounting; with none when it is not over in time.
async fn over(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    Query(patience): Query<Patience>,
) -> Result<Json<Vec<accounting::Past>>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    let over = shared.when_over(JobId(job));
    match patience.within_s {
        None => over.await?,
        Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), over).await {
            Ok(over) => over?,
            Err(_) => return Ok(Json(Vec::new())),
        },
    }
    let past = past(&shared, Some(JobId(job)), u32::MAX).await?;
    if past.is_empty() { Err(no_job(JobId(job))) } else { Ok(Json(past)) }
}

/// Which part of the past.
#[derive(Deserialize)]
struct Asked {
    job: Option<u32>,
    most: Option<u32>,
}

async fn history(
    State(shared): Api,
    ConnectInfo(caller): From,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<accounting::Past>>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    Ok(Json(past(&shared, asked.job.map(JobId), asked.most.unwrap_or(100)).await?))
}

async fn past(shared: &Arc<Shared>, job: Option<JobId>, most: u32) -> Result<Vec<accounting::Past>, Failure> {
    let file = shared.journal.clone();
    let read = move || accounting::history(&journal::open_to_read(&file)?, job, most);
    let found = tokio::task::spawn_blocking(read).await.map_err(|_| Down)?;
    found.map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, format!("accounting: {error}")))
}

async fn change(
    shared: &Arc<Shared>,
    (caller, job): (&Caller, u32),
    event: JobEvent,
) -> Result<Json<Value>, Failure> {
    shared.own(caller, JobId(job), Verb::Change).await?;
    shared.ask(Ask::Job(JobId(job), event)).await?;
    Ok(Json(json!({})))
}

fn elements(which: Option<Json<Which>>) -> Elements {
    match which {
        Some(Json(Which { elements })) if !elements.is_empty() => Elements::Ranges(elements),
        _ => Elements::All,
    }
}

async fn cancel(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    which: Option<Json<Which>>,
) -> Result<Json<Value>, Failure> {
    let event = JobEvent::Cancelled { of: elements(which), by: caller.uid };
    change(&shared, (&caller, job), event).await
}

async fn hold(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    which: Option<Json<Which>>,
) -> Result<Json<Value>, Failure> {
    change(&shared, (&caller, job), JobEvent::Held { of: elements(which), by: HeldBy::User }).await
}

async fn release(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    which: Option<Json<Which>>,
) -> Result<Json<Value>, Failure> {
    change(&shared, (&caller, job), JobEvent::Released { of: elements(which), by: HeldBy::User }).await
}

async fn requeue(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    which: Option<Json<Which>>,
) -> Result<Json<Value>, Failure> {
    shared.own(&caller, JobId(job), Verb::Change).await?;
    let of = elements(which);
    let meant = move |view: &View| {
        let job = view.clerk.books().job(JobId(job));
        let in_ranges = |at: Option<u32>| match (&of, at) {
            (Elements::All, _) | (_, None) => true,
            (Elements::Ranges(ranges), Some(at)) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&at))
            }
        };
        let live = job.into_iter().flat_map(|job| job.live()).map(|(run, _)| run);
        live.filter(|run| in_ranges(run.element)).collect::<Vec<RunId>>()
    };
    let runs = shared.look(meant).await?;
    if runs.is_empty() {
        return Err(refused(Refusal::NotRunning(RunId { job: JobId(job), element: None })));
    }
    for run in runs {
        shared.ask(Ask::Requeue(run)).await?;
    }
    Ok(Json(json!({})))
}

async fn hosts(
    State(shared): Api,
    ConnectInfo(caller): From,
) -> Result<Json<Vec<listing::HostRow>>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    Ok(Json(shared.look(listing::hosts).await?))
}

async fn drain(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(host): Path<String>,
    because: Option<Json<Because>>,
) -> Result<Json<Value>, Failure> {
    let reason = because.map_or(String::new(), |Json(because)| because.reason);
    set_state(&shared, (&caller, host), HostState::Drained { reason }).await
}

async fn resume(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(host): Path<String>,
) -> Result<Json<Value>, Failure> {
    set_state(&shared, (&caller, host), HostState::Up).await
}

async fn set_state(
    shared: &Arc<Shared>,
    (caller, name): (&Caller, String),
    state: HostState,
) -> Result<Json<Value>, Failure> {
    shared.allow(caller, Verb::Operate)?;
    let asked = name.clone();
    let host = shared.look(move |view| view.clerk.books().host(&asked).cloned()).await?;
    let Some(host) = host else {
        let what = format!("there is no host {name}: `muster hosts` lists them");
        return Err(Failure(StatusCode::NOT_FOUND, what));
    };
    shared.ask(Ask::Site(Event::Host(Box::new(Host { state, ..host })))).await?;
    Ok(Json(json!({})))
}
