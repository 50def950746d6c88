//! The ledger: the durable record of which blocks of a kernel step are done, with their partials.
//!
//! Step 8 of a job's way (DESIGN section 4) leaves its traces here. A checksummed log in a folder of its own, locked
//! against a second foreman. Each frame is one [`Commit`]; a torn tail is cut off, and its blocks are computed again.
//! State is the fold of the frames ([`Book::apply`]), and no block lies in two live records: exactly once by
//! construction. The first commit of a round of an iterating kernel carries the round's state and ends the rounds before
//! it, whose records go when the log is compacted.

use crate::wire::{Commit, LeafRun, Record, decode, encode};
use muster_kernels::Input;
use muster_kernels::hash::{Hash16, first16};
use muster_spec::{BlockSet, Class, Grid, Node};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"MUSTLGR\n";
const VERSION: u32 = 2;
const LOG: &str = "ledger.log";
const LOCK: &str = "lock";
/// The largest log; beyond it nothing more is appended, and a kill costs what came after.
const MAX_BYTES: u64 = 16 << 30;
/// Below this size a log is not worth compacting.
const COMPACT_BYTES: u64 = 1 << 20;

/// What a ledger belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The kernel's name.
    pub kernel: String,
    /// Its arithmetic class.
    pub class: Class,
    /// The part of the resolved spec that names the job, as canonical JSON.
    pub spec_json: String,
    /// How the index space is cut.
    pub grid: Grid,
    /// The files as they were when the step began.
    pub inputs: Vec<Input>,
    /// The hash of the program, where the kernel is a user's own: other code may give other partials.
    pub program: Option<String>,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another foreman has it.
    #[error(
        "another muster (process {holder}) is computing this job; wait for it, or give --no-ledger to compute it twice"
    )]
    Locked {
        /// The process, as the lock file says.
        holder: String,
    },
    /// The operating system's refusal.
    #[error("cannot {doing} {path}: {why}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        why: std::io::Error,
    },
    /// Not a ledger of this version.
    #[error(
        "{path} is not a ledger that this version of muster reads: {why}; `muster ledger prune {key}` removes it"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
        /// The name of the ledger.
        key: String,
    },
    /// Another job's ledger.
    #[error("{path} belongs to another job ({why}); `muster ledger prune {key}` removes it")]
    OtherJob {
        /// The file.
        path: PathBuf,
        /// What differs.
        why: String,
        /// The name of the ledger.
        key: String,
    },
    /// Another build of a user's program.
    #[error(
        "the work in the ledger was done by another build of this program; --fresh starts again from nothing"
    )]
    OtherBuild,
    /// An input is not what it was.
    #[error("{input} has changed since the work in the ledger was done; --fresh starts again from nothing")]
    InputChanged {
        /// The file.
        input: PathBuf,
    },
}

/// What is done: the fold of all commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    grid: Grid,
    round: u32,
    state: Option<Vec<u8>>,
    done: BlockSet,
    records: Vec<Record>,
    leaves: Vec<Option<Hash16>>,
}

impl Book {
    /// Nothing done.
    pub fn new(grid: Grid) -> Self {
        Book {
            grid,
            round: 1,
            state: None,
            done: BlockSet::empty(grid),
            records: Vec::new(),
            leaves: vec![None; grid.blocks() as usize],
        }
    }

    /// Which round of an iterating kernel is under way, from 1; 1 for the others.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// What the round began from, encoded; nothing before the first commit.
    pub fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// Whether nothing was done yet.
    pub fn is_new(&self) -> bool {
        self.round == 1 && self.done.is_empty()
    }

    /// The finished blocks of the round.
    pub fn done(&self) -> &BlockSet {
        &self.done
    }

    /// The live records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How the index space is cut.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The hashes of the leaves of nodes, as far as they are known.
    pub fn leaves_of(&self, nodes: &[Node]) -> Vec<LeafRun> {
        let run = |node: &Node| {
            let blocks = node.blocks(self.grid);
            let hashes = self.leaves[blocks.start as usize..blocks.end as usize].iter();
            LeafRun { first: blocks.start, hashes: hashes.map_while(|hash| *hash).collect() }
        };
        nodes.iter().map(run).collect()
    }

    /// The hash of every leaf, as far as it is known.
    pub fn leaves(&self) -> &[Option<Hash16>] {
        &self.leaves
    }

    /// Adds a commit. One that has a state begins its round: everything before it goes. Each of its records replaces
    /// the earlier ones that it covers. Returns false, and changes nothing, when it is of another round, covers a
    /// record in part, lies outside the grid, lacks the hash of one of its leaves, or gives a leaf another hash.
    #[must_use]
    pub fn apply(&mut self, mut commit: Commit) -> bool {
        match commit.state.take() {
            None => commit.round == self.round && self.add(commit),
            Some(_) if !self.precedes(commit.round) => false,
            Some(state) => {
                let mut next = Book { round: commit.round, state: Some(state), ..Book::new(self.grid) };
                let sound = next.add(commit);
                if sound {
                    *self = next;
                }
                sound
            }
        }
    }

    /// Whether [`Book::apply`] would take `commit`.
    fn accepts(&self, commit: &Commit) -> bool {
        match commit.state {
            None => commit.round == self.round && self.follows(commit).is_some(),
            Some(_) => self.precedes(commit.round) && Book::new(self.grid).follows(commit).is_some(),
        }
    }

    /// Whether `round` may begin now.
    fn precedes(&self, round: u32) -> bool {
        round > self.round || (round == self.round && self.state.is_none() && self.done.is_empty())
    }

    /// Adds the records and leaves of a commit of this round.
    fn add(&mut self, commit: Commit) -> bool {
        let Some((kept, done)) = self.follows(&commit) else { return false };
        let mut at = 0;
        self.records.retain(|_| {
            at += 1;
            kept[at - 1]
        });
        let last = |r: &Record, rest: &[Record]| !rest.iter().any(|later| covers(later, r));
        for i in 0..commit.records.len() {
            if last(&commit.records[i], &commit.records[i + 1..]) {
                self.records.push(commit.records[i].clone());
            }
        }
        self.done = done;
        self.add_leaves(&commit.leaves)
    }

    /// Whether `commit` may follow: which of the records stay, and what is done then.
    fn follows(&self, commit: &Commit) -> Option<(Vec<bool>, BlockSet)> {
        let kept: Vec<bool> =
            self.records.iter().map(|old| !commit.records.iter().any(|new| covers(new, old))).collect();
        let old = self.records.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(record, _)| record);
        let new = commit
            .records
            .iter()
            .enumerate()
            .filter(|(i, r)| !commit.records[i + 1..].iter().any(|later| covers(later, r)));
        let mut done = BlockSet::empty(self.grid);
        let disjoint = old.chain(new.map(|(_, r)| r)).flat_map(|r| &r.nodes).all(|&node| done.insert(node));
        let sent = |b: u32| {
            commit.leaves.iter().any(|run| b >= run.first && ((b - run.first) as usize) < run.hashes.len())
        };
        let leaf_blocks = || commit.records.iter().flat_map(|r| &r.nodes).flat_map(|n| n.blocks(self.grid));
        let hashed = disjoint && leaf_blocks().all(|b| self.leaves[b as usize].is_some() || sent(b));
        let agree = commit.leaves.iter().all(|run| {
            (run.first as usize..).zip(&run.hashes).all(|(block, hash)| {
                self.leaves.get(block).is_some_and(|known| known.is_none_or(|k| k == *hash))
            })
        });
        let whole = commit.records.iter().all(|r| !r.nodes.is_empty());
        (disjoint && hashed && agree && whole).then_some((kept, done))
    }

    /// Notes leaf hashes. Returns false when a leaf lies outside the grid or is known by another hash.
    #[must_use]
    pub fn add_leaves(&mut self, runs: &[LeafRun]) -> bool {
        runs.iter().all(|run| {
            (run.first as usize..).zip(&run.hashes).all(|(block, hash)| match self.leaves.get_mut(block) {
                Some(slot) => *slot.get_or_insert(*hash) == *hash,
                None => false,
            })
        })
    }

    /// Everything as one commit, to begin a compacted log with.
    fn snapshot(&self) -> Commit {
        let mut leaves: Vec<LeafRun> = Vec::new();
        for (block, hash) in (0u32..).zip(&self.leaves).filter_map(|(b, h)| h.map(|h| (b, h))) {
            match leaves.last_mut() {
                Some(run) if run.first + run.hashes.len() as u32 == block => run.hashes.push(hash),
                _ => leaves.push(LeafRun { first: block, hashes: vec![hash] }),
            }
        }
        Commit { round: self.round, state: self.state.clone(), records: self.records.clone(), leaves }
    }
}

/// Whether every node of `old` is or lies below a node of `new`.
fn covers(new: &Record, old: &Record) -> bool {
    old.nodes.iter().all(|o| new.nodes.iter().any(|n| n.covers(*o)))
}

/// An open, locked ledger.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    header: Header,
    log: File,
    bytes: u64,
    book: Book,
    _lock: Lock,
}

impl Ledger {
    /// Opens the ledger in `dir`, or begins one. What an earlier foreman left is in [`Ledger::book`].
    ///
    /// # Errors
    /// When it is locked, unreadable, of another version or job, or of an input that has changed.
    pub fn open(dir: &Path, header: &Header) -> Result<Ledger, LedgerError> {
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let lock = lock(dir)?;
        let path = dir.join(LOG);
        let log = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut log = log.map_err(io("open", &path))?;
        let mut text = Vec::new();
        log.read_to_end(&mut text).map_err(io("read", &path))?;
        let (book, end) = match replay(&text, &path)? {
            Some((found, book, end)) => {
                same_job(&path, header, &found)?;
                (book, end)
            }
            None => (Book::new(header.grid), 0),
        };
        let mut ledger =
            Ledger { dir: dir.to_owned(), header: header.clone(), log, bytes: end, book, _lock: lock };
        if end == 0 {
            ledger.rewrite()?;
        } else {
            ledger.log.set_len(end).map_err(io("cut the torn end of", &path))?;
            ledger.log.seek(SeekFrom::End(0)).map_err(io("read", &path))?;
        }
        Ok(ledger)
    }

    /// What is done.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Appends `commit` and waits until it is on disk.
    ///
    /// # Errors
    /// When it does not follow from what is there, or cannot be written; the ledger is then as it was.
    pub fn append(&mut self, commit: Commit) -> Result<(), LedgerError> {
        let path = self.dir.join(LOG);
        if !self.book.accepts(&commit) {
            let why = std::io::Error::other("a block would be counted twice, or a round is over");
            return Err(io("append to", &path)(why));
        }
        let bytes = frame(&encode(&commit));
        if self.bytes + bytes.len() as u64 > MAX_BYTES {
            return Err(io("append to", &path)(std::io::Error::other("it would be larger than 16 GiB")));
        }
        let written = self.log.write_all(&bytes).and_then(|()| self.log.sync_data());
        if let Err(why) = written {
            // A half-written frame would hide every later one.
            let _ = self.log.set_len(self.bytes).and_then(|()| self.log.seek(SeekFrom::End(0)));
            return Err(io("append to", &path)(why));
        }
        self.bytes += bytes.len() as u64;
        assert!(self.book.apply(commit), "what follows can be applied");
        let live: usize = self.book.records.iter().map(|r| r.partial.len()).sum::<usize>()
            + self.book.state.as_ref().map_or(0, Vec::len)
            + self.book.done.len() as usize * size_of::<Hash16>();
        if self.bytes > COMPACT_BYTES && self.bytes > 3 * live as u64 {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Forgets everything: the next foreman starts from nothing.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn clear(&mut self) -> Result<(), LedgerError> {
        self.book = Book::new(self.header.grid);
        self.rewrite()
    }

    /// Removes the ledger: the answer is out.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn remove(self) -> Result<(), LedgerError> {
        std::fs::remove_dir_all(&self.dir).map_err(io("remove", &self.dir))
    }

    /// Writes a new log that holds the live records alone, and puts it in the place of the old one.
    fn rewrite(&mut self) -> Result<(), LedgerError> {
        let (path, new) = (self.dir.join(LOG), self.dir.join("ledger.new"));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(frame(&encode(&self.header)));
        if !self.book.is_new() {
            bytes.extend(frame(&encode(&self.book.snapshot())));
        }
        let write = || -> std::io::Result<File> {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
            file.write_all(&bytes)?;
            // An empty ledger holds nothing that a crash could lose: it is synced with the first commit.
            if !self.book.is_new() {
                file.sync_data()?;
            }
            std::fs::rename(&new, &path)?;
            Ok(file)
        };
        self.log = write().map_err(io("write", &new))?;
        self.bytes = bytes.len() as u64;
        Ok(())
    }
}

fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> LedgerError + 'a {
    move |why| LedgerError::Io { doing, path: path.to_owned(), why }
}

/// The right to write a ledger, until it is dropped.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would not do: a process that is just being born has the same file until it is another program.
        let _ = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

fn lock(dir: &Path) -> Result<Lock, LedgerError> {
    let path = dir.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(io("open", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(LedgerError::Locked { holder: holder.trim().to_owned() });
        }
        Err(e) => return Err(io("lock", &path)(e.into())),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(io("write", &path))?;
    Ok(Lock(file))
}

/// A payload with its length and checksum in front.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u64).to_le_bytes().to_vec();
    out.extend(first16(&blake3::hash(payload)));
    out.extend(payload);
    out
}

/// The payload of the frame at `at` and where the next one begins; `None` for a torn or damaged frame.
fn unframe(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let head = text.get(at..at.checked_add(24)?)?;
    let length = usize::try_from(u64::from_le_bytes(head[..8].try_into().ok()?)).ok()?;
    let payload = text.get(at + 24..at.checked_add(24)?.checked_add(length)?)?;
    (first16(&blake3::hash(payload)) == head[8..24]).then_some((payload, at + 24 + length))
}

/// Header, state and length of the sound part of a log; `None` when not even the header is whole.
fn replay(text: &[u8], path: &Path) -> Result<Option<(Header, Book, u64)>, LedgerError> {
    let key = key_of(path);
    let foreign =
        |why: &str| LedgerError::Foreign { path: path.to_owned(), why: why.into(), key: key.clone() };
    if text.len() < 12 {
        return Ok(None);
    }
    if &text[..8] != MAGIC {
        return Err(foreign("it does not begin as one"));
    }
    let version = u32::from_le_bytes(text[8..12].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(foreign(&format!("it has format {version}, this is format {VERSION}")));
    }
    let Some((payload, mut at)) = unframe(text, 12) else { return Ok(None) };
    let header: Header = decode(payload).map_err(|_| foreign("its header cannot be read"))?;
    let mut book = Book::new(header.grid);
    while let Some((payload, next)) = unframe(text, at) {
        match decode::<Commit>(payload).map(|commit| book.apply(commit)) {
            Ok(true) => at = next,
            _ => break,
        }
    }
    Ok(Some((header, book, at as u64)))
}

fn key_of(path: &Path) -> String {
    path.parent().and_then(Path::file_name).map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn same_job(path: &Path, wanted: &Header, found: &Header) -> Result<(), LedgerError> {
    let differs = if found.kernel != wanted.kernel {
        format!("kernel {}", found.kernel)
    } else if found.spec_json != wanted.spec_json || found.class != wanted.class {
        format!("spec {}", found.spec_json)
    } else if found.program != wanted.program {
        return Err(LedgerError::OtherBuild);
    } else {
        let changed = wanted.inputs.iter().find(|i| !found.inputs.contains(i));
        return match changed {
            Some(input) => Err(LedgerError::InputChanged { input: input.path.clone() }),
            None if found.grid == wanted.grid => Ok(()),
            None => Err(LedgerError::OtherJob {
                path: path.to_owned(),
                why: "another grid".into(),
                key: key_of(path),
            }),
        };
    };
    Err(LedgerError::OtherJob { path: path.to_owned(), why: differs, key: key_of(path) })
}

/// A ledger as `muster ledger list` shows it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its name: the hash of the spec.
    pub key: String,
    /// The kernel's name, where the ledger can be read.
    pub kernel: Option<String>,
    /// The spec.
    pub spec_json: Option<String>,
    /// Which round of an iterating kernel is under way.
    pub round: Option<u32>,
    /// Finished blocks of the round.
    pub done: u32,
    /// Blocks of a round.
    pub blocks: u32,
    /// The size of the log.
    pub bytes: u64,
    /// The process that is working on it.
    pub held_by: Option<String>,
}

/// The ledgers under `root`, by name.
pub fn list(root: &Path) -> Vec<Listed> {
    let mut out: Vec<Listed> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().is_dir())
        .map(|e| {
            let text = std::fs::read(e.path().join(LOG)).unwrap_or_default();
            let state = replay(&text, &e.path().join(LOG)).ok().flatten();
            let held_by = match lock(&e.path()) {
                Err(LedgerError::Locked { holder }) => Some(holder),
                _ => None,
            };
            Listed {
                key: e.file_name().to_string_lossy().into_owned(),
                kernel: state.as_ref().map(|s| s.0.kernel.clone()),
                spec_json: state.as_ref().map(|s| s.0.spec_json.clone()),
                // Kernels that do not go round have an empty state.
                round: state
                    .as_ref()
                    .filter(|s| s.1.state().is_some_and(|state| !state.is_empty()))
                    .map(|s| s.1.round()),
                done: state.as_ref().map_or(0, |s| s.1.done.len()),
                blocks: state.as_ref().map_or(0, |s| s.0.grid.blocks()),
                bytes: text.len() as u64,
                held_by,
            }
        })
        .collect();
    out.sort_by(|a, b| a.key.cmp(&b.key));
    out
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
