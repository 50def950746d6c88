//! Why a host is not in the pool, with what to do about it.

use super::super::client::{Failed, NO_POOL};
use hyper::StatusCode;
use muster_worker::command::BAD_INPUT;
use rustls::CertificateError;
use std::io;

/// Why a host is not in the pool.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    /// Nobody answers.
    #[error(
        "cannot reach the pool at {address}: {error}; on its host, `muster hosts` tells whether it is up and `muster up \
         --listen ADDRESS` opens its door; is the port open to this host?"
    )]
    Unreachable { address: String, error: io::Error },
    /// Somebody else answers.
    #[error(
        "what answers at {address} is not the pool with this fingerprint: paste the line that `muster token` prints on \
         the pool's host now; if it is the same, somebody else answers in its place"
    )]
    Other { address: String },
    /// The controller's certificate is over.
    #[error(
        "the certificate of the pool at {address} has expired by this host's clock, which says {now}: set the clock of \
         whichever host is wrong, or else `muster down` and `muster up` on the pool's host renew the certificate"
    )]
    Expired { address: String, now: String },
    /// The controller's certificate is not good yet.
    #[error(
        "the certificate of the pool at {address} is not good yet by this host's clock, which says {now}: set the clock \
         of whichever host is wrong, and try again"
    )]
    Early { address: String, now: String },
    /// No TLS as ours.
    #[error(
        "what answers at {address} does not speak as a pool does ({why}): is it a muster, and of this version?"
    )]
    Tls { address: String, why: String },
    /// It was there, and went.
    #[error("the pool at {address} went away: {why}")]
    Lost { address: String, why: String },
    /// It says no.
    #[error("{said}")]
    Refused { status: StatusCode, said: String },
    /// Something on this host.
    #[error("{0}")]
    Here(String),
    /// The agent has ended: it says why itself.
    #[error("the agent of this host has ended")]
    AgentEnded,
}

impl JoinError {
    /// Why TLS did not come about.
    pub(super) fn tls(address: &str, error: &io::Error) -> JoinError {
        use rustls::Error::InvalidCertificate;
        let address = address.to_owned();
        let now = chrono::Local::now().format("%Y-%m-%d %H:%M").to_string();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(InvalidCertificate(CertificateError::UnknownIssuer)) => JoinError::Other { address },
            Some(InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                JoinError::Expired { address, now }
            }
            Some(InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => JoinError::Early { address, now },
            Some(error) => JoinError::Tls { address, why: error.to_string() },
            None => {
                JoinError::Unreachable { address, error: io::Error::new(error.kind(), error.to_string()) }
            }
        }
    }

    /// Whether the pool knows no such credential.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, JoinError::Refused { status: StatusCode::UNAUTHORIZED, .. })
    }

    /// Whether it may pass by itself: a pool that is down for a while, a clock that is being set.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            JoinError::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
            }
            JoinError::Here(_) | JoinError::AgentEnded => false,
            _ => true,
        }
    }
}

impl From<JoinError> for Failed {
    fn from(error: JoinError) -> Failed {
        let exit = match &error {
            JoinError::Unreachable { .. } | JoinError::Lost { .. } => NO_POOL,
            JoinError::AgentEnded => 1,
            _ => BAD_INPUT,
        };
        Failed::new(error.to_string(), exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_tell_of_clocks() {
        let told = |error| JoinError::tls("a:1", &io::Error::other(rustls::Error::InvalidCertificate(error)));
        assert!(matches!(told(CertificateError::UnknownIssuer), JoinError::Other { .. }));
        let (expired, early) = (told(CertificateError::Expired), told(CertificateError::NotValidYet));
        assert!(matches!(expired, JoinError::Expired { .. }) && expired.to_string().contains("`muster up`"));
        assert!(matches!(early, JoinError::Early { .. }) && early.to_string().contains("set the clock"));
        assert!(expired.may_pass() && early.may_pass());
    }
}
