//! The network door: the API over TLS for the agents of other hosts and for clients, and who they are.
//!
//! | path under `STATE/network` | what |
//! | --- | --- |
//! | `authority.json` | the pool's certificate authority, with its key |
//! | `controller.json` | the controller's certificate, with its key |
//! | `listen` | where it listened last: `muster up` without `--listen` listens there again |
//! | `hosts/NAME.json` | the hash of a joined host's credential |
//! | `clients/NAME.json` | the hash of the credential of a client that has logged in |
//!
//! How a host joins: it makes a secret, keeps it, and hands in its hash with the token; from then on the secret is its
//! credential, and the token is used up. So an answer that is lost costs nothing: the same host may hand in both again. A
//! client logs in by the same steps, with a token for that.

pub mod agents;
mod base32;
pub mod client;
pub mod clients;
pub mod fingerprint;
pub mod identity;
mod listener;
pub mod members;
pub mod private;
pub mod secret;
pub mod tokens;
pub mod wire;

use fingerprint::Fingerprint;
use identity::{Identity, IdentityError};
use members::{Kind, MemberError, Members};
use rustls::ServerConfig;
use secret::{Secret, SecretHash};
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tokens::{Right, TokenError, Tokens};

pub(crate) use listener::serve;

/// The port where nobody says another.
pub const PORT: u16 = 7461;

/// What the network door knows.
pub struct Network {
    address: SocketAddr,
    fingerprint: Fingerprint,
    /// The name of the pool's own host, which none that joins may have.
    own: String,
    state: Mutex<State>,
}

struct State {
    identity: Identity,
    hosts: Members,
    clients: Members,
    tokens: Tokens,
}

/// Whose credential is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The host of this name.
    Host(String),
    /// The client of this name.
    Client(String),
}

/// Why the network door does not open.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The address is none of this host.
    #[error("cannot listen on {asked}: {error} (`muster up --listen ADDRESS[:PORT]` names another address)")]
    Listen {
        /// The address.
        asked: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file of it.
    #[error("{what}: {error}")]
    File {
        /// What was done.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Joined hosts.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A joined host has the name of the pool's own.
    #[error("a host called {0} has joined: `muster up --name NAME` gives this one another name")]
    OwnName(String),
}

/// Why a host may not join, or a client not log in.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The token gives no right to.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The name is none, or another's.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The name is that of the pool's own host.
    #[error("{0} is the pool's own host: join under another name with --name NAME")]
    Own(String),
}

impl Network {
    /// Opens the door of a state directory for a pool whose own host is called `own`; `None` where there is none to open.
    /// `asked` is `ADDRESS[:PORT]`, or `off` to forget where it listened last.
    ///
    /// # Errors
    /// When it cannot listen there, or its files cannot be used.
    pub fn open(
        state: &Path,
        own: &str,
        asked: Option<&str>,
    ) -> Result<Option<(Network, TcpListener)>, NetworkError> {
        let folder = state.join("network");
        let remembered = folder.join("listen");
        if asked == Some("off") {
            let what = format!("cannot forget {}", remembered.display());
            private::remove(&remembered).map_err(|error| NetworkError::File { what, error })?;
            return Ok(None);
        }
        let last =
            std::fs::read_to_string(&remembered).ok().and_then(|text| text.trim().parse::<SocketAddr>().ok());
        let Some(asked) = asked.map(str::to_owned).or_else(|| Some(last?.to_string())) else {
            return Ok(None);
        };
        let hosts = Members::open(&folder.join("hosts"), Kind::Host)?;
        let clients = Members::open(&folder.join("clients"), Kind::Client)?;
        if hosts.has(own) {
            return Err(NetworkError::OwnName(own.to_owned()));
        }
        let identity = Identity::open(&folder, SystemTime::now())?;
        let port = last.map_or(PORT, |last| last.port());
        let failed = |error| NetworkError::Listen { asked: asked.clone(), error };
        let listener = listener::bind(&addresses(&asked, port).map_err(failed)?).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let what = format!("cannot write {}", remembered.display());
        let keep = private::keep(&remembered, format!("{address}\n").as_bytes());
        keep.map_err(|error| NetworkError::File { what, error })?;
        let fingerprint = identity.fingerprint();
        let state = Mutex::new(State { identity, hosts, clients, tokens: Tokens::default() });
        Ok(Some((Network { address, fingerprint, own: own.to_owned(), state }, listener)))
    }

    /// Where a host joins: `HOST:PORT#FINGERPRINT`. An address of all interfaces is named by this host's name.
    pub fn place(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let host = match ip {
            ip if ip.is_unspecified() => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        format!("{host}:{port}#{}", self.fingerprint)
    }

    /// A new token.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn make_token(&self, right: Right) -> std::io::Result<Secret> {
        let token = Secret::make()?;
        self.state().tokens.add(token.hash(), right, Instant::now());
        Ok(token)
    }

    /// Makes a host or a client a member, by a token that came from an address.
    ///
    /// # Errors
    /// When the token is not good, the name is not to be had, or the disk does not take it.
    pub fn redeem(
        &self,
        (token, from): (&Secret, IpAddr),
        right: Right,
        name: &str,
        credential: SecretHash,
    ) -> Result<(), RedeemError> {
        let mut state = self.state();
        // First, so that nobody without a token learns which names there are.
        state.tokens.check((token, right), &credential, from, Instant::now())?;
        match right {
            Right::Join if name == self.own => return Err(RedeemError::Own(name.to_owned())),
            Right::Join => state.hosts.bind(name, credential)?,
            Right::LogIn => state.clients.bind(name, credential)?,
        }
        state.tokens.use_up(token, &credential);
        Ok(())
    }

    /// Whose credential this is.
    pub fn who(&self, credential: &Secret) -> Option<Known> {
        let (state, hash) = (self.state(), credential.hash());
        let host = state.hosts.who(&hash).map(|name| Known::Host(name.to_owned()));
        host.or_else(|| state.clients.who(&hash).map(|name| Known::Client(name.to_owned())))
    }

    /// The clients that have logged in.
    pub fn clients(&self) -> Vec<String> {
        self.state().clients.names()
    }

    /// Takes the credential of a member back; whether it had one.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn revoke(&self, name: &str, kind: Kind) -> Result<bool, MemberError> {
        let mut state = self.state();
        match kind {
            Kind::Host => state.hosts.revoke(name),
            Kind::Client => state.clients.revoke(name),
        }
    }

    fn config(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        self.state().identity.config(SystemTime::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is changed by halves under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses that `ADDRESS[:PORT]` names.
fn addresses(asked: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let bare = asked.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = if asked.contains(':') { asked.to_socket_addrs() } else { (asked, port).to_socket_addrs() };
    found.map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_port() {
        let found = |asked: &str| {
            addresses(asked, 5).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(found("127.0.0.1").unwrap(), ["127.0.0.1:5"]);
        assert_eq!(found("127.0.0.1:0").unwrap(), ["127.0.0.1:0"]);
        assert_eq!(found("::1").unwrap(), ["[::1]:5"]);
        assert_eq!(found("[::1]").unwrap(), ["[::1]:5"]);
        assert_eq!(found("[::1]:7").unwrap(), ["[::1]:7"]);
        assert!(found("127.0.0.1:x").is_err());
    }

    #[test]
    fn the_door_is_found_again_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Network::open(folder.path(), "a", None).unwrap().is_none());
        let (first, listener) = Network::open(folder.path(), "a", Some("127.0.0.1:0")).unwrap().unwrap();
        let place = first.place();
        drop(listener);
        let (again, _listener) = Network::open(folder.path(), "a", None).unwrap().unwrap();
        assert_eq!(again.place(), place);
        let taken = Network::open(folder.path(), "a", None).err().unwrap().to_string();
        assert!(taken.contains("--listen"), "{taken}");
        assert!(Network::open(folder.path(), "a", Some("off")).unwrap().is_none());
        assert!(Network::open(folder.path(), "a", None).unwrap().is_none());
    }

    #[test]
    fn a_token_is_spent_on_success_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (network, _listener) = Network::open(folder.path(), "a", Some("127.0.0.1:0")).unwrap().unwrap();
        let (token, host, other) =
            (network.make_token(Right::Join).unwrap(), Secret::make().unwrap(), Secret::make().unwrap());
        let from = (&token, [127, 0, 0, 1].into());
        assert!(matches!(network.redeem(from, Right::Join, "a", host.hash()), Err(RedeemError::Own(_))));
        network.redeem(from, Right::Join, "b", host.hash()).unwrap();
        network.redeem(from, Right::Join, "b", host.hash()).unwrap();
        assert!(matches!(
            network.redeem(from, Right::Join, "c", other.hash()),
            Err(RedeemError::Token(TokenError::Used))
        ));
        assert_eq!((network.who(&host), network.who(&other)), (Some(Known::Host("b".into())), None));
        assert!(!network.revoke("b", Kind::Client).unwrap() && network.revoke("b", Kind::Host).unwrap());
        assert_eq!(network.who(&host), None);
        let login = network.make_token(Right::LogIn).unwrap();
        let from = (&login, [127, 0, 0, 1].into());
        let join = network.redeem(from, Right::Join, "a", other.hash());
        assert!(matches!(join, Err(RedeemError::Token(TokenError::OtherRight))));
        // A client may be called as a host is: it is none.
        network.redeem(from, Right::LogIn, "a", other.hash()).unwrap();
        assert_eq!(
            (network.who(&other), network.clients()),
            (Some(Known::Client("a".into())), vec!["a".into()])
        );
    }
}
