//! Connections to a pool's network door: TLS that trusts one fingerprint, requests, and the agent's line.

use super::error::ClientError;
use super::place::Place;
use super::trust;
use crate::network::secret::Secret;
use crate::network::wire::{self, MOST_MESSAGE};
use crate::programs::MOST_PROGRAM;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use muster_core::protocol::format::Format;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes: a user's program, or a script with its environment.
const MOST_ANSWER: usize = MOST_PROGRAM + (1 << 20);

/// A line that carries the messages of the protocol.
pub type Line = WebSocketStream<TlsStream<TcpStream>>;

/// The way to a pool.
#[derive(Clone)]
pub struct Dialer {
    place: Place,
    tls: TlsConnector,
    credential: Option<Secret>,
}

impl Dialer {
    /// To this pool, with what one may show there.
    ///
    /// # Errors
    /// When this host cannot do TLS.
    pub fn new(place: &Place, credential: Option<Secret>) -> Result<Dialer, ClientError> {
        let config =
            trust::config(place.fingerprint.clone()).map_err(|error| ClientError::Here(error.to_string()))?;
        Ok(Dialer { place: place.clone(), tls: TlsConnector::from(Arc::new(config)), credential })
    }

    /// A connection to the pool, and to nobody else.
    ///
    /// # Errors
    /// When there is none, or somebody else answers.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>, ClientError> {
        let address = &self.place.address;
        let unreachable = |error| ClientError::Unreachable(address.clone(), error);
        let late = |_| unreachable(io::ErrorKind::TimedOut.into());
        let connecting = timeout(PATIENCE, TcpStream::connect(address.as_str()));
        let stream = connecting.await.map_err(late)?.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let shaking = timeout(PATIENCE, self.tls.connect(trust::controller(), stream));
        shaking.await.map_err(late)?.map_err(|error| ClientError::tls(address, &error))
    }

    /// Asks the pool for something.
    ///
    /// # Errors
    /// What it says, or why it does not answer.
    pub async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, ClientError> {
        self.answer(method, path, body).await.map(|(_, bytes)| bytes)
    }

    /// Asks the pool for something, and says what stands above the answer, too.
    ///
    /// # Errors
    /// As [`Dialer::ask`].
    pub async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(HeaderMap, Bytes), ClientError> {
        let (head, body) = timeout(wire::patience(body.len() as u64), self.request(method, path, body))
            .await
            .unwrap_or_else(|_| Err(self.lost(&"it does not answer")))?;
        let most = body.size_hint().upper().unwrap_or(0);
        let read = timeout(wire::patience(most), Limited::new(body, MOST_ANSWER).collect()).await;
        let read = read.map_err(|_| self.lost(&"its answer does not come to an end"))?;
        let bytes = read.map_err(|error| self.lost(&error))?.to_bytes();
        let status = head.status;
        if status.is_success() { Ok((head.headers, bytes)) } else { Err(refused(status, &bytes)) }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(Parts, Incoming), ClientError> {
        let stream = TokioIo::new(self.connect().await?);
        let shaken = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = shaken.map_err(|error| self.lost(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.place.address)
            .header(CONTENT_TYPE, "application/json")
            .header(wire::FORMAT, Format::Message.version());
        if let Some(credential) = &self.credential {
            request = request.header(AUTHORIZATION, bearer(credential));
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|e| ClientError::Here(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        Ok(response.into_parts())
    }

    /// A line for the agent's messages.
    ///
    /// # Errors
    /// As [`Dialer::ask`].
    pub async fn line(&self) -> Result<Line, ClientError> {
        let url = format!("wss://{}{}", self.place.address, wire::LINE);
        let mut request = url.into_client_request().map_err(|error| ClientError::Here(error.to_string()))?;
        request.headers_mut().insert(wire::FORMAT, Format::Message.version().into());
        if let Some(credential) = &self.credential {
            let value = bearer(credential).parse().expect("a secret is letters and digits");
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MOST_MESSAGE))
            .max_frame_size(Some(MOST_MESSAGE));
        let stream = self.connect().await?;
        let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match timeout(PATIENCE, opening).await {
            Ok(Ok((line, _))) => Ok(line),
            Ok(Err(WsError::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(refused(response.status(), body))
            }
            Ok(Err(error)) => Err(self.ended(&error)),
            Err(_) => Err(self.lost(&"it does not answer")),
        }
    }

    /// A line has ended. That a process that is killed takes no leave is nothing to tell of.
    pub fn ended(&self, error: &WsError) -> ClientError {
        match error {
            WsError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.lost(&"the line has ended")
            }
            WsError::ConnectionClosed | WsError::AlreadyClosed => self.lost(&"it has closed the line"),
            other => self.lost(other),
        }
    }

    /// The pool was there, and went.
    pub fn lost(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Lost(self.place.address.clone(), why.to_string())
    }
}

fn bearer(credential: &Secret) -> String {
    format!("Bearer {}", credential.text())
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = said.and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
    let other = || format!("the pool answers {status}: is it of another version?");
    ClientError::Refused(status, said.unwrap_or_else(other))
}
