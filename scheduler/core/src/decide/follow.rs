//! How a scheduler keeps up with the books: what has changed is looked at again, and nothing else.

use super::ahead::Lines;
use super::dues::Dues;
use super::reason::Reason;
use super::{FOREVER, Listed, STEP, Scheduler, TICKS, Way, number};
use crate::books::Books;
use crate::books::event::{Event, Fact};
use crate::books::partition::Partition;
use crate::books::reservation::{Purpose, Reservation};
use crate::cluster::{self, Allocation, ClassId, Hosts, Request, ReservationId, Window};
use crate::job::Job;
use crate::job::event::{JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::job::state::{Placed, Run, State};
use crate::policy::Backfill;
use crate::policy::queue::Entry;
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BTreeSet;

impl Scheduler {
    /// Brings the queue up to date with the books.
    pub fn follow(&mut self, books: &mut Books, hosts: &mut Hosts, now: Time) {
        let mut changed = books.take_changed();
        changed.extend(self.files.take_changed());
        let before = self.seen.map(|(seen, _)| seen);
        let turned = |reservation: &Reservation| {
            [reservation.from, reservation.to].iter().any(|at| before.is_some_and(|b| b < *at) && *at <= now)
        };
        let newcomers: BTreeSet<&str> =
            books.hosts().iter().skip(hosts.len()).map(|host| host.name.as_str()).collect();
        let named = |reservation: &Reservation| {
            reservation.hosts.iter().any(|host| newcomers.contains(host.as_str()))
        };
        let anew = self.seen.is_none_or(|(_, terms)| terms != books.terms());
        if anew || books.reservations().any(named) {
            keep_hosts(books, hosts);
            hosts.set_licences(&books.rules().licences);
            self.keep_windows(books, hosts);
            changed.extend(books.waiting().map(Job::id));
        } else if !newcomers.is_empty() {
            keep_hosts(books, hosts);
            // Whoever could start on the hosts so far can on more, too.
            let barred = self.listed.iter().filter(|(_, listed)| !listed.barred.is_empty());
            changed.extend(barred.map(|(id, _)| *id));
        }
        if !anew && books.reservations().any(turned) {
            changed.extend(books.waiting().filter(|job| job.spec().queue.reservation.is_some()).map(Job::id));
        }
        changed.extend(self.later.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id));
        if let Some(dues) = &mut self.dues {
            dues.refresh(books);
        }
        if self.seen.is_none() {
            if let Some(dues) = &mut self.dues {
                dues.adopt(books, now);
            }
            self.give_back_places(books, hosts);
            self.lines = Lines::of(books);
        }
        self.seen = Some((now, books.terms()));
        hosts.advance(now);
        for id in changed {
            self.list(books, hosts, id, now);
        }
        let step = step(now);
        if self.ordered != Some(step) {
            self.ordered = Some(step);
            self.queue.refresh(step);
        }
    }

    /// After a restart, gives what runs the places that it has.
    fn give_back_places(&mut self, books: &Books, hosts: &mut Hosts) {
        let mut all: Vec<(RunId, &Run)> = books.live().collect();
        all.sort_by_key(|(_, live)| turn(live));
        for (run, live) in all {
            if matches!(live.state, State::Suspended { .. }) {
                self.halted.stood_still(run);
            }
            let Some((job, placed)) = books.job(run.job).zip(live.state.holds()) else { continue };
            let running = number::running(run.job, job.place(run.element));
            if hosts.allocation(running).is_some() {
                continue;
            }
            // Classes are numbered anew. What cannot be asked for any more for another reason than its licences holds
            // hosts alone.
            let class = self
                .request(job, &placed.on.partition, self.reservation(job))
                .ok()
                .and_then(|request| hosts.intern_held(&request).ok())
                .or_else(|| hosts.intern(&Request::cpus(1)).ok());
            if let Some(class) = class {
                let parts = placed.on.allocation.parts.clone();
                hosts.hold(running, end(live, placed), &Allocation { class, parts });
            }
        }
    }

    fn reservation(&self, job: &Job) -> Option<ReservationId> {
        self.windows.get(job.spec().queue.reservation.as_ref()?).copied()
    }

    /// Tells hosts and accounts of a record, after the books have it.
    pub fn observe(&mut self, books: &Books, hosts: &mut Hosts, fact: &Fact) {
        let Fact { at, event } = fact;
        self.foresight.observe(books, fact);
        if let Some(step) = self.dues.as_ref().and_then(|dues| dues.due(*at)) {
            self.tick(books, step);
        }
        match event {
            Event::Accounting(_) | Event::AccountingGone => {
                self.dues = Dues::changed(self.dues.take(), books, *at);
            }
            _ => self.dues.iter_mut().for_each(|dues| dues.observe(books, event, *at)),
        }
        match event {
            Event::Run(_, RunEvent::Ended { .. } | RunEvent::Requeued { .. }) => {
                self.keep_lines(books, hosts, fact);
            }
            Event::Run(run, event) => {
                if let RunEvent::Suspended { .. } = event {
                    self.halted.stood_still(*run);
                }
                if let Some(live) = books.run(*run) {
                    replace(books, hosts, (*run, &live));
                }
                self.keep_lines(books, hosts, fact);
            }
            Event::Job(id, JobEvent::Cancelled { .. } | JobEvent::Updated(_)) => {
                let live = books.job(*id).into_iter().flat_map(|job| job.live());
                live.for_each(|(run, live)| replace(books, hosts, (run, live)));
            }
            Event::Host(host) => {
                if let Some(known) = hosts.find(&host.name) {
                    hosts.set_state(known, host.state.clone());
                }
            }
            _ => {}
        }
    }

    /// Looks at one job again.
    fn list(&mut self, books: &Books, hosts: &mut Hosts, id: JobId, now: Time) {
        if let Some(listed) = self.listed.remove(&id) {
            listed.entries.into_iter().for_each(|(waiting, ..)| {
                self.queue.remove(waiting);
            });
        }
        if let Some(at) = self.later_of.remove(&id) {
            self.later.remove(&(at, id));
        }
        if let Some(at) = books.job(id).and_then(|job| job.next_start(now)) {
            self.later.insert((at, id));
            self.later_of.insert(id, at);
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
                    rank: rank(self.dues.as_ref(), job, partition),
                    submit: entry.from,
                    estimate,
                    width: hosts.width(class),
                    count: entry.count,
                    request: class,
                };
                if matches!(self.way, Way::First(Backfill::Predicted, _)) {
                    let outlook = self.foresight.outlook(id, estimate, entry.from);
                    self.queue.insert_with(new, outlook, step(now));
                } else {
                    self.queue.insert(new, step(now));
                }
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
        reasons.extend(self.dues.as_ref().and_then(|dues| dues.payer(job).err()));
        reasons.extend(self.missing_inputs(job));
        let class = self
            .request(job, &partition.name, self.reservation(job))
            .map_err(|errors| errors.into_iter().map(Reason::Ask).collect::<Vec<_>>())
            .and_then(|request| {
                hosts.intern(&request).map_err(|misfits| misfits.into_iter().map(Reason::Misfit).collect())
            });
        match class {
            Ok(class) if reasons.is_empty() => Ok(class),
            Ok(_) => Err(reasons),
            Err(more) => {
                reasons.extend(more);
                reasons.extend(self.left_out(job));
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

/// The time by which the queue is in order: that of the last step. So an order hangs on the time alone, and is the same
/// after a restart.
fn step(now: Time) -> Time {
    Time(now.0.div_euclid(STEP) * STEP)
}

/// When what holds hosts is expected to give them back.
pub(super) fn end(live: &Run, placed: &Placed) -> Time {
    live.state.expected_end().unwrap_or(placed.started.after(FOREVER))
}

/// Tells the hosts that something has other parts of them, or gives them back earlier or later than was thought.
fn replace(books: &Books, hosts: &mut Hosts, (run, live): (RunId, &Run)) {
    let Some((job, placed)) = books.job(run.job).zip(live.state.placed()) else { return };
    let running = number::running(run.job, job.place(run.element));
    let new = end(live, placed);
    let parts = &placed.on.allocation.parts;
    let Some((_, held)) = hosts.allocation(running) else { return };
    let wanted = Allocation { class: held.class, parts: parts.clone() };
    let whole = hosts.hold(running, new, &wanted);
    debug_assert!(whole || !matches!(live.state, State::Running { .. }), "what runs has all its cores");
}

/// Makes the hosts of the cluster those of the books. A host that cannot be added was refused as a record.
fn keep_hosts(books: &Books, hosts: &mut Hosts) {
    for host in books.hosts() {
        match hosts.find(&host.name) {
            None => drop(hosts.add(host.clone())),
            Some(id) if *hosts.state(id) != host.state => hosts.set_state(id, host.state.clone()),
            Some(_) => {}
        }
    }
}

/// When it is its turn to have its cores back: what is stopped has those that nobody runs on. What ends may run until it
/// is over, but if it was stopped: of two that had the same cores, the one that started last runs.
fn turn(live: &Run) -> (u8, Option<Reverse<Time>>) {
    match &live.state {
        State::Completing { placed, .. } => (1, Some(Reverse(placed.started))),
        State::Suspended { .. } => (2, None),
        _ => (0, None),
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
pub(super) fn estimate(partition: &Partition, job: &Job) -> i64 {
    partition.granted_s(job.spec()).map_or(FOREVER, ticks)
}

/// A time limit in ticks.
pub(super) fn ticks(limit_s: u64) -> i64 {
    i64::try_from(limit_s).map_or(FOREVER, |limit| limit.saturating_mul(i64::from(TICKS)).min(FOREVER))
}

/// What goes before the policy's key, the lowest first: the partition's tier, then the priority. Without accounts that is
/// what an operator gave, less what the user took away.
pub(super) fn rank(dues: Option<&Dues>, job: &Job, partition: &Partition) -> u64 {
    let queue = &job.spec().queue;
    let base = queue.priority.map_or(1 << 31, i64::from);
    let given = (base - i64::from(queue.nice)).clamp(0, i64::from(u32::MAX)) as u32;
    let priority = dues.map_or(given, |dues| dues.priority(job, partition));
    u64::from(u16::MAX - partition.tier) << 32 | u64::from(u32::MAX - priority)
}
