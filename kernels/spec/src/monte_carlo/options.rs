//! One option as people describe it, by flags or as an entry of a book.
//!
//! Every value is optional here, so that a value that was given where it has no meaning can be told from a default.
//! [`OptionSpec::with_defaults`] fills in what an option of its kind needs, and
//! [`OptionSpec::contract`](super::contract) checks all of it.

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// What an option pays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The price at expiry
    European,
    /// The arithmetic mean of the prices at the monitoring dates
    Asian,
    /// The geometric mean of the prices at the monitoring dates
    GeometricAsian,
    /// The price at expiry, where the barrier was touched (in) or was not (out)
    Barrier,
    /// The highest price (call) or the lowest (put), against the strike
    Lookback,
    /// The price at expiry against the lowest price (call) or the highest (put)
    FloatingLookback,
    /// The weighted sum of several prices at expiry
    Basket,
}

/// Call or put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Pays what the price exceeds the strike by
    Call,
    /// Pays what the price falls short of the strike by
    Put,
}

/// Where a barrier lies and what touching it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BarrierKind {
    /// Pays only where the price rose to the barrier
    UpAndIn,
    /// Pays only where the price never rose to the barrier
    UpAndOut,
    /// Pays only where the price fell to the barrier
    DownAndIn,
    /// Pays only where the price never fell to the barrier
    DownAndOut,
}

impl BarrierKind {
    /// Whether the price has to rise to touch it.
    pub fn is_up(self) -> bool {
        matches!(self, BarrierKind::UpAndIn | BarrierKind::UpAndOut)
    }

    /// Whether touching it brings the option to life; else it ends it.
    pub fn is_in(self) -> bool {
        matches!(self, BarrierKind::UpAndIn | BarrierKind::DownAndIn)
    }
}

/// When a barrier, or the highest or lowest price, is looked at. Today's price always counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Monitoring {
    /// At the monitoring dates
    Discrete,
    /// At every moment, without error, whatever the number of dates: by the Brownian bridge between them
    Continuous,
}

impl Kind {
    /// Whether it depends on the prices before expiry.
    pub fn watches_the_path(self) -> bool {
        !matches!(self, Kind::European | Kind::Basket)
    }

    /// Whether it may be looked at continuously.
    pub fn has_monitoring(self) -> bool {
        matches!(self, Kind::Barrier | Kind::Lookback | Kind::FloatingLookback)
    }
}

/// A name as the command line and a book write it.
fn word<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&word(self))
    }
}

/// How the assets of a basket move together: one correlation between every two of them, or the whole matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Correlation {
    /// Between every two assets.
    Common(f64),
    /// Row by row, ones on the diagonal.
    Matrix(Vec<Vec<f64>>),
}

impl Correlation {
    /// The matrix for `assets` assets; a matrix that was given is returned as it is.
    pub fn matrix(&self, assets: usize) -> Vec<Vec<f64>> {
        match self {
            Correlation::Matrix(rows) => rows.clone(),
            Correlation::Common(rho) => {
                let row = |i| (0..assets).map(|j| if i == j { 1.0 } else { *rho }).collect();
                (0..assets).map(row).collect()
            }
        }
    }
}

impl FromStr for Correlation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |word: &str| {
            let word = word.trim();
            word.parse::<f64>().map_err(|_| format!("'{word}' is not a number"))
        };
        if !text.contains([',', ';']) {
            return number(text).map(Correlation::Common);
        }
        let row = |row: &str| row.split(',').map(number).collect::<Result<Vec<f64>, String>>();
        text.split(';').map(row).collect::<Result<_, String>>().map(Correlation::Matrix)
    }
}

/// One option: its terms, its market, and how it is simulated.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[command(next_help_heading = "One option")]
pub struct OptionSpec {
    /// What it is called in the answer of a book.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many of it a book holds; negative for options written.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<f64>,
    /// What it pays.
    #[command(flatten)]
    #[serde(flatten)]
    pub terms: Terms,
    /// Where its underlying prices stand and how they move.
    #[command(flatten)]
    #[serde(flatten)]
    pub market: Market,
    /// Walk every path twice, the second time with the draws negated, and take the mean of both: twice the work
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub antithetic: bool,
    /// For the arithmetic Asian option: simulate only its difference to the geometric one, whose price is known
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub control_variate: bool,
}

/// What an option pays.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Terms {
    /// What the option pays on
    #[arg(long = "option", value_enum, value_name = "KIND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Call or put [default: call]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<Right>,
    /// Strike in money; a floating lookback has none [default: 100]
    #[arg(long, value_name = "MONEY", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strike: Option<f64>,
    /// Years to expiry [default: 1]
    #[arg(long, value_name = "YEARS", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<f64>,
    /// How many monitoring dates there are, evenly spaced, the last at expiry, for options that depend on the path.
    /// Today is not among them, but for barriers and lookbacks today's price counts, too [default: 252]
    #[arg(long, value_name = "DATES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// When a barrier or a lookback is looked at [default: discrete]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// Where the barrier lies, in money
    #[arg(long, value_name = "MONEY", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barrier: Option<f64>,
    /// What touching the barrier does
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barrier_kind: Option<BarrierKind>,
    /// How many of each asset a basket counts, as a comma list [default: 1/n each]
    #[arg(long, value_delimiter = ',', value_name = "LIST", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub weights: Vec<f64>,
}

/// Where the underlying prices stand and how they move: geometric Brownian motion.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Market {
    /// Price today in money; for a basket a comma list [default: 100]
    #[arg(long, value_delimiter = ',', value_name = "MONEY", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub spot: Vec<f64>,
    /// Interest a year, continuously compounded: 0.05 is 5 % [default: 0.05]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Dividend yield a year, continuously compounded; for a basket one for all or a comma list [default: 0]
    #[arg(long, value_delimiter = ',', value_name = "RATE", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub dividend: Vec<f64>,
    /// Volatility a year: 0.2 is 20 %; for a basket one for all or a comma list [default: 0.2]
    #[arg(long, value_delimiter = ',', value_name = "VOL", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub volatility: Vec<f64>,
    /// Correlation of the assets of a basket: one number for every two of them, or the matrix as 1,0.5;0.5,1
    /// [default: 0]
    #[arg(long, value_name = "RHO", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Correlation>,
}

impl OptionSpec {
    /// The flags that are given, to name them where they have no meaning.
    pub fn given(&self) -> Vec<&'static str> {
        let (terms, market) = (&self.terms, &self.market);
        let flags = [
            ("--option", terms.kind.is_some()),
            ("--right", terms.right.is_some()),
            ("--strike", terms.strike.is_some()),
            ("--expiry", terms.expiry.is_some()),
            ("--steps", terms.steps.is_some()),
            ("--monitoring", terms.monitoring.is_some()),
            ("--barrier", terms.barrier.is_some()),
            ("--barrier-kind", terms.barrier_kind.is_some()),
            ("--weights", !terms.weights.is_empty()),
            ("--spot", !market.spot.is_empty()),
            ("--rate", market.rate.is_some()),
            ("--dividend", !market.dividend.is_empty()),
            ("--volatility", !market.volatility.is_empty()),
            ("--correlation", market.correlation.is_some()),
            ("--antithetic", self.antithetic),
            ("--control-variate", self.control_variate),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// The market of `--help`: spot and strike 100, 5 % interest, 20 % volatility, a year to go. A book has to say
    /// these itself, since a value forgotten there would be a wrong price that nobody sees.
    #[must_use]
    pub fn with_example_market(mut self) -> Self {
        let (terms, market) = (&mut self.terms, &mut self.market);
        if terms.kind != Some(Kind::FloatingLookback) {
            terms.strike.get_or_insert(100.0);
        }
        terms.expiry.get_or_insert(1.0);
        market.rate.get_or_insert(0.05);
        fill(&mut market.spot, 100.0, 1);
        fill(&mut market.volatility, 0.2, 1);
        self
    }

    /// The same option with every default that its kind has filled in: a request says the same with or without them.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        let (terms, market) = (&mut self.terms, &mut self.market);
        terms.right.get_or_insert(Right::Call);
        if terms.kind.is_some_and(Kind::watches_the_path) {
            terms.steps.get_or_insert(252);
        }
        if terms.kind.is_some_and(Kind::has_monitoring) {
            terms.monitoring.get_or_insert(Monitoring::Discrete);
        }
        let assets = market.spot.len();
        fill(&mut market.dividend, 0.0, assets);
        if terms.kind == Some(Kind::Basket) {
            fill(&mut terms.weights, 1.0 / assets as f64, assets);
            market.correlation.get_or_insert(Correlation::Common(0.0));
            for list in [&mut market.dividend, &mut market.volatility] {
                if let [one] = list[..] {
                    *list = vec![one; assets];
                }
            }
        }
        self.quantity.get_or_insert(1.0);
        self
    }

    /// What it is called: its name, else its kind.
    pub fn label(&self) -> String {
        let kind = || self.terms.kind.map_or_else(|| "option".to_owned(), |kind| kind.to_string());
        self.name.clone().unwrap_or_else(kind)
    }
}

/// Fills an empty list.
fn fill(list: &mut Vec<f64>, value: f64, len: usize) {
    if list.is_empty() {
        list.resize(len, value);
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A number, or a list of numbers.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Numbers {
        One(f64),
        Many(Vec<f64>),
    }
    Ok(match Numbers::deserialize(from)? {
        Numbers::One(number) => vec![number],
        Numbers::Many(numbers) => numbers,
    })
}

/// The keys of an entry of a book, and what each takes. All but the first three are flags, too; `kind` is `--option`.
pub const KEYS: [(&str, &str); 18] = [
    ("kind", "european, asian, geometric-asian, barrier, lookback, floating-lookback or basket"),
    ("name", "a text"),
    ("quantity", "a number of options, negative for options written"),
    ("right", "call or put"),
    ("strike", "a number, in money"),
    ("expiry", "a number of years"),
    ("steps", "a whole number of monitoring dates"),
    ("monitoring", "discrete or continuous"),
    ("barrier", "a number, in money"),
    ("barrier-kind", "up-and-in, up-and-out, down-and-in or down-and-out"),
    ("weights", "a list of numbers, one for each asset"),
    ("spot", "a number in money, or a list of them for a basket"),
    ("rate", "a number, such as 0.05 for 5 % a year"),
    ("dividend", "a number such as 0.02 for 2 % a year, or a list of them for a basket"),
    ("volatility", "a number such as 0.2 for 20 % a year, or a list of them for a basket"),
    ("correlation", "a number, or a matrix as a list of rows"),
    ("antithetic", "true or false"),
    ("control-variate", "true or false"),
];
