//! What must hold of what really runs, whatever the controller believes.

use crate::spec::{SOLVERS, Spec};
use muster_core::books::event::Event as Change;
use muster_core::cluster::{Bits, HostId};
use muster_core::job::id::RunId;
use muster_core::job::outcome::Outcome;
use muster_core::job::state::State;
use muster_core::protocol::clerk::Clerk;
use muster_core::protocol::controller::Entry;
use muster_core::protocol::desk::AttemptEnd;
use muster_core::protocol::ledger::Commit;
use muster_core::protocol::message::Conduct;
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
    /// Batch scripts that came to their own end.
    pub(crate) finished: BTreeSet<AttemptId>,
    /// What clients were promised.
    acknowledged: BTreeMap<RunId, Spec>,
    cancelled: BTreeSet<RunId>,
    /// What clients asked to be cancelled, whatever they were told.
    pub(crate) asked_to_end: BTreeSet<RunId>,
    /// Runs that a user or an operator has meddled with.
    pub(crate) meddled: BTreeSet<RunId>,
    given_up: BTreeSet<RunId>,
    /// Kernel steps: how many blocks they have, and which attempt did which.
    steps: BTreeMap<RunId, (u32, BTreeMap<u32, AttemptId>)>,
}

/// What a block of a kernel step comes to; the answer is the sum.
pub(crate) fn value(run: RunId, block: u32) -> u64 {
    (u64::from(run.job.0) << 32 | u64::from(block)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Checks {
    /// A record is on disk.
    pub(crate) fn durable(&mut self, entry: &Entry<Change>) -> Verdict {
        match &entry.record {
            Record::Begun(begun, _) => {
                self.begun.insert(begun.id);
                begun.places.iter().for_each(|place| self.give(begun.id, place.host));
                self.has.insert(begun.id, begun.places.iter().map(|place| place.host).collect());
                ensure(!self.cancelled.contains(&begun.id.run), || {
                    format!("{} begins though cancelled", begun.id)
                })?;
            }
            Record::Closed(id, end) => {
                self.closed.insert(*id);
                self.is_over(*id, *end)?;
            }
            Record::Resized(resized, _) => {
                let hosts: BTreeSet<HostId> = resized.places.iter().map(|place| place.host).collect();
                let before = self.has.insert(resized.id, hosts.clone()).unwrap_or_default();
                hosts.difference(&before).for_each(|host| self.give(resized.id, *host));
            }
            Record::Step(run, step) => drop(self.steps.insert(*run, (step.blocks, BTreeMap::new()))),
            Record::Commit(id, _, commit) => self.committed(*id, commit)?,
            Record::End(id, _) => drop(self.meddled.insert(id.run)),
            Record::Over(id, _, PartEnd::GivenUp(_)) => {
                self.meddled.insert(id.run);
                self.given_up.insert(id.run);
            }
            _ => {}
        }
        Ok(())
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
        let Some((blocks, done)) = self.steps.get(&id.run) else { return Ok(()) };
        let whole = end != AttemptEnd::Exited(Outcome::Completed) || done.len() == *blocks as usize;
        ensure(whole, || format!("{id} has an answer of {} blocks, and there are {blocks}", done.len()))
    }

    fn committed(&mut self, id: AttemptId, commit: &Commit) -> Verdict {
        let Some((blocks, done)) = self.steps.get_mut(&id.run) else {
            return Err(format!("{id} commits to no step"));
        };
        let grid = Grid::new(u64::from(*blocks));
        let mut sum = 0_u64;
        for block in commit.nodes.iter().flat_map(|node| node.blocks(grid)) {
            sum = sum.wrapping_add(value(id.run, block));
            let before = done.insert(block, id);
            ensure(before.is_none(), || format!("block {block} is counted twice, by {before:?} and {id}"))?;
        }
        ensure(commit.partial == sum.to_le_bytes(), || {
            format!("{id} commits another sum than that of its blocks")
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
    pub(crate) fn spawn(&mut self, id: AttemptId, host: usize, held: Held) -> Verdict {
        let spec = held.spec;
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
        let here = self.running.iter().filter(|((_, at), _)| *at == host);
        let twice =
            here.map(|(key, other)| (key, other.cores.iter().find(|core| held.cores.contains(*core))));
        let twice = twice.filter_map(|((other, _), core)| Some((*other, core?))).next();
        self.running.insert((id, host), held);
        ensure(twice.is_none(), || format!("on host {host}, {id} and another have a core: {twice:?}"))?;
        self.licences(id)
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

    /// What must hold of the books at any time.
    pub(crate) fn books(&self, standing: &Standing<Clerk>) -> Verdict {
        let books = standing.desk.books();
        for (run, spec) in &self.acknowledged {
            let job = books.job(run.job);
            ensure(job.is_some_and(|job| Spec::of(job.spec(), job.owner()) == *spec), || {
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

    /// What must hold when everything that could break has been whole for long enough.
    pub(crate) fn end(&self, standing: &Standing<Clerk>) -> Verdict {
        for job in standing.desk.books().jobs() {
            let run = RunId { job: job.id(), element: None };
            let state = job.run(None).map(|run| run.state);
            let Some(State::Done(done)) = state else {
                return Err(format!("job {run} is {state:?} at the end"));
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
                _ => false,
            };
            ensure(sound, || format!("job {run} ended with {:?}, of {spec:?}", done.outcome))?;
        }
        ensure(self.running.is_empty(), || format!("{:?} still runs at the end", self.running))
    }
}
