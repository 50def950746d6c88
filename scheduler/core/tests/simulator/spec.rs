//! The jobs of the simulator and its site, in the words of the real desk.

use crate::random::Random;
use muster_core::books::Books;
use muster_core::books::accounting::Accounting;
use muster_core::books::event::Event;
use muster_core::books::partition::{Partition, PreemptMode};
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, Shape};
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::{ArraySpec, JobSpec, Requeue, Work};
use muster_core::protocol::clerk::Clerk;
use muster_core::protocol::desk::Desk;
use muster_core::protocol::message::Conduct;
use muster_core::share::limits::{HeldLimits, Limits};
use muster_core::share::shares::Shares;
use muster_core::share::table::{AccountEntry, AccountsTable, QosEntry, UserEntry};
use muster_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a job of the simulator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) conduct: Conduct,
    /// CPUs on each host.
    pub(crate) cpus: u32,
    pub(crate) hosts: u32,
    /// How many hosts it may be given while it runs, when it is a kernel step.
    pub(crate) most: u32,
    /// How long its script runs when nothing happens to it.
    pub(crate) runs_ms: i64,
    /// How many blocks it has, when it is a kernel step.
    pub(crate) blocks: u32,
    /// How many rounds it goes.
    pub(crate) rounds: u32,
    /// Whether its blocks are those of a file, which not every host has.
    pub(crate) reads: bool,
    /// Whether others make room for it.
    pub(crate) rush: bool,
    pub(crate) limit_s: Option<u64>,
    /// How many of the site's solvers it needs.
    pub(crate) licences: u32,
    /// Whose it is.
    pub(crate) user: User,
    /// Whether it may not run on the first host.
    pub(crate) avoids_first: bool,
    /// How many elements it has; none when it is no array.
    pub(crate) elements: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Ada,
    Bob,
}

/// How many solvers there are.
pub(crate) const SOLVERS: u32 = 2;

impl Spec {
    /// A job that fits on hosts with so many CPUs.
    pub(crate) fn draw(random: &mut Random, cpus: &[u32]) -> Spec {
        let conduct = [Conduct::Requeue, Conduct::Requeue, Conduct::Stay, Conduct::Fenced, Conduct::Fenced]
            [random.below(5) as usize];
        Spec::draw_of(random, conduct, cpus)
    }

    /// The same, of this conduct.
    pub(crate) fn draw_of(random: &mut Random, conduct: Conduct, cpus: &[u32]) -> Spec {
        let fenced = conduct == Conduct::Fenced;
        // A host that has the file is sure, so one is enough.
        let reads = fenced && random.chance(500);
        let hosts = if !reads && random.chance(300) { 2 } else { 1 };
        let least = cpus.iter().copied().min().unwrap_or(1);
        // A script may have a kernel step, during which its hosts come and go.
        let steps = fenced || random.chance(300);
        Spec {
            conduct,
            cpus: random.between(1, i64::from(least)) as u32,
            hosts,
            most: if steps { random.between(i64::from(hosts), 4) as u32 } else { hosts },
            runs_ms: random.between(3_000, 150_000),
            blocks: if steps { random.between(1, 9) as u32 } else { 0 },
            rounds: if steps { random.between(1, 3) as u32 } else { 1 },
            reads,
            rush: random.chance(350),
            limit_s: random.chance(150).then(|| random.between(5, 100) as u64),
            licences: if random.chance(300) { random.between(1, i64::from(SOLVERS)) as u32 } else { 0 },
            user: if random.chance(500) { User::Ada } else { User::Bob },
            avoids_first: !reads && cpus.len() as u32 > hosts && random.chance(250),
            elements: 0,
        }
    }

    /// An array of so short elements that hosts are told ahead what comes next.
    pub(crate) fn swarm(random: &mut Random, cpus: &[u32]) -> Spec {
        let (spec, elements) = (Spec::brief(random, cpus), random.between(10, 120) as u32);
        Spec { hosts: 1, most: 1, runs_ms: random.between(1, 400), elements, ..spec }
    }

    /// A short script: kernels give hosts back for it, and get them again.
    pub(crate) fn brief(random: &mut Random, cpus: &[u32]) -> Spec {
        let spec = Spec::draw(random, cpus);
        let runs_ms = random.between(200, 3_000);
        let spec =
            Spec { conduct: Conduct::Requeue, most: spec.hosts, runs_ms, blocks: 0, limit_s: None, ..spec };
        Spec { rounds: 1, reads: false, ..spec }
    }

    /// What only the simulator knows of it.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}/{}", self.runs_ms, self.blocks, self.rounds)
    }

    /// The same of another name.
    pub(crate) fn renamed(self, name: &str) -> Spec {
        let numbers: Vec<i64> = name.split('/').map(|part| part.parse().expect("a number")).collect();
        let &[runs_ms, blocks, rounds] = &numbers[..] else { panic!("{name} is no name of the simulator's") };
        Spec { runs_ms, blocks: blocks as u32, rounds: rounds as u32, ..self }
    }

    /// The request for it. What only the simulator knows of it stands in the name.
    pub(crate) fn submitted(&self) -> Submitted {
        let mut spec = JobSpec::named(self.name());
        spec.size.nodes = self.hosts;
        spec.size.max_nodes = Some(self.most);
        spec.size.cpus_per_task = Some(self.cpus);
        spec.time_limit_s = self.limit_s;
        spec.work = match (self.conduct, self.reads) {
            (Conduct::Fenced, true) => Work::KernelOnFiles,
            (Conduct::Fenced, false) => Work::Kernel,
            _ => Work::Script,
        };
        if self.rush {
            spec.queue.partitions = vec!["rush".into()];
        }
        spec.queue.requeue = if self.conduct == Conduct::Stay { Requeue::Never } else { Requeue::Allowed };
        if self.avoids_first {
            spec.needs.exclude = vec!["host0".into()];
        }
        if self.elements > 0 {
            // Some may not have all at once.
            let throttle = self.elements.is_multiple_of(3).then_some(2);
            spec.array = Some(ArraySpec { ranges: vec![(1, self.elements, 1)], throttle });
        }
        if self.licences > 0 {
            spec.needs.licences = vec![("solver".into(), self.licences)];
        }
        let (uid, user) = match self.user {
            User::Ada => (1000, "ada"),
            User::Bob => (1001, "bob"),
        };
        let owner = Arc::new(Owner { uid, gid: 1000, user: user.into() });
        Submitted { owner, spec: Arc::new(spec) }
    }

    /// What was requested.
    pub(crate) fn of(spec: &JobSpec, owner: &Owner) -> Spec {
        let of = Spec {
            conduct: match (spec.work, spec.queue.requeue) {
                (Work::Kernel | Work::KernelOnFiles, _) => Conduct::Fenced,
                (Work::Script, Requeue::Allowed) => Conduct::Requeue,
                (Work::Script, Requeue::Never) => Conduct::Stay,
            },
            cpus: spec.size.cpus_per_task.expect("it was said"),
            hosts: spec.size.nodes,
            most: spec.size.most_nodes(),
            runs_ms: 0,
            blocks: 0,
            rounds: 1,
            reads: spec.work == Work::KernelOnFiles,
            rush: !spec.queue.partitions.is_empty(),
            limit_s: spec.time_limit_s,
            licences: spec.needs.licences.iter().map(|(_, count)| *count).sum(),
            user: if owner.uid == 1000 { User::Ada } else { User::Bob },
            avoids_first: !spec.needs.exclude.is_empty(),
            elements: spec.array.as_ref().map_or(0, |array| array.ranges[0].1),
        };
        of.renamed(&spec.name)
    }
}

/// The desk of a site with hosts of so many CPUs and some licences, which forgets no job.
pub(crate) fn desk(cpus: &[u32], (preempt, grace_s): (PreemptMode, u32)) -> Clerk {
    let licences = BTreeMap::from([("solver".to_owned(), SOLVERS)]);
    let rules = Rules { keep_s: 1_000_000, licences, ..Rules::default() };
    let mut clerk = Clerk::new(Books::new(rules));
    let all = Partition { is_default: true, preempt, grace_s, ..Partition::named("all") };
    let rush = Partition { tier: 2, ..Partition::named("rush") };
    for partition in [all, rush] {
        clerk.apply(Time(0), &Event::Partition(partition));
    }
    for (number, cpus) in cpus.iter().enumerate() {
        let shape = Shape::parse(&format!("1x{cpus}")).expect("a shape");
        let partitions = ["all".to_owned(), "rush".to_owned()].into();
        let host = Host { partitions, ..Host::new(format!("host{number}"), shape) };
        clerk.apply(Time(0), &Event::Host(Box::new(host)));
    }
    clerk
}

/// Accounts of some kind: who is first, what is limited, who makes room for whom.
pub(crate) fn accounting(kind: u64) -> Event {
    let user = |shares, qos: &str| UserEntry {
        shares: Shares::Own(shares),
        default_qos: kind.is_multiple_of(3).then(|| qos.to_owned()),
        ..UserEntry::default()
    };
    let users = [("ada".to_owned(), user(3, "high")), ("bob".to_owned(), user(1, "low"))].into();
    let per_user = HeldLimits { jobs: kind.is_multiple_of(2).then_some(1), ..HeldLimits::default() };
    let lab =
        AccountEntry { users, limits: Limits { per_user, ..Limits::default() }, ..AccountEntry::default() };
    let high = QosEntry { priority: 10, preempts: ["low".to_owned()].into(), ..QosEntry::default() };
    let table = AccountsTable {
        accounts: [("lab".to_owned(), lab)].into(),
        qos: [("high".to_owned(), high), ("low".to_owned(), QosEntry::default())].into(),
        ..AccountsTable::default()
    };
    let accounting = Accounting { table, half_life_s: Some(60), ..Accounting::default() };
    Event::Accounting(Box::new(accounting))
}
