//! What is in a job's way beside the machine: who holds it, what it depends on, the limits of its partition.
//!
//! All of it is said, not only what comes first.

use super::reason::Reason;
use crate::books::Books;
use crate::books::partition::Partition;
use crate::books::reservation::Purpose;
use crate::job::Job;
use crate::job::dependency::Status;
use crate::jobspec::JobSpec;
use crate::time::Time;

impl Books {
    /// The partitions that a job may start in, or why there is none.
    ///
    /// # Errors
    ///
    /// What is wrong with each of those that it names.
    pub fn partitions_of(&self, spec: &JobSpec) -> Result<Vec<&Partition>, Vec<Reason>> {
        if spec.queue.partitions.is_empty() {
            return self
                .default_partition()
                .map(|one| vec![one])
                .ok_or_else(|| vec![Reason::NoPartition(None)]);
        }
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for name in &spec.queue.partitions {
            match self.partition(name) {
                Some(partition) => found.push(partition),
                None => missing.push(Reason::NoPartition(Some(name.clone()))),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(missing) }
    }

    /// What keeps a job from starting in a partition, whatever is free; nothing when it may.
    pub fn barred(&self, job: &Job, partition: &Partition, now: Time) -> Vec<Reason> {
        let mut reasons = partition.bars(job.spec());
        reasons.extend(self.reservation_bars(job, now));
        reasons
    }

    /// What of other jobs a job still waits for.
    pub fn unmet(&self, job: &Job) -> Vec<Reason> {
        let Some(unmet) = job.unmet() else { return Vec::new() };
        let state = |on| self.job(on).map(Job::summary);
        let reason =
            |&(clause, status): &(_, Status)| Reason::clause(clause, status, clause.job().and_then(state));
        unmet.clauses.iter().filter_map(reason).collect()
    }

    fn reservation_bars(&self, job: &Job, now: Time) -> Option<Reason> {
        let name = job.spec().queue.reservation.as_ref()?;
        let Some(reservation) = self.reservation(name) else {
            return Some(Reason::NoReservation(name.clone()));
        };
        if reservation.purpose == Purpose::Maintenance
            || !reservation.lets(&job.owner().user, job.spec().queue.account.as_deref())
        {
            return Some(Reason::ReservationDenied(name.clone()));
        }
        let early = now < reservation.from;
        early.then(|| Reason::Reservation { name: name.clone(), from: reservation.from })
    }
}

impl Partition {
    /// What keeps a jobspec from being started here; nothing when it may.
    pub fn bars(&self, spec: &JobSpec) -> Vec<Reason> {
        let name = || self.name.clone();
        let mut reasons = Vec::new();
        if !self.state.starts() {
            reasons.push(Reason::Partition { name: name(), state: self.state });
        }
        let asked_s = self.limit_s(spec.time_limit_s);
        // With a least time, the queue may choose a limit that fits.
        let least_s = spec.when.least_time_s.or(asked_s);
        if let Some(most_s) = self.max_time_s
            && least_s.is_none_or(|asked| asked > most_s)
        {
            reasons.push(Reason::PartitionTime { name: name(), asked_s, most_s });
        }
        let asked = (spec.size.nodes, spec.size.most_nodes());
        if self.max_nodes.is_some_and(|most| asked.0 > most) || asked.1 < self.min_nodes {
            let (least, most) = (self.min_nodes, self.max_nodes);
            reasons.push(Reason::PartitionNodes { name: name(), asked, least, most });
        }
        if let Some(account) = spec.queue.account.as_ref().filter(|account| !self.accounts.allows(account)) {
            reasons.push(Reason::PartitionAccount { name: name(), account: account.clone() });
        }
        if let Some(qos) = spec.queue.qos.as_ref().filter(|qos| !self.qos.allows(qos)) {
            reasons.push(Reason::PartitionQos { name: name(), qos: qos.clone() });
        }
        reasons
    }

    /// The time limit that a job is started with here, seconds: what it asks for, and not more than the partition gives.
    pub fn granted_s(&self, spec: &JobSpec) -> Option<u64> {
        let asked = self.limit_s(spec.time_limit_s);
        match (asked, self.max_time_s) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::partition::{Allowed, PartitionState};
    use crate::jobspec::Size;

    type Change = fn(&mut JobSpec);

    #[test]
    fn every_limit_of_a_partition() {
        let partition = Partition {
            max_time_s: Some(3600),
            default_time_s: Some(600),
            min_nodes: 2,
            max_nodes: Some(4),
            accounts: Allowed::Only(vec!["a".into()]),
            qos: Allowed::Except(vec!["low".into()]),
            ..Partition::named("p")
        };
        let words = |partition: &Partition, change: fn(&mut JobSpec)| {
            let mut spec = JobSpec::named("j");
            spec.size = Size { nodes: 2, ..Size::default() };
            change(&mut spec);
            partition.bars(&spec).iter().map(Reason::word).collect::<Vec<_>>()
        };
        let cases: [(Change, &[&str]); 9] = [
            (|_| {}, &[]),
            (|s| s.time_limit_s = Some(3600), &[]),
            (|s| s.time_limit_s = Some(3601), &["PartitionTimeLimit"]),
            (|s| (s.time_limit_s, s.when.least_time_s) = (Some(7200), Some(60)), &[]),
            (|s| s.size.nodes = 5, &["PartitionNodeLimit"]),
            (|s| s.size.nodes = 1, &["PartitionNodeLimit"]),
            (|s| (s.size.nodes, s.size.max_nodes) = (1, Some(9)), &[]),
            (|s| s.queue.account = Some("b".into()), &["AccountNotAllowed"]),
            (
                |s| (s.queue.qos, s.size.nodes) = (Some("low".into()), 9),
                &["PartitionNodeLimit", "QOSNotAllowed"],
            ),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            assert_eq!(words(&partition, change), expected, "case {number}");
        }
        let states = [
            (PartitionState::Up, None),
            (PartitionState::Drain, None),
            (PartitionState::Down, Some("PartitionDown")),
            (PartitionState::Inactive, Some("PartitionInactive")),
        ];
        for (state, word) in states {
            let partition = Partition { state, ..Partition::named("p") };
            assert_eq!(words(&partition, |_| {}).first().copied(), word);
        }
        let unlimited = |s: &mut JobSpec| s.time_limit_s = None;
        let most = Partition { default_time_s: None, ..partition };
        assert_eq!(words(&most, unlimited), [] as [&str; 0], "it gets the most that there is");
    }
}
