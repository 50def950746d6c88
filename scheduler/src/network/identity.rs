//! The pool's identity on the network: a certificate authority, and the certificate of its controller.
//!
//! Both are made by the first `muster up --listen`, and found again later: `STATE/network/authority.json` and
//! `controller.json`, mode 0600. Invariants: nothing but the controller's certificate is signed by the authority, so who
//! trusts the authority's fingerprint trusts this controller; no certificate outlives the authority's.

use super::fingerprint::Fingerprint;
use super::private;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of every controller, as its certificate has it: hosts know a pool by its authority, not by an address, which
/// may change.
pub const CONTROLLER: &str = "controller.muster.internal";

const DAY_S: u64 = 86_400;
/// How long an authority lasts.
const AUTHORITY_S: u64 = 3650 * DAY_S;
/// How long a controller's certificate lasts.
const CONTROLLER_S: u64 = 365 * DAY_S;
/// How long before its end a controller's certificate is renewed.
const RENEW_S: u64 = 30 * DAY_S;
/// Certificates are good from so long before they are made: clocks of hosts differ.
const EARLIER_S: u64 = DAY_S;

/// Who the pool is.
pub struct Identity {
    folder: PathBuf,
    authority: Kept,
    controller: Kept,
    config: Arc<ServerConfig>,
}

/// A certificate with its key.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// In DER.
    certificate: Vec<u8>,
    /// In PKCS #8.
    key: Vec<u8>,
    /// The last second of it, since 1970.
    until_s: u64,
}

/// Why a pool has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The authority has expired, and with it what every host trusts.
    #[error(
        "the pool's certificate authority has expired: move {folder} away, `muster up --listen ADDRESS` makes a new one, \
         and join each host again", folder = folder.display()
    )]
    Expired {
        /// Where it is.
        folder: PathBuf,
    },
    /// A certificate cannot be made or used.
    #[error("the certificate in {folder} cannot be used: {why}; move {folder} away to make another", folder = folder.display())]
    Unusable {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        why: String,
    },
}

impl Identity {
    /// The identity that is kept in `folder`, made where there is none, renewed where it is due.
    ///
    /// # Errors
    /// When the files cannot be used, or the authority has expired.
    pub fn open(folder: &Path, now: SystemTime) -> Result<Identity, IdentityError> {
        let unusable = |why: &dyn std::fmt::Display| unusable(folder, why);
        let path = folder.join("authority.json");
        let authority = match read(&path)? {
            Some(kept) => kept,
            None => {
                let made = make_authority(now).map_err(|error| unusable(&error))?;
                write(&path, &made)?;
                made
            }
        };
        if authority.until_s <= seconds(now) {
            return Err(IdentityError::Expired { folder: folder.to_owned() });
        }
        let controller = match read(&folder.join("controller.json"))? {
            Some(kept) if !is_due(&kept, &authority, now) => kept,
            _ => renew(folder, &authority, now)?,
        };
        let config = config(&authority, &controller).map_err(|error| unusable(&error))?;
        Ok(Identity { folder: folder.to_owned(), authority, controller, config: Arc::new(config) })
    }

    /// What hosts are told to trust.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority.certificate)
    }

    /// For a connection at this time; the certificate is renewed where it is due.
    ///
    /// # Errors
    /// When it cannot be renewed.
    pub fn config(&mut self, now: SystemTime) -> Result<Arc<ServerConfig>, IdentityError> {
        if is_due(&self.controller, &self.authority, now) {
            *self = Identity::open(&self.folder, now)?;
        }
        Ok(self.config.clone())
    }
}

/// Whether a certificate is to be renewed: not when it ends as late as its authority allows.
fn is_due(controller: &Kept, authority: &Kept, now: SystemTime) -> bool {
    controller.until_s <= seconds(now)
        || controller.until_s <= seconds(now) + RENEW_S && controller.until_s < authority.until_s
}

fn renew(folder: &Path, authority: &Kept, now: SystemTime) -> Result<Kept, IdentityError> {
    let made = make_controller(authority, now).map_err(|error| unusable(folder, &error))?;
    write(&folder.join("controller.json"), &made)?;
    Ok(made)
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "muster pool");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn make_authority(now: SystemTime) -> Result<Kept, rcgen::Error> {
    let (key, mut params) = (KeyPair::generate()?, authority_params());
    let until_s = seconds(now) + AUTHORITY_S;
    last(&mut params, now, until_s);
    let certificate = params.self_signed(&key)?.der().to_vec();
    Ok(Kept { version: 1, certificate, key: key.serialize_der(), until_s })
}

fn make_controller(authority: &Kept, now: SystemTime) -> Result<Kept, rcgen::Error> {
    let issuer = Issuer::new(authority_params(), KeyPair::try_from(authority.key.as_slice())?);
    let (key, mut params) = (KeyPair::generate()?, CertificateParams::new([CONTROLLER.to_owned()])?);
    params.distinguished_name.push(DnType::CommonName, CONTROLLER);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let until_s = (seconds(now) + CONTROLLER_S).min(authority.until_s);
    last(&mut params, now, until_s);
    let certificate = params.signed_by(&key, &issuer)?.der().to_vec();
    Ok(Kept { version: 1, certificate, key: key.serialize_der(), until_s })
}

/// The chain has the authority's certificate, too: a host that knows its fingerprint alone takes it from there.
fn config(authority: &Kept, controller: &Kept) -> Result<ServerConfig, rustls::Error> {
    let chain = [&controller.certificate, &authority.certificate];
    let chain = chain.map(|der| CertificateDer::from(der.clone())).to_vec();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(controller.key.clone()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(ring)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// From a while ago until then.
fn last(params: &mut CertificateParams, now: SystemTime, until_s: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds(now).saturating_sub(EARLIER_S));
    params.not_after = epoch + Duration::from_secs(until_s);
}

fn unusable(folder: &Path, why: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Unusable { folder: folder.to_owned(), why: why.to_string() }
}

fn read(path: &Path) -> Result<Option<Kept>, IdentityError> {
    let file = |error| IdentityError::File { path: path.to_owned(), error };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| file(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(error)),
    }
}

fn write(path: &Path, kept: &Kept) -> Result<(), IdentityError> {
    let bytes = serde_json::to_vec(kept).expect("bytes encode");
    private::keep(path, &bytes).map_err(|error| IdentityError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((20_000 + days) * DAY_S)
    }

    #[test]
    fn an_identity_is_found_again_and_its_certificate_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path(), after(0)).unwrap();
        let mut again = Identity::open(folder.path(), after(300)).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.controller.certificate, again.controller.certificate);
        again.config(after(340)).unwrap();
        assert_ne!(first.controller.certificate, again.controller.certificate);
        assert_eq!(
            (again.controller.until_s, first.fingerprint()),
            (seconds(after(340 + 365)), again.fingerprint())
        );
    }

    #[test]
    fn nothing_outlives_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        Identity::open(folder.path(), after(0)).unwrap();
        let last = Identity::open(folder.path(), after(3640)).unwrap();
        assert_eq!(last.controller.until_s, last.authority.until_s);
        let same = Identity::open(folder.path(), after(3641)).unwrap();
        assert_eq!(same.controller.certificate, last.controller.certificate, "it is not made anew each time");
        let error = Identity::open(folder.path(), after(3650)).err().unwrap();
        assert!(
            matches!(error, IdentityError::Expired { .. })
                && error.to_string().contains("muster up --listen")
        );
    }
}
