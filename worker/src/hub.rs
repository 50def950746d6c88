//! Rank 0: hands out spans, gathers partials into the forest, and streams finished nodes to the foreman.
//!
//! Step 8 of a job's way (DESIGN section 4). Commits go out no more often than once a second or a hundred times the
//! cost of the last one, and none in the first second. Rank 0 folds spans on pools of its own like every other rank.

use crate::comm::{Comm, CommError};
use crate::crew::{Crew, Returned};
use crate::link::Link;
use crate::placement::{TeamSeen, ThreadSeen};
use crate::span::Finished;
use crate::spans::Planner;
use crate::team::{Gathering, Pulse, TeamError, garbled};
use crate::wire::{
    self, Commit, Failure, FromTeam, LeafRun, RankMessage, Record, Standing, TeamShape, ToTeam, decode,
    encode,
};
use crossbeam_channel::select;
use muster_kernels::{Forest, Grid, Iterate, Node, Turn, hash};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two commits, and before the first.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// A commit may cost this share of the time.
const COMMIT_SHARE: u32 = 100;

/// Ends a team that cannot do its job.
pub(crate) fn give_up(comm: &mut dyn Comm, link: &mut Link, failure: Failure) -> Result<(), TeamError> {
    link.tell(FromTeam::Failed(failure));
    end(comm)?;
    Ok(())
}

fn end(comm: &mut dyn Comm) -> Result<(), CommError> {
    (1..comm.size()).try_for_each(|rank| comm.send(rank, encode(&RankMessage::End)))
}

/// Leads a team through its job.
///
/// # Errors
/// When the team cannot go on.
pub(crate) fn lead<K: Iterate>(comm: &mut dyn Comm, mut link: Link, met: Gathering) -> Result<(), TeamError> {
    let mut crew = match Crew::<K>::start(&met.job, &met.plans[0]) {
        Ok(crew) => crew,
        Err(failure) => return give_up(comm, &mut link, failure),
    };
    let (forest, round) = match restore::<K>(&mut crew, &met.standing) {
        Ok(restored) => restored,
        Err(failure) => return give_up(comm, &mut link, failure),
    };
    let stop = crew.prepared.clone();
    let mut hub = Hub::new(crew, (forest, round), &met, link);
    let ended = hub.run(comm);
    stop.stop.store(true, Ordering::Relaxed);
    match ended {
        Ok(()) => Ok(end(comm)?),
        Err(Halt::Failed(failure)) => {
            // What failed may be mended and gone on with: what is finished by now is not lost.
            hub.commit();
            give_up(comm, &mut hub.link, failure)
        }
        Err(Halt::Broken(error)) => Err(error),
    }
}

/// The round that the ledger stands in, or the first, and its forest.
fn restore<K: Iterate>(
    crew: &mut Crew<K>,
    standing: &Standing,
) -> Result<(Forest<K::Partial>, Round), Failure> {
    let state = match &standing.state {
        Some(state) => state.clone(),
        None => encode(&crew.start_state()?),
    };
    crew.begin(&state)?;
    let mut forest = Forest::new(crew.prepared.grid, crew.prepared.kernel.order());
    for record in &standing.records {
        let kernel = &crew.prepared.kernel;
        let fits = forest
            .insert_by(&record.nodes, decode(&record.partial)?, &mut |left, right| kernel.merge(left, right))
            .map_err(Failure::BadInput)?;
        if !fits {
            return Err(Failure::Broken(
                "the ledger does not fit this job: --fresh starts again from nothing".into(),
            ));
        }
    }
    Ok((forest, Round { number: standing.round, state, told: standing.state.is_some() }))
}

/// Why the loop ended early.
enum Halt {
    /// The job cannot be done.
    Failed(Failure),
    /// This team cannot go on.
    Broken(TeamError),
}

impl<E: Into<TeamError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Halt::Broken(error.into())
    }
}

/// What rank 0 knows of a rank.
struct Member {
    pools: u32,
    threads: u32,
    spans: u32,
    blocks: u32,
    ready: bool,
}

/// The round under way.
struct Round {
    /// From 1.
    number: u32,
    /// What it began from, encoded.
    state: Vec<u8>,
    /// Whether the foreman has the state.
    told: bool,
}

impl Round {
    /// A commit of this round without anything in it yet; the first carries the state.
    fn commit(&mut self) -> Commit {
        let told = std::mem::replace(&mut self.told, true);
        let state = (!told).then(|| self.state.clone());
        Commit { round: self.number, state, records: Vec::new(), leaves: Vec::new() }
    }
}

struct Hub<K: Iterate> {
    crew: Crew<K>,
    grid: Grid,
    round: Round,
    forest: Forest<K::Partial>,
    planner: Planner,
    members: Vec<Member>,
    commits: Commits,
    link: Link,
    shape: TeamShape,
    seen: Option<TeamSeen>,
    stopping: bool,
    introduced: bool,
    began: Instant,
}

impl<K: Iterate> Hub<K> {
    fn new(crew: Crew<K>, (forest, round): (Forest<K::Partial>, Round), met: &Gathering, link: Link) -> Self {
        let grid = crew.prepared.grid;
        let member = |plans: &Vec<muster_core::plan::PoolPlan>| Member {
            pools: plans.len() as u32,
            threads: plans.iter().map(|p| p.threads).sum(),
            spans: 0,
            blocks: 0,
            ready: false,
        };
        let members: Vec<Member> = met.plans.iter().map(member).collect();
        let shape = TeamShape {
            ranks: members.len() as u32,
            threads: members.iter().map(|m| m.threads).sum(),
            members: met.hellos.iter().map(|h| (h.host.clone(), h.pid)).collect(),
            simd: crew.prepared.simd.name().into(),
            warnings: crew.warnings().to_vec(),
        };
        let committed = met.standing.records.iter().flat_map(|r| r.nodes.iter().copied()).collect();
        Hub {
            planner: Planner::new(grid, forest.done().missing()),
            commits: Commits::new(met.job.commits, committed),
            crew,
            grid,
            round,
            forest,
            members,
            link,
            shape,
            seen: met.job.placement.then(|| TeamSeen::new(&met.hellos, &met.plans)),
            stopping: false,
            introduced: false,
            began: Instant::now(),
        }
    }

    fn run(&mut self, comm: &mut dyn Comm) -> Result<(), Halt> {
        let mut pulse = Pulse::new();
        self.join(comm, 0, &[])?;
        loop {
            while let Some((from, bytes)) = comm.poll()? {
                pulse.quicken();
                self.heard(comm, from, decode(&bytes).map_err(garbled)?)?;
            }
            if self.forest.done().is_full() {
                let fold_s = self.began.elapsed().as_secs_f64();
                match self.turn()? {
                    Turn::Answer(answer) => return self.finish(&answer, fold_s),
                    Turn::Next(state) => self.begin(comm, encode(&state))?,
                }
                pulse.quicken();
            }
            if self.stopping && self.members.iter().all(|m| m.spans == 0) {
                self.commit();
                self.tell_placement();
                self.link.tell(FromTeam::Drained);
                return Ok(());
            }
            let wait = if comm.size() > 1 { pulse.next() } else { COMMIT_EVERY };
            select! {
                recv(self.crew.returned) -> returned => {
                    pulse.quicken();
                    self.own(comm, returned.expect("the crew holds the other end"))?;
                }
                recv(self.link.from_foreman) -> said => self.told(comm, said.map_err(|_| TeamError::ForemanGone)?)?,
                default(wait.min(self.commits.wait())) => {}
            }
            if self.commits.due() {
                self.commit();
            }
        }
    }

    /// A rank is ready to fold.
    fn join(&mut self, comm: &mut dyn Comm, rank: usize, warnings: &[String]) -> Result<(), Halt> {
        self.members[rank].ready = true;
        self.shape.warnings.extend_from_slice(warnings);
        if self.members.iter().all(|m| m.ready) {
            self.introduce();
        }
        self.tell_round(comm, rank)?;
        self.assign(comm, rank)
    }

    /// Tells the foreman who is in the team, once.
    fn introduce(&mut self) {
        if !std::mem::replace(&mut self.introduced, true) {
            self.link.tell(FromTeam::Started(self.shape.clone()));
        }
    }

    fn tell_round(&self, comm: &mut dyn Comm, rank: usize) -> Result<(), Halt> {
        match rank {
            // Rank 0 has begun it.
            0 => Ok(()),
            _ => Ok(comm.send(rank, encode(&RankMessage::Round(self.round.state.clone())))?),
        }
    }

    /// Hands spans to a rank until it has the next one for every pool.
    fn assign(&mut self, comm: &mut dyn Comm, rank: usize) -> Result<(), Halt> {
        let team_threads: u32 = self.members.iter().map(|m| m.threads).sum();
        let mut spans = Vec::new();
        while !self.stopping {
            let member = &mut self.members[rank];
            if member.spans >= 2 * member.pools && member.blocks >= 2 * member.threads {
                break;
            }
            let Some(span) = self.planner.next(member.threads.div_ceil(member.pools), team_threads) else {
                break;
            };
            member.spans += 1;
            member.blocks += span.blocks(self.grid).len() as u32;
            spans.push(span);
        }
        if rank == 0 {
            spans.into_iter().for_each(|span| self.crew.take(span));
        } else if !spans.is_empty() {
            comm.send(rank, encode(&RankMessage::Spans(spans)))?;
        }
        Ok(())
    }

    fn heard(&mut self, comm: &mut dyn Comm, from: usize, message: RankMessage) -> Result<(), Halt> {
        match message {
            RankMessage::Ready(warnings) => self.join(comm, from, &warnings),
            RankMessage::Failed(failure) => Err(Halt::Failed(failure)),
            RankMessage::Folded(folded) => {
                self.note(from, folded.seen);
                let each = folded.busy_s / folded.pieces.len().max(1) as f64;
                let mut done = Vec::new();
                for piece in folded.pieces {
                    let partial = decode(&piece.partial).map_err(garbled)?;
                    done.push(Finished { node: piece.node, partial, leaves: piece.leaves, busy_s: each });
                }
                self.accept(comm, from, folded.span, done)
            }
            _ => Ok(()),
        }
    }

    fn own(&mut self, comm: &mut dyn Comm, returned: Returned<K::Partial>) -> Result<(), Halt> {
        self.crew.off(&returned);
        let seen = self.crew.seen();
        self.note(0, seen);
        match returned.result {
            Ok(done) => self.accept(comm, 0, returned.span, done),
            Err(failure) => Err(Halt::Failed(failure)),
        }
    }

    /// Notes where the threads of a rank ran and their memory lay.
    fn note(&mut self, rank: usize, seen: Vec<(u32, Vec<ThreadSeen>)>) {
        let Some(team) = &mut self.seen else { return };
        seen.into_iter().for_each(|(pool, threads)| team.add(rank, pool, threads));
    }

    fn tell_placement(&mut self) {
        if let Some(team) = &self.seen {
            self.link.tell(FromTeam::Placed(team.pools()));
        }
    }

    /// Takes the finished part of a span into the forest.
    fn accept(
        &mut self,
        comm: &mut dyn Comm,
        rank: usize,
        span: Node,
        done: Vec<Finished<K::Partial>>,
    ) -> Result<(), Halt> {
        self.members[rank].spans -= 1;
        self.members[rank].blocks -= span.blocks(self.grid).len() as u32;
        for finished in done {
            self.planner.learn(finished.leaves.len() as u32, finished.busy_s);
            let kernel = &self.crew.prepared.kernel;
            let mut merge = |left, right| kernel.merge(left, right);
            let fits = self.forest.insert_by(&[finished.node], finished.partial, &mut merge);
            if !fits.map_err(|problems| Halt::Failed(Failure::BadInput(problems)))? {
                return Err(TeamError::Garbled(format!("rank {rank} folded blocks twice")).into());
            }
            self.commits.leaves.push(LeafRun { first: finished.node.first(), hashes: finished.leaves });
        }
        self.progress();
        self.assign(comm, rank)
    }

    fn progress(&mut self) {
        self.link.tell(FromTeam::Progress { round: self.round.number, done: self.forest.done().len() });
    }

    fn told(&mut self, comm: &mut dyn Comm, said: ToTeam) -> Result<(), Halt> {
        match said {
            ToTeam::Committed { cost_us } => self.commits.written(Duration::from_micros(cost_us)),
            ToTeam::Stop => {
                self.stopping = true;
                self.crew.prepared.stop.store(true, Ordering::Relaxed);
                for rank in 1..comm.size() {
                    comm.send(rank, encode(&RankMessage::Stop))?;
                }
            }
            ToTeam::Job(..) => {}
        }
        Ok(())
    }

    /// Sends what is finished and not committed.
    fn commit(&mut self) {
        if !self.commits.wanted {
            return;
        }
        let began = Instant::now();
        let fresh = self
            .forest
            .entries()
            .into_iter()
            .filter(|(nodes, _)| !self.commits.sent.is_superset(&set(nodes)));
        let records: Vec<Record> =
            fresh.map(|(nodes, partial)| Record { nodes, partial: encode(partial) }).collect();
        // The state of the first round can be computed again; a later one is worth a commit of its own.
        if records.is_empty() && (self.round.told || self.round.number == 1) {
            return;
        }
        self.commits.sent.extend(records.iter().flat_map(|r| r.nodes.iter().copied()));
        let leaves = std::mem::take(&mut self.commits.leaves);
        self.link.tell(FromTeam::Commit(Commit { records, leaves, ..self.round.commit() }));
        self.commits.under_way = Some(began.elapsed());
    }

    /// What the round leads to, once its forest is full; the forest is empty then.
    fn turn(&mut self) -> Result<Turn<K::State, K::Answer>, Halt> {
        let empty = Forest::new(self.grid, self.crew.prepared.kernel.order());
        let root = std::mem::replace(&mut self.forest, empty).into_root();
        let root = root.map_err(|_| TeamError::Garbled("the forest is not full".into()))?;
        self.crew.finish(root).map_err(Halt::Failed)
    }

    /// Begins the next round. No span is out: the forest was full. What was not committed of the round before is not
    /// needed any more, as the state stands for it.
    fn begin(&mut self, comm: &mut dyn Comm, state: Vec<u8>) -> Result<(), Halt> {
        self.crew.begin(&state).map_err(Halt::Failed)?;
        self.round = Round { number: self.round.number + 1, state, told: false };
        self.planner.again();
        self.commits.sent.clear();
        self.commits.leaves.clear();
        self.progress();
        // A rank that is not ready yet hears of the round when it is.
        for rank in (0..self.members.len()).filter(|&rank| self.members[rank].ready).collect::<Vec<_>>() {
            self.tell_round(comm, rank)?;
            self.assign(comm, rank)?;
        }
        Ok(())
    }

    fn finish(&mut self, answer: &K::Answer, fold_s: f64) -> Result<(), Halt> {
        // A short job may be done before every rank is ready.
        self.introduce();
        self.tell_placement();
        let finished = wire::Finished {
            fold_s,
            json: serde_json::to_string(answer).map_err(|e| Halt::Failed(Failure::Broken(e.to_string())))?,
            text: answer.to_string(),
            hash: hash::answer(K::NAME, self.crew.prepared.kernel.class(), answer),
        };
        let leaves = std::mem::take(&mut self.commits.leaves);
        self.link.tell(FromTeam::Finished(finished, Commit { leaves, ..self.round.commit() }));
        Ok(())
    }
}

fn set(nodes: &[Node]) -> BTreeSet<Node> {
    nodes.iter().copied().collect()
}

/// What the foreman has been sent, and when it gets more.
struct Commits {
    wanted: bool,
    sent: BTreeSet<Node>,
    leaves: Vec<LeafRun>,
    next: Instant,
    /// A commit that is not written yet, and what encoding it took.
    under_way: Option<Duration>,
}

impl Commits {
    fn new(wanted: bool, sent: BTreeSet<Node>) -> Self {
        Commits { wanted, sent, leaves: Vec::new(), next: Instant::now() + COMMIT_EVERY, under_way: None }
    }

    fn wait(&self) -> Duration {
        match self.wanted && self.under_way.is_none() {
            true => self.next.saturating_duration_since(Instant::now()),
            false => COMMIT_EVERY,
        }
    }

    fn due(&self) -> bool {
        self.wanted && self.under_way.is_none() && Instant::now() >= self.next
    }

    fn written(&mut self, cost: Duration) {
        let encoding = self.under_way.take().unwrap_or_default();
        self.next = Instant::now() + COMMIT_EVERY.max((cost + encoding) * COMMIT_SHARE);
    }
}
