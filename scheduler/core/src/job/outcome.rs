//! How an attempt or a job ended.

use serde::{Deserialize, Serialize};

/// How it ended; in Slurm's words, for those who read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// With exit code 0.
    Completed,
    /// With another exit code.
    Failed(u8),
    /// By a signal that nobody of ours had sent.
    Signalled(u8),
    /// At its time limit.
    Timeout,
    /// For more memory than it had asked for.
    OutOfMemory,
    /// Cancelled by a user, of this number.
    Cancelled(u32),
    /// With its host, or its shepherd.
    HostFailed,
    /// To make room for another job.
    Preempted,
    /// Its hosts could not start it.
    NotStarted,
    /// Not begun by its deadline.
    Deadline,
    /// Never begun: what it depends on cannot come true any more.
    DependencyNeverSatisfied,
}

impl Outcome {
    /// Whether `afterok` holds.
    pub fn is_success(self) -> bool {
        self == Outcome::Completed
    }

    /// Whether the job had no part in it, so that another attempt may follow.
    pub fn may_run_again(self) -> bool {
        matches!(self, Outcome::HostFailed | Outcome::Preempted | Outcome::NotStarted)
    }

    /// The word that Slurm has for it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Completed => "COMPLETED",
            Outcome::Failed(_) | Outcome::Signalled(_) => "FAILED",
            Outcome::Timeout => "TIMEOUT",
            Outcome::OutOfMemory => "OUT_OF_MEMORY",
            Outcome::Cancelled(_) | Outcome::DependencyNeverSatisfied => "CANCELLED",
            Outcome::HostFailed => "NODE_FAIL",
            Outcome::Preempted => "PREEMPTED",
            Outcome::NotStarted => "BOOT_FAIL",
            Outcome::Deadline => "DEADLINE",
        }
    }
}
