//! What tests of teams share: a kernel run by a foreman with a team of threads in this process.

use crate::foreman::{Answered, Foreman, ForemanError, Outcome, Request};
use crate::launch::Launch;
use crate::ledger::{Header, Ledger};
use crate::program::{Described, Program};
use crate::progress::Event;
use crossbeam_channel::unbounded;
use serde::Serialize;
use std::path::Path;

/// The spec as the one program of `programs` describes it.
pub(crate) fn described(programs: &[Program], spec: &impl Serialize) -> Described {
    (programs[0].describe)(&serde_json::to_string(spec).unwrap()).unwrap()
}

/// The ledger of that job in `dir`.
pub(crate) fn open(dir: &Path, described: &Described) -> Ledger {
    let header = Header {
        kernel: described.kernel.clone(),
        class: described.class,
        spec_json: described.spec_json.clone(),
        grid: described.grid,
        inputs: Vec::new(),
        program: None,
    };
    Ledger::open(dir, &header).unwrap()
}

/// Runs a foreman with a team of `ranks`, from the ledger in `dir` if there is one; drains at the `stop`th event of
/// progress.
pub(crate) fn run(
    programs: &'static [Program],
    spec: &impl Serialize,
    dir: Option<&Path>,
    ranks: usize,
    stop: Option<usize>,
) -> Result<Outcome, ForemanError> {
    let described = described(programs, spec);
    let ledger = dir.map(|dir| open(dir, &described));
    let request = Request {
        described,
        threads: Some(2),
        memory_limit: None,
        simd: None,
        max_attempts: 1,
        placement: false,
    };
    let (interrupt, interrupted) = unbounded();
    let mut seen = 0;
    let mut tell = |event| {
        seen += usize::from(matches!(event, Event::Progress { .. }));
        if stop == Some(seen) {
            interrupt.send(()).unwrap();
        }
    };
    Foreman::new(&request, ledger, &mut tell, &interrupted).run(&Launch::Threads { ranks }, programs)
}

/// The answer, where there is one.
pub(crate) fn answered(outcome: Result<Outcome, ForemanError>) -> Answered {
    match outcome.unwrap() {
        Outcome::Answered(answered) => *answered,
        Outcome::Interrupted(mark) => panic!("interrupted at {mark}"),
    }
}
