//! Decisions where everybody is promised a start, on the small cluster of the other tests.

use super::Scheduler;
use super::decide_tests::{MINUTE, Site, Step, array, hosts, random_event};
use super::decision::{Decided, Decision};
use super::forecast::{Foretold, Horizon, forecast, what_if};
use super::reason::Reason;
use crate::books::event::{Event, Fact};
use crate::books::reservation::{Purpose, Reservation};
use crate::cluster::HostState;
use crate::job::event::{JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::job::outcome::Outcome;
use crate::job::update::{Field, Update};
use crate::job::usage::Usage;
use crate::policy::Policy;
use crate::policy::reserve::MOST_PROMISED;
use crate::time::Time;
use proptest::prelude::*;

fn site() -> Site {
    Site::under(Scheduler::new(Policy::Conservative))
}

/// What a pass would decide now.
fn decided(site: &Site) -> Vec<Decided> {
    let (mut books, mut hosts) = (site.books.clone(), site.hosts.clone());
    site.scheduler.clone().decide(&mut books, &mut hosts, Time(site.now))
}

/// Who is promised which minute, by job.
fn promises(site: &Site) -> Vec<(JobId, i64)> {
    let at = |one: Decided| match one.decision {
        Decision::Reserve { at, .. } => Some((one.run.job, at.0 / MINUTE)),
        _ => None,
    };
    decided(site).into_iter().filter_map(at).collect()
}

fn starts(site: &mut Site) -> Vec<JobId> {
    site.pass().starts.iter().map(|start| start.run.job).collect()
}

#[test]
fn everybody_is_promised_a_start_and_nobody_delays_another() {
    let mut site = site();
    let [a, b, c, d, e, f] =
        [(3, 60), (4, 30), (2, 20), (1, 60), (1, 70), (2, 10)].map(|(n, long)| site.submit(hosts(n, long)));
    assert_eq!(starts(&mut site), [a, d], "the last of them ends in time for the second");
    assert_eq!(promises(&site), [(b, 60), (c, 90), (e, 90), (f, 110)]);
    assert_eq!(site.scheduler.next_wake(&site.books, Time(0)), Some(Time(60 * MINUTE)));
    let words: Vec<Vec<&str>> =
        decided(&site).iter().map(|one| one.decision.reasons().iter().map(Reason::word).collect()).collect();
    assert_eq!(words, [vec!["Resources"], vec!["Priority"], vec!["Priority"], vec!["Priority"]]);

    // The second keeps its turn if it is to run shorter or longer, and the last comes earlier or later by that.
    let horizon = Horizon { grain: 0, ..Horizon::starts(100, Time(0)) };
    let state = (&site.scheduler, &site.books, &site.hosts);
    for (minutes, at) in [(20, 100), (40, 120)] {
        let update = Update { fields: vec![Field::TimeLimit(Some(minutes * 60))] };
        let event = Event::Job(b, JobEvent::Updated(Box::new(update)));
        assert_eq!(what_if(state, (f, event), Time(0), horizon), Ok(Some(Time(at * MINUTE))), "{minutes}");
    }

    site.now = 20 * MINUTE;
    [a, d].into_iter().for_each(|job| site.end(job));
    assert_eq!(starts(&mut site), [b], "as soon as there is room");
    assert_eq!(promises(&site), [(c, 50), (e, 50), (f, 70)]);
    site.now = 50 * MINUTE;
    site.end(b);
    assert_eq!(starts(&mut site), [c, e]);
    site.now = 70 * MINUTE;
    site.end(c);
    assert_eq!(starts(&mut site), [f]);
}

#[test]
fn who_is_of_a_better_rank_goes_first() {
    let mut site = site();
    let [a, b, c] = [(4, 60), (4, 30), (2, 30)].map(|(n, long)| site.submit(hosts(n, long)));
    assert_eq!(starts(&mut site), [a]);
    assert_eq!(promises(&site), [(b, 60), (c, 90)]);
    let mut high = hosts(3, 10);
    high.queue.partitions = vec!["high".into()];
    let high = site.submit(high);
    let passed = site.pass();
    assert_eq!(passed.head.map(|head| (head.job, head.at)), Some((high, Some(Time(60 * MINUTE)))));
    let preempts = |one: &Decided| one.run.job == high && matches!(one.decision, Decision::Preempt(_));
    assert!(decided(&site).iter().any(preempts), "it need not wait for that");
    assert_eq!(promises(&site), [(b, 70), (c, 100)]);
}

#[test]
fn who_lost_hosts_waits_for_them_without_a_promise() {
    let mut site = site();
    let [a, b, c] = [(3, 60), (4, 30), (2, 30)].map(|(n, long)| site.submit(hosts(n, long)));
    assert_eq!(starts(&mut site), [a]);
    assert_eq!(promises(&site), [(b, 60), (c, 90)]);
    let lost = site.hosts.find("n3").expect("a host");
    site.hosts.set_state(lost, HostState::Down { reason: "no answer".into() });
    assert_eq!(site.pass().hopeless.len(), 1, "of the three it is the one of four hosts");
    assert_eq!(promises(&site), [(c, 60)]);
    site.hosts.set_state(lost, HostState::Up);
    assert_eq!(site.pass().hopeless, []);
    assert_eq!(promises(&site), [(b, 90), (c, 60)], "nobody puts off what was promised meanwhile");
}

#[test]
fn promises_keep_out_of_windows() {
    let mut site = site();
    site.event(Event::Reservation(Reservation {
        name: "service".into(),
        from: Time(30 * MINUTE),
        to: Time(50 * MINUTE),
        hosts: vec!["n0".into(), "n1".into()],
        purpose: Purpose::Maintenance,
    }));
    let [a, b, c, d] = [(2, 40), (2, 30), (2, 31), (4, 5)].map(|(n, long)| site.submit(hosts(n, long)));
    assert_eq!(starts(&mut site), [a, b], "away from the window, and before it");
    assert_eq!(promises(&site), [(c, 40), (d, 71)]);
    site.now = 30 * MINUTE;
    site.end(b);
    assert_eq!(starts(&mut site), [] as [JobId; 0]);
}

#[test]
fn so_many_are_promised_a_start_and_the_others_are_told() {
    let mut site = site();
    let all = site.submit(array(MOST_PROMISED as u32 + 7, None));
    let behind = site.submit(hosts(1, 1));
    assert_eq!(site.pass().starts.len(), 4);
    let told = decided(&site);
    assert_eq!((told[0].run.job, told[0].elements), (all, MOST_PROMISED as u32 + 3));
    assert!(matches!(told[0].decision, Decision::Reserve { at: Time(600_000), .. }));
    let (last, reasons) = (&told[1].run.job, told[1].decision.reasons());
    assert_eq!(*last, behind);
    assert!(matches!(told[1].decision, Decision::Wait(_)));
    assert_eq!(reasons[1], Reason::Unpromised { most: MOST_PROMISED });
}

#[test]
fn a_job_of_two_partitions_is_promised_one_start() {
    let mut site = site();
    let first = site.submit(hosts(4, 30));
    let mut both = hosts(4, 10);
    both.queue.partitions = vec!["low".into(), "high".into()];
    let both = site.submit(both);
    let last = site.submit(hosts(4, 10));
    assert_eq!(starts(&mut site), [both]);
    assert_eq!(promises(&site), [(first, 10), (last, 40)]);
}

/// What starts from now on if every job ends at its limit, and nothing else happens.
fn play(mut site: Site) -> Vec<Foretold> {
    let mut played = Vec::new();
    loop {
        let at = Time(site.now);
        played.extend(site.pass().starts.iter().map(|start| Foretold { run: start.run, at }));
        let ends = site.books.live().filter_map(|(run, live)| Some((live.state.expected_end()?, run)));
        let mut ends: Vec<(Time, RunId)> = ends.collect();
        ends.sort_unstable();
        let first = ends.first().map(|(end, _)| *end);
        let Some(next) = site.scheduler.next_start(&site.books, at).into_iter().chain(first).min() else {
            return played;
        };
        site.now = next.0.max(site.now);
        for (_, run) in ends.into_iter().filter(|(end, _)| *end <= next) {
            let attempt =
                site.books.run(run).and_then(|run| Some(run.state.placed()?.attempt)).expect("it runs");
            let (outcome, usage) = (Outcome::Completed, Usage::default());
            site.event(Event::Run(run, RunEvent::Ended { attempt, outcome, usage }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever happened before: everything that waits has one decision with reasons, and what is foretold is what is
    /// then decided.
    #[test]
    fn what_is_foretold_comes(steps in prop::collection::vec(any::<Step>(), 1..50)) {
        let mut site = site();
        for step in steps {
            site.now += MINUTE / 2;
            if let Some(event) = random_event(&site, step) {
                let fact = Fact { at: Time(site.now), event };
                if site.books.check(&fact).is_ok() {
                    site.event(fact.event);
                }
            }
            let decided = decided(&site);
            for job in site.books.waiting() {
                let mine: Vec<_> = decided.iter().filter(|one| one.run.job == job.id()).collect();
                prop_assert_eq!(mine.iter().map(|one| one.elements).sum::<u32>(), job.waiting_count());
                for one in mine {
                    let starts = matches!(one.decision, Decision::Start(..));
                    prop_assert_eq!(starts, one.decision.reasons().is_empty(), "{:?}", one);
                }
            }
            site.pass();
        }
        let now = Time(site.now);
        let horizon = Horizon { grain: 0, ..Horizon::starts(10_000, now) };
        let told = forecast((&site.scheduler, &site.books, &site.hosts), now, horizon);
        prop_assert_eq!(told, play(site));
    }
}
