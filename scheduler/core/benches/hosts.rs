//! How long a pass over the queue of a large cluster takes: cold, with every summary to be made; and after one event.
//!
//! `cargo bench -p muster-core --bench hosts`. One thread, and its own time. The cluster has hosts of five shapes, is 70 % full, and some
//! hundred classes of requests wait for it.

use muster_core::cluster::{
    ClassId, Constraint, Gpus, Host, Hosts, Layout, Per, Request, Shape, Sharing, Tasks,
};
use muster_core::jobspec::Memory;
use muster_core::policy::key::Key;
use muster_core::policy::machine::{Machine, Running};
use muster_core::policy::pass::{Pass, Starts};
use muster_core::policy::queue::{Entry, Queue, Waiting};
use muster_core::policy::{Backfill, Candidates};
use muster_core::time::Time;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3600;
const EASY: Backfill = Backfill::Easy(Candidates::InOrder);

fn main() {
    measure(10_000, 100_000, 4000);
    measure(100_000, 1_000_000, 200);
}

/// Measures one cluster and prints what it took.
fn measure(hosts: u32, pending: u64, events: usize) {
    let mut site = Site::new(hosts, 7);
    site.fill();
    let queued = Stopwatch::start();
    let mut queue = site.queue(pending);
    let queued = queued.elapsed();
    let (running, cpus) = (site.ends.len(), site.hosts.free());
    let mut pass = Pass::default();
    let began = Stopwatch::start();
    site.pass(&mut pass, &mut queue);
    let cold = began.elapsed();
    println!(
        "{hosts} hosts, {pending} pending in {} classes, {running} running, {cpus} CPUs free",
        site.classes.len()
    );
    let started = site.ends.len() - running;
    println!("  cold pass        {:>9.2} ms, {started} started ({queued:.0?} to queue)", ms(cold));
    let mut times: Vec<Duration> =
        (0..events).map(|event| site.event(event, &mut pass, &mut queue)).collect();
    times.sort_unstable();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "  after one event  {:>9.3} ms median, {:.3} ms p99, {:.3} ms most, of {events}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("  most memory      {:>9} MiB", peak_mib());
}

/// Measures the time that this thread runs: what else the machine does is not a pass's.
struct Stopwatch(Duration);

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch(Stopwatch::now())
    }

    fn elapsed(&self) -> Duration {
        Stopwatch::now() - self.0
    }

    fn now() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The most memory that this process has had so far; 0 where the system does not tell.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

struct Site {
    hosts: Hosts,
    random: Random,
    classes: Vec<ClassId>,
    /// The jobs that run, in no order.
    ends: Vec<(Running, Time)>,
    next: u64,
    now: Time,
}

impl Site {
    fn new(count: u32, seed: u64) -> Site {
        let mut hosts = Hosts::new(&BTreeMap::from([("solver".to_owned(), 200)]));
        let kinds = [
            (60, "2x32x256G", "cpu", "sky"),
            (15, "2x64x512G", "cpu", "milan"),
            (10, "8x16x1T", "fat", "milan"),
            (10, "2x32x512Gxa100:4", "gpu", "sky"),
            (5, "2x48x1Txh100:8", "gpu", "genoa"),
        ];
        for number in 0..count {
            let mut share = i64::from(number % 100);
            let kind = kinds.iter().find(|kind| {
                share -= kind.0;
                share < 0
            });
            let (_, shape, partition, feature) = kind.expect("the shares are of a hundred");
            let shape = Shape::parse(shape).expect("a shape");
            let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
            let island = format!("island{}", number / 1000);
            let host = Host {
                features: names(&[feature, &island]),
                partitions: names(&[partition, "all"]),
                ..Host::new(format!("h{number}"), shape)
            };
            hosts.add(host).expect("a new host");
        }
        let now = Time(1000 * HOUR);
        Site { hosts, random: Random(seed), classes: Vec::new(), ends: Vec::new(), next: 0, now }
    }

    /// A request as they come; `extra` MiB more than round numbers make its need one that no other has.
    fn request(&mut self, extra: u64) -> Request {
        let random = &mut self.random;
        let gib = 1024;
        let mut request = Request::cpus(random.one_of(&[1, 1, 1, 2, 4, 4, 8, 16, 32]));
        let each = random.one_of(&[1, 2, 4, 4, 6, 8]) * gib;
        request.memory = Some(Memory::PerCpu(each + extra));
        request.only.partition = Some("all".into());
        match random.below(100) {
            0..45 => {}
            45..65 => {
                let hosts = random.one_of(&[1, 2, 2, 4, 4, 8, 16, 32, 64]);
                request = Request {
                    memory: Some(Memory::PerNode(64 * gib + extra)),
                    ..Request::whole_hosts(hosts)
                };
                request.only.partition = Some("cpu".into());
            }
            65..80 => {
                let count = random.one_of(&[16, 32, 64, 128, 256, 512]);
                request.tasks = Tasks::Total { count, most_per_host: None };
                (request.cpus_per_task, request.hosts_max) = (1, count);
                request.only.partition = Some(random.one_of(&["cpu", "all"]).into());
            }
            80..93 => {
                let kind = random.one_of(&[None, Some("a100"), Some("h100")]).map(str::to_owned);
                request.gpus = Some(Gpus { kind, count: random.one_of(&[1, 1, 2, 4]), per: Per::Task });
                request.only.partition = Some("gpu".into());
            }
            93..97 => {
                let text = random.one_of(&["sky|milan", "[sky|milan]", "milan", "island0|island1"]);
                request.only.constraint = Constraint::parse(text).expect("a constraint");
            }
            97..99 => request.layout = Layout::Spread,
            _ => drop(request.licences.insert("solver".into(), 1)),
        }
        if random.below(20) == 0 {
            request.sharing = Sharing::Exclusive;
        }
        request
    }

    /// Starts jobs until 70 % of the CPUs are taken.
    fn fill(&mut self) {
        let all = self.hosts.free();
        while self.hosts.free() > all / 10 * 3 {
            let request = self.request(1);
            let end = self.now + 60 + self.random.below(24 * HOUR as u64) as i64;
            if let Ok(class) = self.hosts.intern(&request)
                && self.hosts.start(Running(self.next), class, end, None).is_some()
            {
                self.ends.push((Running(self.next), end));
                self.next += 1;
            }
        }
    }

    fn entry(&mut self) -> Entry<ClassId> {
        let request = self.classes[self.random.below(self.classes.len() as u64) as usize];
        let estimate = self.random.one_of(&[1, 2, 4, 8, 12, 24, 24, 48, 72]) * HOUR;
        self.next += 1;
        let (job, width) = (Waiting(self.next), self.hosts.width(request));
        Entry { job, rank: u64::MAX, submit: self.now, estimate, width, count: 1, request }
    }

    /// A queue of jobs of some hundred classes.
    fn queue(&mut self, pending: u64) -> Queue<ClassId> {
        let mut distinct = BTreeSet::new();
        while distinct.len() < 400 {
            let request = self.request(0);
            distinct.extend(self.hosts.intern(&request).ok());
        }
        self.classes = distinct.into_iter().collect();
        let mut queue = Queue::new(Key::Submit, 1);
        for _ in 0..pending {
            let entry = self.entry();
            queue.insert(entry, self.now);
        }
        queue
    }

    fn pass(&mut self, pass: &mut Pass, queue: &mut Queue<ClassId>) {
        let mut begun = Begun { ends: &mut self.ends, now: self.now };
        pass.run(EASY, queue, &mut self.hosts, (self.now, &mut begun));
    }

    /// One job ends, or one is submitted; and the pass that follows.
    fn event(&mut self, event: usize, pass: &mut Pass, queue: &mut Queue<ClassId>) -> Duration {
        self.now = self.now + 1;
        let mut entry = self.entry();
        if self.random.below(20) == 0 {
            // It goes before all others, so that heads of all kinds are promised a start.
            entry.rank = u64::MAX - self.next;
        }
        let ended = self.random.below(self.ends.len() as u64) as usize;
        let began = Stopwatch::start();
        if event.is_multiple_of(2) {
            self.hosts.finish(self.ends[ended].0);
        } else {
            queue.insert(entry, self.now);
        }
        queue.refresh(self.now);
        self.pass(pass, queue);
        let took = began.elapsed();
        if event.is_multiple_of(2) {
            self.ends.swap_remove(ended);
        }
        took
    }
}

/// Notes what starts.
struct Begun<'a> {
    ends: &'a mut Vec<(Running, Time)>,
    now: Time,
}

impl Starts<Hosts> for Begun<'_> {
    fn admit(&mut self, entry: &Entry<ClassId>) -> Option<Running> {
        Some(Running(entry.job.0))
    }

    fn started(
        &mut self,
        entry: &Entry<ClassId>,
        running: Running,
        _: Arc<muster_core::cluster::Allocation>,
    ) {
        self.ends.push((running, self.now + entry.estimate));
    }
}
