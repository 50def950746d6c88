//! Who makes room for whom, by quality of service and by tier, and how.

use super::dues_tests::{Site, asks, terms};
use super::preempt::{Preempt, Victim};
use crate::books::event::Event;
use crate::books::partition::{Partition, PreemptMode};
use crate::books::rules::Rules;
use crate::job::Submitted;
use crate::job::id::JobId;
use crate::jobspec::{JobSpec, Requeue, Size, Work};
use crate::time::Time;
use std::sync::Arc;

const TABLE: &str = r#"
    [accounts.lab]
    users = { ada = {}, bob = {} }
    [qos.low]
    priority = 1
    grace_s = 30
    [qos.mid]
    priority = 5
    preempt = "cancel"
    [qos.new]
    exempt_s = 600
    [qos.off]
    preempt = "off"
    [qos.stop]
    preempt = "suspend"
    exempt_s = 0
    [qos.high]
    preempts = ["low", "mid", "new", "off", "stop"]
    [qos.king]
    preempts = ["high"]"#;

/// Partition and quality of service of a job.
type Of = (&'static str, Option<&'static str>);

/// How room is made, and the seconds of grace; none when it is not.
type Room = Option<(Preempt, u32)>;

/// What makes a job special.
type Change = fn(&mut JobSpec);

fn same(_: &mut JobSpec) {}

fn kernel(spec: &mut JobSpec) {
    spec.work = Work::Kernel;
}

fn once(spec: &mut JobSpec) {
    spec.queue.requeue = Requeue::Never;
}

/// A job on so many whole hosts.
fn job(hosts: u32, (partition, qos): Of, change: Change) -> Submitted {
    let mut request = asks("ada", None, qos, 4);
    let spec = Arc::make_mut(&mut request.spec);
    spec.size = Size { nodes: hosts, max_nodes: Some(hosts), ..spec.size.clone() };
    spec.queue.partitions = vec![partition.into()];
    change(spec);
    request
}

fn site() -> Site {
    let of_tier =
        |name: &str, tier, preempt| Partition { tier, preempt, grace_s: 20, ..Partition::named(name) };
    let partitions = [
        of_tier("keep", 1, PreemptMode::Off),
        of_tier("back", 1, PreemptMode::Requeue),
        of_tier("stop", 2, PreemptMode::Suspend),
        of_tier("top", 3, PreemptMode::Off),
    ];
    Site::with(terms(TABLE), partitions)
}

/// What is said of room for the first that waits, after a pass.
fn victims(site: &mut Site, waits: JobId) -> Vec<Victim> {
    let passed = site.pass();
    assert_eq!((passed.starts.len(), passed.head.map(|head| head.job)), (0, Some(waits)));
    let plan = site.scheduler.preempt(&site.books, &site.hosts, &passed);
    plan.map_or(Vec::new(), |plan| plan.victims)
}

/// What runs, what is special about it, what waits, and how the first makes room.
const CASES: [(Of, Change, Of, Room); 21] = [
    // By tier alone.
    (("keep", None), same, ("top", None), None),
    (("back", None), same, ("keep", None), None),
    (("back", None), same, ("top", None), Some((Preempt::Requeue, 20))),
    (("back", None), kernel, ("top", None), Some((Preempt::Checkpoint, 20))),
    (("back", None), once, ("top", None), Some((Preempt::Cancel, 20))),
    (("stop", None), same, ("top", None), Some((Preempt::Suspend, 20))),
    (("stop", None), same, ("back", None), None),
    // By the list alone: what the quality of service says goes before what the partition says.
    (("keep", Some("low")), same, ("keep", Some("high")), Some((Preempt::Requeue, 30))),
    (("keep", Some("low")), kernel, ("keep", Some("high")), Some((Preempt::Checkpoint, 30))),
    (("keep", Some("low")), once, ("keep", Some("high")), Some((Preempt::Cancel, 30))),
    (("stop", Some("low")), same, ("keep", Some("high")), Some((Preempt::Suspend, 30))),
    (("back", Some("mid")), same, ("keep", Some("high")), Some((Preempt::Cancel, 20))),
    (("back", Some("stop")), kernel, ("keep", Some("high")), Some((Preempt::Suspend, 20))),
    (("keep", Some("low")), same, ("keep", Some("mid")), None),
    (("keep", Some("low")), same, ("keep", Some("king")), None),
    (("keep", None), same, ("keep", Some("high")), None),
    // Both: one that is off is off for tiers, too, and one that is not stands in for its partition.
    (("back", Some("off")), same, ("top", Some("high")), None),
    (("back", Some("off")), same, ("top", None), None),
    (("keep", Some("mid")), same, ("top", None), Some((Preempt::Cancel, 20))),
    // Nobody makes room for one that would have to make room for it.
    (("back", Some("high")), same, ("top", Some("low")), None),
    (("back", Some("king")), same, ("top", Some("low")), Some((Preempt::Requeue, 20))),
];

#[test]
fn each_pair_by_list_then_tier() {
    for (number, (running, change, waiting, expected)) in CASES.into_iter().enumerate() {
        let mut site = site();
        site.submit(job(4, running, change));
        assert_eq!(site.pass().starts.len(), 1, "case {number}");
        let waits = site.submit(job(1, waiting, same));
        let found: Vec<_> = victims(&mut site, waits).iter().map(|v| (v.how, v.grace_s)).collect();
        assert_eq!(found, Vec::from_iter(expected), "case {number}");
    }
}

#[test]
fn the_lowest_quality_makes_room_first_and_the_young_are_safe() {
    let mut site = site();
    let running = [("keep", Some("mid")), ("back", None), ("keep", Some("low")), ("keep", Some("low"))];
    let ids = running.map(|of| {
        let id = site.submit(job(1, of, same));
        assert_eq!(site.pass().starts.len(), 1);
        id
    });
    let waits = site.submit(job(4, ("stop", Some("high")), same));
    let order: Vec<_> = victims(&mut site, waits).iter().map(|victim| victim.run.job).collect();
    assert_eq!(order, [ids[3], ids[2], ids[0], ids[1]]);
    // From now on all are safe for a while.
    site.event(Event::Rules(Rules { exempt_s: 100, ..Rules::default() }));
    assert_eq!(victims(&mut site, waits), []);
    let first = site.books.live().filter_map(|(_, live)| Some(live.state.placed()?.started)).min();
    let wake = first.expect("they run").after(100_000);
    assert_eq!(site.scheduler.next_wake(&site.books, Time(site.now)), Some(wake));
    site.now += 100_000;
    assert_eq!(victims(&mut site, waits).len(), 4);
}

#[test]
fn a_quality_has_its_own_time_to_be_safe() {
    for (qos, safe_s) in [("low", 100), ("new", 600), ("stop", 0)] {
        let mut site = site();
        site.event(Event::Rules(Rules { exempt_s: 100, ..Rules::default() }));
        site.submit(job(4, ("keep", Some(qos)), same));
        assert_eq!(site.pass().starts.len(), 1);
        let started = site.books.live().find_map(|(_, live)| Some(live.state.placed()?.started));
        let safe_until = started.expect("it runs").0 + safe_s * 1000;
        let waits = site.submit(job(1, ("keep", Some("high")), same));
        if safe_s > 0 {
            site.now = safe_until - 1;
            assert_eq!(victims(&mut site, waits), [], "{qos}");
            site.now = safe_until;
        }
        assert_eq!(victims(&mut site, waits).len(), 1, "{qos}");
    }
}
