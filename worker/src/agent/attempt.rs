//! One attempt in the shepherd's process: its shepherd, its processes, and what they use.

use super::complaint::complain;
use super::errand::Errand;
use super::family;
use super::guise::Users;
use super::hooks::{self, Hook, Hooked};
use super::leader::{self, Reaped, Status};
use super::prepare::{self, Around, Failure};
use super::remote::Remotes;
use super::slot::Slot;
use muster_core::job::outcome::Outcome;
use muster_core::job::usage::Usage;
use muster_core::jobspec::EarlySignal;
use muster_core::payload::{Payload, Program};
use muster_core::protocol::clerk::Launch;
use muster_core::protocol::format::Format;
use muster_core::protocol::line::{Remote, RemoteSaid, RemoteState};
use muster_core::protocol::message::{self, Ended, Ending, Role};
use muster_core::protocol::shepherd::{Shepherd, ShepherdInput, ShepherdOutput};
use muster_core::time::Time;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// An attempt.
pub(super) struct Attempt {
    shepherd: Shepherd,
    errand: Box<Errand>,
    /// Its first process, while that runs.
    leader: Option<Pid>,
    /// What that is.
    phase: Phase,
    /// Whether it was told to end: nothing of the job begins any more.
    killed: bool,
    /// When a prolog or epilog that still runs is killed.
    hook_until: Time,
    /// When its shepherd wants to be woken.
    pub(super) wake: Time,
    /// The signal before its time is over, and when.
    early: Option<(Time, EarlySignal)>,
    usage: Usage,
    /// Whether its memory is counted by its group.
    metered: bool,
    why: Option<String>,
    /// Whether its first process is the foreman of a kernel.
    kernel: bool,
    /// What it runs.
    payload: Option<(Launch, Payload)>,
    /// What its batch host has started here.
    remotes: Remotes,
    /// How what the batch host has started stands, since this was last asked for.
    said: Vec<RemoteSaid>,
}

/// What the first process of an attempt is.
enum Phase {
    /// The host's prolog.
    Prolog(Hooked),
    /// The job's own; on a host that is not its batch host there is none.
    Job,
    /// The host's epilog, and how the job had ended.
    Epilog(Hooked, Outcome),
}

impl Attempt {
    /// An attempt that has not begun.
    pub(super) fn new(errand: Box<Errand>) -> Attempt {
        Attempt {
            shepherd: Shepherd::new(&errand.start, errand.lease),
            errand,
            leader: None,
            phase: Phase::Job,
            killed: false,
            hook_until: Time::NEVER,
            wake: Time::NEVER,
            early: None,
            usage: Usage::default(),
            metered: false,
            why: None,
            kernel: false,
            payload: None,
            remotes: Remotes::default(),
            said: Vec::new(),
        }
    }

    /// Lets its shepherd hear something; what it says to that is to be done in order.
    pub(super) fn hear(&mut self, now: Time, input: ShepherdInput) -> Vec<ShepherdOutput> {
        let out = self.shepherd.handle(now, input);
        self.wake = Time::NEVER;
        out
    }

    /// When something is to be done for it.
    pub(super) fn next(&self) -> Time {
        self.early.map_or(self.wake, |(at, _)| at.min(self.wake)).min(self.hook_until)
    }

    /// All that is to be said of its end.
    pub(super) fn ending(&self, how: Ended) -> Box<Ending> {
        let why = self.why.as_deref().map(message::reason);
        Box::new(Ending { how, usage: self.usage, why })
    }

    /// Notes why it cannot start, and says what its shepherd hears.
    pub(super) fn cannot_start(&mut self, failure: Failure) -> ShepherdInput {
        self.why = Some(failure.why);
        if failure.unfit { ShepherdInput::Unfit } else { ShepherdInput::Exited(failure.outcome) }
    }

    /// Starts its processes, after the host's prolog: on its batch host. On others it has none before the batch host starts
    /// some there.
    ///
    /// # Errors
    /// Why it cannot start, and what becomes of it.
    pub(super) fn spawn(
        &mut self,
        payload: Option<&Payload>,
        state: &Path,
        slot: &mut Slot,
    ) -> Result<(), Failure> {
        let launch: Launch = Format::Message
            .decode(&self.errand.start.launch)
            .map_err(|e| Failure::of_host(format!("the order to begin is not understood: {e}")))?;
        let payload = payload.ok_or_else(|| {
            Failure::of_host(format!("what the job runs is not understood (blob {})", self.errand.blob))
        })?;
        slot.begin(&prepare::limits(&self.errand, &launch)).map_err(Failure::of_host)?;
        self.metered = slot.limits_memory();
        let hooked = self.errand.site.prolog.is_some() || self.errand.site.epilog.is_some();
        if launch.hosts.len() > 1 || hooked {
            self.payload = Some((launch.clone(), payload.clone()));
        }
        let of = (&*self.errand, &launch, payload);
        if let Some(hooked) = Hook::Prolog.start(of, &around(state, &self.errand, slot), slot)? {
            self.hold(&hooked);
            self.phase = Phase::Prolog(hooked);
            return Ok(());
        }
        self.start((&launch, payload), state, slot)
    }

    fn hold(&mut self, hooked: &Hooked) {
        self.leader = Some(hooked.pid);
        self.hook_until = super::clock::now().after(hooks::MOST.as_millis() as i64);
    }

    /// Starts the job's own first process, on its batch host.
    fn start(
        &mut self,
        (launch, payload): (&Launch, &Payload),
        state: &Path,
        slot: &Slot,
    ) -> Result<(), Failure> {
        if self.errand.start.role == Role::Member {
            return Ok(());
        }
        let around = around(state, &self.errand, slot);
        self.kernel = matches!(payload.program, Program::Kernel(_));
        let plan = prepare::plan(&self.errand, launch, payload, &around)?;
        let born = leader::start(&plan, slot.cradle(), slot.limits_memory());
        self.leader = Some(born.map_err(|e| Failure::of_host(format!("cannot start a process: {e}")))?);
        let limit = self.errand.start.limit_ms;
        self.early = launch.spec.signal.zip(limit).map(|(early, limit)| {
            let before = i64::try_from(early.before_s.saturating_mul(1000)).unwrap_or(i64::MAX);
            (super::clock::now().after(limit.saturating_sub(before).max(0)), early)
        });
        Ok(())
    }

    /// Whose jobs run on this host.
    pub(super) fn users(&self) -> Users {
        self.errand.site.users
    }

    /// Whether it runs on another host than this.
    pub(super) fn is_away_from(&self, payload: &Payload) -> bool {
        !payload.is_from(&self.errand.host)
    }

    /// Starts what its batch host wants to run here, unless it was started, and says how it stands; nothing before the
    /// host's prolog is over, nor after the end: it is asked again.
    pub(super) fn remote(&mut self, remote: &Remote, state: &Path, slot: &Slot) -> Option<RemoteSaid> {
        let Attempt { errand, payload, remotes, .. } = self;
        if !matches!(self.phase, Phase::Job) {
            return None;
        }
        let Some((launch, payload)) = payload.as_ref().filter(|(launch, _)| launch.hosts.len() > 1) else {
            let how = RemoteState::Refused(format!("job {} has no other host", remote.id.run));
            return Some(RemoteSaid { id: remote.id, number: remote.number, how });
        };
        Some(remotes.stands(remote, (errand, launch, payload), &around(state, errand, slot), slot))
    }

    /// What has changed of that.
    pub(super) fn said(&mut self) -> Vec<RemoteSaid> {
        std::mem::take(&mut self.said)
    }

    /// Kills all of its processes; false when none is left, and nothing runs after them. If not, their end is heard of as any
    /// other.
    pub(super) fn kill(&mut self, state: &Path, slot: &mut Slot) -> bool {
        self.killed = true;
        if self.leader.is_some() {
            signal_all(slot, Signal::KILL);
            return true;
        }
        // On a host that is not its batch host: what runs there is nobody's end but this.
        self.end_rest(slot);
        self.count_slot(slot);
        self.finish(Outcome::Completed, state, slot).is_none()
    }

    fn has_processes(&self) -> bool {
        self.leader.is_some() || self.remotes.any_runs()
    }

    /// Stops all of its processes, and returns when they are.
    pub(super) fn stop(&self) {
        if self.has_processes() {
            family::stop_all();
        }
    }

    /// Lets its processes go on.
    pub(super) fn go_on(&self, slot: &Slot) {
        if self.has_processes() {
            signal_all(slot, Signal::CONT);
        }
    }

    /// Tells its processes that they have to end; of a kernel the foreman alone, so that its team can hand in what it has.
    /// On other hosts than its batch host nobody is told: mpirun passes it on. A prolog comes to its end, and nothing begins
    /// after it.
    pub(super) fn warn_of_end(&mut self, slot: &Slot) {
        let Some(leader) = self.leader else { return };
        if !matches!(self.phase, Phase::Job) {
            self.killed = true;
            return;
        }
        signal_all(slot, Signal::CONT);
        if self.kernel {
            let _ = kill_process(leader, Signal::TERM);
        } else {
            signal_all(slot, Signal::TERM);
        }
    }

    /// Sends its early signal, if the time for that has come, and ends a prolog or epilog whose time is over.
    pub(super) fn warn(&mut self, now: Time, slot: &Slot) {
        if self.hook_until <= now {
            self.hook_until = Time::NEVER;
            signal_all(slot, Signal::KILL);
        }
        let (Some((_, early)), Some(leader)) = (self.early.take_if(|(at, _)| *at <= now), self.leader) else {
            return;
        };
        let Some(signal) = Signal::from_named_raw(early.signal) else { return };
        match early.batch_only {
            true => drop(kill_process(leader, signal)),
            false => signal_all(slot, signal),
        }
    }

    /// Some process of it has ended. If it was the first, what is left is killed, as in Slurm, and waited for, and this
    /// is how the attempt ended, unless the job follows the host's prolog or the host's epilog the job.
    pub(super) fn ended(&mut self, state: &Path, slot: &mut Slot) -> Option<ShepherdInput> {
        let leader = self.leader.map(|pid| pid.as_raw_nonzero().get());
        let mut status = None;
        while let Some(reaped) = leader::reap(false) {
            self.count(&reaped);
            if Some(reaped.pid) == leader {
                status = Some(reaped.status);
            }
        }
        let status = status?;
        self.end_rest(slot);
        (self.leader, self.early, self.hook_until) = (None, None, Time::NEVER);
        match std::mem::replace(&mut self.phase, Phase::Job) {
            Phase::Prolog(hooked) => self.after_prolog((&hooked, status), state, slot),
            Phase::Job => {
                let outcome = match status {
                    _ if self.count_slot(slot) => Outcome::OutOfMemory,
                    Status::Exited(0) => Outcome::Completed,
                    Status::Exited(code) => Outcome::Failed(code),
                    Status::Signalled(signal) => Outcome::Signalled(signal),
                };
                self.finish(outcome, state, slot).map(ShepherdInput::Exited)
            }
            Phase::Epilog(hooked, outcome) => {
                self.count_slot(slot);
                if status != Status::Exited(0) {
                    let what =
                        format!("job {}: {}", self.errand.start.id, hooked.failed(Hook::Epilog, status));
                    complain("shepherd", what);
                }
                Some(ShepherdInput::Exited(outcome))
            }
        }
    }

    /// The prolog is over: the job begins, or cannot.
    fn after_prolog(
        &mut self,
        (hooked, status): (&Hooked, Status),
        state: &Path,
        slot: &mut Slot,
    ) -> Option<ShepherdInput> {
        self.count_slot(slot);
        if self.killed {
            // What the prolog has set up is taken down.
            return self.finish(Outcome::NotStarted, state, slot).map(ShepherdInput::Exited);
        }
        if status != Status::Exited(0) {
            self.why = Some(hooked.failed(Hook::Prolog, status));
            return Some(ShepherdInput::Unfit);
        }
        let (launch, payload) = self.payload.take()?;
        // What the prolog had left was killed, and with it the group, which is another now.
        let begun = slot.begin(&prepare::limits(&self.errand, &launch)).map_err(Failure::of_host);
        let born = begun.and_then(|()| self.start((&launch, &payload), state, slot));
        self.payload = Some((launch, payload));
        let failure = born.err()?;
        let outcome = failure.outcome;
        self.why = Some(failure.why);
        self.finish(outcome, state, slot).map(ShepherdInput::Exited)
    }

    /// The job is over: this is how it ended, unless the host has an epilog that runs first.
    fn finish(&mut self, outcome: Outcome, state: &Path, slot: &Slot) -> Option<Outcome> {
        let Some((launch, payload)) = &self.payload else { return Some(outcome) };
        let of = (&*self.errand, launch, payload);
        match Hook::Epilog.start(of, &around(state, &self.errand, slot), slot) {
            Ok(Some(hooked)) => {
                self.hold(&hooked);
                self.phase = Phase::Epilog(hooked, outcome);
                None
            }
            Ok(None) => Some(outcome),
            Err(failure) => {
                complain("shepherd", format!("job {}: {}", self.errand.start.id, failure.why));
                Some(outcome)
            }
        }
    }

    /// Kills what the first process has left, and hears of the end of each.
    fn end_rest(&mut self, slot: &Slot) {
        while leader::has_children() {
            slot.kill();
            let mut killed = family::kill_all();
            // As long as one of these is there, somebody will end whose end is ours to hear.
            loop {
                while let Some(reaped) = leader::reap(false) {
                    self.count(&reaped);
                    killed.remove(&reaped.pid);
                }
                while killed.last().is_some_and(|pid| !family::is_there(*pid)) {
                    killed.pop_last();
                }
                if killed.is_empty() {
                    break;
                }
                let Some(reaped) = leader::reap(true) else { break };
                self.count(&reaped);
                killed.remove(&reaped.pid);
            }
        }
    }

    /// Counts what its group has counted, and says whether a process was killed for want of memory.
    fn count_slot(&mut self, slot: &mut Slot) -> bool {
        let counted = slot.end();
        self.usage.peak_memory_kib = self.usage.peak_memory_kib.max(counted.peak_kib);
        counted.out_of_memory
    }

    fn count(&mut self, reaped: &Reaped) {
        let id = self.errand.start.id;
        let said = self.remotes.ended(reaped).map(|(number, how)| RemoteSaid { id, number, how });
        self.said.extend(said);
        let usage = &mut self.usage;
        usage.user_ms += reaped.user.as_millis() as u64;
        usage.system_ms += reaped.system.as_millis() as u64;
        if !self.metered {
            usage.peak_memory_kib = usage.peak_memory_kib.max(reaped.peak_kib);
        }
        usage.read_bytes += reaped.bytes[0];
        usage.written_bytes += reaped.bytes[1];
        usage.voluntary_switches += reaped.switches[0];
        usage.involuntary_switches += reaped.switches[1];
    }
}

fn around<'a>(state: &'a Path, errand: &Errand, slot: &Slot) -> Around<'a> {
    let mark = prepare::mark(state, errand.start.id);
    Around { state, mark, limits_memory: slot.limits_memory() }
}

/// Sends a signal to every process of what runs in this slot: the one place where that is done, SIGKILL first of all.
fn signal_all(slot: &Slot, signal: Signal) {
    match signal {
        // A process may have left the group; it remains a descendant.
        Signal::KILL => {
            slot.kill();
            drop(family::kill_all());
        }
        other => family::signal_all(other),
    }
}
