//! The limits that bind a job by the QOS of its partition and by its own.
//!
//! As in Slurm: a limit that both have is the partition's, unless the job's own QOS goes before it. What one of the two
//! does not speak of, the other says.

use crate::share::accounts::{Accounts, Payer, QosId};
use crate::share::limits::{HeldLimits, Limits};
use crate::share::resource::{Amounts, Resource};
use crate::share::table::{QosEntry, QosFlag};

/// What one QOS says, or several together.
#[derive(Clone, Debug, Default)]
pub(super) struct QosLimits {
    pub(super) limits: Limits,
    pub(super) per_account: HeldLimits,
    pub(super) at_least: Amounts,
}

/// What binds one job.
#[derive(Default)]
pub(super) struct OfJob {
    /// By QOS, each limit at the first that has it.
    each: [Option<(QosId, QosLimits)>; 2],
    /// All of it.
    pub(super) all: QosLimits,
    /// Whether one of them denies what could not start even if nobody held anything.
    pub(super) denies: bool,
}

impl OfJob {
    /// What binds the jobs of `payer`.
    pub(super) fn new(accounts: &Accounts, payer: Payer) -> OfJob {
        let mut of = OfJob::default();
        let mut ids = [payer.within, payer.qos.filter(|qos| payer.within != Some(*qos))];
        let goes_first = |id: QosId| accounts.qos_of(id).entry.flags.contains(&QosFlag::OverPartQos);
        if ids[1].is_some_and(goes_first) {
            ids.swap(0, 1);
        }
        for (id, slot) in ids.into_iter().flatten().zip(&mut of.each) {
            let entry = &accounts.qos_of(id).entry;
            let mut here = QosLimits::of(entry);
            of.all.takes_first(&mut here);
            *slot = Some((id, here));
            of.denies |= entry.flags.contains(&QosFlag::DenyOnLimit);
        }
        of
    }

    /// What each QOS says.
    pub(super) fn each(&self) -> impl Iterator<Item = &(QosId, QosLimits)> {
        self.each.iter().flatten()
    }
}

impl QosLimits {
    fn of(entry: &QosEntry) -> QosLimits {
        let (per_account, at_least) = (entry.per_account.clone(), entry.at_least);
        QosLimits { limits: entry.limits.clone(), per_account, at_least }
    }

    /// Keeps in `here` what this does not have, and has it from then on.
    fn takes_first(&mut self, here: &mut QosLimits) {
        let (seen, new) = (&mut self.limits, &mut here.limits);
        take_first(&mut seen.total.jobs, &mut new.total.jobs);
        take_first(&mut seen.total.submitted, &mut new.total.submitted);
        take_first(&mut seen.total.wall_minutes, &mut new.total.wall_minutes);
        take_first(&mut seen.per_job.wall_s, &mut new.per_job.wall_s);
        for (seen, new) in
            [(&mut seen.per_user, &mut new.per_user), (&mut self.per_account, &mut here.per_account)]
        {
            take_first(&mut seen.jobs, &mut new.jobs);
            take_first(&mut seen.submitted, &mut new.submitted);
            for resource in Resource::ALL {
                take_first(seen.amounts.get_mut(resource), new.amounts.get_mut(resource));
            }
        }
        for resource in Resource::ALL {
            let (total, of_job) = (&mut seen.total, &mut seen.per_job);
            take_first(total.amounts.get_mut(resource), new.total.amounts.get_mut(resource));
            take_first(total.minutes.get_mut(resource), new.total.minutes.get_mut(resource));
            take_first(total.run_minutes.get_mut(resource), new.total.run_minutes.get_mut(resource));
            take_first(of_job.amounts.get_mut(resource), new.per_job.amounts.get_mut(resource));
            take_first(of_job.minutes.get_mut(resource), new.per_job.minutes.get_mut(resource));
            let (seen, new) = (self.at_least.get_mut(resource), here.at_least.get_mut(resource));
            if *seen > 0 {
                *new = 0;
            } else {
                *seen = *new;
            }
        }
    }
}

/// Keeps in `here` what nothing nearer has, and notes that it is taken.
pub(super) fn take_first(seen: &mut Option<u64>, here: &mut Option<u64>) {
    if seen.is_some() {
        *here = None;
    } else {
        *seen = *here;
    }
}
