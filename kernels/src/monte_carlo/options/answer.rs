//! The prices of a book, and how people read them.

use super::partial::{Moments, OptionPartial};
use serde::Serialize;
use std::fmt;

/// The two-sided 95 % quantile of the normal distribution.
const TWO_SIDED_95: f64 = 1.959963984540054;

/// The prices of a book; of one option, where there is no book.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BookAnswer {
    /// Each option.
    pub options: Vec<Priced>,
    /// What the whole book is worth and how that changes with volatility, time and interest: sums over its options of
    /// quantity times estimate. Deltas have no sum, since nothing says which options share an underlying.
    pub totals: Vec<Named>,
}

/// One option of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Priced {
    /// Its name, else its kind.
    pub name: String,
    /// What it pays on.
    pub kind: String,
    /// How many of it the book holds.
    pub quantity: f64,
    /// How many paths were simulated.
    pub paths: u64,
    /// Of one option, in today's money.
    pub price: Estimated,
    /// `delta`, `gamma`, `vega` (for 1.00 of volatility), `theta` (a year), `rho` (for 1.00 of interest); `delta-2` is
    /// that of the second asset.
    pub greeks: Vec<Named>,
}

/// An estimate and what it is of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// What is estimated.
    pub name: String,
    /// The estimate.
    pub estimate: Estimated,
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimated {
    /// The mean over the paths.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Its 95 % confidence interval.
    pub interval_95: [f64; 2],
}

impl Estimated {
    fn new(value: f64, standard_error: f64) -> Self {
        let half = TWO_SIDED_95 * standard_error;
        Estimated { value, standard_error, interval_95: [value - half, value + half] }
    }

    fn of(moments: &Moments, paths: u64) -> Self {
        let n = paths as f64;
        Estimated::new(moments.mean, (moments.m2 / (n - 1.0) / n).sqrt())
    }
}

impl Priced {
    /// The answer of one option: `names` are those of its estimates, the price first.
    pub(super) fn new<'a>(
        (name, kind, quantity): (String, String, f64),
        names: impl Iterator<Item = &'a str>,
        partial: &OptionPartial,
    ) -> Self {
        let estimates = partial.moments.iter().map(|moments| Estimated::of(moments, partial.paths));
        let mut named = names.zip(estimates).map(|(n, estimate)| Named { name: n.to_owned(), estimate });
        let price = named.next().expect("an option has a price").estimate;
        Priced { name, kind, quantity, paths: partial.paths, price, greeks: named.collect() }
    }

    fn named(&self, name: &str) -> Option<&Estimated> {
        self.greeks.iter().find(|greek| greek.name == name).map(|greek| &greek.estimate)
    }
}

impl BookAnswer {
    /// The answer of a book. The draws of its options are independent, so their variances add up.
    pub(super) fn new(options: Vec<Priced>) -> Self {
        let total = |name: &str, of: &dyn Fn(&Priced) -> Option<Estimated>| {
            let (mut value, mut variance) = (0.0, 0.0);
            for option in &options {
                let estimate = of(option)?;
                value += option.quantity * estimate.value;
                let error = option.quantity * estimate.standard_error;
                variance += error * error;
            }
            Some(Named { name: name.to_owned(), estimate: Estimated::new(value, variance.sqrt()) })
        };
        let value = total("value", &|option| Some(option.price));
        let greeks = ["vega", "theta", "rho"].map(|name| total(name, &|option| option.named(name).copied()));
        let totals = value.into_iter().chain(greeks.into_iter().flatten()).collect();
        BookAnswer { options, totals }
    }
}

impl fmt::Display for BookAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.options.len() > 1 || self.options.iter().any(|option| option.quantity != 1.0);
        let longest = self.options.iter().map(|option| option.name.chars().count()).max();
        let width = longest.unwrap_or(0).max("option".len()).min(40);
        writeln!(
            f,
            "{:<width$} {:>9} {:<8} {:>16} {:>14}  95 % interval",
            "option", "quantity", "", "estimate", "standard error"
        )?;
        for option in &self.options {
            let first = ("price", &option.price);
            let rest = option.greeks.iter().map(|greek| (greek.name.as_str(), &greek.estimate));
            for (i, (what, estimate)) in std::iter::once(first).chain(rest).enumerate() {
                let (name, quantity) = match i {
                    0 => (option.name.as_str(), option.quantity.to_string()),
                    _ => ("", String::new()),
                };
                writeln!(f, "{name:<width$} {quantity:>9} {what:<8} {estimate}")?;
            }
        }
        for (i, total) in self.totals.iter().enumerate().filter(|_| book) {
            let name = if i == 0 { "book" } else { "" };
            writeln!(f, "{name:<width$} {:>9} {:<8} {}", "", total.name, total.estimate)?;
        }
        Ok(())
    }
}

impl fmt::Display for Estimated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.interval_95;
        write!(f, "{:>16.6} {:>14.6}  {low:.6} to {high:.6}", self.value, self.standard_error)
    }
}
