//! The fingerprint of a pool's certificate authority: all that a host must know of a pool to trust it and nobody else.

use super::base32;
use std::fmt;
use std::str::FromStr;

/// Bytes of a fingerprint: of a BLAKE3 hash the first 160 bits.
const BYTES: usize = 20;

/// 160 bits of the BLAKE3 hash of a certificate, in 32 letters and digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint(String);

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 32 letters and digits, as `muster token` prints it on the pool's host")]
pub struct NotAFingerprint;

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        Fingerprint(base32::encode(&blake3::hash(certificate).as_bytes()[..BYTES]))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, NotAFingerprint> {
        base32::normal(text, BYTES).map(Fingerprint).ok_or(NotAFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_was_printed() {
        let print = Fingerprint::of(b"a certificate");
        assert_eq!(print.to_string().len(), 32);
        assert_eq!(print.to_string().parse(), Ok(print.clone()));
        assert_ne!(Fingerprint::of(b"another"), print);
        assert_eq!("short".parse::<Fingerprint>(), Err(NotAFingerprint));
    }
}
