//! The law of every shell: outputs are performed in order, and nothing after a record is performed before the record
//! is on disk.
//!
//! Invariant: what [`Outbox::push`] and [`Outbox::persisted`] hand out is, put together, what was pushed, in order, and
//! at no time goes beyond a record that is not on disk.

use super::guard::Guard;
use std::collections::VecDeque;

/// What waits for the disk.
#[derive(Clone, Debug)]
pub struct Outbox<O> {
    waiting: VecDeque<(u64, O)>,
    /// How many records have been handed to the disk.
    written: u64,
    /// How many of them are on it.
    synced: u64,
}

impl<O> Default for Outbox<O> {
    fn default() -> Self {
        Outbox { waiting: VecDeque::new(), written: 0, synced: 0 }
    }
}

impl<O> Outbox<O> {
    /// Notes that so many records more were handed to the disk: what is pushed from now on waits for them.
    pub fn wrote(&mut self, records: u64) {
        self.written += records;
    }

    /// Adds an output, and hands out what may be performed now.
    pub fn push(&mut self, output: O) -> Vec<O> {
        self.waiting.push_back((self.written, output));
        self.ready()
    }

    /// The first `upto` records are on disk, counted from the first: hands out what waited for them.
    pub fn persisted(&mut self, upto: u64) -> Vec<O> {
        self.synced = self.synced.max(upto);
        self.ready()
    }

    fn ready(&mut self) -> Vec<O> {
        let all = !Guard::DurableFirst.stands();
        let ready = self.waiting.iter().take_while(|(after, _)| all || *after <= self.synced).count();
        self.waiting.drain(..ready).map(|(_, output)| output).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_a_record() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push("a"), ["a"]);
        outbox.wrote(2);
        assert_eq!(outbox.push("b"), [""; 0]);
        outbox.wrote(1);
        assert_eq!(outbox.push("c"), [""; 0]);
        assert_eq!(outbox.persisted(1), [""; 0], "the second record is not on disk");
        assert_eq!(outbox.persisted(2), ["b"]);
        assert_eq!(outbox.persisted(1), [""; 0], "a late word takes nothing back");
        assert_eq!(outbox.push("d"), [""; 0]);
        assert_eq!(outbox.persisted(3), ["c", "d"]);
    }
}
