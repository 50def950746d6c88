//! The plan: ranks to hosts, pools to NUMA domains, threads to cores.
//!
//! Step 6 of a job's way (DESIGN section 4). Pure: the same shapes give the same plan. Cores of whole domains are
//! used first, and no core belongs to two ranks while there are enough.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The CPUs of one NUMA domain that a process may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainShape {
    /// The operating system's number of the domain.
    pub id: u32,
    /// One CPU for each core, by the operating system's numbers, ascending.
    pub cores: Vec<u32>,
}

/// The domains of one host as one process sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostShape {
    /// Domains that have at least one core, ascending by id.
    pub domains: Vec<DomainShape>,
    /// False when the shape was described (synthetic, XML) and is not the machine below: nothing can be bound.
    pub real: bool,
}

impl HostShape {
    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.domains.iter().map(|d| d.cores.len()).sum()
    }
}

/// To what each thread of a pool is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pinning {
    /// Thread `i` to core `i` of the pool: the team fills the machine, so nobody else should need these cores.
    Cores,
    /// Every thread to all cores of the domain: cores are left over or shared, and the kernel's scheduler balances.
    Domain,
    /// Nothing is bound: the shape is not the machine's.
    Free,
}

/// One rayon pool of one rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolPlan {
    /// The NUMA domain whose memory it uses.
    pub domain: u32,
    /// The CPUs its threads may run on.
    pub cores: Vec<u32>,
    /// How many threads, at least 1.
    pub threads: u32,
    /// How they are bound.
    pub pinning: Pinning,
}

/// The place of one rank among the ranks that share its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// How many ranks share the cores, at least 1.
    pub ranks: usize,
    /// Which of them this is.
    pub index: usize,
}

/// The seat of every rank, where `sees[r]` is the host of rank `r` and the shape that it sees. Ranks of one host that
/// see the same cores share them; ranks that a launcher has bound to cores of their own do not.
pub fn seats<H: PartialEq>(sees: &[(H, HostShape)]) -> Vec<Seat> {
    (0..sees.len())
        .map(|r| Seat {
            ranks: sees.iter().filter(|other| **other == sees[r]).count(),
            index: sees[..r].iter().filter(|other| **other == sees[r]).count(),
        })
        .collect()
}

/// The pools of one rank: its share of the host's cores, one pool for each domain that the share touches. `threads`
/// is how many the rank shall have in total; by default one for each core of its share.
pub fn pools(shape: &HostShape, seat: Seat, threads: Option<u32>) -> Vec<PoolPlan> {
    let cores = shape.cores();
    let share = share(cores, seat);
    let wanted = threads.map_or(share.len().max(1), |t| t.max(1) as usize);
    let fills = share.len() == wanted && seat.ranks <= cores;
    let pinning = match (shape.real, fills) {
        (false, _) => Pinning::Free,
        (true, true) => Pinning::Cores,
        (true, false) => Pinning::Domain,
    };
    let mut at = 0;
    let mut parts: Vec<PoolPlan> = Vec::new();
    for domain in &shape.domains {
        let mine: Vec<u32> =
            (at..).zip(&domain.cores).filter(|(i, _)| share.contains(i)).map(|(_, &c)| c).collect();
        at += domain.cores.len();
        if !mine.is_empty() {
            let cores = if pinning == Pinning::Domain { domain.cores.clone() } else { mine.clone() };
            parts.push(PoolPlan {
                domain: domain.id,
                cores,
                threads: mine.len() as u32,
                pinning: pinning.clone(),
            });
        }
    }
    spread(&mut parts, wanted as u32);
    parts
}

/// The cores that a seat owns, as positions in the list of all cores. More ranks than cores share them in turn.
fn share(cores: usize, seat: Seat) -> Range<usize> {
    if seat.ranks > cores {
        let core = seat.index % cores.max(1);
        return core..core + 1;
    }
    seat.index * cores / seat.ranks..(seat.index + 1) * cores / seat.ranks
}

/// Sets the threads of `parts` to `wanted` in total: whole domains first when there are fewer threads than cores,
/// spread evenly when there are more.
fn spread(parts: &mut Vec<PoolPlan>, wanted: u32) {
    let cores: u32 = parts.iter().map(|p| p.threads).sum();
    let mut left = wanted;
    let mut cores_left = cores;
    for part in parts.iter_mut() {
        let mine = part.threads;
        part.threads =
            if wanted <= cores { left.min(mine) } else { (left * mine).div_ceil(cores_left.max(1)) };
        left -= part.threads;
        cores_left -= mine;
    }
    parts.retain(|p| p.threads > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(domains: u32, cores: u32) -> HostShape {
        let domain = |id| DomainShape { id, cores: (id * cores..(id + 1) * cores).collect() };
        HostShape { domains: (0..domains).map(domain).collect(), real: true }
    }

    fn summary(plans: &[PoolPlan]) -> Vec<(u32, u32, usize)> {
        plans.iter().map(|p| (p.domain, p.threads, p.cores.len())).collect()
    }

    #[test]
    fn one_rank_takes_the_whole_host() {
        let plans = pools(&host(2, 4), Seat { ranks: 1, index: 0 }, None);
        assert_eq!(summary(&plans), [(0, 4, 4), (1, 4, 4)]);
        assert!(plans.iter().all(|p| p.pinning == Pinning::Cores));
    }

    #[test]
    fn ranks_split_the_cores_without_overlap() {
        for ranks in 1..=8 {
            let mut seen = Vec::new();
            for index in 0..ranks {
                for pool in pools(&host(2, 4), Seat { ranks, index }, None) {
                    assert_eq!(pool.pinning, Pinning::Cores);
                    seen.extend(pool.cores);
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..8).collect::<Vec<_>>(), "{ranks} ranks");
        }
    }

    #[test]
    fn fewer_threads_fill_whole_domains_first() {
        let plans = pools(&host(4, 2), Seat { ranks: 1, index: 0 }, Some(3));
        assert_eq!(summary(&plans), [(0, 2, 2), (1, 1, 2)]);
        assert!(plans.iter().all(|p| p.pinning == Pinning::Domain), "cores are left over for others");
    }

    #[test]
    fn more_threads_than_cores_spread_over_the_domains() {
        let plans = pools(&host(2, 1), Seat { ranks: 1, index: 0 }, Some(5));
        assert_eq!(plans.iter().map(|p| p.threads).sum::<u32>(), 5);
        assert_eq!(plans.len(), 2);
        assert!(plans.iter().all(|p| p.pinning == Pinning::Domain));
    }

    #[test]
    fn more_ranks_than_cores_share() {
        for index in 0..5 {
            let plans = pools(&host(1, 2), Seat { ranks: 5, index }, None);
            assert_eq!(summary(&plans), [(0, 1, 2)]);
            assert_eq!(plans[0].pinning, Pinning::Domain);
        }
    }

    #[test]
    fn a_described_shape_is_not_bound() {
        let plans = pools(&HostShape { real: false, ..host(4, 2) }, Seat { ranks: 1, index: 0 }, None);
        assert!(plans.iter().all(|p| p.pinning == Pinning::Free) && plans.len() == 4);
    }

    #[test]
    fn ranks_that_a_launcher_bound_apart_do_not_share() {
        let (a, b) =
            (host(1, 1), HostShape { domains: vec![DomainShape { id: 0, cores: vec![1] }], real: true });
        let seats = seats(&[("x", a.clone()), ("x", b), ("x", a.clone()), ("y", a)]);
        let pairs: Vec<_> = seats.iter().map(|s| (s.ranks, s.index)).collect();
        assert_eq!(pairs, [(2, 0), (1, 0), (2, 1), (1, 0)]);
    }
}
