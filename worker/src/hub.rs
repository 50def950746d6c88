//! Rank 0: hands out spans, gathers partials into the forest, and streams finished nodes to the foreman.
//!
//! Step 8 of a job's way (DESIGN section 4). Commits go out no more often than once a second or a hundred times the
//! cost of the last one, and none in the first second. Rank 0 folds spans on pools of its own like every other rank.

use crate::comm::{Comm, CommError};
use crate::commits::{COMMIT_EVERY, Commits};
use crate::crew::{Back, Crew, Returned};
use crate::link::Link;
use crate::placement::{TeamSeen, ThreadSeen};
use crate::running::Gathered;
use crate::spans::Planner;
use crate::team::{Gathering, Pulse, TeamError, garbled};
use crate::wire::{
    self, Added, Commit, Failure, FromTeam, Piece, RankMessage, Record, Standing, TeamShape, ToTeam, decode,
    encode,
};
use crossbeam_channel::select;
use muster_kernels::{Forest, Grid, Iterate, Node, Partial, Turn, hash};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
    /// Blocks in its running partials. Below zero while it has handed in blocks of a span that is still out.
    added: i64,
    /// How many pools still have to hand theirs in.
    gathering: u32,
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
            added: 0,
            gathering: 0,
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
            self.gather(comm)?;
            let out = |m: &Member| m.spans > 0 || m.added != 0 || m.gathering > 0;
            if self.stopping && !self.members.iter().any(out) {
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
            if self.commits.due() && !self.members.iter().any(|m| m.added > 0) {
                self.commit();
            }
        }
    }

    /// Has ranks hand in their running partials, when a commit is due or nothing else is left to do.
    fn gather(&mut self, comm: &mut dyn Comm) -> Result<(), Halt> {
        let idle = self.members.iter().all(|m| m.spans == 0) && (self.stopping || self.planner.left() == 0);
        if !(idle || self.commits.due()) || self.members.iter().any(|m| m.gathering > 0) {
            return Ok(());
        }
        for rank in 0..self.members.len() {
            let member = &mut self.members[rank];
            if member.added <= 0 {
                continue;
            }
            member.gathering = member.pools;
            self.commits.hold();
            match rank {
                0 => self.crew.gather(),
                _ => comm.send(rank, encode(&RankMessage::Gather))?,
            }
        }
        Ok(())
    }

    /// A pool of a rank has handed in its running partials; the last one may make a commit.
    fn gathered(&mut self, rank: usize, gathered: Option<Gathered<K::Partial>>) -> Result<(), Halt> {
        self.members[rank].gathering -= 1;
        if let Some(gathered) = gathered {
            let blocks: usize = gathered.nodes.iter().map(|node| node.blocks(self.grid).len()).sum();
            self.members[rank].added -= blocks as i64;
            self.insert(rank, gathered)?;
        }
        if self.members.iter().all(|m| m.gathering == 0) {
            self.commits.release();
            if self.commits.due() {
                self.commit();
            }
        }
        Ok(())
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
                self.members[from].added += i64::from(folded.added.blocks);
                let blocks = folded.pieces.iter().flat_map(|p| &p.leaves).map(|run| run.hashes.len() as u32);
                let blocks = blocks.sum::<u32>() + folded.added.blocks;
                for piece in folded.pieces {
                    self.insert(from, gathered(piece)?)?;
                }
                self.off(comm, from, folded.span, Added { blocks, busy_s: folded.busy_s, ..folded.added })
            }
            RankMessage::Gathered(piece) => self.gathered(from, piece.map(gathered).transpose()?),
            _ => Ok(()),
        }
    }

    fn own(&mut self, comm: &mut dyn Comm, returned: Returned<K::Partial>) -> Result<(), Halt> {
        self.crew.off(&returned);
        let seen = self.crew.seen();
        self.note(0, seen);
        match returned.result.map_err(Halt::Failed)? {
            Back::Finished(span, done) => {
                let (mut blocks, mut busy_s) = (0, 0.0);
                for finished in done {
                    blocks += finished.leaves.len() as u32;
                    busy_s += finished.busy_s;
                    self.insert(0, finished.into())?;
                }
                self.off(comm, 0, span, Added { blocks, busy_s, bytes: 0 })
            }
            Back::Added(span, added) => {
                self.members[0].added += i64::from(added.blocks);
                self.off(comm, 0, span, added)
            }
            Back::Gathered(gathered) => self.gathered(0, gathered),
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

    /// Takes finished blocks into the forest.
    fn insert(&mut self, rank: usize, gathered: Gathered<K::Partial>) -> Result<(), Halt> {
        let kernel = &self.crew.prepared.kernel;
        let mut merge = |left, right| kernel.merge(left, right);
        let fits = self.forest.insert_by(&gathered.nodes, gathered.partial, &mut merge);
        if !fits.map_err(|problems| Halt::Failed(Failure::BadInput(problems)))? {
            return Err(TeamError::Garbled(format!("rank {rank} folded blocks twice")).into());
        }
        self.commits.leaves.extend(gathered.leaves);
        Ok(())
    }

    /// A rank has done a span, as far as `done` says.
    fn off(&mut self, comm: &mut dyn Comm, rank: usize, span: Node, done: Added) -> Result<(), Halt> {
        self.members[rank].spans -= 1;
        self.members[rank].blocks -= span.blocks(self.grid).len() as u32;
        self.planner.learn(done.blocks, done.busy_s);
        self.commits.foresee(done.bytes);
        self.progress();
        self.assign(comm, rank)
    }

    fn progress(&mut self) {
        let added: i64 = self.members.iter().map(|m| m.added).sum();
        let done = (i64::from(self.forest.done().len()) + added).max(0) as u32;
        self.link.tell(FromTeam::Progress { round: self.round.number, done });
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
            self.commits.put_off();
            return;
        }
        self.commits.sent.extend(records.iter().flat_map(|r| r.nodes.iter().copied()));
        let leaves = std::mem::take(&mut self.commits.leaves);
        self.link.tell(FromTeam::Commit(Commit { records, leaves, ..self.round.commit() }));
        self.commits.sent_off(began.elapsed());
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

/// What a rank has handed in.
fn gathered<P: Partial>(piece: Piece) -> Result<Gathered<P>, TeamError> {
    let partial = decode(&piece.partial).map_err(garbled)?;
    Ok(Gathered { nodes: piece.nodes, partial, leaves: piece.leaves })
}
