//! How a scheduler keeps up with the books: what has changed is looked at again, and nothing else.

use super::reason::Reason;
use super::{FOREVER, Listed, Scheduler, TICKS, asks, number};
use crate::books::Books;
use crate::books::event::Event;
use crate::books::partition::Partition;
use crate::books::reservation::{Purpose, Reservation};
use crate::cluster::{self, ClassId, Hosts, ReservationId, Window};
use crate::job::Job;
use crate::job::event::RunEvent;
use crate::job::id::JobId;
use crate::policy::machine::Machine;
use crate::policy::queue::Entry;
use crate::time::Time;
use std::collections::BTreeSet;

impl Scheduler {
    /// Brings the queue up to date with the books.
    pub fn follow(&mut self, books: &mut Books, hosts: &mut Hosts, now: Time) {
        let mut changed = books.take_changed();
        let before = self.seen.map(|(seen, _)| seen);
        let turned = |reservation: &Reservation| {
            [reservation.from, reservation.to].iter().any(|at| before.is_some_and(|b| b < *at) && *at <= now)
        };
        if self.seen.is_none_or(|(_, terms)| terms != books.terms()) {
            self.keep_windows(books, hosts);
            changed.extend(books.waiting().map(Job::id));
        } else if books.reservations().any(turned) {
            changed.extend(books.waiting().filter(|job| job.spec().queue.reservation.is_some()).map(Job::id));
        }
        changed.extend(books.ripe(before, now));
        self.seen = Some((now, books.terms()));
        hosts.advance(now);
        for id in changed {
            self.list(books, hosts, id, now);
        }
        self.queue.refresh(now);
    }

    /// Tells the hosts of what has ended, after the books have it.
    pub fn observe(&mut self, books: &Books, hosts: &mut Hosts, event: &Event) {
        let Event::Run(run, RunEvent::Ended { .. } | RunEvent::Requeued { .. }) = event else { return };
        let place = books.job(run.job).and_then(|job| job.place(run.element));
        hosts.finish(number::running(run.job, place));
    }

    /// Looks at one job again.
    fn list(&mut self, books: &Books, hosts: &mut Hosts, id: JobId, now: Time) {
        if let Some(listed) = self.listed.remove(&id) {
            listed.entries.into_iter().for_each(|(waiting, ..)| {
                self.queue.remove(waiting);
            });
        }
        let entries = books.entries(id, now);
        let Some(job) = books.job(id).filter(|_| !entries.is_empty()) else { return };
        let mut listed = Listed::default();
        let partitions = books.partitions_of(job.spec()).unwrap_or_else(|reasons| {
            listed.barred = reasons;
            Vec::new()
        });
        for (partition, at) in partitions.into_iter().zip(0_u8..) {
            let class = match self.class(books, hosts, (job, partition), now) {
                Ok(class) => class,
                Err(reasons) => {
                    listed.barred.extend(reasons);
                    continue;
                }
            };
            let estimate = estimate(partition, job);
            for entry in &entries {
                let waiting = number::waiting(id, entry.place, at);
                let new = Entry {
                    job: waiting,
                    rank: rank(job, partition),
                    submit: entry.from,
                    estimate,
                    width: hosts.width(class),
                    count: entry.count,
                    request: class,
                };
                self.queue.insert(new, now);
                listed.entries.push((waiting, class, estimate));
            }
        }
        self.listed.insert(id, listed);
    }

    /// The class of a job in a partition, or why it may not start there.
    fn class(
        &self,
        books: &Books,
        hosts: &mut Hosts,
        (job, partition): (&Job, &Partition),
        now: Time,
    ) -> Result<ClassId, Vec<Reason>> {
        let mut reasons = books.barred(job, partition, now);
        let reservation = job.spec().queue.reservation.as_ref().and_then(|name| self.windows.get(name)).copied();
        let class = asks::request(job.spec(), &partition.name, reservation)
            .map_err(|errors| errors.into_iter().map(Reason::Ask).collect::<Vec<_>>())
            .and_then(|request| {
                hosts.intern(&request).map_err(|misfits| misfits.into_iter().map(Reason::Misfit).collect())
            });
        match class {
            Ok(class) if reasons.is_empty() => Ok(class),
            Ok(_) => Err(reasons),
            Err(more) => {
                reasons.extend(more);
                Err(reasons)
            }
        }
    }

    /// Makes the hosts' windows those of the books' reservations.
    fn keep_windows(&mut self, books: &Books, hosts: &mut Hosts) {
        let gone: BTreeSet<ReservationId> = std::mem::take(&mut self.windows).into_values().collect();
        gone.into_iter().for_each(|id| drop(hosts.release(id)));
        for reservation in books.reservations() {
            let id = hosts.reserve(window(reservation, hosts));
            self.windows.insert(reservation.name.clone(), id);
        }
    }
}

fn window(reservation: &Reservation, hosts: &Hosts) -> Window {
    let numbers = reservation.hosts.iter().filter_map(|name| hosts.find(name)).map(|host| host.0 as usize);
    Window {
        name: reservation.name.clone(),
        purpose: match reservation.purpose {
            Purpose::Maintenance => cluster::Purpose::Maintenance,
            Purpose::Jobs { .. } => cluster::Purpose::Reservation,
        },
        hosts: numbers.collect(),
        from: reservation.from,
        to: reservation.to,
    }
}

/// How long a job may run in a partition, ticks.
fn estimate(partition: &Partition, job: &Job) -> i64 {
    let granted = partition.granted_s(job.spec()).and_then(|limit| i64::try_from(limit).ok());
    granted.map_or(FOREVER, |limit| limit.saturating_mul(i64::from(TICKS)).min(FOREVER))
}

/// What goes before the policy's key, the lowest first: the partition's tier, then the priority that an operator gave.
fn rank(job: &Job, partition: &Partition) -> u64 {
    let queue = &job.spec().queue;
    let base = queue.priority.map_or(1 << 31, i64::from);
    let priority = (base - i64::from(queue.nice)).clamp(0, i64::from(u32::MAX)) as u32;
    u64::from(u16::MAX - partition.tier) << 32 | u64::from(u32::MAX - priority)
}
