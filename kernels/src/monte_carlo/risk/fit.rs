//! Fitting distributions to daily log returns: the normal's mean and covariance, and the multivariate
//! Student-t by maximum likelihood.
//!
//! Everything is sequential and uses Muster's own logarithm, so every rank fits the same bits.

use crate::math;
use muster_spec::Problem;

/// A location and a lower triangular root of a scatter matrix: `location + root * z` for standard `z`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    /// Daily log return of each asset at the centre.
    pub location: Vec<f64>,
    /// `root[i][j]` for `j <= i`: the Cholesky factor of the covariance (normal) or scatter (Student-t).
    pub root: Vec<Vec<f64>>,
    /// Degrees of freedom; infinite for the normal distribution.
    pub dof: f64,
}

/// The least and greatest degrees of freedom that are tried: below, an expected shortfall hardly exists;
/// above, the distribution is the normal one for every practical purpose.
pub(super) const DOF: std::ops::RangeInclusive<f64> = 2.1..=200.0;

impl Fit {
    /// The normal distribution with the mean and covariance (divisor n - 1) of `returns[asset][day]`.
    ///
    /// # Errors
    /// When the covariance is singular, by the asset that adds nothing to those before it.
    pub(super) fn normal(returns: &[Vec<f64>]) -> Result<Fit, Singular> {
        let days = returns[0].len();
        let location: Vec<f64> = returns.iter().map(|r| r.iter().sum::<f64>() / days as f64).collect();
        let mut scatter = weighted_scatter(returns, &location, &vec![1.0; days]);
        scale(&mut scatter, 1.0 / (days as f64 - 1.0));
        Ok(Fit { location, root: cholesky(&scatter)?, dof: f64::INFINITY })
    }

    /// The multivariate Student-t distribution of greatest likelihood: for given degrees of freedom location
    /// and scatter by expectation-maximisation (Kent, Tyler and Vardi 1994, whose weights are normalised by
    /// their sum), the degrees of freedom by a golden section (Kiefer 1953) of the likelihood's profile over
    /// [`DOF`].
    ///
    /// # Errors
    /// As [`Fit::normal`].
    pub(super) fn student_t(returns: &[Vec<f64>]) -> Result<Fit, Singular> {
        /// 1 / golden ratio.
        const SECTION: f64 = 0.618_033_988_749_894_9;
        /// On the logarithm of the degrees of freedom; the profile is flat within far more than this.
        const TOLERANCE: f64 = 1e-4;
        let mut fit = Fit::normal(returns)?;
        let mut profile = |log_dof: f64| -> Result<f64, Singular> {
            let (better, likelihood) = fit_given(returns, &fit, math::exp(log_dof))?;
            fit = better;
            Ok(likelihood)
        };
        let (mut low, mut high) = (math::ln(*DOF.start()), math::ln(*DOF.end()));
        let (mut left, mut right) = (high - SECTION * (high - low), low + SECTION * (high - low));
        let (mut at_left, mut at_right) = (profile(left)?, profile(right)?);
        while high - low > TOLERANCE {
            if at_left < at_right {
                (low, left, at_left) = (left, right, at_right);
                right = low + SECTION * (high - low);
                at_right = profile(right)?;
            } else {
                (high, right, at_right) = (right, left, at_left);
                left = high - SECTION * (high - low);
                at_left = profile(left)?;
            }
        }
        profile(0.5 * (low + high))?;
        Ok(fit)
    }

    /// The standard deviation of each asset's daily log return.
    pub(super) fn volatility(&self) -> Vec<f64> {
        let spread = if self.dof < f64::INFINITY { self.dof / (self.dof - 2.0) } else { 1.0 };
        self.root.iter().map(|row| (row.iter().map(|r| r * r).sum::<f64>() * spread).sqrt()).collect()
    }
}

/// An asset whose returns follow from those of the assets before it, or do not vary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Singular {
    /// Index of the asset.
    pub asset: usize,
}

impl Singular {
    /// The problem in words; `asset` is the name of the asset at fault.
    pub(super) fn problem(self, asset: &str) -> Problem {
        let what = format!("the returns of '{asset}' do not vary, or follow from those of the other assets");
        Problem::new("--prices", what)
            .hint(format!("leave '{asset}' away, or ask for --model bootstrap only"))
    }
}

/// Location and scatter of greatest likelihood for given degrees of freedom, from a starting point, and the
/// logarithm of that likelihood.
fn fit_given(returns: &[Vec<f64>], start: &Fit, dof: f64) -> Result<(Fit, f64), Singular> {
    /// In standard deviations. The likelihood is flat at its maximum, so it is right to the square of this.
    const TOLERANCE: f64 = 1e-9;
    const MOST_STEPS: usize = 1000;
    let assets = returns.len() as f64;
    let mut fit = Fit { dof, ..start.clone() };
    for _ in 0..MOST_STEPS {
        let distances = distances(returns, &fit);
        let weights: Vec<f64> = distances.iter().map(|d| (dof + assets) / (dof + d)).collect();
        let total = weights.iter().sum::<f64>();
        let mean = |r: &Vec<f64>| r.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() / total;
        let location: Vec<f64> = returns.iter().map(mean).collect();
        let mut scatter = weighted_scatter(returns, &location, &weights);
        scale(&mut scatter, 1.0 / total);
        let next = Fit { location, root: cholesky(&scatter)?, dof };
        let step = step(&fit, &next);
        fit = next;
        if step <= TOLERANCE {
            break;
        }
    }
    let likelihood = log_likelihood(&fit, &distances(returns, &fit));
    Ok((fit, likelihood))
}

/// The largest change of any parameter between two fits, in standard deviations.
fn step(from: &Fit, to: &Fit) -> f64 {
    let change = |i: usize| {
        let entries = from.root[i].iter().zip(&to.root[i]).map(|(a, b)| (a - b).abs());
        let location = (from.location[i] - to.location[i]).abs();
        entries.fold(location, f64::max) / to.root[i][i]
    };
    (0..from.root.len()).map(change).fold(0.0, f64::max)
}

/// The logarithm of the multivariate t density (Kotz and Nadarajah 2004) summed over days of given squared
/// distance.
fn log_likelihood(fit: &Fit, distances: &[f64]) -> f64 {
    let (assets, days) = (fit.location.len() as f64, distances.len() as f64);
    let dof = fit.dof;
    let half_log_det: f64 = fit.root.iter().enumerate().map(|(i, row)| math::ln(row[i])).sum();
    let constant = libm::lgamma(0.5 * (dof + assets))
        - libm::lgamma(0.5 * dof)
        - 0.5 * assets * math::ln(dof * std::f64::consts::PI)
        - half_log_det;
    let spread: f64 = distances.iter().map(|d| math::ln(1.0 + d / dof)).sum();
    days * constant - 0.5 * (dof + assets) * spread
}

/// The squared Mahalanobis distance of every day from the location, by forward substitution.
fn distances(returns: &[Vec<f64>], fit: &Fit) -> Vec<f64> {
    let mut z = vec![0.0; returns.len()];
    let distance = |day: usize| {
        let mut sum = 0.0;
        for (i, row) in fit.root.iter().enumerate() {
            let known: f64 = row[..i].iter().zip(&z).map(|(r, z)| r * z).sum();
            z[i] = (returns[i][day] - fit.location[i] - known) / row[i];
            sum += z[i] * z[i];
        }
        sum
    };
    (0..returns[0].len()).map(distance).collect()
}

/// The lower triangle of the weighted sum of outer products of deviations from `centre`.
fn weighted_scatter(returns: &[Vec<f64>], centre: &[f64], weights: &[f64]) -> Vec<Vec<f64>> {
    let entry = |i: usize, j: usize| {
        let pairs = returns[i].iter().zip(&returns[j]).zip(weights);
        pairs.map(|((x, y), w)| w * (x - centre[i]) * (y - centre[j])).sum::<f64>()
    };
    (0..returns.len()).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect()
}

fn scale(matrix: &mut [Vec<f64>], factor: f64) {
    matrix.iter_mut().flatten().for_each(|x| *x *= factor);
}

/// The lower triangular root of a symmetric positive definite matrix given by its lower triangle.
fn cholesky(matrix: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Singular> {
    /// A pivot below this share of its diagonal is rounding, not variance.
    const NOTHING: f64 = 1e-12;
    let mut root: Vec<Vec<f64>> = Vec::with_capacity(matrix.len());
    for (i, row) in matrix.iter().enumerate() {
        let mut new = vec![0.0; i + 1];
        for j in 0..i {
            let known: f64 = new[..j].iter().zip(&root[j]).map(|(a, b)| a * b).sum();
            new[j] = (row[j] - known) / root[j][j];
        }
        let pivot = row[i] - new[..i].iter().map(|x| x * x).sum::<f64>();
        // Written so that NaN is refused, too. The least variance is that of returns which are all rounding.
        if !(pivot > NOTHING * row[i] && row[i] > 1e-28) {
            return Err(Singular { asset: i });
        }
        new[i] = pivot.sqrt();
        root.push(new);
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::normal::normals;
    use crate::math::philox::{BATCH, Draw, Philox};
    use crate::simd::{Lanes, Simd, Vectorised};

    /// Four rows of standard normals for the tests of this file.
    struct Normals(u64, usize);

    impl Vectorised for Normals {
        type Out = Vec<Vec<f64>>;

        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<Vec<f64>> {
            let mut rows = vec![Vec::new(); 4];
            for batch in 0..self.1.div_ceil(BATCH) as u64 {
                let mut out = [[0.0; BATCH]; 4];
                normals::<L>(
                    Philox::new(self.0),
                    Draw { path: batch * BATCH as u64, group: 0, stream: 9 },
                    &mut out,
                );
                rows.iter_mut().zip(&out).for_each(|(row, new)| row.extend_from_slice(new));
            }
            rows
        }
    }

    fn sample(seed: u64, days: usize) -> Vec<Vec<f64>> {
        Simd::all()[0].run(Normals(seed, days))
    }

    /// Two correlated assets with t-distributed returns of `dof` (even) degrees of freedom: the chi-square is
    /// a sum of squares, a way of its own that shares nothing with the product's.
    fn t_returns(dof: usize, days: usize) -> Vec<Vec<f64>> {
        let z = sample(1, days);
        let squares: Vec<f64> = (0..dof.div_ceil(4)).map(|k| sample(100 + k as u64, z[0].len())).fold(
            vec![0.0; z[0].len()],
            |sum, rows| {
                (0..sum.len()).map(|i| sum[i] + rows.iter().map(|r| r[i] * r[i]).sum::<f64>()).collect()
            },
        );
        let s: Vec<f64> = squares.iter().map(|q| (dof as f64 / q).sqrt()).collect();
        let first = (0..s.len()).map(|i| 0.001 + 0.01 * s[i] * z[0][i]).collect();
        let second = (0..s.len()).map(|i| -0.002 + s[i] * (0.012 * z[0][i] + 0.016 * z[1][i])).collect();
        vec![first, second]
    }

    #[test]
    fn a_normal_fit_has_the_sample_mean_and_covariance() {
        let returns = [vec![1.0, 2.0, 3.0, 6.0], vec![2.0, 1.0, 4.0, 1.0]];
        let fit = Fit::normal(&returns).unwrap();
        assert_eq!(fit.location, [3.0, 2.0]);
        let (a, b, c) = (fit.root[0][0], fit.root[1][0], fit.root[1][1]);
        // Sums of products of deviations: 14, -2 and 6, over 3.
        for (got, want) in [(a * a, 14.0 / 3.0), (a * b, -2.0 / 3.0), (b * b + c * c, 2.0)] {
            assert!((got - want).abs() < 1e-14, "{got} {want}");
        }
        assert!((fit.volatility()[1] - 2f64.sqrt()).abs() < 1e-14);
    }

    #[test]
    fn degrees_of_freedom_are_found_again() {
        for (dof, tolerance) in [(4, 0.12), (8, 0.2)] {
            let fit = Fit::student_t(&t_returns(dof, 20_000)).unwrap();
            let got = fit.dof;
            assert!((got / dof as f64 - 1.0).abs() < tolerance, "{dof}: {got}");
            for (got, want) in fit.location.iter().zip([0.001, -0.002]) {
                assert!((got - want).abs() < 5e-4, "{got} {want}");
            }
            for (got, want) in fit.root.concat().iter().zip([0.01, 0.012, 0.016]) {
                assert!((got / want - 1.0).abs() < 0.03, "{got} {want}");
            }
        }
    }

    #[test]
    fn normal_returns_have_many_degrees_of_freedom() {
        let returns = sample(7, 6400);
        let fit = Fit::student_t(&returns[..2]).unwrap();
        assert!(fit.dof > 40.0, "{:?}", fit.dof);
    }

    #[test]
    fn the_fit_is_a_maximum_of_the_likelihood() {
        let returns = t_returns(4, 2000);
        let best = Fit::student_t(&returns).unwrap();
        let likelihood = |fit: &Fit| log_likelihood(fit, &distances(&returns, fit));
        let top = likelihood(&best);
        for factor in [0.97, 1.03] {
            let mut others = vec![best.clone(), best.clone(), best.clone(), best.clone()];
            others[0].dof *= factor;
            others[1].location[0] *= factor;
            others[2].root[1][0] *= factor;
            others[3].root[0][0] *= factor;
            for other in others {
                assert!(likelihood(&other) < top, "{other:?}");
            }
        }
    }

    #[test]
    fn a_copy_or_a_constant_is_singular() {
        let mut returns = sample(3, 64);
        returns[2] = returns[0].iter().zip(&returns[1]).map(|(a, b)| 0.5 * a - b).collect();
        assert_eq!(Fit::normal(&returns), Err(Singular { asset: 2 }));
        returns[1] = vec![0.0; returns[0].len()];
        assert_eq!(Fit::student_t(&returns), Err(Singular { asset: 1 }));
    }
}
