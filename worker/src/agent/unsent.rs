//! Output that is sent back to where its job was submitted: where it lies here, and what becomes of it.
//!
//! Part of step 7 of a job's way (DESIGN section 4). A job whose submit directory is another one on this host writes into
//! `output/` of the state directory; a thread aside sends it to the pool while the job runs. Invariants: what is there goes
//! when the pool has all of it, or wants no more, and not before, whoever dies; the end of such a job is not told before,
//! so nobody sees it finished without its output; of each stream one piece is on its way, and of [`MOST_ASKED`] streams at
//! once.

use super::clock;
use super::complaint::complain;
use super::shell::Event;
use super::spool;
use crate::state;
use crossbeam_channel::{Receiver, Sender, after, bounded, select, unbounded};
use muster_core::protocol::agent::AgentInput;
use muster_core::protocol::line::FromHost;
use muster_core::protocol::output::{self, Had, Sent, Stream, StreamId};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use rustix::fs::inotify;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Of how many streams a piece may be on its way.
const MOST_ASKED: usize = 8;

/// Where a stream of an attempt lies.
pub(super) fn path(state: &Path, (id, stream): StreamId) -> PathBuf {
    state.join("output").join(format!("{}.{}.{}", id.run, id.attempt.0, stream.ending()))
}

/// Whether an attempt has such output here.
pub(super) fn is_there(state: &Path, id: AttemptId) -> bool {
    path(state, (id, Stream::Output)).exists() || path(state, (id, Stream::Error)).exists()
}

/// Where a job runs whose directory is not on this host.
pub(super) fn work_folder(state: &Path, id: AttemptId) -> PathBuf {
    state.join("work").join(format!("{}.{}", id.run, id.attempt.0))
}

fn parse(name: &str) -> Option<StreamId> {
    let (id, ending) = name.rsplit_once('.')?;
    let stream = [Stream::Output, Stream::Error].into_iter().find(|stream| stream.ending() == ending)?;
    Some((spool::parse(id)?, stream))
}

/// What the thread hears.
enum Heard {
    Begins(AttemptId),
    Ends(AttemptId),
    Had(Had),
}

/// What is not sent yet, for the agent's shell.
pub(super) struct Unsent {
    tell: Sender<Heard>,
    /// What is not all sent.
    ids: BTreeSet<AttemptId>,
    /// What the agent shall hear when it is.
    held: BTreeMap<AttemptId, Vec<AgentInput>>,
}

impl Unsent {
    /// What lies under a state directory is sent on `send`; [`Event::AllSent`] tells of each attempt whose output the pool
    /// has.
    ///
    /// # Errors
    /// When its folder cannot be made or watched.
    pub(super) fn open(
        state: &Path,
        send: Sender<FromHost>,
        events: Sender<Event>,
    ) -> Result<Unsent, String> {
        let folder = state::folder(state, "output")?;
        let told = |e: std::io::Error| format!("cannot use {}: {e}", folder.display());
        let entries = std::fs::read_dir(&folder).map_err(told)?.flatten();
        let streams: Vec<StreamId> = entries.filter_map(|entry| parse(entry.file_name().to_str()?)).collect();
        let watch = watch(&folder).map_err(|e| told(e.into()))?;
        let (tell, heard) = unbounded();
        let (changed, changes) = bounded(1);
        let changed_in = Arc::clone(&watch);
        std::thread::spawn(move || tell_changes(&changed_in, &changed));
        let ids = streams.iter().map(|(id, _)| *id).collect();
        let mut thread =
            Thread { state: state.to_owned(), send, events, streams: BTreeMap::new(), last: None };
        std::thread::spawn(move || {
            streams.into_iter().for_each(|stream| thread.open(stream));
            thread.run(&heard, &changes);
            // Whoever waits for changes hears of this.
            let _ = inotify::remove_watch(&*watch, 1);
        });
        Ok(Unsent { tell, ids, held: BTreeMap::new() })
    }

    /// What was there when it was opened, and whatever is told of since, as far as it is not all sent.
    pub(super) fn all(&self) -> Vec<AttemptId> {
        self.ids.iter().copied().collect()
    }

    /// An attempt has begun to write.
    pub(super) fn begins(&mut self, id: AttemptId) {
        self.ids.insert(id);
        let _ = self.tell.send(Heard::Begins(id));
    }

    /// Whether some of the output of an attempt is not sent.
    pub(super) fn has(&self, id: AttemptId) -> bool {
        self.ids.contains(&id)
    }

    /// An attempt writes nothing more: what the agent is to hear of it waits until all is sent.
    pub(super) fn ends(&mut self, id: AttemptId, inputs: Vec<AgentInput>) {
        self.held.insert(id, inputs);
        let _ = self.tell.send(Heard::Ends(id));
    }

    /// Nobody waits for its end any more; what there is goes on to be sent.
    pub(super) fn let_go(&mut self, id: AttemptId) -> Vec<AgentInput> {
        self.held.remove(&id).unwrap_or_default()
    }

    /// The pool has all.
    pub(super) fn all_sent(&mut self, id: AttemptId) -> Vec<AgentInput> {
        self.ids.remove(&id);
        self.let_go(id)
    }

    /// Something is over, as far as the agent is concerned.
    pub(super) fn forget(&mut self, id: AttemptId) {
        if self.has(id) {
            let _ = self.tell.send(Heard::Ends(id));
        }
    }

    /// What is waiting for this to be sent hears this, too.
    pub(super) fn hold(&mut self, id: AttemptId, input: AgentInput) -> Option<AgentInput> {
        let Some(held) = self.held.get_mut(&id) else { return Some(input) };
        held.push(input);
        None
    }

    /// The pool says what it has.
    pub(super) fn had(&self, had: Had) {
        let _ = self.tell.send(Heard::Had(had));
    }
}

fn watch(folder: &Path) -> rustix::io::Result<Arc<OwnedFd>> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, folder, inotify::WatchFlags::MODIFY)?;
    Ok(Arc::new(watch))
}

/// Says that something has changed, once for all that has until somebody listens, until the watch is taken off.
fn tell_changes(watch: &OwnedFd, changed: &Sender<()>) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        };
        let over = event.events().contains(inotify::ReadFlags::IGNORED);
        if over || changed.try_send(()) == Err(crossbeam_channel::TrySendError::Disconnected(())) {
            return;
        }
    }
}

struct Thread {
    state: PathBuf,
    send: Sender<FromHost>,
    events: Sender<Event>,
    streams: BTreeMap<StreamId, (output::Sender, File)>,
    /// Who was served last: the next has its turn.
    last: Option<StreamId>,
}

impl Thread {
    fn run(&mut self, heard: &Receiver<Heard>, changes: &Receiver<()>) {
        loop {
            let now = clock::now();
            self.send(now);
            let wake = self.streams.values().map(|(sender, _)| sender.wake()).min().unwrap_or(Time::NEVER);
            let wait = Duration::from_millis((wake.0.saturating_sub(now.0)).max(0).unsigned_abs());
            let wait = after(wait.min(Duration::from_secs(3600)));
            select! {
                recv(heard) -> heard => match heard {
                    Ok(heard) => self.hear(heard),
                    Err(_) => return,
                },
                recv(changes) -> _ => {}
                recv(wait) -> _ => {}
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Begins(id) => {
                [Stream::Output, Stream::Error].into_iter().for_each(|stream| self.open((id, stream)));
            }
            Heard::Ends(id) => {
                let ended = self.streams.iter_mut().filter(|((of, _), _)| *of == id);
                ended.for_each(|(_, (sender, file))| {
                    sender.grows(size(file));
                    sender.ends();
                });
                self.go(id);
            }
            Heard::Had(had) => {
                let Some((sender, _)) = self.streams.get_mut(&had.stream) else { return };
                sender.heard(had.upto, had.whole);
                if sender.is_done() {
                    self.streams.remove(&had.stream);
                    let _ = std::fs::remove_file(path(&self.state, had.stream));
                    self.go(had.stream.0);
                }
            }
        }
    }

    fn open(&mut self, stream: StreamId) {
        match File::open(path(&self.state, stream)) {
            Ok(file) => drop(self.streams.insert(stream, (output::Sender::default(), file))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => complain("agent", format!("the output of job {} does not come back: {e}", stream.0)),
        }
    }

    /// Tells that all of an attempt is sent, if it is.
    fn go(&self, id: AttemptId) {
        if !self.streams.keys().any(|(of, _)| *of == id) {
            let _ = std::fs::remove_dir_all(work_folder(&self.state, id));
            let _ = self.events.send(Event::AllSent(id));
        }
    }

    /// Sends what is to be sent now, as far as there is room for it.
    fn send(&mut self, now: Time) {
        let Thread { send, streams, last, .. } = self;
        let mut waiting =
            streams.values().filter(|(sender, _)| sender.waits() && now < sender.wake()).count();
        let turn: Vec<StreamId> = {
            let behind = streams.keys().filter(|stream| last.is_some_and(|last| **stream <= last));
            let ahead = streams.keys().filter(|stream| last.is_none_or(|last| **stream > last));
            ahead.chain(behind).copied().collect()
        };
        for stream in turn {
            if waiting >= MOST_ASKED {
                return;
            }
            let Some((sender, file)) = streams.get_mut(&stream) else { continue };
            sender.grows(size(file));
            let Some((from, length, whole)) = sender.next(now) else { continue };
            let bytes = read(file, (from, length));
            // One that the job itself has cut is over when it is: what is gone is gone.
            let whole = whole || sender.is_over() && (bytes.len() as u64) < length;
            let _ = send.send(FromHost::Output(Sent { stream, from, bytes, whole }));
            (*last, waiting) = (Some(stream), waiting + 1);
        }
    }
}

/// What there is from a byte on, so many at most.
fn read(file: &File, (from, length): (u64, u64)) -> Vec<u8> {
    let (mut bytes, mut there) = (vec![0; length as usize], 0);
    while let Ok(more @ 1..) = file.read_at(&mut bytes[there..], from + there as u64) {
        there += more;
    }
    bytes.truncate(there);
    bytes
}

fn size(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::job::id::{Attempt, JobId, RunId};

    #[test]
    fn names_are_of_attempts() {
        let id = AttemptId { run: RunId { job: JobId(12), element: Some(3) }, attempt: Attempt(2) };
        let name = path(Path::new("/s"), (id, Stream::Error));
        assert_eq!(name, Path::new("/s/output/12_3.2.err"));
        assert_eq!(parse("12_3.2.err"), Some((id, Stream::Error)));
        assert_eq!(parse("12_3.2.log"), None);
    }
}
