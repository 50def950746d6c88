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
    (Guard::NewTerm, 5),
    (Guard::WaitAfterRestart, 1),
    (Guard::WaitForLease, 11),
    (Guard::AllowForSkew, 605),
    (Guard::LeaseFromAsking, 839),
    (Guard::StayUnlessReported, 802),
    (Guard::OrderOfSession, 6),
    (Guard::OrderInLease, 5881),
    (Guard::OrderOnce, 2),
    (Guard::NoteBeforeLaunch, 0),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 2),
    (Guard::ShepherdKills, 574),
    (Guard::ShepherdWatched, 4),
    (Guard::LeftoversFirst, 0),
    (Guard::AllPartsOver, 0),
    (Guard::BootKnown, 1),
    (Guard::FreeWhenLeft, 2),
    (Guard::ForgottenFirst, 12),
    (Guard::NewestReport, 200),
    (Guard::StoppedFirst, 59),
    (Guard::StoppedNow, 732),
    (Guard::LimitWaits, 223),
    (Guard::GraceEnds, 0),
    (Guard::HandInFirst, 11),
    (Guard::FencedCommit, 17),
    (Guard::BlockOnce, 1),
    (Guard::CommitInOrder, 6),
    (Guard::FetchWhole, 0),
    (Guard::PieceInPlace, 48),
    (Guard::ProbeOfLook, 32),
    (Guard::InputsThere, 9),
    (Guard::GridOfProbe, 15),
    (Guard::DoneWhenStored, 0),
    (Guard::KeptIdle, 2632),
    (Guard::HandedOver, 12),
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
