//! What jobs run, as far as this agent has it: payloads by their hash, and what is to begin when one has come.

use super::errand::{Errand, Wish};
use super::programs;
use super::roster::Waiting;
use crossbeam_channel::Sender;
use muster_core::payload::{BlobId, Payload};
use muster_core::protocol::format::Format;
use muster_core::protocol::stamp::AttemptId;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many payloads are kept: the elements of an array ask for one again and again.
const KEPT: usize = 16;

/// What jobs run.
pub(super) struct Larder {
    wanted: Sender<Wish>,
    state: PathBuf,
    kept: VecDeque<(BlobId, Arc<Vec<u8>>)>,
    waiting: Vec<Errand>,
}

impl Larder {
    /// Nothing yet; what is wanted is asked for there, once.
    pub(super) fn new(wanted: Sender<Wish>, state: &Path) -> Larder {
        Larder { wanted, state: state.to_owned(), kept: VecDeque::new(), waiting: Vec::new() }
    }

    /// What an errand runs, if it is here; else it waits until that has come.
    pub(super) fn serve(&mut self, errand: Errand) -> Option<Waiting> {
        if let Some((_, payload)) = self.kept.iter().find(|(blob, _)| *blob == errand.blob)
            && self.has_program(&errand, payload)
        {
            let payload = Arc::clone(payload);
            return Some(Waiting { errand, payload });
        }
        if !self.waiting.iter().any(|other| other.wish() == errand.wish()) {
            let _ = self.wanted.send(errand.wish());
        }
        self.waiting.push(errand);
        None
    }

    fn has_program(&self, errand: &Errand, payload: &[u8]) -> bool {
        errand.program.is_none()
            || Format::Message.decode::<Payload>(payload).is_ok_and(|payload| {
                programs::path(&self.state, &payload, errand.program).is_none_or(|path| path.is_file())
            })
    }

    /// A payload has come, with its program: keeps it. What waited for it can begin.
    pub(super) fn store(&mut self, wish: Wish, payload: Vec<u8>) -> Vec<Waiting> {
        let payload = Arc::new(payload);
        self.kept.retain(|(blob, _)| *blob != wish.0);
        self.kept.push_front((wish.0, Arc::clone(&payload)));
        self.kept.truncate(KEPT);
        let waiting = |errand| Waiting { errand, payload: Arc::clone(&payload) };
        self.take(|errand| errand.wish() == wish).into_iter().map(waiting).collect()
    }

    /// A payload will not come: what waited for it.
    pub(super) fn give_up(&mut self, wish: Wish) -> Vec<AttemptId> {
        self.take(|errand| errand.wish() == wish).into_iter().map(|errand| errand.start.id).collect()
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
