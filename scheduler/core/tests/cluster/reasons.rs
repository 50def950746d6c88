//! What is said to those whose request cannot be, and to those who wait.

use muster_core::cluster::{
    Constraint, Gpus, Host, HostId, HostState, Hosts, Misfit, Missing, Per, Purpose, Request, Scarce, Shape,
    Tasks, Window,
};
use muster_core::jobspec::Memory;
use muster_core::policy::machine::{Machine, Running};
use muster_core::time::Time;
use std::collections::BTreeMap;

/// Two hosts with 8 cores and 16 MiB, the second with two GPUs, and two licences.
fn cluster() -> Hosts {
    let mut cluster = Hosts::new(&BTreeMap::from([("solver".to_owned(), 2)]));
    let host = |name: &str, shape: &str, features: &[&str]| {
        let mut host = Host::new(name, Shape::parse(shape).expect("a shape"));
        host.features = features.iter().map(|&feature| feature.to_owned()).collect();
        host.partitions = ["all".to_owned()].into();
        host
    };
    cluster.add(host("a", "2x4x16", &["x"])).expect("a host");
    cluster.add(host("b", "2x4x16xv:2", &["x", "y"])).expect("a host");
    cluster
}

fn with(change: impl FnOnce(&mut Request)) -> Request {
    let mut request = Request::cpus(1);
    change(&mut request);
    request
}

/// Asks for each of `cases`, and compares what is said.
fn refused(cases: &[(Request, Vec<Misfit>)]) {
    let mut cluster = cluster();
    for (request, misfits) in cases {
        assert_eq!(cluster.intern(request).as_ref(), Err(misfits), "{request:?}");
    }
}

fn constraint(text: &str) -> Constraint {
    Constraint::parse(text).expect("a constraint")
}

#[test]
fn every_name_that_nothing_has_is_told_at_once() {
    let unknown = |what, name: &str| Misfit::Unknown { what, name: name.into() };
    let cases = [
        (
            with(|r| (r.hosts_min, r.cpus_per_task) = (0, 0)),
            vec![Misfit::HostRange { min: 0, max: 1 }, Misfit::NoCpus],
        ),
        (
            with(|r| {
                r.only.partition = Some("p".into());
                r.only.constraint = constraint("x&q");
                r.only.include = ["c".to_owned()].into();
                r.licences = BTreeMap::from([("solver".into(), 3), ("other".into(), 1)]);
            }),
            vec![
                unknown("feature", "q"),
                unknown("partition", "p"),
                unknown("host", "c"),
                unknown("licence", "other"),
                Misfit::Licence { name: "solver".into(), needs: 3, total: 2 },
            ],
        ),
    ];
    refused(&cases);
}

#[test]
fn everything_that_is_too_large_is_told_at_once() {
    let largest = |what: &str, needs, largest, host| Misfit::Largest {
        what: what.into(),
        needs,
        largest,
        host: HostId(host),
    };
    let gpus = |kind: Option<&str>, count, per| Some(Gpus { kind: kind.map(str::to_owned), count, per });
    let cases = [
        (
            with(|r| {
                r.cpus_per_task = 9;
                r.memory = Some(Memory::PerNode(17));
                r.gpus = gpus(Some("v"), 3, Per::Host);
                (r.hosts_min, r.hosts_max, r.tasks) = (3, 3, Tasks::PerHost(1));
            }),
            vec![
                Misfit::Hosts { needs: 3, matching: 2 },
                largest("CPUs", 9, 8, 0),
                largest("GPUs of type v", 3, 2, 1),
                largest("MiB of memory", 17, 16, 0),
            ],
        ),
        (with(|r| r.gpus = gpus(Some("w"), 1, Per::Task)), vec![largest("GPUs of type w", 1, 0, 0)]),
        (
            with(|r| (r.hosts_min, r.hosts_max) = (2, 2)),
            vec![Misfit::FewerTasksThanHosts { tasks: 1, hosts: 2 }],
        ),
        (
            with(|r| (r.hosts_max, r.tasks) = (4, Tasks::Total { count: 17, most_per_host: None })),
            vec![Misfit::Tasks { tasks: 17, hosts: 4, room: 16 }],
        ),
        (
            with(|r| {
                r.only.constraint = constraint("y*2");
                (r.hosts_min, r.hosts_max, r.tasks) = (2, 2, Tasks::PerHost(1));
            }),
            vec![Misfit::Group { of: "y".into(), needs: 2, able: 1 }],
        ),
        (
            with(|r| {
                r.gpus = gpus(None, 1, Per::Host);
                (r.hosts_min, r.hosts_max, r.tasks) = (2, 2, Tasks::PerHost(1));
            }),
            vec![Misfit::Together { needs: 2, able: 1 }],
        ),
        (
            with(|r| {
                r.gpus = gpus(None, 3, Per::Job);
                (r.hosts_min, r.hosts_max, r.tasks) = (2, 2, Tasks::PerHost(1));
            }),
            vec![Misfit::UnevenGpus { tasks: 2, hosts: 2 }],
        ),
        (
            with(|r| (r.cpus_per_task, r.tasks) = (u32::MAX, Tasks::Total { count: 2, most_per_host: None })),
            vec![Misfit::Overflow { what: "CPUs" }],
        ),
    ];
    refused(&cases);
}

#[test]
fn gpus_of_a_job_are_dealt_with_its_tasks() {
    let mut cluster = Hosts::new(&BTreeMap::new());
    for name in ["a", "b"] {
        cluster.add(Host::new(name, Shape::parse("1x8xv:4").expect("a shape"))).expect("a host");
    }
    let request = with(|r| {
        (r.hosts_max, r.tasks) = (2, Tasks::Total { count: 4, most_per_host: None });
        r.gpus = Some(Gpus { kind: None, count: 6, per: Per::Job });
    });
    let class = cluster.intern(&request).expect("3 GPUs and 2 tasks, twice");
    let place = cluster.start(Running(0), class, Time(1), None).expect("it fits");
    let parts: Vec<_> = place.parts.iter().map(|part| (part.tasks, part.gpus.count_ones())).collect();
    assert_eq!(parts, [(2, 3), (2, 3)]);
}

#[test]
fn those_who_wait_are_told_what_for_and_for_whom() {
    let mut cluster = cluster();
    cluster.advance(Time(0));
    let whole = cluster.intern(&Request::whole_hosts(2)).expect("there are two");
    let gpu = with(|r| r.gpus = Some(Gpus { kind: None, count: 2, per: Per::Host }));
    let gpu = cluster.intern(&gpu).expect("one has two");
    let licensed = with(|r| r.licences = BTreeMap::from([("solver".into(), 2)]));
    let licensed = cluster.intern(&licensed).expect("there are two");
    assert_eq!(cluster.why(whole, Time(0), 5), None);
    cluster.start(Running(1), gpu, Time(30), None).expect("it fits");
    cluster.start(Running(2), licensed, Time(20), None).expect("it fits");

    let why = cluster.why(whole, Time(0), 5).expect("it waits");
    let whole_hosts = Missing::Free { what: Scarce::WholeHosts, each: 1, needs: 2, enough: 0 };
    assert_eq!((why.missing, why.until), (vec![whole_hosts], Some(Time(30))));
    let holders: Vec<_> = why.holders.iter().map(|h| (h.running.0, h.end.0, h.hosts.clone())).collect();
    assert_eq!(holders, [(2, 20, vec![HostId(0)]), (1, 30, vec![HostId(1)])]);

    let why = cluster.why(licensed, Time(0), 5).expect("it waits");
    let licence = Missing::Licence { name: "solver".into(), needs: 2, free: 0 };
    assert_eq!((why.missing, why.until, why.holders[0].running), (vec![licence], Some(Time(20)), Running(2)));

    let why = cluster.why(gpu, Time(0), 5).expect("it waits");
    let gpus = Missing::Free { what: Scarce::Gpus, each: 2, needs: 1, enough: 0 };
    assert_eq!((why.missing, why.until, why.holders[0].running), (vec![gpus], Some(Time(30)), Running(1)));
}

#[test]
fn those_who_wait_are_told_of_hosts_that_are_not_to_be_had() {
    let mut cluster = cluster();
    cluster.advance(Time(0));
    let whole = cluster.intern(&Request::whole_hosts(2)).expect("there are two");
    cluster.set_state(HostId(0), HostState::Down { reason: "no answer".into() });
    let hosts = |down, drained, reserved| Missing::Hosts { needs: 2, matching: 2, down, drained, reserved };
    let why = cluster.why(whole, Time(0), 5).expect("it waits");
    assert_eq!((why.missing, why.until), (vec![hosts(1, 0, 0)], None), "nobody knows when it is back");

    cluster.set_state(HostId(0), HostState::Up);
    let window = Window {
        name: "service".into(),
        purpose: Purpose::Maintenance,
        hosts: [1].into_iter().collect(),
        from: Time(3),
        to: Time(9),
    };
    let id = cluster.reserve(window);
    assert!(cluster.fits(whole) && cluster.start(Running(1), whole, Time(4), None).is_none());
    assert_eq!(cluster.why(whole, Time(0), 3), None);
    let why = cluster.why(whole, Time(0), 5).expect("it would run into the window");
    assert_eq!((why.missing, why.until), (vec![hosts(0, 0, 1)], Some(Time(9))));
    cluster.advance(Time(3));
    assert_eq!(cluster.reserved_by(HostId(1)).map(|(id, _)| id), Some(id));
    assert!(!cluster.fits(whole));
    cluster.advance(Time(9));
    assert!(cluster.start(Running(1), whole, Time(99), None).is_some());
}

#[test]
fn a_reservation_is_for_those_who_name_it() {
    let mut cluster = cluster();
    cluster.advance(Time(0));
    let hosts = [1].into_iter().collect();
    let window =
        Window { name: "course".into(), purpose: Purpose::Reservation, hosts, from: Time(10), to: Time(20) };
    let id = cluster.reserve(window);
    let mine = cluster.intern(&with(|r| r.only.reservation = Some(id))).expect("it is reserved");
    let too_large = with(|r| (r.only.reservation, r.cpus_per_task) = (Some(id), 9));
    let largest = Misfit::Largest { what: "CPUs".into(), needs: 9, largest: 8, host: HostId(1) };
    assert_eq!(cluster.intern(&too_large), Err(vec![largest]));
    assert!(!cluster.fits(mine));
    assert_eq!(cluster.why(mine, Time(0), 5).and_then(|why| why.until), Some(Time(10)));
    assert_eq!(
        cluster.why(mine, Time(0), 11).map(|why| why.until),
        Some(None),
        "it is longer than the reservation"
    );
    cluster.advance(Time(10));
    assert!(cluster.start(Running(1), mine, Time(21), None).is_none());
    let place = cluster.start(Running(1), mine, Time(20), None).expect("within the time of the reservation");
    assert_eq!(place.parts[0].host, HostId(1));
}
