//! The policy: which waiting jobs start now, on what, and why the others wait.
//!
//! Step 5 of a job's way (DESIGN section 4). Pure: the same values give the same decisions.

pub mod conservative;
pub mod history;
pub mod key;
pub mod machine;
pub mod malleable;
pub mod outlook;
pub mod pass;
pub mod pool;
pub mod priority;
pub mod queue;
pub mod reserve;

use key::Key;
use std::fmt;
use std::str::FromStr;

/// How the queue is ordered, and who may start out of its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// First come, first served: nobody overtakes.
    Fcfs,
    /// The queue is ordered by a key; its head is promised the earliest start, and others start if they do not delay it.
    Easy(Key, Candidates),
    /// Everybody is promised a start on arrival, and nobody delays another: on hosts the first [`reserve::MOST_PROMISED`] of
    /// the queue, and the others wait until they are among these.
    Conservative,
    /// The one that is shipped, EASY by predicted run times, in three parts.
    ///
    /// *Order*: by [`Key::Unicep`] with the predicted run time ([`history::History`]) in the place of the estimate: who
    /// has waited for long, measured by the own run time, and is narrow, goes first. It is the slowdown that users feel.
    ///
    /// *Guard*: a job that has waited half as long again as it would have if nobody had overtaken it
    /// ([`outlook::Outlook::new`]) goes before all others of its rank, in the order of submission.
    ///
    /// *Backfilling*: in queue order; a job starts beside the head's promise if it ends by then as predicted. So a head
    /// may start later than its promise, until it is urgent: then only estimates, at which jobs are killed, count.
    ///
    /// A job is killed at its estimate alone, whatever was predicted.
    Default,
}

/// In which order those behind the head are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Candidates {
    /// As the queue is ordered.
    InOrder,
    /// The shortest estimate first (Tsafrir, Etsion, Feitelson 2007).
    Shortest,
}

/// Who may start while the head waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backfill {
    /// Nobody.
    None,
    /// Who does not delay the head.
    Easy(Candidates),
    /// Who does not delay the head if it runs as long as predicted, in queue order; if the head is urgent, who does not
    /// delay it.
    Predicted,
}

impl Policy {
    /// The order and the backfilling of [`Policy::Default`].
    pub(crate) const SHIPPED: (Key, Backfill) = (Key::Unicep, Backfill::Predicted);

    /// In which order the queue stands and who may start out of it; none for the policy that promises everybody a start
    /// ([`reserve::Reserving`], [`conservative::Conservative`]).
    pub(crate) fn queued(self) -> Option<(Key, Backfill)> {
        match self {
            Policy::Fcfs => Some((Key::Submit, Backfill::None)),
            Policy::Easy(key, candidates) => Some((key, Backfill::Easy(candidates))),
            Policy::Default => Some(Policy::SHIPPED),
            Policy::Conservative => None,
        }
    }

    /// Every policy, in the order of the documentation.
    pub fn all() -> Vec<Policy> {
        let mut all = vec![Policy::Default, Policy::Fcfs];
        all.extend([Candidates::InOrder, Candidates::Shortest].map(|c| Policy::Easy(Key::Submit, c)));
        all.push(Policy::Conservative);
        let keyed = Key::ALL.into_iter().filter(|key| *key != Key::Submit);
        all.extend(keyed.map(|key| Policy::Easy(key, Candidates::InOrder)));
        all
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Policy::Fcfs => "fcfs".to_owned(),
            Policy::Easy(Key::Submit, Candidates::InOrder) => "easy".to_owned(),
            Policy::Easy(Key::Submit, Candidates::Shortest) => "easy-sjf".to_owned(),
            Policy::Easy(key, Candidates::InOrder) => format!("{key}+easy"),
            Policy::Easy(key, Candidates::Shortest) => format!("{key}+easy-sjf"),
            Policy::Conservative => "cons".to_owned(),
            Policy::Default => "default".to_owned(),
        };
        f.pad(&name)
    }
}

/// A name that no policy has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{given}`; did you mean `{nearest}`? There are {}", names())]
pub struct UnknownPolicy {
    /// What was given.
    pub given: String,
    /// The policy whose name is most like it.
    pub nearest: Policy,
}

fn names() -> String {
    Policy::all().iter().map(Policy::to_string).collect::<Vec<_>>().join(", ")
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(given: &str) -> Result<Policy, UnknownPolicy> {
        let all = Policy::all();
        if let Some(found) = all.iter().find(|policy| policy.to_string() == given) {
            return Ok(*found);
        }
        let like = |policy: &Policy| strsim::jaro_winkler(&policy.to_string(), &given.to_lowercase());
        // The first of those that are equally like it.
        let nearest = all.into_iter().rev().max_by(|a, b| like(a).total_cmp(&like(b)));
        Err(UnknownPolicy { given: given.to_owned(), nearest: nearest.unwrap_or(Policy::Default) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_no_two_share_one() {
        let all = Policy::all();
        for policy in &all {
            assert_eq!(policy.to_string().parse(), Ok(*policy));
        }
        let mut names: Vec<String> = all.iter().map(Policy::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest() {
        for (given, nearest) in [
            ("esy", "easy"),
            ("EASY-SFJ", "easy-sjf"),
            ("wfp+easy", "wfp3+easy"),
            ("", "default"),
            ("defualt", "default"),
        ] {
            let error = given.parse::<Policy>().expect_err(given);
            assert_eq!(error.nearest.to_string(), nearest, "{given}");
        }
    }
}
