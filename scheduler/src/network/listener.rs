//! The listener on the network: TLS, then the API's router, with the caller that the credential shows.
//!
//! Invariants: nothing is read of a request's body before the door has let its caller in; a connection that does not come
//! to its point is closed; there are never more than [`MOST_CONNECTIONS`].

use super::secret::Secret;
use super::wire;
use super::{Known, Network};
use crate::api::Failure;
use crate::door::{Caller, Verb, Way, Whose, may};
use crate::programs::MOST_PROGRAM;
use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use muster_core::protocol::format::Format;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How many connections there may be; who comes then waits.
const MOST_CONNECTIONS: usize = 4096;
/// How long a caller may take to shake hands, or to say what it asks for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing is accepted after the operating system had no room for a connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Listens on the first address where that is possible.
pub(super) fn bind(addresses: &[SocketAddr]) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(addresses)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves whoever comes, until it is dropped.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    network: Arc<Network>,
    owner: Caller,
    router: Router,
) -> io::Result<()> {
    let owner = Arc::new(owner);
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(NO_ROOM).await;
                continue;
            }
        };
        let (network, owner, router) = (network.clone(), owner.clone(), router.clone());
        tokio::spawn(async move {
            // Callers that go away, or never were any of ours, are nobody's trouble.
            let _ = connection(stream, from.ip(), Guard { network, owner, router }).await;
            drop(place);
        });
    }
}

/// Who lets requests in.
#[derive(Clone)]
struct Guard {
    network: Arc<Network>,
    owner: Arc<Caller>,
    router: Router,
}

async fn connection(stream: TcpStream, from: IpAddr, guard: Guard) -> io::Result<()> {
    // Messages are small and waited for.
    stream.set_nodelay(true)?;
    let config = guard.network.config().map_err(|error| {
        eprintln!("muster: error: {error}");
        io::Error::other(error)
    })?;
    let stream = timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await??;
    let service = service_fn(move |request: Request<Incoming>| {
        let guard = guard.clone();
        async move {
            // Programs are put, and by those whom the door lets in before anything is read.
            let length = request.body().size_hint().upper().filter(|_| request.method() == Method::PUT);
            let length = length.unwrap_or(0).min(MOST_PROGRAM as u64);
            let answer = timeout(wire::patience(length), guard.answer(request, from)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response()))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    served.await.map_err(io::Error::other)
}

impl Guard {
    async fn answer(&self, mut request: Request<Incoming>, from: IpAddr) -> Response {
        let caller = match self.enter(&request, from) {
            Ok(caller) => caller,
            Err(refused) => return refused.into_response(),
        };
        request.extensions_mut().insert(ConnectInfo(caller));
        let Ok(answer) = TowerToHyperService::new(self.router.clone()).call(request).await;
        answer
    }

    /// Who asks, if they may ask for anything of this kind: each handler asks the door again.
    fn enter<B>(&self, request: &Request<B>, from: IpAddr) -> Result<Caller, Failure> {
        let ours = Format::Message.version().to_string();
        if let Some(theirs) =
            request.headers().get(wire::FORMAT).filter(|theirs| theirs.as_bytes() != ours.as_bytes())
        {
            let what = format!(
                "this pool is of muster {}, which speaks version {ours} of the messages, and the host speaks version {}: \
                 install the same muster on both",
                env!("CARGO_PKG_VERSION"),
                String::from_utf8_lossy(theirs.as_bytes()),
            );
            return Err(Failure::new(StatusCode::UPGRADE_REQUIRED, what));
        }
        let shown = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let way = match shown {
            None => Way::Network(from),
            Some(shown) => {
                let secret = shown.strip_prefix("Bearer ").and_then(Secret::read);
                match secret.and_then(|secret| self.network.who(&secret)) {
                    Some(Known::Host(name)) => Way::Host(name),
                    Some(Known::Client(name)) => Way::Client(name),
                    None => {
                        let what = "the pool does not know this machine's credential, or has revoked it: on the pool's \
                                    host `muster token` makes a token, with which it may join anew as a host, and \
                                    `muster token --login` one, with which it may log in anew";
                        return Err(Failure::new(StatusCode::UNAUTHORIZED, what));
                    }
                }
            }
        };
        let caller = Caller::over_network(way, &self.owner);
        let verb = match request.uri().path() {
            wire::JOIN | wire::LOGIN => Verb::Redeem,
            path if path.starts_with(wire::BLOBS) => Verb::Fetch,
            path if path.starts_with(wire::AGENT) => Verb::Agent,
            _ => Verb::Look,
        };
        may(&caller, caller.role(self.owner.uid, &Whose::Own), verb)?;
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tokens::Right;

    struct Door {
        guard: Guard,
        host: Secret,
        client: Secret,
        _folder: tempfile::TempDir,
    }

    impl Door {
        fn open() -> Door {
            let folder = tempfile::tempdir().unwrap();
            let (network, _) = Network::open(folder.path(), "a", Some("127.0.0.1:0")).unwrap().unwrap();
            let member = |right| {
                let (token, credential) = (network.make_token(right).unwrap(), Secret::make().unwrap());
                network.redeem((&token, [127, 0, 0, 1].into()), right, "b", credential.hash()).unwrap();
                credential
            };
            let (host, client) = (member(Right::Join), member(Right::LogIn));
            let owner = Arc::new(Caller { uid: 7, gid: 7, user: "ada".into(), way: Way::Socket });
            let guard = Guard { network: Arc::new(network), owner, router: Router::new() };
            Door { guard, host, client, _folder: folder }
        }

        fn enter(&self, path: &str, headers: &[(&str, &str)]) -> Result<Way, (StatusCode, String)> {
            let request = headers
                .iter()
                .fold(Request::builder().uri(path), |all, (name, value)| all.header(*name, *value));
            let entered = self.guard.enter(&request.body(()).unwrap(), [10, 0, 0, 1].into());
            entered.map(|caller| caller.way).map_err(Failure::into_parts)
        }
    }

    #[test]
    fn every_path_against_every_caller_on_the_network() {
        let door = Door::open();
        let shown = |path: &str, secret: &Secret| {
            door.enter(path, &[("authorization", &format!("Bearer {}", secret.text()))]).ok()
        };
        let (anonymous, host) = (Way::Network([10, 0, 0, 1].into()), Way::Host("b".into()));
        let client = Way::Client("b".into());
        // Whoever is let in is asked again by the handler: a client may look at jobs, and drain no host.
        for (path, whose) in [
            (wire::JOIN, "anybody"),
            (wire::LOGIN, "anybody"),
            (wire::AGENT, "host"),
            (wire::LINE, "host"),
            ("/v1/agent/blobs/00", "host"),
            ("/v1/pool", "client"),
            ("/v1/pool/down", "client"),
            ("/v1/jobs", "client"),
            ("/v1/jobs/1/streams", "client"),
            ("/v1/hosts/b/revoke", "client"),
            ("/v1/tokens", "client"),
            ("/v1/history", "client"),
            ("/openapi.json", "client"),
            ("/v1/joint", "client"),
        ] {
            let of = |who| whose == who;
            assert_eq!(door.enter(path, &[]).ok(), of("anybody").then(|| anonymous.clone()), "{path}");
            assert_eq!(shown(path, &door.host), of("host").then(|| host.clone()), "{path}");
            assert_eq!(shown(path, &door.client), of("client").then(|| client.clone()), "{path}");
        }
    }

    #[test]
    fn who_is_kept_out_is_told_why() {
        let door = Door::open();
        let (status, what) = door.enter("/v1/jobs", &[]).unwrap_err();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(what.contains("over the network a pool hears whom it knows"), "{what}");
        for wrong in ["Bearer x", "Basic YTpi", "", &format!("Bearer {}", "a".repeat(32))] {
            let (status, what) = door.enter(wire::AGENT, &[("authorization", wrong)]).unwrap_err();
            assert!(status == StatusCode::UNAUTHORIZED && what.contains("`muster token`"), "{what}");
        }
        let (status, what) = door.enter(wire::JOIN, &[(wire::FORMAT, "999")]).unwrap_err();
        assert!(status == StatusCode::UPGRADE_REQUIRED && what.contains("install the same muster"), "{what}");
    }
}
