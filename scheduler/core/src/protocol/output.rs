//! The output of a job whose submit directory is not on its host: how it comes back, piece by piece.
//!
//! Part of step 7 of a job's way (DESIGN section 4). The host that runs the job sends to the pool, and the pool to the host
//! where the job was submitted: the same value, [`Sender`], on both ways. Invariants: a piece says where it belongs, and
//! whoever takes it says up to where it has all, so loss, doubling and order do not matter; of a stream one piece at a
//! time is on its way, so memory is bounded by their number.

use super::stamp::AttemptId;
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// The most bytes of a piece.
pub const MOST_PIECE: u64 = 64 << 10;

/// After how long without an answer a piece is sent again, milliseconds.
pub const SAY_AGAIN_MS: i64 = 2_000;

/// Which of a job's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Its standard output, and standard error where that is not apart.
    Output,
    /// Its standard error, where that is a file of its own.
    Error,
}

impl Stream {
    /// What the names of files end with that it is kept in.
    pub fn ending(self) -> &'static str {
        match self {
            Stream::Output => "out",
            Stream::Error => "err",
        }
    }
}

/// A stream of an attempt.
pub type StreamId = (AttemptId, Stream);

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Of which.
    pub stream: StreamId,
    /// Its first byte.
    pub from: u64,
    /// At most [`MOST_PIECE`].
    pub bytes: Vec<u8>,
    /// Whether nothing comes after it.
    pub whole: bool,
}

/// What has been taken of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Had {
    /// Of which.
    pub stream: StreamId,
    /// All before this byte.
    pub upto: u64,
    /// Whether that is all of it, or no more is wanted.
    pub whole: bool,
}

/// A piece, and the file that it is of, on the host where its job was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The piece.
    pub sent: Sent,
    /// The file.
    pub file: OutputFile,
}

/// A file that a job writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Where it is.
    pub path: String,
    /// Whether what is there before the attempt begins stays.
    pub append: bool,
    /// The mode of a new file.
    pub mode: u32,
    /// Whose job it is: in a pool of many users, with whose rights it is written.
    pub user: String,
}

/// What the host where a job was submitted has of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// What it has.
    pub had: Had,
    /// Why it cannot write the file: it wants no more.
    pub why: Option<String>,
}

impl Sent {
    /// What is new of it for whoever has all before `upto`; none where something before it is missing.
    pub fn news(&self, upto: u64) -> Option<&[u8]> {
        let known = usize::try_from(upto.checked_sub(self.from)?).ok()?;
        self.bytes.get(known..)
    }

    /// Whether it ends the stream, for whoever has all before `upto`.
    pub fn ends(&self, upto: u64) -> bool {
        self.whole && self.from + self.bytes.len() as u64 <= upto
    }
}

/// What is sent of a stream, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    size: u64,
    over: bool,
    upto: u64,
    /// Since when an answer is waited for.
    asked: Option<Time>,
    /// Whether anything was answered yet.
    known: bool,
    done: bool,
}

/// A piece that is to be sent: its first byte, its length, and whether it is the last.
pub type Range = (u64, u64, bool);

impl Sender {
    /// So many bytes are there.
    pub fn grows(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// No more will be.
    pub fn ends(&mut self) {
        self.over = true;
    }

    /// The other side has all before `upto`, which may be less than was thought, and may want no more.
    pub fn heard(&mut self, upto: u64, whole: bool) {
        (self.upto, self.asked, self.known) = (upto, None, true);
        self.done |= whole;
    }

    /// Whether no more will be there.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether an answer is waited for.
    pub fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// Up to where the other side has all.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// Whether the other side has all, or wants no more.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// When it has something to say again.
    pub fn wake(&self) -> Time {
        self.asked.filter(|_| !self.done).map_or(Time::NEVER, |asked| asked.after(SAY_AGAIN_MS))
    }

    /// What is to be sent now. The first piece says that there is a stream, though it may be empty.
    pub fn next(&mut self, now: Time) -> Option<Range> {
        let news = !self.known || self.size > self.upto || self.over;
        if self.done || !news || self.asked.is_some() && now < self.wake() {
            return None;
        }
        self.asked = Some(now);
        let length = self.size.saturating_sub(self.upto).min(MOST_PIECE);
        Some((self.upto, length, self.over && self.upto + length >= self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::id::{Attempt, JobId, RunId};
    use proptest::prelude::*;

    fn stream() -> StreamId {
        (AttemptId { run: RunId { job: JobId(7), element: None }, attempt: Attempt(1) }, Stream::Output)
    }

    fn piece(text: &[u8], (from, length, whole): Range) -> Sent {
        let bytes = text[from as usize..(from + length) as usize].to_vec();
        Sent { stream: stream(), from, bytes, whole }
    }

    #[test]
    fn an_empty_stream_is_told_of_twice() {
        let mut sender = Sender::default();
        assert_eq!(sender.next(Time(0)), Some((0, 0, false)), "it is there");
        assert_eq!((sender.next(Time(1)), sender.wake()), (None, Time(SAY_AGAIN_MS)));
        sender.heard(0, false);
        assert_eq!((sender.next(Time(2)), sender.wake()), (None, Time::NEVER));
        sender.ends();
        assert_eq!(sender.next(Time(3)), Some((0, 0, true)));
        assert_eq!(sender.next(Time(3 + SAY_AGAIN_MS)), Some((0, 0, true)), "until it is heard");
        sender.heard(0, true);
        assert_eq!((sender.next(Time(9_999)), sender.is_done()), (None, true));
    }

    #[test]
    fn news_are_what_is_not_known() {
        let sent = Sent { stream: stream(), from: 4, bytes: b"456".to_vec(), whole: true };
        assert_eq!(sent.news(3), None);
        assert_eq!(sent.news(4), Some(&b"456"[..]));
        assert_eq!(sent.news(6), Some(&b"6"[..]));
        assert_eq!(sent.news(7), Some(&b""[..]));
        assert_eq!(sent.news(8), None);
        assert_eq!((sent.ends(6), sent.ends(7)), (false, true));
    }

    /// What becomes of a message.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Lost,
        AnswerLost,
        Late,
        Heard,
        /// The other side forgets what it has had lately.
        Crash,
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            Just(Fate::Lost),
            Just(Fate::AnswerLost),
            Just(Fate::Late),
            Just(Fate::Heard),
            Just(Fate::Crash)
        ]
    }

    proptest! {
        #[test]
        fn a_line_that_loses_carries_all(
            length in 0usize..300_000,
            fates in proptest::collection::vec(fate(), 0..60),
        ) {
            let text: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let (mut sender, mut there, mut late) = (Sender::default(), Vec::new(), Vec::new());
            let (mut now, mut fates) = (Time(0), fates.into_iter());
            for round in 0.. {
                prop_assert!(round < 1_000, "it comes to an end");
                sender.grows((round as u64 * 40_000).min(length as u64));
                if round * 40_000 >= length {
                    sender.ends();
                }
                now = now.after(SAY_AGAIN_MS);
                let Some(range) = sender.next(now) else {
                    if sender.is_done() { break } else { continue }
                };
                let fate = fates.next().unwrap_or(Fate::Heard);
                let sent = piece(&text, range);
                if let Fate::Crash = fate {
                    there.truncate(there.len() / 2);
                }
                if let Fate::Late = fate {
                    late.push(sent);
                    continue;
                }
                if let Fate::Lost = fate {
                    continue;
                }
                for sent in late.drain(..).chain([sent]) {
                    if let Some(news) = sent.news(there.len() as u64) {
                        there.extend_from_slice(news);
                    }
                    if !matches!(fate, Fate::AnswerLost) {
                        sender.heard(there.len() as u64, sent.ends(there.len() as u64));
                    }
                }
            }
            prop_assert_eq!(there, text);
        }
    }
}
