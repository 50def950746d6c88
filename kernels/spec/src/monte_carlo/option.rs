//! One option: what it pays, and the market it lives in.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};

/// What an option pays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The price at expiry.
    European,
    /// The arithmetic mean of the prices at the monitoring dates.
    Asian,
    /// The geometric mean of the prices at the monitoring dates.
    GeometricAsian,
    /// The price at expiry, if the barrier was (in) or was not (out) touched.
    Barrier,
    /// The highest (call) or lowest (put) price, against a fixed strike.
    Lookback,
    /// The price at expiry against the lowest (call) or highest (put) price.
    FloatingLookback,
    /// A weighted sum of several prices at expiry.
    Basket,
}

/// Call or put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// The right to buy.
    Call,
    /// The right to sell.
    Put,
}

/// Which barrier, and what touching it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Knock {
    /// Comes to life when the price rises to the barrier.
    UpAndIn,
    /// Dies when the price rises to the barrier.
    UpAndOut,
    /// Comes to life when the price falls to the barrier.
    DownAndIn,
    /// Dies when the price falls to the barrier.
    DownAndOut,
}

/// When barriers and extremes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Monitoring {
    /// At the monitoring dates.
    Discrete,
    /// All the time, by the Brownian bridge between the dates.
    Continuous,
}

/// One option, by flags or as an entry of a book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[command(next_help_heading = "The option")]
pub struct OptionSpec {
    /// A name for it, in the answer of a book.
    #[arg(skip)]
    pub name: String,
    /// What it pays on
    #[arg(long = "option", value_enum, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Call or put
    #[arg(long, value_enum, default_value = "call")]
    pub right: Right,
    /// Price today, in money; a comma list for a basket
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100",
        value_name = "MONEY",
        allow_negative_numbers = true
    )]
    pub spot: Vec<f64>,
    /// Strike, in money
    #[arg(long, default_value_t = 100.0, value_name = "MONEY", allow_negative_numbers = true)]
    pub strike: f64,
    /// Continuously compounded interest a year (0.05 is 5 %)
    #[arg(long, default_value_t = 0.05, value_name = "RATE", allow_negative_numbers = true)]
    pub rate: f64,
    /// Continuous dividend yield a year; a comma list for a basket
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0",
        value_name = "RATE",
        allow_negative_numbers = true
    )]
    pub dividend: Vec<f64>,
    /// Volatility a year (0.2 is 20 %); a comma list for a basket
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.2",
        value_name = "VOL",
        allow_negative_numbers = true
    )]
    pub volatility: Vec<f64>,
    /// Years to expiry
    #[arg(long, default_value_t = 1.0, value_name = "YEARS", allow_negative_numbers = true)]
    pub expiry: f64,
    /// Monitoring dates, evenly spaced, the last at expiry [unit: dates; not for european and basket]
    #[arg(long, default_value_t = 252, value_name = "N")]
    pub steps: u32,
    /// Barrier, in money
    #[arg(long, value_name = "MONEY", allow_negative_numbers = true)]
    pub barrier: Option<f64>,
    /// What the barrier does
    #[arg(long, value_enum)]
    pub knock: Option<Knock>,
    /// When barrier and extremes are looked at
    #[arg(long, value_enum, default_value = "discrete")]
    pub monitoring: Monitoring,
    /// Weights of a basket [default: equal, summing to 1]
    #[arg(long, value_delimiter = ',', value_name = "W", allow_negative_numbers = true)]
    pub weights: Vec<f64>,
    /// Correlation between every two prices of a basket
    #[arg(long, default_value_t = 0.0, value_name = "RHO", allow_negative_numbers = true)]
    pub correlation: f64,
    /// The whole correlation matrix of a basket, in a book.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub correlations: Vec<Vec<f64>>,
    /// How many of it a book holds.
    #[arg(skip = 1.0)]
    pub quantity: f64,
}

impl Default for OptionSpec {
    fn default() -> Self {
        OptionSpec {
            name: String::new(),
            kind: None,
            right: Right::Call,
            spot: vec![100.0],
            strike: 100.0,
            rate: 0.05,
            dividend: vec![0.0],
            volatility: vec![0.2],
            expiry: 1.0,
            steps: 252,
            barrier: None,
            knock: None,
            monitoring: Monitoring::Discrete,
            weights: Vec::new(),
            correlation: 0.0,
            correlations: Vec::new(),
            quantity: 1.0,
        }
    }
}

impl OptionSpec {
    /// Its name, or its kind where it has none.
    pub fn label(&self) -> String {
        match (&self.name[..], self.kind) {
            ("", Some(kind)) => format!("{kind:?}").to_lowercase(),
            ("", None) => "unnamed".into(),
            (name, _) => name.into(),
        }
    }

    /// How many prices it depends on.
    pub fn assets(&self) -> usize {
        self.spot.len()
    }

    /// How many steps a path takes: one where only the price at expiry matters.
    pub fn path_steps(&self) -> u32 {
        match self.kind {
            Some(Kind::European | Kind::Basket) | None => 1,
            Some(_) => self.steps,
        }
    }

    /// Collects what is wrong; `place` names a key of this option.
    pub(crate) fn check(&self, place: &impl Fn(&str) -> String, out: &mut Vec<Problem>) {
        let mut wrong = |key: &str, what: String| out.push(Problem::new(place(key), what));
        let Some(kind) = self.kind else {
            wrong("kind", "is missing: european, asian, geometric-asian, barrier, lookback, ...".into());
            return;
        };
        let positive = |x: f64| x.is_finite() && x > 0.0;
        for (key, list) in [("spot", &self.spot), ("volatility", &self.volatility)] {
            for x in list.iter().filter(|x| !positive(**x)) {
                wrong(key, format!("must be a positive number, not {x}"));
            }
        }
        for (key, x) in [("strike", self.strike), ("rate", self.rate), ("quantity", self.quantity)]
            .into_iter()
            .chain(self.dividend.iter().map(|&x| ("dividend", x)))
            .chain(self.weights.iter().map(|&x| ("weights", x)))
            .filter(|(_, x)| !x.is_finite())
        {
            wrong(key, format!("must be a finite number, not {x}"));
        }
        if self.strike < 0.0 {
            wrong("strike", format!("must not be negative, and is {}", self.strike));
        }
        if !positive(self.expiry) || self.expiry > 1000.0 {
            wrong("expiry", format!("must be more than 0 and at most 1000 years, not {}", self.expiry));
        }
        for (key, most, x) in
            [("rate", 10.0, self.rate.abs()), ("volatility", 10.0, self.largest_volatility())]
        {
            if x.is_finite() && x > most {
                wrong(
                    key,
                    format!("is {x}, which is {:.0} % a year: at most {:.0} %", x * 100.0, most * 100.0),
                );
            }
        }
        if self.steps == 0 || self.steps > 1 << 20 {
            wrong("steps", format!("must be 1 to 1048576, not {}", self.steps));
        }
        self.check_barrier(kind, &mut wrong);
        self.check_basket(kind, &mut wrong);
    }

    fn largest_volatility(&self) -> f64 {
        self.volatility.iter().copied().fold(0.0, |a, b| if b > a { b } else { a })
    }

    fn check_barrier(&self, kind: Kind, wrong: &mut impl FnMut(&str, String)) {
        match (kind, self.barrier, self.knock) {
            (Kind::Barrier, None, _) => {
                wrong("barrier", "is missing: a barrier option needs its level".into())
            }
            (Kind::Barrier, _, None) => {
                wrong("knock", "is missing: up-and-in, up-and-out, down-and-in, ...".into())
            }
            (Kind::Barrier, Some(x), _) if !(x.is_finite() && x > 0.0) => {
                wrong("barrier", format!("must be a positive number, not {x}"));
            }
            (Kind::Barrier, ..) | (_, None, None) => {}
            (_, Some(_), _) => wrong("barrier", "only a barrier option has one".into()),
            (_, _, Some(_)) => wrong("knock", "only a barrier option has one".into()),
        }
    }

    fn check_basket(&self, kind: Kind, wrong: &mut impl FnMut(&str, String)) {
        let assets = self.assets();
        if kind != Kind::Basket {
            for (key, n) in
                [("spot", assets), ("volatility", self.volatility.len()), ("dividend", self.dividend.len())]
            {
                if n != 1 {
                    wrong(key, format!("has {n} values, and only a basket depends on several prices"));
                }
            }
            return;
        }
        if assets == 0 || assets > 64 {
            wrong("spot", format!("has {assets} values: a basket has 1 to 64 prices"));
        }
        for (key, n) in [("volatility", self.volatility.len()), ("dividend", self.dividend.len())] {
            if n != assets && n != 1 {
                wrong(key, format!("has {n} values for {assets} prices: one for each, or one for all"));
            }
        }
        if !self.weights.is_empty() && self.weights.len() != assets {
            wrong("weights", format!("has {} values for {assets} prices", self.weights.len()));
        }
        let square =
            self.correlations.len() == assets && self.correlations.iter().all(|row| row.len() == assets);
        if !self.correlations.is_empty() && !square {
            wrong("correlations", format!("must be a matrix of {assets} rows and columns"));
        } else if cholesky(&self.correlation_matrix()).is_none() {
            wrong(
                "correlation",
                "is not a correlation matrix: symmetric, ones on the diagonal, positive definite".into(),
            );
        }
    }

    /// The correlation matrix of the prices.
    pub fn correlation_matrix(&self) -> Vec<Vec<f64>> {
        if !self.correlations.is_empty() {
            return self.correlations.clone();
        }
        let n = self.assets();
        (0..n).map(|i| (0..n).map(|j| if i == j { 1.0 } else { self.correlation }).collect()).collect()
    }
}

/// The lower triangle `L` with `L L^T = m` (Cholesky-Banachiewicz), `None` when `m` is not symmetric with ones on its
/// diagonal, or not positive definite.
pub fn cholesky(m: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = m.len();
    let symmetric = (0..n).all(|i| m[i][i] == 1.0 && (0..i).all(|j| m[i][j] == m[j][i]));
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            let rest = m[i][j] - dot;
            l[i][j] = if i == j { rest.sqrt() } else { rest / l[j][j] };
            let definite = rest > 1e-12;
            if i == j && !definite {
                return None;
            }
        }
    }
    symmetric.then_some(l)
}
