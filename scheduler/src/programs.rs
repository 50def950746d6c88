//! Programs of users: what has a kernel of theirs goes to the hosts of its jobs by its hash, as their scripts do.
//!
//! Part of step 3 of a job's way (DESIGN section 4). A program is put before the job that needs it, once.

use crate::api::{Api, Failure, From, Shared};
use crate::door::Verb;
use crate::engine::Down;
use axum::body::Bytes;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use muster_core::payload::BlobId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The largest program, in bytes.
pub const MOST_PROGRAM: usize = 512 << 20;

/// Whether the pool has a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// It has; a job that is submitted within some minutes may name it.
    pub kept: bool,
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/{program}", get(has).put(put)).layer(DefaultBodyLimit::max(MOST_PROGRAM))
}

async fn has(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(program): Path<String>,
) -> Result<Json<Kept>, Failure> {
    shared.allow(&caller, Verb::Submit)?;
    let kept = shared.blobs.has(named(&program)?);
    Ok(Json(Kept { kept }))
}

async fn put(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(program): Path<String>,
    bytes: Bytes,
) -> Result<Json<Kept>, Failure> {
    shared.allow(&caller, Verb::Submit)?;
    let (id, keeper) = (named(&program)?, shared.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let is_it = blake3::hash(&bytes).as_bytes() == &id.0;
        is_it.then(|| keeper.blobs.put(&bytes))
    });
    match kept.await.map_err(|_| Down)? {
        Some(Ok(_)) => Ok(Json(Kept { kept: true })),
        Some(Err(error)) => {
            let what =
                format!("the program cannot be kept: {error}; make room in {}", shared.state.display());
            Err(Failure::new(StatusCode::INSUFFICIENT_STORAGE, what))
        }
        None => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "what came is not the program of this hash: send it again",
        )),
    }
}

fn named(program: &str) -> Result<BlobId, Failure> {
    program.parse().map_err(|error: muster_core::payload::NotABlobId| {
        Failure::new(StatusCode::BAD_REQUEST, error.to_string())
    })
}
