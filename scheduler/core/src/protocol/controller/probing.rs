//! How the controller has jobs probed: it asks hosts through their agents, and notes what they say.
//!
//! Invariant: a host is asked in each of its sessions until it has told, so a question that is lost with a session, an
//! agent or a host is asked again; what it tells counts once, and only if it is about the current look.

use super::Controller;
use crate::cluster::HostId;
use crate::protocol::desk::Desk;
use crate::protocol::message::Report;
use crate::protocol::probe::{Finding, ProbeId, Wanted};
use crate::protocol::standing::Record;
use crate::time::Time;

impl<D: Desk> Controller<D> {
    /// Asks the hosts that have not told of what the desk wants to know.
    pub(super) fn look_for_inputs(&mut self) {
        if !std::mem::take(&mut self.turn.look) {
            return;
        }
        for Wanted { job, hosts, what } in self.standing.desk.wanted() {
            let probe = self.standing.probes.get(&job);
            let id = ProbeId { job, look: probe.map_or(0, |probe| probe.look()) };
            let told = |host| probe.is_some_and(|probe| probe.has_told(host));
            let asked = |host| {
                let joined = self.hosts.get(&host).and_then(|watch| watch.joined.as_ref());
                joined.is_none_or(|joined| joined.is_probed(id))
            };
            let ask = hosts.into_iter().filter(|host| self.usable.contains(host));
            let ask: Vec<HostId> = ask.filter(|host| !told(*host) && !asked(*host)).collect();
            for host in ask {
                self.ordered(host, |joined| joined.probe(id, what.clone()));
            }
        }
    }

    /// What an agent tells of probes.
    pub(super) fn probed(&mut self, now: Time, host: HostId, report: &Report) {
        for (id, finding) in &report.probes {
            self.found(now, host, (*id, finding));
        }
        let told = |id| report.probes.iter().any(|(other, _)| *other == id);
        let mut free = false;
        self.watched(host, |watch| {
            if let Some(joined) = &mut watch.joined {
                free = joined.probes_forgotten(report.done, told);
            }
        });
        self.turn.look |= free;
    }

    fn found(&mut self, now: Time, host: HostId, (id, finding): (ProbeId, &Finding)) {
        if self.standing.awaits(id, host) {
            self.note(now, Record::Probed(id, host, finding.clone()));
            self.turn.decide = true;
        }
        self.ordered(host, |joined| joined.probe_heard(id));
    }
}
