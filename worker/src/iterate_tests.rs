//! Tests of kernels that go round: one hash over teams, and over drains and cut logs inside a round.

use crate::foreman::{ForemanError, Mark, Outcome};
use crate::program::{Described, Program};
use crate::receipt::{Answer, Receipt};
use crate::scratch::Scratch;
use crate::trial::{self, answered, open};
use muster_kernels::{Class, Fold, Grid, Iterate, Partial, Pattern, Problem, Problems, Turn, Work};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::LazyLock;

/// Moves `x` by a tenth of `sum(1 / (i + x))` over `i` in `1..=items` each round. Sums round, so that any other tree
/// shows.
struct Walk(WalkSpec);

#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
struct WalkSpec {
    #[arg(long, default_value_t = 100_000)]
    items: u64,
    #[arg(long, default_value_t = 13)]
    blocks: u64,
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// The round whose `finish` panics.
    #[arg(long, default_value_t = 0)]
    panics: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct At {
    round: u32,
    x: f64,
}

#[derive(Serialize, Deserialize)]
struct Sum(f64);

impl Partial for Sum {
    fn merge(self, right: Self) -> Self {
        Sum(self.0 + right.0)
    }
}

#[derive(Serialize)]
struct Walked {
    x: f64,
}

impl std::fmt::Display for Walked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "x {}", self.x)
    }
}

impl WalkSpec {
    fn next(at: &At, sum: f64) -> At {
        At { round: at.round + 1, x: at.x + sum / 10.0 }
    }
}

impl Iterate for Walk {
    type Spec = WalkSpec;
    type State = At;
    type Partial = Sum;
    type Answer = Walked;

    const NAME: &'static str = "walk";

    fn prepare(spec: &WalkSpec) -> Result<Self, Problems> {
        Ok(Walk(spec.clone()))
    }

    fn grid(&self) -> Grid {
        Grid::new(self.0.blocks)
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn work(&self) -> Work {
        Work { total: self.0.items as f64, unit: "items".into() }
    }

    fn start(&self) -> Result<At, Problems> {
        match self.0.rounds {
            0 => Err(Problem::new("--rounds", "is 0, and there is no answer without one").into()),
            _ => Ok(At { round: 1, x: 1.0 }),
        }
    }

    fn fold(&self, at: &At, block: u32, _: &mut Fold) -> Result<Sum, Problems> {
        let share = self.grid().share(self.0.items, block);
        Ok(Sum(share.map(|i| 1.0 / (i as f64 + 1.0 + at.x)).sum()))
    }

    fn finish(&self, at: &At, root: Sum) -> Result<Turn<At, Walked>, Problems> {
        assert!(at.round != self.0.panics, "round {} is bad", at.round);
        let next = WalkSpec::next(at, root.0);
        Ok(if at.round == self.0.rounds { Turn::Answer(Walked { x: next.x }) } else { Turn::Next(next) })
    }
}

static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| vec![Program::of::<Walk>()]);

const SPEC: WalkSpec = WalkSpec { items: 100_000, blocks: 13, rounds: 9, panics: 0 };

fn described(spec: &WalkSpec) -> Described {
    trial::described(&PROGRAMS, spec)
}

fn run(
    spec: &WalkSpec,
    dir: Option<&Path>,
    ranks: usize,
    stop: Option<usize>,
) -> Result<Outcome, ForemanError> {
    trial::run(&PROGRAMS, spec, dir, ranks, stop)
}

#[test]
fn rounds_give_the_answer_of_a_plain_loop() {
    let answer = answered(run(&SPEC, None, 1, None));
    let mut at = At { round: 1, x: 1.0 };
    for _ in 0..SPEC.rounds {
        at = WalkSpec::next(&at, (1..=SPEC.items).map(|i| 1.0 / (i as f64 + at.x)).sum());
    }
    let x: f64 =
        serde_json::from_str::<serde_json::Value>(&answer.finished.json).unwrap()["x"].as_f64().unwrap();
    assert!((x - at.x).abs() < 1e-9 * at.x, "{x} {}", at.x);
    assert_eq!(answer.mark.round, Some(9));
}

#[test]
fn one_hash_over_teams() {
    for spec in [SPEC, WalkSpec { blocks: 1, ..SPEC }, WalkSpec { rounds: 1, ..SPEC }] {
        let reference = answered(run(&spec, None, 1, None));
        for ranks in [1, 2, 3, 5] {
            let scratch = Scratch::new("iterate-teams");
            let answer = answered(run(&spec, Some(&scratch.path().join("k")), ranks, None));
            assert_eq!(answer.finished.hash, reference.finished.hash, "{ranks} ranks");
            assert_eq!((&answer.leaves, &answer.state), (&reference.leaves, &reference.state));
        }
    }
}

#[test]
fn drained_anywhere_it_goes_on_inside_the_round() {
    let spec = WalkSpec { items: 3_000_000, blocks: 40, ..SPEC };
    let reference = answered(run(&spec, None, 1, None));
    let mut inside = 0;
    for (stop, ranks) in [(31, 1), (60, 3), (101, 5)] {
        let scratch = Scratch::new("iterate-drain");
        let dir = scratch.path().join("k");
        let mut before = Mark { round: Some(1), done: 0, blocks: 40 };
        let answer = loop {
            match run(&spec, Some(&dir), ranks, Some(stop)).unwrap() {
                Outcome::Answered(answer) => break answer,
                Outcome::Interrupted(mark) => {
                    assert!(mark.passes() >= before.passes(), "{mark} after {before}");
                    let standing = open(&dir, &described(&spec));
                    assert_eq!(
                        Some(standing.book().round()),
                        mark.round,
                        "the ledger is where the foreman says"
                    );
                    inside += usize::from(mark.round > Some(1) && mark.done > 0);
                    before = mark;
                }
            }
        };
        assert_eq!(answer.resumed, before, "nothing that was committed is computed again");
        assert_eq!(answer.finished.hash, reference.finished.hash, "stopped each {stop} of {ranks} ranks");
        assert_eq!(answer.leaves, reference.leaves);
    }
    assert!(inside > 3, "only {inside} drains hit the inside of a later round");
}

#[test]
fn a_log_cut_at_any_byte_gives_the_same_answer() {
    let spec = WalkSpec { items: 1_000_000, blocks: 6, rounds: 4, panics: 0 };
    let reference = answered(run(&spec, None, 1, None)).finished.hash;
    let scratch = Scratch::new("iterate-cut");
    // A fast team may be done before it hears that it shall stop: then another try is interrupted elsewhere.
    let (dir, log) = (0..50)
        .find_map(|n| {
            let dir = scratch.path().join(format!("k{n}"));
            let mut log = None;
            while let Outcome::Interrupted(_) = run(&spec, Some(&dir), 1, Some(1 + n % 10)).unwrap() {
                let later = open(&dir, &described(&spec)).book().round() > 1;
                log = later.then(|| std::fs::read(dir.join("ledger.log")).unwrap());
            }
            Some((dir, log?))
        })
        .expect("a run is interrupted in a later round than the first");
    for cut in (0..=log.len()).rev() {
        std::fs::write(dir.join("ledger.log"), &log[..cut]).unwrap();
        let answer = answered(run(&spec, Some(&dir), if cut % 16 == 0 { 3 } else { 1 }, None));
        assert_eq!(answer.finished.hash, reference, "cut at {cut} of {}", log.len());
    }
}

#[test]
fn a_receipt_holds_what_the_last_round_began_from() {
    let described = described(&SPEC);
    assert_eq!(described.pattern, Pattern::Iterate);
    let answered = answered(run(&SPEC, None, 3, None));
    let answer = Answer::new(&described, &answered, 1.0);
    assert!(answer.to_text().contains("blocks   13 in each of 9 rounds, 1 attempt"), "{}", answer.to_text());
    let scratch = Scratch::new("iterate-receipt");
    let path = scratch.path().join("r.json");
    std::fs::write(&path, serde_json::to_string(&Receipt::new(&described, &answered, &answer)).unwrap())
        .unwrap();
    let receipt = Receipt::read(&path).unwrap();
    let (leaves, mut state) = (receipt.leaves().unwrap(), receipt.state().unwrap());
    assert_eq!(receipt.round, Some(9));
    let same = |state: &[u8]| {
        let mut same = 0;
        let blocks: Vec<u32> = (0..13).collect();
        (PROGRAMS[0].replay)((receipt.spec.get(), state), None, &blocks, &mut |block, replayed| {
            same += usize::from(replayed.hash == leaves[block as usize]);
            true
        })
        .unwrap();
        same
    };
    assert_eq!(same(&state), 13);
    *state.last_mut().unwrap() ^= 1;
    assert_eq!(same(&state), 0, "another state, other bits");
    let text = std::fs::read_to_string(&path).unwrap().replacen("\"state\":\"", "\"state\":\"x", 1);
    std::fs::write(&path, text).unwrap();
    assert!(Receipt::read(&path).unwrap_err().to_string().contains("its state cannot be read"));
}

#[test]
fn what_is_wrong_with_a_round_ends_the_job_with_its_words() {
    for ranks in [1, 3] {
        let error = run(&WalkSpec { panics: 4, ..SPEC }, None, ranks, None).unwrap_err().to_string();
        assert_eq!(error, "the kernel walk panicked: round 4 is bad");
        let error = run(&WalkSpec { rounds: 0, ..SPEC }, None, ranks, None).unwrap_err();
        assert!(matches!(&error, ForemanError::BadInput(_)), "{error}");
        assert!(error.to_string().starts_with("--rounds: is 0"), "{error}");
    }
}
