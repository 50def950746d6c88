//! What may be changed of a submitted job, and in which states.

use super::dependency::Dependency;
use super::state::State;
use crate::jobspec::{Gres, JobSpec, Memory, Requeue};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Changes of one job, all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// What is changed.
    pub fields: Vec<Field>,
}

/// One field of a job, with its new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// Its name.
    Name(String),
    /// What people are told about it.
    Comment(Option<String>),
    /// Seconds after which it is ended.
    TimeLimit(Option<u64>),
    /// By when it must have ended.
    Deadline(Option<Time>),
    /// A priority in place of the computed one.
    Priority(Option<u32>),
    /// Taken off its priority.
    Nice(i32),
    /// Whether it may be started again.
    Requeue(Requeue),
    /// How many elements may hold hosts at once; no limit for 0.
    Throttle(u32),
    /// When it may start.
    Begin(Option<Time>),
    /// What it asks of other jobs.
    Dependency(Dependency),
    /// Where it may run.
    Partitions(Vec<String>),
    /// Who pays.
    Account(Option<String>),
    /// The quality of service.
    Qos(Option<String>),
    /// The reservation that it runs in.
    Reservation(Option<String>),
    /// Hosts, at least and at most.
    Nodes(u32, Option<u32>),
    /// Tasks.
    Tasks(Option<u32>),
    /// Tasks on each host.
    TasksPerNode(Option<u32>),
    /// CPUs of each task.
    CpusPerTask(Option<u32>),
    /// Memory.
    Memory(Option<Memory>),
    /// Features of its hosts.
    Constraint(Option<String>),
    /// Hosts that must be among them.
    Include(Vec<String>),
    /// Hosts that must not.
    Exclude(Vec<String>),
    /// Devices.
    Gres(Vec<Gres>),
    /// Licences.
    Licences(Vec<(String, u32)>),
    /// Nobody else's jobs on its hosts.
    Exclusive(bool),
}

impl Field {
    /// What Slurm's `scontrol update` calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Field::Name(_) => "JobName",
            Field::Comment(_) => "Comment",
            Field::TimeLimit(_) => "TimeLimit",
            Field::Deadline(_) => "Deadline",
            Field::Priority(_) => "Priority",
            Field::Nice(_) => "Nice",
            Field::Requeue(_) => "Requeue",
            Field::Throttle(_) => "ArrayTaskThrottle",
            Field::Begin(_) => "StartTime",
            Field::Dependency(_) => "Dependency",
            Field::Partitions(_) => "Partition",
            Field::Account(_) => "Account",
            Field::Qos(_) => "QOS",
            Field::Reservation(_) => "ReservationName",
            Field::Nodes(..) => "NumNodes",
            Field::Tasks(_) => "NumTasks",
            Field::TasksPerNode(_) => "TasksPerNode",
            Field::CpusPerTask(_) => "CPUsPerTask",
            Field::Memory(_) => "MinMemoryNode",
            Field::Constraint(_) => "Features",
            Field::Include(_) => "ReqNodeList",
            Field::Exclude(_) => "ExcNodeList",
            Field::Gres(_) => "Gres",
            Field::Licences(_) => "Licenses",
            Field::Exclusive(_) => "OverSubscribe",
        }
    }

    /// Whether it may be changed in a state. What was asked for to be given hosts stays while they are held; what is over
    /// stays as it was.
    pub fn may_change(&self, state: &State) -> bool {
        match state {
            State::Held(_) | State::Depends | State::Pending { .. } => true,
            State::Starting(_) | State::Running { .. } | State::Suspended { .. } => matches!(
                self,
                Field::Name(_)
                    | Field::Comment(_)
                    | Field::TimeLimit(_)
                    | Field::Deadline(_)
                    | Field::Priority(_)
                    | Field::Nice(_)
                    | Field::Requeue(_)
                    | Field::Throttle(_)
            ),
            State::Completing { .. } => matches!(self, Field::Comment(_) | Field::Requeue(_)),
            State::Done(_) => false,
        }
    }

    /// Puts it into a jobspec.
    pub fn put(&self, spec: &mut JobSpec) {
        match self.clone() {
            Field::Name(name) => spec.name = name,
            Field::Comment(comment) => spec.queue.comment = comment,
            Field::TimeLimit(limit) => spec.time_limit_s = limit,
            Field::Deadline(deadline) => spec.when.deadline = deadline,
            Field::Priority(priority) => spec.queue.priority = priority,
            Field::Nice(nice) => spec.queue.nice = nice,
            Field::Requeue(requeue) => spec.queue.requeue = requeue,
            Field::Throttle(throttle) => {
                if let Some(array) = &mut spec.array {
                    array.throttle = Some(throttle).filter(|&throttle| throttle > 0);
                }
            }
            Field::Begin(begin) => spec.when.begin = begin,
            Field::Dependency(dependency) => spec.when.dependency = dependency,
            Field::Partitions(partitions) => spec.queue.partitions = partitions,
            Field::Account(account) => spec.queue.account = account,
            Field::Qos(qos) => spec.queue.qos = qos,
            Field::Reservation(reservation) => spec.queue.reservation = reservation,
            Field::Nodes(least, most) => (spec.size.nodes, spec.size.max_nodes) = (least, most),
            Field::Tasks(tasks) => spec.size.ntasks = tasks,
            Field::TasksPerNode(tasks) => spec.size.ntasks_per_node = tasks,
            Field::CpusPerTask(cpus) => spec.size.cpus_per_task = cpus,
            Field::Memory(memory) => spec.size.memory = memory,
            Field::Constraint(constraint) => spec.needs.constraint = constraint,
            Field::Include(hosts) => spec.needs.include = hosts,
            Field::Exclude(hosts) => spec.needs.exclude = hosts,
            Field::Gres(gres) => spec.needs.gres = gres,
            Field::Licences(licences) => spec.needs.licences = licences,
            Field::Exclusive(exclusive) => spec.needs.exclusive = exclusive,
        }
    }
}
