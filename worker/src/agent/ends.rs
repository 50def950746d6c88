//! How what one shepherd's process held ended: a log of its own on the spool, from which an agent that was not there
//! hears of it.
//!
//! Invariant: an end stays there until the agent has let it go, or has taken it over from a process that is dead. A host may
//! be lent to a kernel step again: the end of the time before is none of the next.

use super::log::{self, Log};
use muster_core::protocol::message::Ending;
use muster_core::protocol::stamp::AttemptId;
use std::collections::BTreeMap;
use std::io::Result;
use std::path::{Path, PathBuf};

/// How long the log may be before what was let go leaves it.
const LONG: u64 = 128 << 10;

/// The ends of one process.
#[derive(Debug)]
pub(super) struct Ends {
    log: Log,
    kept: BTreeMap<AttemptId, Ending>,
}

impl Ends {
    /// None yet, of this process.
    ///
    /// # Errors
    /// When the log cannot be made.
    pub(super) fn make(state: &Path) -> std::result::Result<Ends, String> {
        let path = path(state, std::process::id());
        let none: [(AttemptId, Ending); 0] = [];
        let log = Log::make(&path, none).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(Ends { log, kept: BTreeMap::new() })
    }

    /// Writes how something ended.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn save(&mut self, id: AttemptId, ending: Ending) -> Result<()> {
        self.log.append(&(id, Some(&ending)))?;
        self.kept.insert(id, ending);
        if self.log.bytes() > LONG {
            self.log.rewrite(self.kept.iter().map(|(id, ending)| (id, Some(ending))))?;
        }
        Ok(())
    }

    /// Writes that something begins that may have ended here before.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn begins_again(&mut self, id: AttemptId) -> Result<()> {
        self.kept.remove(&id);
        self.log.append(&(id, None::<Ending>))
    }

    /// The agent has let it go.
    pub(super) fn forget(&mut self, id: AttemptId) {
        self.kept.remove(&id);
    }
}

/// The ends that a process has written, each the last.
pub(super) fn of(state: &Path, pid: u32) -> BTreeMap<AttemptId, Ending> {
    let mut all = BTreeMap::new();
    for (id, ending) in log::read::<(AttemptId, Option<Ending>)>(&path(state, pid)) {
        match ending {
            Some(ending) => drop(all.insert(id, ending)),
            None => drop(all.remove(&id)),
        }
    }
    all
}

/// Removes what a dead process has written.
pub(super) fn remove(state: &Path, pid: u32) {
    let _ = std::fs::remove_file(path(state, pid));
}

/// The processes, dead or alive, whose ends are there.
pub(super) fn processes(state: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(state.join("spool")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".ends")?.parse().ok()).collect()
}

fn path(state: &Path, pid: u32) -> PathBuf {
    state.join("spool").join(format!("{pid}.ends"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use muster_core::job::id::{Attempt, JobId, RunId};
    use muster_core::protocol::message::Ended;

    #[test]
    fn what_was_let_go_leaves_a_long_log() {
        let scratch = Scratch::new("ends");
        std::fs::create_dir(scratch.path().join("spool")).unwrap();
        let mut ends = Ends::make(scratch.path()).unwrap();
        let id =
            |element| AttemptId { run: RunId { job: JobId(1), element: Some(element) }, attempt: Attempt(1) };
        for element in 0..20_000 {
            ends.save(id(element), *Ending::bare(Ended::Killed)).unwrap();
            if element > 0 {
                ends.forget(id(element));
            }
        }
        let me = std::process::id();
        let written = of(scratch.path(), me);
        assert!(written.len() < 20_000 && ends.log.bytes() <= LONG, "{} entries", written.len());
        assert!(written.contains_key(&id(0)), "what was not let go is there");
        ends.begins_again(id(0)).unwrap();
        assert!(!of(scratch.path(), me).contains_key(&id(0)), "it has not ended this time");
        ends.save(id(0), *Ending::bare(Ended::LeaseEnded)).unwrap();
        assert_eq!(of(scratch.path(), me)[&id(0)].how, Ended::LeaseEnded);
        assert_eq!(processes(scratch.path()), [me]);
        remove(scratch.path(), me);
        assert_eq!(of(scratch.path(), me), BTreeMap::new());
    }
}
