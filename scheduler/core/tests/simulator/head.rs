//! The controller's process and its disk.

use crate::checks::Checks;
use crate::clock::Clock;
use crate::random::Random;
use crate::spec::Spec;
use crate::world::{Event, World};
use muster_core::books::event::Event as Change;
use muster_core::cluster::HostId;
use muster_core::job::event::JobEvent;
use muster_core::job::id::RunId;
use muster_core::protocol::clerk::{Ask, Clerk, Told};
use muster_core::protocol::controller::{Answer, Controller, Entry, Input, Output, Request};
use muster_core::protocol::format::Format;
use muster_core::protocol::journal;
use muster_core::protocol::message::ToController;
use muster_core::protocol::outbox::Outbox;
use muster_core::protocol::standing::{Record, Standing};
use muster_core::time::Time;

type Out = Output<Change, Told>;

pub(crate) struct Head {
    desk: Clerk,
    ppm: i64,
    clock: Clock,
    life: u32,
    controller: Option<Controller<Clerk>>,
    outbox: Outbox<Out>,
    /// What has been written, encoded and as it was, and how much of it is on disk.
    journal: Vec<(Vec<u8>, Entry<Change>)>,
    synced: usize,
    syncing: bool,
    wake: (Time, u64),
    /// What is known for good, for a controller that is dead.
    last: Standing<Clerk>,
}

impl Head {
    pub(crate) fn new(random: &mut Random, desk: Clerk, ppm: i64) -> Self {
        Head {
            last: Standing::new(desk.clone()),
            desk,
            ppm,
            clock: Clock::new(random, ppm),
            life: 0,
            controller: None,
            outbox: Outbox::default(),
            journal: Vec::new(),
            synced: 0,
            syncing: false,
            wake: (Time::NEVER, 0),
        }
    }

    /// What is known for good.
    pub(crate) fn standing(&self) -> &Standing<Clerk> {
        self.controller.as_ref().map_or(&self.last, Controller::standing)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.controller.is_some()
            && self.synced == self.journal.len()
            && self.standing().desk.books().jobs().all(|job| job.ended().is_some())
    }

    /// What must hold of the memory and of the journal.
    pub(crate) fn check(&self, checks: &Checks) -> Result<(), String> {
        checks.books(self.standing())?;
        if let Some(controller) = &self.controller {
            let replayed = self.replay(self.journal.len() / 2)?;
            if replayed != *controller.standing() {
                return Err(format!(
                    "the journal gives {replayed:?}, the memory is {:?}",
                    controller.standing()
                ));
            }
        }
        Ok(())
    }

    /// What the journal comes to, by way of a snapshot after so many records.
    fn replay(&self, snapshot: usize) -> Result<Standing<Clerk>, String> {
        let bytes = |range: std::ops::Range<usize>| self.journal[range].iter().map(|(bytes, _)| &bytes[..]);
        let fresh = Standing::new(self.desk.clone());
        let half = journal::replay(fresh, 0, bytes(0..snapshot)).map_err(|error| error.to_string())?;
        let half =
            Format::Journal.decode(&Format::Journal.encode(&half)).map_err(|error| error.to_string())?;
        journal::replay(half, snapshot as u64, bytes(snapshot..self.journal.len())).map_err(|e| e.to_string())
    }
}

impl World {
    pub(crate) fn head_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::ControllerStart => self.start_controller(),
            Event::ControllerWake { life, number } => {
                if life == self.head.life && number == self.head.wake.1 {
                    self.head.wake = (Time::NEVER, number + 1);
                    return self.head_hears(Input::Woken);
                }
                Ok(())
            }
            Event::Synced { life, upto } if life == self.head.life => self.synced(upto),
            Event::ToController { host, bytes } => {
                let message: ToController =
                    Format::Message.decode(&bytes).map_err(|error| error.to_string())?;
                self.mix_bytes(&bytes);
                self.head_hears(Input::Agent(HostId(host as u32), message))
            }
            Event::ToStore { host, bytes } => {
                let message = Format::Message.decode(&bytes).map_err(|error| error.to_string())?;
                self.mix_bytes(&bytes);
                self.head_hears(Input::Foreman(HostId(host as u32), message))
            }
            Event::Client { client, ask } => self.head_hears(Input::Client(client, ask)),
            _ => Ok(()),
        }
    }

    fn start_controller(&mut self) -> Result<(), String> {
        if self.head.controller.is_some() {
            return Ok(());
        }
        let snapshot = self.random.below(self.head.journal.len() as u64 + 1) as usize;
        let standing = self.head.replay(snapshot)?;
        self.checks.books(&standing)?;
        let records = self.head.journal.len();
        self.say(|| format!("controller starts from {records} records"));
        self.head.clock = Clock::new(&mut self.random, self.head.ppm);
        self.head.wake = (Time::NEVER, self.head.wake.1 + 1);
        self.head.outbox = Outbox::default();
        self.head.outbox.wrote(self.head.journal.len() as u64);
        self.head.outbox.persisted(self.head.journal.len() as u64);
        self.head.controller = Some(Controller::new(self.rules, standing));
        self.head_hears(Input::Begin)
    }

    /// The controller dies; of what was not synced, some may be on disk.
    pub(crate) fn kill_controller(&mut self, away: i64) -> Result<(), String> {
        if self.head.controller.is_none() {
            return Ok(());
        }
        self.head.life += 1;
        self.head.syncing = false;
        self.head.controller = None;
        let kept = self.random.between(self.head.synced as i64, self.head.journal.len() as i64) as usize;
        self.head.journal.truncate(kept);
        self.on_disk(kept)?;
        self.head.last = self.head.replay(kept)?;
        self.after(away, Event::ControllerStart);
        Ok(())
    }

    fn head_hears(&mut self, input: Input<Ask>) -> Result<(), String> {
        let now = self.head.clock.at(self.now);
        let Some(controller) = &mut self.head.controller else { return Ok(()) };
        let outputs = controller.handle(now, input);
        for output in outputs {
            if self.dies_midway() {
                let away = self.random.between(100, 20_000);
                return self.kill_controller(away);
            }
            let ready = match output {
                Output::Persist(entries) => {
                    self.write(entries);
                    Vec::new()
                }
                output => self.head.outbox.push(output),
            };
            self.perform(ready)?;
        }
        Ok(())
    }

    fn write(&mut self, entries: Vec<Entry<Change>>) {
        self.head.outbox.wrote(entries.len() as u64);
        for entry in entries {
            self.say(|| format!("controller notes {:?}", entry.record));
            if let Record::Resized(resized, _) = &entry.record {
                let hosts = resized.places.iter().map(|place| place.host).collect();
                self.checks.resized.insert((resized.id, hosts), self.now);
            }
            let bytes = journal::encode::<Clerk>(&entry);
            self.mix_bytes(&bytes);
            self.head.journal.push((bytes, entry));
        }
        self.sync();
    }

    fn sync(&mut self) {
        if self.head.syncing || self.head.synced == self.head.journal.len() {
            return;
        }
        self.head.syncing = true;
        let slow = self.random.chance(self.faults.slow_disk);
        let takes = self.random.between(1, if slow { 45_000 } else { 30 });
        self.after(takes, Event::Synced { life: self.head.life, upto: self.head.journal.len() });
    }

    fn synced(&mut self, upto: usize) -> Result<(), String> {
        self.head.syncing = false;
        self.on_disk(upto)?;
        let ready = self.head.outbox.persisted(upto as u64);
        self.perform(ready)?;
        self.sync();
        Ok(())
    }

    fn on_disk(&mut self, upto: usize) -> Result<(), String> {
        for (_, entry) in &self.head.journal[self.head.synced..upto] {
            self.checks.durable(entry)?;
        }
        self.head.synced = upto;
        Ok(())
    }

    fn perform(&mut self, outputs: Vec<Out>) -> Result<(), String> {
        for output in outputs {
            match output {
                Output::Persist(_) => unreachable!("records do not wait in the outbox"),
                Output::Send(host, message) => {
                    self.say(|| format!("controller -> host {}: {message:?}", host.0));
                    let (host, bytes) = (host.0 as usize, Format::Message.encode(&message));
                    self.send_to_host(host, &Event::ToAgent { host, bytes });
                }
                Output::Tell(host, message) => {
                    self.say(|| format!("controller -> foreman on host {}: {message:?}", host.0));
                    let (host, bytes) = (host.0 as usize, Format::Message.encode(&message));
                    self.send_to_host(host, &Event::ToForeman { host, bytes });
                }
                Output::Reply(client, answer) => self.reply(client, &answer)?,
                Output::Wake(at) => {
                    if at != self.head.wake.0 {
                        let number = self.head.wake.1 + 1;
                        self.head.wake = (at, number);
                        let delay = self.head.clock.when(at, self.now) - self.now;
                        self.after(delay, Event::ControllerWake { life: self.head.life, number });
                    }
                }
            }
        }
        Ok(())
    }

    fn reply(&mut self, client: u64, answer: &Answer<Told>) -> Result<(), String> {
        self.say(|| format!("controller answers client {client}: {answer:?}"));
        if self.ways().is_empty() {
            return Ok(());
        }
        match (answer, &self.asked[&client]) {
            (Answer::Desk(Told::Accepted(job)), Request::Desk(Ask::Submit(submitted))) => {
                let run = RunId { job: *job, element: None };
                self.accepted.push(run);
                return self.checks.accepted(run, Spec::of(&submitted.spec, &submitted.owner));
            }
            (Answer::Desk(Told::Refused(why)), Request::Desk(Ask::Submit(_) | Ask::Site(_))) => {
                return Err(format!("a sound request is refused: {why:?}"));
            }
            (Answer::Desk(Told::Done), Request::Desk(Ask::Job(job, JobEvent::Cancelled { .. }))) => {
                self.checks.cancelled(RunId { job: *job, element: None });
            }
            _ => {}
        }
        Ok(())
    }
}
