//! What always holds, whatever starts and ends: nothing is held twice, what fits starts, a promise is the earliest and
//! is kept.

use crate::model::Model;
use crate::requests::{cluster, hosts, request};
use muster_core::cluster::{
    Allocation, Bits, ClassId, Earmark, Gpus, HostId, HostState, Hosts, Per, Purpose, Request, Sharing,
    Tasks, Window,
};
use muster_core::jobspec::Memory;
use muster_core::policy::machine::{Machine, Promise, Running};
use muster_core::time::Time;
use proptest::prelude::*;

/// What happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    /// Jobs of some classes are to start and last so long, beside what some class is promised or not.
    Start(Vec<(usize, i64)>, Option<usize>),
    /// Some job ends.
    Finish(usize),
    /// Some host is drained, or comes up again.
    Turn(usize),
    /// Time goes on.
    Wait(i64),
    /// Some hosts are kept for maintenance, from so many ticks on, for so many.
    Keep(u8, i64, i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (prop::collection::vec((0_usize..9, 1_i64..20), 1..4), prop::option::of(0_usize..9))
            .prop_map(|(jobs, beside)| Event::Start(jobs, beside)),
        4 => (0_usize..99).prop_map(Event::Finish),
        1 => (0_usize..9).prop_map(Event::Turn),
        2 => (1_i64..9).prop_map(Event::Wait),
        1 => (1_u8..32, 0_i64..20, 1_i64..9).prop_map(|(hosts, from, lasts)| Event::Keep(hosts, from, lasts)),
    ]
}

pub(crate) struct World {
    pub(crate) cluster: Hosts,
    pub(crate) model: Model,
    pub(crate) classes: Vec<(ClassId, Request)>,
    pub(crate) now: Time,
    pub(crate) next: u64,
}

impl World {
    fn play(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Start(ref jobs, beside) => self.start(jobs, beside)?,
            Event::Finish(which) => {
                let job = self.model.running.keys().nth(which % self.model.running.len().max(1)).copied();
                if let Some(job) = job {
                    self.cluster.finish(Running(job));
                    self.model.running.remove(&job);
                }
            }
            Event::Turn(host) => {
                let host = host % self.model.hosts.len();
                let state = match self.model.hosts[host].state {
                    HostState::Up => HostState::Drained { reason: "service".into() },
                    _ => HostState::Up,
                };
                self.cluster.set_state(HostId(host as u32), state.clone());
                self.model.hosts[host].state = state;
            }
            Event::Wait(ticks) => {
                self.now = self.now + ticks;
                self.cluster.advance(self.now);
                self.model.windows.retain(|window| window.to > self.now);
            }
            Event::Keep(hosts, from, lasts) => {
                let hosts: Bits = (0..self.model.hosts.len()).filter(|host| hosts >> host & 1 == 1).collect();
                let (from, to) = (self.now + from, self.now + from + lasts);
                let window = Window { name: "w".into(), purpose: Purpose::Maintenance, hosts, from, to };
                self.cluster.reserve(window.clone());
                self.model.windows.push(window);
            }
        }
        Ok(())
    }

    fn start(&mut self, jobs: &[(usize, i64)], beside: Option<usize>) -> Result<(), TestCaseError> {
        let head = beside.map(|other| self.classes[other % self.classes.len()].clone());
        let promise = head.as_ref().and_then(|(id, _)| self.cluster.promise(*id, self.now, 10));
        let mut promised = promise.zip(head);
        for &(class, lasts) in jobs {
            self.start_one(class, lasts, promised.as_mut().map(|(promise, _)| promise))?;
            if let Some((promise, (_, head))) = &promised {
                prop_assert!(self.model.fits(head, promise.at(), 10), "{head:?} was delayed");
            }
        }
        Ok(())
    }

    fn start_one(
        &mut self,
        class: usize,
        lasts: i64,
        promise: Option<&mut Earmark>,
    ) -> Result<(), TestCaseError> {
        let (class, request) = self.classes[class % self.classes.len()].clone();
        let (running, end) = (Running(self.next), self.now + lasts);
        let fits_now = self.fits_now(&request, lasts);
        let outlives = promise.as_ref().is_some_and(|promise| end > promise.at());
        let room = promise.as_ref().filter(|_| outlives).map_or(u32::MAX, |promise| promise.spare());
        prop_assert!(self.cluster.fits(class) || !fits_now, "{request:?} fits");
        let Some(place) = self.cluster.start(running, class, end, promise) else {
            prop_assert!(outlives || !fits_now, "{request:?} should have started");
            return Ok(());
        };
        prop_assert!(fits_now, "{request:?} should not have started");
        prop_assert!(self.cluster.width(class) <= room, "a start that nobody would have asked for");
        self.next += 1;
        self.check(&request, &place)?;
        self.model.running.insert(running.0, (end, request, (*place).clone()));
        Ok(())
    }

    /// Whether a job fits on what is free, with nothing that is to end counted as ended.
    fn fits_now(&self, request: &Request, lasts: i64) -> bool {
        let mut model = self.model.clone();
        model.running.values_mut().for_each(|(end, ..)| *end = Time::NEVER);
        model.fits(request, self.now, lasts)
    }

    /// Whether an allocation is what the request asked for, and free.
    pub(crate) fn check(&self, request: &Request, place: &Allocation) -> Result<(), TestCaseError> {
        let tasks: u32 = place.parts.iter().map(|part| part.tasks).sum();
        let hosts = place.parts.len() as u32;
        prop_assert!((request.hosts_min..=request.hosts_max).contains(&hosts));
        prop_assert_eq!(
            tasks,
            match request.tasks {
                Tasks::PerHost(each) => each * hosts,
                Tasks::Total { count, .. } => count,
            }
        );
        for part in &place.parts {
            let host = part.host.0 as usize;
            let shape = &self.model.hosts[host].shape;
            let cpus = part.tasks * request.cpus_per_task;
            let memory = match request.memory {
                None => 0,
                Some(Memory::PerNode(all)) => all,
                Some(Memory::PerCpu(each)) => each * u64::from(cpus),
            };
            let gpus = match &request.gpus {
                Some(Gpus { count, per: Per::Task, .. }) => count * part.tasks,
                Some(gpus) => gpus.count,
                None => 0,
            };
            if request.sharing == Sharing::Exclusive {
                let all = (shape.cores(), shape.memory_mib(), (1 << shape.gpus.len()) - 1);
                prop_assert_eq!((part.cpus(), part.memory(), part.gpus), all);
            } else {
                prop_assert_eq!((part.cpus(), part.memory(), part.gpus.count_ones()), (cpus, memory, gpus));
                prop_assert_eq!(self.model.gpus(request, host, part.gpus), gpus);
            }
            prop_assert!(part.cores.iter().all(|core| core < shape.cores() as usize));
            let here =
                |allocation: &Allocation| allocation.parts.iter().find(|p| p.host == part.host).cloned();
            let mut memory_mib = part.memory_mib.clone();
            for other in self.model.running.values().filter_map(|(.., allocation)| here(allocation)) {
                prop_assert!(
                    !part.cores.iter().any(|core| other.cores.contains(core)),
                    "a core is held twice"
                );
                prop_assert_eq!(part.gpus & other.gpus, 0, "a GPU is held twice");
                memory_mib.iter_mut().zip(&other.memory_mib).for_each(|(sum, more)| *sum += more);
            }
            let within = |(held, domain): (&u64, &muster_core::cluster::Domain)| *held <= domain.memory_mib;
            prop_assert!(memory_mib.iter().zip(&shape.domains).all(within), "memory is held twice");
        }
        Ok(())
    }

    /// Whether the cluster answers as the model does, for all classes.
    fn agree(&mut self) -> Result<(), TestCaseError> {
        for (class, request) in self.classes.clone() {
            let fits = self.fits_now(&request, 1);
            prop_assert_eq!(self.cluster.fits(class), fits, "{:?}", request);
            for lasts in [1, 7] {
                let promise = self.cluster.promise(class, self.now, lasts);
                let earliest = self.model.earliest(&request, self.now, lasts);
                prop_assert_eq!(promise.as_ref().map(Promise::at), earliest, "{:?}", request);
                if let Some(promise) = promise {
                    let hosts = promise.hosts();
                    prop_assert!(
                        hosts.len() as u32 >= request.hosts_min && hosts.is_sorted_by_key(|h| h.host)
                    );
                }
                let why = self.cluster.why(class, self.now, lasts);
                prop_assert_eq!(why.is_none(), self.fits_now(&request, lasts));
                if let Some(why) = why {
                    prop_assert!(!why.missing.is_empty());
                    prop_assert_eq!(why.until, earliest);
                    let until = earliest.unwrap_or(Time::NEVER);
                    prop_assert!(why.holders.iter().all(|holder| holder.end <= until));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn the_cluster_does_what_the_model_does(
        hosts in hosts(),
        requests in prop::collection::vec(request(), 4..12),
        events in prop::collection::vec(event(), 0..40),
    ) {
        let mut cluster = cluster(&hosts);
        let model = Model { hosts: hosts.clone(), running: Default::default(), windows: Vec::new() };
        let mut classes = Vec::new();
        for request in requests {
            let interned = cluster.intern(&request);
            prop_assert_eq!(interned.is_ok(), model.fits(&request, Time(0), 1) && known(&hosts, &request), "{:?}", interned);
            classes.extend(interned.ok().map(|class| (class, request)));
        }
        if classes.is_empty() {
            return Ok(());
        }
        cluster.advance(Time(0));
        let mut world = World { cluster, model, classes, now: Time(0), next: 0 };
        for event in &events {
            world.play(event)?;
            world.agree()?;
        }
        for job in world.model.running.keys() {
            world.cluster.finish(Running(*job));
        }
        for (number, host) in hosts.iter().enumerate() {
            prop_assert_eq!(world.cluster.free_cpus(HostId(number as u32)), host.shape.cores());
        }
        world.model.running.clear();
        world.agree()?;
    }
}

/// Whether the cluster knows the names that a request excludes: those that nothing has are refused, though all fits.
fn known(hosts: &[muster_core::cluster::Host], request: &Request) -> bool {
    let mut features: Vec<String> = Vec::new();
    let constraint = &request.only.constraint;
    let exprs =
        constraint.each.iter().chain(&constraint.one_of).chain(constraint.counts.iter().map(|(e, _)| e));
    exprs.for_each(|expr| names(expr, &mut features));
    request.only.exclude.iter().all(|name| hosts.iter().any(|host| host.name == *name))
        && features.iter().all(|name| hosts.iter().any(|host| host.features.contains(name)))
}

fn names(expr: &muster_core::cluster::Expr, out: &mut Vec<String>) {
    use muster_core::cluster::Expr;
    match expr {
        Expr::Feature(name) => out.push(name.clone()),
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| names(part, out)),
    }
}
