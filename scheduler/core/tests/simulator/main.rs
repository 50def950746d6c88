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
    (Guard::NewTerm, 1),
    (Guard::WaitAfterRestart, 0),
    (Guard::WaitForLease, 0),
    (Guard::AllowForSkew, 227),
    (Guard::LeaseFromAsking, 928),
    (Guard::StayUnlessReported, 6),
    (Guard::OrderOfSession, 135),
    (Guard::OrderInLease, 3470),
    (Guard::OrderOnce, 3),
    (Guard::NoteBeforeLaunch, 1),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 34),
    (Guard::ShepherdKills, 243),
    (Guard::ShepherdWatched, 0),
    (Guard::LeftoversFirst, 20),
    (Guard::AllPartsOver, 0),
    (Guard::BootKnown, 31),
    (Guard::FreeWhenLeft, 3),
    (Guard::ForgottenFirst, 10),
    (Guard::NewestReport, 1749),
    (Guard::StoppedFirst, 57),
    (Guard::StoppedNow, 57),
    (Guard::KilledStopped, 286),
    (Guard::LimitWaits, 72),
    (Guard::HandInFirst, 5),
    (Guard::FencedCommit, 29),
    (Guard::BlockOnce, 1),
    (Guard::CommitInOrder, 18),
    (Guard::FetchWhole, 1),
    (Guard::PieceInPlace, 3),
    (Guard::ProbeOfLook, 81),
    (Guard::InputsThere, 1),
    (Guard::GridOfProbe, 1),
    (Guard::DoneWhenStored, 2),
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
