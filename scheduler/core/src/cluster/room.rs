//! Where one need has room: how many of its pieces each host could take now.
//!
//! A summary is kept for each need, and brought up to date host by host. Always: the totals are those of the hosts.

use super::bits::Bits;
use super::free::Level;

/// What one host must have for one piece of a job: a host's whole share where each host gets the same, else a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    /// Which filter its hosts pass.
    pub(crate) filter: u32,
    /// Tasks in a piece.
    pub(crate) tasks: u32,
    pub(crate) cpus: u32,
    /// In mebibytes.
    pub(crate) memory: u64,
    pub(crate) gpus: u32,
    /// Once on each host, in mebibytes.
    pub(crate) host_memory: u64,
    /// Once on each host.
    pub(crate) host_gpus: u32,
    /// The type of its GPUs; none for any.
    pub(crate) kind: Option<String>,
    /// Pieces on one host, at most.
    pub(crate) most: u32,
    /// Whether it takes its hosts whole.
    pub(crate) exclusive: bool,
}

/// What a job takes of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) cpus: u32,
    /// In mebibytes.
    pub(crate) memory: u64,
    pub(crate) gpus: u32,
    /// GPUs to choose from, a bit each.
    pub(crate) gpus_from: u64,
    pub(crate) tasks: u32,
}

impl Need {
    /// How many pieces a host can take of which so much is free; `kind` has a bit for each of its GPUs that will do.
    pub(crate) fn room(&self, level: Level, kind: u64) -> u16 {
        if level.cpus < self.cpus || (self.exclusive && level.jobs > 0) {
            return 0;
        }
        let gpus = (level.gpus & kind).count_ones();
        if level.memory < self.host_memory || gpus < self.host_gpus {
            return 0;
        }
        let (memory, gpus) = (level.memory - self.host_memory, gpus - self.host_gpus);
        if self.most == 1 {
            return u16::from(memory >= self.memory && gpus >= self.gpus);
        }
        let by_memory = memory.checked_div(self.memory).unwrap_or(u64::MAX);
        let by_gpus = gpus.checked_div(self.gpus).unwrap_or(u32::MAX);
        let pieces = (level.cpus / self.cpus).min(by_gpus).min(self.most);
        u64::from(pieces).min(by_memory).min(u64::from(u16::MAX)) as u16
    }

    /// What so many pieces take of a host of which so much is free.
    pub(crate) fn amount(&self, pieces: u32, level: Level, kind: u64) -> Amount {
        let tasks = self.tasks * pieces;
        if self.exclusive {
            let (gpus, gpus_from) = (level.gpus.count_ones(), level.gpus);
            return Amount { cpus: level.cpus, memory: level.memory, gpus, gpus_from, tasks };
        }
        Amount {
            cpus: self.cpus * pieces,
            memory: self.host_memory + self.memory * u64::from(pieces),
            gpus: self.host_gpus + self.gpus * pieces,
            gpus_from: level.gpus & kind,
            tasks,
        }
    }
}

/// How many pieces each host could take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms {
    of_host: Vec<u16>,
    able: Bits,
    count: u32,
    sum: u64,
    /// How many hosts could take exactly so many.
    hosts_with: Vec<u32>,
}

impl Rooms {
    /// No room on any of so many hosts.
    pub(crate) fn new(hosts: usize) -> Rooms {
        Rooms { of_host: vec![0; hosts], able: Bits::new(hosts), ..Rooms::default() }
    }

    /// Sets what one host could take.
    pub(crate) fn set(&mut self, host: usize, room: u16) {
        if host >= self.of_host.len() {
            self.of_host.resize(host + 1, 0);
        }
        let old = std::mem::replace(&mut self.of_host[host], room);
        if old == room {
            return;
        }
        if self.hosts_with.len() <= usize::from(room) {
            self.hosts_with.resize(usize::from(room) + 1, 0);
        }
        if old > 0 {
            self.hosts_with[usize::from(old)] -= 1;
        }
        if room > 0 {
            self.hosts_with[usize::from(room)] += 1;
        }
        match (old, room) {
            (0, _) => {
                self.able.insert(host);
                self.count += 1;
            }
            (_, 0) => {
                self.able.remove(host);
                self.count -= 1;
            }
            _ => {}
        }
        self.sum = self.sum + u64::from(room) - u64::from(old);
    }

    /// What a host could take.
    pub(crate) fn of(&self, host: usize) -> u16 {
        self.of_host.get(host).copied().unwrap_or(0)
    }

    /// The hosts that could take something.
    pub(crate) fn able(&self) -> &Bits {
        &self.able
    }

    /// How many hosts could take something.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// What the `hosts` with most room could take together.
    pub(crate) fn top(&self, hosts: u32) -> u64 {
        if hosts >= self.count {
            return self.sum;
        }
        let mut left = hosts;
        let mut sum = 0;
        for (room, &with) in self.hosts_with.iter().enumerate().rev() {
            let some = with.min(left);
            sum += u64::from(some) * room as u64;
            left -= some;
            if left == 0 {
                break;
            }
        }
        sum
    }

    /// The fewest hosts, `from` at least, that could take `pieces` together, which all can.
    pub(crate) fn fewest(&self, pieces: u64, from: u32) -> u32 {
        let (mut hosts, mut sum) = (0, 0);
        for (room, &with) in self.hosts_with.iter().enumerate().rev().filter(|(room, _)| *room > 0) {
            let room = room as u64;
            if sum + room * u64::from(with) >= pieces {
                hosts += (pieces - sum).div_ceil(room) as u32;
                break;
            }
            (hosts, sum) = (hosts + with, sum + room * u64::from(with));
        }
        hosts.max(from)
    }

    /// The room that the last of the `hosts` with most room has.
    pub(crate) fn last_of(&self, hosts: u32) -> u16 {
        let mut left = hosts;
        for (room, &with) in self.hosts_with.iter().enumerate().rev() {
            if with >= left {
                return room as u16;
            }
            left -= with;
        }
        0
    }

    /// How many hosts could take `room` or more.
    pub(crate) fn with_at_least(&self, room: u32) -> u32 {
        self.hosts_with.get(room as usize..).map_or(0, |with| with.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn totals_are_those_of_the_hosts(sets in prop::collection::vec((0_usize..80, 0_u16..9), 0..200), k in 0_u32..90) {
            let mut rooms = Rooms::new(80);
            let mut naive = [0_u16; 80];
            for &(host, room) in &sets {
                rooms.set(host, room);
                naive[host] = room;
            }
            let mut sorted: Vec<u64> = naive.iter().map(|&room| u64::from(room)).filter(|&room| room > 0).collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(rooms.count() as usize, sorted.len());
            prop_assert_eq!(rooms.able().len(), sorted.len());
            prop_assert_eq!(rooms.top(k), sorted.iter().take(k as usize).sum::<u64>());
            prop_assert_eq!(rooms.with_at_least(k.max(1)) as usize, sorted.iter().filter(|&&r| r >= u64::from(k.max(1))).count());
            let last = sorted.get((k as usize).wrapping_sub(1)).copied();
            prop_assert!(last.is_none_or(|last| u64::from(rooms.last_of(k)) == last));
            let all: u64 = sorted.iter().sum();
            for pieces in 1..=all {
                let fewest = (0..=80).find(|&hosts| sorted.iter().take(hosts).sum::<u64>() >= pieces).unwrap();
                prop_assert_eq!(rooms.fewest(pieces, 0) as usize, fewest);
            }
        }
    }
}
