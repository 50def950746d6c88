//! The normal equations, solved with twice the digits of f64.

use crate::math::double::Double;
use muster_spec::Problem;

/// A column is taken for a linear combination of others when they leave so little of its sum of squares, times the share
/// that the distance of its mean from zero has in it. Twice the digits carry to 1e-31; columns in f64 that add up to
/// each other but for rounding leave 1e-32.
const DEPENDENT: f64 = 1e-24;
/// A column is taken for constant when its sum of squares about the mean is such a part of that about zero.
const CONSTANT: f64 = 1e-28;

/// Sums of products of columns: the intercept's ones, where there is one, then the columns that explain, then the one
/// explained. Row-major, `size` by `size`.
pub(super) struct Gram {
    size: usize,
    intercept: bool,
    at: Vec<Double>,
}

/// What least squares give.
pub(super) struct Fit {
    /// In the order of the columns, the intercept first.
    pub(super) coefficients: Vec<f64>,
    /// The diagonal of the inverse: squared standard errors, as shares of the residual variance.
    pub(super) inverse: Vec<f64>,
    /// The sum of squared residuals.
    pub(super) residual: f64,
    /// The sum of squares of the column explained, about its mean, or about zero without an intercept.
    pub(super) total: f64,
}

/// A column that the columns before it explain wholly.
pub(super) struct Dependent {
    /// Its place among the columns that explain, and the places of those it hangs on.
    column: usize,
    on: Vec<usize>,
}

impl Dependent {
    pub(super) fn problem(&self, names: &[&str], intercept: bool) -> Problem {
        let name = names[self.column];
        let quoted: Vec<String> = self.on.iter().map(|&at| format!("'{}'", names[at])).collect();
        let what = match quoted.split_last() {
            None if intercept => format!("'{name}' is the same in every row, as the intercept is"),
            None => format!("'{name}' is zero in every row"),
            Some((last, [])) => format!("'{name}' is a linear function of {last}"),
            Some((last, more)) => {
                format!("'{name}' is a linear combination of {} and {last}", more.join(", "))
            }
        };
        Problem::new("--x", what).hint(format!("leave '{name}' out"))
    }
}

impl Gram {
    /// From the sums for each pair `(i, j)` with `i <= j`.
    pub(super) fn new(size: usize, products: &[Double], intercept: bool) -> Gram {
        let mut at = vec![Double::ZERO; size * size];
        let pairs = (0..size).flat_map(|i| (i..size).map(move |j| (i, j)));
        for ((i, j), &product) in pairs.zip(products) {
            at[i * size + j] = product;
            at[j * size + i] = product;
        }
        Gram { size, intercept, at }
    }

    fn get(&self, i: usize, j: usize) -> Double {
        self.at[i * self.size + j]
    }

    /// The first column whose sum of squares has left the range of numbers, the intercept not counted.
    pub(super) fn overflow(&self) -> Option<usize> {
        let first = usize::from(self.intercept);
        (first..self.size).find(|&i| !self.get(i, i).value().is_finite()).map(|i| i - first)
    }

    /// Eliminates the columns that explain, one after another: what is left of the last diagonal element is the sum of
    /// squared residuals. Below the diagonal stand the factors (`L` of `L D L'`).
    ///
    /// # Errors
    /// All columns that those before them explain.
    pub(super) fn solve(mut self) -> Result<Fit, Vec<Dependent>> {
        let last = self.size - 1;
        let before: Vec<f64> = (0..last).map(|i| self.get(i, i).value()).collect();
        let mut centred = before.clone();
        let (mut dependent, mut worst) = (Vec::new(), 1.0f64);
        let mut total = self.get(last, last);
        for k in 0..last {
            let ones = self.intercept && k == 0;
            let left = self.get(k, k).value();
            if !ones {
                let constant = centred[k] <= CONSTANT * before[k];
                if !constant {
                    worst = worst.max(before[k] / centred[k]);
                }
                if constant || left <= DEPENDENT * worst * centred[k] {
                    dependent.push(self.dependent(k, constant, &centred));
                    (k..self.size).for_each(|i| self.at[i * self.size + k] = Double::ZERO);
                    continue;
                }
            }
            self.eliminate(k);
            if ones {
                centred = (0..last).map(|i| self.get(i, i).value()).collect();
                total = self.get(last, last);
            }
        }
        if !dependent.is_empty() {
            return Err(dependent);
        }
        let residual = self.get(last, last).value().max(0.0);
        let coefficients = self.combination(last).into_iter().map(Double::value).collect();
        Ok(Fit { coefficients, inverse: self.inverse(), residual, total: total.value().max(0.0) })
    }

    /// Subtracts from every later column what column `k` explains of it.
    fn eliminate(&mut self, k: usize) {
        let size = self.size;
        let pivot = self.get(k, k);
        for i in k + 1..size {
            let factor = self.get(k, i) / pivot;
            for j in i..size {
                let less = self.get(i, j) - factor * self.get(k, j);
                self.at[i * size + j] = less;
            }
            self.at[i * size + k] = factor;
        }
    }

    /// Column `k` as a combination of those before it.
    fn combination(&self, k: usize) -> Vec<Double> {
        let mut out = vec![Double::ZERO; k];
        for j in (0..k).rev() {
            let later = (j + 1..k).map(|i| self.get(i, j) * out[i]);
            out[j] = later.fold(self.get(k, j), |rest, part| rest - part);
        }
        out
    }

    fn dependent(&self, k: usize, constant: bool, centred: &[f64]) -> Dependent {
        let first = usize::from(self.intercept);
        let share = |j: usize, c: Double| c.value().abs() * (centred[j] / centred[k]).sqrt();
        let parts = self.combination(k).into_iter().enumerate().skip(first);
        let on = parts.filter(|&(j, c)| !constant && share(j, c) > 1e-6).map(|(j, _)| j - first);
        Dependent { column: k - first, on: on.collect() }
    }

    /// The diagonal of the inverse of what was eliminated.
    fn inverse(&self) -> Vec<f64> {
        let last = self.size - 1;
        let mut diagonal = vec![Double::ZERO; last];
        for (j, out) in diagonal.iter_mut().enumerate() {
            // Column j of the inverse of L, from the diagonal downwards.
            let mut column = vec![Double::ZERO; last];
            column[j] = Double::from(1.0);
            for i in j..last {
                if i > j {
                    column[i] = (j..i).fold(Double::ZERO, |sum, k| sum - self.get(i, k) * column[k]);
                }
                *out = *out + column[i] * column[i] / self.get(i, i);
            }
        }
        diagonal.into_iter().map(Double::value).collect()
    }
}
