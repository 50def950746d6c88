//! Where a pool is: `HOST:PORT#FINGERPRINT`, as `muster token` prints it.

use crate::network::fingerprint::Fingerprint;
use std::fmt;
use std::str::FromStr;

/// A pool, as its hosts know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name or an address, in brackets where it has colons, and a port.
    pub address: String,
    /// Of the certificate of its authority.
    pub fingerprint: Fingerprint,
}

/// A text that names no pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no pool: paste HOST:PORT#FINGERPRINT as `muster token` prints it on the pool's host")]
pub struct NotAPlace(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.address, self.fingerprint)
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Place, NotAPlace> {
        let read = || {
            let (address, fingerprint) = text.trim().rsplit_once('#')?;
            let (host, port) = address.rsplit_once(':')?;
            let bracketed = host.starts_with('[') && host.ends_with(']');
            let right = !host.is_empty() && (bracketed || !host.contains(':'));
            port.parse::<u16>().ok().filter(|_| right)?;
            Some(Place { address: address.to_owned(), fingerprint: fingerprint.parse().ok()? })
        };
        read().ok_or_else(|| NotAPlace(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_printed() {
        let print = Fingerprint::of(b"x");
        for address in ["a:1", "10.0.0.1:7461", "[::1]:7461"] {
            let text = format!("{address}#{print}");
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for wrong in ["", "a:1", "a:1#b", "a#b"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
        for address in ["a", "a:x", "a:70000", ":1", "::1:5"] {
            assert!(format!("{address}#{print}").parse::<Place>().is_err(), "{address}");
        }
    }
}
