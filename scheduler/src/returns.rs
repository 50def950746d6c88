//! The output of jobs that comes back from hosts that share nothing with the one where they were submitted: kept by the
//! pool, and handed on to that host, which is the pool's own.
//!
//! Part of step 7 of a job's way (DESIGN section 4). Invariants: the length of a file is up to where the stream has come,
//! so a pool that is killed goes on from there; whoever runs the job hears that all of it is there when it is also written
//! where the job was submitted, unless that host does not answer for [`PATIENCE`]; of a stream [`MOST_KEPT`] bytes are kept,
//! and of what comes after them no more than [`WINDOW`] at a time, until it is handed on; of all that are over together no
//! more than [`MOST_IN_ALL`]; only a host that an attempt
//! begins on sends its output, which the engine has made sure of.

use crate::blobs::Blobs;
use crate::engine::{Engine, View};
use crate::listing;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use muster_core::cluster::HostId;
use muster_core::job::id::{JobId, RunId};
use muster_core::protocol::line::ToHost;
use muster_core::protocol::output::{self, Delivered, Delivery, Had, OutputFile, Sent, Stream, StreamId};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Error};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How much of a stream is kept, bytes.
pub const MOST_KEPT: u64 = 64 << 20;
/// Of how many streams something is kept: more, and those of the oldest jobs that are over go.
const MOST_STREAMS: usize = 10_000;
/// How much of all streams is kept, bytes: more, and those of the oldest jobs that are over go.
const MOST_IN_ALL: u64 = 4 << 30;
/// How much of what is not kept may wait to be handed on, bytes.
const WINDOW: u64 = 1 << 20;
/// How long a host may take to write a piece before nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long who has no room to send waits at least, milliseconds.
const LEAST_MS: i64 = 100;
/// How many pieces may be on their way to a host where jobs were submitted.
const MOST_ASKED: usize = 32;
/// How many things that were heard may wait: more are lost, and said again.
const MOST_HEARD: usize = 64;

/// What hosts say of output.
pub(crate) enum Heard {
    /// The host that runs a job sends a piece.
    Sent(HostId, Sent),
    /// The host where it was submitted has written one.
    Delivered(HostId, Delivered),
    /// The same, of an attempt that another has followed.
    Outlived(StreamId),
}

/// Where a stream goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destination {
    /// The host where the job was submitted.
    pub(crate) to: Option<HostId>,
    /// The name of the host that runs it.
    pub(crate) host: String,
    /// The file there.
    pub(crate) file: OutputFile,
}

/// How far a stream is written where its job was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Handing {
    /// Not all of it.
    Pending,
    /// All, or there is nobody to write it.
    Done,
    /// It cannot be, and this is why.
    Failed(String),
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    stream: StreamId,
    destination: Destination,
    /// Whether all of it has come.
    whole: bool,
    handing: Handing,
}

type Key = (RunId, Stream);

/// What is kept, for all who ask.
pub struct Returns {
    folder: PathBuf,
    kept: Mutex<BTreeMap<Key, Note>>,
    /// The host where jobs are submitted: the pool's own, whatever it is called, for they come by its socket.
    own: OnceLock<HostId>,
}

impl Returns {
    /// What is kept under a state directory, as far as its job is remembered.
    ///
    /// # Errors
    /// When its folder cannot be made or read.
    pub fn open(state: &Path, is_known: impl Fn(JobId) -> bool) -> io::Result<Arc<Returns>> {
        let folder = state.join("kept");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut kept = BTreeMap::new();
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?.flatten().map(|e| e.path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        for path in files {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            match serde_json::from_str::<Note>(&text) {
                Ok(note) if is_known(note.stream.0.run.job) => drop(kept.insert(key(note.stream), note)),
                Ok(_) | Err(_) => {
                    let _ = std::fs::remove_file(path.with_extension(""));
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        Ok(Arc::new(Returns { folder, kept: Mutex::new(kept), own: OnceLock::new() }))
    }

    /// Says which host is the pool's own.
    pub(crate) fn is_of(&self, own: HostId) {
        let _ = self.own.set(own);
    }

    /// Begins to hear what hosts send; for the engine.
    pub(crate) fn serve(self: &Arc<Self>, engine: Engine, blobs: Arc<Blobs>) -> Sender<Heard> {
        let (send, heard) = bounded(MOST_HEARD);
        let began = Instant::now();
        let (shared, blobs, bytes) = (self.clone(), blobs, self.bytes());
        let mut keeper = Keeper { shared, engine, blobs, began, live: BTreeMap::new(), bytes };
        std::thread::spawn(move || keeper.run(&heard));
        send
    }

    /// What is kept of a stream that was written on this host, from a byte on, and what there is to be said at its end;
    /// none where it does not come back. `over` tells that its job is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(
        &self,
        (stream, host): (Key, &str),
        piece: (u64, u64),
        over: bool,
    ) -> Option<io::Result<Vec<u8>>> {
        // An attempt before may have run elsewhere.
        let note = self.notes().get(&stream).filter(|note| note.destination.host == host).cloned()?;
        Some(self.read_noted(&note, piece, over))
    }

    fn read_noted(&self, note: &Note, (from, most): (u64, u64), over: bool) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(key(note.stream)))?;
        let size = file.metadata()?.len();
        let kept = size.min(MOST_KEPT);
        if from < kept {
            let mut bytes = vec![0; most.min(kept - from) as usize];
            file.read_exact_at(&mut bytes, from)?;
            return Ok(bytes);
        }
        let said = if over { note.last_words(size) } else { String::new() };
        let from = usize::try_from(from - kept).unwrap_or(usize::MAX);
        Ok(said.as_bytes().get(from..).unwrap_or_default().to_vec())
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<Key, Note>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, (run, stream): Key) -> PathBuf {
        self.folder.join(format!("{run}.{}", stream.ending()))
    }

    /// Keeps what is known of a stream, whole when this process is killed.
    fn keep(&self, note: &Note) -> io::Result<()> {
        let path = self.path(key(note.stream));
        let beside = path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(note).map_err(Error::other)?)?;
        std::fs::rename(&beside, noted(&path))?;
        let count = {
            let mut kept = self.notes();
            kept.insert(key(note.stream), note.clone());
            kept.len()
        };
        if count > MOST_STREAMS {
            self.drop_oldest();
        }
        Ok(())
    }

    /// Removes what is kept of the oldest stream that is over, and says how much that was; none when none is.
    fn drop_oldest(&self) -> Option<u64> {
        let mut kept = self.notes();
        let oldest = *kept.iter().find(|(_, note)| note.is_over())?.0;
        kept.remove(&oldest);
        let path = self.path(oldest);
        let bytes = size(&path);
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(noted(&path));
        Some(bytes)
    }

    /// How much is kept of all streams.
    fn bytes(&self) -> u64 {
        self.notes().keys().map(|stream| size(&self.path(*stream))).sum()
    }
}

/// How much is kept in a file.
fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len().min(MOST_KEPT))
}

/// Up to where nothing is left of a file behind what is kept.
fn punched(file: &File, size: u64) -> u64 {
    if size <= MOST_KEPT {
        return MOST_KEPT;
    }
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(MOST_KEPT)) {
        Ok(data) => data,
        // Nothing is there any more.
        Err(rustix::io::Errno::NXIO) => size,
        Err(_) => MOST_KEPT,
    }
}

/// Where it is noted what is known of what is kept there.
fn noted(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

fn key((id, stream): StreamId) -> Key {
    (id.run, stream)
}

impl Note {
    fn is_over(&self) -> bool {
        self.whole && self.handing != Handing::Pending
    }

    /// What there is to be said behind what is kept of it, of a job that is over.
    fn last_words(&self, size: u64) -> String {
        let Destination { host, file, .. } = &self.destination;
        let mut said = String::new();
        if size > MOST_KEPT {
            said += &format!(
                "\nmuster: cut here: the job has written {size} bytes, and the pool keeps the first {MOST_KEPT}"
            );
            if self.handing == Handing::Done && self.destination.to.is_some() {
                said += &format!("; all of it is in {}, where the job was submitted", file.path);
            }
            said += "\n";
        }
        if !self.whole {
            said +=
                &format!("\nmuster: what was written on host {host} after byte {size} has not come back\n");
        }
        if let Handing::Failed(why) = &self.handing {
            said += &format!("\nmuster: the output is not where the job was submitted: {why}\n");
        }
        said
    }
}

/// A stream of which something is to come, or to be handed on.
struct Live {
    note: Note,
    file: File,
    /// Up to where it has come.
    size: u64,
    /// What is handed on.
    sender: output::Sender,
    /// When the host that it is handed on to has said something last, or had nothing to say.
    answered: Instant,
    /// Who waits for an answer.
    asks: Option<HostId>,
    /// Up to where nothing is left behind what is kept.
    punched: u64,
}

impl Live {
    /// Whether somebody may be waited for who writes it where its job was submitted.
    fn is_awaited(&self) -> bool {
        self.note.handing == Handing::Pending && self.answered.elapsed() < PATIENCE
    }

    /// Takes what is new of a piece.
    fn take(&mut self, sent: &Sent) -> io::Result<()> {
        let news = sent.news(self.size).unwrap_or_default();
        let is_new = !news.is_empty() || sent.ends(self.size) && !self.note.whole;
        if is_new && self.sender.upto() >= self.size {
            // From now on something is waited for.
            self.answered = Instant::now();
        }
        let (kept, end) = (self.size < MOST_KEPT, self.size + news.len() as u64);
        if !kept && self.note.handing == Handing::Pending && !self.is_awaited() {
            let why = "its host has not answered, and more was written than the pool keeps";
            self.note.handing = Handing::Failed(why.to_owned());
        }
        if kept || self.note.handing == Handing::Pending {
            self.file.write_all_at(news, self.size)?;
        } else {
            self.file.set_len(end)?;
        }
        self.size = end;
        if sent.ends(end) && !self.note.whole {
            self.file.sync_data()?;
            self.note.whole = true;
        }
        Ok(())
    }

    /// What the host that runs the job hears, if it need not wait.
    fn answer(&self) -> Option<Had> {
        let unheard = self.size.saturating_sub(self.sender.upto());
        let full = self.size > MOST_KEPT && unheard > WINDOW;
        let waits = self.is_awaited() && (self.note.whole || full);
        (!waits).then_some(Had { stream: self.note.stream, upto: self.size, whole: self.note.whole })
    }

    /// Hears what is written where the job was submitted.
    fn heard(&mut self, delivered: Delivered) {
        self.answered = Instant::now();
        let Had { upto, whole, .. } = delivered.had;
        self.sender.heard(upto, whole);
        self.note.handing = match delivered.why {
            Some(why) => Handing::Failed(why),
            None if whole => Handing::Done,
            None if self.punched > MOST_KEPT && upto < self.punched => {
                Handing::Failed("its host has lost what it had written".to_owned())
            }
            None => Handing::Pending,
        };
        let unused = upto.min(self.size);
        if unused > self.punched + WINDOW || whole && unused > self.punched {
            let how = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(&self.file, how, self.punched, unused - self.punched).is_ok() {
                self.punched = unused;
            }
        }
    }
}

struct Keeper {
    shared: Arc<Returns>,
    engine: Engine,
    blobs: Arc<Blobs>,
    began: Instant,
    live: BTreeMap<Key, Live>,
    /// How much is kept of all streams.
    bytes: u64,
}

impl Keeper {
    fn run(&mut self, heard: &Receiver<Heard>) {
        let pending: Vec<Note> =
            self.shared.notes().values().filter(|note| !note.is_over()).cloned().collect();
        for note in pending {
            let _ = self.open(note, false);
        }
        loop {
            self.hand_on();
            match heard.recv_timeout(self.wait()) {
                Ok(Heard::Sent(host, sent)) => self.sent(host, &sent),
                Ok(Heard::Delivered(host, delivered)) => self.delivered(host, delivered),
                Ok(Heard::Outlived(stream)) => self.outlived(stream),
                Err(RecvTimeoutError::Timeout) => self.answer_all(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// By the clock of senders.
    fn now(&self) -> Time {
        Time(self.began.elapsed().as_millis() as i64)
    }

    /// Until something is to be said again, or nobody is waited for any more.
    fn wait(&self) -> Duration {
        let now = self.now();
        let again = |live: &Live| match live.note.handing {
            Handing::Pending => {
                Duration::from_millis((live.sender.wake() - now).max(LEAST_MS).unsigned_abs())
            }
            Handing::Done | Handing::Failed(_) => Duration::MAX,
        };
        let patience = |live: &Live| match live.asks {
            Some(_) => PATIENCE.saturating_sub(live.answered.elapsed()).max(Duration::from_millis(1)),
            None => Duration::MAX,
        };
        let all = self.live.values().map(|live| again(live).min(patience(live)));
        all.min().unwrap_or(Duration::MAX).min(Duration::from_secs(3600))
    }

    fn sent(&mut self, host: HostId, sent: &Sent) {
        let at = key(sent.stream);
        let had = |upto, whole| ToHost::Had(Had { stream: sent.stream, upto, whole });
        let known = self.shared.notes().get(&at).cloned();
        match known {
            Some(note) if note.stream.0.attempt > sent.stream.0.attempt => {
                let _ = self.engine.tell(host, had(0, true));
                return;
            }
            Some(note) if note.stream == sent.stream && note.is_over() => {
                let _ = self.engine.tell(host, had(0, true));
                return;
            }
            Some(note) if note.stream == sent.stream => {
                if !self.live.contains_key(&at) && self.open(note, false).is_err() {
                    return;
                }
            }
            // A stream, or an attempt, that is not known.
            _ => {
                let Some(destination) = self.destination(sent.stream) else { return };
                let handing = if destination.to.is_some() { Handing::Pending } else { Handing::Done };
                let note = Note { stream: sent.stream, destination, whole: false, handing };
                if let Err(error) = self.open(note, true) {
                    return complain(sent.stream.0, &error);
                }
            }
        }
        let Some(live) = self.live.get_mut(&at) else { return };
        let (before, size) = (live.note.clone(), live.size.min(MOST_KEPT));
        live.asks = Some(host);
        // A disk that is full: it is sent again.
        if let Err(error) = live.take(sent) {
            return complain(sent.stream.0, &error);
        }
        self.bytes += live.size.min(MOST_KEPT) - size;
        while self.bytes > MOST_IN_ALL
            && let Some(freed) = self.shared.drop_oldest()
        {
            self.bytes = self.bytes.saturating_sub(freed);
        }
        if live.note == before || self.shared.keep(&live.note).is_ok() {
            self.hand_on();
            self.answer(at);
        }
    }

    /// Opens the file of a stream: anew, where nothing has come of it.
    fn open(&mut self, note: Note, anew: bool) -> io::Result<()> {
        let path = self.shared.path(key(note.stream));
        if anew {
            self.bytes = self.bytes.saturating_sub(size(&path));
        }
        let mut open = File::options();
        open.read(true).write(true).create(true).truncate(anew).mode(0o600);
        let file = open.open(&path)?;
        let size = file.metadata()?.len();
        self.shared.keep(&note)?;
        let (sender, answered) = (output::Sender::default(), Instant::now());
        let punched = punched(&file, size);
        let live = Live { file, size, sender, answered, asks: None, punched, note };
        self.live.insert(key(live.note.stream), live);
        Ok(())
    }

    fn delivered(&mut self, host: HostId, delivered: Delivered) {
        let at = key(delivered.had.stream);
        let Some(live) = self.live.get_mut(&at) else { return };
        let note = &live.note;
        if note.stream != delivered.had.stream || note.destination.to != Some(host) {
            return;
        }
        let before = note.handing.clone();
        live.heard(delivered);
        if live.note.handing == before || self.shared.keep(&live.note).is_ok() {
            self.hand_on();
            self.answer(at);
        }
    }

    /// The file is another attempt's.
    fn outlived(&mut self, stream: StreamId) {
        if let Some(live) = self.live.get_mut(&key(stream)).filter(|live| live.note.stream == stream) {
            live.note.handing = Handing::Done;
            let _ = self.shared.keep(&live.note);
            self.answer(key(stream));
        }
    }

    /// Answers who waits, where there is nothing left to wait for.
    fn answer_all(&mut self) {
        let all: Vec<Key> =
            self.live.iter().filter(|(_, live)| live.asks.is_some()).map(|(key, _)| *key).collect();
        all.into_iter().for_each(|key| self.answer(key));
    }

    fn answer(&mut self, at: Key) {
        let Some(live) = self.live.get_mut(&at) else { return };
        if let Some(host) = live.asks
            && let Some(had) = live.answer()
        {
            live.asks = None;
            let _ = self.engine.tell(host, ToHost::Had(had));
        }
        if live.note.is_over() && live.asks.is_none() {
            self.live.remove(&at);
        }
    }

    /// Hands on what is to be handed on now, as far as there is room for it.
    fn hand_on(&mut self) {
        let now = self.now();
        let mut asked: BTreeMap<HostId, usize> = BTreeMap::new();
        for live in self.live.values().filter(|live| live.sender.waits() && now < live.sender.wake()) {
            live.note.destination.to.iter().for_each(|to| *asked.entry(*to).or_default() += 1);
        }
        for live in self.live.values_mut() {
            let Destination { to: Some(to), file, .. } = &live.note.destination else { continue };
            let asked = asked.entry(*to).or_default();
            if live.note.handing != Handing::Pending || *asked >= MOST_ASKED {
                continue;
            }
            live.sender.grows(live.size);
            if live.note.whole {
                live.sender.ends();
            }
            let Some((from, length, whole)) = live.sender.next(now) else { continue };
            let mut bytes = vec![0; length as usize];
            if live.file.read_exact_at(&mut bytes, from).is_err() {
                continue;
            }
            *asked += 1;
            let sent = Sent { stream: live.note.stream, from, bytes, whole };
            let _ = self.engine.tell(*to, ToHost::Deliver(Delivery { sent, file: file.clone() }));
        }
    }

    /// Where a stream of an attempt goes, by what was submitted.
    fn destination(&self, stream: StreamId) -> Option<Destination> {
        let (send, found) = bounded(1);
        let (blobs, own) = (self.blobs.clone(), self.shared.own.get().copied());
        let look = move |view: &View| drop(send.send(listing::destination(view, stream, &blobs, own)));
        self.engine.look(look).ok()?;
        found.recv().ok()?
    }
}

fn complain(id: AttemptId, error: &Error) {
    eprintln!("muster: error: the output of job {id} cannot be kept: {error} (free space on the state disk)");
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::job::id::Attempt;

    fn stream() -> StreamId {
        let run = RunId { job: JobId(3), element: None };
        (AttemptId { run, attempt: Attempt(1) }, Stream::Output)
    }

    fn live(folder: &Path, to: Option<HostId>) -> Live {
        let file = OutputFile { path: "/work/out".into(), append: false, mode: 0o644, user: "ada".into() };
        let destination = Destination { to, host: "h2".into(), file };
        let handing = if to.is_some() { Handing::Pending } else { Handing::Done };
        let note = Note { stream: stream(), destination, whole: false, handing };
        let file = File::options().read(true).write(true).create_new(true).open(folder.join("f")).unwrap();
        let (sender, answered) = (output::Sender::default(), Instant::now());
        Live { note, file, size: 0, sender, answered, asks: None, punched: MOST_KEPT }
    }

    fn sent(from: u64, bytes: &[u8], whole: bool) -> Sent {
        Sent { stream: stream(), from, bytes: bytes.to_vec(), whole }
    }

    #[test]
    fn the_end_is_answered_when_it_is_written_where_the_job_was_submitted() {
        let folder = tempfile::tempdir().unwrap();
        let mut live = live(folder.path(), Some(HostId(0)));
        live.take(&sent(0, b"hello", false)).unwrap();
        assert_eq!(live.answer().map(|had| (had.upto, had.whole)), Some((5, false)));
        let had = Had { stream: stream(), upto: 5, whole: false };
        live.heard(Delivered { had, why: None });
        assert_eq!(live.note.handing, Handing::Pending, "more may come");
        live.take(&sent(3, b"lo!", true)).unwrap();
        assert_eq!(live.answer(), None);
        let had = Had { stream: stream(), upto: 6, whole: true };
        live.heard(Delivered { had, why: None });
        assert_eq!(live.answer().map(|had| (had.upto, had.whole)), Some((6, true)));
        assert_eq!((live.note.is_over(), live.note.last_words(6)), (true, String::new()));
    }

    #[test]
    fn what_is_too_much_is_not_kept_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut live = live(folder.path(), None);
        live.file.set_len(MOST_KEPT).unwrap();
        live.size = MOST_KEPT;
        live.take(&sent(MOST_KEPT, &[7; 1000], true)).unwrap();
        let mut byte = [1];
        live.file.read_exact_at(&mut byte, MOST_KEPT).unwrap();
        assert_eq!((byte, live.size), ([0], MOST_KEPT + 1000));
        assert!(live.note.last_words(live.size).contains("cut here"), "{}", live.note.last_words(live.size));
    }

    #[test]
    fn what_was_lost_with_a_host_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let returns = Returns::open(folder.path(), |_| true).unwrap();
        let note = live(folder.path(), None).note;
        std::fs::write(returns.path(key(stream())), "abc").unwrap();
        returns.keep(&note).unwrap();
        let again = Returns::open(folder.path(), |_| true).unwrap();
        let read = |from, over| {
            let bytes = again.read((key(stream()), "h2"), (from, 100), over).unwrap().unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!((read(0, false), read(3, false)), ("abc".to_owned(), String::new()));
        assert!(read(3, true).contains("on host h2 after byte 3 has not come back"));
        assert_eq!(read(1000, true), "");
        let gone = Returns::open(folder.path(), |_| false).unwrap();
        assert!(gone.read((key(stream()), "h2"), (0, 100), false).is_none());
        assert_eq!(std::fs::read_dir(folder.path().join("kept")).unwrap().count(), 0, "with its job");
    }
}
