//! Who is in the cluster: names, features, labels, partitions and states of the hosts.

use super::bits::Bits;
use super::constraint::Expr;
use super::host::{Host, HostState};
use super::window::ReservationId;
use std::collections::{BTreeMap, BTreeSet};

/// What many hosts have in common, interned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Traits {
    features: BTreeSet<String>,
    labels: BTreeSet<String>,
    partitions: BTreeSet<String>,
}

/// Which hosts a request may use, whatever is free on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filter {
    pub(crate) partition: Option<String>,
    pub(crate) each: Vec<Expr>,
    pub(crate) labels: BTreeSet<String>,
    pub(crate) exclude: BTreeSet<String>,
    pub(crate) reservation: Option<ReservationId>,
}

/// The hosts by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
    traits: Vec<Traits>,
    traits_numbers: BTreeMap<Traits, u32>,
    traits_of: Vec<u32>,
    states: Vec<HostState>,
    up: Bits,
}

impl Roster {
    pub(crate) fn push(&mut self, host: Host) {
        let number = self.names.len() as u32;
        let traits = Traits { features: host.features, labels: host.labels, partitions: host.partitions };
        let interned = match self.traits_numbers.get(&traits) {
            Some(&interned) => interned,
            None => {
                let interned = self.traits.len() as u32;
                self.traits.push(traits.clone());
                self.traits_numbers.insert(traits, interned);
                interned
            }
        };
        self.traits_of.push(interned);
        self.numbers.insert(host.name.clone(), number);
        self.names.push(host.name);
        self.states.push(HostState::Up);
        self.set_state(number, host.state);
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, host: u32) -> &str {
        &self.names[host as usize]
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn state(&self, host: u32) -> &HostState {
        &self.states[host as usize]
    }

    pub(crate) fn set_state(&mut self, host: u32, state: HostState) {
        if state == HostState::Up {
            self.up.insert(host as usize)
        } else {
            self.up.remove(host as usize)
        }
        self.states[host as usize] = state;
    }

    /// The hosts on which jobs may start.
    pub(crate) fn up(&self) -> &Bits {
        &self.up
    }

    /// The hosts that `filter` lets through.
    pub(crate) fn matching(&self, filter: &Filter) -> Bits {
        let passes: Vec<bool> = self.traits.iter().map(|traits| traits.pass(filter)).collect();
        let mut hosts = Bits::new(self.len());
        for (host, _) in self.traits_of.iter().enumerate().filter(|(_, t)| passes[**t as usize]) {
            hosts.insert(host);
        }
        filter.exclude.iter().filter_map(|name| self.find(name)).for_each(|host| hosts.remove(host as usize));
        hosts
    }

    /// Whether `filter` lets one host through.
    pub(crate) fn matches(&self, filter: &Filter, host: u32) -> bool {
        self.traits[self.traits_of[host as usize] as usize].pass(filter)
            && !filter.exclude.contains(self.name(host))
    }

    /// Whether any host has a feature.
    pub(crate) fn has_feature(&self, name: &str) -> bool {
        self.traits.iter().any(|traits| traits.features.contains(name))
    }

    /// Whether any host has a label.
    pub(crate) fn has_label(&self, name: &str) -> bool {
        self.traits.iter().any(|traits| traits.labels.contains(name))
    }

    /// Whether any host is in a partition.
    pub(crate) fn has_partition(&self, name: &str) -> bool {
        self.traits.iter().any(|traits| traits.partitions.contains(name))
    }
}

impl Traits {
    fn pass(&self, filter: &Filter) -> bool {
        filter.partition.as_ref().is_none_or(|name| self.partitions.contains(name))
            && filter.each.iter().all(|expr| expr.holds(&self.features))
            && filter.labels.is_subset(&self.labels)
    }
}
