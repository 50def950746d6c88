//! What goes wrong in one story. Each seed switches kinds of faults on and off, so that rare ones meet each other
//! undisturbed (Groce and others, 2012, call it swarm testing).

use crate::random::Random;

/// How the network and the disk misbehave until calm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Chances in a thousand that a message is lost, doubled, or very late.
    pub(crate) drop: u64,
    pub(crate) double: u64,
    pub(crate) late: u64,
    /// That a sync takes very long.
    pub(crate) slow_disk: u64,
    /// That a process dies between two outputs.
    pub(crate) die_midway: u64,
}

/// Something that breaks at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The controller dies; it is back after so long.
    Controller(i64),
    /// An agent.
    Agent(usize, i64),
    /// One of the shepherds of a host.
    Shepherd(usize),
    /// A host.
    Host(usize, i64),
    /// The network between a host and the controller.
    Cut(usize, Cut, i64),
}

/// How a network is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Away from the host, and towards it.
    pub(crate) from: bool,
    pub(crate) to: bool,
    /// Whether what is sent meanwhile arrives when it is whole again; it is lost otherwise.
    pub(crate) keeps: bool,
}

impl Faults {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut some = |most: i64| if random.chance(500) { random.between(1, most) as u64 } else { 0 };
        Faults {
            drop: some(150),
            double: some(200),
            late: some(100),
            slow_disk: some(150),
            die_midway: some(8),
        }
    }
}

/// What breaks, and when, until `end`.
pub(crate) fn breaks(random: &mut Random, hosts: usize, end: i64) -> Vec<(i64, Break)> {
    let mut out = Vec::new();
    let away = |random: &mut Random| match random.below(3) {
        0 => random.between(500, 8_000),
        1 => random.between(5_000, 50_000),
        _ => random.between(40_000, 120_000),
    };
    let kinds: Vec<u64> = (0..5).filter(|_| random.chance(500)).collect();
    for kind in kinds {
        for _ in 0..random.between(1, 4) {
            let (at, host, away) =
                (random.between(1_000, end), random.below(hosts as u64) as usize, away(random));
            out.push(match kind {
                0 => (at, Break::Controller(away)),
                1 => (at, Break::Agent(host, away)),
                2 => (at, Break::Shepherd(host)),
                3 => (at, Break::Host(host, away)),
                _ => {
                    let (from, to) = [(true, true), (true, false), (false, true)][random.below(3) as usize];
                    (at, Break::Cut(host, Cut { from, to, keeps: random.chance(500) }, away))
                }
            });
        }
    }
    out
}
