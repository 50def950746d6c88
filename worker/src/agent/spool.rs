//! The spool: what has begun on this host, and how it ended, for an agent that is started again.
//!
//! A log of the agent's says what begins and what is forgotten; each shepherd's process writes how what it held ended
//! ([`super::ends`]). Invariants: what begins is in the log before it begins; the end of something is in one of the logs
//! before anybody hears of it, and until it is forgotten. A host's start empties the spool; and a spool that was lost, with
//! what had begun, is told from the one before as a host's start is: its life is of the host's and a number of its own.

use super::ends;
use super::log::{self, Log};
use crate::state;
use muster_core::job::id::{Attempt, JobId, RunId};
use muster_core::protocol::message::Ending;
use muster_core::protocol::stamp::{AttemptId, Boot};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How long the agent's log may be before what is forgotten leaves it.
const LONG: u64 = 1 << 20;

/// What the agent writes.
#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    Begins(AttemptId),
    Ended(AttemptId, Box<Ending>),
    Forgotten(AttemptId),
}

/// The spool of one state directory, for its agent.
#[derive(Debug)]
pub(super) struct Spool {
    state: PathBuf,
    log: Log,
    life: Boot,
    /// What has begun and is not forgotten, and how it ended, if that was heard of by way of a log.
    held: BTreeMap<AttemptId, Option<Box<Ending>>>,
}

impl Spool {
    /// Opens it: made if it is not there, emptied if it is of another life of the host.
    ///
    /// # Errors
    /// What cannot be made or removed.
    pub(super) fn open(state: &Path, boot: Boot) -> std::result::Result<Spool, String> {
        let folder = state::folder(state, "spool")?;
        let mark = folder.join("boot");
        let told = |e: std::io::Error| {
            format!("cannot prepare {}: {e} (does this user own the state directory?)", folder.display())
        };
        let own = std::fs::read_to_string(&mark).ok().and_then(|text| own_number(&text, boot));
        let own = match own {
            Some(own) => own,
            None => {
                for entry in std::fs::read_dir(&folder).map_err(told)? {
                    std::fs::remove_file(entry.map_err(told)?.path()).map_err(told)?;
                }
                let mut bytes = [0; 8];
                getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|e| told(e.into()))?;
                let own = u64::from_le_bytes(bytes);
                let text = format!("{:016x} {own:016x}\n", boot.0);
                crate::receipt::write_atomically(&mark, &text).map_err(told)?;
                own
            }
        };
        let path = folder.join("agent");
        let mut held: BTreeMap<AttemptId, Option<Box<Ending>>> = BTreeMap::new();
        for entry in log::read::<Entry>(&path) {
            match entry {
                Entry::Begins(id) => drop(held.insert(id, None)),
                Entry::Ended(id, ending) => drop(held.insert(id, Some(ending))),
                Entry::Forgotten(id) => drop(held.remove(&id)),
            }
        }
        let log = Log::make(&path, entries(&held)).map_err(told)?;
        Ok(Spool { state: state.to_owned(), log, life: Boot(boot.0 ^ own), held })
    }

    /// Which life of the host it is of, and which spool in it.
    pub(super) fn life(&self) -> Boot {
        self.life
    }

    /// Writes that it begins, if that is not written.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn note(&mut self, id: AttemptId) -> Result<()> {
        if !self.held.contains_key(&id) {
            self.log.append(&Entry::Begins(id))?;
            self.held.insert(id, None);
        }
        Ok(())
    }

    /// Writes how something ended that no process held.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn save(&mut self, id: AttemptId, ending: &Ending) -> Result<()> {
        let ending = Box::new(ending.clone());
        self.held.insert(id, Some(ending.clone()));
        self.log.append(&Entry::Ended(id, ending))
    }

    /// How it ended, if that was written by somebody who has been heard of.
    pub(super) fn saved(&self, id: AttemptId) -> Option<Ending> {
        self.held.get(&id)?.as_deref().cloned()
    }

    /// Hears of what processes have written. What the dead have written is taken over.
    pub(super) fn hear(&mut self, lives: impl Fn(u32) -> bool) {
        for pid in ends::processes(&self.state) {
            if !lives(pid) {
                self.bury(pid);
                continue;
            }
            for (id, ending) in ends::of(&self.state, pid) {
                if let Some(held @ None) = self.held.get_mut(&id) {
                    *held = Some(Box::new(ending));
                }
            }
        }
    }

    /// Takes over what a dead process has written. Where that cannot be, it stays where it is.
    pub(super) fn bury(&mut self, pid: u32) {
        for (id, ending) in ends::of(&self.state, pid) {
            if self.held.contains_key(&id) && self.save(id, &ending).is_err() {
                return;
            }
        }
        ends::remove(&self.state, pid);
        let _ = std::fs::remove_file(script(&self.state, pid));
    }

    /// Forgets it.
    pub(super) fn remove(&mut self, id: AttemptId) {
        if self.held.remove(&id).is_some() {
            // If it is not written: who comes next hears of it once more, and forgets it again.
            let _ = self.log.append(&Entry::Forgotten(id));
        }
        if self.log.bytes() > LONG {
            let _ = self.log.rewrite(entries(&self.held));
        }
    }

    /// All that has begun and is not forgotten, ascending.
    pub(super) fn held(&self) -> Vec<AttemptId> {
        self.held.keys().copied().collect()
    }
}

/// The number of the spool, if it is of this life of the host.
fn own_number(text: &str, boot: Boot) -> Option<u64> {
    let (of, own) = text.trim_end().split_once(' ')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    (number(of)? == boot.0).then_some(number(own)?)
}

fn entries(held: &BTreeMap<AttemptId, Option<Box<Ending>>>) -> impl Iterator<Item = Entry> {
    held.iter().map(|(id, ending)| match ending {
        Some(ending) => Entry::Ended(*id, ending.clone()),
        None => Entry::Begins(*id),
    })
}

/// Has what is in a folder be its owner's alone.
///
/// # Errors
/// When it cannot be.
pub(super) fn lock_up(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let mode = if kind.is_dir() { 0o700 } else { 0o600 };
        if kind.is_dir() || kind.is_file() {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Makes a folder through which others may pass, and in which they see nothing.
///
/// # Errors
/// When it cannot be made so.
pub(super) fn passage(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))
}

/// Where the script lies that a shepherd's process runs.
pub(super) fn script(state: &Path, pid: u32) -> PathBuf {
    state.join("spool").join(format!("{pid}.script"))
}

/// `12_3.2`: digits and two signs alone.
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
    use super::super::ends::Ends;
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
        let mut spool = Spool::open(scratch.path(), Boot(1)).unwrap();
        let (one, two, three) = (id(7, None), id(12, Some(3)), id(12, Some(4)));
        let saved = Ending {
            how: Ended::Exited(Outcome::Failed(3)),
            usage: Usage { user_ms: 5, ..Usage::default() },
            why: Some("the directory is not there".into()),
        };
        [one, two, three].into_iter().for_each(|id| spool.note(id).unwrap());
        let mut ends = Ends::make(scratch.path()).unwrap();
        ends.save(two, saved.clone()).unwrap();
        spool.save(three, &Ending::bare(Ended::Killed)).unwrap();
        let mut again = Spool::open(scratch.path(), Boot(1)).unwrap();
        assert_eq!((again.held(), again.saved(two)), (vec![one, two, three], None));
        again.hear(|_| true);
        let killed = Some(*Ending::bare(Ended::Killed));
        assert_eq!(
            (again.saved(one), again.saved(two), again.saved(three)),
            (None, Some(saved.clone()), killed)
        );
        again.remove(one);
        // What a dead process has written is the agent's from then on.
        again.hear(|_| false);
        let after = Spool::open(scratch.path(), Boot(1)).unwrap();
        assert_eq!((after.held(), after.saved(two)), (vec![two, three], Some(saved)));
        let next = Spool::open(scratch.path(), Boot(2)).unwrap();
        assert_eq!((next.held(), next.life() == after.life()), (vec![], false));
    }

    #[test]
    fn a_spool_that_was_lost_is_another() {
        let scratch = Scratch::new("spool-lost");
        let life = || Spool::open(scratch.path(), Boot(1)).unwrap().life();
        let (first, again) = (life(), life());
        std::fs::remove_dir_all(scratch.path().join("spool")).unwrap();
        assert_eq!((first == again, first == life()), (true, false));
    }

    #[test]
    fn what_is_forgotten_leaves_a_long_log() {
        let scratch = Scratch::new("spool-long");
        let mut spool = Spool::open(scratch.path(), Boot(1)).unwrap();
        spool.note(id(1, None)).unwrap();
        for element in 0..40_000 {
            spool.note(id(2, Some(element))).unwrap();
            spool.remove(id(2, Some(element)));
        }
        assert!(spool.log.bytes() < LONG);
        assert_eq!(Spool::open(scratch.path(), Boot(1)).unwrap().held(), [id(1, None)]);
    }

    #[test]
    fn other_names_are_no_attempts() {
        for text in ["boot", "1", "1.2.script", "1_2", "01.2", "+1.2", "1_.2", "../1.2", "1.x"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("12_3.2"), Some(id(12, Some(3))));
    }
}
