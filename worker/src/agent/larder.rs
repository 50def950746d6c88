//! What jobs run, as far as this agent has it: payloads by their hash, and what is to begin when one has come.

use super::errand::Errand;
use super::roster::Waiting;
use crossbeam_channel::Sender;
use muster_core::payload::BlobId;
use muster_core::protocol::stamp::AttemptId;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many payloads are kept: the elements of an array ask for one again and again.
const KEPT: usize = 16;

/// What jobs run.
pub(super) struct Larder {
    wanted: Sender<BlobId>,
    kept: VecDeque<(BlobId, Arc<Vec<u8>>)>,
    waiting: Vec<Errand>,
}

impl Larder {
    /// Nothing yet; what is wanted is asked for there, once.
    pub(super) fn new(wanted: Sender<BlobId>) -> Larder {
        Larder { wanted, kept: VecDeque::new(), waiting: Vec::new() }
    }

    /// What an errand runs, if it is here; else it waits until that has come.
    pub(super) fn serve(&mut self, errand: Errand) -> Option<Waiting> {
        if let Some((_, payload)) = self.kept.iter().find(|(blob, _)| *blob == errand.blob) {
            let payload = Arc::clone(payload);
            return Some(Waiting { errand, payload });
        }
        if !self.waiting.iter().any(|other| other.blob == errand.blob) {
            let _ = self.wanted.send(errand.blob);
        }
        self.waiting.push(errand);
        None
    }

    /// A payload has come: keeps it. What waited for it can begin.
    pub(super) fn store(&mut self, blob: BlobId, payload: Vec<u8>) -> Vec<Waiting> {
        let payload = Arc::new(payload);
        self.kept.push_front((blob, Arc::clone(&payload)));
        self.kept.truncate(KEPT);
        let waiting = |errand| Waiting { errand, payload: Arc::clone(&payload) };
        self.take(|errand| errand.blob == blob).into_iter().map(waiting).collect()
    }

    /// A payload will not come: what waited for it.
    pub(super) fn give_up(&mut self, blob: BlobId) -> Vec<AttemptId> {
        self.take(|errand| errand.blob == blob).into_iter().map(|errand| errand.start.id).collect()
    }

    /// What waits, if it is that.
    pub(super) fn waiting(&mut self, id: AttemptId) -> Option<&mut Errand> {
        self.waiting.iter_mut().find(|errand| errand.start.id == id)
    }

    /// Takes something back that waits.
    pub(super) fn take_back(&mut self, id: AttemptId) {
        self.take(|errand| errand.start.id == id);
    }

    fn take(&mut self, which: impl Fn(&Errand) -> bool) -> Vec<Errand> {
        let (taken, left) = std::mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = left;
        taken
    }
}
