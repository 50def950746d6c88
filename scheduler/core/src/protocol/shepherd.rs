//! The shepherd: holds one attempt's processes on one host, and its deadlines; outlives the agent.
//!
//! Invariants: a script that may be requeued has no process left `kill_ms` after the last deadline it was given; a
//! deadline that has passed is final; the outcome is on the spool before anybody hears of it; while what it holds is
//! stopped, its own time stands still and that of the lease does not; what was told that it has to end is killed when its
//! grace is over, and what was told so for its time limit has timed out, however it ends.

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
    /// This host is not fit for it: it has not begun, and no process of it is left.
    Unfit,
    /// Every process is stopped, as asked under this number.
    Stopped(u32),
    /// The time that it asked for has come.
    Woken,
}

/// What a shepherd does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShepherdOutput {
    /// Start the processes.
    Spawn,
    /// Kill every process with SIGKILL, stopped or not; answered by [`ShepherdInput::Exited`] when none is left.
    Kill,
    /// Stop every process, those to come included, so that none can go on by itself; answered by
    /// [`ShepherdInput::Stopped`] when all are.
    Stop(u32),
    /// Let every process go on.
    GoOn,
    /// Tell every process that it has to end: SIGCONT and SIGTERM, as Slurm does.
    Warn,
    /// Write the outcome to the spool.
    Save(Ended),
    /// Tell the agent.
    Tell(FromShepherd),
    /// Tell the agent that it has ended so, and what it used.
    TellEnd(Ended),
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
    grace_ms: i64,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not launched yet; the end of the lease.
    New(Time),
    Running {
        /// When the lease ends, as far as is known.
        lease: Time,
        /// Its own time.
        limit: Limit,
        /// When it is killed after a notice.
        notice: Time,
        /// Under which number and since when it is stopped, and whether all of it is.
        stopped: Option<(u32, Time, bool)>,
    },
    /// Being killed, and why.
    Killing(Ended),
    Over(Ended),
}

/// The time limit of what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// It comes then, and later by as long as it is stopped.
    At(Time),
    /// It has come, and what is held was told that it has to end; it is killed then.
    Passed(Time),
}

impl Shepherd {
    /// The shepherd of `start` under a lease that ends at `lease`, by the host's clock.
    pub fn new(start: &Start, lease: Time) -> Self {
        let Start { conduct, limit_ms, grace_ms, .. } = *start;
        Shepherd { conduct, limit_ms, grace_ms, state: State::New(lease) }
    }

    /// Hears one thing, and says what to do.
    pub fn handle(&mut self, now: Time, input: ShepherdInput) -> Vec<ShepherdOutput> {
        let mut out = Vec::new();
        // A message may have waited longer than the deadline: the deadline comes first.
        self.look_at_the_clock(now, &mut out);
        match input {
            ShepherdInput::Begin => {
                if let State::New(lease) = self.state {
                    let limit = Limit::At(self.limit_ms.map_or(Time::NEVER, |ms| now.after(ms)));
                    if now < self.lease_deadline(lease) {
                        self.state = State::Running { lease, limit, notice: Time::NEVER, stopped: None };
                        out.push(ShepherdOutput::Spawn);
                    } else {
                        self.end(Ended::LeaseEnded, &mut out);
                    }
                }
            }
            ShepherdInput::Agent(message) => self.told(now, message, &mut out),
            ShepherdInput::Stopped(number) => {
                if let State::Running { stopped: Some((of, _, all)), .. } = &mut self.state
                    && *of == number
                {
                    *all = true;
                    out.push(ShepherdOutput::Tell(FromShepherd::Suspended(number)));
                }
            }
            ShepherdInput::AgentDied => out.push(ShepherdOutput::CallAgent),
            ShepherdInput::Exited(outcome) => {
                let how = match self.state {
                    State::Killing(why) => why,
                    State::Running { limit: Limit::Passed(_), .. } => Ended::Exited(Outcome::Timeout),
                    _ => Ended::Exited(outcome),
                };
                self.end(how, &mut out);
            }
            ShepherdInput::Unfit => {
                let how = if let State::Killing(why) = self.state { why } else { Ended::Unfit };
                self.end(how, &mut out);
            }
            ShepherdInput::Woken => {}
        }
        if let Some(at) = self.deadline() {
            out.push(ShepherdOutput::Wake(at));
        }
        out
    }

    fn told(&mut self, now: Time, message: ToShepherd, out: &mut Vec<ShepherdOutput>) {
        match (message, &mut self.state) {
            (ToShepherd::Adopt, State::Over(how)) => {
                out.push(ShepherdOutput::TellEnd(*how));
            }
            (ToShepherd::Adopt, State::Running { stopped: Some((number, _, true)), .. }) => {
                out.push(ShepherdOutput::Tell(FromShepherd::Suspended(*number)));
            }
            (ToShepherd::Adopt, _) => out.push(ShepherdOutput::Tell(FromShepherd::Running)),
            (ToShepherd::Extend(until), State::New(lease) | State::Running { lease, .. }) => {
                *lease = until.max(*lease);
            }
            (ToShepherd::Kill | ToShepherd::Notice(_), State::New(_)) => self.end(Ended::Killed, out),
            (ToShepherd::Kill, State::Running { .. }) => {
                self.state = State::Killing(Ended::Killed);
                out.push(ShepherdOutput::Kill);
            }
            (ToShepherd::Forget, State::Over(_)) => out.push(ShepherdOutput::Leave),
            (ToShepherd::Resize(hosts), State::Running { .. }) => out.push(ShepherdOutput::Resize(hosts)),
            (ToShepherd::Suspend(number), State::Running { stopped, .. }) => match stopped {
                Some((of, _, all)) if *of == number => {
                    let known = all.then_some(ShepherdOutput::Tell(FromShepherd::Suspended(number)));
                    out.extend(known);
                }
                _ => {
                    let since = stopped.map_or(now, |(_, since, _)| since);
                    *stopped = Some((number, since, false));
                    out.push(ShepherdOutput::Stop(number));
                }
            },
            (ToShepherd::Resume(number), State::Running { stopped, limit, .. }) => {
                if stopped.is_some_and(|(of, ..)| of > number) {
                    return;
                }
                go_on(now, stopped, limit).into_iter().for_each(|output| out.push(output));
                out.push(ShepherdOutput::Tell(FromShepherd::Running));
            }
            (ToShepherd::Notice(grace_ms), State::Running { stopped, limit, notice, .. }) => {
                if *notice == Time::NEVER && matches!(limit, Limit::At(_)) {
                    // The signal lets what is stopped go on.
                    go_on(now, stopped, limit);
                    out.push(ShepherdOutput::Warn);
                }
                *notice = now.after(grace_ms).min(*notice);
            }
            _ => {}
        }
    }

    fn end(&mut self, how: Ended, out: &mut Vec<ShepherdOutput>) {
        self.state = State::Over(how);
        out.extend([ShepherdOutput::Save(how), ShepherdOutput::TellEnd(how)]);
    }

    /// Kills what has passed a deadline. What comes to its time limit has its grace first.
    fn look_at_the_clock(&mut self, now: Time, out: &mut Vec<ShepherdOutput>) {
        let State::Running { lease, limit, notice, stopped } = self.state else { return };
        let comes = matches!(limit, Limit::At(at) if now >= at && !waits(stopped));
        let limit = if comes { Limit::Passed(now.after(self.grace_ms)) } else { limit };
        let over = |at: Time| now >= at && Guard::GraceEnds.stands();
        let timed_out = Ended::Exited(Outcome::Timeout);
        let why = match limit {
            Limit::Passed(at) if over(at) => Some(timed_out),
            _ if over(notice) => Some(Ended::Killed),
            // Its time was over: it does not run again.
            Limit::Passed(_) if now >= self.lease_deadline(lease) => Some(timed_out),
            Limit::At(_) if now >= self.lease_deadline(lease) => Some(Ended::LeaseEnded),
            _ => None,
        };
        if let Some(why) = why {
            self.state = State::Killing(why);
            out.push(ShepherdOutput::Kill);
        } else if comes {
            // Who has had a notice knows.
            out.extend((notice == Time::NEVER).then_some(ShepherdOutput::Warn));
            self.state = State::Running { lease, limit, notice, stopped };
        }
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
        let State::Running { lease, limit, notice, stopped } = self.state else { return None };
        let limit = match limit {
            Limit::At(_) if waits(stopped) => Time::NEVER,
            Limit::At(at) | Limit::Passed(at) => at,
        };
        let at = limit.min(notice).min(self.lease_deadline(lease));
        (at < Time::NEVER).then_some(at)
    }
}

/// Whether the time limit stands still.
fn waits(stopped: Option<(u32, Time, bool)>) -> bool {
    stopped.is_some() && Guard::LimitWaits.stands()
}

/// What is stopped, if it is, goes on, and may do so for longer.
fn go_on(now: Time, stopped: &mut Option<(u32, Time, bool)>, limit: &mut Limit) -> Option<ShepherdOutput> {
    let (_, since, _) = stopped.take()?;
    if let Limit::At(at) = limit
        && Guard::LimitWaits.stands()
    {
        *at = at.after(now.0 - since.0);
    }
    Some(ShepherdOutput::GoOn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::id::{Attempt, JobId, RunId};
    use crate::protocol::message::Role;
    use crate::protocol::stamp::AttemptId;

    fn shepherd(limit_ms: Option<i64>) -> Shepherd {
        let id = AttemptId { run: RunId { job: JobId(1), element: None }, attempt: Attempt(1) };
        let (conduct, role, launch) = (Conduct::Requeue, Role::Batch, Vec::new());
        let start = Start { id, conduct, role, limit_ms, grace_ms: 2_000, after: None, launch };
        let mut shepherd = Shepherd::new(&start, Time(10_000));
        let begun = shepherd.handle(Time(0), ShepherdInput::Begin);
        assert_eq!(begun[0], ShepherdOutput::Spawn);
        shepherd
    }

    fn hear(shepherd: &mut Shepherd, at: i64, message: ToShepherd) -> Vec<ShepherdOutput> {
        shepherd.handle(Time(at), ShepherdInput::Agent(message))
    }

    #[test]
    fn its_own_time_stands_still_while_it_is_stopped() {
        use ShepherdOutput::{GoOn, Kill, Stop, Tell, Wake};
        let mut one = shepherd(Some(1_000));
        let lease = || Wake(Time(10_000));
        assert_eq!(hear(&mut one, 400, ToShepherd::Suspend(1)), [Stop(1), lease()]);
        assert_eq!(hear(&mut one, 450, ToShepherd::Suspend(1)), [lease()], "it is not stopped yet");
        let stopped = one.handle(Time(500), ShepherdInput::Stopped(1));
        assert_eq!(stopped, [Tell(FromShepherd::Suspended(1)), lease()]);
        assert_eq!(hear(&mut one, 600, ToShepherd::Adopt), stopped);
        assert_eq!(hear(&mut one, 2_000, ToShepherd::Suspend(1)), stopped, "its time has not passed");
        let went_on = hear(&mut one, 2_400, ToShepherd::Resume(1));
        assert_eq!(went_on, [GoOn, Tell(FromShepherd::Running), Wake(Time(3_000))]);
        assert_eq!(hear(&mut one, 2_500, ToShepherd::Suspend(2)), [Stop(2), lease()]);
        assert_eq!(one.handle(Time(2_600), ShepherdInput::Stopped(1)), [lease()], "that was before");
        assert_eq!(hear(&mut one, 2_700, ToShepherd::Resume(1)), [lease()], "so was that");
        assert_eq!(one.handle(Time(10_000), ShepherdInput::Woken), [Kill], "the lease waits for nobody");
    }

    #[test]
    fn a_notice_is_given_once_and_a_kill_wakes_nothing() {
        use ShepherdOutput::{GoOn, Kill, Warn};
        let mut one = shepherd(None);
        assert_eq!(hear(&mut one, 100, ToShepherd::Notice(3_000))[0], Warn);
        assert_eq!(hear(&mut one, 900, ToShepherd::Notice(3_000)), [ShepherdOutput::Wake(Time(3_100))]);
        assert_eq!(one.handle(Time(3_100), ShepherdInput::Woken), [Kill]);
        let mut other = shepherd(None);
        hear(&mut other, 100, ToShepherd::Suspend(1));
        let killed = hear(&mut other, 200, ToShepherd::Kill);
        assert!(killed.contains(&Kill) && !killed.contains(&GoOn) && !killed.contains(&Warn), "{killed:?}");
    }

    #[test]
    fn who_comes_to_the_time_limit_has_a_grace_and_has_timed_out() {
        use ShepherdOutput::{Kill, Save, TellEnd, Wake, Warn};
        let timed_out = Ended::Exited(Outcome::Timeout);
        let ends = [Save(timed_out), TellEnd(timed_out)];
        let mut ignores = shepherd(Some(1_000));
        let woken = |one: &mut Shepherd, at| one.handle(Time(at), ShepherdInput::Woken);
        assert_eq!(woken(&mut ignores, 1_000), [Warn, Wake(Time(3_000))]);
        assert_eq!(woken(&mut ignores, 2_999), [Wake(Time(3_000))], "it is told once");
        assert_eq!(woken(&mut ignores, 3_000), [Kill]);
        let killed = ShepherdInput::Exited(Outcome::Signalled(9));
        assert_eq!(ignores.handle(Time(3_001), killed), ends);
        let mut saves = shepherd(Some(1_000));
        woken(&mut saves, 1_000);
        assert_eq!(saves.handle(Time(1_500), ShepherdInput::Exited(Outcome::Completed)), ends);
        let mut late = shepherd(Some(9_000));
        woken(&mut late, 9_000);
        assert_eq!(woken(&mut late, 10_000), [Kill], "the lease ends within its grace");
        assert_eq!(late.handle(Time(10_001), ShepherdInput::Exited(Outcome::Signalled(9))), ends);
        let mut both = shepherd(Some(1_000));
        hear(&mut both, 500, ToShepherd::Notice(800));
        assert_eq!(woken(&mut both, 1_000), [Wake(Time(1_300))], "it knows");
        assert_eq!(woken(&mut both, 1_300), [Kill]);
        let mut stopped = shepherd(Some(1_000));
        woken(&mut stopped, 1_000);
        hear(&mut stopped, 1_100, ToShepherd::Suspend(1));
        assert_eq!(woken(&mut stopped, 3_000), [Kill], "a grace waits for nobody");
    }
}
