//! The client of a pool's API: over its local socket, or over the network where this machine has logged in.

use super::login::Login;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use muster_scheduler::network::client::ClientError;
use muster_worker::command::BAD_INPUT;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// No pool is up, or it does not answer.
pub(crate) const NO_POOL: u8 = 3;

/// A pool that is asked.
pub(crate) struct Client {
    state: PathBuf,
    runtime: Runtime,
    /// The pool on another machine that commands go to.
    login: Result<Option<Login>, String>,
}

/// What went wrong, with the exit code for it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) what: String,
    pub(crate) exit: u8,
}

impl Failed {
    pub(crate) fn new(what: impl Into<String>, exit: u8) -> Failed {
        Failed { what: what.into(), exit }
    }

    /// Says it, and the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("muster: error: {}", self.what);
        ExitCode::from(self.exit)
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Failed {
        let exit = match &error {
            ClientError::Unreachable(..) | ClientError::Lost(..) => NO_POOL,
            ClientError::Refused(status, _) => exit_of(*status),
            _ => BAD_INPUT,
        };
        Failed::new(error.to_string(), exit)
    }
}

/// Success, or what went wrong said.
pub(crate) fn exit(done: Result<(), Failed>) -> ExitCode {
    done.map_or_else(|failed| failed.report(), |()| ExitCode::SUCCESS)
}

impl Client {
    /// The pool of a state directory.
    pub(crate) fn new(state: &Path) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime of one thread starts");
        Client { state: state.to_owned(), runtime, login: Login::read(state) }
    }

    /// Asks for something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.call(Method::GET, path, &())
    }

    /// Asks for a change.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failed> {
        self.call(Method::POST, path, body)
    }

    /// Has the pool keep these bytes there.
    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), Failed> {
        self.answer((Method::PUT, path), bytes).map(drop)
    }

    /// Asks for a piece of a job's output, and whether nothing is added to it any more.
    pub(crate) fn bytes(&self, path: &str) -> Result<(Bytes, bool), Failed> {
        let (head, bytes) = self.answer((Method::GET, path), Vec::new())?;
        let over = head.get(muster_scheduler::output::OVER).is_some_and(|value| value == "true");
        Ok((bytes, over))
    }

    fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failed> {
        let body = if method == Method::GET {
            Vec::new()
        } else {
            serde_json::to_vec(body).expect("a request encodes")
        };
        let (_, bytes) = self.answer((method, path), body)?;
        let garbled = |error| {
            let what = format!("the pool's answer is not understood ({error}): is it of another version?");
            Failed::new(what, NO_POOL)
        };
        serde_json::from_slice(&bytes).map_err(garbled)
    }

    /// The answer to a request, unless that is an error.
    fn answer(&self, request: (Method, &str), body: Vec<u8>) -> Result<(HeaderMap, Bytes), Failed> {
        let login = self.login.as_ref().map_err(|what| Failed::new(what, BAD_INPUT))?;
        if let Some(login) = login {
            let ((method, path), far) = (request, login.dialer()?);
            return Ok(self.runtime.block_on(far.answer(method, path, body))?);
        }
        let (head, bytes) = self.runtime.block_on(send(&self.state, request, body))?;
        let status = head.status;
        if !status.is_success() {
            let said = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
            let said = said.and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
            let what = said.unwrap_or_else(|| {
                format!("the pool answers {status} {}", String::from_utf8_lossy(&bytes)).trim_end().to_owned()
            });
            return Err(Failed::new(what, exit_of(status)));
        }
        Ok((head.headers, bytes))
    }
}

fn exit_of(status: StatusCode) -> u8 {
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => NO_POOL,
        status if status.is_client_error() => BAD_INPUT,
        _ => 1,
    }
}

async fn send(state: &Path, (method, path): (Method, &str), body: Vec<u8>) -> Result<(Parts, Bytes), Failed> {
    let socket = muster_scheduler::home::socket(state);
    let stream = UnixStream::connect(&socket).await.map_err(|error| unreachable(state, &error))?;
    let lost = |error: hyper::Error| {
        Failed::new(format!("the pool in {} went away: {error}", state.display()), NO_POOL)
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "muster")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a path of ours");
    let response = sender.send_request(request).await.map_err(lost)?;
    let (head, body) = response.into_parts();
    Ok((head, body.collect().await.map_err(lost)?.to_bytes()))
}

fn unreachable(state: &Path, error: &std::io::Error) -> Failed {
    let joined = super::join::joined(state);
    let state = state.display();
    let what = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused if joined.is_some() => {
            let address = joined.unwrap_or_default();
            format!(
                "this host has joined the pool at {address}: give commands on that pool's host, or here after `muster \
                 login`, for which `muster token --login` there makes a token"
            )
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "no pool is up in {state}: `muster up` starts one (`muster run JOB.SH` runs a script without), `muster login` \
             gives commands to one on another machine, and --state DIR or MUSTER_STATE names another"
        ),
        ErrorKind::PermissionDenied => format!("the pool in {state} is another user's: {error}"),
        _ => format!("the pool in {state} does not answer: {error}"),
    };
    Failed::new(what, NO_POOL)
}
