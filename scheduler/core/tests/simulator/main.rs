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
    for seed in 0..2_000 {
        if let Some(broken) = world::tell(seed, false).broken {
            let lines = world::tell(seed, true).lines;
            panic!("{}\nseed {seed}: {broken}", lines.join("\n"));
        }
    }
}

/// A seed that notices, for each guard; `make seeds` finds others when the stories change.
const NOTICED: &[(Guard, u64)] = &[
    (Guard::DurableFirst, 1),
    (Guard::NewTerm, 3),
    (Guard::WaitAfterRestart, 0),
    (Guard::WaitForLease, 10),
    (Guard::AllowForSkew, 186),
    (Guard::LeaseFromAsking, 2646),
    (Guard::StayUnlessReported, 287),
    (Guard::OrderOfSession, 13),
    (Guard::OrderInLease, 2018),
    (Guard::OrderOnce, 2),
    (Guard::NoteBeforeLaunch, 0),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 42),
    (Guard::ShepherdKills, 25),
    (Guard::ShepherdWatched, 0),
    (Guard::LeftoversFirst, 25),
    (Guard::AllPartsOver, 0),
    (Guard::BootKnown, 70),
    (Guard::FreeWhenLeft, 209),
    (Guard::ForgottenFirst, 921),
    (Guard::NewestReport, 3564),
    (Guard::FencedCommit, 13),
    (Guard::BlockOnce, 6),
    (Guard::DoneWhenStored, 0),
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
