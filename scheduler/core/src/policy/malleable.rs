//! Malleable jobs: who shrinks, who starts and who grows now.
//!
//! Step 5 of a job's way. EASY over sizes: whatever a malleable job holds above its least can be had back at once, so it
//! counts as free for the jobs that wait, and what nobody can start with is lent to those that run. Three rules:
//!
//! 1. A job starts at the size it asked for. Where that is not free, those that run shrink, the most work left first: they
//!    lose the smallest part of what they still need.
//! 2. Behind the promise to the head, malleable candidates are tried first, the least work first: what they take can be
//!    had back. Nobody shrinks beside the promise who would then outlive it.
//! 3. What stays free is lent, the least work left first: it is soon given back for good (Schrage 1968: the shortest
//!    remaining time first makes the mean turnaround least).
//!
//! A resize costs work, so both kinds must be worth a multiple of it: [`RESIZE_PAYS`] and [`RESIZE_PAYS`].
//!
//! Invariants: no size leaves its job's bounds, no rigid job is resized, and nothing is handed out twice. With rigid jobs
//! alone this is EASY ([`super::pass`]), with the queue in the order it is given.

use super::machine::Running;
use super::queue::Waiting;
use std::cmp::Reverse;

/// A resize must be worth so many times what it costs. By its estimate, a job that shrinks has so much work left, for what
/// is nearly done gives its processors back soon, and whole; and one that grows ends so much earlier. Estimates are
/// several times too long, and what is lent may be taken back soon.
pub const RESIZE_PAYS: u32 = 5;

/// The sizes that a job may have, in whatever the machine counts: processors or hosts. They are in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// It is never smaller.
    pub least: u32,
    /// It starts with so much, and its estimate holds for this.
    pub asked: u32,
    /// It is never larger.
    pub most: u32,
}

impl Sizes {
    /// One size for good.
    pub fn rigid(size: u32) -> Sizes {
        Sizes { least: size, asked: size, most: size }
    }

    /// Whether there is a choice.
    pub fn is_malleable(self) -> bool {
        self.least < self.most
    }
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub running: Running,
    /// What it has now.
    pub size: u32,
    /// What it may have.
    pub sizes: Sizes,
    /// The work that it has left by its estimate, size times ticks, above 0. What resizes cost is in it.
    pub left: i128,
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    /// Which.
    pub job: Waiting,
    /// What it may have.
    pub sizes: Sizes,
    /// How long it runs at most at the size it asks for, ticks.
    pub estimate: i64,
}

/// What is to be done. Shrinks are performed first, then starts, then growths, so that nothing is held twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What runs and gets another size, in the order given.
    pub resizes: Vec<(Running, u32)>,
    /// What starts, at which size, in the order of the decisions.
    pub starts: Vec<(Waiting, u32)>,
    /// The head that does not fit, and in how many ticks it can start by the estimates.
    pub promise: Option<(Waiting, i64)>,
}

/// Plans over what is `free`, what runs, in the order of the starts, and what waits, in the order of the queue. A resize
/// is taken to cost `resize_cost` ticks of all that a job has. What is larger than the machine waits and is in nobody's
/// way.
pub fn plan(resize_cost: u32, free: u32, held: &[Held], waiting: &[Asks]) -> Plan {
    let seats = held.iter().map(|h| Seat {
        who: Who::Ran(h.running, h.size),
        size: h.size,
        sizes: h.sizes,
        left: h.left,
    });
    let mut round = Round { cost: i128::from(resize_cost), free, seats: seats.collect() };
    let total = u64::from(free) + held.iter().map(|h| u64::from(h.size)).sum::<u64>();
    let possible = waiting.iter().filter(|asks| u64::from(asks.sizes.asked) <= total);
    let promise = round.admit(&possible.collect::<Vec<_>>());
    round.lend();
    round.plan(promise)
}

/// Whose a seat is.
#[derive(Clone, Copy)]
enum Who {
    /// It ran before, at this size.
    Ran(Running, u32),
    /// It starts now.
    Starts(Waiting),
}

/// What runs after the plan.
struct Seat {
    who: Who,
    size: u32,
    sizes: Sizes,
    left: i128,
}

impl Seat {
    /// Ticks until it ends by its estimate.
    fn ends_in(&self) -> i128 {
        divide_up(self.left, i128::from(self.size))
    }

    /// What it keeps whatever waits.
    fn floor(&self, cost: i128) -> u32 {
        let worth = self.left > i128::from(RESIZE_PAYS) * cost * i128::from(self.size);
        if worth { self.sizes.least.min(self.size) } else { self.size }
    }

    /// What can be taken from it. A promise in `horizon` ticks that counts on its end must still be able to.
    fn spare(&self, cost: i128, horizon: Option<i128>) -> u32 {
        let floor = self.floor(cost);
        match horizon {
            Some(horizon) if floor < self.size && self.ends_in() <= horizon => {
                let needs = divide_up(self.left + cost * i128::from(self.size), horizon);
                let keeps = u32::try_from(needs).unwrap_or(u32::MAX).max(floor);
                self.size.saturating_sub(keeps)
            }
            _ => self.size - floor,
        }
    }

    /// Whether the time that it gains by growing to `to` is worth a resize. A choice that is not yet made costs nothing.
    fn grows(&self, cost: i128, to: u32) -> bool {
        let resized = matches!(self.who, Who::Ran(_, was) if self.size == was);
        let (size, to) = (i128::from(self.size), i128::from(to));
        !resized || self.left * (to - size) > i128::from(RESIZE_PAYS) * cost * size * to
    }
}

/// A promise to the head of the queue.
struct Promise {
    /// In how many ticks.
    horizon: i128,
    /// What is free then beside the head.
    extra: u64,
}

struct Round {
    cost: i128,
    free: u32,
    seats: Vec<Seat>,
}

impl Round {
    /// Starts what can start now, and tells what the head that cannot is promised.
    fn admit(&mut self, waiting: &[&Asks]) -> Option<(Waiting, i64)> {
        let mut rest = waiting;
        while let [first, others @ ..] = rest
            && self.obtain(first.sizes.asked, None)
        {
            self.start(first);
            rest = others;
        }
        let [head, others @ ..] = rest else { return None };
        let mut promise = self.promise(head.sizes.asked);
        let mut candidates: Vec<&Asks> = others.to_vec();
        // Stable: rigid jobs keep the order of the queue.
        candidates.sort_by_key(|asks| match asks.sizes.is_malleable() {
            true => (false, work(asks)),
            false => (true, 0),
        });
        for asks in candidates {
            let asked = u64::from(asks.sizes.asked);
            let outlives = i128::from(asks.estimate) > promise.horizon;
            if outlives && asked > promise.extra {
                continue;
            }
            if self.obtain(asks.sizes.asked, Some(promise.horizon)) {
                self.start(asks);
                promise.extra -= if outlives { asked } else { 0 };
            }
        }
        Some((head.job, i64::try_from(promise.horizon).unwrap_or(i64::MAX)))
    }

    /// Lends what nobody starts with.
    fn lend(&mut self) {
        let mut order: Vec<usize> = (0..self.seats.len()).collect();
        order.retain(|at| self.seats[*at].size < self.seats[*at].sizes.most);
        order.sort_by_key(|at| self.seats[*at].left);
        for at in order {
            let seat = &mut self.seats[at];
            let to = seat.size.saturating_add(self.free).min(seat.sizes.most);
            if to > seat.size && seat.grows(self.cost, to) {
                self.free -= to - seat.size;
                seat.size = to;
            }
        }
    }

    fn plan(self, promise: Option<(Waiting, i64)>) -> Plan {
        let mut plan = Plan { promise, ..Plan::default() };
        for seat in self.seats {
            match seat.who {
                Who::Ran(_, was) if was == seat.size => {}
                Who::Ran(running, _) => plan.resizes.push((running, seat.size)),
                Who::Starts(job) => plan.starts.push((job, seat.size)),
            }
        }
        plan
    }

    /// Makes `wanted` free if that can be: by shrinking as few as do, the most work left first.
    fn obtain(&mut self, wanted: u32, horizon: Option<i128>) -> bool {
        if wanted <= self.free {
            return true;
        }
        let cost = self.cost;
        let spares: Vec<u32> = self.seats.iter().map(|seat| seat.spare(cost, horizon)).collect();
        let spare: u64 = spares.iter().map(|spare| u64::from(*spare)).sum();
        if u64::from(wanted) > u64::from(self.free) + spare {
            return false;
        }
        let mut order: Vec<usize> = (0..spares.len()).filter(|at| spares[*at] > 0).collect();
        order.sort_by_key(|at| Reverse(self.seats[*at].left));
        for at in order {
            let taken = spares[at].min(wanted.saturating_sub(self.free));
            self.seats[at].size -= taken;
            self.free += taken;
        }
        true
    }

    /// The earliest promise of `asked`, which is not more than the machine: when those that end leave enough, all others
    /// at their floors.
    fn promise(&self, asked: u32) -> Promise {
        let floors = self.seats.iter().map(|seat| (seat.ends_in(), u64::from(seat.floor(self.cost))));
        let mut ends: Vec<(i128, u64)> = floors.collect();
        ends.sort_unstable();
        let held: u64 = self.seats.iter().map(|seat| u64::from(seat.size)).sum();
        let mut free = u64::from(self.free) + held - ends.iter().map(|(_, floor)| floor).sum::<u64>();
        let (mut horizon, asked) = (0, u64::from(asked));
        for (end, floor) in ends {
            if free >= asked && end > horizon {
                break;
            }
            horizon = end;
            free += floor;
        }
        Promise { horizon, extra: free - asked }
    }

    fn start(&mut self, asks: &Asks) {
        let size = asks.sizes.asked;
        self.free -= size;
        self.seats.push(Seat { who: Who::Starts(asks.job), size, sizes: asks.sizes, left: work(asks) });
    }
}

/// All the work of a job by its estimate.
fn work(asks: &Asks) -> i128 {
    i128::from(asks.estimate) * i128::from(asks.sizes.asked)
}

fn divide_up(work: i128, by: i128) -> i128 {
    let by = by.max(1);
    (work + by - 1) / by
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const COST: u32 = 60;

    fn held(running: u64, size: u32, (least, asked, most): (u32, u32, u32), ends_in: i128) -> Held {
        let left = ends_in * i128::from(size);
        Held { running: Running(running), size, sizes: Sizes { least, asked, most }, left }
    }

    fn asks(job: u64, (least, asked, most): (u32, u32, u32), estimate: i64) -> Asks {
        Asks { job: Waiting(job), sizes: Sizes { least, asked, most }, estimate }
    }

    fn resized(plan: &Plan) -> Vec<(u64, u32)> {
        plan.resizes.iter().map(|(running, size)| (running.0, *size)).collect()
    }

    fn started(plan: &Plan) -> Vec<(u64, u32)> {
        plan.starts.iter().map(|(job, size)| (job.0, *size)).collect()
    }

    #[test]
    fn what_stays_free_is_lent_to_those_with_the_least_work_left() {
        let runs = [held(1, 4, (2, 4, 8), 90_000), held(2, 4, (2, 4, 8), 10_000), held(3, 2, (2, 2, 2), 900)];
        let lent = plan(COST, 6, &runs, &[]);
        assert_eq!(resized(&lent), [(1, 6), (2, 8)]);
        // Eight instead of four halve the time: that must gain more than five times the cost.
        assert_eq!(resized(&plan(COST, 4, &[held(2, 4, (2, 4, 8), 600)], &[])), []);
        assert_eq!(resized(&plan(COST, 4, &[held(2, 4, (2, 4, 8), 601)], &[])), [(2, 8)]);
    }

    #[test]
    fn who_has_the_most_work_left_shrinks_for_a_job_that_waits() {
        let runs = [held(1, 8, (2, 4, 8), 5_000), held(2, 8, (4, 8, 16), 50_000)];
        let rigid = asks(7, (4, 4, 4), 100);
        let made = plan(COST, 1, &runs, &[rigid]);
        assert_eq!((resized(&made), started(&made)), (vec![(2, 5)], vec![(7, 4)]));
        // What ends within five times the cost is let alone.
        let nearly = [held(1, 8, (2, 4, 8), 300), held(2, 8, (4, 8, 16), 300)];
        let waits = plan(COST, 1, &nearly, &[rigid]);
        assert_eq!((started(&waits), waits.promise), (vec![], Some((Waiting(7), 300))));
    }

    #[test]
    fn beside_a_promise_nobody_shrinks_who_would_outlive_it() {
        // The head waits for both: 2 holds its least.
        let runs = [held(1, 8, (4, 8, 16), 4_000), held(2, 4, (4, 8, 16), 9_000)];
        let head = asks(7, (12, 12, 12), 100);
        // Candidate 8 ends before that, and finds four at job 1, which ends at 8,000 at half its size.
        let made = plan(COST, 0, &runs, &[head, asks(8, (4, 4, 4), 1_000)]);
        assert_eq!((started(&made), made.promise), (vec![(8, 4)], Some((Waiting(7), 9_000))));
        // A head that waits for job 1 alone must not wait for longer.
        let head = asks(7, (8, 8, 8), 100);
        let made = plan(COST, 0, &runs, &[head, asks(8, (4, 4, 4), 1_000)]);
        assert_eq!((started(&made), made.promise), (vec![], Some((Waiting(7), 4_000))));
    }

    #[test]
    fn malleable_candidates_go_first_and_a_giant_is_in_nobodys_way() {
        let runs = [held(1, 6, (6, 6, 6), 4_000)];
        let waiting = [
            asks(6, (99, 99, 99), 10),
            asks(7, (8, 8, 8), 100),
            asks(8, (3, 3, 3), 100),
            asks(9, (2, 3, 6), 200),
            asks(10, (2, 3, 6), 100),
        ];
        let made = plan(COST, 4, &runs, &waiting);
        // One is over, and lent to what starts.
        assert_eq!(started(&made), [(10, 4)]);
        assert_eq!(made.promise, Some((Waiting(7), 4_000)));
    }

    fn sizes() -> impl Strategy<Value = Sizes> {
        (1_u32..9, any::<bool>()).prop_map(|(asked, rigid)| match rigid {
            true => Sizes::rigid(asked),
            false => Sizes { least: asked.div_ceil(2), asked, most: 2 * asked },
        })
    }

    proptest! {
        /// Sizes stay in their bounds, rigid jobs as they are, and no more is held than there is.
        #[test]
        fn a_plan_can_be_performed(
            runs in prop::collection::vec((sizes(), 0_u32..9, 1_i128..5_000), 0..8),
            waiting in prop::collection::vec((sizes(), 1_i64..5_000), 0..12),
            (free, cost) in (0_u32..12, 0_u32..100),
        ) {
            let runs: Vec<Held> = (0..).zip(runs).map(|(n, (sizes, more, left))| {
                let size = (sizes.least + more).min(sizes.most);
                Held { running: Running(n), size, sizes, left }
            }).collect();
            let waiting: Vec<Asks> = (0..).zip(waiting)
                .map(|(n, (sizes, estimate))| Asks { job: Waiting(n), sizes, estimate }).collect();
            let made = plan(cost, free, &runs, &waiting);
            let new: BTreeMap<Running, u32> = made.resizes.iter().copied().collect();
            prop_assert_eq!(new.len(), made.resizes.len());
            let total = free + runs.iter().map(|h| h.size).sum::<u32>();
            let mut taken = 0;
            for h in &runs {
                let size = new.get(&h.running).copied().unwrap_or(h.size);
                prop_assert!((h.sizes.least..=h.sizes.most).contains(&size));
                taken += size;
            }
            let mut seen = Vec::new();
            for (job, size) in &made.starts {
                let sizes = waiting[job.0 as usize].sizes;
                prop_assert!((sizes.least..=sizes.most).contains(size));
                taken += size;
                seen.push(*job);
            }
            prop_assert!(taken <= total);
            // Everybody waits only while it does not fit, or another was promised first.
            let first = waiting.iter().find(|a| a.sizes.asked <= total && !seen.contains(&a.job));
            prop_assert_eq!(first.map(|a| a.job), made.promise.map(|(job, _)| job));
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), made.starts.len());
        }
    }
}
