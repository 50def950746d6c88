//! Events of one job, checked and applied. Both go through the same code, which computes what would change; applying
//! then puts it in place.

use super::event::{Elements, JobEvent, RunEvent};
use super::outcome::Outcome;
use super::placement::Placement;
use super::update::{Field, Update};
use super::*;

/// What an event does to a job.
enum Effect {
    /// The only run becomes this.
    One(Run),
    /// Elements that are objects become these, and those that are codes are dealt with by spans.
    Many { apart: Vec<(u32, Run)>, spans: Vec<(u32, u32)> },
}

impl Job {
    /// Whether an event can happen to it.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn check(&self, at: Time, event: &JobEvent) -> Result<(), JobError> {
        match event {
            JobEvent::Updated(update) => self.check_update(update),
            _ => self.effect(at, event).map(drop),
        }
    }

    /// Lets an event happen.
    ///
    /// # Panics
    ///
    /// When [`Job::check`] would refuse it.
    pub fn apply(&mut self, at: Time, event: &JobEvent) {
        const CHECKED: &str = "an event is checked before it is applied";
        if let JobEvent::Updated(update) = event {
            self.check_update(update).expect(CHECKED);
            return self.update(at, update);
        }
        let effect = self.effect(at, event).expect(CHECKED);
        let gate = self.gate();
        match (&mut self.body, effect) {
            (Body::One(is), Effect::One(run)) => *is = run,
            (Body::Array(array), Effect::Many { apart, spans }) => {
                let nobody_waits = array.alike() == 0;
                match event {
                    JobEvent::Held { by, .. } => array.hold(&spans, *by),
                    JobEvent::Released { by, .. } => array.release(&spans, *by),
                    JobEvent::Cancelled { by, .. } => array.close(&spans, Outcome::Cancelled(*by), at),
                    JobEvent::Closed { outcome, .. } => array.close(&spans, *outcome, at),
                    JobEvent::Updated(_) => unreachable!("updates were dealt with"),
                }
                apart.into_iter().for_each(|(ordinal, run)| array.put(ordinal, run, gate));
                // While all of it was held, it did not wait in line.
                if nobody_waits && array.alike() > 0 {
                    self.from = self.from.max(at);
                }
            }
            _ => unreachable!("an effect is of the body that it was computed for"),
        }
    }

    /// Whether an event can happen to it, or to one element.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn check_run(&self, at: Time, element: Option<u32>, event: &RunEvent) -> Result<(), JobError> {
        let run = self.run(element).ok_or(JobError::NoElement)?;
        run.next(at, &change(event))?;
        match event {
            RunEvent::Started { on, after: Some(after), .. } => Ok(self.check_after(*after, on)?),
            _ => Ok(()),
        }
    }

    /// Whether an element can be told to follow another on its hosts.
    fn check_after(&self, after: u32, on: &Placement) -> Result<(), ChangeError> {
        let Body::Array(array) = &self.body else { return Err(ChangeError::NothingToFollow(after)) };
        let before = self.run(Some(after));
        let there = before.as_ref().and_then(|run| run.state.placed()).map(|placed| &placed.on.allocation);
        let free = there == Some(&on.allocation) && array.follower(after).is_none();
        free.then_some(()).ok_or(ChangeError::NothingToFollow(after))
    }

    /// Lets an event happen to it, or to one element.
    ///
    /// # Panics
    ///
    /// When [`Job::check_run`] would refuse it.
    pub fn apply_run(&mut self, at: Time, element: Option<u32>, event: &RunEvent) {
        let gate = self.gate();
        let before = self.run(element);
        let after = before.as_ref().and_then(|run| run.state.placed()?.after);
        let run = before.and_then(|run| run.next(at, &change(event)).ok());
        let run = run.expect("an event is checked before it is applied");
        let is_over = run.state.placed().is_none();
        match (&mut self.body, element) {
            (Body::One(is), None) => *is = run,
            (Body::Array(array), Some(index)) => {
                let ordinal = array.indices().ordinal(index).expect("the element was found above");
                array.put(ordinal, run, gate);
                if let RunEvent::Started { after: Some(after), .. } = event {
                    array.follow(*after, index);
                }
                if is_over {
                    array.move_up(index, after, at);
                }
            }
            _ => unreachable!("the element was found above"),
        }
    }

    /// What it waits for of others has changed: nothing more, when `unmet` is none, from a time on.
    pub(crate) fn settle(&mut self, unmet: Option<Box<Unmet>>, from: Time) {
        self.unmet = unmet;
        self.from = self.from.max(from);
        let gate = self.gate();
        match &mut self.body {
            Body::One(run) => {
                if let Ok(next) = run.next(from, &Change::Gate(gate)) {
                    *run = next;
                }
            }
            // Elements that were started before, and released while the others waited for other jobs, waited with them.
            Body::Array(array) if gate != Gate::Depends => {
                let waited: Vec<u32> =
                    array.apart().filter(|(_, run)| run.state == State::Depends).map(|(at, _)| at).collect();
                for ordinal in waited {
                    if let Ok(next) = array.run(ordinal, gate).next(from, &Change::Gate(gate)) {
                        array.put(ordinal, next, gate);
                    }
                }
            }
            Body::Array(_) => {}
        }
    }

    /// The array, for the books to settle what its elements ask of another's.
    pub(crate) fn array_mut(&mut self) -> Option<&mut Array> {
        match &mut self.body {
            Body::Array(array) => Some(array),
            Body::One(_) => None,
        }
    }

    fn effect(&self, at: Time, event: &JobEvent) -> Result<Effect, JobError> {
        let then = match self.gate() {
            Gate::From(from) => Gate::From(from.max(at)),
            Gate::Depends => Gate::Depends,
        };
        let (of, change) = match event {
            JobEvent::Held { of, by } => (of, Change::Hold(*by)),
            JobEvent::Released { of, by } => (of, Change::Release { by: *by, then }),
            JobEvent::Cancelled { of, by } => (of, Change::Cancel(*by)),
            JobEvent::Closed { of, outcome } => (of, Change::Close(*outcome)),
            JobEvent::Updated(_) => return Err(JobError::EmptyUpdate),
        };
        match (&self.body, of) {
            (Body::One(run), Elements::All) => Ok(Effect::One(run.next(at, &change)?)),
            (Body::One(_), Elements::Ranges(_)) => Err(JobError::NoElement),
            (Body::Array(array), of) => self.effect_on(array, at, spans(array, of)?, &change),
        }
    }

    /// The effect on elements: on those on which it can be, and an error when there are none.
    fn effect_on(
        &self,
        array: &Array,
        at: Time,
        spans: Vec<(u32, u32)>,
        change: &Change,
    ) -> Result<Effect, JobError> {
        let inside = |ordinal: u32| spans.iter().any(|&(first, last)| first <= ordinal && ordinal <= last);
        let mut apart = Vec::new();
        let mut error = None;
        for (ordinal, run) in array.apart().filter(|(ordinal, _)| inside(*ordinal)) {
            match run.next(at, change) {
                Ok(next) => apart.push((ordinal, next)),
                Err(no) => error = error.or(Some(no)),
            }
        }
        let alike = array
            .spans(self.gate())
            .filter(|&(first, last, _)| spans.iter().any(|&(from, to)| first.max(from) <= last.min(to)));
        let mut some = !apart.is_empty();
        for (.., run) in alike {
            match run.next(at, change) {
                Ok(_) => some = true,
                Err(no) => error = error.or(Some(no)),
            }
        }
        if some {
            Ok(Effect::Many { apart, spans })
        } else {
            Err(error.map_or(JobError::NoElement, JobError::Change))
        }
    }

    /// A representative of what an update would act on: what waits, else what runs, else what is over.
    fn foremost(&self) -> State {
        match &self.body {
            Body::One(run) => run.state.clone(),
            Body::Array(array) => {
                let rank = |state: &State| match state {
                    state if state.waits() => 0,
                    State::Completing { .. } => 2,
                    State::Done(_) => 3,
                    _ => 1,
                };
                let states = array.spans(self.gate()).map(|(.., run)| run.state);
                states.min_by_key(rank).unwrap_or(State::Depends)
            }
        }
    }

    fn check_update(&self, update: &Update) -> Result<(), JobError> {
        let state = self.foremost();
        if update.fields.is_empty() {
            return Err(JobError::EmptyUpdate);
        }
        if let State::Done(_) = state {
            return Err(ChangeError::Ended.into());
        }
        let fixed = update.fields.iter().find(|field| !field.may_change(&state));
        // What elements hold is known by what the job asks for.
        if let (Some((_, live)), None) = (self.live().next(), fixed)
            && let Some(held) = update.fields.iter().find(|field| matches!(field, Field::Licences(_)))
        {
            return Err(JobError::Fixed { field: held.name(), state: live.state.name() });
        }
        fixed.map_or(Ok(()), |field| Err(JobError::Fixed { field: field.name(), state: state.name() }))
    }

    fn update(&mut self, at: Time, update: &Update) {
        let mut spec = JobSpec::clone(&self.spec);
        for field in &update.fields {
            field.put(&mut spec);
            match field {
                Field::Begin(begin) => self.begin(begin.unwrap_or(at).max(at)),
                Field::TimeLimit(limit_s) => self.limit(at, *limit_s),
                Field::Throttle(throttle) => {
                    if let Body::Array(array) = &mut self.body {
                        array.set_throttle(*throttle);
                    }
                }
                _ => {}
            }
        }
        self.spec = Arc::new(spec);
    }

    fn begin(&mut self, from: Time) {
        self.from = from;
        let gate = self.gate();
        if let Body::One(run) = &mut self.body
            && let Ok(next) = run.next(from, &Change::Gate(gate))
        {
            *run = next;
        }
    }

    /// Gives what runs another time limit.
    fn limit(&mut self, at: Time, limit_s: Option<u64>) {
        let gate = self.gate();
        let limited = |run: &Run| {
            let placed = run.state.placed()?;
            let on = Arc::new(Placement { limit_s, ..Placement::clone(&placed.on) });
            run.next(at, &Change::Replace(placed.attempt, on)).ok()
        };
        match &mut self.body {
            Body::One(run) => *run = limited(run).unwrap_or_else(|| run.clone()),
            Body::Array(array) => {
                let changed: Vec<(u32, Run)> =
                    array.apart().filter_map(|(at, run)| Some((at, limited(run)?))).collect();
                changed.into_iter().for_each(|(ordinal, run)| array.put(ordinal, run, gate));
            }
        }
    }
}

/// The places of elements that an event names.
fn spans(array: &Array, of: &Elements) -> Result<Vec<(u32, u32)>, JobError> {
    match of {
        Elements::All => Ok(vec![(0, array.indices().len() - 1)]),
        Elements::Ranges(ranges) => {
            let span = |&(first, last): &(u32, u32)| {
                if first > last { None } else { array.indices().span(first, last) }
            };
            ranges.iter().map(|range| span(range).ok_or(JobError::NoElement)).collect()
        }
    }
}

fn change(event: &RunEvent) -> Change {
    match event {
        RunEvent::Started { attempt, on, after } => Change::Start(*attempt, on.clone(), *after),
        RunEvent::Began { attempt } => Change::Begin(*attempt),
        RunEvent::Replaced { attempt, on } => Change::Replace(*attempt, on.clone()),
        RunEvent::Suspended { attempt } => Change::Suspend(*attempt),
        RunEvent::Resumed { attempt } => Change::Resume(*attempt),
        RunEvent::Completing { attempt, outcome } => Change::Complete(*attempt, *outcome),
        RunEvent::Ended { attempt, outcome, .. } => Change::End(*attempt, *outcome),
        RunEvent::Requeued { attempt, hold, from, .. } => {
            Change::Requeue { attempt: *attempt, hold: *hold, from: *from }
        }
    }
}
