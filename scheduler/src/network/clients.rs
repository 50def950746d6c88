//! Clients: machines that are no hosts of the pool, from where its user gives commands.
//!
//! Part of step 3 of a job's way (DESIGN section 4). Invariant: a client acts for the user whose pool it is, on that user's
//! jobs, and may nothing else: [`crate::door`] says so.

use super::RedeemError;
use super::agents::{network, redeem};
use super::members::Kind;
use super::tokens::Right;
use super::wire::{self, Joining};
use crate::api::{Api, Failure, From, Shared};
use crate::door::{Verb, Way};
use crate::engine::Down;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The largest request, in bytes.
const MOST_REQUEST: usize = 16 << 10;

/// A client that has logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientRow {
    /// Its name.
    pub client: String,
}

/// The routes of clients, of those who want to be, and of operators who let them.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(wire::LOGIN, post(log_in))
        .route("/v1/logout", post(log_out))
        .route("/v1/clients", get(clients))
        .route("/v1/clients/{client}/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(MOST_REQUEST))
}

async fn log_in(
    State(shared): Api,
    ConnectInfo(caller): From,
    Json(joining): Json<Joining>,
) -> Result<Json<Value>, Failure> {
    redeem(&shared, caller, joining, Right::LogIn).await
}

/// A client gives its own credential back.
async fn log_out(State(shared): Api, ConnectInfo(caller): From) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Look)?;
    let Way::Client(name) = caller.way else {
        return Err(Failure::new(StatusCode::CONFLICT, "who asks has not logged in"));
    };
    take_back(&shared, name).await
}

async fn clients(State(shared): Api, ConnectInfo(caller): From) -> Result<Json<Vec<ClientRow>>, Failure> {
    shared.allow(&caller, Verb::Admit)?;
    let known = shared.network.get().map(|network| network.clients()).unwrap_or_default();
    Ok(Json(known.into_iter().map(|client| ClientRow { client }).collect()))
}

async fn revoke(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(client): Path<String>,
) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Admit)?;
    take_back(&shared, client).await
}

async fn take_back(shared: &Shared, client: String) -> Result<Json<Value>, Failure> {
    let (network, name) = (network(shared)?, client.clone());
    let revoked = tokio::task::spawn_blocking(move || network.revoke(&name, Kind::Client)).await;
    if !revoked.map_err(|_| Down)?.map_err(|error| Failure::from(RedeemError::Member(error)))? {
        let what = format!("no client {client} has logged in: `muster clients` lists those that have");
        return Err(Failure::new(StatusCode::NOT_FOUND, what));
    }
    Ok(Json(json!({})))
}
