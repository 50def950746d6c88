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
    (Guard::NewTerm, 11),
    (Guard::WaitAfterRestart, 5),
    (Guard::WaitForLease, 6),
    (Guard::AllowForSkew, 108),
    (Guard::LeaseFromAsking, 3254),
    (Guard::StayUnlessReported, 1),
    (Guard::OrderOfSession, 33),
    (Guard::OrderInLease, 5122),
    (Guard::OrderOnce, 19),
    (Guard::NoteBeforeLaunch, 1),
    (Guard::KeepOutcome, 0),
    (Guard::ReportOfSession, 100),
    (Guard::ShepherdKills, 6),
    (Guard::ShepherdWatched, 6),
    (Guard::LeftoversFirst, 0),
    (Guard::AllPartsOver, 2),
    (Guard::BootKnown, 8),
    (Guard::FreeWhenLeft, 14),
    (Guard::ForgottenFirst, 0),
    (Guard::NewestReport, 147),
    (Guard::StoppedFirst, 15),
    (Guard::StoppedNow, 995),
    (Guard::LimitWaits, 281),
    (Guard::GraceEnds, 1),
    (Guard::HandInFirst, 16),
    (Guard::FencedCommit, 9),
    (Guard::BlockOnce, 0),
    (Guard::CommitInOrder, 12),
    (Guard::FetchWhole, 0),
    (Guard::PieceInPlace, 64),
    (Guard::ProbeOfLook, 451),
    (Guard::InputsThere, 0),
    (Guard::GridOfProbe, 29),
    (Guard::DoneWhenStored, 0),
    (Guard::KeptIdle, 13258),
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
