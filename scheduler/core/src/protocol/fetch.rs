//! A foreman fetches what is done: the bytes of each entry that the store has listed, a piece at a time.
//!
//! Invariant: the bytes of an entry are a beginning of what the store has, so a piece counts only where the next one
//! belongs: one that is lost is asked for again, and one that is late or doubled changes nothing. The entries cannot
//! change meanwhile, for only the foreman of the open attempt writes, and it waits for them.

use super::foreman::Done;
use super::guard::Guard;
use super::ledger::{Listed, Opened, Piece, Want};

/// What was fetched so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    round: u32,
    state: Option<Got>,
    done: Vec<Got>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    listed: Listed,
    bytes: Vec<u8>,
}

impl Fetch {
    /// Nothing was, of this.
    pub(super) fn new(opened: Opened) -> Fetch {
        let got = |listed| Got { listed, bytes: Vec::new() };
        let Opened { round, state, done } = opened;
        Fetch { round, state: state.map(got), done: done.into_iter().map(got).collect() }
    }

    /// What to ask for next; nothing when all of it is here.
    pub(super) fn want(&self, most: u32) -> Option<Want> {
        let next = self.state.iter().chain(&self.done).find(|got| !got.is_whole())?;
        Some(Want { key: next.listed.key, from: next.bytes.len() as u64, most })
    }

    /// Takes a piece in, if it is the one that comes next; says whether it was.
    pub(super) fn take(&mut self, piece: Piece) -> bool {
        let next = self.state.iter_mut().chain(&mut self.done).find(|got| got.listed.key == piece.key);
        let Some(next) = next.filter(|next| !next.is_whole() && !piece.bytes.is_empty()) else {
            return false;
        };
        if piece.from != next.bytes.len() as u64 && Guard::PieceInPlace.stands() {
            return false;
        }
        next.bytes.extend(piece.bytes);
        true
    }

    /// The round, what it begins from, and what is done of it, when all of it is here.
    pub(super) fn whole(&mut self) -> Option<(u32, Option<Vec<u8>>, Vec<Done>)> {
        let missing = self.state.iter().chain(&self.done).any(|got| !got.is_whole());
        if missing && Guard::FetchWhole.stands() {
            return None;
        }
        let done = |got: Got| Done { nodes: got.listed.nodes, partial: got.bytes };
        let state = self.state.take().map(|got| got.bytes);
        Some((self.round, state, std::mem::take(&mut self.done).into_iter().map(done).collect()))
    }
}

impl Got {
    fn is_whole(&self) -> bool {
        self.bytes.len() as u64 >= self.listed.bytes
    }
}
