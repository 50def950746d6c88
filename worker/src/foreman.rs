//! The foreman: owns a kernel step. Starts teams, receives commits, writes the ledger, and starts the next team from
//! it when one is lost.
//!
//! Step 8 of a job's way (DESIGN section 4). A team is disposable; the ledger is the job. Each team has a line of its
//! own, so that nothing from an earlier attempt can reach the ledger.

use crate::launch::{self, Launch, Running};
use crate::ledger::{Book, Ledger, LedgerError};
use crate::link::Line;
use crate::program::{Described, Program};
use crate::progress::{Event, plural};
use crate::wire::{Commit, Failure, Finished, FromTeam, Standing, TeamJob, TeamShape, ToTeam, VERSION};
use crossbeam_channel::{Receiver, never, select};
use muster_kernels::{Pattern, hash::Hash16};
use muster_spec::Problems;
use std::time::{Duration, Instant};

/// How long a team whose launcher has ended may take to close its line.
const LINGER: Duration = Duration::from_secs(2);

/// What a foreman is asked to do.
pub struct Request {
    /// The job.
    pub described: Described,
    /// Threads in each rank; by default the cores of its share.
    pub threads: Option<u32>,
    /// Scratch for each rank, in bytes.
    pub memory_limit: Option<u64>,
    /// Vector instructions to use instead of the best.
    pub simd: Option<String>,
    /// Whether to tell where threads ran and memory lay.
    pub placement: bool,
    /// How many teams may be lost before the foreman gives up, plus one.
    pub max_attempts: u32,
}

impl Request {
    /// What a team is told to do, and whether it shall commit on the way.
    pub(crate) fn job(&self, commits: bool) -> TeamJob {
        TeamJob {
            kernel: self.described.kernel.clone(),
            spec_json: self.described.spec_json.clone(),
            threads: self.threads,
            memory_limit: self.memory_limit,
            sharers: 1,
            simd: self.simd.clone(),
            commits,
            placement: self.placement,
        }
    }

    /// Tells that a team folds.
    pub(crate) fn tell_team(&self, attempt: u32, shape: &TeamShape, tell: &mut dyn FnMut(Event)) {
        tell(Event::Team {
            kernel: self.described.kernel.clone(),
            attempt,
            ranks: shape.ranks,
            threads: shape.threads,
            pids: shape.members.iter().map(|m| m.1).collect(),
            simd: shape.simd.clone(),
        });
        for text in &shape.warnings {
            tell(Event::Warning { text: text.clone() });
        }
    }

    /// How far a team has come, with what was done at the start, and when that was.
    pub(crate) fn progress(
        &self,
        attempt: u32,
        (resumed, began): (Mark, Instant),
        (round, done): (u32, u32),
    ) -> Event {
        let described = &self.described;
        let (blocks, elapsed_s) = (described.grid.blocks(), began.elapsed().as_secs_f64());
        let round = Some(round).filter(|_| described.pattern == Pattern::Iterate);
        let fresh = (Mark { round, done, blocks }.passes() - resumed.passes()).max(0.0);
        Event::Progress {
            kernel: described.kernel.clone(),
            round,
            done,
            blocks,
            attempt,
            elapsed_s,
            rate: described.work.total * fresh / elapsed_s.max(1e-9),
            unit: described.work.unit.clone(),
        }
    }
}

/// A rank program of another version was started.
pub(crate) fn other_version(other: u32) -> Failure {
    let why = format!("the rank program speaks version {other} and muster version {VERSION}");
    Failure::Broken(format!("{why}: install both from the same build"))
}

/// How a kernel step ended without an error.
#[derive(Debug)]
pub enum Outcome {
    /// With an answer.
    Answered(Box<Answered>),
    /// By the user, or the batch system; what need not be computed again.
    Interrupted(Mark),
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The round under way, from 1; none where the kernel has one alone.
    pub round: Option<u32>,
    /// The finished blocks of the round.
    pub done: u32,
    /// The blocks of a round.
    pub blocks: u32,
}

impl Mark {
    /// How often every block was folded, finished rounds and the share of this one.
    pub fn passes(self) -> f64 {
        f64::from(self.round.map_or(0, |round| round - 1)) + f64::from(self.done) / f64::from(self.blocks)
    }
}

impl Mark {
    /// As [`Mark::passes`], when this round is finished.
    pub fn passes_to_end(self) -> f64 {
        Mark { done: self.blocks, ..self }.passes()
    }
}

/// `3 of 8 blocks`, `3 of 8 blocks of round 2`.
impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} blocks", self.done, self.blocks)?;
        self.round.map_or(Ok(()), |round| write!(f, " of round {round}"))
    }
}

/// An answer and what it took.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub finished: Finished,
    /// Where the job ended: how many rounds it took.
    pub mark: Mark,
    /// What the last round began from, encoded; nothing where there is one round alone.
    pub state: Vec<u8>,
    /// The hash of every leaf of the last round, in order.
    pub leaves: Vec<Hash16>,
    /// Teams that were started.
    pub attempts: u32,
    /// The last team.
    pub team: TeamShape,
    /// What was in the ledger at the start.
    pub resumed: Mark,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForemanError {
    /// The request or its input is wrong.
    #[error("{0}")]
    BadInput(Problems),
    /// The program is wrong or the machine unsuitable.
    #[error("{0}")]
    Broken(String),
    /// The pool does not keep what is done of it: it can be computed without.
    #[error("{0}")]
    Unkept(String),
    /// Too many teams were lost.
    #[error("{} lost, the last because {why}; what is done stays in the ledger: --resume goes on", plural(*attempts, "team"))]
    Lost {
        /// How many.
        attempts: u32,
        /// Why the last one.
        why: String,
    },
}

/// Where finished blocks are kept.
enum Store {
    Disk(Ledger),
    /// The ledger cannot be written any more, or was not wanted.
    Memory(Book),
}

impl Store {
    fn book(&self) -> &Book {
        match self {
            Store::Disk(ledger) => ledger.book(),
            Store::Memory(book) => book,
        }
    }
}

/// How one team ended.
enum Ended {
    Answered(Box<Answered>),
    Drained,
    Lost(String),
    Failed(Failure),
}

/// A foreman at work.
pub struct Foreman<'a> {
    request: &'a Request,
    store: Store,
    commits: bool,
    attempts: u32,
    resumed: Mark,
    began: Instant,
    tell: &'a mut dyn FnMut(Event),
    interrupt: &'a Receiver<()>,
}

impl<'a> Foreman<'a> {
    /// A foreman for one kernel step, with the ledger it goes on from, if it shall keep one. Events go to `tell`; the
    /// first message on `interrupt` drains the team, the second kills it.
    pub fn new(
        request: &'a Request,
        ledger: Option<Ledger>,
        tell: &'a mut dyn FnMut(Event),
        interrupt: &'a Receiver<()>,
    ) -> Self {
        let commits = ledger.is_some();
        let store = ledger.map_or_else(|| Store::Memory(Book::new(request.described.grid)), Store::Disk);
        let resumed = mark(&request.described, store.book());
        Foreman { request, store, commits, attempts: 0, resumed, began: Instant::now(), tell, interrupt }
    }

    /// Starts teams until one answers.
    ///
    /// # Errors
    /// When the job cannot be done, or too many teams were lost.
    pub fn run(&mut self, launch: &Launch, programs: &'static [Program]) -> Result<Outcome, ForemanError> {
        loop {
            self.attempts += 1;
            let ended = match launch::start(launch, programs, self.interrupt) {
                Ok(team) => self.attempt(team),
                Err(why) if why == "interrupted" => Ended::Drained,
                Err(why) => Ended::Lost(why),
            };
            match ended {
                Ended::Lost(why) if self.attempts < self.request.max_attempts => self.note_loss(why),
                ended => return self.conclude(ended),
            }
        }
    }

    /// Works with the one team whose rank 0 is this process: an MPI program started by hand.
    ///
    /// # Errors
    /// When the job cannot be done.
    pub fn run_given(&mut self, line: Line) -> Result<Outcome, ForemanError> {
        self.attempts = 1;
        let ended = self.attempt(Running::given(line));
        self.conclude(ended)
    }

    /// Removes the ledger: the answer is out.
    pub fn close(self) {
        if let Store::Disk(ledger) = self.store
            && let Err(error) = ledger.remove()
        {
            (self.tell)(Event::Warning { text: error.to_string() });
        }
    }

    fn conclude(&self, ended: Ended) -> Result<Outcome, ForemanError> {
        match ended {
            Ended::Answered(answer) => Ok(Outcome::Answered(answer)),
            Ended::Drained => Ok(Outcome::Interrupted(self.mark())),
            Ended::Lost(why) => Err(ForemanError::Lost { attempts: self.attempts, why }),
            Ended::Failed(Failure::BadInput(problems)) => Err(ForemanError::BadInput(problems)),
            Ended::Failed(Failure::Broken(why) | Failure::Host(why)) => Err(ForemanError::Broken(why)),
        }
    }

    fn note_loss(&mut self, why: String) {
        let kept = self.mark();
        (self.tell)(Event::Lost {
            attempt: self.attempts,
            of: self.request.max_attempts,
            why,
            kept: kept.done,
            blocks: kept.blocks,
            round: kept.round,
        });
    }

    fn mark(&self) -> Mark {
        mark(&self.request.described, self.store.book())
    }

    /// Works with one team until it ends.
    fn attempt(&mut self, mut team: Running) -> Ended {
        let job = self.request.job(self.commits);
        let book = self.store.book();
        let (round, state) = (book.round(), book.state().map(<[u8]>::to_vec));
        team.line.tell(ToTeam::Job(job, Standing { round, state, records: book.records().to_vec() }));
        let mut ended = team.ended.clone();
        let mut launcher_ended = None;
        let mut shape = None;
        let mut stopping = false;
        loop {
            let linger = launcher_ended.as_ref().map_or(Duration::MAX, |_| LINGER);
            select! {
                recv(team.line.from_team) -> said => match said {
                    Ok(said) => if let Some(ended) = self.heard(&mut team, said, &mut shape) { return ended },
                    Err(_) => return self.lost(&team, launcher_ended, stopping),
                },
                recv(ended) -> how => {
                    launcher_ended = Some(how.unwrap_or_default());
                    ended = never();
                    team.kill();
                }
                recv(self.interrupt) -> _ => {
                    if stopping || !team.line.tell(ToTeam::Stop) {
                        team.kill();
                        return Ended::Drained;
                    }
                    stopping = true;
                    (self.tell)(Event::Draining);
                }
                default(linger.min(Duration::from_secs(3600))) => if launcher_ended.is_some() {
                    return self.lost(&team, launcher_ended, stopping);
                },
            }
        }
    }

    /// The line to the team is closed.
    fn lost(&self, team: &Running, launcher_ended: Option<String>, stopping: bool) -> Ended {
        let how = launcher_ended.or_else(|| team.wait(LINGER));
        team.kill();
        if stopping {
            return Ended::Drained;
        }
        let mut why = match how {
            Some(how) => format!("{} ended ({how})", team.name),
            None => "rank 0 ended".into(),
        };
        let said = team.said();
        let telling =
            said.iter().filter(|l| l.contains("signal") || l.contains("rror") || l.contains("panicked"));
        for line in telling.take(3) {
            why.push_str("; ");
            why.push_str(line.trim());
        }
        Ended::Lost(why)
    }

    /// One message of rank 0; the end of the attempt if it was the last.
    fn heard(&mut self, team: &mut Running, said: FromTeam, shape: &mut Option<TeamShape>) -> Option<Ended> {
        match said {
            FromTeam::Version(VERSION) => None,
            FromTeam::Version(other) => {
                team.kill();
                Some(Ended::Failed(other_version(other)))
            }
            FromTeam::Started(started) => {
                self.request.tell_team(self.attempts, &started, self.tell);
                *shape = Some(started);
                None
            }
            FromTeam::Progress { round, done } => {
                let before = (self.resumed, self.began);
                (self.tell)(self.request.progress(self.attempts, before, (round, done)));
                None
            }
            FromTeam::Placed(pools) => {
                (self.tell)(Event::Placement { attempt: self.attempts, pools });
                None
            }
            FromTeam::Commit(commit) => {
                let cost = self.commit(commit);
                team.line.tell(ToTeam::Committed { cost_us: cost.as_micros() as u64 });
                None
            }
            FromTeam::Finished(finished, rest) => Some(self.answered(team, finished, rest, shape.take())),
            FromTeam::Drained => Some(Ended::Drained),
            FromTeam::Failed(Failure::Host(why)) => {
                team.kill();
                Some(Ended::Lost(why))
            }
            FromTeam::Failed(failure) => Some(Ended::Failed(failure)),
        }
    }

    /// Appends to the ledger; how long it took. A ledger that cannot be written is a warning: the answer is the same,
    /// but a kill of the foreman would cost the work.
    fn commit(&mut self, commit: Commit) -> Duration {
        let began = Instant::now();
        if let Store::Disk(ledger) = &mut self.store
            && let Err(error) = ledger.append(commit.clone())
        {
            let text =
                format!("{error}; going on without a ledger, so a kill of muster now costs what is done");
            (self.tell)(Event::Warning { text });
            self.store = Store::Memory(ledger.book().clone());
        }
        if let Store::Memory(book) = &mut self.store {
            let _ = book.apply(commit);
        }
        began.elapsed()
    }

    fn answered(&self, team: &Running, finished: Finished, rest: Commit, shape: Option<TeamShape>) -> Ended {
        let mut book = self.store.book().clone();
        let whole = book.apply(rest);
        let leaves: Option<Vec<Hash16>> = book.leaves().iter().copied().collect();
        let (Some(leaves), Some(shape), true) = (leaves, shape, whole) else {
            team.kill();
            return Ended::Failed(Failure::Broken(
                "the team's answer lacks the hashes of some blocks".into(),
            ));
        };
        // The launcher ends by itself once the ranks have finalised; a team that hangs then has answered already.
        if team.wait(LINGER).is_none() {
            team.kill();
        }
        Ended::Answered(Box::new(Answered {
            finished,
            mark: mark(&self.request.described, &book),
            state: book.state().unwrap_or_default().to_vec(),
            leaves,
            attempts: self.attempts,
            team: shape,
            resumed: self.resumed,
        }))
    }
}

/// How far a book has come.
pub fn mark(described: &Described, book: &Book) -> Mark {
    let round = Some(book.round()).filter(|_| described.pattern == Pattern::Iterate);
    Mark { round, done: book.done().len(), blocks: described.grid.blocks() }
}

impl From<LedgerError> for ForemanError {
    fn from(error: LedgerError) -> Self {
        ForemanError::Broken(error.to_string())
    }
}
