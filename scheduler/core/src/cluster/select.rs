//! Which hosts a job takes, by the room that each has.
//!
//! Always: a choice is found exactly when one exists. Without groups of hosts that must be among them, the hosts with
//! most room decide; with groups, the sets of hosts that can be chosen are a transversal matroid, in which taking the
//! host with most room that still leaves a place for all groups is best (Edmonds, 1971).

use super::bits::Bits;
use super::constraint::Expr;
use super::free::Free;
use super::request::Layout;
use super::room::Rooms;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

/// Hosts that must be among those of a job.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) of: GroupOf,
    /// The hosts that count.
    pub(crate) hosts: Bits,
    /// How many of them, at least.
    pub(crate) count: u32,
}

/// What makes a host count for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupOf {
    /// It has this.
    Features(Expr),
    /// It is one of these.
    Names(BTreeSet<String>),
}

/// How many hosts and pieces a job takes.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    /// Hosts, at least.
    pub(crate) min: u32,
    /// Hosts, at most.
    pub(crate) max: u32,
    /// Pieces of all hosts together; none where each host takes one.
    pub(crate) pieces: Option<u32>,
    pub(crate) groups: Vec<Group>,
    pub(crate) layout: Layout,
}

/// A host and how many pieces it takes.
pub(crate) type Choice = (u32, u32);

impl Sizes {
    /// Whether hosts can be chosen.
    pub(crate) fn fit(&self, rooms: &Rooms) -> bool {
        if rooms.count() < self.min || self.pieces.is_some_and(|all| rooms.top(self.max) < u64::from(all)) {
            return false;
        }
        self.groups.is_empty() || self.grouped(rooms, self.most(rooms)).is_some()
    }

    /// The hosts to take, ascending.
    pub(crate) fn choose(&self, rooms: &Rooms, free: &Free) -> Option<Vec<Choice>> {
        if !self.fit(rooms) {
            return None;
        }
        let hosts = match (self.groups.is_empty(), self.layout, self.pieces) {
            (false, ..) => self.grouped_by_layout(rooms)?,
            (true, Layout::Pack, None) => first(rooms, self.most(rooms), 1),
            (true, Layout::Pack, Some(all)) => {
                let hosts = rooms.fewest(u64::from(all), self.min);
                let even = all.div_ceil(hosts);
                if rooms.with_at_least(even) >= hosts {
                    first(rooms, hosts, even)
                } else {
                    widest(rooms, hosts, |_| 0)
                }
            }
            (true, Layout::Spread, _) => {
                widest(rooms, self.most(rooms), |host| u32::MAX - free.cpus(host as usize))
            }
        };
        Some(self.deal(hosts, rooms))
    }

    /// The hosts to take where each takes one piece and none need be among them, of those in `from`, ascending.
    pub(crate) fn first_of(&self, from: impl Iterator<Item = usize>) -> Option<Vec<Choice>> {
        let hosts: Vec<Choice> = from.take(self.max as usize).map(|host| (host as u32, 1)).collect();
        (hosts.len() >= self.min as usize).then_some(hosts)
    }

    /// Whether [`Sizes::first_of`] chooses as [`Sizes::choose`] does.
    pub(crate) fn takes_the_first(&self) -> bool {
        self.pieces.is_none() && self.groups.is_empty() && self.layout == Layout::Pack
    }

    /// The most hosts that it can have.
    fn most(&self, rooms: &Rooms) -> u32 {
        self.max.min(rooms.count()).min(self.pieces.unwrap_or(u32::MAX))
    }

    /// Pieces for each of `hosts`: one, then evenly as far as there is room, the first of them one more.
    fn deal(&self, mut hosts: Vec<u32>, rooms: &Rooms) -> Vec<Choice> {
        hosts.sort_unstable();
        let Some(mut left) = self.pieces else { return hosts.into_iter().map(|host| (host, 1)).collect() };
        let room = |host: u32| u32::from(rooms.of(host as usize));
        // From the tightest: what it cannot take of its share goes to the rest.
        let mut order: Vec<u32> = hosts.clone();
        order.sort_by_key(|&host| (room(host), Reverse(host)));
        let mut dealt: Vec<Choice> = Vec::with_capacity(order.len());
        for (at, &host) in order.iter().enumerate() {
            let some = room(host).min(left / (order.len() - at) as u32);
            dealt.push((host, some));
            left -= some;
        }
        dealt.sort_unstable();
        dealt
    }

    /// Hosts with every group among them: the fewest, or the most when it is to be spread.
    fn grouped_by_layout(&self, rooms: &Rooms) -> Option<Vec<u32>> {
        let most = self.most(rooms);
        let (mut least, mut enough) = (self.min, most);
        while self.layout == Layout::Pack && self.pieces.is_some() && least < enough {
            let middle = least.midpoint(enough);
            if self.grouped(rooms, middle).is_some() { enough = middle } else { least = middle + 1 }
        }
        self.grouped(rooms, enough)
    }

    /// So many hosts with every group among them and the most room.
    fn grouped(&self, rooms: &Rooms, hosts: u32) -> Option<Vec<u32>> {
        let counted: u32 = self.groups.iter().map(|group| group.count).sum();
        let others = hosts.checked_sub(counted)?;
        // For each set of groups: how many hosts may be chosen that count for groups of this set alone.
        let sets = 1_usize << self.groups.len();
        let of_set = |set: usize| {
            self.groups
                .iter()
                .enumerate()
                .filter(move |(g, _)| set >> g & 1 == 1)
                .map(|(_, g)| g.count)
                .sum::<u32>()
        };
        let mut left: Vec<u32> = (0..sets).map(|set| others + of_set(set)).collect();
        let mut order: Vec<u32> = rooms.able().iter().map(|host| host as u32).collect();
        order.sort_by_key(|&host| (Reverse(rooms.of(host as usize)), host));
        let mut chosen = Vec::with_capacity(hosts as usize);
        for host in order {
            let counts = |group: &Group| group.hosts.contains(host as usize);
            let mine = self
                .groups
                .iter()
                .enumerate()
                .fold(0, |set, (g, group)| set | usize::from(counts(group)) << g);
            let mut with_mine = (0..sets).filter(|set| set & mine == mine);
            if chosen.len() < hosts as usize && with_mine.clone().all(|set| left[set] > 0) {
                with_mine.by_ref().for_each(|set| left[set] -= 1);
                chosen.push(host);
            }
        }
        let pieces: u64 = chosen.iter().map(|&host| u64::from(rooms.of(host as usize))).sum();
        let enough = chosen.len() == hosts as usize && self.pieces.is_none_or(|all| pieces >= u64::from(all));
        enough.then_some(chosen)
    }
}

/// The first hosts that could take `room` or more.
fn first(rooms: &Rooms, hosts: u32, room: u32) -> Vec<u32> {
    let wide = |host: &usize| u32::from(rooms.of(*host)) >= room;
    rooms.able().iter().filter(wide).take(hosts as usize).map(|host| host as u32).collect()
}

/// The hosts with most room; among equals the least by `key`, then the first.
fn widest(rooms: &Rooms, hosts: u32, key: impl Fn(u32) -> u32) -> Vec<u32> {
    let last = rooms.last_of(hosts);
    let (mut chosen, mut equal) = (Vec::new(), Vec::new());
    for host in rooms.able().iter() {
        match rooms.of(host).cmp(&last) {
            Ordering::Greater => chosen.push(host as u32),
            Ordering::Equal => equal.push((key(host as u32), host as u32)),
            Ordering::Less => {}
        }
    }
    let more = hosts as usize - chosen.len();
    if more < equal.len() {
        equal.select_nth_unstable(more);
    }
    chosen.extend(equal.into_iter().take(more).map(|(_, host)| host));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether some set of hosts does, by trying all.
    fn possible(sizes: &Sizes, rooms: &[u16]) -> bool {
        (0_u32..1 << rooms.len()).any(|set| {
            let hosts: Vec<usize> = (0..rooms.len()).filter(|h| set >> h & 1 == 1).collect();
            let pieces: u32 = hosts.iter().map(|&h| u32::from(rooms[h])).sum();
            (sizes.min..=sizes.max).contains(&(hosts.len() as u32))
                && hosts.iter().all(|&h| rooms[h] > 0)
                && sizes.pieces.is_none_or(|all| pieces >= all && all >= hosts.len() as u32)
                && matched(&sizes.groups, &hosts)
        })
    }

    /// Whether different hosts can count for all groups, by trying all.
    fn matched(groups: &[Group], hosts: &[usize]) -> bool {
        let mut places: Vec<&Bits> =
            groups.iter().flat_map(|g| std::iter::repeat_n(&g.hosts, g.count as usize)).collect();
        fn assign(places: &mut Vec<&Bits>, hosts: &[usize]) -> bool {
            let Some(place) = places.pop() else { return true };
            let done = hosts.iter().enumerate().any(|(at, &host)| {
                let rest: Vec<usize> =
                    hosts.iter().copied().enumerate().filter(|(i, _)| *i != at).map(|(_, h)| h).collect();
                place.contains(host) && assign(&mut places.clone(), &rest)
            });
            places.push(place);
            done
        }
        assign(&mut places, hosts)
    }

    fn sizes() -> impl Strategy<Value = (Sizes, Vec<u16>)> {
        let group = (prop::collection::btree_set(0_usize..6, 0..6), 1_u32..3);
        let groups = prop::collection::vec(group, 0..3);
        let rooms = prop::collection::vec(0_u16..4, 6);
        (1_u32..5, 0_u32..4, prop::option::of(1_u32..12), groups, rooms, any::<bool>()).prop_map(
            |(min, more, pieces, groups, rooms, pack)| {
                let group = |(hosts, count): (BTreeSet<usize>, u32)| Group {
                    of: GroupOf::Names(BTreeSet::new()),
                    hosts: hosts.into_iter().collect(),
                    count,
                };
                let groups: Vec<Group> = groups.into_iter().map(group).collect();
                let min = min.max(groups.iter().map(|g| g.count).sum());
                let pieces = pieces.map(|pieces| pieces.max(min));
                let max = (min + more).min(pieces.unwrap_or(u32::MAX));
                let layout = if pack { Layout::Pack } else { Layout::Spread };
                let rooms = if pieces.is_none() { rooms.iter().map(|&r| r.min(1)).collect() } else { rooms };
                (Sizes { min, max, pieces, groups, layout }, rooms)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn hosts_are_chosen_exactly_when_some_will_do((sizes, rooms) in sizes()) {
            let mut summary = Rooms::new(rooms.len());
            rooms.iter().enumerate().for_each(|(host, &room)| summary.set(host, room));
            let mut free = Free::default();
            rooms.iter().for_each(|_| free.push(super::super::Shape::parse("1x4").unwrap()));
            let chosen = sizes.choose(&summary, &free);
            prop_assert_eq!(chosen.is_some(), possible(&sizes, &rooms));
            prop_assert_eq!(chosen.is_some(), sizes.fit(&summary));
            let Some(chosen) = chosen else { return Ok(()) };
            prop_assert!(chosen.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert!((sizes.min..=sizes.max).contains(&(chosen.len() as u32)));
            prop_assert!(chosen.iter().all(|&(host, pieces)| pieces >= 1 && pieces <= u32::from(rooms[host as usize])));
            if let Some(all) = sizes.pieces {
                prop_assert_eq!(chosen.iter().map(|c| c.1).sum::<u32>(), all);
            }
            let hosts: Vec<usize> = chosen.iter().map(|c| c.0 as usize).collect();
            prop_assert!(matched(&sizes.groups, &hosts));
            if sizes.takes_the_first() {
                prop_assert_eq!(sizes.first_of(summary.able().iter()), Some(chosen));
            }
        }
    }

    #[test]
    fn a_job_is_packed_on_few_hosts_or_spread_over_many() {
        let mut rooms = Rooms::new(5);
        [2, 4, 1, 4, 3].into_iter().enumerate().for_each(|(host, room)| rooms.set(host, room));
        let mut free = Free::default();
        (0..5).for_each(|_| free.push(super::super::Shape::parse("1x4").unwrap()));
        let choose = |layout, min, pieces| {
            Sizes { min, max: 5, pieces: Some(pieces), groups: vec![], layout }.choose(&rooms, &free).unwrap()
        };
        assert_eq!(choose(Layout::Pack, 1, 2), [(0, 2)], "the first that holds all");
        assert_eq!(choose(Layout::Pack, 1, 3), [(1, 3)]);
        assert_eq!(choose(Layout::Pack, 1, 7), [(1, 4), (3, 3)]);
        assert_eq!(choose(Layout::Pack, 2, 2), [(0, 1), (1, 1)]);
        assert_eq!(choose(Layout::Pack, 1, 11), [(1, 4), (3, 4), (4, 3)]);
        assert_eq!(choose(Layout::Spread, 1, 3), [(1, 1), (3, 1), (4, 1)]);
        assert_eq!(choose(Layout::Spread, 1, 9), [(0, 2), (1, 2), (2, 1), (3, 2), (4, 2)]);
    }
}
