//! Output that comes back to this host, where its job was submitted: written into the files that the job names.
//!
//! Part of step 7 of a job's way (DESIGN section 4). Invariants: the pool says which file, by what was submitted, and
//! nobody else; a file is truncated once for an attempt, when its first piece comes, whoever dies meanwhile; a piece that
//! comes again, or of an attempt before the one that is known, changes nothing.

use super::guise::{User, Users};
use crate::state;
use crate::streams::{Care, Opening, open_output};
use muster_core::job::id::RunId;
use muster_core::protocol::output::{Delivered, Delivery, Had, OutputFile, Stream};
use muster_core::protocol::stamp::AttemptId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How many files are held open.
const MOST_OPEN: usize = 64;
/// How long is remembered what is all there: the pool may not have heard it yet.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    id: AttemptId,
    /// All before this byte of the stream is written.
    upto: u64,
    whole: bool,
    /// What is appended now: the length of the file before it, and how much.
    appends: Option<(u64, u64)>,
    why: Option<String>,
}

/// The files that output comes back into.
pub(super) struct Returned {
    folder: PathBuf,
    users: Users,
    open: BTreeMap<(RunId, Stream), (Note, Option<File>)>,
}

impl Returned {
    /// Goes on from what a state directory knows of.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub(super) fn open(state: &Path, users: Users) -> std::result::Result<Returned, String> {
        let folder = state::folder(state, "returned")?;
        let now = SystemTime::now();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > REMEMBERED);
            let is_over = || read(&entry.path()).is_none_or(|note| note.whole);
            if entry.metadata().and_then(|meta| meta.modified()).is_ok_and(old) && is_over() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(Returned { folder, users, open: BTreeMap::new() })
    }

    /// Writes a piece, if it is the next one, and says what is written.
    pub(super) fn take(&mut self, delivery: &Delivery) -> Delivered {
        let stream = delivery.sent.stream;
        let key = (stream.0.run, stream.1);
        let (mut note, file) = match self.open.remove(&key) {
            Some(known) => known,
            None => (self.known(key).unwrap_or_else(|| Note::new(stream.0)), None),
        };
        if note.id.attempt > stream.0.attempt {
            // The one that came after it has the file.
            let had = Had { stream, upto: 0, whole: true };
            self.open.insert(key, (note, file));
            return Delivered { had, why: None };
        }
        let (again, file) = if note.id.attempt == stream.0.attempt {
            (self.known(key).is_some(), file)
        } else {
            note = Note::new(stream.0);
            (false, None)
        };
        let file = self.write(&mut note, delivery, (again, file));
        let had = Had { stream, upto: note.upto, whole: note.whole };
        let why = note.why.clone();
        if self.open.len() >= MOST_OPEN {
            self.open.pop_first();
        }
        self.open.insert(key, (note, file));
        Delivered { had, why }
    }

    fn write(&self, note: &mut Note, of: &Delivery, (again, file): (bool, Option<File>)) -> Option<File> {
        let (sent, key) = (&of.sent, (of.sent.stream.0.run, of.sent.stream.1));
        if note.whole {
            return None;
        }
        let known = |note: &Note| sent.news(note.upto).is_none_or(<[u8]>::is_empty) && !sent.ends(note.upto);
        if again && note.appends.is_none() && known(note) {
            return file;
        }
        let opened = file.map_or_else(|| self.open_as(&of.file, again), Ok);
        let written = opened.and_then(|file| {
            let told = |e: std::io::Error| format!("cannot write {}: {e}", of.file.path);
            let append = of.file.append;
            if append {
                finish(note, &file).map_err(told)?;
            }
            let news = sent.news(note.upto).unwrap_or_default();
            if append && !news.is_empty() {
                note.appends = Some((file.metadata().map_err(told)?.len(), news.len() as u64));
                self.keep(key, note).map_err(told)?;
                (&file).write_all(news).map_err(told)?;
                note.appends = None;
            } else {
                file.write_all_at(news, note.upto).map_err(told)?;
            }
            note.upto += news.len() as u64;
            note.whole = sent.ends(note.upto);
            self.keep(key, note).map_err(told)?;
            Ok(file)
        });
        match written {
            Ok(file) => Some(file).filter(|_| !note.whole),
            Err(why) => {
                (note.whole, note.why) = (true, Some(why));
                let _ = self.keep(key, note);
                None
            }
        }
    }

    /// Opens a file with the rights of whose job it is.
    fn open_as(&self, file: &OutputFile, again: bool) -> std::result::Result<File, String> {
        if self.users == Users::Own {
            return open(file, again);
        }
        let told = |e: std::io::Error| format!("cannot write {}: {e}", file.path);
        User::named(&file.user)?.act(|| open(file, again)).map_err(told)?
    }

    fn keep(&self, key: (RunId, Stream), note: &Note) -> Result<()> {
        let text = serde_json::to_string(note).map_err(std::io::Error::other)?;
        // Whole when this process is killed; it need not outlive the machine.
        let path = self.path(key);
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &path))
    }

    fn known(&self, key: (RunId, Stream)) -> Option<Note> {
        read(&self.path(key))
    }

    fn path(&self, (run, stream): (RunId, Stream)) -> PathBuf {
        self.folder.join(format!("{run}.{}", stream.ending()))
    }
}

impl Note {
    fn new(id: AttemptId) -> Note {
        Note { id, upto: 0, whole: false, appends: None, why: None }
    }
}

fn read(path: &Path) -> Option<Note> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// What an agent before this one was about to append is there, in part, or is not.
fn finish(note: &mut Note, file: &File) -> Result<()> {
    if let Some((before, length)) = note.appends.take() {
        note.upto += file.metadata()?.len().saturating_sub(before).min(length);
    }
    Ok(())
}

/// Opens a file: truncated, unless that was done for this attempt, or what is there is to stay.
fn open(file: &OutputFile, again: bool) -> std::result::Result<File, String> {
    let path = Path::new(&file.path);
    if !again {
        let opening = Opening { append: file.append, care: Care::Careful, mode: file.mode };
        return open_output(path, opening);
    }
    let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let mut how = OpenOptions::new();
    how.write(true).append(file.append).create(true).mode(file.mode).custom_flags(flags);
    how.open(path).map_err(|e| format!("cannot write {}: {e}", file.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use muster_core::job::id::{Attempt, JobId};
    use muster_core::protocol::output::Sent;

    fn piece(path: &Path, attempt: u32, (from, text, whole): (u64, &str, bool)) -> Delivery {
        let run = RunId { job: JobId(3), element: None };
        let id = AttemptId { run, attempt: Attempt(attempt) };
        let sent = Sent { stream: (id, Stream::Output), from, bytes: text.as_bytes().to_vec(), whole };
        let path = path.to_str().unwrap().to_owned();
        Delivery { sent, file: OutputFile { path, append: false, mode: 0o640, user: "ada".into() } }
    }

    fn appended(path: &Path, attempt: u32, piece_of: (u64, &str, bool)) -> Delivery {
        let mut delivery = piece(path, attempt, piece_of);
        delivery.file.append = true;
        delivery
    }

    #[test]
    fn pieces_are_written_once_whoever_dies() {
        let scratch = Scratch::new("returned");
        let path = scratch.path().join("out");
        std::fs::write(&path, "of a job before").unwrap();
        let mut there = Returned::open(scratch.path(), Users::Own).unwrap();
        assert_eq!(there.take(&piece(&path, 1, (5, "later", false))).had.upto, 0);
        assert_eq!(there.take(&piece(&path, 1, (0, "hello", false))).had.upto, 5);
        // Another agent goes on.
        let mut there = Returned::open(scratch.path(), Users::Own).unwrap();
        assert_eq!(there.take(&piece(&path, 1, (0, "hello", false))).had.upto, 5);
        let had = there.take(&piece(&path, 1, (3, "lo, world", true))).had;
        assert_eq!((had.upto, had.whole), (12, true));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello, world");
        let mut there = Returned::open(scratch.path(), Users::Own).unwrap();
        assert!(there.take(&piece(&path, 1, (3, "lo, world", true))).had.whole, "it is remembered");
        // The next attempt begins anew, and the one before is not heard any more.
        assert_eq!(there.take(&piece(&path, 2, (0, "again", false))).had.upto, 5);
        assert!(there.take(&piece(&path, 1, (0, "HELLO", false))).had.whole);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "again");
    }

    #[test]
    fn what_is_there_stays_where_that_is_asked_for() {
        let scratch = Scratch::new("returned-append");
        let path = scratch.path().join("out");
        std::fs::write(&path, "before;").unwrap();
        let mut there = Returned::open(scratch.path(), Users::Own).unwrap();
        there.take(&appended(&path, 1, (0, "one", false)));
        let mut there = Returned::open(scratch.path(), Users::Own).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"|other|").unwrap();
        assert_eq!(there.take(&appended(&path, 1, (0, "one", false))).had.upto, 3);
        assert!(there.take(&appended(&path, 1, (3, "two", true))).had.whole);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before;one|other|two");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_of() {
        let scratch = Scratch::new("returned-nowhere");
        let mut there = Returned::open(scratch.path(), Users::Own).unwrap();
        let told = there.take(&piece(&scratch.path().join("no/out"), 1, (0, "x", false)));
        assert!(told.had.whole && told.why.unwrap().contains("no/out"));
    }
}
