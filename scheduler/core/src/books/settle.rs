//! Dependencies, settled: when something happens to a job, those that ask something of it are looked at again.
//!
//! Invariant: a clause that was decided stays decided, whatever becomes of the other job; and what an event costs here
//! follows the jobs that ask, and for two arrays element by element the one element that changed.

use super::Books;
use super::index::{Marks, name_key};
use crate::job::array::Array;
use crate::job::dependency::{Clause, Dependency, Join, Status, Target, Unmet};
use crate::job::id::JobId;
use crate::job::state::{Run, State};
use crate::job::{Body, Job};
use crate::time::Time;
use std::collections::BTreeSet;

/// What of a job has changed, as far as others ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// One element of an array.
    Element(u32),
    /// It, or several elements.
    All,
}

impl Books {
    /// Looks at what `id` asks of others for the first time, or after that has been changed.
    pub(super) fn ask(&mut self, id: JobId, at: Time) {
        let job = &self.jobs[&id];
        let Dependency { join, clauses } = &job.spec().when.dependency;
        let unmet = (!clauses.is_empty()).then(|| {
            let clauses = clauses.iter().map(|clause| (*clause, Status::Open)).collect();
            Box::new(Unmet { join: *join, clauses, whole: Status::Open })
        });
        let had = job.unmet().is_some();
        self.change(id, |job| {
            if let Some(array) = job.array_mut().filter(|_| had) {
                array.unblock();
            }
            job.settle(unmet, Time(i64::MIN));
        });
        self.review(id, at, Changed::All);
    }

    /// Looks again at those who ask something of `id`, to which something has happened.
    pub(super) fn tell(&mut self, id: JobId, at: Time, changed: Changed) {
        let dependents: Vec<JobId> = self.index.dependents(id).collect();
        dependents.into_iter().for_each(|dependent| self.review(dependent, at, changed));
        let job = &self.jobs[&id];
        if job.ended().is_some() {
            self.left(name_key(job.owner().uid, &job.spec().name), id, at);
        }
    }

    /// A job is over, or has another name: the first that waited for all earlier ones of this name may have waited for it.
    pub(super) fn left(&mut self, name: (u32, u64), id: JobId, at: Time) {
        if let Some(next) = self.index.singleton_after(name, id) {
            self.review(next, at, Changed::All);
        }
    }

    /// Looks at what `id` asks of others, after something has happened to one of them.
    pub(super) fn review(&mut self, id: JobId, at: Time, changed: Changed) {
        let job = &self.jobs[&id];
        let Some(before) = job.unmet() else { return };
        let mut unmet = before.clone();
        for (clause, status) in &mut unmet.clauses {
            if *status == Status::Open && !self.by_element(job, clause) {
                *status = self.status(job, clause, at);
            }
        }
        let elementwise: Vec<JobId> = unmet
            .clauses
            .iter()
            .filter(|(clause, _)| self.by_element(job, clause))
            .filter_map(|(clause, _)| clause.job())
            .collect();
        let whole: Vec<Status> = unmet
            .clauses
            .iter()
            .filter(|(clause, _)| !self.by_element(job, clause))
            .map(|&(_, status)| status)
            .collect();
        // Beside clauses that are asked element by element, no clause at all is no way to start.
        unmet.whole = match (unmet.join, whole.is_empty() && !elementwise.is_empty()) {
            (Join::Any, true) => Status::Failed,
            (join, _) => join.of(whole),
        };
        match unmet.whole {
            Status::Met(from) if elementwise.is_empty() || unmet.join == Join::Any => {
                self.change(id, |job| {
                    if let Some(array) = job.array_mut() {
                        array.unblock();
                    }
                    job.settle(None, from);
                });
            }
            whole => {
                let changed = if whole == before.whole { changed } else { Changed::All };
                let from = if let Status::Met(from) = whole { from } else { Time(i64::MIN) };
                self.change(id, |job| job.settle(Some(Box::new(unmet)), from));
                if !elementwise.is_empty() {
                    self.review_elements(id, at, &elementwise, changed);
                }
            }
        }
    }

    /// Looks at what the elements of an array ask of the elements of others.
    fn review_elements(&mut self, id: JobId, at: Time, others: &[JobId], changed: Changed) {
        let job = &self.jobs[&id];
        let (Body::Array(array), Some(unmet)) = (job.body(), job.unmet()) else { return };
        let (join, whole, from) = (unmet.join, unmet.whole, job.from());
        let places = match changed {
            Changed::Element(index) => array.indices().ordinal(index).map_or(0..0, |at| at..at + 1),
            Changed::All => 0..array.indices().len(),
        };
        let others: Vec<Option<&Array>> = others.iter().map(|other| self.array(*other)).collect();
        let status = |ordinal: u32| {
            let index = array.indices().index(ordinal);
            let theirs = others.iter().map(|other| {
                let fate = other.and_then(|other| Some(other.fate_of(other.indices().ordinal(index)?)));
                fate.map_or(Status::Met(at), |fate| fate.status(&Clause::AfterCorr(id)))
            });
            // Where all must hold, the others are asked for the job as a whole.
            match join {
                Join::All => join.of(theirs),
                Join::Any => join.of(theirs.chain([whole])),
            }
        };
        let statuses: Vec<(u32, Status)> =
            places.filter(|&place| array.may_block(place)).map(|place| (place, status(place))).collect();
        self.change(id, |job| {
            let gate = job.gate();
            let Some(array) = job.array_mut() else { return };
            for (place, status) in statuses {
                match status {
                    Status::Met(met) if join == Join::Any => {
                        let pending = State::Pending { from: met.max(from) };
                        array.put(place, Run::new(pending), gate);
                    }
                    status => array.block(place, status),
                }
            }
        });
    }

    /// Whether a clause of `job` is asked element by element.
    fn by_element(&self, job: &Job, clause: &Clause) -> bool {
        let Clause::AfterCorr(other) = clause else { return false };
        matches!(job.body(), Body::Array(_)) && self.array(*other).is_some()
    }

    fn array(&self, id: JobId) -> Option<&Array> {
        self.jobs.get(&id)?.array()
    }

    /// What the other job says to a clause that is asked for the job as a whole.
    fn status(&self, job: &Job, clause: &Clause, at: Time) -> Status {
        let target = match clause {
            Clause::Singleton => {
                let name = name_key(job.owner().uid, &job.spec().name);
                let none_before = self.index.namesakes_before(name, job.id()).next().is_none();
                return if none_before { Status::Met(at) } else { Status::Open };
            }
            Clause::AfterCorr(other) => Target { job: *other, element: None },
            Clause::After { on, .. }
            | Clause::AfterAny(on)
            | Clause::AfterOk(on)
            | Clause::AfterNotOk(on) => *on,
        };
        let fate = self.jobs.get(&target.job).and_then(|other| other.fate(target));
        fate.map_or(Status::Met(at), |fate| fate.status(clause))
    }

    /// Changes one job, and what the index says of it.
    pub(super) fn change(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let before = Marks::of(job);
        change(job);
        let after = Marks::of(job);
        self.index.change(id, &before, &after);
        self.changed.insert(id);
    }

    /// Whether a job would wait for itself, through others, if it asked for `dependency` under this name.
    pub(super) fn circle(
        &self,
        id: JobId,
        dependency: Option<&Dependency>,
        name: Option<&str>,
    ) -> Option<JobId> {
        let mut seen = BTreeSet::new();
        let mut next = self.waits_for(id, id, dependency, name);
        while let Some(job) = next.pop() {
            if job == id {
                return Some(job);
            }
            if seen.insert(job) {
                next.extend(self.waits_for(job, id, dependency, name));
            }
        }
        None
    }

    /// The jobs that `job` waits for, if `changed` asked for `dependency` under `name`.
    fn waits_for(
        &self,
        job: JobId,
        changed: JobId,
        dependency: Option<&Dependency>,
        name: Option<&str>,
    ) -> Vec<JobId> {
        let Some(job) = self.jobs.get(&job).filter(|job| job.waiting_count() > 0) else { return Vec::new() };
        let new_name = name.filter(|_| job.id() == changed).unwrap_or(&job.spec().name);
        let open: Vec<Clause> = match (dependency.filter(|_| job.id() == changed), job.unmet()) {
            (Some(dependency), _) => dependency.clauses.clone(),
            (None, Some(unmet)) => {
                unmet.clauses.iter().filter(|(_, status)| *status == Status::Open).map(|&(c, _)| c).collect()
            }
            (None, None) => Vec::new(),
        };
        let mut all: Vec<JobId> =
            open.iter().filter_map(Clause::job).filter(|on| self.is_open(*on)).collect();
        if open.contains(&Clause::Singleton) {
            let key = name_key(job.owner().uid, new_name);
            all.extend(self.index.namesakes_before(key, job.id()));
            let other =
                self.jobs.get(&changed).filter(|other| other.id() < job.id() && other.owner() == job.owner());
            if other.is_some() && name.is_some_and(|name| name == new_name) {
                all.push(changed);
            }
        }
        all
    }

    fn is_open(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.ended().is_none())
    }
}
