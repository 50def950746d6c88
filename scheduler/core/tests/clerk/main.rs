//! The real desk in the controller: books, hosts and scheduler, with agents that always answer, and a restart from the
//! journal on the way. What the protocol does when things break is the simulator's to try.

mod journals;
mod pool;

use muster_core::books::error::BooksError;
use muster_core::books::event::Event;
use muster_core::books::partition::PreemptMode;
use muster_core::books::rules::Rules;
use muster_core::cluster::HostId;
use muster_core::job::event::{Elements, JobEvent};
use muster_core::job::id::{JobId, RunId};
use muster_core::job::outcome::Outcome;
use muster_core::job::state::State;
use muster_core::job::update::{Field, Update};
use muster_core::job::{Owner, Submitted};
use muster_core::policy::Policy;
use muster_core::protocol::clerk::{Ask, Refusal, Told};
use muster_core::protocol::controller::Answer;
use muster_core::protocol::desk::Desk;
use muster_core::time::Time;
use pool::{CPUS, HOSTS, Pool, in_a_rush, kernel, owner, spec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn idle_hosts_are_lent_to_a_kernel_and_taken_back() {
    let (lender, waits) = (JobId(1), JobId(2));
    for restart in 0..60 {
        let mut pool = Pool::new();
        // A foreman that says nothing is waited for only so long.
        pool.hand_in = restart % 3 > 0;
        pool.submit(kernel(1, HOSTS as u32, 90));
        let mut widths = Vec::new();
        for second in 0..300_u32 {
            if second == restart {
                pool.restart();
            }
            if second == 15 {
                pool.submit(spec((2, CPUS, 10, None)));
            }
            pool.second();
            let hosts = pool.hosts_of(lender);
            if pool.hosts_of(waits).len() == 2 {
                assert_eq!(hosts.len(), 1, "restart at {restart}, second {second}");
            }
            // Agents answer at once, so at the end of a second the foreman knows what it has.
            if pool.hand_in
                && let Some(open) = pool.controller.standing().open.get(&RunId { job: lender, element: None })
                && let Some(told) = pool.told.get(&open.begun.id)
                && second.abs_diff(restart) > 15
            {
                let mut told = told.clone();
                told.sort();
                assert_eq!(told, hosts, "restart at {restart}, second {second}");
            }
            widths.push(hosts.len());
        }
        let mut rest = widths.iter();
        let grew = [3, 1, 3, 0].iter().all(|width| rest.any(|other| other == width));
        assert!(grew, "restart at {restart}: {widths:?}");
        for job in [lender, waits] {
            let run = pool.controller.standing().desk.books().job(job).and_then(|job| job.run(None));
            let run = run.expect("it is kept");
            let State::Done(done) = run.state else { panic!("job {job} is {:?}", run.state) };
            assert_eq!((run.attempts, done.outcome), (1, Outcome::Completed));
        }
        pool.restart();
    }
}

/// How a job ended, and after how many attempts.
fn ended(pool: &Pool, job: JobId) -> (Outcome, u32) {
    let run = pool.controller.standing().desk.books().job(job).and_then(|job| job.run(None));
    let run = run.expect("it is kept");
    let State::Done(done) = run.state else { panic!("job {job} is {:?}", run.state) };
    (done.outcome, run.attempts)
}

/// The word for what a job does.
fn word(pool: &Pool, job: JobId) -> &'static str {
    let run = pool.controller.standing().desk.books().job(job).and_then(|job| job.run(None));
    run.expect("it is kept").state.name()
}

#[test]
fn what_is_stopped_goes_on_where_it_was_before_others_come() {
    let (stops, rush, later) = (JobId(1), JobId(2), JobId(3));
    for restart in 0..50 {
        let mut pool = Pool::with(PreemptMode::Suspend, 0);
        pool.submit(spec((2, CPUS, 30, None)));
        let mut words = Vec::new();
        for second in 0..120 {
            if second == restart {
                pool.restart();
            }
            if second == 15 {
                // It needs half a host more than there is, and leaves half of what it gets.
                pool.submit(in_a_rush(spec((3, CPUS / 2, 12, None))));
                pool.submit(spec((1, CPUS, 5, None)));
                pool.submit(spec((1, 1, 5, None)));
            }
            pool.second();
            let runs = |job| pool.scripts.keys().any(|(id, _)| id.run.job == job);
            if word(&pool, stops) == "suspended" {
                assert_eq!(pool.stopped.len(), 2, "restart at {restart}, second {second}");
                assert!(!runs(later), "restart at {restart}, second {second}: it has no right to the place");
            }
            words.push(word(&pool, stops));
        }
        let rest = words.into_iter().skip_while(|word| *word != "running");
        let mut rest: Vec<&str> = rest.filter(|word| *word != "completing").collect();
        rest.dedup();
        assert_eq!(rest, ["running", "suspended", "running", "done"], "restart at {restart}");
        for job in [stops, rush, later, JobId(4)] {
            assert_eq!(ended(&pool, job), (Outcome::Completed, 1), "restart at {restart}, job {job}");
        }
        pool.restart();
    }
}

#[test]
fn what_is_stopped_can_be_cancelled_and_requeued() {
    let (stops, rush) = (JobId(1), JobId(2));
    for requeue in [false, true] {
        let mut pool = Pool::with(PreemptMode::Suspend, 30);
        pool.submit(spec((3, CPUS, 30, None)));
        for second in 0..200 {
            if second == 12 {
                pool.submit(in_a_rush(spec((3, CPUS, 60, None))));
            }
            if second == 40 {
                assert_eq!((word(&pool, stops), pool.scripts.len()), ("suspended", 6));
                let cancel = JobEvent::Cancelled { of: Elements::All, by: 1000 };
                pool.ask(match requeue {
                    true => Ask::Requeue(RunId { job: stops, element: None }),
                    false => Ask::Job(stops, cancel),
                });
                pool.restart();
            }
            pool.second();
            if second == 60 {
                assert_eq!(pool.scripts.len(), 3, "it is killed though it is stopped");
            }
        }
        assert_eq!(ended(&pool, rush), (Outcome::Completed, 1));
        let how = if requeue { (Outcome::Completed, 2) } else { (Outcome::Cancelled(1000), 1) };
        assert_eq!(ended(&pool, stops), how);
        pool.restart();
    }
}

#[test]
fn who_has_to_end_is_told_and_has_its_grace() {
    let (ends, other, rush) = (JobId(1), JobId(2), JobId(3));
    for restart in 10..50 {
        let mut pool = Pool::with(PreemptMode::Requeue, 20);
        pool.submit(spec((2, CPUS, 60, None)));
        pool.submit(spec((1, CPUS, 60, None)));
        let mut began = None;
        for second in 0..400 {
            if second == restart {
                pool.restart();
            }
            if second == 12 {
                pool.submit(in_a_rush(spec((1, CPUS, 10, None))));
            }
            pool.second();
            let told: Vec<Time> = pool.noticed.values().copied().collect();
            assert!(pool.noticed.keys().all(|(id, _)| id.run.job == other), "one is enough: {told:?}");
            if pool.scripts.keys().any(|(id, _)| id.run.job == rush) && began.is_none() {
                began = Some(second);
            }
        }
        let began = began.expect("it runs");
        assert!(began >= 31, "restart at {restart}: it is given a place after {began} s");
        assert_eq!(ended(&pool, ends), (Outcome::Completed, 1));
        assert_eq!(ended(&pool, other), (Outcome::Completed, 2));
        assert_eq!(ended(&pool, rush), (Outcome::Completed, 1));
        pool.restart();
    }
}

#[test]
fn the_host_of_a_lost_member_is_given_back() {
    let mut pool = Pool::new();
    let mut fixed = kernel(HOSTS as u32, HOSTS as u32, 150);
    fixed.size.max_nodes = Some(HOSTS as u32);
    pool.submit(fixed);
    (0..15).for_each(|_| pool.second());
    assert_eq!(pool.hosts_of(JobId(1)).len(), HOSTS);
    let run = RunId { job: JobId(1), element: None };
    let id = pool.controller.standing().open[&run].begun.id;
    let lost = 2;
    pool.silent = Some(lost);
    pool.submit(spec((1, CPUS, 10, None)));
    (0..40).for_each(|_| pool.second());
    assert_eq!(pool.told[&id], [HostId(0), HostId(1)]);
    assert!(!pool.controller.standing().open[&run].parts.contains_key(&HostId(lost as u32)));
    assert_eq!(pool.hosts_of(JobId(2)), [], "nobody hears the host");
    // It comes back with what it had, which has no right to be there any more.
    pool.silent = None;
    for second in 0..30 {
        if second == 5 {
            pool.restart();
        }
        pool.second();
    }
    assert_eq!(pool.hosts_of(JobId(1)), [HostId(0), HostId(1)]);
    (0..150).for_each(|_| pool.second());
    assert_eq!(ended(&pool, JobId(1)), (Outcome::Completed, 1));
    assert_eq!(ended(&pool, JobId(2)), (Outcome::Completed, 1));
    pool.restart();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn jobs_come_to_their_ends(
        wishes in prop::collection::vec(
            (1u32..=HOSTS as u32, 1u32..=CPUS, 1i64..40, prop::option::of(1u32..5)), 1..12),
        kernels in prop::collection::vec((1u32..=2, 2u32..=HOSTS as u32, 1i64..60), 0..4),
        restart_s in 1i64..60, cancel_s in 1i64..60, cancelled in 0usize..12, requeue_s in 1i64..60,
        rush in prop::collection::vec((0i64..60, 1u32..=HOSTS as u32, 1u32..=CPUS, 1i64..40), 0..4),
        mode in prop::sample::select(vec![PreemptMode::Suspend, PreemptMode::Requeue, PreemptMode::Cancel]),
        grace_s in prop::sample::select(vec![0u32, 5]),
        policy in prop::sample::select(vec![Policy::Default, Policy::Conservative]),
    ) {
        let mut pool = Pool::under(policy, mode, grace_s);
        for wish in &wishes {
            let submitted = Submitted { owner: owner(), spec: Arc::new(spec(*wish)) };
            let answer = pool.ask(Ask::Submit(submitted));
            prop_assert!(matches!(answer, Answer::Desk(Told::Accepted(_))), "{:?}", answer);
        }
        for (least, most, seconds) in &kernels {
            pool.submit(kernel(*least, *most, *seconds));
        }
        let cancelled = JobId(1 + (cancelled % (wishes.len() + kernels.len())) as u32);
        for second in 0..2_000 {
            if second == restart_s {
                pool.restart();
            }
            if second == cancel_s {
                let cancel = JobEvent::Cancelled { of: Elements::All, by: 1000 };
                pool.ask(Ask::Job(cancelled, cancel));
            }
            if second == requeue_s {
                pool.ask(Ask::Requeue(RunId { job: JobId(1), element: None }));
            }
            for (_, hosts, cpus, seconds) in rush.iter().filter(|(at, ..)| *at == second) {
                pool.submit(in_a_rush(spec((*hosts, *cpus, *seconds, None))));
            }
            pool.second();
        }
        let standing = pool.controller.standing();
        prop_assert!(standing.open.is_empty(), "{:?}", standing.open);
        prop_assert!(pool.scripts.is_empty(), "{:?}", pool.scripts);
        for job in standing.desk.books().jobs() {
            prop_assert!(job.ended().is_some(), "job {} is {}", job.id(), job.summary());
            if let Some(State::Done(done)) = job.run(None).map(|run| run.state) {
                let ok = match done.outcome {
                    Outcome::Completed => true,
                    Outcome::Preempted => mode == PreemptMode::Cancel,
                    _ => job.id() == cancelled,
                };
                prop_assert!(ok, "job {} ended with {:?}", job.id(), done.outcome);
            }
        }
        pool.restart();
    }
}

#[test]
fn what_could_never_start_is_refused() {
    let mut pool = Pool::new();
    let submitted = Submitted { owner: owner(), spec: Arc::new(spec((HOSTS as u32 + 1, 1, 1, None))) };
    let answer = pool.ask(Ask::Submit(submitted));
    assert!(matches!(answer, Answer::Desk(Told::Refused(_))), "{answer:?}");
    let answer = pool.ask(Ask::Site(Event::Purged(JobId(1))));
    assert!(matches!(answer, Answer::Desk(Told::Refused(_))), "{answer:?}");
}

#[test]
fn licences_are_in_the_journal() {
    let mut pool = Pool::new();
    let mut licensed = spec((1, 1, 30, None));
    licensed.needs.licences = vec![("solver".into(), 1)];
    let submitted = Submitted { owner: owner(), spec: Arc::new(licensed) };
    let answer = pool.ask(Ask::Submit(submitted.clone()));
    assert!(matches!(answer, Answer::Desk(Told::Refused(_))), "nobody knows the licence: {answer:?}");
    let licences = BTreeMap::from([("solver".to_owned(), 1)]);
    let rules = Rules { keep_s: 1_000_000, licences, ..Rules::default() };
    pool.ask(Ask::Site(Event::Rules(rules.clone())));
    for _ in 0..2 {
        let answer = pool.ask(Ask::Submit(submitted.clone()));
        assert!(matches!(answer, Answer::Desk(Told::Accepted(_))), "{answer:?}");
    }
    for second in 0..40 {
        if second == 10 {
            pool.restart();
            assert_eq!(pool.controller.standing().desk.books().rules(), &rules);
        }
        pool.second();
        assert!(pool.scripts.len() <= 1, "one licence for two");
    }
    (0..40).for_each(|_| pool.second());
    let books = pool.controller.standing().desk.books();
    assert!(books.jobs().all(|job| job.ended().is_some()));
}

#[test]
fn two_accounts_get_their_shares() {
    const HALF_LIFE_S: u32 = 2400;
    let mut pool = Pool::new();
    let table = "accounts.a = { shares = 3, users.ada = {} }\naccounts.b = { shares = 1, users.bob = {} }";
    assert_eq!(pool.set_accounts(table, HALF_LIFE_S), Answer::Desk(Told::Done));
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    let mut submitted = 0;
    for second in 0..3 * HALF_LIFE_S {
        // Both always have jobs that wait, of lengths that differ; bob's are wider, and ada's are more.
        for (user, cpus) in [("ada", 1), ("bob", 2)] {
            let books = pool.controller.standing().desk.books();
            let waiting = books.waiting().filter(|job| job.owner().user == user).count();
            for _ in waiting..24 {
                submitted += 1;
                pool.submit_as(user, spec((1, cpus, 10 + submitted * 7 % 40, None)));
            }
        }
        if second % 3001 == 3000 {
            pool.restart();
        }
        pool.second();
        for ((id, _), (cpus, _)) in &pool.scripts {
            let job = pool.controller.standing().desk.books().job(id.run.job).expect("it runs");
            *got.entry(job.owner().user.clone()).or_default() += u64::from(*cpus);
        }
    }
    let all: u64 = got.values().sum();
    assert!(all > u64::from(3 * HALF_LIFE_S * CPUS * HOSTS as u32) * 9 / 10, "the hosts are busy: {got:?}");
    for (user, due) in [("ada", 0.75), ("bob", 0.25)] {
        let part = 100.0 * got[user] as f64 / all as f64 / due;
        assert!((part - 100.0).abs() < 1.0, "{user} got {part} % of its share");
    }
    pool.restart();
}

#[test]
fn limits_of_accounts_act_in_the_live_queue() {
    let mut pool = Pool::new();
    let wrong =
        "accounts.a.parent = 'none'\nqos.p.preempts = ['q']\nqos.q.preempts = ['r']\nqos.r.preempts = ['p']
        partitions.nowhere = {}";
    let Answer::Desk(Told::Refused(Refusal::Books(BooksError::Accounting(errors)))) =
        pool.set_accounts(wrong, 0)
    else {
        panic!("it was taken")
    };
    let errors = errors.to_string();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(
        lines,
        [
            "accounts.a: there is no account `none` to be its parent: add it, or name another",
            "qos.p preempts itself through others: p preempts q preempts r preempts p: break the ring",
            "partitions.nowhere: there is no such partition: add it first, or name another",
            "half_life_s: the half-life is 0 ticks: give 1 to 1099511627776, or none for usage that never fades",
        ]
    );
    let site = |limits: &str| {
        format!(
            "accounts.lab = {{ {limits}, users = {{ ada = {{}}, bob = {{}} }} }}\n[qos.one]\nlimits.total.jobs = 2"
        )
    };
    let done = Answer::Desk(Told::Done);
    assert_eq!(pool.set_accounts(&site("limits.total.jobs = 1"), 600), done);
    let jobs = ["ada", "bob", "ada"].map(|user| pool.submit_as(user, spec((1, 2, 60, None))));
    let nobody = Arc::new(Owner { user: "eve".into(), ..Owner::clone(&owner()) });
    let refused = pool.ask(Ask::Submit(Submitted { owner: nobody, spec: Arc::new(spec((1, 1, 1, None))) }));
    assert!(matches!(refused, Answer::Desk(Told::Refused(Refusal::Hopeless(_)))), "{refused:?}");
    (0..20).for_each(|_| pool.second());
    assert_eq!((pool.scripts.len(), pool.words(jobs[1])), (1, vec!["AssocGrpJobsLimit"]));
    pool.restart();
    (0..20).for_each(|_| pool.second());
    assert_eq!((pool.scripts.len(), pool.words(jobs[1])), (1, vec!["AssocGrpJobsLimit"]));
    // What is limited by the account no more is limited by the QOS of the partition.
    let table = site("limits.total.jobs = 9") + "\n[partitions.all]\nqos = 'one'";
    assert_eq!(pool.set_accounts(&table, 600), done);
    pool.second();
    assert_eq!((pool.scripts.len(), pool.words(jobs[2])), (2, vec!["QOSGrpJobsLimit"]));
    // Two CPU-minutes were used by now, and one is allowed: what waits starts by itself when enough has faded.
    assert_eq!(pool.set_accounts(&site("limits.total.minutes.cpus = 1"), 600), done);
    pool.second();
    (0..100).for_each(|_| pool.second());
    assert_eq!((pool.scripts.len(), pool.words(jobs[2])), (0, vec!["AssocGrpCPUMinutesLimit"]));
    assert!(pool.controller.standing().desk.wake(pool.now).is_some_and(|at| at <= pool.now.after(3000)));
    pool.restart();
    let waited = (0..6000).find(|_| {
        pool.second();
        !pool.scripts.is_empty()
    });
    assert!(waited.is_some_and(|seconds| seconds > 600), "{waited:?}");
    assert_eq!(pool.ask(Ask::Site(Event::AccountingGone)), done);
    pool.restart();
    assert!(pool.controller.standing().desk.used().is_none());
    assert!(matches!(pool.ask(Ask::Site(Event::AccountingGone)), Answer::Desk(Told::Refused(_))));
}

#[test]
fn what_was_given_to_a_job_stays_while_it_runs() {
    let mut pool = Pool::new();
    let licences = BTreeMap::from([("solver".to_owned(), 2)]);
    pool.ask(Ask::Site(Event::Rules(Rules { keep_s: 1_000_000, licences, ..Rules::default() })));
    let mut licensed = spec((1, 4, 30, Some(4)));
    licensed.needs.licences = vec![("solver".into(), 1)];
    let array = pool.submit_as("ada", licensed.clone());
    licensed.array = None;
    let waits = pool.submit_as("ada", licensed);
    (0..15).for_each(|_| pool.second());
    assert_eq!(pool.scripts.len(), 2, "of two licences");
    let update = |count| JobEvent::Updated(Box::new(Update { fields: vec![Field::Licences(count)] }));
    let Answer::Desk(Told::Refused(Refusal::Books(why))) = pool.ask(Ask::Job(array, update(Vec::new())))
    else {
        panic!("it was changed")
    };
    let said = format!(
        "job {array}: Licenses cannot be changed: it is running, and keeps what it was given until it ends or is requeued"
    );
    assert_eq!(why.to_string(), said);
    // What waits may ask for others; for more than there are it waits.
    let many = update(vec![("solver".into(), 3)]);
    assert_eq!(pool.ask(Ask::Job(waits, many)), Answer::Desk(Told::Done));
    assert_eq!(pool.words(waits), ["Licenses"]);
    assert_eq!(pool.ask(Ask::Job(waits, update(Vec::new()))), Answer::Desk(Told::Done));
    pool.second();
    assert_eq!(pool.scripts.len(), 3, "it needs none");
    pool.restart();
}

#[test]
fn who_is_told_to_end_has_its_cores_until_then_after_a_restart_too() {
    let mut pool = Pool::with(PreemptMode::Suspend, 0);
    pool.submit(spec((3, CPUS, 60, None)));
    (0..3).for_each(|_| pool.second());
    let rush = pool.submit_as("ada", in_a_rush(spec((1, CPUS, 90, None))));
    (0..3).for_each(|_| pool.second());
    let on = pool.hosts_of(rush);
    assert_eq!((on.len(), pool.stopped.len()), (1, 3), "it runs where the other stands still");
    pool.ask(Ask::Job(rush, JobEvent::Cancelled { of: Elements::All, by: 1000 }));
    pool.restart();
    // Nobody goes on beside it: the pool would see that.
    (0..29).for_each(|_| pool.second());
    assert_eq!((pool.hosts_of(rush), pool.stopped.len()), (on, 3));
    (0..5).for_each(|_| pool.second());
    assert_eq!((pool.hosts_of(rush), pool.stopped.len()), (Vec::new(), 0));
}
