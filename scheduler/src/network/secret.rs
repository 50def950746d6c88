//! Secrets: what proves a host's right to join, and later that it is the host that joined.
//!
//! Invariants: 160 bits from the operating system; what is kept of one on the controller is its hash; none is shown by
//! `Debug`.

use super::base32;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a secret.
const BYTES: usize = 20;

/// A token, or a host's credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The BLAKE3 hash of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretHash([u8; 32]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn make() -> std::io::Result<Secret> {
        let mut bytes = [0; BYTES];
        let mut filled = 0;
        while filled < BYTES {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Secret(base32::encode(&bytes)))
    }

    /// One that somebody has typed: 32 letters and digits, capitals and blanks around it allowed.
    pub fn read(text: &str) -> Option<Secret> {
        base32::normal(text, BYTES).map(Secret)
    }

    /// The text that is handed over.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(*blake3::hash(self.0.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_was_written_and_never_shown() {
        let (a, b) = (Secret::make().unwrap(), Secret::make().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.text().len(), 32);
        assert_eq!(Secret::read(&format!("  {}\n", a.text().to_uppercase())), Some(a.clone()));
        assert_eq!(
            (Secret::read(""), Secret::read(&a.text()[1..]), Secret::read(&"1".repeat(32))),
            (None, None, None)
        );
        assert!(!format!("{a:?}").contains(a.text()));
        assert_ne!(a.hash(), b.hash());
    }
}
