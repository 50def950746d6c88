//! The output of jobs, over the API: where it is, and what it says, wherever the job runs or ran.
//!
//! Part of step 3 of a job's way (DESIGN section 4). Hosts may share nothing: the host that writes the output reads it, too.

use crate::accounting;
use crate::api::{Api, Failure, From, Shared, no_job};
use crate::door::{Caller, Verb};
use crate::engine::{Down, View};
use crate::journal;
use crate::listing::{self, Streams};
use axum::Json;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use muster_core::cluster::HostId;
use muster_core::job::id::{JobId, RunId};
use muster_core::protocol::line::MOST_PIECE;
use muster_core::protocol::output::Stream;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a host may take to read a piece of a file.
const PATIENCE: Duration = Duration::from_secs(10);
/// The header that says whether nothing is added to the output any more.
pub const OVER: &str = "muster-over";

/// Which output, and from where on.
#[derive(Deserialize)]
pub(crate) struct Of {
    element: Option<u32>,
    /// Of its standard error, where that is a file of its own.
    #[serde(default)]
    error: bool,
    /// The first byte.
    #[serde(default)]
    from: u64,
}

/// Where a job's streams are, and on which host.
pub(crate) async fn streams(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    Query(of): Query<Of>,
) -> Result<Json<Streams>, Failure> {
    Ok(Json(find(&shared, &caller, (JobId(job), of.element)).await?))
}

/// What a job has written, from a byte on: as much as fits in an answer, and nothing at the end, or before it has begun.
pub(crate) async fn output(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(job): Path<u32>,
    Query(of): Query<Of>,
) -> Result<Response, Failure> {
    let Streams { output, error, over, host, user } =
        find(&shared, &caller, (JobId(job), of.element)).await?;
    let apart = of.error && error != output;
    let path = if of.error { error } else { output };
    let answer = |bytes: Vec<u8>| ([(OVER, over.to_string())], bytes).into_response();
    let Some(name) = host else { return Ok(answer(Vec::new())) };
    let stream = if apart { Stream::Error } else { Stream::Output };
    let (keeper, run) = (shared.clone(), RunId { job: JobId(job), element: of.element });
    let on = name.clone();
    let kept = move || keeper.returns.read(((run, stream), &on), (of.from, MOST_PIECE), over);
    if let Some(kept) = tokio::task::spawn_blocking(kept).await.map_err(|_| Down)? {
        let told = |error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{path}: {error}"));
        return Ok(answer(kept.map_err(told)?));
    }
    let failed = |status, what: &str| Failure::new(status, format!("{path} on host {name}: {what}"));
    let number = {
        let name = name.clone();
        let known = move |view: &View| view.clerk.books().hosts().iter().position(|host| host.name == name);
        shared.look(known).await?.and_then(|at| u32::try_from(at).ok())
    };
    let Some(number) = number else {
        return Err(failed(StatusCode::BAD_GATEWAY, "the pool has no such host any more"));
    };
    let (send, read) = oneshot::channel();
    let file = (path.clone(), of.from, user);
    shared.engine.read(HostId(number), file, move |read| drop(send.send(read)))?;
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(Ok(Some(bytes)))) => Ok(answer(bytes)),
        Ok(Ok(Ok(None))) if over => Err(failed(StatusCode::NOT_FOUND, "it is not there any more")),
        Ok(Ok(Ok(None))) => Ok(answer(Vec::new())),
        Ok(Ok(Err(why))) => Err(Failure::new(StatusCode::BAD_GATEWAY, format!("on host {name}, {why}"))),
        Ok(Err(_)) | Err(_) => {
            let what = "the host does not answer; `muster hosts` says how it stands";
            Err(failed(StatusCode::BAD_GATEWAY, what))
        }
    }
}

async fn find(
    shared: &Arc<Shared>,
    caller: &Caller,
    (job, element): (JobId, Option<u32>),
) -> Result<Streams, Failure> {
    shared.own(caller, job, Verb::Read).await?;
    let file = shared.journal.clone();
    let read = move || accounting::ran_on(&journal::open_to_read(&file)?, (job, element));
    let ran_on = tokio::task::spawn_blocking(read).await.map_err(|_| Down)?;
    let told = |error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("accounting: {error}"));
    let ran_on = ran_on.map_err(told)?;
    let keeper = shared.clone();
    let find = move |view: &View| listing::streams(view, (job, element), ran_on, &keeper.blobs);
    match shared.look(find).await? {
        Some(Ok(streams)) => Ok(streams),
        Some(Err(what)) => Err(Failure::new(StatusCode::CONFLICT, what)),
        None => Err(no_job(job)),
    }
}
