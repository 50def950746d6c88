//! The store of the controller: what a foreman is answered.
//!
//! Invariants: an attempt that is not the open one of its run is refused, whenever its words arrive; an answer leaves
//! after the record that it rests on, so what a foreman hears is stored is on disk.

use super::desk::Desk;
use super::guard::Guard;
use super::ledger::{
    Commit, FromStore, Ledger, MOST_STEPS, Opened, Refusal, Round, Step, StepId, ToStore, Verdict, Want,
};
use super::message::Conduct;
use super::stamp::AttemptId;
use super::standing::{Record, Standing};
use crate::job::id::RunId;

/// What is noted on a foreman's word, and what it is told.
type Heard<E> = (Vec<Record<E>>, Option<FromStore>);

impl<D: Desk> Standing<D> {
    /// What is noted on a foreman's word, and what it is told.
    pub(super) fn hear_foreman(&self, message: ToStore) -> Heard<D::Event> {
        match message {
            ToStore::Open(id, step) => self.open_ledger(id, step),
            ToStore::Commit(id, spec, commit) => self.commit(id, spec, commit),
            ToStore::Round(id, spec, round) => self.round(id, spec, round),
            ToStore::Fetch(id, spec, want) => (Vec::new(), self.fetch((id, spec), want)),
            // Nothing that is kept.
            ToStore::Uses(..) => (Vec::new(), None),
            ToStore::Close(id, spec) => self.close_step(id, spec),
        }
    }

    fn open_ledger(&self, id: AttemptId, step: Step) -> Heard<D::Event> {
        if !self.is_newest(id) {
            return refused((id, step.spec), Refusal::Stale);
        }
        let inputs = self.inputs(id.run);
        if let Some(found) = inputs
            && (found.spec, &found.class, found.blocks) != (step.spec, &step.class, step.blocks)
            && Guard::GridOfProbe.stands()
        {
            return refused((id, step.spec), Refusal::OtherGrid { found: found.blocks, said: step.blocks });
        }
        match self.ledgers.get(&(id.run, step.spec)) {
            Some(ledger) if !ledger.is_of(inputs.map(|found| found.print)) => {
                refused((id, step.spec), Refusal::OtherInputs)
            }
            Some(ledger) if ledger.step == step => {
                let begins = self.begins(id, step.spec).into_iter().collect();
                (begins, Some(FromStore::Opened((id, step.spec), ledger.list())))
            }
            Some(_) => refused((id, step.spec), Refusal::OtherStep),
            None if self.steps(id.run) >= MOST_STEPS => refused((id, step.spec), Refusal::TooManySteps),
            None => {
                let opened = Opened { round: 1, state: None, done: Vec::new() };
                let opened = FromStore::Opened((id, step.spec), opened);
                let begins = self.begins(id, step.spec);
                (std::iter::once(Record::Step(id.run, step)).chain(begins).collect(), Some(opened))
            }
        }
    }

    /// What is noted when a script begins a kernel step: a job that is one itself has no other.
    fn begins(&self, id: AttemptId, spec: [u8; 16]) -> Option<Record<D::Event>> {
        let open = self.attempt(id).filter(|open| open.begun.conduct != Conduct::Fenced)?;
        (!open.steps.contains(&spec)).then_some(Record::Stepped(id, spec, true))
    }

    /// A step is closed when no host is on its way out: who asks before hears nothing, and asks again.
    fn close_step(&self, id: AttemptId, spec: [u8; 16]) -> Heard<D::Event> {
        let Some(open) = self.attempt(id) else { return (Vec::new(), Some(FromStore::Closed((id, spec)))) };
        let closes = open.steps.contains(&spec).then_some(Record::Stepped(id, spec, false));
        let rests = !open.live_hosts().any(|host| open.leaves(host));
        (closes.into_iter().collect(), rests.then_some(FromStore::Closed((id, spec))))
    }

    fn steps(&self, run: RunId) -> usize {
        self.ledgers.range((run, [0; 16])..=(run, [u8::MAX; 16])).count()
    }

    fn commit(&self, id: AttemptId, spec: [u8; 16], commit: Commit) -> Heard<D::Event> {
        let ledger = match self.ledger_of(id, spec) {
            Ok(ledger) => ledger,
            Err(why) => return refused((id, spec), why),
        };
        match (ledger.judge(id, &commit), ledger.too_large(&commit)) {
            (Verdict::New, Some(why)) | (Verdict::Wrong(why), _) => refused((id, spec), why),
            (Verdict::New, None) => {
                let stored = FromStore::Stored((id, spec), commit.number);
                (vec![Record::Commit(id, spec, commit)], Some(stored))
            }
            (Verdict::NotNext, _) => (Vec::new(), Some(FromStore::Stored((id, spec), ledger.last(id)))),
        }
    }

    fn round(&self, id: AttemptId, spec: [u8; 16], round: Round) -> Heard<D::Event> {
        let ledger = match self.ledger_of(id, spec) {
            Ok(ledger) => ledger,
            Err(why) => return refused((id, spec), why),
        };
        match (ledger.judge_round(id, &round), round.too_large()) {
            (Verdict::New, Some(why)) | (Verdict::Wrong(why), _) => refused((id, spec), why),
            (Verdict::New, None) => {
                let stored = FromStore::Stored((id, spec), round.number);
                (vec![Record::Round(id, spec, round)], Some(stored))
            }
            (Verdict::NotNext, _) => (Vec::new(), Some(FromStore::Stored((id, spec), ledger.last(id)))),
        }
    }

    /// What was wanted long ago may have been replaced by what the foreman has sent since: then it has it, and hears
    /// nothing.
    fn fetch(&self, (id, spec): (AttemptId, [u8; 16]), want: Want) -> Option<FromStore> {
        match self.ledger_of(id, spec) {
            Ok(ledger) => ledger.piece(want).map(|piece| FromStore::Piece((id, spec), piece)),
            Err(why) => Some(FromStore::Refused((id, spec), why)),
        }
    }

    fn ledger_of(&self, id: AttemptId, spec: [u8; 16]) -> Result<&Ledger, Refusal> {
        if !self.is_newest(id) {
            return Err(Refusal::Stale);
        }
        self.ledgers.get(&(id.run, spec)).ok_or(Refusal::NoStep)
    }

    fn is_newest(&self, id: AttemptId) -> bool {
        self.attempt(id).is_some() || !Guard::FencedCommit.stands()
    }
}

fn refused<E>(step: StepId, why: Refusal) -> Heard<E> {
    (Vec::new(), Some(FromStore::Refused(step, why)))
}
