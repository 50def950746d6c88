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
    (Guard::DurableFirst, 0),
    (Guard::NewTerm, 19),
    (Guard::WaitAfterRestart, 3),
    (Guard::WaitForLease, 54),
    (Guard::AllowForSkew, 927),
    (Guard::LeaseFromAsking, 3428),
    (Guard::StayUnlessReported, 1),
    (Guard::OrderOfSession, 6),
    (Guard::OrderInLease, 9777),
    (Guard::OrderOnce, 2),
    (Guard::NoteBeforeLaunch, 0),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 6),
    (Guard::ShepherdKills, 104),
    (Guard::ShepherdWatched, 6),
    (Guard::LeftoversFirst, 1),
    (Guard::AllPartsOver, 0),
    (Guard::BootKnown, 13),
    (Guard::FreeWhenLeft, 11),
    (Guard::ForgottenFirst, 2),
    (Guard::NewestReport, 2763),
    (Guard::StoppedFirst, 4),
    (Guard::StoppedNow, 288),
    (Guard::LimitWaits, 391),
    (Guard::GraceEnds, 3),
    (Guard::HandInFirst, 16),
    (Guard::FencedCommit, 60),
    (Guard::BlockOnce, 1),
    (Guard::CommitInOrder, 12),
    (Guard::FetchWhole, 0),
    (Guard::PieceInPlace, 14),
    (Guard::ProbeOfLook, 29),
    (Guard::InputsThere, 1),
    (Guard::GridOfProbe, 15),
    (Guard::DoneWhenStored, 2),
    (Guard::KeptIdle, 1924),
    (Guard::HandedOver, 6),
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
