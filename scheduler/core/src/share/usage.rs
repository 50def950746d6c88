//! Usage that fades: what was used counts half after each half-life (7 days by default, as in Slurm).
//!
//! An amount `r` used from `a` to `b` counts at time `t` as the integral of `r * 2^-((t - s) / H)` for `s` from `a` to `b`.
//! Time is cut into epochs of one half-life. Within an epoch, weights grow from 1 to 2 (forward decay; Cormode,
//! Shkapenyuk, Srivastava and Xu, 2009), so that fading from one epoch to the next is a shift by one bit, and within an
//! epoch nothing has to be touched at all.
//!
//! Invariants: sums are integers, kept by epoch, and the weight of an interval is the difference of one integer function at
//! its ends. So a usage is a function of what was used when: neither the order of charges nor the cutting of a run
//! into intervals changes a bit. Nothing is lost to rounding however often it is read.

use crate::share::resource::{Amounts, PerResource, Resource};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Epochs that are remembered: what is older counts less than 2^-48 of itself, and is forgotten.
const EPOCHS: i64 = 48;
/// Steps of the weight function in one tick.
const STEPS: f64 = 4096.0;
/// Parts of one unit in a rate: thousandths of a billing unit times thousandths of a usage factor.
const PARTS: f64 = 1e6;
/// The longest half-life, so that a weight is exact in a double's 53 bits: 34 years of milliseconds.
const LONGEST: i64 = 1 << 40;

/// How fast usage fades, and what a tick of [`Time`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decay {
    half_life: Option<i64>,
    ticks_per_s: i64,
}

/// A decay that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecayError {
    /// Not a number of ticks that can be counted with.
    #[error("the half-life is {ticks} ticks: give 1 to {LONGEST}, or none for usage that never fades")]
    HalfLife {
        /// What was given.
        ticks: i64,
    },
    /// A tick is no part of a second.
    #[error("{ticks} ticks a second: give 1 where time is in seconds, 1000 where it is in milliseconds")]
    Ticks {
        /// What was given.
        ticks: i64,
    },
}

impl Decay {
    /// A half-life of 7 days, Slurm's default, where a second has `ticks_per_s` ticks.
    ///
    /// # Errors
    ///
    /// When a tick is no part of a second.
    pub fn weekly(ticks_per_s: i64) -> Result<Decay, DecayError> {
        Decay::new(Some(ticks_per_s.saturating_mul(7 * 24 * 3600)), ticks_per_s)
    }

    /// A half-life in ticks; none for usage that never fades.
    ///
    /// # Errors
    ///
    /// When the half-life is not positive or longer than 2^40 ticks, or a tick is no part of a second.
    pub fn new(half_life: Option<i64>, ticks_per_s: i64) -> Result<Decay, DecayError> {
        if !(1..=1_000_000_000).contains(&ticks_per_s) {
            return Err(DecayError::Ticks { ticks: ticks_per_s });
        }
        match half_life {
            Some(ticks) if !(1..=LONGEST).contains(&ticks) => Err(DecayError::HalfLife { ticks }),
            _ => Ok(Decay { half_life, ticks_per_s }),
        }
    }

    /// The same ticks, without fading.
    pub fn without_fading(self) -> Decay {
        Decay { half_life: None, ..self }
    }

    /// The half-life in ticks; none for usage that never fades.
    pub fn half_life(self) -> Option<i64> {
        self.half_life
    }

    /// Ticks in one minute.
    pub fn ticks_per_min(self) -> i64 {
        self.ticks_per_s * 60
    }

    /// The epoch of a time, and the ticks since it began.
    fn epoch(self, time: Time) -> (i64, i64) {
        match self.half_life {
            Some(ticks) => (time.0.div_euclid(ticks), time.0.rem_euclid(ticks)),
            None => (0, time.0),
        }
    }

    /// What one unit used from the beginning of an epoch for so many ticks weighs at that beginning's scale, in steps.
    fn weight(self, ticks: i64) -> i128 {
        match self.half_life {
            Some(half_life) => {
                let half_life = half_life as f64;
                // libm's exponential has the same bits on every host, the system's has not.
                let grown = libm::exp2(ticks as f64 / half_life) - 1.0;
                (half_life / std::f64::consts::LN_2 * grown * STEPS) as i128
            }
            None => i128::from(ticks) * STEPS as i128,
        }
    }

    /// How much is left at `time` of what counted 1 when its epoch began.
    fn left(self, time: Time) -> f64 {
        self.half_life.map_or(1.0, |ticks| libm::exp2(-(self.epoch(time).1 as f64) / ticks as f64))
    }
}

/// What a running job uses in each second of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Thousandths of a billing unit; what the fair tree looks at.
    pub billing: u64,
    /// What it holds.
    pub amounts: Amounts,
    /// Thousandths by which all of it is multiplied: the usage factor of its QOS, 1000 without one.
    pub factor: u32,
}

/// Which of the things that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Billing units.
    Billing,
    /// Wall time of jobs.
    Wall,
    /// A resource.
    Amount(Resource),
}

/// What was used in all, faded as time goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Ascending by epoch.
    epochs: Vec<Epoch>,
}

/// What was used in one epoch: parts of a unit times steps, weighed at the epoch's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    number: i64,
    billing: u128,
    wall: u128,
    amounts: PerResource<u128>,
}

impl Epoch {
    fn new(number: i64) -> Epoch {
        Epoch { number, billing: 0, wall: 0, amounts: PerResource::default() }
    }

    fn get(&self, counted: Counted) -> u128 {
        match counted {
            Counted::Billing => self.billing,
            Counted::Wall => self.wall,
            Counted::Amount(resource) => self.amounts.get(resource),
        }
    }

    /// Saturates: beyond 2^128 all usage is alike.
    fn add(&mut self, rates: &Rates, weight: u128) {
        let weight = weight.saturating_mul(u128::from(rates.factor));
        let add = |sum: &mut u128, parts: u128| *sum = sum.saturating_add(weight.saturating_mul(parts));
        add(&mut self.billing, u128::from(rates.billing));
        add(&mut self.wall, 1000);
        for resource in Resource::ALL {
            add(self.amounts.get_mut(resource), u128::from(rates.amounts.get(resource)) * 1000);
        }
    }
}

impl Usage {
    /// Adds what was used `from` one time `to` another; nothing when that is not later.
    pub fn charge(&mut self, decay: Decay, rates: &Rates, from: Time, to: Time) {
        if to <= from {
            return;
        }
        let ((first, start), (last, end)) = (decay.epoch(from), decay.epoch(to));
        // What fell into epochs that are forgotten by now is not worth a walk through them.
        for number in first.max(last - EPOCHS)..=last {
            let begin = if number == first { decay.weight(start) } else { 0 };
            let until = match decay.half_life {
                Some(half_life) if number < last => decay.weight(half_life),
                _ => decay.weight(end),
            };
            if until > begin {
                self.add(number, rates, (until - begin) as u128);
            }
        }
    }

    /// The sum at the scale of the epoch of `now`. Sums of one decay read at one time may be compared, whatever the
    /// unit. Must not be earlier than what was charged.
    pub fn raw(&self, decay: Decay, counted: Counted, now: Time) -> u128 {
        let (epoch, _) = decay.epoch(now);
        let known = self.epochs.iter().filter(|e| epoch - e.number < EPOCHS);
        known.fold(0u128, |sum, e| sum.saturating_add(e.get(counted) >> (epoch - e.number).max(0)))
    }

    /// Unit-seconds as faded by `now`: CPU-seconds, for instance. Must not be earlier than what was charged.
    pub fn seconds(&self, decay: Decay, counted: Counted, now: Time) -> f64 {
        self.raw(decay, counted, now) as f64 * decay.left(now) / (PARTS * STEPS * decay.ticks_per_s as f64)
    }

    /// The same at `now`, to which everything is charged, and fading by another decay from then on.
    #[must_use]
    pub(super) fn faded_by(self, (before, after): (Decay, Decay), now: Time) -> Usage {
        if before == after || self.epochs.is_empty() {
            return self;
        }
        let scale = before.left(now) / after.left(now) * after.ticks_per_s as f64 / before.ticks_per_s as f64;
        // The conversion saturates.
        let sum = |counted| (self.raw(before, counted, now) as f64 * scale) as u128;
        let epoch = Epoch {
            number: after.epoch(now).0,
            billing: sum(Counted::Billing),
            wall: sum(Counted::Wall),
            amounts: PerResource::of(|resource| sum(Counted::Amount(resource))),
        };
        Usage { epochs: vec![epoch] }
    }

    fn add(&mut self, number: i64, rates: &Rates, weight: u128) {
        let newest = self.epochs.last().map_or(number, |e| e.number.max(number));
        if newest - number >= EPOCHS {
            return;
        }
        let at = self.epochs.partition_point(|e| e.number < number);
        if self.epochs.get(at).is_none_or(|e| e.number != number) {
            self.epochs.insert(at, Epoch::new(number));
            self.epochs[at].add(rates, weight);
            self.epochs.retain(|e| newest - e.number < EPOCHS);
        } else {
            self.epochs[at].add(rates, weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(cpus: u64) -> Rates {
        let amounts = Amounts { cpus, gpus: 1, memory_mib: 3 * cpus, hosts: 1 };
        Rates { billing: cpus * 1000, amounts, factor: 1000 }
    }

    fn hourly() -> Decay {
        Decay::new(Some(3600), 1).expect("an hour")
    }

    #[test]
    fn half_is_left_after_a_half_life() {
        let mut usage = Usage::default();
        usage.charge(hourly(), &rates(8), Time(0), Time(10));
        let at = |t| usage.seconds(hourly(), Counted::Billing, Time(t));
        assert!((at(10) - 80.0).abs() < 0.1, "{}", at(10));
        for age in [0, 100, 3590, 5000] {
            let (young, old) = (at(10 + age), at(3610 + age));
            assert!((old - young / 2.0).abs() < 1e-6, "{age}: {young} {old}");
        }
        assert_eq!(at(100 * 3600), 0.0, "what is a hundred half-lives old is forgotten");
    }

    #[test]
    fn a_steady_use_levels_off_at_its_integral() {
        let mut usage = Usage::default();
        usage.charge(hourly(), &rates(2), Time(-50 * 3600), Time(1234));
        // The integral of 2 * 2^(-s / H) for s from 0 to infinity.
        let expected = 2.0 * 3600.0 / std::f64::consts::LN_2;
        let seen = usage.seconds(hourly(), Counted::Amount(Resource::Cpus), Time(1234));
        // A weight is a whole number of steps, 4096 to the second.
        assert!((seen / expected - 1.0).abs() < 1e-6, "{seen} {expected}");
        let wall = usage.seconds(hourly(), Counted::Wall, Time(1234));
        assert!((wall * 2.0 / expected - 1.0).abs() < 1e-6, "{wall}");
    }

    #[test]
    fn nothing_fades_without_a_half_life() {
        let decay = hourly().without_fading();
        let mut usage = Usage::default();
        usage.charge(decay, &Rates { factor: 500, ..rates(4) }, Time(-7), Time(93));
        assert_eq!(usage.seconds(decay, Counted::Billing, Time(1 << 40)), 200.0);
    }

    #[test]
    fn a_decay_that_cannot_be_is_refused() {
        assert_eq!(Decay::new(Some(0), 1), Err(DecayError::HalfLife { ticks: 0 }));
        assert_eq!(Decay::new(Some(LONGEST + 1), 1), Err(DecayError::HalfLife { ticks: LONGEST + 1 }));
        assert_eq!(Decay::new(None, 0), Err(DecayError::Ticks { ticks: 0 }));
        assert_eq!(Decay::weekly(1000), Decay::new(Some(604_800_000), 1000));
    }

    proptest! {
        /// The order of charges, and where a run is cut into intervals, change no bit.
        #[test]
        fn neither_order_nor_cuts_change_a_bit(
            runs in proptest::collection::vec((-9000i64..9000, 0i64..9000, 0u64..50), 1..12),
            cut in 0i64..9000,
            turn in 0usize..12,
        ) {
            let mut whole = Usage::default();
            for &(start, length, cpus) in &runs {
                whole.charge(hourly(), &rates(cpus), Time(start), Time(start + length));
            }
            let mut pieces = Usage::default();
            let turned = runs.iter().cycle().skip(turn).take(runs.len());
            for &(start, length, cpus) in turned {
                let middle = start + cut.min(length);
                pieces.charge(hourly(), &rates(cpus), Time(middle), Time(start + length));
                pieces.charge(hourly(), &rates(cpus), Time(start), Time(middle));
            }
            prop_assert_eq!(&whole, &pieces);
            let text = serde_json::to_string(&whole).expect("JSON");
            prop_assert_eq!(&whole, &serde_json::from_str::<Usage>(&text).expect("JSON"));
        }

        /// Beside the formula, summed second by second.
        #[test]
        fn it_is_the_integral(start in -5000i64..5000, length in 1i64..4000, wait in 0i64..20000) {
            let mut usage = Usage::default();
            usage.charge(hourly(), &rates(1), Time(start), Time(start + length));
            let now = start + length + wait;
            let middle = |second: i64| (now - start - second) as f64 - 0.5;
            let naive: f64 = (0..length).map(|s| (-middle(s) / 3600.0).exp2()).sum();
            let seen = usage.seconds(hourly(), Counted::Billing, Time(now));
            prop_assert!((seen / naive - 1.0).abs() < 1e-3, "{} {}", seen, naive);
        }
    }
}
