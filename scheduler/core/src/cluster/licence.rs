//! Licences: counters of the whole cluster.
//!
//! A name keeps its number. There may be fewer of a licence than are held, when the site has less of it than before: then
//! none is free until enough came back.

use crate::policy::machine::Running;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// One kind of licence.
#[derive(Clone, Debug)]
pub(crate) struct Licence {
    pub(crate) name: String,
    /// How many there are; none when the site does not know the name any more.
    pub(crate) total: Option<u32>,
    /// How many are held.
    taken: u64,
    /// Who holds how many, by their estimated ends.
    held: BTreeSet<(Time, Running, u32)>,
}

impl Licence {
    /// When `count` are free by the estimates of what runs, not before `now`; none when there are not so many.
    pub(crate) fn ready(&self, count: u32, now: Time) -> Option<Time> {
        let mut taken = self.taken;
        let mut at = now;
        for &(end, _, back) in &self.held {
            if self.free_of(taken) >= count {
                break;
            }
            taken -= u64::from(back);
            at = at.max(end);
        }
        (self.free_of(taken) >= count).then_some(at)
    }

    /// How many are free.
    pub(crate) fn free(&self) -> u32 {
        self.free_of(self.taken)
    }

    /// Who holds some, by their estimated ends, and how many are free when that ends.
    pub(crate) fn frees(&self) -> impl Iterator<Item = (Time, Running, u32)> {
        self.held.iter().scan(self.taken, |taken, &(end, running, back)| {
            *taken -= u64::from(back);
            Some((end, running, self.free_of(*taken)))
        })
    }

    /// How many are free at `at`, by the estimates of what runs.
    pub(crate) fn free_at(&self, at: Time) -> u32 {
        let back = self.held.iter().take_while(|held| held.0 <= at).map(|held| u64::from(held.2));
        self.free_of(self.taken - back.sum::<u64>())
    }

    /// How many are free while so many are held.
    fn free_of(&self, taken: u64) -> u32 {
        // At most the total, which is so small.
        u64::from(self.total.unwrap_or(0)).saturating_sub(taken) as u32
    }
}

/// All licences of the cluster, numbered as their names came up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Licences {
    all: Vec<Licence>,
    numbers: BTreeMap<String, usize>,
}

impl Licences {
    pub(crate) fn new(totals: &BTreeMap<String, u32>) -> Licences {
        let mut licences = Licences::default();
        licences.set(totals);
        licences
    }

    /// Makes these all that there are.
    pub(crate) fn set(&mut self, totals: &BTreeMap<String, u32>) {
        for licence in &mut self.all {
            licence.total = totals.get(&licence.name).copied();
        }
        for (name, &total) in totals {
            let number = self.number(name);
            self.all[number].total = Some(total);
        }
    }

    /// The number of a name, whether the site knows it or not: something that runs may hold what there is no more.
    pub(crate) fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.find(name) {
            return number;
        }
        let number = self.all.len();
        self.all.push(Licence { name: name.to_owned(), total: None, taken: 0, held: BTreeSet::new() });
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// How many kinds there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, number: usize) -> &Licence {
        &self.all[number]
    }

    /// Whether all of `wanted` are free.
    pub(crate) fn fit(&self, wanted: &[(usize, u32)]) -> bool {
        wanted.iter().all(|&(number, count)| self.all[number].free() >= count)
    }

    /// Takes what [`Licences::fit`] found free, or what was held when there were more.
    pub(crate) fn take(&mut self, wanted: &[(usize, u32)], running: Running, end: Time) {
        for &(number, count) in wanted {
            self.all[number].taken += u64::from(count);
            self.all[number].held.insert((end, running, count));
        }
    }

    /// Gives back what [`Licences::take`] took.
    pub(crate) fn give(&mut self, wanted: &[(usize, u32)], running: Running, end: Time) {
        for &(number, count) in wanted {
            self.all[number].taken -= u64::from(count);
            self.all[number].held.remove(&(end, running, count));
        }
    }

    /// When all of `wanted` are free, not before `now`; none when they never are.
    pub(crate) fn ready(&self, wanted: &[(usize, u32)], now: Time) -> Option<Time> {
        wanted.iter().try_fold(now, |at, &(number, count)| Some(at.max(self.all[number].ready(count, now)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_are_held_are_none_until_enough_came_back() {
        let of = |solvers: u32| BTreeMap::from([("solver".to_owned(), solvers)]);
        let mut all = Licences::new(&of(5));
        let solver = all.find("solver").expect("it is there");
        all.take(&[(solver, 3)], Running(1), Time(10));
        all.take(&[(solver, 2)], Running(2), Time(20));
        // How many there are from now on; how many are free now, at 10 and at 20; and when 1, 2 and 4 are.
        for (total, free, ready) in [
            (7, [2, 5, 7], [Some(0), Some(0), Some(10)]),
            (5, [0, 3, 5], [Some(10), Some(10), Some(20)]),
            (3, [0, 1, 3], [Some(10), Some(20), None]),
            (1, [0, 0, 1], [Some(20), None, None]),
            (0, [0, 0, 0], [None, None, None]),
        ] {
            all.set(&of(total));
            let licence = all.get(solver);
            assert_eq!([0, 10, 20].map(|at| licence.free_at(Time(at))), free, "of {total}");
            assert_eq!(licence.free(), free[0], "of {total}");
            let ends: Vec<u32> = licence.frees().map(|(.., free)| free).collect();
            assert_eq!(ends, free[1..], "of {total}");
            let at = [1, 2, 4].map(|count| licence.ready(count, Time(0)));
            assert_eq!(at, ready.map(|at| at.map(Time)), "of {total}");
        }
        all.set(&BTreeMap::from([("other".to_owned(), 2)]));
        assert_eq!(
            (all.find("solver"), all.get(solver).total),
            (Some(solver), None),
            "a name keeps its number"
        );
        all.give(&[(solver, 3)], Running(1), Time(10));
        all.set(&of(3));
        assert!(all.fit(&[(solver, 1)]) && !all.fit(&[(solver, 2)]));
    }
}
