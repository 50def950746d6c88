//! Tests of running partials: one hash and one set of leaves over teams, and over drains and cut logs.

use crate::foreman::Outcome;
use crate::program::Program;
use crate::scratch::Scratch;
use crate::trial::{self, answered, described, open};
use muster_kernels::{Class, Fold, Grid, Kernel, Order, Partial, Problem, Problems, Work};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Counts the items of each remainder of their squares.
struct Tally(TallySpec);

#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
struct TallySpec {
    #[arg(long, default_value_t = 400_000)]
    items: u64,
    #[arg(long, default_value_t = 40)]
    blocks: u64,
    #[arg(long, default_value_t = 997)]
    keys: u64,
    /// A merge of more keys fails.
    #[arg(long, default_value_t = 997)]
    limit: u64,
    /// The block that cannot be read.
    #[arg(long, default_value_t = 1000)]
    bad: u32,
}

const SPEC: TallySpec = TallySpec { items: 400_000, blocks: 40, keys: 997, limit: 997, bad: 1000 };

#[derive(Serialize, Deserialize)]
struct Counts(BTreeMap<u64, u64>);

impl Partial for Counts {
    fn merge(mut self, right: Self) -> Self {
        for (key, count) in right.0 {
            *self.0.entry(key).or_default() += count;
        }
        self
    }

    fn bytes(&self) -> u64 {
        16 * self.0.len() as u64
    }
}

#[derive(Serialize)]
struct Tallied {
    counts: BTreeMap<u64, u64>,
}

impl std::fmt::Display for Tallied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.counts.len())
    }
}

impl Tally {
    fn tally(&self, block: u32, cx: &mut Fold, counts: &mut BTreeMap<u64, u64>) -> Result<(), Problems> {
        if block == self.0.bad {
            return Err(Problem::new("items", "cannot be read").into());
        }
        let share = self.grid().share(self.0.items, block);
        cx.note_read(format!("{share:?}").as_bytes());
        for i in share {
            *counts.entry(i * i % self.0.keys).or_default() += 1;
        }
        Ok(())
    }
}

impl Kernel for Tally {
    type Spec = TallySpec;
    type Partial = Counts;
    type Answer = Tallied;

    const NAME: &'static str = "tally";

    fn prepare(spec: &TallySpec) -> Result<Self, Problems> {
        Ok(Tally(spec.clone()))
    }

    fn grid(&self) -> Grid {
        Grid::new(self.0.blocks)
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn order(&self) -> Order {
        Order::Running
    }

    fn work(&self) -> Work {
        Work { total: self.0.items as f64, unit: "items".into() }
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<Counts, Problems> {
        let mut counts = BTreeMap::new();
        self.tally(block, cx, &mut counts)?;
        Ok(Counts(counts))
    }

    fn add(&self, block: u32, cx: &mut Fold, to: &mut Option<Counts>) -> Result<(), Problems> {
        self.tally(block, cx, &mut to.get_or_insert_with(|| Counts(BTreeMap::new())).0)
    }

    fn merge(&self, left: Counts, right: Counts) -> Result<Counts, Problems> {
        let merged = left.merge(right);
        if merged.0.len() as u64 > self.0.limit {
            return Err(
                Problem::new("--limit", format!("is {}, and there are more keys", self.0.limit)).into()
            );
        }
        Ok(merged)
    }

    fn finish(&self, root: Counts) -> Result<Tallied, Problems> {
        Ok(Tallied { counts: root.0 })
    }
}

static PROGRAMS: LazyLock<Vec<Program>> = LazyLock::new(|| vec![Program::of::<Tally>()]);

#[test]
fn one_hash_over_teams_and_that_of_a_plain_loop() {
    for spec in [SPEC, TallySpec { blocks: 1, ..SPEC }, TallySpec { items: 3, blocks: 3, ..SPEC }] {
        let reference = answered(trial::run(&PROGRAMS, &spec, None, 1, None));
        let mut plain = BTreeMap::new();
        (0..spec.items).for_each(|i| *plain.entry(i * i % spec.keys).or_default() += 1);
        let told = serde_json::to_string(&Tallied { counts: plain }).unwrap();
        assert_eq!(reference.finished.json, told);
        for ranks in [1, 2, 3, 5] {
            let scratch = Scratch::new("running-teams");
            let answer = answered(trial::run(&PROGRAMS, &spec, Some(&scratch.path().join("k")), ranks, None));
            assert_eq!(answer.finished.hash, reference.finished.hash, "{ranks} ranks");
            assert_eq!(answer.leaves, reference.leaves, "{ranks} ranks");
        }
    }
}

#[test]
fn drained_anywhere_it_goes_on_from_what_was_added() {
    let spec = TallySpec { items: 2_000_000, ..SPEC };
    let reference = answered(trial::run(&PROGRAMS, &spec, None, 1, None));
    let mut inside = 0;
    for (stop, ranks) in [(2, 1), (4, 3), (7, 5)] {
        let scratch = Scratch::new("running-drain");
        let dir = scratch.path().join("k");
        let mut before = 0;
        let answer = loop {
            match trial::run(&PROGRAMS, &spec, Some(&dir), ranks, Some(stop)).unwrap() {
                Outcome::Answered(answer) => break answer,
                Outcome::Interrupted(mark) => {
                    assert!(mark.done >= before, "{mark} after {before}");
                    let standing = open(&dir, &described(&PROGRAMS, &spec));
                    assert_eq!(
                        standing.book().done().len(),
                        mark.done,
                        "the ledger is where the foreman says"
                    );
                    inside += usize::from(mark.done > before);
                    before = mark.done;
                }
            }
        };
        assert_eq!(answer.resumed.done, before, "nothing that was committed is computed again");
        assert_eq!(answer.finished.hash, reference.finished.hash, "stopped each {stop} of {ranks} ranks");
        assert_eq!(answer.leaves, reference.leaves);
    }
    assert!(inside > 3, "only {inside} drains hit the inside of the job");
}

#[test]
fn a_log_cut_at_any_byte_gives_the_same_answer() {
    let spec = TallySpec { items: 600_000, blocks: 12, keys: 7, ..SPEC };
    let reference = answered(trial::run(&PROGRAMS, &spec, None, 1, None)).finished.hash;
    let scratch = Scratch::new("running-cut");
    // A fast machine may have the answer before it hears of the interrupt: then there is no log of half of it.
    let halves = (0..1_000).find_map(|number| {
        let (dir, mut log) = (scratch.path().join(number.to_string()), Vec::new());
        while let Outcome::Interrupted(_) = trial::run(&PROGRAMS, &spec, Some(&dir), 1, Some(1)).unwrap() {
            log = std::fs::read(dir.join("ledger.log")).unwrap();
        }
        let some = !open(&dir, &described(&PROGRAMS, &spec)).book().done().is_empty();
        (some && !log.is_empty()).then_some((dir, log))
    });
    let (dir, log) = halves.expect("one of a thousand is interrupted");
    for cut in (0..=log.len()).rev() {
        std::fs::write(dir.join("ledger.log"), &log[..cut]).unwrap();
        let ranks = if cut % 16 == 0 { 3 } else { 1 };
        let answer = answered(trial::run(&PROGRAMS, &spec, Some(&dir), ranks, None));
        assert_eq!(answer.finished.hash, reference, "cut at {cut} of {}", log.len());
    }
}

#[test]
fn what_is_wrong_ends_the_job_with_its_words() {
    for ranks in [1, 3] {
        let error = trial::run(&PROGRAMS, &TallySpec { bad: 17, ..SPEC }, None, ranks, None).unwrap_err();
        assert!(error.to_string().contains("items: cannot be read"), "{error}");
        let error = trial::run(&PROGRAMS, &TallySpec { limit: 3, ..SPEC }, None, ranks, None).unwrap_err();
        assert!(error.to_string().contains("--limit: is 3, and there are more keys"), "{error}");
    }
}
