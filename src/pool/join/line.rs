//! The agent's line: messages to the pool and from it, for as long as the agent lives, over one connection after another.
//!
//! Invariants: of what the agent has said the newest alone waits, for a report says all that the agent holds, and the
//! protocol bears the loss of the others; what foremen and jobs say goes in order, as far as there is room for it; what is
//! wrong is told once, until something else is.

use crossbeam_channel::Sender;
use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use muster_core::protocol::format::Format;
use muster_core::protocol::lease::Lease;
use muster_core::protocol::line::ToHost;
use muster_scheduler::network::client::{ClientError, Dialer, Line};
use muster_scheduler::network::secret::Secret;
use muster_scheduler::network::wire::{self, Described, Greeting};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// The first pause before another try, and the longest. It is also never longer than an eighth of the time after which a
/// silent host is suspected, as long as that may be mended by trying.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));
/// How long the pool may take to receive a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent's end of its line.
pub(super) struct End {
    /// The newest that it has said, encoded; empty before the first.
    pub(super) said: watch::Receiver<Bytes>,
    /// What foremen and jobs here have said, encoded, in order.
    pub(super) said_else: mpsc::Receiver<Bytes>,
    pub(super) hear: Sender<ToHost>,
    /// How long it may act unheard.
    pub(super) rules: Lease,
}

/// Tells the pool what its host has, and hears what it is in the pool.
pub(super) async fn describe(dialer: &Dialer, described: &Described) -> Result<Greeting, ClientError> {
    let body = serde_json::to_vec(described).expect("a description encodes");
    let answer = dialer.ask(Method::POST, wire::AGENT, body).await?;
    serde_json::from_slice(&answer)
        .map_err(|error| dialer.lost(&format_args!("its greeting is not understood: {error}")))
}

/// Carries messages until the agent ends, or the pool does not know its credential any more: then this is said.
pub(super) async fn keep(dialer: &Dialer, described: &Described, end: &mut End) -> Option<ClientError> {
    let (mut told, mut pause) = (None, PAUSES.0);
    let suspected = Duration::from_millis(end.rules.suspect_ms.unsigned_abs());
    let mut heard = Instant::now();
    loop {
        let error = match open(dialer, described).await {
            Ok(line) => {
                if told.take().is_some() {
                    eprintln!("muster: the pool hears this host again");
                }
                pause = PAUSES.0;
                let error = carry(dialer, line, end).await?;
                heard = Instant::now();
                error
            }
            Err(error) => error,
        };
        if error.is_unknown() {
            return Some(error);
        }
        let text = error.to_string();
        if told.as_ref() != Some(&text) {
            eprintln!(
                "muster: {text}\nmuster: what runs here goes on for as long as its lease; trying again"
            );
            told = Some(text);
        }
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(uneven())) => {}
            () = gone(&end.said) => return None,
        }
        let most = if heard.elapsed() < suspected { suspected / 8 } else { PAUSES.1 };
        pause = (pause * 2).min(most).min(PAUSES.1);
    }
}

/// The agent has ended.
async fn gone(said: &watch::Receiver<Bytes>) {
    let mut said = said.clone();
    while said.changed().await.is_ok() {}
}

async fn open(dialer: &Dialer, described: &Described) -> Result<Line, ClientError> {
    describe(dialer, described).await?;
    dialer.line().await
}

/// From a half to one and a half, so that the hosts of a pool that comes back do not all come at once.
fn uneven() -> f64 {
    let random = Secret::make().ok().and_then(|secret| secret.text().bytes().next());
    0.5 + f64::from(random.unwrap_or(b'm').saturating_sub(b'2')) / 72.0
}

/// Carries messages both ways over one connection, until it ends, and says why; nothing when the agent has ended.
async fn carry(dialer: &Dialer, mut line: Line, end: &mut End) -> Option<ClientError> {
    // What was said last may not have been heard, and is the quickest way to a session with a new controller.
    end.said.mark_changed();
    let silence = Duration::from_millis(end.rules.suspect_ms.unsigned_abs());
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            changed = end.said.changed() => {
                changed.ok()?;
                let bytes = end.said.borrow_and_update().clone();
                if !bytes.is_empty() && let Err(error) = say(dialer, &mut line, bytes).await {
                    return Some(error);
                }
            }
            Some(bytes) = end.said_else.recv() => {
                if let Err(error) = say(dialer, &mut line, bytes).await {
                    return Some(error);
                }
            }
            frame = timeout_at(heard + silence, line.next()) => match frame {
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => heard = Instant::now(),
                Ok(Some(Ok(Message::Binary(bytes)))) => match Format::Message.decode::<ToHost>(&bytes) {
                    Ok(message) => {
                        heard = Instant::now();
                        // What the agent has no room for is lost, and said again.
                        drop(end.hear.try_send(message));
                    }
                    Err(error) => return Some(dialer.lost(&error)),
                },
                Ok(Some(Err(error))) => return Some(dialer.ended(&error)),
                Ok(Some(Ok(_)) | None) => return Some(dialer.lost(&"it has closed the line")),
                Err(_) => return Some(dialer.lost(&"nothing is heard of it")),
            },
        }
    }
}

async fn say(dialer: &Dialer, line: &mut Line, bytes: Bytes) -> Result<(), ClientError> {
    match timeout(PATIENCE, line.send(Message::Binary(bytes))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(dialer.ended(&error)),
        Err(_) => Err(dialer.lost(&"it takes nothing more")),
    }
}
