//! The shape of this host as the queue counts it.

use super::gpus;
use crate::topology;
use muster_core::cluster::Shape;
use std::path::Path;

/// The shape of this host as the queue counts it: its domains that have cores, with their memory, and its GPUs: those of
/// these kinds, or those that are seen where nobody says.
///
/// # Errors
/// Why there is no usable CPU, or more of something than is counted.
pub fn shape(kinds: Option<&[String]>) -> Result<Shape, String> {
    let host = topology::discover()?;
    let machine = topology::machine()?;
    let memory = |id: u32| machine.domains.iter().find(|domain| domain.id == id);
    let memory: Vec<u64> =
        host.domains.iter().map(|d| memory(d.id).map_or(0, |domain| domain.memory_bytes >> 20)).collect();
    let gpus = kinds.map_or_else(|| gpus::seen(Path::new("/"), &host), |kinds| gpus::told(kinds, &host));
    let shape = Shape::seen(&host, &memory, gpus);
    shape.check().map(|()| shape).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_host_can_be_counted() {
        assert!(super::shape(None).unwrap().cores() >= 1);
        assert_eq!(super::shape(Some(&["a".into(), "b".into()])).unwrap().gpus.len(), 2);
    }
}
