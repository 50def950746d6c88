//! The answer: coefficients with what they are worth, and how well the whole fits.

use super::LinregPartial;
use super::solve::Fit;
use serde::Serialize;
use std::fmt;

/// A fitted plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinregAnswer {
    /// The column explained.
    pub y: String,
    /// The intercept, where there is one, then a coefficient for each column.
    pub coefficients: Vec<Coefficient>,
    /// Rows that the fit rests on.
    pub n: u64,
    /// Rows that take part by the filter and miss a value.
    pub missing: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows less coefficients.
    pub degrees_of_freedom: u64,
    /// The share of the variation that is explained; about the mean, or about zero without an intercept.
    pub r2: Option<f64>,
    /// The same, corrected for the number of columns (Theil 1961).
    pub adjusted_r2: Option<f64>,
    /// The root of the residual variance, in units of the column explained.
    pub residual_standard_error: Option<f64>,
    /// The F statistic of all columns together.
    pub f: Option<f64>,
}

/// A coefficient of the plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// The column, or `(intercept)`.
    pub column: String,
    /// Units of the column explained for one of this column.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// The estimate as a multiple of its standard error.
    pub t: Option<f64>,
}

/// What the fit says of the columns `(y, x, intercept)`.
pub(super) fn of(fit: &Fit, (y, x, intercept): (&str, &[&str], bool), root: &LinregPartial) -> LinregAnswer {
    let n = root.complete;
    let freedom = n - fit.coefficients.len() as u64;
    let variance = (freedom > 0).then(|| fit.residual / freedom as f64);
    let names = intercept.then_some("(intercept)").into_iter().chain(x.iter().copied());
    let finite = |x: f64| x.is_finite().then_some(x);
    let coefficient = |((column, &estimate), inverse): ((&str, &f64), &f64)| {
        let standard_error = variance.map(|v| (v * inverse).sqrt());
        let t = standard_error.and_then(|error| finite(estimate / error));
        Coefficient { column: column.to_owned(), estimate, standard_error, t }
    };
    let coefficients = names.zip(&fit.coefficients).zip(&fit.inverse).map(coefficient).collect();
    let unexplained = fit.residual / fit.total;
    let rows = (n - u64::from(intercept)) as f64;
    LinregAnswer {
        y: y.to_owned(),
        coefficients,
        n,
        missing: root.chosen - n,
        rows: root.rows,
        degrees_of_freedom: freedom,
        r2: finite(1.0 - unexplained),
        adjusted_r2: finite(1.0 - unexplained * (rows / freedom as f64)),
        residual_standard_error: variance.map(f64::sqrt),
        f: variance.and_then(|v| finite((fit.total - fit.residual) / x.len() as f64 / v)),
    }
}

/// A number in at most 14 characters.
fn short(x: Option<f64>) -> String {
    match x {
        None => "-".into(),
        Some(x) if x == 0.0 || (1e-4..1e7).contains(&x.abs()) => format!("{x:.6}"),
        Some(x) => format!("{x:.6e}"),
    }
}

impl fmt::Display for LinregAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.coefficients.iter().map(|c| c.column.chars().count());
        let width = names.max().unwrap_or(0).max(11);
        writeln!(f, "{:<width$} {:>14} {:>14} {:>12}", self.y, "coefficient", "standard error", "t")?;
        for c in &self.coefficients {
            let (estimate, error) = (short(Some(c.estimate)), short(c.standard_error));
            let t = c
                .t
                .map_or("-".into(), |t| if t.abs() < 1e7 { format!("{t:.3}") } else { format!("{t:.3e}") });
            writeln!(f, "{:<width$} {estimate:>14} {error:>14} {t:>12}", c.column)?;
        }
        let share = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.6}"));
        writeln!(f, "R2 {}, adjusted {}", share(self.r2), share(self.adjusted_r2))?;
        let error = short(self.residual_standard_error);
        writeln!(f, "residual standard error {error} on {} degrees of freedom", self.degrees_of_freedom)?;
        write!(f, "{} rows", self.n)?;
        if self.missing > 0 {
            write!(f, "; {} more miss a value", self.missing)?;
        }
        if self.n + self.missing < self.rows {
            write!(f, "; {} took part, of {}", self.n + self.missing, self.rows)?;
        }
        writeln!(f)
    }
}
