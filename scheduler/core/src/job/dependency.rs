//! Dependencies: what a job asks of other jobs before it may start, and how far that has come.
//!
//! A clause is open until the other job's fate decides it; then it is met from some time on, or failed. What never was
//! known, or is known no more, counts as met, as in Slurm.

use super::id::JobId;
use crate::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a job asks of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    /// How the clauses join.
    pub join: Join,
    /// What is asked, in the order of the request; nothing when empty.
    pub clauses: Vec<Clause>,
}

/// How clauses join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Join {
    /// All must be met: `,`.
    #[default]
    All,
    /// One is enough: `?`.
    Any,
}

/// One thing that is asked of another job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Clause {
    /// It has started, so many minutes ago, or was ended before: `after:ID+MINUTES`.
    After {
        /// The other job.
        on: Target,
        /// Minutes after its start.
        minutes: u32,
    },
    /// It has ended: `afterany`.
    AfterAny(Target),
    /// It has ended well: `afterok`.
    AfterOk(Target),
    /// It has ended badly: `afternotok`.
    AfterNotOk(Target),
    /// For each element of an array: the other array's element of the same index has ended well: `aftercorr`. For a job
    /// that is no array, the same as `afterok`.
    AfterCorr(JobId),
    /// All earlier jobs of this user and name have ended: `singleton`.
    Singleton,
}

/// A job, or one element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The job.
    pub job: JobId,
    /// The element's index; none for the whole job.
    pub element: Option<u32>,
}

impl Clause {
    /// The job that it asks something of; none for [`Clause::Singleton`].
    pub fn job(&self) -> Option<JobId> {
        match self {
            Clause::After { on, .. }
            | Clause::AfterAny(on)
            | Clause::AfterOk(on)
            | Clause::AfterNotOk(on) => Some(on.job),
            Clause::AfterCorr(job) => Some(*job),
            Clause::Singleton => None,
        }
    }

    /// Slurm's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Clause::After { .. } => "after",
            Clause::AfterAny(_) => "afterany",
            Clause::AfterOk(_) => "afterok",
            Clause::AfterNotOk(_) => "afternotok",
            Clause::AfterCorr(_) => "aftercorr",
            Clause::Singleton => "singleton",
        }
    }
}

/// How far a clause has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// The other job has not decided it.
    Open,
    /// It holds from this time on.
    Met(Time),
    /// It cannot hold any more.
    Failed,
}

impl Join {
    /// What statuses together are. With no clause, nothing is asked.
    pub fn of(self, statuses: impl IntoIterator<Item = Status>) -> Status {
        let all = statuses.into_iter();
        match self {
            Join::All => all.fold(Status::Met(Time(i64::MIN)), |sum, one| match (sum, one) {
                (Status::Failed, _) | (_, Status::Failed) => Status::Failed,
                (Status::Open, _) | (_, Status::Open) => Status::Open,
                (Status::Met(a), Status::Met(b)) => Status::Met(a.max(b)),
            }),
            Join::Any => all
                .reduce(|sum, one| match (sum, one) {
                    (Status::Met(a), Status::Met(b)) => Status::Met(a.min(b)),
                    (Status::Met(at), _) | (_, Status::Met(at)) => Status::Met(at),
                    (Status::Open, _) | (_, Status::Open) => Status::Open,
                    (Status::Failed, Status::Failed) => Status::Failed,
                })
                .unwrap_or(Status::Met(Time(i64::MIN))),
        }
    }
}

/// The fate of a job or element, as far as other jobs ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When the last of it started, or ended without a start; none while some of it has not.
    pub started: Option<Time>,
    /// When the last of it ended, and whether all of it ended well; none while some of it has not.
    pub ended: Option<(Time, bool)>,
}

impl Fate {
    /// The status of a clause about a job of this fate, by which it was met at the earliest.
    pub fn status(&self, clause: &Clause) -> Status {
        match (clause, self.ended) {
            (Clause::After { minutes, .. }, _) => match self.started {
                Some(at) => Status::Met(at.after(i64::from(*minutes) * 60_000)),
                None => Status::Open,
            },
            (_, None) => Status::Open,
            (Clause::AfterAny(_) | Clause::Singleton, Some((at, _))) => Status::Met(at),
            (Clause::AfterOk(_) | Clause::AfterCorr(_), Some((at, well))) => met_if(well, at),
            (Clause::AfterNotOk(_), Some((at, well))) => met_if(!well, at),
        }
    }
}

fn met_if(holds: bool, at: Time) -> Status {
    if holds { Status::Met(at) } else { Status::Failed }
}

/// What a job still waits for: its clauses, and how far each has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// How they join.
    pub join: Join,
    /// Clauses with their statuses. Those of an array that ask element by element stay open here.
    pub clauses: Vec<(Clause, Status)>,
    /// What the clauses say that are asked for the job as a whole.
    pub whole: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_are_tables() {
        let (open, failed) = (Status::Open, Status::Failed);
        let met = |at| Status::Met(Time(at));
        let cases = [
            (vec![], met(i64::MIN), met(i64::MIN)),
            (vec![open], open, open),
            (vec![failed], failed, failed),
            (vec![met(3), met(5)], met(5), met(3)),
            (vec![met(3), open], open, met(3)),
            (vec![open, failed], failed, open),
            (vec![failed, met(3)], failed, met(3)),
            (vec![open, met(7), failed, met(3)], failed, met(3)),
            (vec![failed, failed], failed, failed),
        ];
        for (statuses, all, any) in cases {
            assert_eq!(Join::All.of(statuses.iter().copied()), all, "all of {statuses:?}");
            assert_eq!(Join::Any.of(statuses.iter().copied()), any, "any of {statuses:?}");
        }
    }

    #[test]
    fn every_clause_for_every_fate() {
        let on = Target { job: JobId(1), element: None };
        let met = |at| Status::Met(Time(at));
        let (open, failed) = (Status::Open, Status::Failed);
        let waits = Fate { started: None, ended: None };
        let runs = Fate { started: Some(Time(5)), ended: None };
        let well = Fate { started: Some(Time(5)), ended: Some((Time(9), true)) };
        let badly = Fate { ended: Some((Time(9), false)), ..well };
        let clauses = [
            (Clause::After { on, minutes: 0 }, [open, met(5), met(5), met(5)]),
            (Clause::After { on, minutes: 2 }, [open, met(120_005), met(120_005), met(120_005)]),
            (Clause::AfterAny(on), [open, open, met(9), met(9)]),
            (Clause::AfterOk(on), [open, open, met(9), failed]),
            (Clause::AfterNotOk(on), [open, open, failed, met(9)]),
            (Clause::AfterCorr(JobId(1)), [open, open, met(9), failed]),
            (Clause::Singleton, [open, open, met(9), met(9)]),
        ];
        for (clause, expected) in clauses {
            for (fate, status) in [waits, runs, well, badly].iter().zip(expected) {
                assert_eq!(fate.status(&clause), status, "{clause:?} of {fate:?}");
            }
        }
    }
}
