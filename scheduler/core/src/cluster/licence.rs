//! Licences: counters of the whole cluster.

use crate::policy::machine::Running;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// One kind of licence.
#[derive(Clone, Debug)]
pub(crate) struct Licence {
    pub(crate) name: String,
    pub(crate) total: u32,
    pub(crate) free: u32,
    /// Who holds how many, by their estimated ends.
    pub(crate) held: BTreeSet<(Time, Running, u32)>,
}

impl Licence {
    /// When `count` are free by the estimates of what runs, not before `now`; none when there are not so many.
    pub(crate) fn ready(&self, count: u32, now: Time) -> Option<Time> {
        let mut free = self.free;
        let mut at = now;
        for &(end, _, back) in &self.held {
            if free >= count {
                break;
            }
            free += back;
            at = at.max(end);
        }
        (free >= count).then_some(at)
    }

    /// How many are free at `at`, by the estimates of what runs.
    pub(crate) fn free_at(&self, at: Time) -> u32 {
        self.free + self.held.iter().take_while(|held| held.0 <= at).map(|held| held.2).sum::<u32>()
    }
}

/// All licences of the cluster, numbered by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Licences {
    all: Vec<Licence>,
}

impl Licences {
    pub(crate) fn new(totals: &BTreeMap<String, u32>) -> Licences {
        let licence = |(name, &total): (&String, &u32)| Licence {
            name: name.clone(),
            total,
            free: total,
            held: BTreeSet::new(),
        };
        Licences { all: totals.iter().map(licence).collect() }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.all.binary_search_by(|licence| licence.name.as_str().cmp(name)).ok()
    }

    pub(crate) fn get(&self, number: usize) -> &Licence {
        &self.all[number]
    }

    /// Whether all of `wanted` are free.
    pub(crate) fn fit(&self, wanted: &[(usize, u32)]) -> bool {
        wanted.iter().all(|&(number, count)| self.all[number].free >= count)
    }

    /// Takes what [`Licences::fit`] found free.
    pub(crate) fn take(&mut self, wanted: &[(usize, u32)], running: Running, end: Time) {
        for &(number, count) in wanted {
            self.all[number].free -= count;
            self.all[number].held.insert((end, running, count));
        }
    }

    /// Gives back what [`Licences::take`] took.
    pub(crate) fn give(&mut self, wanted: &[(usize, u32)], running: Running, end: Time) {
        for &(number, count) in wanted {
            self.all[number].free += count;
            self.all[number].held.remove(&(end, running, count));
        }
    }

    /// When all of `wanted` are free, not before `now`; none when they never are.
    pub(crate) fn ready(&self, wanted: &[(usize, u32)], now: Time) -> Option<Time> {
        wanted.iter().try_fold(now, |at, &(number, count)| Some(at.max(self.all[number].ready(count, now)?)))
    }
}
