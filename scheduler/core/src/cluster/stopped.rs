//! What is stopped to make room, and what came back to it.
//!
//! Always: it keeps memory, GPUs and licences, as its processes do; of its cores it holds those that nobody else has. It
//! gives them away only to one for whom it was stopped, so none that came after takes its place meanwhile.

use super::bits::Bits;
use super::held::{Allocation, Part};
use super::hosts::Hosts;
use crate::policy::machine::{Machine, Running};
use crate::time::Time;
use std::sync::Arc;

impl Hosts {
    /// Gives up the cores of what is stopped; nothing when it has none.
    pub(crate) fn give_cores(&mut self, running: Running) {
        let Some((end, held)) = self.held.get(running).cloned() else { return };
        if held.parts.iter().all(|part| part.cores.is_empty()) {
            return;
        }
        let bare = |part: &Part| Part { cores: Bits::default(), ..part.clone() };
        let parts = held.parts.iter().map(bare).collect();
        self.finish(running);
        self.take(running, end, &Arc::new(Allocation { class: held.class, parts }));
    }

    /// Makes `running`, which holds something of the kind or nothing, hold these parts until `end`: of their cores those
    /// that nobody else has. Whether these are all.
    pub(crate) fn hold(&mut self, running: Running, end: Time, wanted: &Allocation) -> bool {
        let before = self.held.get(running).cloned();
        let own = |part: &Part, core: usize| {
            let parts = before.iter().flat_map(|(_, held)| &held.parts);
            parts.filter(|own| own.host == part.host).any(|own| own.cores.contains(core))
        };
        let part = |part: &Part| {
            let free = self.free.cores(part.host.0 as usize);
            let is_free = |core: usize| free.get(core / 64).is_some_and(|word| word >> (core % 64) & 1 == 1);
            let cores = part.cores.iter().filter(|core| is_free(*core) || own(part, *core)).collect();
            Part { cores, ..part.clone() }
        };
        let parts: Vec<Part> = wanted.parts.iter().map(part).collect();
        let cpus = |parts: &[Part]| parts.iter().map(Part::cpus).sum::<u32>();
        let whole = cpus(&parts) == cpus(&wanted.parts);
        // An equal set may have more words that say nothing.
        let same = |(until, held): &(Time, Arc<Allocation>)| {
            let alike = |(a, b): (&Part, &Part)| {
                a.cores.iter().eq(b.cores.iter())
                    && (a.host, a.tasks, a.gpus) == (b.host, b.tasks, b.gpus)
                    && a.memory_mib == b.memory_mib
            };
            *until == end && held.parts.len() == parts.len() && held.parts.iter().zip(&parts).all(alike)
        };
        if !before.as_ref().is_some_and(same) {
            self.finish(running);
            self.take(running, end, &Arc::new(Allocation { class: wanted.class, parts }));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClassId, Host, Request, Shape};
    use std::collections::BTreeMap;

    fn cluster() -> Hosts {
        let mut hosts = Hosts::new(&BTreeMap::from([("solver".to_owned(), 1)]));
        hosts.add(Host::new("a", Shape::parse("1x4x8G").expect("a shape"))).expect("it is new");
        hosts
    }

    fn start(hosts: &mut Hosts, number: u64, class: ClassId) -> Option<Arc<Allocation>> {
        hosts.start(Running(number), class, Time(100), None)
    }

    #[test]
    fn cores_are_given_and_come_back_and_the_rest_is_kept() {
        let mut hosts = cluster();
        let all = hosts.intern(&Request::cpus(4)).expect("it fits");
        let licensed = Request { licences: [("solver".to_owned(), 1)].into(), ..Request::cpus(4) };
        let licensed = hosts.intern(&licensed).expect("it fits");
        let two = hosts.intern(&Request::cpus(2)).expect("it fits");
        let place = start(&mut hosts, 1, licensed).expect("it is empty");
        assert!(!hosts.fits(all) && !hosts.fits(two));
        hosts.give_cores(Running(1));
        assert!(hosts.fits(all) && !hosts.fits(licensed), "the licence is kept");
        start(&mut hosts, 2, two).expect("there is room");
        let forever = Time(1_000);
        assert!(!hosts.hold(Running(1), forever, &place), "two cores are another's");
        assert!(!hosts.fits(two), "the other two are its own again");
        hosts.finish(Running(2));
        assert!(hosts.hold(Running(1), forever, &place));
        assert!(hosts.hold(Running(1), forever, &place), "twice is once");
        assert!(!hosts.fits(two));
        hosts.finish(Running(1));
        assert!(hosts.fits(all) && hosts.fits(licensed));
    }

    #[test]
    fn one_without_cores_leaves_a_host_whole() {
        let mut hosts = cluster();
        let whole = Request { sharing: crate::cluster::Sharing::Exclusive, ..Request::cpus(1) };
        let whole = hosts.intern(&whole).expect("it fits");
        let one = hosts.intern(&Request::cpus(1)).expect("it fits");
        start(&mut hosts, 1, one).expect("it is empty");
        assert!(!hosts.fits(whole));
        hosts.give_cores(Running(1));
        assert!(hosts.fits(whole));
        start(&mut hosts, 2, whole).expect("there is room");
        hosts.finish(Running(1));
        hosts.finish(Running(2));
        assert!(hosts.fits(whole));
    }
}
