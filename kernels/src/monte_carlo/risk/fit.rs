//! Fitting the models to past returns, in portable arithmetic.

use crate::math::{exp, ln};
use muster_spec::{Problem, Problems};

/// Degrees of freedom that are looked at.
const DOF: (f64, f64) = (2.1, 200.0);

/// Location, and the lower triangle of covariance or scatter.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    pub(super) mean: Vec<f64>,
    pub(super) root: Vec<Vec<f64>>,
}

/// Mean and sample covariance. `returns` has one row for each asset.
///
/// # Errors
/// When the covariance is singular.
pub(super) fn normal(returns: &[Vec<f64>]) -> Result<Fitted, Problems> {
    let days = returns[0].len();
    let weights = vec![1.0; days];
    let mean = weighted_mean(returns, &weights);
    let scatter = weighted_scatter(returns, &mean, &weights, days as f64 - 1.0);
    Ok(Fitted { root: root(&scatter)?, mean })
}

/// Location, scatter and degrees of freedom of a multivariate t by maximum likelihood: the EM steps of Liu and Rubin
/// (1995) for location and scatter, golden sections over the logarithm of the degrees of freedom.
///
/// # Errors
/// When the scatter is singular.
pub(super) fn student_t(returns: &[Vec<f64>]) -> Result<(Fitted, f64), Problems> {
    let mut current = normal(returns)?;
    let mut likelihood = |log_dof: f64| -> Result<(f64, Fitted), Problems> {
        for _ in 0..8 {
            current = em_step(returns, &current, exp(log_dof))?;
        }
        Ok((log_likelihood(returns, &current, exp(log_dof)), current.clone()))
    };
    let golden = 0.6180339887498949;
    let (mut low, mut high) = (ln(DOF.0), ln(DOF.1));
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_a, mut at_b) = (likelihood(a)?, likelihood(b)?);
    while high - low > 1e-3 {
        if at_a.0 > at_b.0 {
            (high, b) = (b, a);
            at_b = at_a;
            a = high - golden * (high - low);
            at_a = likelihood(a)?;
        } else {
            (low, a) = (a, b);
            at_a = at_b;
            b = low + golden * (high - low);
            at_b = likelihood(b)?;
        }
    }
    let best = 0.5 * (low + high);
    for _ in 0..4 {
        likelihood(best)?;
    }
    Ok((likelihood(best)?.1, exp(best)))
}

fn weighted_mean(returns: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    returns.iter().map(|row| row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / total).collect()
}

fn weighted_scatter(returns: &[Vec<f64>], mean: &[f64], weights: &[f64], divisor: f64) -> Vec<Vec<f64>> {
    let one = |i: usize, j: usize| {
        let pairs = returns[i].iter().zip(&returns[j]).zip(weights);
        pairs.map(|((x, y), w)| w * (x - mean[i]) * (y - mean[j])).sum::<f64>() / divisor
    };
    (0..returns.len()).map(|i| (0..=i).map(|j| one(i, j)).collect()).collect()
}

/// The lower triangle of a lower-triangular covariance (Cholesky).
fn root(scatter: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Problems> {
    let mut l: Vec<Vec<f64>> = Vec::new();
    for (i, row) in scatter.iter().enumerate() {
        let mut mine = vec![0.0; i + 1];
        for j in 0..=i {
            let other = if j < i { &l[j][..] } else { &mine[..] };
            let dot: f64 = (0..j).map(|k| mine[k] * other[k]).sum();
            let rest = row[j] - dot;
            let definite = rest > 1e-14 * row[i];
            if i == j && !definite {
                let what = format!(
                    "the returns of price file {} follow from those before it, or never change",
                    i + 1
                );
                return Err(Problem::new("--prices", what)
                    .hint("leave it out, or use --model bootstrap")
                    .into());
            }
            mine[j] = if i == j { rest.sqrt() } else { rest / l[j][j] };
        }
        l.push(mine);
    }
    Ok(l)
}

/// Squared Mahalanobis distance of every day.
fn distances(returns: &[Vec<f64>], fitted: &Fitted) -> Vec<f64> {
    let (assets, days) = (returns.len(), returns[0].len());
    let mut solved = vec![0.0; assets];
    (0..days)
        .map(|day| {
            let mut sum = 0.0;
            for i in 0..assets {
                let dot: f64 = (0..i).map(|k| fitted.root[i][k] * solved[k]).sum();
                solved[i] = (returns[i][day] - fitted.mean[i] - dot) / fitted.root[i][i];
                sum += solved[i] * solved[i];
            }
            sum
        })
        .collect()
}

fn em_step(returns: &[Vec<f64>], current: &Fitted, dof: f64) -> Result<Fitted, Problems> {
    let assets = returns.len() as f64;
    let weights: Vec<f64> =
        distances(returns, current).into_iter().map(|d| (dof + assets) / (dof + d)).collect();
    let mean = weighted_mean(returns, &weights);
    let scatter = weighted_scatter(returns, &mean, &weights, returns[0].len() as f64);
    Ok(Fitted { root: root(&scatter)?, mean })
}

fn log_likelihood(returns: &[Vec<f64>], fitted: &Fitted, dof: f64) -> f64 {
    let (assets, days) = (returns.len() as f64, returns[0].len() as f64);
    let half_log_det: f64 = fitted.root.iter().map(|row| ln(row[row.len() - 1])).sum();
    let each = libm::lgamma(0.5 * (dof + assets))
        - libm::lgamma(0.5 * dof)
        - 0.5 * assets * ln(dof * std::f64::consts::PI)
        - half_log_det;
    let spread: f64 = distances(returns, fitted).into_iter().map(|d| ln(1.0 + d / dof)).sum();
    days * each - 0.5 * (dof + assets) * spread
}
