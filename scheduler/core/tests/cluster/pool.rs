//! On one host of one domain the cluster is the pool of counted processors: every schedule is the same.

use muster_core::cluster::{Request, Shape, synthetic};
use muster_core::policy::key::Key;
use muster_core::policy::pool::Pool;
use muster_core::policy::{Backfill, Candidates};
use muster_core::time::Time;
use muster_core::trace::replay::{Mode, Queued, run};
use muster_core::trace::{Dropped, Trace, TraceJob};
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
}
