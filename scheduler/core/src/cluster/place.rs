//! Which cores, whose memory and which GPUs of a host a job takes, when the counts say that it fits.
//!
//! Always: it takes exactly what was counted, so it cannot fail. GPUs first, from one domain if one has enough; then
//! cores, on the domains of those GPUs first, then whole domains, then the domain that the rest fills best; then memory
//! beside the cores, and what is missing there from the domains with most left.

use super::free::Free;
use super::held::Part;
use super::host::HostId;
use super::request::Layout;
use super::shape::Known;
use super::{bits::Bits, room::Amount};

/// Chooses `amount` of a host's free cores, memory and GPUs.
///
/// # Panics
///
/// When so much is not free.
pub(crate) fn place(free: &Free, host: usize, amount: &Amount, layout: Layout) -> Part {
    let known = free.shape(host);
    let available: Vec<u32> = known.domains.iter().map(|d| count(free.cores(host), d.start, d.end)).collect();
    let gpus = gpus(known, amount, &available);
    let from_domain = match layout {
        Layout::Pack => packed(known, amount.cpus, &available, gpus),
        Layout::Spread => spread(known, amount.cpus, &available, gpus),
    };
    let cores = cores(known, free.cores(host), &from_domain);
    let memory_mib = memory(free.domain_memory(host), amount.memory, &from_domain);
    Part { host: HostId(host as u32), tasks: amount.tasks, cores, memory_mib, gpus }
}

/// The GPUs of an amount that a job will take of a host, if it had all its cores.
pub(crate) fn gpus_of(known: &Known, amount: &Amount) -> u64 {
    let all: Vec<u32> = known.domains.iter().map(|domain| domain.end - domain.start).collect();
    gpus(known, amount, &all)
}

/// GPUs of `amount.gpus_from`: of the domain that the fewest are left in, among those that hold all of them and, if any
/// does, the cores, too; else of as few domains as possible.
fn gpus(known: &Known, amount: &Amount, available: &[u32]) -> u64 {
    let mut wanted = amount.gpus;
    let mut left = amount.gpus_from;
    let mut taken = 0;
    while wanted > 0 {
        let here = |domain: usize| left & known.gpus_of_domain[domain];
        let key = |&domain: &usize| {
            let have = here(domain).count_ones();
            let short = available[domain] < amount.cpus;
            if have >= wanted { (0, u32::from(short), have) } else { (1, 0, u32::MAX - have) }
        };
        let domain = (0..known.domains.len()).min_by_key(key).expect("a host has a domain");
        let some = lowest(here(domain), wanted);
        assert!(some != 0, "GPUs that were counted are not free");
        wanted -= some.count_ones();
        left &= !some;
        taken |= some;
    }
    taken
}

/// How many cores of each domain, on as few as possible: see the top of this file.
fn packed(known: &Known, cpus: u32, available: &[u32], gpus: u64) -> Vec<u32> {
    let (mut taken, mut wanted) = beside(known, cpus, available, gpus);
    let whole = |domain: usize| known.shape.domains[domain].cores == available[domain];
    while wanted > 0 {
        let left = |domain: usize| available[domain] - taken[domain];
        let key = |&domain: &usize| match left(domain) {
            0 => (3, 0),
            have if taken[domain] == 0 && whole(domain) && have <= wanted => (0, 0),
            have if have >= wanted => (1, have),
            have => (2, u32::MAX - have),
        };
        let domain = (0..taken.len()).min_by_key(key).expect("a host has a domain");
        let some = left(domain).min(wanted);
        assert!(some > 0, "cores that were counted are not free");
        taken[domain] += some;
        wanted -= some;
    }
    taken
}

/// How many cores of each domain, each next one from that which has most left after it.
fn spread(known: &Known, cpus: u32, available: &[u32], gpus: u64) -> Vec<u32> {
    let (mut taken, wanted) = beside(known, cpus, available, gpus);
    for _ in 0..wanted {
        let domain = (0..taken.len()).max_by_key(|&d| (available[d] - taken[d], std::cmp::Reverse(d)));
        taken[domain.expect("a host has a domain")] += 1;
    }
    taken
}

/// The cores beside the GPUs, dealt by how many of the GPUs hang on each domain; and how many are wanted elsewhere.
fn beside(known: &Known, cpus: u32, available: &[u32], gpus: u64) -> (Vec<u32>, u32) {
    let mut wanted = cpus;
    let mut left = gpus.count_ones();
    let deal = |(&here, &have): (&u64, &u32)| {
        let here = (here & gpus).count_ones();
        let some = if here == 0 { 0 } else { (wanted * here).div_ceil(left).min(have) };
        wanted -= some;
        left -= here;
        some
    };
    let mut taken: Vec<u32> = known.gpus_of_domain.iter().zip(available).map(deal).collect();
    for domain in (0..taken.len()).filter(|&d| known.gpus_of_domain[d] & gpus != 0) {
        let some = (available[domain] - taken[domain]).min(wanted);
        taken[domain] += some;
        wanted -= some;
    }
    (taken, wanted)
}

/// The lowest free cores of each domain.
fn cores(known: &Known, free: &[u64], from_domain: &[u32]) -> Bits {
    let mut cores = Bits::new(known.cores as usize);
    for (range, &wanted) in known.domains.iter().zip(from_domain).filter(|(_, wanted)| **wanted > 0) {
        let is_free = |core: &u32| free[*core as usize / 64] >> (core % 64) & 1 == 1;
        range.clone().filter(is_free).take(wanted as usize).for_each(|core| cores.insert(core as usize));
    }
    cores
}

/// Memory beside the cores by their share, then what is missing there, then of the domain that has most.
fn memory(free: &[u64], wanted: u64, cores: &[u32]) -> Vec<u64> {
    let all: u64 = cores.iter().map(|&cores| u64::from(cores)).sum();
    let share = |cores: u32| (u128::from(wanted) * u128::from(cores) / u128::from(all.max(1))) as u64;
    let mut taken: Vec<u64> = cores.iter().zip(free).map(|(&cores, &free)| share(cores).min(free)).collect();
    let mut left = wanted - taken.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..free.len()).collect();
    order
        .sort_by_key(|&domain| (cores[domain] == 0, std::cmp::Reverse(free[domain] - taken[domain]), domain));
    for domain in order {
        let some = left.min(free[domain] - taken[domain]);
        taken[domain] += some;
        left -= some;
    }
    assert!(left == 0, "memory that was counted is not free");
    taken
}

/// The ones among the bits `from..to`.
fn count(words: &[u64], from: u32, to: u32) -> u32 {
    let (first, last) = (from as usize / 64, to.div_ceil(64) as usize);
    let masked = |(at, &word): (usize, &u64)| {
        let base = (first + at) as u32 * 64;
        let low = if from > base { u64::MAX << (from - base) } else { u64::MAX };
        let high = if to < base + 64 { (1_u64 << (to - base)) - 1 } else { u64::MAX };
        (word & low & high).count_ones()
    };
    words[first..last].iter().enumerate().map(masked).sum()
}

/// The lowest ones of `bits`, `count` at most.
fn lowest(bits: u64, count: u32) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}

#[cfg(test)]
mod tests {
    use super::super::shape::Shape;
    use super::*;

    fn free(shape: &str) -> Free {
        let mut free = Free::default();
        free.push(Shape::parse(shape).unwrap());
        free
    }

    fn take(free: &mut Free, cpus: u32, memory: u64, gpus: u32) -> (Vec<usize>, Vec<u64>, u64) {
        let amount = Amount { cpus, memory, gpus, gpus_from: free.level(0).gpus, tasks: 1 };
        let part = place(free, 0, &amount, Layout::Pack);
        free.take(&part);
        (part.cores.iter().collect(), part.memory_mib, part.gpus)
    }

    #[test]
    fn whole_domains_go_first_and_the_rest_where_it_fits_best() {
        let mut four = free("4x4x16");
        assert_eq!(take(&mut four, 2, 2, 0).0, [0, 1]);
        assert_eq!(take(&mut four, 5, 0, 0).0, [2, 4, 5, 6, 7], "one whole, one beside the two");
        assert_eq!(take(&mut four, 3, 0, 0).0, [8, 9, 10]);
        assert_eq!(take(&mut four, 5, 0, 0).0, [3, 12, 13, 14, 15], "the best fit of the last two");
        assert_eq!(take(&mut four, 1, 0, 0).0, [11]);
    }

    #[test]
    fn memory_lies_beside_the_cores_and_spills() {
        let mut two = free("2x4x16");
        assert_eq!(take(&mut two, 4, 6, 0).1, [6, 0]);
        assert_eq!(take(&mut two, 2, 9, 0).1, [1, 8]);
        assert_eq!(take(&mut two, 2, 1, 0).1, [1, 0]);
    }

    #[test]
    fn gpus_keep_their_cores_near() {
        let mut two = free("2x4x16xa:4");
        let (cores, memory, gpus) = take(&mut two, 2, 4, 2);
        assert_eq!((cores, memory, gpus), (vec![0, 1], vec![4, 0], 0b101), "both hang on domain 0");
        let (cores, memory, gpus) = take(&mut two, 2, 4, 1);
        assert_eq!((cores, memory, gpus), (vec![4, 5], vec![0, 4], 0b10), "domain 0 has none left");
        let (cores, _, gpus) = take(&mut two, 3, 0, 1);
        assert_eq!((cores, gpus), (vec![2, 6, 7], 0b1000));
    }

    #[test]
    fn gpus_of_two_domains_bring_cores_of_both() {
        let mut two = free("2x4x16xa:4");
        assert_eq!(take(&mut two, 4, 0, 3).0, [0, 1, 2, 4]);
    }

    #[test]
    fn spread_uses_all_domains() {
        let free = free("3x4");
        let amount = Amount { cpus: 4, memory: 0, gpus: 0, gpus_from: 0, tasks: 1 };
        let part = place(&free, 0, &amount, Layout::Spread);
        assert_eq!(part.cores.iter().collect::<Vec<_>>(), [0, 1, 4, 8]);
    }

    #[test]
    fn domains_that_end_within_a_word_are_counted() {
        let words = [u64::MAX, u64::MAX, 0b111];
        for (from, to) in [(0, 1), (0, 64), (63, 65), (64, 128), (60, 131), (100, 131), (130, 131)] {
            assert_eq!(count(&words, from, to), to - from, "{from}..{to}");
        }
    }
}
