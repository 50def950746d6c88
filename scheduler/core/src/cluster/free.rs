//! What is free on each host, as counts to decide by and as cores, memory and GPUs to take.
//!
//! Always: the counts of a host are the sums over its domains. Arrays by host, not structs: a look over all hosts for
//! one class reads two or three of them from front to back.

use super::held::Part;
use super::shape::{Known, Shape, Shapes};

/// What is free on one host, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) cpus: u32,
    /// In mebibytes.
    pub(crate) memory: u64,
    /// A bit for each GPU.
    pub(crate) gpus: u64,
    /// How many jobs have cores of it: one that is stopped and has given them all away is in nobody's way.
    pub(crate) jobs: u32,
}

/// What is free on all hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Free {
    shapes: Shapes,
    shape_of: Vec<u32>,
    cpus: Vec<u32>,
    memory: Vec<u64>,
    gpus: Vec<u64>,
    jobs: Vec<u32>,
    cores: Packed,
    domain_memory: Packed,
    all_cpus: u64,
    size: u64,
}

/// A short run of words for each host, one run after the other.
#[derive(Clone, Debug, Default)]
struct Packed {
    words: Vec<u64>,
    from: Vec<u32>,
}

impl Packed {
    fn push(&mut self, words: impl IntoIterator<Item = u64>) {
        self.from.push(self.words.len() as u32);
        self.words.extend(words);
    }

    fn of(&self, host: usize) -> &[u64] {
        let to = self.from.get(host + 1).map_or(self.words.len(), |&to| to as usize);
        &self.words[self.from[host] as usize..to]
    }

    fn of_mut(&mut self, host: usize) -> &mut [u64] {
        let to = self.from.get(host + 1).map_or(self.words.len(), |&to| to as usize);
        &mut self.words[self.from[host] as usize..to]
    }
}

impl Free {
    /// Adds a host with nothing taken.
    pub(crate) fn push(&mut self, shape: Shape) {
        let number = self.shapes.intern(shape);
        let known = self.shapes.get(number);
        let cores = known.cores;
        self.shape_of.push(number);
        self.cpus.push(cores);
        self.memory.push(known.memory_mib);
        self.gpus.push(known.gpus(None));
        self.jobs.push(0);
        self.cores.push((0..cores.div_ceil(64)).map(|word| ones(cores - word * 64)));
        self.domain_memory.push(known.shape.domains.iter().map(|domain| domain.memory_mib));
        self.all_cpus += u64::from(cores);
        self.size += u64::from(cores);
    }

    /// CPUs of all hosts, free or not.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    pub(crate) fn shape_number(&self, host: usize) -> usize {
        self.shape_of[host] as usize
    }

    pub(crate) fn shape(&self, host: usize) -> &Known {
        self.shapes.get(self.shape_of[host])
    }

    /// What is free on a host.
    #[inline]
    pub(crate) fn level(&self, host: usize) -> Level {
        Level {
            cpus: self.cpus[host],
            memory: self.memory[host],
            gpus: self.gpus[host],
            jobs: self.jobs[host],
        }
    }

    /// Free CPUs of a host.
    pub(crate) fn cpus(&self, host: usize) -> u32 {
        self.cpus[host]
    }

    /// Free CPUs of all hosts.
    pub(crate) fn all_cpus(&self) -> u64 {
        self.all_cpus
    }

    /// The free cores of a host, a bit each.
    pub(crate) fn cores(&self, host: usize) -> &[u64] {
        self.cores.of(host)
    }

    /// The free memory of each domain of a host, in mebibytes.
    pub(crate) fn domain_memory(&self, host: usize) -> &[u64] {
        self.domain_memory.of(host)
    }

    /// Takes what is free.
    pub(crate) fn take(&mut self, part: &Part) {
        let host = part.host.0 as usize;
        for (free, taken) in self.cores.of_mut(host).iter_mut().zip(part.cores.words()) {
            debug_assert_eq!(*free & taken, *taken, "a core is held twice");
            *free &= !taken;
        }
        for (free, taken) in self.domain_memory.of_mut(host).iter_mut().zip(&part.memory_mib) {
            *free -= taken;
        }
        debug_assert_eq!(self.gpus[host] & part.gpus, part.gpus, "a GPU is held twice");
        self.gpus[host] &= !part.gpus;
        self.cpus[host] -= part.cpus();
        self.memory[host] -= part.memory();
        self.jobs[host] += u32::from(part.cpus() > 0);
        self.all_cpus -= u64::from(part.cpus());
    }

    /// Gives back what [`Free::take`] took.
    pub(crate) fn give(&mut self, part: &Part) {
        let host = part.host.0 as usize;
        for (free, taken) in self.cores.of_mut(host).iter_mut().zip(part.cores.words()) {
            *free |= taken;
        }
        for (free, taken) in self.domain_memory.of_mut(host).iter_mut().zip(&part.memory_mib) {
            *free += taken;
        }
        self.gpus[host] |= part.gpus;
        self.cpus[host] += part.cpus();
        self.memory[host] += part.memory();
        self.jobs[host] -= u32::from(part.cpus() > 0);
        self.all_cpus += u64::from(part.cpus());
    }
}

/// The lowest `count` bits, all when there are not so many.
fn ones(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
