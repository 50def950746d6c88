//! What a record does to the books.

use super::Books;
use super::event::{Event, Fact};
use super::index::{Marks, name_key};
use super::settle::Changed;
use crate::cluster::Host;
use crate::job::event::{JobEvent, RunEvent};
use crate::job::id::{JobId, RunId};
use crate::job::update::{Field, Update};
use crate::job::{Job, Submitted};
use crate::time::Time;

impl Books {
    /// Lets a record follow those before it.
    ///
    /// # Panics
    ///
    /// When [`Books::check`] would refuse it.
    pub fn apply(&mut self, fact: &Fact) {
        let at = fact.at;
        self.last = Some(at);
        if matches!(
            fact.event,
            Event::Partition(_) | Event::PartitionGone(_) | Event::Reservation(_) | Event::ReservationGone(_)
        ) {
            self.terms += 1;
        }
        match &fact.event {
            Event::Submitted(id, request) => self.submitted(*id, at, request),
            Event::Job(id, event) => self.happened(*id, at, event),
            Event::Run(run, event) => self.ran(*run, at, event),
            Event::Purged(id) => {
                if let Some(job) = self.jobs.remove(id) {
                    self.index.change(*id, &Marks::of(&job), &Marks::default());
                    self.changed.insert(*id);
                }
            }
            Event::Partition(partition) => {
                if partition.is_default {
                    self.partitions.values_mut().for_each(|other| other.is_default = false);
                }
                self.partitions.insert(partition.name.clone(), partition.clone());
            }
            Event::PartitionGone(name) => drop(self.partitions.remove(name)),
            Event::Reservation(reservation) => {
                self.reservations.insert(reservation.name.clone(), reservation.clone());
            }
            Event::ReservationGone(name) => drop(self.reservations.remove(name)),
            Event::Host(host) => match self.numbers.get(&host.name) {
                Some(known) => self.hosts[*known as usize].state = host.state.clone(),
                None => {
                    self.numbers.insert(host.name.clone(), self.hosts.len() as u32);
                    self.hosts.push(Host::clone(host));
                }
            },
            Event::Rules(rules) => {
                self.terms += 1;
                self.rules = rules.clone();
            }
            Event::Accounting(accounting) => {
                self.terms += 1;
                self.accounting = Some(accounting.clone());
            }
            Event::AccountingGone => {
                self.terms += 1;
                self.accounting = None;
            }
        }
    }

    fn submitted(&mut self, id: JobId, at: Time, request: &Submitted) {
        let job = Job::new(id, at, request.clone(), self.rules.most_elements);
        let job = job.expect("a record is checked before it is applied");
        self.index.change(id, &Marks::default(), &Marks::of(&job));
        self.jobs.insert(id, job);
        self.changed.insert(id);
        self.next = id.0.saturating_add(1);
        self.ask(id, at);
    }

    fn happened(&mut self, id: JobId, at: Time, event: &JobEvent) {
        let old_name = self.jobs.get(&id).map(|job| name_key(job.owner().uid, &job.spec().name));
        self.change(id, |job| job.apply(at, event));
        match event {
            JobEvent::Held { .. } => {}
            JobEvent::Released { .. } => self.review(id, at, Changed::All),
            JobEvent::Cancelled { .. } | JobEvent::Closed { .. } => self.tell(id, at, Changed::All),
            JobEvent::Updated(update) => {
                let Update { fields } = update.as_ref();
                let asks = fields.iter().any(|field| matches!(field, Field::Dependency(_)));
                let named = fields.iter().any(|field| matches!(field, Field::Name(_)));
                if asks {
                    self.ask(id, at);
                }
                if let Some(old_name) = old_name.filter(|_| named) {
                    self.left(old_name, id, at);
                    self.review(id, at, Changed::All);
                }
            }
        }
    }

    fn ran(&mut self, run: RunId, at: Time, event: &RunEvent) {
        self.change(run.job, |job| job.apply_run(at, run.element, event));
        if matches!(event, RunEvent::Started { .. } | RunEvent::Ended { .. }) {
            self.tell(run.job, at, run.element.map_or(Changed::All, Changed::Element));
        }
    }
}
