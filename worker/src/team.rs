//! The team: how ranks meet, and what all but rank 0 do.
//!
//! Step 8 of a job's way (DESIGN section 4). Every rank says what it sees; rank 0 gets the job from the foreman, plans
//! the pools, and hands out spans (`hub`). While pools compute, the main thread sleeps between looks at its messages,
//! so that it takes no core from them.

use crate::comm::{Comm, CommError};
use crate::crew::{Back, Crew};
use crate::hub;
use crate::link::Link;
use crate::placement::ThreadSeen;
use crate::program::{Program, find};
use crate::running::Gathered;
use crate::wire::{
    Added, Failure, Folded, FromTeam, Hello, Piece, RankMessage, Standing, TeamJob, ToTeam, VERSION, decode,
    encode,
};
use crossbeam_channel::RecvTimeoutError;
use muster_core::plan::{self, PoolPlan};
use muster_kernels::{Iterate, Partial, hash::Hash16};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why a rank ended before its team was done.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// The transport failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// The foreman has ended.
    #[error("the foreman has ended")]
    ForemanGone,
    /// Another rank sent what cannot be read.
    #[error("{0}")]
    Garbled(String),
}

/// How long to wait before the next look at the messages: short while there is traffic, longer while there is none.
pub(crate) struct Pulse(Duration);

impl Pulse {
    const SHORTEST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(2);

    pub(crate) fn new() -> Self {
        Pulse(Self::SHORTEST)
    }

    /// Something happened.
    pub(crate) fn quicken(&mut self) {
        self.0 = Self::SHORTEST;
    }

    /// Nothing happened: how long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 5 / 4).min(Self::LONGEST);
        now
    }
}

/// Runs this rank of a team until the team ends. Rank 0 has the `link` to the foreman; the others have none.
///
/// # Errors
/// When the team cannot go on; the foreman then starts the next one from the ledger.
pub fn run(comm: &mut dyn Comm, programs: &[Program], mut link: Option<Link>) -> Result<(), TeamError> {
    let hello = match (hello(comm.size()), link.as_mut()) {
        (Ok(hello), _) => hello,
        (Err(why), Some(link)) => return hub::give_up(comm, link, Failure::Broken(why)),
        (Err(why), None) => return Err(TeamError::Garbled(why)),
    };
    match link {
        Some(link) => meet(comm, programs, link, hello),
        None => {
            comm.send(0, encode(&RankMessage::Hello(hello)))?;
            match receive(comm, &mut Pulse::new())?.1 {
                RankMessage::Start(job, plans) => match find(programs, &job.kernel) {
                    Ok(program) => (program.follow)(comm, &job, &plans),
                    Err(problem) => leave(comm, Failure::BadInput(problem.into())),
                },
                _ => Ok(()),
            }
        }
    }
}

/// What this process says of itself.
fn hello(ranks: usize) -> Result<Hello, String> {
    Ok(Hello {
        version: VERSION,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        shape: crate::topology::discover()?,
        // A rank alone has nobody to differ from.
        program: if ranks > 1 { program_hash() } else { [0; 16] },
    })
}

/// The hash of this program's file: ranks of different builds must not fold one job. The ranks of a process share it, and
/// the file is never in memory as a whole.
fn program_hash() -> Hash16 {
    static HASH: OnceLock<Hash16> = OnceLock::new();
    let hash = |path: PathBuf| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(path)?)?;
        Ok(muster_kernels::hash::first16(&hasher.finalize()))
    };
    *HASH.get_or_init(|| std::env::current_exe().and_then(hash).unwrap_or([0; 16]))
}

/// Rank 0: waits for every other rank and for the foreman, plans, and leads.
fn meet(comm: &mut dyn Comm, programs: &[Program], mut link: Link, own: Hello) -> Result<(), TeamError> {
    if !link.tell(FromTeam::Version(VERSION)) {
        return Err(TeamError::ForemanGone);
    }
    let mut hellos = vec![own];
    hellos.resize(comm.size(), hellos[0].clone());
    let mut pulse = Pulse::new();
    for _ in 1..comm.size() {
        if let (from, RankMessage::Hello(hello)) = receive(comm, &mut pulse)? {
            hellos[from] = hello;
        }
    }
    let Ok(ToTeam::Job(mut job, standing)) = link.from_foreman.recv() else {
        return Err(TeamError::ForemanGone);
    };
    let program = match same_program(&hellos).and_then(|()| find(programs, &job.kernel).map_err(bad)) {
        Ok(program) => program,
        Err(failure) => return hub::give_up(comm, &mut link, failure),
    };
    let sees: Vec<_> = hellos.iter().map(|h| (h.host.clone(), h.shape.clone())).collect();
    let plans: Vec<Vec<PoolPlan>> = plan::seats(&sees)
        .into_iter()
        .zip(&hellos)
        .map(|(seat, hello)| plan::pools(&hello.shape, seat, job.threads))
        .collect();
    // Rank 0 comes last, so that the job is as it goes for it.
    for (rank, plans) in plans.iter().enumerate().rev() {
        job.sharers = hellos.iter().filter(|hello| hello.host == hellos[rank].host).count() as u32;
        if rank > 0 {
            comm.send(rank, encode(&RankMessage::Start(job.clone(), plans.clone())))?;
        }
    }
    (program.lead)(comm, link, Gathering { job, standing, hellos, plans })
}

fn bad(problem: muster_kernels::Problem) -> Failure {
    Failure::BadInput(problem.into())
}

fn same_program(hellos: &[Hello]) -> Result<(), Failure> {
    match hellos.iter().find(|h| h.version != VERSION || h.program != hellos[0].program) {
        None => Ok(()),
        Some(other) => Err(Failure::Broken(format!(
            "{} runs another build of the rank program than {}: install the same one on all hosts",
            other.host, hellos[0].host
        ))),
    }
}

/// A team that has met: everything that rank 0 needs to lead.
pub struct Gathering {
    pub(crate) job: TeamJob,
    pub(crate) standing: Standing,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) plans: Vec<Vec<PoolPlan>>,
}

/// Waits for a message.
fn receive(comm: &mut dyn Comm, pulse: &mut Pulse) -> Result<(usize, RankMessage), TeamError> {
    loop {
        if let Some((from, bytes)) = comm.poll()? {
            pulse.quicken();
            return Ok((from, decode(&bytes).map_err(garbled)?));
        }
        std::thread::sleep(pulse.next());
    }
}

pub(crate) fn garbled(failure: Failure) -> TeamError {
    TeamError::Garbled(format!("{failure:?}"))
}

/// A rank that cannot take part: says why and waits for the end.
fn leave(comm: &mut dyn Comm, failure: Failure) -> Result<(), TeamError> {
    comm.send(0, encode(&RankMessage::Failed(failure)))?;
    let mut pulse = Pulse::new();
    while !matches!(receive(comm, &mut pulse)?.1, RankMessage::End) {}
    Ok(())
}

/// Every rank but 0: folds the spans it is given.
pub(crate) fn follow<K: Iterate>(
    comm: &mut dyn Comm,
    job: &TeamJob,
    plans: &[PoolPlan],
) -> Result<(), TeamError> {
    let mut crew = match Crew::<K>::start(job, plans) {
        Ok(crew) => crew,
        Err(failure) => return leave(comm, failure),
    };
    comm.send(0, encode(&RankMessage::Ready(crew.warnings().to_vec())))?;
    let mut pulse = Pulse::new();
    loop {
        while let Some((_, bytes)) = comm.poll()? {
            pulse.quicken();
            match decode(&bytes).map_err(garbled)? {
                RankMessage::Round(state) => crew.begin(&state).map_err(garbled)?,
                RankMessage::Spans(spans) => spans.into_iter().for_each(|span| crew.take(span)),
                RankMessage::Gather => crew.gather(),
                RankMessage::Stop => crew.prepared.stop.store(true, Ordering::Relaxed),
                RankMessage::End => {
                    crew.prepared.stop.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                _ => {}
            }
        }
        match crew.returned.recv_timeout(pulse.next()) {
            Ok(returned) => {
                pulse.quicken();
                crew.off(&returned);
                comm.send(0, encode(&message(returned.result, crew.seen())))?;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// What rank 0 is told of what a pool did.
fn message<P: Partial>(result: Result<Back<P>, Failure>, seen: Vec<(u32, Vec<ThreadSeen>)>) -> RankMessage {
    match result {
        Ok(Back::Finished(span, done)) => {
            let busy_s = done.iter().map(|d| d.busy_s).sum();
            let pieces = done.into_iter().map(|done| piece(done.into())).collect();
            RankMessage::Folded(Folded { span, pieces, added: Added::default(), busy_s, seen })
        }
        Ok(Back::Added(span, added)) => {
            RankMessage::Folded(Folded { span, pieces: Vec::new(), added, busy_s: added.busy_s, seen })
        }
        Ok(Back::Gathered(gathered)) => RankMessage::Gathered(gathered.map(piece)),
        Err(failure) => RankMessage::Failed(failure),
    }
}

fn piece<P: Partial>(gathered: Gathered<P>) -> Piece {
    Piece { nodes: gathered.nodes, partial: encode(&gathered.partial), leaves: gathered.leaves }
}
