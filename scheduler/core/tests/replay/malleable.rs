//! Replays with malleable jobs: what holds on any trace, and what is gained on the excerpt.

use super::{excerpt, traces};
use muster_core::policy::Policy;
use muster_core::trace::malleable::{Malleable, Share, replay};
use muster_core::trace::replay::{Mode, replay as rigid};
use muster_core::trace::report::Report;
use muster_core::trace::{Trace, TraceOptions};
use proptest::prelude::*;

fn easy() -> Policy {
    "easy".parse().expect("it is a policy")
}

fn share(text: &str) -> Share {
    text.parse().expect(text)
}

/// Bounds and conservation, as far as a schedule shows them.
fn check(trace: &Trace, share: Share, cost_s: u32, replayed: &Malleable) {
    let Malleable { schedule, resizes, held } = replayed;
    for (at, job) in trace.jobs.iter().enumerate() {
        let ran = i128::from(schedule.ends[at] - schedule.starts[at]);
        let (work, width) = (i128::from(job.run) * i128::from(job.width), i128::from(job.width));
        assert!(schedule.starts[at] >= job.submit);
        if !share.holds(job.id) {
            assert_eq!((ran, held[at], resizes[at]), (i128::from(job.run), work, 0));
            continue;
        }
        let most = (2 * width).min(i128::from(trace.procs));
        let least = (width + 1) / 2;
        assert!(held[at] >= ran * least && held[at] <= ran * most);
        // The last second is held whole.
        let cost = i128::from(resizes[at]) * i128::from(cost_s);
        assert!(held[at] >= work + cost * least && held[at] < work + cost * most + most);
    }
    // Between two events nothing changes: what is held at most then is held at all times.
    let all: i128 = held.iter().sum();
    let (from, to) = (trace.jobs[0].submit, schedule.ends.iter().max().copied().expect("there are jobs"));
    assert!(all <= i128::from(to - from) * i128::from(trace.procs));
}

#[test]
fn without_malleable_jobs_the_excerpt_is_scheduled_as_by_easy() {
    let trace = excerpt(TraceOptions::default());
    let replayed = replay(&trace, share("0"), 60);
    let wanted = rigid(&trace, easy(), Mode::Batch);
    assert_eq!((replayed.schedule.starts, replayed.schedule.ends), (wanted.starts, wanted.ends));
}

#[test]
fn malleable_jobs_shorten_the_excerpt_s_turnaround() {
    let trace = excerpt(TraceOptions::default());
    let before = Report::new(&trace, &rigid(&trace, easy(), Mode::Batch)).mean_turnaround_s;
    for (text, at_most) in [("20%", 0.97), ("50%", 0.85), ("100%", 0.7)] {
        let replayed = replay(&trace, share(text), 60);
        check(&trace, share(text), 60, &replayed);
        let after = Report::new(&trace, &replayed.schedule).mean_turnaround_s;
        assert!(after < before * at_most, "{text}: {after} after {before}");
    }
}

#[test]
fn a_share_is_a_part_of_one() {
    for text in ["-0.1", "1.1", "101%", "x", "%", "", "NaN"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
    assert_eq!(share("20%"), share("0.2"));
    // 1 x 2,654,435,761 is 0.618 of 2^32, and 2 x that is 0.236 of it more than once.
    assert!(!share("0.618").holds(1) && share("0.619").holds(1));
    assert!(!share("0.236").holds(2) && share("0.237").holds(2));
    assert!((0..1000).all(|id| share("1").holds(id) && !share("0").holds(id)));
}

proptest! {
    /// Any share and cost: bounds, conservation and capacity hold, and rigid jobs alone are scheduled as by EASY.
    #[test]
    fn any_trace_keeps_its_bounds(trace in traces(), percent in 0_u32..=100, cost_s in 0_u32..8) {
        let some = share(&format!("{percent}%"));
        let replayed = replay(&trace, some, cost_s);
        check(&trace, some, cost_s, &replayed);
        let replayed = replay(&trace, share("0"), cost_s);
        let wanted = rigid(&trace, easy(), Mode::Batch);
        prop_assert_eq!((replayed.schedule.starts, replayed.schedule.ends), (wanted.starts, wanted.ends));
    }
}
