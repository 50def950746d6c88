//! Wait reasons: why a pending job does not start, as data, and the words that Slurm has for them.

use super::asks::AskError;
use super::limit_word;
use crate::books::partition::{PartitionState, PreemptMode};
use crate::cluster::{Misfit, Missing, Wait};
use crate::job::dependency::{Clause, Status};
use crate::job::hold::HeldBy;
use crate::job::id::{JobId, RunId};
use crate::job::inputs::Lack;
use crate::share::check::Obstacle;
use crate::time::Time;
use std::fmt;

/// One reason why a job, or some elements of an array, do not start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody holds it.
    Held(HeldBy),
    /// It asks something of another job that is not decided.
    Dependency {
        /// What it asks.
        clause: Clause,
        /// What the other job does, in a word; none when that is not one job.
        other: Option<&'static str>,
    },
    /// It asks something of another job that cannot be any more.
    NeverSatisfied(Clause),
    /// It may not start before a time.
    Begin(Time),
    /// As many elements as may hold hosts at once do.
    Throttle {
        /// How many may.
        most: u32,
        /// How many do.
        live: u32,
    },
    /// It names no partition, and there is no default one; or there is none of that name.
    NoPartition(Option<String>),
    /// The partition starts nothing.
    Partition {
        /// Its name.
        name: String,
        /// Its state.
        state: PartitionState,
    },
    /// It asks for more time than the partition gives.
    PartitionTime {
        /// The partition.
        name: String,
        /// How much it asks for, seconds; none for no limit.
        asked_s: Option<u64>,
        /// The most, seconds.
        most_s: u64,
    },
    /// It asks for more hosts than the partition gives, or for fewer.
    PartitionNodes {
        /// The partition.
        name: String,
        /// Hosts that it asks for, at least and at most.
        asked: (u32, u32),
        /// The fewest.
        least: u32,
        /// The most.
        most: Option<u32>,
    },
    /// The partition is not for its account.
    PartitionAccount {
        /// The partition.
        name: String,
        /// The account.
        account: String,
    },
    /// The partition is not for its quality of service.
    PartitionQos {
        /// The partition.
        name: String,
        /// The quality of service.
        qos: String,
    },
    /// Its reservation is not there.
    NoReservation(String),
    /// Its reservation is not for its user or account, or keeps hosts from all.
    ReservationDenied(String),
    /// Its reservation has not begun.
    Reservation {
        /// Its name.
        name: String,
        /// When it begins.
        from: Time,
    },
    /// Its user may not charge that account; or any.
    NoAccount {
        /// The user.
        user: String,
        /// The account; none when the job names none.
        account: Option<String>,
    },
    /// There is no such quality of service, or it is not for its user.
    NoQos(String),
    /// A limit of an account or of a quality of service.
    Limit {
        /// Which, with what is held and asked for.
        obstacle: Obstacle,
        /// The same in a sentence, with names.
        says: String,
    },
    /// What it asks for is no request.
    Ask(AskError),
    /// The cluster could not run it if it were empty.
    Misfit(Misfit),
    /// Resources are missing: which, who holds them, until when.
    Resources {
        /// What is missing, and when it is there by the estimates.
        wait: Wait,
        /// Those whose ends make it fit, and by when.
        holders: Vec<(RunId, Time)>,
    },
    /// Others are before it, and it may not delay them.
    Priority {
        /// The first of those that wait.
        behind: JobId,
    },
    /// So many of the queue are promised a start, and it is behind them.
    Unpromised {
        /// How many.
        most: usize,
    },
    /// Others are being ended to make room for it.
    Preempting {
        /// Which, and how.
        victims: Vec<(RunId, PreemptMode)>,
    },
    /// It is being looked for the files that it reads: on these hosts, which have not told; none is heard when there is
    /// none.
    Probing(Vec<String>),
    /// No host has the files that it reads: each that was asked, and why.
    NoInputs(Vec<(String, Lack)>),
    /// These hosts do not have the files that it reads, or could not be asked.
    LeftOut(Vec<(String, Option<Lack>)>),
}

impl Reason {
    /// The reason of a clause that has not been met; none when it has.
    pub(crate) fn clause(clause: Clause, status: Status, other: Option<&'static str>) -> Option<Reason> {
        match status {
            Status::Open => Some(Reason::Dependency { clause, other }),
            Status::Failed => Some(Reason::NeverSatisfied(clause)),
            Status::Met(_) => None,
        }
    }

    /// Whether it stays in the way for as long as the job and the cluster are as they are.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Reason::Ask(_) | Reason::Misfit(_) | Reason::NoInputs(_) | Reason::LeftOut(_))
    }

    /// Slurm's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::Held(HeldBy::User) => "JobHeldUser",
            Reason::Held(HeldBy::Operator) => "JobHeldAdmin",
            Reason::Dependency { .. } => "Dependency",
            Reason::NeverSatisfied(_) => "DependencyNeverSatisfied",
            Reason::Begin(_) => "BeginTime",
            Reason::Throttle { .. } => "JobArrayTaskLimit",
            Reason::NoPartition(_) => "PartitionConfig",
            Reason::Partition { state: PartitionState::Inactive, .. } => "PartitionInactive",
            Reason::Partition { .. } => "PartitionDown",
            Reason::PartitionTime { .. } => "PartitionTimeLimit",
            Reason::PartitionNodes { .. } => "PartitionNodeLimit",
            Reason::PartitionAccount { .. } => "AccountNotAllowed",
            Reason::PartitionQos { .. } => "QOSNotAllowed",
            Reason::NoReservation(_) | Reason::ReservationDenied(_) => "ReservationDeleted",
            Reason::Reservation { .. } => "Reservation",
            Reason::NoAccount { .. } => "InvalidAccount",
            Reason::NoQos(_) => "InvalidQOS",
            Reason::Limit { obstacle, .. } => limit_word::word(obstacle),
            Reason::Ask(_) | Reason::Misfit(Misfit::Unknown { .. }) => "BadConstraints",
            Reason::Misfit(Misfit::Licence { .. }) => "Licenses",
            Reason::Misfit(_) => "PartitionConfig",
            Reason::Resources { wait, .. } => resources_word(wait),
            Reason::Priority { .. } | Reason::Unpromised { .. } => "Priority",
            Reason::Preempting { .. } => "Resources",
            Reason::Probing(_) => "Prolog",
            Reason::NoInputs(_) => "BadConstraints",
            Reason::LeftOut(_) => "ReqNodeNotAvail",
        }
    }

    /// How Slurm's users expect one reason of several to be chosen: the lowest first.
    fn rank(&self) -> u8 {
        match self {
            Reason::Held(_) => 0,
            Reason::Begin(_) => 1,
            Reason::NeverSatisfied(_) => 2,
            Reason::Dependency { .. } => 3,
            Reason::Throttle { .. } => 4,
            Reason::NoPartition(_) | Reason::Partition { .. } => 5,
            Reason::PartitionTime { .. } | Reason::PartitionNodes { .. } => 6,
            Reason::PartitionAccount { .. } | Reason::PartitionQos { .. } => 7,
            Reason::NoReservation(_) | Reason::ReservationDenied(_) | Reason::Reservation { .. } => 8,
            Reason::NoAccount { .. } | Reason::NoQos(_) | Reason::Ask(_) | Reason::Misfit(_) => 9,
            Reason::Probing(_) | Reason::NoInputs(_) => 9,
            Reason::Limit { .. } => 10,
            Reason::Priority { .. } | Reason::Unpromised { .. } => 11,
            Reason::Resources { .. } | Reason::Preempting { .. } => 12,
            Reason::LeftOut(_) => 13,
        }
    }
}

/// The one word that a list of jobs shows for several reasons; `None` for none, as Slurm has it.
pub fn word(reasons: &[Reason]) -> &'static str {
    reasons.iter().min_by_key(|reason| reason.rank()).map_or("None", Reason::word)
}

/// Licences are a word of their own, and so are hosts that are named or reserved and not to be had.
fn resources_word(wait: &Wait) -> &'static str {
    let licence = |missing: &Missing| matches!(missing, Missing::Licence { .. });
    match &wait.missing[..] {
        [missing] if licence(missing) => "Licenses",
        missing if missing.iter().any(|m| matches!(m, Missing::Hosts { .. })) => "ReqNodeNotAvail",
        _ => "Resources",
    }
}

impl fmt::Display for Reason {
    /// One sentence without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Held(HeldBy::User) => f.write_str("its user holds it: `scontrol release` lets it go"),
            Reason::Held(HeldBy::Operator) => f.write_str("an operator holds it: ask one to release it"),
            Reason::Dependency { clause, other } => {
                write!(f, "it waits for {}", asked(clause))?;
                other.map_or(Ok(()), |other| write!(f, ", which is {other}"))
            }
            Reason::NeverSatisfied(clause) => {
                write!(f, "{} cannot be any more: change its dependency or cancel it", asked(clause))
            }
            Reason::Begin(at) => write!(f, "it may not start before {}", at.0),
            Reason::Throttle { most, live } => {
                write!(f, "{live} elements of the array run, and {most} may at once")
            }
            Reason::NoPartition(None) => f.write_str("it names no partition, and there is no default one"),
            Reason::NoPartition(Some(name)) => write!(f, "there is no partition {name}: `sinfo` lists them"),
            Reason::Partition { name, .. } => write!(f, "partition {name} starts no jobs"),
            Reason::PartitionTime { name, asked_s: Some(asked), most_s } => {
                write!(f, "it asks for {asked} s, and partition {name} gives {most_s} s at most")
            }
            Reason::PartitionTime { name, asked_s: None, most_s } => {
                write!(f, "it has no time limit, and partition {name} gives {most_s} s at most")
            }
            Reason::PartitionNodes { name, asked: (least, most), .. } => {
                write!(f, "partition {name} does not give {least} to {most} hosts to a job")
            }
            Reason::PartitionAccount { name, account } => {
                write!(f, "partition {name} is not for account {account}")
            }
            Reason::PartitionQos { name, qos } => write!(f, "partition {name} is not for QOS {qos}"),
            Reason::NoReservation(name) => write!(f, "there is no reservation {name}"),
            Reason::ReservationDenied(name) => write!(f, "reservation {name} is not for its user or account"),
            Reason::Reservation { name, from } => write!(f, "reservation {name} begins at {}", from.0),
            Reason::NoAccount { user, account: Some(account) } => {
                write!(
                    f,
                    "{user} may not charge account {account}: `sacctmgr show associations` lists who may"
                )
            }
            Reason::NoAccount { user, account: None } => write!(f, "{user} has no account"),
            Reason::NoQos(name) => write!(f, "there is no QOS {name} for its user"),
            Reason::Limit { says, .. } => f.write_str(says),
            Reason::Ask(error) => error.fmt(f),
            Reason::Misfit(misfit) => misfit.fmt(f),
            Reason::Resources { wait, holders } => {
                match &wait.missing[..] {
                    _ if !holders.is_empty() => f.write_str("others hold what it needs")?,
                    [] => f.write_str("resources are missing")?,
                    [first, rest @ ..] => {
                        first.fmt(f)?;
                        rest.iter().try_for_each(|missing| write!(f, "; {missing}"))?;
                    }
                }
                for (run, end) in holders {
                    write!(f, ", {run} until {}", end.0)?;
                }
                wait.until.map_or(Ok(()), |at| write!(f, "; it fits at {}", at.0))
            }
            Reason::Unpromised { most } => {
                write!(f, "the first {most} of the queue are promised a start, and it is behind them")
            }
            Reason::Priority { behind } => write!(f, "job {behind} is before it, and it may not delay that"),
            Reason::Preempting { victims } => {
                write!(f, "{} jobs are ended to make room for it", victims.len())
            }
            Reason::Probing(_) | Reason::NoInputs(_) | Reason::LeftOut(_) => self.of_inputs(f),
        }
    }
}

impl Reason {
    /// The sentence of a reason that is about input files.
    fn of_inputs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Probing(hosts) if hosts.is_empty() => {
                f.write_str("its input files must be looked for, and no host is heard that could have them")
            }
            Reason::Probing(hosts) => write!(f, "its input files are looked for on {}", hosts.join(", ")),
            Reason::NoInputs(lacks) => {
                f.write_str("no host has its input files (put them there, then release or change the job)")?;
                lacks.iter().try_for_each(|(host, lack)| write!(f, "; {host}: {lack}"))
            }
            Reason::LeftOut(hosts) => {
                f.write_str("left out, as the input files are not there")?;
                hosts.iter().try_for_each(|(host, lack)| match lack {
                    Some(lack) => write!(f, "; {host}: {lack}"),
                    None => write!(f, "; {host}: it has not told"),
                })
            }
            _ => Ok(()),
        }
    }
}

/// A clause as `--dependency` writes it.
fn asked(clause: &Clause) -> String {
    match clause {
        Clause::After { on, minutes: 0 } => format!("after:{}", RunId { job: on.job, element: on.element }),
        Clause::After { on, minutes } => {
            format!("after:{}+{minutes}", RunId { job: on.job, element: on.element })
        }
        Clause::AfterAny(on) | Clause::AfterOk(on) | Clause::AfterNotOk(on) => {
            format!("{}:{}", clause.word(), RunId { job: on.job, element: on.element })
        }
        Clause::AfterCorr(job) => format!("{}:{job}", clause.word()),
        Clause::Singleton => "all earlier jobs of its name".into(),
    }
}
