//! Everybody is promised a start, on hosts of all kinds: nobody starts later than first promised, and who is alone is
//! promised the earliest start that there is.

use crate::laws::World;
use crate::model::Model;
use crate::requests::{LICENCES, cluster, hosts, request};
use muster_core::cluster::{Allocation, Bits, ClassId, Host, Hosts, Purpose, Request, Window};
use muster_core::policy::key::Key;
use muster_core::policy::machine::{Machine, Running};
use muster_core::policy::pass::Starts;
use muster_core::policy::queue::{Entry, Queue, Waiting};
use muster_core::policy::reserve::Reserving;
use muster_core::time::Time;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// After how many ticks a job comes, which request it makes, how long it may run, and how long it does.
type Job = (i64, usize, i64, i64);

struct Started(Vec<(u64, Arc<Allocation>)>);

impl Starts<Hosts> for Started {
    fn admit(&mut self, entry: &Entry<ClassId>) -> Option<Running> {
        Some(Running(entry.job.0))
    }

    fn started(&mut self, _: &Entry<ClassId>, running: Running, place: Arc<Allocation>) {
        self.0.push((running.0, place));
    }
}

/// A cluster, jobs that come, and what each was promised last.
struct Day {
    world: World,
    queue: Queue<ClassId>,
    reserving: Reserving,
    jobs: Vec<Job>,
    /// By job, when it really ends.
    ends: BTreeMap<u64, Time>,
    promised: BTreeMap<u64, Time>,
}

impl Day {
    fn request(&self, job: u64) -> (ClassId, Request, i64) {
        let (_, request, lasts, _) = self.jobs[job as usize];
        let (class, request) = self.world.classes[request % self.world.classes.len()].clone();
        (class, request, lasts)
    }

    fn arrive(&mut self, job: u64) {
        let (class, _, lasts) = self.request(job);
        let (now, width) = (self.world.now, self.world.cluster.width(class));
        let (job, rank, count) = (Waiting(job), 0, 1);
        let entry = Entry { job, rank, submit: now, estimate: lasts, width, count, request: class };
        self.queue.insert(entry, now);
    }

    /// Everything that happens at a time, and a pass.
    fn moment(&mut self, now: Time, arrivals: &[u64]) -> Result<(), TestCaseError> {
        self.world.now = now;
        for (job, _) in self.ends.clone().into_iter().filter(|(_, end)| *end <= now) {
            self.ends.remove(&job);
            self.world.model.running.remove(&job);
            self.world.cluster.finish(Running(job));
        }
        let alone = self.queue.elements() == 0 && arrivals.len() == 1;
        arrivals.iter().for_each(|job| self.arrive(*job));
        self.world.cluster.advance(now);
        let earliest = alone.then(|| {
            let (_, request, lasts) = self.request(arrivals[0]);
            self.world.model.earliest(&request, now, lasts)
        });
        let mut started = Started(Vec::new());
        let outcome = self.reserving.run(&mut self.queue, &mut self.world.cluster, (now, &mut started));
        let first = started.0.first().map(|_| now).or(outcome.promised.first().map(|(_, at)| *at));
        prop_assert!(earliest.is_none_or(|earliest| earliest == first), "{:?} is not {:?}", first, earliest);
        for (job, place) in started.0 {
            self.start(job, &place)?;
        }
        prop_assert_eq!(
            outcome.promised.len() as u64,
            self.queue.elements(),
            "everybody is promised a start"
        );
        for (Waiting(job), at) in outcome.promised {
            let before = self.promised.insert(job, at);
            prop_assert!(at > now && before.is_none_or(|before| at <= before), "{} was put off", job);
        }
        Ok(())
    }

    fn start(&mut self, job: u64, place: &Allocation) -> Result<(), TestCaseError> {
        let (_, request, lasts) = self.request(job);
        let (now, run) = (self.world.now, self.jobs[job as usize].3.min(lasts));
        prop_assert!(self.promised.get(&job).is_none_or(|at| now <= *at), "{} is late", job);
        self.world.check(&request, place)?;
        for window in &self.world.model.windows {
            let here = place.parts.iter().any(|part| window.hosts.contains(part.host.0 as usize));
            prop_assert!(!here || window.to <= now || now + lasts <= window.from, "it runs into a window");
        }
        self.world.model.running.insert(job, (now + lasts, request, place.clone()));
        let held = self.world.model.running.values().flat_map(|(_, request, _)| request.licences.values());
        prop_assert!(held.sum::<u32>() <= LICENCES);
        self.ends.insert(job, now + run);
        Ok(())
    }

    fn play(mut self) -> Result<(), TestCaseError> {
        let mut submit = Time(0);
        let times: Vec<Time> = self
            .jobs
            .iter()
            .map(|(gap, ..)| {
                submit = submit + *gap;
                submit
            })
            .collect();
        let mut come = 0;
        loop {
            let next = self.ends.values().min().into_iter().chain(times.get(come)).copied();
            let Some(now) = next.chain(self.reserving.due()).min() else { break };
            let arrivals = times[come..].iter().take_while(|at| **at == now).count();
            let numbers: Vec<u64> = (come..come + arrivals).map(|job| job as u64).collect();
            come += arrivals;
            self.moment(now, &numbers)?;
        }
        prop_assert_eq!(self.queue.elements(), 0, "everybody has started");
        Ok(())
    }
}

/// A day on these hosts, some of which are kept for maintenance for a time.
fn day(hosts: &[Host], requests: &[Request], jobs: Vec<Job>, kept: &[(u8, i64, i64)]) -> Option<Day> {
    let mut cluster = cluster(hosts);
    let classes: Vec<(ClassId, Request)> = requests
        .iter()
        .filter_map(|request| cluster.intern(request).ok().map(|class| (class, request.clone())))
        .collect();
    if classes.is_empty() {
        return None;
    }
    cluster.advance(Time(0));
    let window = |&(of, from, lasts): &(u8, i64, i64)| {
        let hosts: Bits = (0..hosts.len()).filter(|host| of >> host & 1 == 1).collect();
        let (from, to) = (Time(from), Time(from + lasts));
        Window { name: "w".into(), purpose: Purpose::Maintenance, hosts, from, to }
    };
    let windows: Vec<Window> = kept.iter().map(window).collect();
    for window in &windows {
        cluster.reserve(window.clone());
    }
    let model = Model { hosts: hosts.to_vec(), running: BTreeMap::new(), windows };
    let world = World { cluster, model, classes, now: Time(0), next: 0 };
    let reserving = Reserving::new(|waiting| waiting.0, 1);
    let (ends, promised) = (BTreeMap::new(), BTreeMap::new());
    Some(Day { world, queue: Queue::new(Key::Submit, 1), reserving, jobs, ends, promised })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Jobs run as long as they may, or shorter.
    #[test]
    fn nobody_starts_later_than_first_promised(
        hosts in hosts(),
        requests in prop::collection::vec(request(), 3..8),
        jobs in prop::collection::vec((0_i64..6, 0_usize..8, 1_i64..20, 1_i64..40), 1..40),
        kept in prop::collection::vec((1_u8..32, 1_i64..60, 1_i64..9), 0..3),
        exact: bool,
    ) {
        let run = |(gap, request, lasts, run): Job| (gap, request, lasts, if exact { lasts } else { run });
        let jobs = jobs.into_iter().map(run).collect();
        if let Some(day) = day(&hosts, &requests, jobs, &kept) {
            day.play()?;
        }
    }
}
