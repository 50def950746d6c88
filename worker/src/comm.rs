//! How the ranks of a team talk: one trait, implemented by threads here and by MPI in `muster-rank`. The team's code
//! is the same over both.

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Why a message could not be sent or received. The team cannot go on; the foreman starts the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed: {why}")]
pub struct CommError {
    /// The call that failed, such as `MPI_Isend`.
    pub call: &'static str,
    /// What it said.
    pub why: String,
}

/// A rank's connection to the others. Used by the rank's main thread only.
pub trait Comm {
    /// This rank, `0..size`.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Sends `bytes` to rank `to`, without waiting for it. Messages between two ranks arrive in order.
    ///
    /// # Errors
    /// When the transport fails.
    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<(), CommError>;

    /// The next message that has arrived, and who sent it; never waits.
    ///
    /// # Errors
    /// When the transport fails.
    fn poll(&mut self) -> Result<Option<(usize, Vec<u8>)>, CommError>;
}

/// A team of threads of one process.
pub struct ThreadComm {
    rank: usize,
    to: Vec<Sender<(usize, Vec<u8>)>>,
    from: Receiver<(usize, Vec<u8>)>,
}

impl ThreadComm {
    /// The connections of `size` ranks.
    pub fn team(size: usize) -> Vec<ThreadComm> {
        let (to, from): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded()).unzip();
        from.into_iter().enumerate().map(|(rank, from)| ThreadComm { rank, to: to.clone(), from }).collect()
    }
}

impl Comm for ThreadComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<(), CommError> {
        let gone = || CommError { call: "send", why: format!("rank {to} has ended") };
        self.to[to].send((self.rank, bytes)).map_err(|_| gone())
    }

    fn poll(&mut self) -> Result<Option<(usize, Vec<u8>)>, CommError> {
        Ok(self.from.try_recv().ok())
    }
}
