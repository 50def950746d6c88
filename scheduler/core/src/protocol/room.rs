//! Making room: attempts that stop and go on, that are told to end, and hosts that kernel steps give back.
//!
//! Invariants: the CPUs of what is to stop are free once every host of it has said that it stands still, and are its own
//! again before a host is told that it goes on; the host of a member that is lost is not its step's for longer than the
//! member.

use super::controller::Controller;
use super::desk::{Desk, Why};
use super::guard::Guard;
use super::message::{Holding, Report};
use super::pause::{Pace, Pause};
use super::stamp::AttemptId;
use super::standing::Record;
use crate::cluster::HostId;
use crate::job::id::RunId;
use crate::time::Time;
use std::collections::BTreeMap;

impl<D: Desk> Controller<D> {
    /// Ends what runs, if it can end so: at once, or when so many milliseconds are over after it was told.
    pub(super) fn end_after(&mut self, now: Time, (run, why): (RunId, Why), grace_ms: i64) {
        if grace_ms <= 0 {
            return self.end(now, run, why);
        }
        let Some(open) = self.standing.open.get(&run).filter(|open| open.can_end(why)) else { return };
        self.note(now, Record::Notice(open.begun.id, why, grace_ms));
        self.turn.touched.insert(run);
    }

    /// Stops an attempt, or lets it go on, if it can now.
    pub(super) fn pace(&mut self, now: Time, id: AttemptId, pace: Pace) {
        let Some(open) = self.standing.attempt(id).filter(|open| open.can_pace(pace)) else { return };
        let hosts: Vec<HostId> = open.live_hosts().collect();
        let was = open.pause;
        self.note(now, Record::Paced(id, pace));
        if let (Pause::Stopping(number) | Pause::Stopped(number), Pace::GoOn) = (was, pace) {
            for host in hosts {
                self.ordered(host, |joined| joined.resume(id, number));
            }
        }
        self.turn.touched.insert(id.run);
    }

    /// Orders that what is to stop does so, and notes when it stands still.
    pub(super) fn keep_pace(&mut self, now: Time, run: RunId) {
        let open = &self.standing.open[&run];
        let (Pause::Stopping(number) | Pause::Stopped(number)) = open.pause else { return };
        let (id, pause) = (open.begun.id, open.pause);
        let hosts: Vec<HostId> = open.live_hosts().collect();
        let still = |host: &HostId| {
            let joined = self.hosts.get(host).and_then(|watch| watch.joined.as_ref());
            let said = joined.and_then(|joined| joined.stopped.get(&id));
            said.is_some_and(|said| *said == number || !Guard::StoppedNow.stands())
        };
        let moving: Vec<HostId> = hosts.into_iter().filter(|host| !still(host)).collect();
        for host in &moving {
            self.ordered(*host, |joined| joined.suspend(id, number));
        }
        let all = moving.is_empty() || !Guard::StoppedFirst.stands();
        if all && pause == Pause::Stopping(number) {
            self.note(now, Record::Paced(id, Pace::Still));
            self.turn.decide = true;
        }
    }

    /// What of a report is stopped.
    pub(super) fn stopped(&mut self, host: HostId, report: &Report) {
        let of = |(id, holding): &(AttemptId, Holding)| match holding {
            Holding::Suspended(number) => Some((*id, *number)),
            Holding::Running | Holding::Ended(_) | Holding::Waits => None,
        };
        let stopped: BTreeMap<AttemptId, u32> = report.holds.iter().filter_map(of).collect();
        if let Some(joined) = self.hosts.get_mut(&host).and_then(|watch| watch.joined.as_mut()) {
            joined.stopped = stopped;
        }
    }

    /// An agent holds something of an open attempt that is stopped, the time of this number.
    pub(super) fn is_stopped(&mut self, host: HostId, id: AttemptId, number: u32) {
        let open = &self.standing.open[&id.run];
        match open.pause {
            // It went on before this session, or while it was on its way to stop.
            Pause::Off(times) if number <= times && open.cause.is_none() => {
                self.ordered(host, |joined| joined.resume(id, number));
            }
            _ => drop(self.turn.touched.insert(id.run)),
        }
    }

    /// A foreman says which hosts its teams use: if that is what it has now, it waits for no other. A word that is late
    /// is mostly of other hosts.
    pub(super) fn handed_in(&mut self, id: AttemptId, uses: &[HostId]) {
        let Some(open) = self.standing.attempt(id).filter(|open| open.hosts() == uses) else { return };
        let left = open.live_hosts().filter(|host| open.leaves(*host));
        left.for_each(|host| self.drains.handed_in(id, host));
        self.turn.touched.insert(id.run);
    }

    /// The last step of a script closes: what it was lent goes back, since the script knows nothing of it.
    pub(super) fn go_home(&mut self, now: Time, id: AttemptId, spec: [u8; 16]) {
        let Some(open) = self.standing.attempt(id).filter(|open| open.steps.iter().eq([&spec])) else {
            return;
        };
        let first: Vec<HostId> = open.hosts().into_iter().filter(|host| open.first.contains(host)).collect();
        if let Some(resized) = self.standing.desk.keeping(id, &first) {
            self.resize(now, resized);
        }
    }

    /// Kills what a kernel step has on hosts that leave, when its team has handed in, or has had time to.
    pub(super) fn drain(&mut self, now: Time, run: RunId) {
        let open = &self.standing.open[&run];
        let (id, drain_ms) = (open.begun.id, self.rules.drain_ms);
        let leave: Vec<HostId> = open.live_hosts().filter(|host| open.leaves(*host)).collect();
        for host in leave {
            if self.drains.is_over(now, (id, host), drain_ms) {
                self.ordered(host, |joined| joined.kill(id));
            }
        }
    }

    /// Gives the hosts back of members of a kernel step that are lost.
    pub(super) fn give_back(&mut self, now: Time, run: RunId) {
        let open = &self.standing.open[&run];
        let id = open.begun.id;
        let lost = open.parts.iter().filter(|(host, _)| open.has_lost(**host));
        let lost: Vec<(HostId, bool)> = lost.map(|(host, part)| (*host, part.is_surely_gone())).collect();
        for (host, gone) in lost {
            self.note(now, Record::GivenBack(id, host));
            // It is nobody's any more, and may run, or begin, where its host is heard again.
            if !gone {
                self.ordered(host, |joined| joined.kill(id));
            }
            self.turn.decide = true;
        }
    }
}
