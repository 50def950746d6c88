//! The other end of the network door: how a host, or whoever else has a credential, asks a pool.

mod dial;
mod error;
mod place;
mod trust;

pub use dial::{Dialer, Line};
pub use error::ClientError;
pub use place::{NotAPlace, Place};
