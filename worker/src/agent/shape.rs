//! The shape of this host as the queue counts it.

use crate::topology;
use muster_core::cluster::Shape;

/// The shape of this host as the queue counts it: its domains that have cores, with their memory.
///
/// # Errors
/// Why there is no usable CPU, or more of something than is counted.
pub fn shape() -> Result<Shape, String> {
    let host = topology::discover()?;
    let machine = topology::machine()?;
    let memory = |id: u32| machine.domains.iter().find(|domain| domain.id == id);
    let memory: Vec<u64> =
        host.domains.iter().map(|d| memory(d.id).map_or(0, |domain| domain.memory_bytes >> 20)).collect();
    let shape = Shape::seen(&host, &memory, Vec::new());
    shape.check().map(|()| shape).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_host_can_be_counted() {
        assert!(super::shape().unwrap().cores() >= 1);
    }
}
