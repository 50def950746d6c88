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
    (Guard::DurableFirst, 4),
    (Guard::NewTerm, 102),
    (Guard::WaitAfterRestart, 0),
    (Guard::WaitForLease, 13),
    (Guard::AllowForSkew, 186),
    (Guard::LeaseFromAsking, 186),
    (Guard::StayUnlessReported, 188),
    (Guard::OrderOfSession, 92),
    (Guard::OrderInLease, 6810),
    (Guard::OrderOnce, 9),
    (Guard::NoteBeforeLaunch, 2),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 34),
    (Guard::ShepherdKills, 186),
    (Guard::ShepherdWatched, 0),
    (Guard::LeftoversFirst, 2),
    (Guard::AllPartsOver, 0),
    (Guard::BootKnown, 28),
    (Guard::FreeWhenLeft, 27),
    (Guard::ForgottenFirst, 478),
    (Guard::NewestReport, 753),
    (Guard::FencedCommit, 53),
    (Guard::BlockOnce, 2),
    (Guard::CommitInOrder, 4),
    (Guard::FetchWhole, 2),
    (Guard::PieceInPlace, 2),
    (Guard::ProbeOfLook, 340),
    (Guard::InputsThere, 3),
    (Guard::GridOfProbe, 0),
    (Guard::DoneWhenStored, 4),
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
