//! The protocol in a simulator: hundreds of seeds, each a story of faults, and the mutants that some of them catch.
//! `make seeds` runs twenty thousand.

mod checks;
mod clock;
mod faults;
mod head;
mod host;
mod office;
mod random;
mod spec;
mod world;

use muster_core::protocol::guard::Guard;

#[test]
fn every_seed_keeps_the_promises() {
    for seed in 0..2_000 {
        if let Some(broken) = world::tell(seed, false).broken {
            let lines = world::tell(seed, true).lines;
            panic!("{}\nseed {seed}: {broken}", lines.join("\n"));
        }
    }
}

/// A seed that notices, for each guard; `make seeds` finds others when the stories change.
const NOTICED: &[(Guard, u64)] = &[
    (Guard::DurableFirst, 6),
    (Guard::NewTerm, 48),
    (Guard::WaitAfterRestart, 8),
    (Guard::WaitForLease, 6),
    (Guard::AllowForSkew, 207),
    (Guard::LeaseFromAsking, 13720),
    (Guard::StayUnlessReported, 602),
    (Guard::OrderOfSession, 27),
    (Guard::OrderInLease, 2671),
    (Guard::OrderOnce, 20),
    (Guard::NoteBeforeLaunch, 0),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 3),
    (Guard::ShepherdKills, 396),
    (Guard::ShepherdWatched, 0),
    (Guard::LeftoversFirst, 11),
    (Guard::AllPartsOver, 0),
    (Guard::BootKnown, 25),
    (Guard::FreeWhenLeft, 71),
    (Guard::ForgottenFirst, 17823),
    (Guard::NewestReport, 1378),
    (Guard::FencedCommit, 95),
    (Guard::BlockOnce, 0),
    (Guard::DoneWhenStored, 12),
    (Guard::KeptIdle, 4173),
];

#[test]
fn no_guard_goes_unnoticed() {
    let guards: Vec<Guard> = NOTICED.iter().map(|(guard, _)| *guard).collect();
    assert_eq!(guards, Guard::ALL);
    for (guard, seed) in NOTICED {
        Guard::take_out(Some(*guard));
        let broken = world::tell(*seed, false).broken;
        Guard::take_out(None);
        assert!(broken.is_some(), "seed {seed} does not notice that {guard:?} is out: run `make seeds`");
        assert_eq!(world::tell(*seed, false).broken, None, "seed {seed}");
    }
}

#[test]
fn a_seed_is_one_story() {
    for seed in [1, 2] {
        let hash = world::tell(seed, false).hash;
        assert!((0..50).all(|run| world::tell(seed, run == 0).hash == hash), "seed {seed}");
    }
    assert_eq!(world::stories(100), world::HUNDRED);
}
