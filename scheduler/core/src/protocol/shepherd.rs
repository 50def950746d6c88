//! The shepherd: holds one attempt's processes on one host, and its deadlines; outlives the agent.
//!
//! Invariants: a script that may be requeued has no process left `kill_ms` after the last deadline it was given; a
//! deadline that has passed is final; the outcome is on the spool before anybody hears of it.

use super::guard::Guard;
use super::message::{Conduct, Ended, FromShepherd, Start, ToShepherd};
use crate::cluster::HostId;
use crate::job::outcome::Outcome;
use crate::time::Time;

/// What a shepherd hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShepherdInput {
    /// It has been started: launch.
    Begin,
    /// Its agent speaks.
    Agent(ToShepherd),
    /// Its agent has died.
    AgentDied,
    /// What it held has exited, and no process of it is left.
    Exited(Outcome),
    /// The time that it asked for has come.
    Woken,
}

/// What a shepherd does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShepherdOutput {
    /// Start the processes.
    Spawn,
    /// Kill every process with SIGKILL; answered by [`ShepherdInput::Exited`] when none is left.
    Kill,
    /// Write the outcome to the spool.
    Save(Ended),
    /// Tell the agent.
    Tell(FromShepherd),
    /// Hand the foreman its hosts.
    Resize(Vec<HostId>),
    /// See that an agent is started on this host.
    CallAgent,
    /// Wake me then, by the host's clock, and not at the time asked for before.
    Wake(Time),
    /// Exit.
    Leave,
}

/// The shepherd of one attempt on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shepherd {
    conduct: Conduct,
    limit_ms: Option<i64>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not launched yet; the end of the lease.
    New(Time),
    Running {
        /// When the lease ends, as far as is known.
        lease: Time,
        /// When its own time is over.
        limit: Time,
    },
    /// Being killed, and why.
    Killing(Ended),
    Over(Ended),
}

impl Shepherd {
    /// The shepherd of `start` under a lease that ends at `lease`, by the host's clock.
    pub fn new(start: &Start, lease: Time) -> Self {
        Shepherd { conduct: start.conduct, limit_ms: start.limit_ms, state: State::New(lease) }
    }

    /// Hears one thing, and says what to do.
    pub fn handle(&mut self, now: Time, input: ShepherdInput) -> Vec<ShepherdOutput> {
        let mut out = Vec::new();
        // A message may have waited longer than the deadline: the deadline comes first.
        self.look_at_the_clock(now, &mut out);
        match input {
            ShepherdInput::Begin => {
                if let State::New(lease) = self.state {
                    let limit = self.limit_ms.map_or(Time::NEVER, |ms| now.after(ms));
                    if now < self.lease_deadline(lease) {
                        self.state = State::Running { lease, limit };
                        out.push(ShepherdOutput::Spawn);
                    } else {
                        self.end(Ended::LeaseEnded, &mut out);
                    }
                }
            }
            ShepherdInput::Agent(message) => self.told(message, &mut out),
            ShepherdInput::AgentDied => out.push(ShepherdOutput::CallAgent),
            ShepherdInput::Exited(outcome) => {
                let how = match self.state {
                    State::Killing(why) => why,
                    _ => Ended::Exited(outcome),
                };
                self.end(how, &mut out);
            }
            ShepherdInput::Woken => {}
        }
        if let Some(at) = self.deadline() {
            out.push(ShepherdOutput::Wake(at));
        }
        out
    }

    fn told(&mut self, message: ToShepherd, out: &mut Vec<ShepherdOutput>) {
        match (message, &mut self.state) {
            (ToShepherd::Adopt, State::Over(how)) => {
                out.push(ShepherdOutput::Tell(FromShepherd::Ended(*how)));
            }
            (ToShepherd::Adopt, _) => out.push(ShepherdOutput::Tell(FromShepherd::Running)),
            (ToShepherd::Extend(until), State::New(lease) | State::Running { lease, .. }) => {
                *lease = until.max(*lease);
            }
            (ToShepherd::Kill, State::New(_)) => self.end(Ended::Killed, out),
            (ToShepherd::Kill, State::Running { .. }) => {
                self.state = State::Killing(Ended::Killed);
                out.push(ShepherdOutput::Kill);
            }
            (ToShepherd::Forget, State::Over(_)) => out.push(ShepherdOutput::Leave),
            (ToShepherd::Resize(hosts), State::Running { .. }) => out.push(ShepherdOutput::Resize(hosts)),
            _ => {}
        }
    }

    fn end(&mut self, how: Ended, out: &mut Vec<ShepherdOutput>) {
        self.state = State::Over(how);
        out.extend([ShepherdOutput::Save(how), ShepherdOutput::Tell(FromShepherd::Ended(how))]);
    }

    /// Kills what has passed a deadline.
    fn look_at_the_clock(&mut self, now: Time, out: &mut Vec<ShepherdOutput>) {
        let State::Running { lease, limit } = self.state else { return };
        let why = if now >= limit {
            Ended::Exited(Outcome::Timeout)
        } else if now >= self.lease_deadline(lease) {
            Ended::LeaseEnded
        } else {
            return;
        };
        self.state = State::Killing(why);
        out.push(ShepherdOutput::Kill);
    }

    /// When the end of the lease is the end of what it holds.
    fn lease_deadline(&self, lease: Time) -> Time {
        match self.conduct {
            Conduct::Stay => Time::NEVER,
            Conduct::Requeue if !Guard::ShepherdKills.stands() => Time::NEVER,
            Conduct::Requeue | Conduct::Fenced => lease,
        }
    }

    fn deadline(&self) -> Option<Time> {
        let State::Running { lease, limit } = self.state else { return None };
        let at = limit.min(self.lease_deadline(lease));
        (at < Time::NEVER).then_some(at)
    }
}
