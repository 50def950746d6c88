//! What must hold of what really runs, whatever the controller believes.

use crate::spec::{SOLVERS, Spec};
use muster_core::books::event::Event as Change;
use muster_core::cluster::{Bits, HostId};
use muster_core::job::Body;
use muster_core::job::array::Array;
use muster_core::job::event::JobEvent;
use muster_core::job::id::{JobId, RunId};
use muster_core::job::outcome::Outcome;
use muster_core::job::state::State;
use muster_core::job::update::{Field, Update};
use muster_core::job::usage::Usage;
use muster_core::protocol::clerk::Clerk;
use muster_core::protocol::controller::Entry;
use muster_core::protocol::desk::AttemptEnd;
use muster_core::protocol::lease::Lease;
use muster_core::protocol::ledger::{Commit, Round};
use muster_core::protocol::message::{Conduct, Ended};
use muster_core::protocol::stamp::AttemptId;
use muster_core::protocol::standing::{PartEnd, Record, Standing};
use muster_spec::Grid;
use std::collections::{BTreeMap, BTreeSet};

/// Processes that run: of an attempt, on a host.
pub(crate) type Running = BTreeMap<(AttemptId, usize), Held>;

/// What processes on a host are, and hold of it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) spec: Spec,
    pub(crate) cores: Bits,
}

/// What has happened so far, as far as promises rest on it.
#[derive(Default)]
pub(crate) struct Checks {
    /// What the journal on disk says.
    begun: BTreeSet<AttemptId>,
    /// How often each was given each host: a kernel step may be given one again.
    given: BTreeMap<(AttemptId, usize), u32>,
    closed: BTreeSet<AttemptId>,
    has: BTreeMap<AttemptId, BTreeSet<HostId>>,
    /// What has ever run.
    spawned: BTreeMap<(AttemptId, usize), u32>,
    pub(crate) running: Running,
    /// What of it is stopped.
    pub(crate) stopped: BTreeSet<(AttemptId, usize)>,
    /// When each was told that it has to end.
    pub(crate) told: BTreeMap<(AttemptId, usize), i64>,
    /// The time.
    pub(crate) now: i64,
    /// When it was noted, perhaps long before it was on disk, that a kernel step has these hosts.
    pub(crate) resized: BTreeMap<(AttemptId, Vec<HostId>), i64>,
    /// Since when members of kernel steps are to leave.
    leaves: BTreeMap<(AttemptId, usize), i64>,
    /// Which hosts foremen have said that they use.
    pub(crate) said: BTreeSet<(AttemptId, BTreeSet<HostId>)>,
    /// What has a reason to end, or has ended.
    ends: BTreeSet<AttemptId>,
    batch: BTreeMap<AttemptId, HostId>,
    /// Batch scripts that came to their own end.
    pub(crate) finished: BTreeSet<AttemptId>,
    /// What each that ended on a host used there, in order, and has not told yet.
    pub(crate) used: BTreeMap<(AttemptId, usize), Vec<Usage>>,
    /// What the journal on disk says of what was used so far.
    noted: BTreeMap<AttemptId, Usage>,
    /// What clients were promised.
    acknowledged: BTreeMap<RunId, Spec>,
    cancelled: BTreeSet<RunId>,
    /// What clients asked to be cancelled, whatever they were told.
    pub(crate) asked_to_end: BTreeSet<RunId>,
    /// Runs that a user or an operator has meddled with.
    pub(crate) meddled: BTreeSet<RunId>,
    given_up: BTreeSet<RunId>,
    /// What jobs were submitted as.
    specs: BTreeMap<RunId, Spec>,
    steps: BTreeMap<RunId, Steps>,
    /// How many blocks files have, as probes said.
    grids: BTreeMap<JobId, u32>,
    /// Jobs whose file was changed after it was looked for.
    pub(crate) changed: BTreeSet<RunId>,
}

/// What something uses that ends on a host now: never nothing, and hardly ever the same twice.
pub(crate) fn usage(id: AttemptId, host: usize, now: i64) -> Usage {
    let seed = u64::from(id.run.job.0) << 48 ^ (host as u64) << 40 ^ now.unsigned_abs();
    let number = |salt: u64| ((seed ^ salt << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) + 1;
    Usage {
        user_ms: number(1),
        system_ms: number(2),
        peak_memory_kib: number(3),
        read_bytes: number(4),
        written_bytes: number(5),
        voluntary_switches: number(6),
        involuntary_switches: number(7),
    }
}

/// What jobs read.
pub(crate) const FILE: &str = "input.csv";

/// Whether a host of so many has the file of a job: one has, and of the others most.
pub(crate) fn has_file(job: JobId, host: usize, hosts: usize) -> bool {
    let luck = (u64::from(job.0) << 8 | host as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    job.0 as usize % hosts == host || !luck.is_multiple_of(3)
}

/// What the journal on disk says of a kernel step.
struct Steps {
    blocks: u32,
    round: u32,
    /// What is done of the round, each with its sum.
    pieces: Vec<(BTreeSet<u32>, u64)>,
}

/// What a block of a kernel step comes to in a round.
pub(crate) fn value(run: RunId, round: u32, block: u32) -> u64 {
    let number = u64::from(run.job.0) << 40 | u64::from(round) << 32 | u64::from(block);
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a round begins from: the sum of the one before.
pub(crate) fn state(run: RunId, blocks: u32, round: u32) -> Option<Vec<u8>> {
    (round > 1).then(|| sum(run, round - 1, 0..blocks).to_le_bytes().to_vec())
}

fn sum(run: RunId, round: u32, blocks: impl IntoIterator<Item = u32>) -> u64 {
    blocks.into_iter().fold(0, |sum: u64, block| sum.wrapping_add(value(run, round, block)))
}

/// The job of which a run is an element, if it is one: what is known of it is known of all.
fn whole(run: RunId) -> RunId {
    RunId { element: None, ..run }
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Checks {
    /// A record is on disk.
    pub(crate) fn durable(&mut self, entry: &Entry<Change>) -> Verdict {
        if let Record::Over(id, host, end, usage) = &entry.record {
            self.has_used((*id, host.0 as usize), *end, *usage)?;
            self.leaves.remove(&(*id, host.0 as usize));
            if self.batch.get(id) == Some(host) {
                self.ends.insert(*id);
            }
        }
        if let Record::End(id, _) | Record::Notice(id, ..) = &entry.record {
            self.ends.insert(*id);
            self.meddled.insert(id.run);
        }
        match &entry.record {
            Record::Begun(begun, _) => {
                self.begun.insert(begun.id);
                begun.places.iter().for_each(|place| self.give(begun.id, place.host));
                self.knows_its_files(begun.id)?;
                self.has.insert(begun.id, begun.places.iter().map(|place| place.host).collect());
                self.batch.insert(begun.id, begun.places[0].host);
                ensure(!self.cancelled.contains(&whole(begun.id.run)), || {
                    format!("{} begins though cancelled", begun.id)
                })?;
            }
            Record::Closed(id, end, usage) => self.is_closed(*id, *end, *usage)?,
            Record::Resized(resized, _) => {
                let hosts: BTreeSet<HostId> = resized.places.iter().map(|place| place.host).collect();
                let before = self.has.insert(resized.id, hosts.clone()).unwrap_or_default();
                hosts.difference(&before).for_each(|host| self.give(resized.id, *host));
                let places = resized.places.iter().map(|place| place.host).collect();
                let since = self.resized.get(&(resized.id, places)).copied().unwrap_or(self.now);
                let left = before.difference(&hosts).map(|host| ((resized.id, host.0 as usize), since));
                self.leaves.extend(left);
            }
            Record::GivenBack(id, host) => {
                if let Some(has) = self.has.get_mut(id) {
                    has.remove(host);
                }
            }
            Record::Desk(Change::Submitted(job, submitted)) => {
                let spec = Spec::of(&submitted.spec, &submitted.owner);
                self.specs.insert(RunId { job: *job, element: None }, spec);
            }
            Record::Desk(Change::Job(job, event)) => {
                // It is looked at anew.
                self.grids.remove(job);
                if let JobEvent::Updated(update) = event {
                    self.rewritten(*job, update);
                }
            }
            Record::Probed(id, _, Ok(found)) => drop(self.grids.entry(id.job).or_insert(found.blocks)),
            Record::Step(run, step) => {
                let grid = self.grids.get(&run.job).copied().unwrap_or(step.blocks);
                ensure(step.blocks == grid, || {
                    format!("job {run} has {} blocks, and its file {grid}", step.blocks)
                })?;
                self.steps.insert(*run, Steps { blocks: step.blocks, round: 1, pieces: Vec::new() });
            }
            Record::Round(id, _, round) => self.goes_round(*id, round)?,
            Record::Commit(id, _, commit) => self.committed(*id, commit)?,
            Record::Over(id, _, PartEnd::GivenUp(_), _) => {
                self.meddled.insert(id.run);
                self.given_up.insert(id.run);
            }
            _ => {}
        }
        Ok(())
    }

    /// What something used on a host counts if its agent tells, and then as it was.
    fn has_used(&mut self, at: (AttemptId, usize), end: PartEnd, usage: Usage) -> Verdict {
        let noted = self.noted.entry(at.0).or_default();
        let sums = [
            (&mut noted.user_ms, usage.user_ms),
            (&mut noted.system_ms, usage.system_ms),
            (&mut noted.read_bytes, usage.read_bytes),
            (&mut noted.written_bytes, usage.written_bytes),
            (&mut noted.voluntary_switches, usage.voluntary_switches),
            (&mut noted.involuntary_switches, usage.involuntary_switches),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        noted.peak_memory_kib = noted.peak_memory_kib.max(usage.peak_memory_kib);
        let really = self.used.entry(at).or_default();
        let tells = matches!(end, PartEnd::Reported(how) if how != Ended::ShepherdLost);
        let known = match really.iter().position(|one| *one == usage) {
            // Ends that came before it are never told any more.
            Some(place) if tells => really.drain(..=place).count() > 0,
            _ => !tells && usage == Usage::default(),
        };
        ensure(known, || format!("{} on host {} used {really:?}, and {usage:?} is noted", at.0, at.1))
    }

    /// An attempt is closed, and used what its hosts have told.
    fn is_closed(&mut self, id: AttemptId, end: AttemptEnd, usage: Usage) -> Verdict {
        let noted = self.noted.remove(&id).unwrap_or_default();
        ensure(usage == noted, || format!("{id} is said to have used {usage:?}, of {noted:?}"))?;
        self.closed.insert(id);
        self.is_over(id, end)
    }

    /// A file is another from now on. What was begun with the one before cannot go on.
    fn rewritten(&mut self, job: JobId, update: &Update) {
        let run = RunId { job, element: None };
        if self.begun.iter().any(|id| id.run == run) {
            self.changed.insert(run);
        }
        if let (Some(spec), [Field::Name(name)]) = (self.specs.get_mut(&run), &update.fields[..]) {
            *spec = spec.renamed(name);
        }
    }

    fn knows_its_files(&self, id: AttemptId) -> Verdict {
        let spec = self.specs.get(&whole(id.run));
        let Some(spec) = spec.filter(|spec| spec.reads) else { return Ok(()) };
        let known = self.grids.get(&id.run.job).copied();
        ensure(known == Some(spec.blocks), || {
            format!("{id} begins, its file has {} blocks, and {known:?} are known", spec.blocks)
        })
    }

    fn give(&mut self, id: AttemptId, host: HostId) {
        *self.given.entry((id, host.0 as usize)).or_default() += 1;
    }

    /// An attempt is over on the books: only a kernel's may run on, and a kernel's answer has every block once.
    fn is_over(&self, id: AttemptId, end: AttemptEnd) -> Verdict {
        let left = self.running.iter().find(|((other, _), _)| *other == id);
        if let Some(((_, host), held)) = left {
            let may = held.spec.conduct == Conduct::Fenced || self.given_up.contains(&id.run);
            ensure(may, || format!("{id} is closed, and runs on host {host}"))?;
        }
        let (Some(step), Some(spec)) = (self.steps.get(&id.run), self.specs.get(&id.run)) else {
            return Ok(());
        };
        let done: usize = step.pieces.iter().map(|(blocks, _)| blocks.len()).sum();
        let total = step.pieces.iter().fold(0, |total: u64, (_, sum)| total.wrapping_add(*sum));
        let whole = done == step.blocks as usize
            && step.round == spec.rounds
            && total == sum(id.run, step.round, 0..step.blocks);
        let kernel = spec.conduct == Conduct::Fenced;
        ensure(!kernel || end != AttemptEnd::Exited(Outcome::Completed) || whole, || {
            format!("{id} has an answer of {done} blocks of round {}, of {spec:?}", step.round)
        })
    }

    fn committed(&mut self, id: AttemptId, commit: &Commit) -> Verdict {
        let Some(step) = self.steps.get_mut(&id.run) else {
            return Err(format!("{id} commits to no step"));
        };
        let grid = Grid::new(u64::from(step.blocks));
        let mut blocks = BTreeSet::new();
        for block in commit.nodes.iter().flat_map(|node| node.blocks(grid)) {
            ensure(blocks.insert(block), || format!("{id} commits block {block} twice at once"))?;
        }
        step.pieces.retain(|(old, _)| !old.is_subset(&blocks));
        let twice = step.pieces.iter().find_map(|(old, _)| old.intersection(&blocks).next());
        ensure(twice.is_none(), || format!("block {twice:?} is counted twice, by {id} and before"))?;
        let sum = sum(id.run, step.round, blocks.iter().copied());
        step.pieces.push((blocks, sum));
        ensure(commit.partial == sum.to_le_bytes(), || {
            format!("{id} commits another sum than that of its blocks")
        })
    }

    fn goes_round(&mut self, id: AttemptId, round: &Round) -> Verdict {
        let Some(step) = self.steps.get_mut(&id.run) else {
            return Err(format!("{id} begins a round of no step"));
        };
        let next = round.round > step.round;
        (step.round, step.pieces) = (round.round, Vec::new());
        ensure(next && state(id.run, step.blocks, round.round).as_ref() == Some(&round.state), || {
            format!("{id} begins round {} from what is not the sum of the one before", round.round)
        })
    }

    /// A client was told that its job will not run again.
    pub(crate) fn cancelled(&mut self, run: RunId) {
        self.cancelled.insert(run);
    }

    /// A client was told that this is its job.
    pub(crate) fn accepted(&mut self, run: RunId, spec: Spec) -> Verdict {
        ensure(self.acknowledged.insert(run, spec).is_none(), || {
            format!("the number of job {run} is used twice")
        })
    }

    /// Processes begin.
    pub(crate) fn spawn(&mut self, id: AttemptId, (host, hosts): (usize, usize), held: Held) -> Verdict {
        let spec = held.spec;
        ensure(!spec.reads || has_file(id.run.job, host, hosts), || {
            format!("{id} begins on host {host}, which does not have its file")
        })?;
        ensure(self.begun.contains(&id), || format!("{id} begins before its start is on disk"))?;
        let times = self.spawned.entry((id, host)).or_default();
        *times += 1;
        let given = self.given.get(&(id, host)).copied().unwrap_or_default();
        ensure(*times <= given, || {
            format!("{id} begins {times} times on host {host}, given it {given} times")
        })?;
        ensure(!self.running.contains_key(&(id, host)), || format!("{id} runs twice on host {host}"))?;
        ensure(spec.conduct == Conduct::Fenced || !self.closed.contains(&id), || {
            format!("{id} begins on host {host} after it was closed")
        })?;
        let others = |other: AttemptId| other.run == id.run && other.attempt != id.attempt;
        match spec.conduct {
            Conduct::Requeue => {
                let twin = self.running.keys().find(|(other, _)| others(*other));
                ensure(twin.is_none(), || {
                    let (other, at) = twin.expect("it was found");
                    format!("{id} begins on host {host} while {other} runs on host {at}")
                })?;
            }
            Conduct::Stay => {
                let before = self.spawned.keys().find(|(other, _)| others(*other));
                ensure(before.is_none() || self.meddled.contains(&id.run), || {
                    let (other, at) = before.expect("it was found");
                    format!(
                        "{id} begins on host {host}, but {other} ran on host {at} and may not be requeued"
                    )
                })?;
            }
            Conduct::Fenced => {}
        }
        ensure(held.cores.len() == spec.cpus as usize, || {
            format!("{id} begins on cores {:?} of host {host}, of {spec:?}", held.cores.words())
        })?;
        self.running.insert((id, host), held);
        self.told.remove(&(id, host));
        self.stopped.remove(&(id, host));
        self.cores(id, host, "begins")?;
        self.licences(id)
    }

    /// No core is used twice on a host.
    fn cores(&self, id: AttemptId, host: usize, does: &str) -> Verdict {
        let Some(own) = self.running.get(&(id, host)) else { return Ok(()) };
        let others = self
            .running
            .iter()
            .filter(|((other, at), _)| *at == host && *other != id && !self.is_stopped(*other, host));
        let twice = others
            .filter_map(|((other, _), held)| {
                Some((*other, held.cores.iter().find(|core| own.cores.contains(*core))?))
            })
            .next();
        ensure(twice.is_none(), || format!("on host {host}, {id} {does} and another has its core: {twice:?}"))
    }

    /// No more licences are held than there are, but for kernel steps that are over on the books and not yet dead, and
    /// what an operator gave up.
    fn licences(&self, id: AttemptId) -> Verdict {
        let counts = |id: &AttemptId| !self.closed.contains(id) && !self.given_up.contains(&id.run);
        let held = self.running.iter().filter(|((id, _), _)| counts(id));
        let each: BTreeMap<AttemptId, u32> = held.map(|((id, _), held)| (*id, held.spec.licences)).collect();
        let all: u32 = each.values().sum();
        ensure(all <= SOLVERS, || format!("{all} licences of {SOLVERS} are held once {id} begins"))
    }

    /// Whether something is there and stopped.
    pub(crate) fn is_stopped(&self, id: AttemptId, host: usize) -> bool {
        self.running.contains_key(&(id, host)) && self.stopped.contains(&(id, host))
    }

    /// What ends that was told so does not outlive its grace, by clocks that may be slow.
    pub(crate) fn ends_in_time(&mut self, id: AttemptId, host: usize, rules: Lease) -> Verdict {
        let Some(told) = self.told.remove(&(id, host)) else { return Ok(()) };
        let (took, most) = (self.now - told, rules.kill_wait_ms * 103 / 100 + rules.kill_ms);
        ensure(took <= most, || format!("{id} ends on host {host} {took} ms after it was told, of {most}"))
    }

    /// What was stopped goes on.
    pub(crate) fn goes_on(&mut self, id: AttemptId, host: usize) -> Verdict {
        self.stopped.remove(&(id, host));
        self.cores(id, host, "goes on")
    }

    /// An agent obeys the order to kill something, while a team of it uses the host or not.
    pub(crate) fn ordered_to_kill(&self, id: AttemptId, host: usize, uses: bool) -> Verdict {
        let Some(since) = self.leaves.get(&(id, host)).filter(|_| uses && !self.ends.contains(&id)) else {
            return Ok(());
        };
        // A word of long ago may be late, and true again.
        if self.has.get(&id).is_some_and(|has| self.said.contains(&(id, has.clone()))) {
            return Ok(());
        }
        // Clocks may be fast.
        let waited = self.now - since;
        ensure(waited >= Lease::default().drain_ms * 97 / 100, || {
            format!("{id} leaves host {host} for {waited} ms, and its member is killed while a team uses it")
        })
    }

    /// What must hold of the books at any time.
    pub(crate) fn books(&self, standing: &Standing<Clerk>) -> Verdict {
        let books = standing.desk.books();
        for (run, spec) in &self.acknowledged {
            let is = books.job(run.job).map(|job| Spec::of(job.spec(), job.owner()));
            let blocks = is.map_or(0, |is| is.blocks);
            ensure(is == Some(Spec { blocks, ..*spec }), || {
                format!("job {run} was acknowledged and is lost")
            })?;
        }
        let live: BTreeSet<AttemptId> = books
            .live()
            .filter_map(|(run, live)| Some(AttemptId { run, attempt: live.state.placed()?.attempt }))
            .collect();
        let open: BTreeSet<AttemptId> = standing.open.values().map(|open| open.begun.id).collect();
        ensure(live == open, || format!("the books have {live:?}, and open are {open:?}"))
    }

    /// Every element of an array has come to an end, and those that ended well have run to theirs.
    fn array_ends(&self, run: RunId, array: &Array) -> Verdict {
        ensure(array.over() == array.indices().len(), || format!("job {run} has not ended: {array:?}"))?;
        let finished = self.finished.iter().map(|id| id.run).filter(|one| whole(*one) == run);
        let finished: BTreeSet<RunId> = finished.collect();
        for (outcome, count) in array.outcomes() {
            let sound = match outcome {
                Outcome::Completed => finished.len() >= count as usize,
                Outcome::Cancelled(_) => self.asked_to_end.contains(&run),
                _ => false,
            };
            ensure(sound, || format!("{count} elements of job {run} ended with {outcome:?}"))?;
        }
        Ok(())
    }

    /// What must hold when everything that could break has been whole for long enough.
    pub(crate) fn end(&self, standing: &Standing<Clerk>) -> Verdict {
        for job in standing.desk.books().jobs() {
            let run = RunId { job: job.id(), element: None };
            if let Body::Array(array) = job.body() {
                self.array_ends(run, array)?;
                continue;
            }
            let state = job.run(None).map(|run| run.state);
            let Some(State::Done(done)) = state else {
                let why = standing.desk.why(job.id(), standing.last.after(1_000_000));
                return Err(format!("job {run} is {state:?} at the end: {why:?}"));
            };
            let spec = Spec::of(job.spec(), job.owner());
            let really = self.finished.iter().any(|id| id.run == run);
            // The host's clock may be fast, and a kernel's teams are lost on the way.
            let slow = |limit_s: u64| limit_s as i64 * 970 < spec.runs_ms || spec.conduct == Conduct::Fenced;
            let sound = match done.outcome {
                Outcome::Completed => really,
                Outcome::Timeout => spec.limit_s.is_some_and(slow),
                Outcome::Cancelled(_) => self.asked_to_end.contains(&run),
                Outcome::HostFailed | Outcome::Preempted => spec.conduct == Conduct::Stay,
                Outcome::Failed(2) => self.changed.contains(&run),
                _ => false,
            };
            ensure(sound, || format!("job {run} ended with {:?}, of {spec:?}", done.outcome))?;
        }
        let kept = (standing.probes.keys().next(), standing.ledgers.keys().next());
        ensure(kept == (None, None), || format!("{kept:?} is kept of what is over"))?;
        ensure(self.running.is_empty(), || format!("{:?} still runs at the end", self.running))
    }
}
