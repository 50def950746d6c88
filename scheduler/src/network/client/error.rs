//! Why a pool is not reached over the network, with what to do about it.

use hyper::StatusCode;
use rustls::CertificateError;
use std::io;

/// Why a pool is not reached, or does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at this address.
    #[error(
        "cannot reach the pool at {0}: {1}; on its host, `muster hosts` tells whether it is up and `muster up \
         --listen ADDRESS` opens its door; is the port open to this host?"
    )]
    Unreachable(String, io::Error),
    /// Somebody else answers there.
    #[error(
        "what answers at {0} is not the pool with this fingerprint: paste the line that `muster token` prints on \
         the pool's host now; if it is the same, somebody else answers in its place"
    )]
    Other(String),
    /// The controller's certificate is over, by this clock.
    #[error(
        "the certificate of the pool at {0} has expired by this host's clock, which says {1}: set the clock of \
         whichever host is wrong, or else `muster down` and `muster up` on the pool's host renew the certificate"
    )]
    Expired(String, String),
    /// The controller's certificate is not good yet, by this clock.
    #[error(
        "the certificate of the pool at {0} is not good yet by this host's clock, which says {1}: set the clock \
         of whichever host is wrong, and try again"
    )]
    Early(String, String),
    /// No TLS as ours there, and why.
    #[error("what answers at {0} does not speak as a pool does ({1}): is it a muster, and of this version?")]
    Tls(String, String),
    /// It was there, and went, and why.
    #[error("the pool at {0} went away: {1}")]
    Lost(String, String),
    /// It says no, in these words.
    #[error("{1}")]
    Refused(StatusCode, String),
    /// Something on this host.
    #[error("{0}")]
    Here(String),
}

impl ClientError {
    /// Why TLS did not come about.
    pub(super) fn tls(address: &str, error: &io::Error) -> ClientError {
        use rustls::Error::InvalidCertificate;
        let address = address.to_owned();
        let now = chrono::Local::now().format("%Y-%m-%d %H:%M").to_string();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(InvalidCertificate(CertificateError::UnknownIssuer)) => ClientError::Other(address),
            Some(InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                ClientError::Expired(address, now)
            }
            Some(InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => ClientError::Early(address, now),
            Some(error) => ClientError::Tls(address, error.to_string()),
            None => ClientError::Unreachable(address, io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// Whether the pool knows no such credential.
    pub fn is_unknown(&self) -> bool {
        matches!(self, ClientError::Refused(StatusCode::UNAUTHORIZED, _))
    }

    /// Whether it may pass by itself: a pool that is down for a while, a clock that is being set.
    pub fn may_pass(&self) -> bool {
        match self {
            ClientError::Refused(status, _) => {
                status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
            }
            ClientError::Here(_) => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_tell_of_clocks() {
        let told =
            |error| ClientError::tls("a:1", &io::Error::other(rustls::Error::InvalidCertificate(error)));
        assert!(matches!(told(CertificateError::UnknownIssuer), ClientError::Other(_)));
        let (expired, early) = (told(CertificateError::Expired), told(CertificateError::NotValidYet));
        assert!(matches!(expired, ClientError::Expired(..)) && expired.to_string().contains("`muster up`"));
        assert!(matches!(early, ClientError::Early(..)) && early.to_string().contains("set the clock"));
        assert!(expired.may_pass() && early.may_pass());
    }
}
