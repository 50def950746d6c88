//! The whole table of states and changes: what each becomes, or why not.

use super::hold::HeldBy;
use super::id::Attempt;
use super::outcome::Outcome;
use super::placement::Placement;
use super::state::{Change, ChangeError, Done, Gate, Placed, Run, State};
use crate::cluster::{Allocation, ClassId};
use crate::time::Time;
use std::sync::Arc;

const NOW: Time = Time(1000);
const LIMIT_S: u64 = 60;

fn on(class: u32) -> Arc<Placement> {
    let allocation = Arc::new(Allocation { class: ClassId(class), parts: Vec::new() });
    Arc::new(Placement { partition: "p".into(), limit_s: Some(LIMIT_S), allocation })
}

fn placed() -> Placed {
    Placed { attempt: Attempt(2), on: on(0), started: Time(100), paused: 7, after: None }
}

fn completing(outcome: Outcome) -> State {
    State::Completing { placed: placed(), began: Some(Time(110)), since: Time(300), outcome }
}

/// One of each state, and of completing two: with an outcome of its own, and with one after which it may run again.
fn states() -> Vec<(&'static str, State)> {
    let began = Time(110);
    vec![
        ("held by user", State::Held(HeldBy::User)),
        ("held by operator", State::Held(HeldBy::Operator)),
        ("depends", State::Depends),
        ("pending", State::Pending { from: Time(50) }),
        ("starting", State::Starting(placed())),
        ("running", State::Running { placed: placed(), began }),
        ("suspended", State::Suspended { placed: placed(), began, since: Time(400) }),
        ("completing well", completing(Outcome::Completed)),
        ("completing preempted", completing(Outcome::Preempted)),
        (
            "done",
            State::Done(Done { outcome: Outcome::Failed(1), started: Some(Time(100)), ended: Time(500) }),
        ),
    ]
}

/// What a change makes of each state, in the order of [`states`]. `-` stands for an error.
const TABLE: [(&str, [&str; 10]); 18] = [
    ("hold user", ["held user", "held operator", "held user", "held user", "-", "-", "-", "-", "-", "-"]),
    (
        "hold operator",
        ["held operator", "held operator", "held operator", "held operator", "-", "-", "-", "-", "-", "-"],
    ),
    ("release user", ["pending 70", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("release operator", ["depends", "depends", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("gate 70", ["held user", "held operator", "pending 70", "pending 70", "-", "-", "-", "-", "-", "-"]),
    ("gate depends", ["held user", "held operator", "depends", "depends", "-", "-", "-", "-", "-", "-"]),
    ("start 3", ["-", "-", "-", "starting 3", "-", "-", "-", "-", "-", "-"]),
    ("begin", ["-", "-", "-", "-", "running 1000", "-", "-", "-", "-", "-"]),
    ("replace", ["-", "-", "-", "-", "starting on 5", "running on 5", "suspended on 5", "-", "-", "-"]),
    ("suspend", ["-", "-", "-", "-", "-", "suspended 1000", "-", "-", "-", "-"]),
    ("resume", ["-", "-", "-", "-", "-", "-", "running paused 607", "-", "-", "-"]),
    (
        "complete",
        ["-", "-", "-", "-", "completing timeout", "completing timeout", "completing timeout", "-", "-", "-"],
    ),
    (
        "end",
        [
            "-",
            "-",
            "-",
            "-",
            "done timeout",
            "done timeout",
            "done timeout",
            "done completed",
            "done preempted",
            "-",
        ],
    ),
    (
        "requeue 2",
        [
            "-",
            "-",
            "-",
            "-",
            "pending 90",
            "pending 90",
            "pending 90",
            "pending 90",
            "pending 90",
            "pending 90",
        ],
    ),
    (
        "requeue 2 held",
        [
            "-",
            "-",
            "-",
            "-",
            "held operator",
            "held operator",
            "held operator",
            "held operator",
            "held operator",
            "held operator",
        ],
    ),
    (
        "cancel",
        [
            "done cancelled",
            "done cancelled",
            "done cancelled",
            "done cancelled",
            "completing cancelled",
            "completing cancelled",
            "completing cancelled",
            "-",
            "completing cancelled",
            "-",
        ],
    ),
    (
        "close",
        ["done deadline", "done deadline", "done deadline", "done deadline", "-", "-", "-", "-", "-", "-"],
    ),
    ("begin 1", ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
];

fn change(name: &str) -> Change {
    let attempt = Attempt(2);
    match name {
        "hold user" => Change::Hold(HeldBy::User),
        "hold operator" => Change::Hold(HeldBy::Operator),
        "release user" => Change::Release { by: HeldBy::User, then: Gate::From(Time(70)) },
        "release operator" => Change::Release { by: HeldBy::Operator, then: Gate::Depends },
        "gate 70" => Change::Gate(Gate::From(Time(70))),
        "gate depends" => Change::Gate(Gate::Depends),
        "start 3" => Change::Start(Attempt(3), on(0), Some(9)),
        "begin" => Change::Begin(attempt),
        "begin 1" => Change::Begin(Attempt(1)),
        "replace" => Change::Replace(attempt, on(5)),
        "suspend" => Change::Suspend(attempt),
        "resume" => Change::Resume(attempt),
        "complete" => Change::Complete(attempt, Outcome::Timeout),
        "end" => Change::End(attempt, Outcome::Timeout),
        "requeue 2" => Change::Requeue { attempt, hold: None, from: Time(90) },
        "requeue 2 held" => Change::Requeue { attempt, hold: Some(HeldBy::Operator), from: Time(90) },
        "cancel" => Change::Cancel(7),
        "close" => Change::Close(Outcome::Deadline),
        other => panic!("no change is called {other}"),
    }
}

/// What the table's word for a result says in full, for the state that it came of.
fn expected(word: &str, before: &State) -> State {
    let moved = |on| Placed { on, ..before.placed().expect("it has hosts").clone() };
    let began = match before {
        State::Starting(_) => None,
        _ => Some(Time(110)),
    };
    let completing = |outcome, since| State::Completing {
        placed: before.placed().expect("it has hosts").clone(),
        began,
        since,
        outcome,
    };
    let done = |outcome| {
        let started = before.placed().map(|placed| placed.started);
        State::Done(Done { outcome, started, ended: NOW })
    };
    match word {
        "held user" => State::Held(HeldBy::User),
        "held operator" => State::Held(HeldBy::Operator),
        "depends" => State::Depends,
        "pending 70" => State::Pending { from: Time(70) },
        "pending 90" => State::Pending { from: Time(90) },
        "starting 3" => {
            let (started, after) = (NOW, Some(9));
            State::Starting(Placed { attempt: Attempt(3), on: on(0), started, paused: 0, after })
        }
        "running 1000" => State::Running { placed: placed(), began: NOW },
        "starting on 5" => State::Starting(moved(on(5))),
        "running on 5" => State::Running { placed: moved(on(5)), began: Time(110) },
        "suspended on 5" => State::Suspended { placed: moved(on(5)), began: Time(110), since: Time(400) },
        "suspended 1000" => State::Suspended { placed: placed(), began: Time(110), since: NOW },
        "running paused 607" => {
            State::Running { placed: Placed { paused: 607, ..placed() }, began: Time(110) }
        }
        "completing timeout" => completing(Outcome::Timeout, NOW),
        "completing cancelled" => match before {
            State::Completing { since, .. } => completing(Outcome::Cancelled(7), *since),
            _ => completing(Outcome::Cancelled(7), NOW),
        },
        "done timeout" => done(Outcome::Timeout),
        "done completed" => done(Outcome::Completed),
        "done preempted" => done(Outcome::Preempted),
        "done cancelled" => done(Outcome::Cancelled(7)),
        "done deadline" => done(Outcome::Deadline),
        other => panic!("no result is called {other}"),
    }
}

#[test]
fn every_state_and_change() {
    for (name, row) in TABLE {
        for ((of, state), word) in states().into_iter().zip(row) {
            let run = Run { attempts: 2, state };
            match run.next(NOW, &change(name)) {
                Ok(next) => {
                    assert_ne!(word, "-", "{name} of {of} gives {next:?}");
                    assert_eq!(next.state, expected(word, &run.state), "{name} of {of}");
                    assert_eq!(next.attempts, if name == "start 3" { 3 } else { 2 }, "{name} of {of}");
                }
                Err(error) => assert_eq!(word, "-", "{name} of {of} is refused: {error}"),
            }
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let next = |state: State, change: Change| Run { attempts: 2, state }.next(NOW, &change).unwrap_err();
    let pending = || State::Pending { from: Time(0) };
    let done = || states().pop().expect("there are states").1;
    assert_eq!(
        next(pending(), Change::Release { by: HeldBy::User, then: Gate::Depends }),
        ChangeError::NotHeld
    );
    let release = Change::Release { by: HeldBy::User, then: Gate::Depends };
    assert_eq!(next(State::Held(HeldBy::Operator), release), ChangeError::OperatorsHold);
    let other = |is, said| ChangeError::OtherAttempt { is, said };
    assert_eq!(next(pending(), Change::Start(Attempt(2), on(0), None)), other(3, 2));
    assert_eq!(next(State::Starting(placed()), Change::Begin(Attempt(1))), other(2, 1));
    let requeue = Change::Requeue { attempt: Attempt(1), hold: None, from: NOW };
    assert_eq!(next(done(), requeue), other(2, 1));
    for change in ["hold user", "start 3", "begin", "suspend", "end", "cancel", "close"] {
        assert_eq!(next(done(), self::change(change)), ChangeError::Ended, "{change}");
    }
    let said = next(State::Starting(placed()), Change::Hold(HeldBy::User)).to_string();
    assert_eq!(said, "it is starting, and only what waits can be held");
}

#[test]
fn the_end_by_the_time_limit_counts_pauses() {
    let end = |state: &State| state.expected_end().map(|end| end.0);
    let expected = [None, None, None, None, Some(60_107), Some(60_117), None, Some(300), Some(300), None];
    for ((name, state), expected) in states().iter().zip(expected) {
        assert_eq!(end(state), expected, "{name}");
    }
}
