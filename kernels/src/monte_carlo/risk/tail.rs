//! Value at risk and expected shortfall from the histogram of losses, with the error of the simulation.
//!
//! Sequential and from exact integers, so the bits are fixed. A loss inside a bin counts as the bin's mean,
//! which is at most one bin width, 2^-18 of the portfolio, from it.

use super::histogram::{Bin, Histogram};

/// The 97.5 % quantile of the standard normal distribution: for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// An estimate and its 95 % interval of simulation error, as shares of the portfolio's gross value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Value at risk and expected shortfall at one level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tail {
    /// The loss that is exceeded with probability `1 - level`.
    pub value_at_risk: Estimate,
    /// The mean of the losses in the worst `1 - level` of cases.
    pub expected_shortfall: Estimate,
}

impl Tail {
    /// From all losses of a model; `level` lies between 0.5 and 1.
    pub(super) fn of(histogram: &Histogram, level: f64) -> Tail {
        let n = histogram.count() as f64;
        let rank = rank(level, n);
        let (shortfall, variance) = worst(histogram, rank, n * (1.0 - level));
        let var = loss_of_rank(histogram, rank);
        // The number of losses below the quantile is binomial; its normal approximation gives the ranks
        // between which the quantile lies (David and Nagaraja 2003). At least 20 losses lie beyond the level.
        let spread = Z * (n * level * (1.0 - level)).sqrt();
        let (low, high) = ((n * level - spread).floor(), (n * level + spread).ceil() + 1.0);
        let value_at_risk = Estimate {
            value: var,
            low: loss_of_rank(histogram, low.max(1.0) as u64),
            high: loss_of_rank(histogram, high.min(n) as u64),
        };
        // Asymptotic variance of the estimator (Manistre and Hancock 2005).
        let gap = shortfall - var;
        let error = Z * ((variance + level * gap * gap) / (n * (1.0 - level))).sqrt();
        let expected_shortfall =
            Estimate { value: shortfall, low: shortfall - error, high: shortfall + error };
        Tail { value_at_risk, expected_shortfall }
    }
}

/// The rank of the quantile among `n` increasing losses: the least whole number that is at least `level * n`,
/// where a product that misses a whole number by rounding alone counts as that number.
fn rank(level: f64, n: f64) -> u64 {
    let exact = level * n;
    let whole = exact.round_ties_even();
    let rank = if (exact - whole).abs() <= 1e-14 * n { whole } else { exact.ceil() };
    rank.max(1.0).min(n) as u64
}

/// The loss of a rank, 1 the least.
fn loss_of_rank(histogram: &Histogram, rank: u64) -> f64 {
    let mut below = 0;
    let holds = |bin: &&Bin| {
        below += bin.count;
        below >= rank
    };
    histogram.bins().iter().find(holds).map_or(f64::NAN, Bin::mean)
}

/// Mean and variance of the `mass` worst losses: all above `rank`, and of the loss of that rank the part that
/// is missing to `mass` (Acerbi and Tasche 2002).
fn worst(histogram: &Histogram, rank: u64, mass: f64) -> (f64, f64) {
    let mut above = histogram.count() - rank;
    let rest = (mass - above as f64).max(0.0);
    let bins = histogram.bins();
    let mut first = bins.len();
    while first > 0 && bins[first - 1].count <= above {
        first -= 1;
        above -= bins[first].count;
    }
    // What is left of `above`, and the part of the loss of that rank, lie in the bin below the whole ones.
    let (edge, part) = match first.checked_sub(1) {
        Some(edge) => (bins[edge].mean(), above as f64 + rest),
        None => (0.0, 0.0),
    };
    let whole = &bins[first..];
    let mass = whole.iter().map(|bin| bin.count).sum::<u64>() as f64 + part;
    let mean = (Histogram::sum_of(whole.iter()) + part * edge) / mass;
    let square = |x: f64| (x - mean) * (x - mean);
    let spread: f64 = whole.iter().map(|bin| bin.count as f64 * square(bin.mean())).sum();
    (mean, (spread + part * square(edge)) / mass)
}

#[cfg(test)]
mod tests {
    use super::super::histogram::BIN_WIDTH;
    use super::super::histogram::tests::histogram;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks() {
        for (level, n, want) in
            [(0.95, 1e6, 950_000), (0.99, 250.0, 248), (0.9, 10.0, 9), (0.999_999_9, 4.0, 4)]
        {
            assert_eq!(rank(level, n), want, "{level} {n}");
        }
        for k in 51..100u64 {
            assert_eq!(rank(k as f64 / 100.0, 3e11), k * 3_000_000_000);
        }
    }

    #[test]
    fn ten_losses_by_hand() {
        let losses: Vec<f64> = (1..=10).map(|k| f64::from(k) / 64.0).collect();
        let tail = Tail::of(&histogram(&losses), 0.75);
        // Rank 8 of 10; the worst 2.5 are 10, 9 and half of 8.
        assert_eq!(tail.value_at_risk.value, 8.0 / 64.0);
        assert!((tail.expected_shortfall.value - (10.0 + 9.0 + 4.0) / 2.5 / 64.0).abs() < 1e-15);
        let (mean, variance) = worst(&histogram(&losses), 8, 2.5);
        assert!((mean - 9.2 / 64.0).abs() < 1e-15);
        assert!((variance * 64.0 * 64.0 - (0.64 + 0.04 + 0.5 * 1.44) / 2.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn sorting_all_losses_says_the_same(
            losses in prop::collection::vec(-0.2f64..0.2, 20..400),
            level in 0.51f64..0.95,
        ) {
            let tail = Tail::of(&histogram(&losses), level);
            let mut sorted = losses.clone();
            sorted.sort_by(f64::total_cmp);
            let n = sorted.len() as f64;
            let k = (level * n).ceil() as usize;
            let mass = n - level * n;
            let shortfall = (sorted[k..].iter().sum::<f64>() + (k as f64 - level * n) * sorted[k - 1]) / mass;
            prop_assert!((tail.value_at_risk.value - sorted[k - 1]).abs() <= BIN_WIDTH);
            prop_assert!((tail.expected_shortfall.value - shortfall).abs() <= BIN_WIDTH);
            let Estimate { value, low, high } = tail.value_at_risk;
            prop_assert!(low <= value && value <= high);
            prop_assert!(tail.expected_shortfall.value >= value - 1e-15);
        }
    }
}
