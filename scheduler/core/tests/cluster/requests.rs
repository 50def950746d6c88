//! Small clusters and requests of all kinds, at random.

use muster_core::cluster::{
    Constraint, Gpus, Host, Hosts, Layout, Only, Per, Request, Shape, Sharing, Tasks,
};
use muster_core::jobspec::Memory;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const LICENCES: u32 = 3;

/// A cluster of its hosts, with licences.
pub(crate) fn cluster(hosts: &[Host]) -> Hosts {
    let mut cluster = Hosts::new(&BTreeMap::from([("solver".to_owned(), LICENCES)]));
    for host in hosts {
        cluster.add(host.clone()).expect("names differ");
    }
    cluster
}

/// One to five hosts.
pub(crate) fn hosts() -> impl Strategy<Value = Vec<Host>> {
    let shapes = ["1x4x8", "2x2x8", "2x2x8xa:2", "1x4x16xa:1", "4x1x4xb:2", "1x2"];
    let host = (prop::sample::select(shapes.to_vec()), 0_u8..8, any::<bool>());
    prop::collection::vec(host, 1..=5).prop_map(|hosts| {
        let host = |(number, (shape, features, near)): (usize, (&str, u8, bool))| {
            let has = |bit: u8| features >> bit & 1 == 1;
            let mut host = Host::new(format!("h{number}"), Shape::parse(shape).expect("a shape"));
            let named = [("x", has(0)), ("y", has(1)), ("z", has(2))];
            host.features =
                named.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect();
            host.labels = near.then(|| "data=near".to_owned()).into_iter().collect();
            host
        };
        hosts.into_iter().enumerate().map(host).collect()
    })
}

/// What a job may ask for.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let tasks = prop_oneof![
        3 => Just(None),
        2 => (1_u32..3).prop_map(|each| Some(Tasks::PerHost(each))),
        3 => (1_u32..9, prop::option::of(1_u32..4)).prop_map(|(count, most)| Some(Tasks::Total { count, most_per_host: most })),
    ];
    let size = (1_u32..4, 0_u32..3, tasks, 1_u32..4);
    let memory = prop_oneof![
        2 => Just(None),
        1 => (1_u64..9).prop_map(|all| Some(Memory::PerNode(all))),
        1 => (1_u64..4).prop_map(|each| Some(Memory::PerCpu(each))),
    ];
    let kind = prop::sample::select(vec![None, Some("a".to_owned()), Some("b".to_owned())]);
    let per = prop::sample::select(vec![Per::Host, Per::Task]);
    let gpus = prop::option::weighted(0.3, (kind, 0_u32..3, per));
    let gpus = gpus.prop_map(|gpus| gpus.map(|(kind, count, per)| Gpus { kind, count, per }));
    let how = (prop::bool::weighted(0.15), prop::bool::weighted(0.3), 0_u32..8);
    (size, memory, gpus, how, only()).prop_map(|((min, more, tasks, cpus), memory, gpus, how, only)| {
        let (exclusive, spread, licences) = how;
        let tasks = tasks.unwrap_or(Tasks::Total { count: min, most_per_host: None });
        let licences = (licences == 1 || licences == 2).then(|| ("solver".to_owned(), licences));
        Request {
            hosts_min: min,
            hosts_max: min + more,
            tasks,
            cpus_per_task: cpus,
            memory,
            gpus,
            licences: licences.into_iter().collect(),
            sharing: if exclusive { Sharing::Exclusive } else { Sharing::Shared },
            layout: if spread { Layout::Spread } else { Layout::Pack },
            only,
        }
    })
}

fn only() -> impl Strategy<Value = Only> {
    let constraints =
        vec!["", "", "", "", "x", "x&y", "x|y", "[x|y]", "x*1", "[x*1&y*1]", "z&[x|y]", "[(x|y)*2]"];
    let names = |weight| prop::option::weighted(weight, prop::sample::select(vec!["h0", "h1", "h2"]));
    (prop::sample::select(constraints), prop::bool::weighted(0.1), names(0.1), names(0.1)).prop_map(
        |(constraint, near, include, exclude)| {
            let names = |name: Option<&str>| name.map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
            let parsed = || Constraint::parse(constraint).expect("a constraint");
            Only {
                constraint: if constraint.is_empty() { Constraint::default() } else { parsed() },
                labels: names(near.then_some("data=near")),
                include: names(include),
                exclude: names(exclude),
                ..Only::default()
            }
        },
    )
}
