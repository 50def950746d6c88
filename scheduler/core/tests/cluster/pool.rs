//! On one host of one domain the cluster is the pool of counted processors: every schedule is the same.

use muster_core::cluster::{Request, Shape, synthetic};
use muster_core::policy::key::Key;
use muster_core::policy::pool::Pool;
use muster_core::policy::{Backfill, Candidates, Policy};
use muster_core::time::Time;
use muster_core::trace::on_hosts::{OnHostsError, replay_on};
use muster_core::trace::replay::{Mode, Queued, replay, run};
use muster_core::trace::report::Report;
use muster_core::trace::{Dropped, Trace, TraceJob, TraceOptions, swf};
use proptest::prelude::*;

fn trace(procs: u32) -> impl Strategy<Value = Trace> {
    let job = (0_i64..9, 1_i64..40, 0_i64..30, 1..=procs);
    prop::collection::vec(job, 1..60).prop_map(move |jobs| {
        let mut submit = Time(0);
        let job = |(id, (gap, run, more, width)): (usize, (i64, i64, i64, u32))| {
            submit = submit + gap;
            TraceJob { id: id as i64, submit, run, estimate: run + more, width, user: -1 }
        };
        let jobs = jobs.into_iter().enumerate().map(job).collect();
        Trace { procs, jobs, dropped: Dropped::default() }
    })
}

proptest! {
    #[test]
    fn a_host_of_one_domain_is_a_pool(trace in trace(12), per_event: bool, shortest: bool, key in 0..Key::ALL.len()) {
        let mode = if per_event { Mode::PerEvent } else { Mode::Batch };
        let key = Key::ALL[key];
        let candidates = if shortest { Candidates::Shortest } else { Candidates::InOrder };
        for backfill in [Backfill::None, Backfill::Easy(candidates)] {
            let widths = trace.jobs.iter().map(|job| job.width).collect();
            let pool = run(&trace, mode, &mut Queued::new(Pool::new(trace.procs), widths, key, backfill));
            let mut host = synthetic(1, &Shape::parse("1x12").expect("a shape")).expect("a host");
            let classes = trace.jobs.iter().map(|job| host.intern(&Request::cpus(job.width)).expect("it fits"));
            let classes = classes.collect();
            let hosts = run(&trace, mode, &mut Queued::new(host, classes, key, backfill));
            prop_assert_eq!(pool, hosts);
        }
    }

    /// So are hosts of one core each where everybody is promised a start, whatever becomes of the estimates.
    #[test]
    fn hosts_of_one_core_are_a_pool_to_conservative_backfilling(trace in trace(12), per_event: bool) {
        let mode = if per_event { Mode::PerEvent } else { Mode::Batch };
        let pool = replay(&trace, Policy::Conservative, mode);
        for (hosts, shape) in [(12, "1x1"), (1, "3x4")] {
            let hosts = synthetic(hosts, &Shape::parse(shape).expect("a shape")).expect("hosts");
            prop_assert_eq!(&replay_on(hosts, &trace, Policy::Conservative, mode).expect("it fits"), &pool);
        }
    }
}

/// The excerpt of a real log that replays on a pool are tested with.
const EXCERPT: &[u8] = include_bytes!("../replay/excerpt.swf");

fn hash(hosts: u32, shape: &str, policy: &str, mode: Mode) -> String {
    let log = swf::read(EXCERPT);
    let trace = Trace::new(&log, TraceOptions::default()).expect("the excerpt can be replayed");
    let hosts = synthetic(hosts, &Shape::parse(shape).expect("a shape")).expect("hosts");
    let schedule = replay_on(hosts, &trace, policy.parse().expect("a policy"), mode).expect("all jobs fit");
    Report::new(&trace, &schedule).schedule_hash
}

#[test]
fn the_excerpt_has_on_one_host_the_hashes_that_it_has_on_a_pool() {
    for (policy, batch, per_event) in [
        ("fcfs", "50695e1329847aa1", "50695e1329847aa1"),
        ("easy", "f9eb293e6b19acf8", "22ff7c4801439ac4"),
        ("easy-sjf", "1083f9bf2a3371e4", "1083f9bf2a3371e4"),
        ("sjf+easy", "060ca1a16e5aec72", "e06b89c13c884119"),
        ("unicep+easy", "754539e04b2c1fe4", "754539e04b2c1fe4"),
    ] {
        assert_eq!(hash(1, "1x100", policy, Mode::Batch), batch, "{policy}");
        assert_eq!(hash(1, "1x100", policy, Mode::PerEvent), per_event, "{policy}");
    }
}

#[test]
fn without_backfilling_it_does_not_matter_how_the_processors_are_dealt_to_hosts() {
    for (hosts, shape) in [(1, "4x25"), (10, "2x5"), (100, "1x1")] {
        assert_eq!(hash(hosts, shape, "fcfs", Mode::Batch), "50695e1329847aa1", "{hosts} hosts of {shape}");
    }
}

/// Hosts of one core each are processors that are counted, and so is one host of many.
#[test]
fn conservative_backfilling_is_that_of_the_pool_where_hosts_are_one() {
    for (hosts, shape) in [(1, "1x100"), (100, "1x1")] {
        for mode in [Mode::Batch, Mode::PerEvent] {
            assert_eq!(hash(hosts, shape, "cons", mode), "b92d9db1ab071c8e", "{hosts} hosts of {shape}");
        }
    }
}

#[test]
fn a_job_that_is_too_large_is_refused() {
    let trace =
        Trace::new(&swf::read(EXCERPT), TraceOptions::default()).expect("the excerpt can be replayed");
    for policy in ["easy", "cons"] {
        let hosts = synthetic(1, &Shape::parse("1x1").expect("a shape")).expect("a host");
        let policy = policy.parse().expect("a policy");
        assert!(matches!(replay_on(hosts, &trace, policy, Mode::Batch), Err(OnHostsError::Job { .. })));
    }
}
