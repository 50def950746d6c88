//! What the agents of joined hosts ask for: to join, to be known with what their host has, their line, and what jobs run.
//!
//! Step 7 of a job's way goes through here (DESIGN section 4). Invariants: a message counts as one of the host whose
//! credential opened its line; a host has one line, the newest; what a job runs is given to hosts that have something of
//! it to do now, and to no other, for a payload holds its user's environment, secrets included.

use super::secret::Secret;
use super::tokens::Right;
use super::wire::{self, Described, Greeting, Invitation, Joining, MOST_MESSAGE, Wanted};
use super::{Network, RedeemError};
use crate::api::{Api, Failure, From, Shared};
use crate::door::{Caller, Verb, Way, Whose};
use crate::engine::{Down, View};
use crate::network::members::{Kind, MemberError};
use crate::network::tokens::TokenError;
use crate::pool::{PARTITION, warn_of_memory};
use axum::body::Bytes;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use muster_core::books::event::Event;
use muster_core::cluster::{Host, HostId};
use muster_core::payload::BlobId;
use muster_core::protocol::clerk::Ask;
use muster_core::protocol::format::Format;
use muster_core::protocol::line::{FromHost, ToHost};
use muster_core::protocol::probe::ProbeId;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// The largest request that is no message: a host with many domains and labels.
const MOST_REQUEST: usize = 256 << 10;
/// How many labels a host may have.
const MOST_LABELS: usize = 64;
/// How many messages may wait for a host; more are lost, and said again.
const MOST_WAITING: usize = 256;
/// How long a host may take to receive one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The routes of agents, of those who want to be, and of operators who let them.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(wire::JOIN, post(join))
        .route(wire::AGENT, post(describe))
        .route(wire::LINE, get(line))
        .route(&format!("{}/{{blob}}", wire::BLOBS), get(blob))
        .route("/v1/tokens", post(token))
        .route("/v1/hosts/{host}/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(MOST_REQUEST))
}

impl std::convert::From<RedeemError> for Failure {
    fn from(error: RedeemError) -> Failure {
        let status = match &error {
            RedeemError::Token(TokenError::TooMany) => StatusCode::TOO_MANY_REQUESTS,
            RedeemError::Token(_) => StatusCode::FORBIDDEN,
            RedeemError::Own(_) | RedeemError::Member(MemberError::Taken(..)) => StatusCode::CONFLICT,
            RedeemError::Member(MemberError::NotAName(..)) => StatusCode::BAD_REQUEST,
            RedeemError::Member(MemberError::Disk { .. }) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Failure::new(status, error.to_string())
    }
}

pub(super) fn network(shared: &Shared) -> Result<Arc<Network>, Failure> {
    let what = "the pool listens on no network: `muster down`, then `muster up --listen ADDRESS`";
    shared.network.get().cloned().ok_or_else(|| Failure::new(StatusCode::CONFLICT, what))
}

async fn token(
    State(shared): Api,
    ConnectInfo(caller): From,
    wanted: Option<Json<Wanted>>,
) -> Result<Json<Invitation>, Failure> {
    shared.allow(&caller, Verb::Admit)?;
    let network = network(&shared)?;
    let login = wanted.is_some_and(|Json(wanted)| wanted.login);
    if login && shared.whose != Whose::Own {
        let what = "a pool of all users takes commands on its own machine alone, where the system says who gives them";
        return Err(Failure::new(StatusCode::CONFLICT, what));
    }
    let token = network.make_token(if login { Right::LogIn } else { Right::Join });
    let token = token.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(Invitation { place: network.place(), token: token.text().to_owned() }))
}

async fn revoke(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(host): Path<String>,
) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Admit)?;
    let (network, name) = (network(&shared)?, host.clone());
    let revoked =
        tokio::task::spawn_blocking(move || network.revoke(&name, Kind::Host)).await.map_err(|_| Down)?;
    if !revoked.map_err(|error| Failure::from(RedeemError::Member(error)))? {
        let what = format!("no host {host} has joined: `muster hosts` lists the pool's hosts");
        return Err(Failure::new(StatusCode::NOT_FOUND, what));
    }
    if let Some(number) = shared.look(move |view| number(view, &host)).await? {
        // The line that it had, if it had one, ends with this.
        shared.engine.line(number, Box::new(drop))?;
    }
    Ok(Json(json!({})))
}

async fn join(
    State(shared): Api,
    ConnectInfo(caller): From,
    Json(joining): Json<Joining>,
) -> Result<Json<Value>, Failure> {
    redeem(&shared, caller, joining, Right::Join).await
}

/// Takes a token for a credential.
pub(super) async fn redeem(
    shared: &Shared,
    caller: Caller,
    joining: Joining,
    right: Right,
) -> Result<Json<Value>, Failure> {
    shared.allow(&caller, Verb::Redeem)?;
    let Way::Network(from) = caller.way else { return Err(Down.into()) };
    let network = network(shared)?;
    let redeem = move || {
        // What cannot be a token is counted as any wrong one.
        let token = Secret::read(&joining.token).map_or_else(Secret::make, Ok);
        let token =
            token.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok::<_, Failure>(network.redeem((&token, from), right, &joining.name, joining.credential)?)
    };
    tokio::task::spawn_blocking(redeem).await.map_err(|_| Down)??;
    Ok(Json(json!({})))
}

/// The host whose agent asks.
fn host_of(way: &Way) -> Result<String, Failure> {
    match way {
        Way::Host(name) => Ok(name.clone()),
        Way::Socket | Way::Client(_) | Way::Network(_) => Err(Down.into()),
    }
}

fn number(view: &View, name: &str) -> Option<HostId> {
    let hosts = view.clerk.books().hosts();
    hosts.iter().position(|host| host.name == name).map(|number| HostId(number as u32))
}

/// The number of a host that has said what it is.
async fn number_of(shared: &Shared, name: &str) -> Result<HostId, Failure> {
    let asked = name.to_owned();
    let found = shared.look(move |view| number(view, &asked)).await?;
    found.ok_or_else(|| {
        Failure::new(
            StatusCode::CONFLICT,
            format!("host {name} has not said what it has: run `muster join` again"),
        )
    })
}

async fn describe(
    State(shared): Api,
    ConnectInfo(caller): From,
    Json(described): Json<Described>,
) -> Result<Json<Greeting>, Failure> {
    shared.allow(&caller, Verb::Agent)?;
    let name = host_of(&caller.way)?;
    let asked = name.clone();
    let known = shared.look(move |view| view.clerk.books().host(&asked).cloned()).await?;
    let Described { shape, labels } = described;
    if labels.len() > MOST_LABELS || labels.iter().any(|label| label.chars().any(char::is_control)) {
        let what = format!("a host has at most {MOST_LABELS} labels, on one line each");
        return Err(Failure::new(StatusCode::BAD_REQUEST, what));
    }
    let same = |known: &&Host| known.labels == labels && shape.goes_on_as(&known.shape);
    if let Some(known) = known.as_ref().filter(same) {
        warn_of_memory(known, &shape);
    } else {
        // Whoever has drained it has not resumed it.
        let partitions = [PARTITION.to_owned()].into();
        let host = known.unwrap_or_else(|| Host { partitions, ..Host::new(name.as_str(), shape.clone()) });
        shared.ask(Ask::Site(Event::Host(Box::new(Host { shape, labels, ..host })))).await?;
    }
    Ok(Json(Greeting { host: name, rules: shared.rules }))
}

async fn line(
    State(shared): Api,
    ConnectInfo(caller): From,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    shared.allow(&caller, Verb::Agent)?;
    let host = number_of(&shared, &host_of(&caller.way)?).await?;
    let upgrade = upgrade.max_message_size(MOST_MESSAGE).max_frame_size(MOST_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| async move { talk(&shared, host, socket).await }))
}

/// Carries messages both ways until one end goes, or the host gets another line.
async fn talk(shared: &Shared, host: HostId, mut socket: WebSocket) {
    let (send, mut for_host) = mpsc::channel::<ToHost>(MOST_WAITING);
    let line = move |to: ToHost| drop(send.try_send(to));
    if shared.engine.line(host, Box::new(line)).is_err() {
        return;
    }
    let silence = Duration::from_millis(shared.rules.length_ms.unsigned_abs());
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            message = for_host.recv() => {
                let Some(message) = message else { break };
                let bytes = Format::Message.encode(&message);
                if bytes.len() > MOST_MESSAGE {
                    eprintln!("muster: error: a message of {} bytes for host {} is too large to send", bytes.len(), host.0);
                    continue;
                }
                match timeout(PATIENCE, socket.send(Message::Binary(bytes.into()))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => break,
                }
            }
            frame = timeout_at(heard + silence, socket.recv()) => match frame {
                Ok(Some(Ok(Message::Binary(bytes)))) => {
                    heard = Instant::now();
                    let Ok(said) = Format::Message.decode::<FromHost>(&bytes) else { break };
                    if shared.engine.host(host, said).is_err() {
                        break;
                    }
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Text(_) | Message::Close(_)) | Err(_)) | None) | Err(_) => break,
            },
        }
    }
}

async fn blob(
    State(shared): Api,
    ConnectInfo(caller): From,
    Path(blob): Path<String>,
) -> Result<Bytes, Failure> {
    shared.allow(&caller, Verb::Fetch)?;
    let name = host_of(&caller.way)?;
    let none = || {
        let what = format!("nothing that host {name} has to do runs this");
        Failure::new(StatusCode::NOT_FOUND, what)
    };
    let id = blob.parse::<BlobId>().map_err(|_| none())?;
    let host = number_of(&shared, &name).await?;
    if !shared.look(move |view| is_due(view, id, host)).await? {
        return Err(none());
    }
    let keeper = shared.clone();
    let read = tokio::task::spawn_blocking(move || keeper.blobs.get(id)).await.map_err(|_| Down)?;
    let bytes = read.map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the script of this job cannot be read: {error}"),
        )
    })?;
    Ok(bytes.into())
}

/// Whether a host has something to do now that is in this blob: an attempt that is not over there, or a look for files.
fn is_due(view: &View, blob: BlobId, host: HostId) -> bool {
    let (standing, books) = (view.standing, view.clerk.books());
    let has = |spec: &muster_core::jobspec::JobSpec| spec.blobs().any(|of| of == blob);
    let is_in = |job| books.job(job).is_some_and(|job| has(job.spec()));
    let here = |open: &muster_core::protocol::standing::Open| {
        open.parts.get(&host).is_some_and(|part| part.over.is_none())
    };
    let look = |job| ProbeId { job, look: standing.probes.get(&job).map_or(0, |probe| probe.look()) };
    standing.open.iter().any(|(run, open)| here(open) && is_in(run.job))
        || books.jobs().any(|job| has(job.spec()) && standing.awaits(look(job.id()), host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Running};
    use crate::journal::Journal;
    use crate::pool::fresh;
    use crossbeam_channel::{Receiver, bounded, unbounded};
    use muster_core::books::partition::Partition;
    use muster_core::cluster::Shape;
    use muster_core::job::outcome::Outcome;
    use muster_core::job::{Owner, Submitted};
    use muster_core::jobspec::JobSpec;
    use muster_core::protocol::clerk::Told;
    use muster_core::protocol::controller::{Answer, Request};
    use muster_core::protocol::lease::Lease;
    use muster_core::protocol::message::{Ended, Ending, Holding, Order, Report, ToAgent, ToController};
    use muster_core::protocol::stamp::{AttemptId, Boot, Stamp};
    use muster_core::time::Time;

    const HERE: HostId = HostId(0);
    const THERE: HostId = HostId(1);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn ask(engine: &Engine, ask: Ask) -> Answer<Told> {
        let (send, answer) = bounded(1);
        engine.ask(Request::Desk(ask), move |told| drop(send.send(told))).unwrap();
        answer.recv_timeout(PATIENCE).unwrap()
    }

    fn due(engine: &Engine, blob: BlobId, host: HostId) -> bool {
        let (send, found) = bounded(1);
        engine
            .look(move |view| {
                let _ = send.send(is_due(view, blob, host));
            })
            .unwrap();
        found.recv_timeout(PATIENCE).unwrap()
    }

    fn add_hosts(engine: &Engine) {
        ask(
            engine,
            Ask::Site(Event::Partition(Partition { is_default: true, ..Partition::named(PARTITION) })),
        );
        for name in ["here", "there"] {
            let mut host = Host::new(name, Shape::parse("1x4x1G").unwrap());
            host.partitions.insert(PARTITION.into());
            ask(engine, Ask::Site(Event::Host(Box::new(host))));
        }
    }

    fn report(engine: &Engine, stamp: Stamp, done: u32, holds: Vec<(AttemptId, Holding)>) {
        let report = Report { boot: Boot(1), stamp, sent: Time(0), done, holds, probes: Vec::new() };
        engine.host(HERE, FromHost::Agent(ToController::Report(report))).unwrap();
    }

    /// What an agent is told, as far as somebody looks for it.
    fn hear<T>(heard: &Receiver<ToHost>, look: impl Fn(ToAgent) -> Option<T>) -> T {
        loop {
            let ToHost::Agent(message) = heard.recv_timeout(PATIENCE).unwrap() else { continue };
            if let Some(found) = look(message) {
                return found;
            }
        }
    }

    #[test]
    fn what_a_job_runs_is_due_where_it_is_and_for_as_long() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, standing) = Journal::open(&folder.path().join("journal.db"), fresh()).unwrap();
        let running = Running::start(Lease::default(), journal, standing);
        let engine = running.engine();
        add_hosts(engine);
        let (send, heard) = unbounded();
        engine.line(HERE, Box::new(move |to| drop(send.send(to)))).unwrap();
        engine.host(HERE, FromHost::Agent(ToController::Hello { boot: Boot(1), sent: Time(0) })).unwrap();
        let stamp = hear(&heard, |message| match message {
            ToAgent::Welcome { stamp, .. } => Some(stamp),
            _ => None,
        });
        report(engine, stamp, 0, Vec::new());

        let (blob, other) = (BlobId([7; 32]), BlobId([8; 32]));
        let spec = JobSpec { payload: Some(blob), ..JobSpec::named("j") };
        let owner = Arc::new(Owner { uid: 7, gid: 7, user: "ada".into() });
        let Answer::Desk(Told::Accepted(job)) =
            ask(engine, Ask::Submit(Submitted { owner, spec: Arc::new(spec) }))
        else {
            panic!("it is refused")
        };
        let (id, count) = hear(&heard, |message| match message {
            ToAgent::Grant { orders, .. } => match orders.first() {
                Some(Order::Start(start)) => Some((start.id, orders.len() as u32)),
                _ => None,
            },
            _ => None,
        });
        assert_eq!(
            (due(engine, blob, HERE), due(engine, blob, THERE), due(engine, other, HERE)),
            (true, false, false)
        );

        let (send, over) = bounded(1);
        engine
            .when_over(job, move || {
                let _ = send.send(());
            })
            .unwrap();
        report(
            engine,
            stamp,
            count,
            vec![(id, Holding::Ended(Ending::bare(Ended::Exited(Outcome::Completed))))],
        );
        over.recv_timeout(PATIENCE).unwrap();
        assert!(!due(engine, blob, HERE), "its job is over");
        running.stop();
    }
}
