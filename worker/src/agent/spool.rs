//! The spool: what has begun on this host, and how it ended, for an agent that is started again.
//!
//! One file for each attempt: a frame that is there before it begins, and a second one with its outcome. An append of
//! one frame is whole or, at a full disk, no frame. Nothing is synced: the spool outlives processes, and a host's start
//! empties it, since nothing runs any more then.

use super::frame::{self, Inbox};
use crate::state;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::protocol::message::Ending;
use muster_core::protocol::stamp::{AttemptId, Boot};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The spool of one state directory.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// The spool of a state directory, for a shepherd.
    pub(super) fn of(state: &Path) -> Spool {
        Spool { folder: state.join("spool") }
    }

    /// The same, for the agent: made if it is not there, emptied if it is of another life of the host.
    ///
    /// # Errors
    /// What cannot be made or removed.
    pub(super) fn open(state: &Path, boot: Boot) -> Result<Spool, String> {
        let folder = state::folder(state, "spool")?;
        let (mark, text) = (folder.join("boot"), format!("{:016x}\n", boot.0));
        let told = |e: std::io::Error| {
            format!("cannot prepare {}: {e} (does this user own the state directory?)", folder.display())
        };
        if std::fs::read_to_string(&mark).is_ok_and(|old| old == text) {
            return Ok(Spool { folder });
        }
        for entry in std::fs::read_dir(&folder).map_err(told)? {
            std::fs::remove_file(entry.map_err(told)?.path()).map_err(told)?;
        }
        crate::receipt::write_atomically(&mark, &text).map_err(told)?;
        Ok(Spool { folder })
    }

    /// Writes that it begins.
    pub(super) fn note(&self, id: AttemptId) -> std::io::Result<()> {
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.entry(id));
        open?.write_all(&frame::bytes(&id)?)
    }

    /// Writes how it ended.
    pub(super) fn save(&self, id: AttemptId, ending: &Ending) -> std::io::Result<()> {
        let open = OpenOptions::new().append(true).open(self.entry(id));
        open?.write_all(&frame::bytes(ending)?)
    }

    /// How it ended, if that was written.
    pub(super) fn saved(&self, id: AttemptId) -> Option<Ending> {
        let bytes = std::fs::read(self.entry(id)).ok()?;
        let (mut inbox, mut rest) = (Inbox::default(), &bytes[..]);
        while inbox.fill(&mut rest).ok()? {}
        inbox.next::<AttemptId>().ok()??;
        inbox.next().ok()?
    }

    /// Forgets it.
    pub(super) fn remove(&self, id: AttemptId) {
        let _ = std::fs::remove_file(self.entry(id));
        let _ = std::fs::remove_file(self.script(id));
    }

    /// All that has begun and is not forgotten, ascending.
    pub(super) fn held(&self) -> Vec<AttemptId> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut out: Vec<AttemptId> = entries.filter_map(|e| parse(e.file_name().to_str()?)).collect();
        out.sort_unstable();
        out
    }

    /// Where its script lies.
    pub(super) fn script(&self, id: AttemptId) -> PathBuf {
        self.folder.join(format!("{}.script", name(id)))
    }

    fn entry(&self, id: AttemptId) -> PathBuf {
        self.folder.join(name(id))
    }
}

/// `12_3.2`: digits and two signs alone, so it names a file of the spool and nothing else.
fn name(id: AttemptId) -> String {
    format!("{}.{}", id.run, id.attempt.0)
}

/// The attempt of this name.
pub(super) fn parse(text: &str) -> Option<AttemptId> {
    let (run, attempt) = text.split_once('.')?;
    let (job, element) = match run.split_once('_') {
        Some((job, element)) => (job, Some(element.parse().ok()?)),
        None => (run, None),
    };
    let run = RunId { job: JobId(job.parse().ok()?), element };
    let id = AttemptId { run, attempt: Attempt(attempt.parse().ok()?) };
    (name(id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use muster_core::job::outcome::Outcome;
    use muster_core::job::usage::Usage;
    use muster_core::protocol::message::Ended;

    fn id(job: u32, element: Option<u32>) -> AttemptId {
        AttemptId { run: RunId { job: JobId(job), element }, attempt: Attempt(2) }
    }

    #[test]
    fn what_is_written_is_found_until_the_host_starts_again() {
        let scratch = Scratch::new("spool");
        let spool = Spool::open(scratch.path(), Boot(1)).unwrap();
        let (one, two) = (id(7, None), id(12, Some(3)));
        let saved = Ending {
            how: Ended::Exited(Outcome::Failed(3)),
            usage: Usage { user_ms: 5, ..Usage::default() },
            why: Some("the directory is not there".into()),
        };
        spool.note(one).unwrap();
        spool.note(two).unwrap();
        assert!(spool.note(two).is_err(), "it begins once");
        spool.save(two, &saved).unwrap();
        std::fs::write(spool.script(two), "#!/bin/sh\n").unwrap();
        let again = Spool::open(scratch.path(), Boot(1)).unwrap();
        assert_eq!(again.held(), [one, two]);
        assert_eq!((again.saved(one), again.saved(two)), (None, Some(saved)));
        again.remove(one);
        assert_eq!(again.held(), [two]);
        assert_eq!(Spool::open(scratch.path(), Boot(2)).unwrap().held(), []);
        assert!(!spool.script(two).exists());
    }

    #[test]
    fn an_outcome_that_was_cut_off_is_none() {
        let scratch = Scratch::new("spool-cut");
        let spool = Spool::open(scratch.path(), Boot(1)).unwrap();
        let saved = Ending::bare(Ended::Killed);
        spool.note(id(1, None)).unwrap();
        let noted = std::fs::metadata(spool.entry(id(1, None))).unwrap().len();
        spool.save(id(1, None), &saved).unwrap();
        let whole = std::fs::read(spool.entry(id(1, None))).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(spool.entry(id(1, None)), &whole[..cut]).unwrap();
            assert_eq!(spool.saved(id(1, None)), None, "cut at {cut}, noted {noted}");
            assert_eq!(spool.held(), [id(1, None)]);
        }
    }

    #[test]
    fn other_names_are_no_attempts() {
        for text in ["boot", "1", "1.2.script", "1_2", "01.2", "+1.2", "1_.2", "../1.2", "1.x"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("12_3.2"), Some(id(12, Some(3))));
    }
}
