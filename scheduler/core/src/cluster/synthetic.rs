//! Clusters that nobody has, for simulation: so many equal hosts.

use super::host::Host;
use super::hosts::{Hosts, HostsError};
use super::shape::Shape;
use std::collections::BTreeMap;

/// A cluster of `count` hosts of one shape, named `h0`, `h1` and so on, without licences.
///
/// # Errors
///
/// When the shape cannot be counted.
pub fn synthetic(count: u32, shape: &Shape) -> Result<Hosts, HostsError> {
    let mut hosts = Hosts::new(&BTreeMap::new());
    for number in 0..count {
        hosts.add(Host::new(format!("h{number}"), shape.clone()))?;
    }
    Ok(hosts)
}
