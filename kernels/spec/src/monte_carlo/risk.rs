//! The risk of a portfolio: where its prices come from, what is held, which models and levels.

use crate::problem::Problem;
use crate::quantity::InputPath;
use serde::{Deserialize, Serialize};

/// How tomorrow's returns are drawn.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Days of the past, drawn with replacement; the same day for all prices.
    Bootstrap,
    /// A multivariate normal with the mean and covariance of the past.
    Normal,
    /// A multivariate Student t, its degrees of freedom fitted by maximum likelihood.
    StudentT,
}

impl Model {
    /// All of them.
    pub const ALL: [Model; 3] = [Model::Bootstrap, Model::Normal, Model::StudentT];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Model::Bootstrap => "bootstrap",
            Model::Normal => "normal",
            Model::StudentT => "student-t",
        }
    }
}

/// Value at risk and expected shortfall of a portfolio.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
#[command(next_help_heading = "The risk of a portfolio")]
pub struct RiskSpec {
    /// Daily prices: a CSV file with a header and a date in its first column; several files are joined by date
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "kind")]
    pub prices: Vec<InputPath>,
    /// The column of prices in each file [default: "Adj Close", else "Close", else the second]
    #[arg(long, value_name = "NAME")]
    pub price_column: Option<String>,
    /// Money held in each file's price, in the order of the files; negative for a short position [default: 1,000,000
    /// in equal parts]
    #[arg(long, value_name = "MONEY", value_delimiter = ',', allow_negative_numbers = true)]
    pub position: Vec<f64>,
    /// Models of the returns [default: all]
    #[arg(long, value_enum, value_name = "MODEL", value_delimiter = ',')]
    pub model: Vec<Model>,
    /// Days that the portfolio is held
    #[arg(long, value_name = "DAYS", default_value_t = 1)]
    pub horizon: u32,
    /// Levels of confidence, between 0.5 and 1
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "0.95,0.99")]
    pub level: Vec<f64>,
}

impl RiskSpec {
    /// Whether no risk was asked for.
    pub fn is_unused(&self) -> bool {
        self.prices.is_empty()
    }

    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        if !self.position.is_empty() && self.position.len() != self.prices.len() {
            let what = format!("has {} values for {} price files", self.position.len(), self.prices.len());
            out.push(Problem::new("--position", what));
        }
        if self.position.iter().any(|p| !p.is_finite()) {
            out.push(Problem::new("--position", "must be finite amounts of money"));
        } else if !self.position.is_empty() && self.position.iter().all(|&p| p == 0.0) {
            out.push(Problem::new("--position", "must not all be zero"));
        }
        if self.horizon == 0 || self.horizon > 10_000 {
            out.push(Problem::new("--horizon", format!("must be 1 to 10000 days, not {}", self.horizon)));
        }
        for level in self.level.iter().filter(|l| !(**l > 0.5 && **l < 1.0)) {
            out.push(Problem::new("--level", format!("must lie between 0.5 and 1, not at {level}")));
        }
        if self.prices.len() > 256 {
            out.push(Problem::new("--prices", "are at most 256 files"));
        }
        out
    }

    /// The models wanted, each once, in a fixed order.
    pub fn models(&self) -> Vec<Model> {
        Model::ALL.into_iter().filter(|m| self.model.is_empty() || self.model.contains(m)).collect()
    }

    /// The money held in each price.
    pub fn positions(&self) -> Vec<f64> {
        match self.position.is_empty() {
            true => vec![1e6 / self.prices.len() as f64; self.prices.len()],
            false => self.position.clone(),
        }
    }
}
