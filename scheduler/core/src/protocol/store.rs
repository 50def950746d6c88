//! The store of the controller: what a foreman is answered.
//!
//! Invariants: an attempt that is not the open one of its run is refused, whenever its words arrive; an answer leaves
//! after the record that it rests on, so what a foreman hears is stored is on disk.

use super::desk::Desk;
use super::guard::Guard;
use super::ledger::{Commit, FromStore, Step, ToStore, Verdict};
use super::stamp::AttemptId;
use super::standing::{Record, Standing};

impl<D: Desk> Standing<D> {
    /// What is noted on a foreman's word, and what it is told.
    pub(super) fn hear_foreman(&self, message: ToStore) -> (Option<Record<D::Event>>, Option<FromStore>) {
        let (record, answer) = match message {
            ToStore::Open(id, step) => self.open_ledger(id, step),
            ToStore::Commit(id, spec, commit) => self.commit(id, spec, commit),
            // Nothing that is kept.
            ToStore::Uses(..) => return (None, None),
        };
        (record, Some(answer))
    }

    fn open_ledger(&self, id: AttemptId, step: Step) -> (Option<Record<D::Event>>, FromStore) {
        if !self.is_newest(id) {
            return (None, FromStore::Refused(id));
        }
        match self.ledgers.get(&(id.run, step.spec)) {
            Some(ledger) if ledger.step == step => {
                let done = ledger.commits().map(|(_, commit)| commit.nodes.clone()).collect();
                (None, FromStore::Opened(id, done))
            }
            Some(_) => (None, FromStore::Refused(id)),
            None => (Some(Record::Step(id.run, step)), FromStore::Opened(id, Vec::new())),
        }
    }

    fn commit(&self, id: AttemptId, spec: [u8; 16], commit: Commit) -> (Option<Record<D::Event>>, FromStore) {
        let ledger = self.ledgers.get(&(id.run, spec)).filter(|_| self.is_newest(id));
        let stored = FromStore::Stored(id, commit.number);
        match ledger.map(|ledger| ledger.judge(id, &commit)) {
            Some(Verdict::New) => (Some(Record::Commit(id, spec, commit)), stored),
            Some(Verdict::Known) => (None, stored),
            Some(Verdict::Wrong) | None => (None, FromStore::Refused(id)),
        }
    }

    fn is_newest(&self, id: AttemptId) -> bool {
        self.attempt(id).is_some() || !Guard::FencedCommit.stands()
    }
}
