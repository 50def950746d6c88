//! A foreman's process on a host, and its teams.

use crate::checks::value;
use crate::world::{Event, World};
use muster_core::cluster::HostId;
use muster_core::protocol::foreman::{Foreman, ForemanInput, ForemanOutput};
use muster_core::protocol::format::Format;
use muster_core::protocol::ledger::{FromStore, Step, ToStore};
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use muster_spec::{Grid, Node};

pub(crate) struct Office {
    foreman: Foreman,
    wake: (Time, u64),
    /// The current team's number, and the blocks that it has still to fold.
    team: (u32, Vec<u32>),
    /// The hosts that the current team uses, until it has handed in.
    pub(crate) uses: Vec<HostId>,
    /// What happens to it while it is stopped.
    pub(crate) asleep: Vec<Event>,
}

impl World {
    /// A foreman's process begins.
    pub(crate) fn open_office(&mut self, host: usize, id: AttemptId) {
        let Some(herd) = self.hosts[host].shepherds.get_mut(&id) else { return };
        let mut spec = [0; 16];
        spec[..4].copy_from_slice(&id.run.job.0.to_le_bytes());
        let step =
            Step { spec, class: "exact".into(), blocks: herd.spec.blocks, hosts: (1, herd.spec.hosts) };
        let foreman = Foreman::new(id, step, vec![HostId(host as u32)]);
        let (wake, team) = ((Time::NEVER, 0), (0, Vec::new()));
        herd.office = Some(Office { foreman, wake, team, uses: Vec::new(), asleep: Vec::new() });
        self.local(host, |boot| Event::Foreman { host, boot, id, input: ForemanInput::Begin });
    }

    pub(crate) fn foreman_event(&mut self, event: Event) -> Result<(), String> {
        let of = match &event {
            Event::Foreman { host, id, .. }
            | Event::ForemanWake { host, id, .. }
            | Event::Team { host, id, .. } => Some((*host, *id)),
            Event::ToForeman { host, bytes } => Some((*host, addressed(bytes)?.1)),
            _ => None,
        };
        // What is stopped finds it when it goes on.
        if let Some((host, id)) = of.filter(|(host, id)| self.checks.is_stopped(*id, *host))
            && let Some(office) = self.office(host, id)
        {
            office.asleep.push(event);
            return Ok(());
        }
        match event {
            Event::ToForeman { host, bytes } => {
                let (message, id) = addressed(&bytes)?;
                self.mix_bytes(&bytes);
                self.foreman_hears(host, id, ForemanInput::Store(message))
            }
            Event::Foreman { host, boot, id, input } if self.hosts[host].boot == Some(boot) => {
                self.foreman_hears(host, id, input)
            }
            Event::ForemanWake { host, boot, id, number } if self.hosts[host].boot == Some(boot) => {
                let current = self.office(host, id).is_some_and(|office| office.wake.1 == number);
                if current { self.foreman_hears(host, id, ForemanInput::Woken) } else { Ok(()) }
            }
            Event::Team { host, boot, id, team } if self.hosts[host].boot == Some(boot) => {
                self.team_works(host, id, team)
            }
            _ => Ok(()),
        }
    }

    /// The office of a foreman that runs.
    fn office(&mut self, host: usize, id: AttemptId) -> Option<&mut Office> {
        if !self.checks.running.contains_key(&(id, host)) {
            return None;
        }
        self.hosts[host].shepherds.get_mut(&id)?.office.as_mut()
    }

    fn foreman_hears(&mut self, host: usize, id: AttemptId, input: ForemanInput) -> Result<(), String> {
        let now = self.hosts[host].clock.at(self.now);
        let Some(office) = self.office(host, id) else { return Ok(()) };
        if matches!(input, ForemanInput::TeamEnded(team) if team == office.team.0) {
            office.uses.clear();
        }
        for output in office.foreman.handle(now, input) {
            self.foreman_does(host, id, output)?;
        }
        Ok(())
    }

    fn foreman_does(&mut self, host: usize, id: AttemptId, output: ForemanOutput) -> Result<(), String> {
        match output {
            ForemanOutput::Send(message) => {
                if let ToStore::Uses(_, hosts) = &message {
                    self.checks.said.insert((id, hosts.iter().copied().collect()));
                }
                self.say(|| format!("foreman {id} on host {host} -> controller: {message:?}"));
                let bytes = Format::Message.encode(&message);
                self.send_to_controller(host, &Event::ToStore { host, bytes });
            }
            ForemanOutput::StartTeam(team, uses, nodes) => {
                let blocks = self.hosts[host].shepherds[&id].spec.blocks;
                let grid = Grid::new(u64::from(blocks));
                if let Some(office) = self.office(host, id) {
                    office.team = (team, nodes.iter().flat_map(|node| node.blocks(grid)).collect());
                    office.uses = uses;
                }
                self.team_goes_on(host, id, team);
            }
            ForemanOutput::StopTeam(team) => {
                // It folds what it has begun.
                let (delay, input) = (self.random.between(0, 9_000), ForemanInput::TeamEnded(team));
                if let Some(boot) = self.hosts[host].boot {
                    self.after(delay, Event::Foreman { host, boot, id, input });
                }
            }
            ForemanOutput::Exit(outcome) => return self.exits(host, id, outcome),
            ForemanOutput::Wake(at) => {
                let (now, clock) = (self.now, self.hosts[host].clock);
                let Some(office) = self.office(host, id) else { return Ok(()) };
                office.wake = (at, office.wake.1 + 1);
                let (number, delay) = (office.wake.1, clock.when(at, now) - now);
                if let Some(boot) = self.hosts[host].boot {
                    self.after(delay, Event::ForemanWake { host, boot, id, number });
                }
            }
        }
        Ok(())
    }

    fn team_goes_on(&mut self, host: usize, id: AttemptId, team: u32) {
        let spec = self.hosts[host].shepherds[&id].spec;
        let delay = spec.runs_ms / i64::from(spec.blocks.max(1)) + self.random.between(0, 500);
        if let Some(boot) = self.hosts[host].boot {
            self.after(delay, Event::Team { host, boot, id, team });
        }
    }

    /// A team folds a block or two, or is lost.
    fn team_works(&mut self, host: usize, id: AttemptId, team: u32) -> Result<(), String> {
        let (luck, take) = (self.random.below(100), self.random.between(1, 2) as usize);
        let calm = self.calm;
        let Some(office) = self.office(host, id).filter(|office| office.team.0 == team) else {
            return Ok(());
        };
        if luck < 5 && !calm {
            return self.foreman_hears(host, id, ForemanInput::TeamEnded(team));
        }
        let rest = &mut office.team.1;
        let folded: Vec<u32> = rest.drain(..take.min(rest.len())).collect();
        let more = !rest.is_empty();
        if folded.is_empty() {
            return Ok(());
        }
        let sum = folded.iter().fold(0_u64, |sum, block| sum.wrapping_add(value(id.run, *block)));
        let nodes = folded.iter().map(|block| Node::leaf(*block)).collect();
        self.foreman_hears(host, id, ForemanInput::Finished(team, nodes, sum.to_le_bytes().to_vec()))?;
        if more && self.office(host, id).is_some() {
            self.team_goes_on(host, id, team);
        }
        Ok(())
    }
}

/// A message to a foreman, and to which.
fn addressed(bytes: &[u8]) -> Result<(FromStore, AttemptId), String> {
    let message: FromStore = Format::Message.decode(bytes).map_err(|error| error.to_string())?;
    let (FromStore::Opened(id, _) | FromStore::Stored(id, _) | FromStore::Refused(id)) = message;
    Ok((message, id))
}
