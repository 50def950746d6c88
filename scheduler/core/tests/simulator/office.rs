//! A foreman's process on a host, and its teams.

use crate::checks::{state, value};
use crate::world::{Event, World};
use muster_core::cluster::HostId;
use muster_core::job::id::JobId;
use muster_core::protocol::foreman::{Done, Foreman, ForemanInput, ForemanOutput, Team};
use muster_core::protocol::format::Format;
use muster_core::protocol::ledger::{FromStore, Step, ToStore};
use muster_core::protocol::message::Conduct;
use muster_core::protocol::stamp::AttemptId;
use muster_core::time::Time;
use muster_spec::{BlockSet, Grid, Node};

pub(crate) struct Office {
    foreman: Foreman,
    wake: (Time, u64),
    crew: Crew,
    /// The hosts that the current team uses, until it has handed in.
    pub(crate) uses: Vec<HostId>,
    /// What happens to it while it is stopped.
    pub(crate) asleep: Vec<Event>,
}

/// The current team: what its rank 0 knows.
#[derive(Default)]
struct Crew {
    number: u32,
    round: u32,
    /// What is done of the round; by the foreman, too.
    done: Vec<Done>,
    /// The blocks that it has still to fold.
    rest: Vec<u32>,
}

/// Into how small pieces what is done is cut when it is fetched: a sum is three of them.
const PIECE_BYTES: u32 = 3;

impl World {
    /// A foreman's process begins.
    pub(crate) fn open_office(&mut self, host: usize, id: AttemptId) {
        let Some(herd) = self.hosts[host].shepherds.get_mut(&id) else { return };
        // Now and then somebody has changed the file after it was looked for.
        let changed = herd.spec.reads && !self.calm && self.random.chance(100);
        let blocks = herd.spec.blocks + u32::from(changed);
        if changed {
            self.checks.changed.insert(id.run);
        }
        let spec = step_name(id.run.job);
        let step = Step { spec, class: "exact".into(), blocks, hosts: (1, herd.spec.hosts) };
        let foreman = Foreman::new(id, step, vec![HostId(host as u32)]).with_piece_bytes(PIECE_BYTES);
        let foreman = if herd.spec.conduct == Conduct::Fenced { foreman } else { foreman.of_script() };
        let (wake, crew) = ((Time::NEVER, 0), Crew::default());
        herd.office = Some(Office { foreman, wake, crew, uses: Vec::new(), asleep: Vec::new() });
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
        if matches!(input, ForemanInput::TeamEnded(team) if team == office.crew.number) {
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
            ForemanOutput::StartTeam(team) => {
                let Team { number, hosts, round, state: from, done, missing } = team;
                let blocks = self.hosts[host].shepherds[&id].spec.blocks;
                let grid = Grid::new(u64::from(blocks));
                if from != state(id.run, blocks, round) {
                    return Err(format!("{id} starts round {round} from another state than its own"));
                }
                if let Some(office) = self.office(host, id) {
                    let rest = missing.iter().flat_map(|node| node.blocks(grid)).collect();
                    office.crew = Crew { number, round, done, rest };
                    office.uses = hosts;
                }
                self.team_goes_on(host, id, number);
            }
            ForemanOutput::Complain(why) => self.say(|| format!("foreman {id} on host {host}: {why}")),
            ForemanOutput::StopTeam(team) => {
                // It folds what it has begun.
                let (delay, input) = (self.random.between(0, 9_000), ForemanInput::TeamEnded(team));
                if let Some(boot) = self.hosts[host].boot {
                    self.after(delay, Event::Foreman { host, boot, id, input });
                }
            }
            ForemanOutput::Exit(outcome) => {
                let script = self.hosts[host]
                    .shepherds
                    .get_mut(&id)
                    .filter(|herd| herd.spec.conduct != Conduct::Fenced);
                match script {
                    // It goes on when its step is over.
                    Some(herd) => herd.office = None,
                    None => return self.exits(host, id, outcome),
                }
            }
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

    /// A team folds a block or two, or is lost. What it hands in may be merged with what was done before.
    fn team_works(&mut self, host: usize, id: AttemptId, team: u32) -> Result<(), String> {
        let (luck, take) = (self.random.below(100), self.random.between(1, 2) as usize);
        let merges = self.random.next();
        let calm = self.calm;
        let spec = self.hosts[host].shepherds.get(&id).map(|herd| herd.spec);
        let Some((office, spec)) = self.office(host, id).zip(spec) else { return Ok(()) };
        let crew = &mut office.crew;
        if crew.number != team {
            return Ok(());
        }
        if luck < 5 && !calm {
            return self.foreman_hears(host, id, ForemanInput::TeamEnded(team));
        }
        let folded: Vec<u32> = crew.rest.drain(..take.min(crew.rest.len())).collect();
        if !folded.is_empty() {
            let piece = crew.fold(id, &folded, (spec.blocks, merges));
            let finished = ForemanInput::Finished(team, piece.nodes, piece.partial);
            self.foreman_hears(host, id, finished)?;
        }
        let Some(office) = self.office(host, id).filter(|office| office.crew.number == team) else {
            return Ok(());
        };
        if !office.crew.rest.is_empty() {
            self.team_goes_on(host, id, team);
            return Ok(());
        }
        if office.crew.round >= spec.rounds {
            return self.foreman_hears(host, id, ForemanInput::Answered(team));
        }
        let state = office.crew.next_round(spec.blocks);
        let round = office.crew.round;
        self.foreman_hears(host, id, ForemanInput::Round(team, round, state))?;
        self.team_goes_on(host, id, team);
        Ok(())
    }
}

/// The hash of a kernel's spec, as far as the simulator needs one.
pub(crate) fn step_name(job: JobId) -> [u8; 16] {
    let mut spec = [0; 16];
    spec[..4].copy_from_slice(&job.0.to_le_bytes());
    spec
}

/// A message to a foreman, and to which.
fn addressed(bytes: &[u8]) -> Result<(FromStore, AttemptId), String> {
    let message: FromStore = Format::Message.decode(bytes).map_err(|error| error.to_string())?;
    let (id, _) = message.step();
    Ok((message, id))
}

impl Crew {
    /// Folds blocks, and merges them with what chance says of what is done.
    fn fold(&mut self, id: AttemptId, folded: &[u32], (blocks, mut merges): (u32, u64)) -> Done {
        let grid = Grid::new(u64::from(blocks));
        let round = self.round;
        let mut sum = folded.iter().fold(0_u64, |sum, block| sum.wrapping_add(value(id.run, round, *block)));
        let mut covered = BlockSet::empty(grid);
        let mut cover = |node: Node| {
            // One that is there is counted twice, which the checks find.
            let _ = covered.insert(node);
        };
        folded.iter().for_each(|block| cover(Node::leaf(*block)));
        self.done.retain(|done| {
            let merge = merges.is_multiple_of(3);
            merges /= 3;
            if merge {
                sum = sum.wrapping_add(number(&done.partial));
                done.nodes.iter().for_each(|node| cover(*node));
            }
            !merge
        });
        let done = Done { nodes: covered.nodes(), partial: sum.to_le_bytes().to_vec() };
        self.done.push(done.clone());
        done
    }

    /// Begins the next round from the sum of this one.
    fn next_round(&mut self, blocks: u32) -> Vec<u8> {
        let sum = self.done.iter().fold(0_u64, |sum, done| sum.wrapping_add(number(&done.partial)));
        *self = Crew {
            number: self.number,
            round: self.round + 1,
            done: Vec::new(),
            rest: (0..blocks).collect(),
        };
        sum.to_le_bytes().to_vec()
    }
}

/// A sum, of however many bytes were fetched.
fn number(partial: &[u8]) -> u64 {
    partial.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
}
