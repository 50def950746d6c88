//! The messages between the controller, the agents and the shepherds.
//!
//! Invariants: each message may be lost, late, doubled or overtaken by another; what it quotes tells whether it still
//! holds. Agents tell all that they hold in every report, so the last one heard is all that counts.

use super::probe::{Finding, ProbeId};
use super::stamp::{AttemptId, Boot, Stamp, Term};
use crate::cluster::HostId;
use crate::job::outcome::Outcome;
use crate::job::usage::Usage;
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// What becomes of an attempt whose host is not heard of: the table of DESIGN section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Conduct {
    /// A script that may be requeued: killed by its shepherd when the lease ends, placed again when that is sure.
    Requeue,
    /// A script that may not: goes on, and is never placed again without a report or an operator.
    Stay,
    /// A kernel step: placed again at once, since the store refuses what its old foreman commits.
    Fenced,
}

/// What a host does for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// It runs the script, or the foreman.
    Batch,
    /// It holds what the batch host starts there.
    Member,
}

/// The order to begin an attempt on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which.
    pub id: AttemptId,
    /// What becomes of it in silence.
    pub conduct: Conduct,
    /// What this host does for it.
    pub role: Role,
    /// Its time limit in milliseconds, from its start on this host; on the batch host alone.
    pub limit_ms: Option<i64>,
    /// How long it may go on after that, in milliseconds, having been told that it has to end.
    pub grace_ms: i64,
    /// What was ordered here before, and is over when this begins.
    pub after: Option<AttemptId>,
    /// What to launch and on which cores, encoded by the one who decides; the protocol does not look into it.
    pub launch: Vec<u8>,
}

/// Controller to agent, within a session, obeyed once each and in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Begin this.
    Start(Start),
    /// End it.
    Kill(AttemptId),
    /// Its end is on disk: it need not be reported any more.
    Forget(AttemptId),
    /// The foreman of a kernel step shall use these hosts, and no other, from now on.
    Resize(AttemptId, Vec<HostId>),
    /// Look for the input files of a job, encoded by the one who decides, and report what is found.
    Probe(ProbeId, Vec<u8>),
    /// What was found is on disk: it need not be reported any more.
    ForgetProbe(ProbeId),
    /// Stop its processes, for the time of this number, until they are ordered to go on. They may be killed as they are.
    Suspend(AttemptId, u32),
    /// What was stopped up to the time of this number goes on.
    Resume(AttemptId, u32),
    /// Tell it that it has to end, and end it when so many milliseconds are over: it may save its work until then.
    Notice(AttemptId, i64),
}

/// Controller to agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// To a hello: a session, and the first lease in it.
    Welcome {
        /// The life of the host that had asked.
        boot: Boot,
        /// The session.
        stamp: Stamp,
        /// When the agent had asked, by its clock.
        sent: Time,
    },
    /// To a report: a lease, and the orders that had not been obeyed when it was sent.
    Grant {
        /// The session.
        stamp: Stamp,
        /// When the agent had asked, by its clock.
        sent: Time,
        /// The number of the first order, from 1 in each session.
        first: u32,
        /// The orders.
        orders: Vec<Order>,
    },
    /// To a report of a session that is not the current one: say hello.
    Stale {
        /// What the report quoted.
        stamp: Stamp,
        /// The controller's term.
        term: Term,
    },
}

/// Agent to controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToController {
    /// It has no session and asks for one.
    Hello {
        /// The life of its host.
        boot: Boot,
        /// When this was sent, by its clock.
        sent: Time,
    },
    /// It is there, and holds this.
    Report(Report),
}

/// All that an agent has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The life of its host.
    pub boot: Boot,
    /// Its session.
    pub stamp: Stamp,
    /// When this was sent, by its clock.
    pub sent: Time,
    /// How many orders of the session it has obeyed.
    pub done: u32,
    /// What it holds, ascending: what has begun and is not forgotten.
    pub holds: Vec<(AttemptId, Holding)>,
    /// What probes have found that were ordered in this session, ascending.
    pub probes: Vec<(ProbeId, Finding)>,
}

/// The state of something that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holding {
    /// It runs, or is about to.
    Running,
    /// It has ended, and none of its processes is left.
    Ended(Box<Ending>),
    /// All its processes are stopped, for the time of this number.
    Suspended(u32),
    /// It begins when what it follows is over.
    Waits,
}

/// How what a host held of an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ended {
    /// By itself, or at a limit of its own.
    Exited(Outcome),
    /// By order.
    Killed,
    /// By its shepherd, at the end of the lease.
    LeaseEnded,
    /// By its agent, as its shepherd had died.
    ShepherdLost,
    /// Before it began, as its host says itself that it is not fit for it: its prolog has failed.
    Unfit,
}

/// All that a host has to say of the end of what it held of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// How it ended.
    pub how: Ended,
    /// What it used there.
    pub usage: Usage,
    /// Why it could not start, when it could not.
    pub why: Option<String>,
}

impl Ending {
    /// An end by which nothing is known to have been used.
    pub fn bare(how: Ended) -> Box<Ending> {
        Box::new(Ending { how, usage: Usage::default(), why: None })
    }
}

/// The most bytes of a reason that a host gives.
const REASON_BYTES: usize = 300;

/// A reason as it is kept: one line, and not long.
pub fn reason(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() > REASON_BYTES {
            break;
        }
        line.push(c);
    }
    line
}

/// Agent to shepherd, on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToShepherd {
    /// I am your agent now; tell me how it stands.
    Adopt,
    /// The lease lasts until then, by the host's clock.
    Extend(Time),
    /// Kill what you hold.
    Kill,
    /// The end is noted: go.
    Forget,
    /// For the foreman that you hold: use these hosts.
    Resize(Vec<HostId>),
    /// Stop what you hold, for the time of this number.
    Suspend(u32),
    /// What was stopped up to the time of this number goes on.
    Resume(u32),
    /// What you hold has to end: tell it, and kill it when so many milliseconds are over.
    Notice(i64),
}

/// Shepherd to agent, on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromShepherd {
    /// What it holds runs.
    Running,
    /// It has ended.
    Ended(Box<Ending>),
    /// All of it is stopped, for the time of this number.
    Suspended(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("two\nlines\u{7}"), "two lines ");
        let long = reason(&"\u{e9}".repeat(400));
        assert_eq!((long.len(), long.chars().count()), (300, 150));
        assert_eq!(reason(&format!("a{long}")).len(), 299, "no letter is cut in two");
    }
}
