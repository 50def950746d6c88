//! Replays against the naive reference: on an excerpt of a real log, and on any small trace.

mod malleable;
mod naive;

use muster_core::policy::Policy;
use muster_core::time::Time;
use muster_core::trace::replay::{Mode, replay};
use muster_core::trace::report::{Report, start_lines};
use muster_core::trace::{Dropped, Trace, TraceJob, TraceOptions, swf};
use proptest::prelude::*;

const EXCERPT: &[u8] = include_bytes!("excerpt.swf");

/// Hashes of the excerpt's schedules, which the naive reference gives, too: policy, batch, per event.
const HASHES: &[(&str, &str, &str)] = &[
    ("default", "d04bd6f50d267aa7", "a14a3fb5ec0e0719"),
    ("fcfs", "50695e1329847aa1", "50695e1329847aa1"),
    ("easy", "f9eb293e6b19acf8", "22ff7c4801439ac4"),
    ("easy-sjf", "1083f9bf2a3371e4", "1083f9bf2a3371e4"),
    ("cons", "b92d9db1ab071c8e", "b92d9db1ab071c8e"),
    ("sjf+easy", "060ca1a16e5aec72", "e06b89c13c884119"),
    ("saf+easy", "fb8474d070ea6672", "fb8474d070ea6672"),
    ("sqf+easy", "f6b8eba5d91fe3f8", "f6b8eba5d91fe3f8"),
    ("wfp3+easy", "553468f54a3a37de", "166e01e2676f1c5f"),
    ("unicep+easy", "754539e04b2c1fe4", "754539e04b2c1fe4"),
    ("f1+easy", "f9638ef4e2909ebd", "f9638ef4e2909ebd"),
    ("f2+easy", "4cc10b3d69d75cca", "4cc10b3d69d75cca"),
    ("f3+easy", "d79d7f6b585d3c28", "d79d7f6b585d3c28"),
    ("f4+easy", "10054aff649e3228", "10054aff649e3228"),
];

fn excerpt(options: TraceOptions) -> Trace {
    let log = swf::read(EXCERPT);
    assert_eq!(log.malformed, []);
    Trace::new(&log, options).expect("the excerpt can be replayed")
}

fn check(trace: &Trace, policy: Policy, mode: Mode) {
    let schedule = replay(trace, policy, mode);
    let starts: Vec<i64> = schedule.starts.iter().map(|start| start.0).collect();
    assert_eq!(starts, naive::starts(trace, policy, mode), "{policy}, {mode:?}");
}

#[test]
fn the_excerpt_is_scheduled_as_by_the_naive_reference() {
    let trace = excerpt(TraceOptions::default());
    let perfect = excerpt(TraceOptions { perfect: true, first: Some(300), procs: None });
    for policy in Policy::all() {
        for mode in [Mode::Batch, Mode::PerEvent] {
            check(&trace, policy, mode);
            check(&perfect, policy, mode);
        }
    }
}

#[test]
fn the_excerpt_has_the_schedules_it_always_had() {
    let trace = excerpt(TraceOptions::default());
    for (name, batch, per_event) in HASHES {
        let policy = name.parse().expect(name);
        for (mode, wanted) in [(Mode::Batch, batch), (Mode::PerEvent, per_event)] {
            let report = Report::new(&trace, &replay(&trace, policy, mode));
            assert_eq!(report.schedule_hash, *wanted, "{name}, {mode:?}");
        }
    }
}

#[test]
fn a_report_is_what_can_be_computed_by_hand() {
    let job = |id, submit, run, estimate, width| TraceJob {
        id,
        submit: Time(submit),
        run,
        estimate,
        width,
        user: -1,
    };
    // The second waits for the first; the third starts beside the first, for it ends before it.
    let jobs = vec![job(7, 0, 90, 100, 3), job(8, 10, 5, 10, 4), job(9, 20, 40, 80, 1)];
    let trace = Trace { procs: 4, jobs, dropped: Dropped::default() };
    let schedule = replay(&trace, "easy".parse().unwrap(), Mode::Batch);
    assert_eq!(start_lines(&trace, &schedule), "7 0\n8 90\n9 20\n");
    let report = Report::new(&trace, &schedule);
    assert_eq!(report.mean_bounded_slowdown, (1.0 + 8.5 + 1.0) / 3.0);
    assert_eq!((report.mean_wait_s, report.mean_turnaround_s), (80.0 / 3.0, 215.0 / 3.0));
    assert_eq!((report.p95_wait_s, report.max_wait_s, report.makespan_s), (0, 80, 95));
    assert_eq!(report.utilisation, (270 + 20 + 40) as f64 / (4 * 95) as f64);
    assert_eq!((report.jobs, report.procs, report.max_queue), (3, 4, 1));
    // printf '7 0\n8 90\n9 20\n' | sha256sum
    assert_eq!(report.schedule_hash, "cc56f8d69da96bd5");
}

/// Traces in which much happens in the same moment.
fn traces() -> impl Strategy<Value = Trace> {
    let job = (0_i64..6, 1_i64..30, 0_i64..30, 1_u32..9);
    (8_u32..12, prop::collection::vec(job, 1..40)).prop_map(|(procs, jobs)| {
        let mut now = 0;
        let job = |(i, (gap, run, more, width)): (usize, (i64, i64, i64, u32))| {
            now += gap / 2;
            let estimate = run + more / 2;
            let user = i64::from(width % 4) - 1;
            TraceJob { id: i as i64, submit: Time(now), run, estimate, width, user }
        };
        let jobs = jobs.into_iter().enumerate().map(job).collect();
        Trace { procs, jobs, dropped: Dropped::default() }
    })
}

proptest! {
    #[test]
    fn any_trace_is_scheduled_as_by_the_naive_reference(
        trace in traces(),
        policy in prop::sample::select(Policy::all()),
        per_event: bool,
    ) {
        check(&trace, policy, if per_event { Mode::PerEvent } else { Mode::Batch });
    }
}
