//! The protocol in a simulator: hundreds of seeds, each a story of faults, and the mutants that some of them catch.
//! `make seeds` runs twenty thousand.

mod checks;
mod clock;
mod faults;
mod head;
mod host;
mod office;
mod random;
mod small_desk;
mod world;

use muster_core::protocol::guard::Guard;

#[test]
fn every_seed_keeps_the_promises() {
    for seed in 0..300 {
        if let Some(broken) = world::tell(seed, false).broken {
            let lines = world::tell(seed, true).lines;
            panic!("{}\nseed {seed}: {broken}", lines.join("\n"));
        }
    }
}
