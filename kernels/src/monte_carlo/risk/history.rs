//! The history of a portfolio: the daily log returns of its assets on the days that all files have.
//!
//! Every asset has the same number of returns, at least [`MIN_RETURNS`], all finite. A return spans two days
//! that follow each other among the days used, so a day left out makes one return over two days, not a hole.

use super::day::Day;
use super::prices::{PriceFile, nearest};
use crate::kernel::Input;
use crate::math;
use muster_spec::monte_carlo::risk::{DEFAULT_VALUE, MAX_ASSETS, Position, RiskSpec};
use muster_spec::{Problem, Problems};
use std::collections::BTreeSet;

/// The fewest returns that a distribution is fitted to.
pub(super) const MIN_RETURNS: usize = 30;
/// The most, so that drawing a day from 32 random bits is exact in f64 and nearly even.
const MAX_RETURNS: usize = 1 << 20;

/// Daily log returns and what they were made of.
#[derive(Debug)]
pub(super) struct History {
    /// What the portfolio holds of each asset, in the order of `returns`.
    pub positions: Vec<Position>,
    /// The price column of each file, or the columns of the only file.
    pub columns: Vec<String>,
    /// The days whose prices are used, increasing; one more than there are returns.
    pub days: Vec<Day>,
    /// How many days are in some file but not used: they lack in another, or have an empty price.
    pub left_out: usize,
    /// `returns[asset][i]` is the log return from `days[i]` to `days[i + 1]`.
    pub returns: Vec<Vec<f64>>,
    /// The files.
    pub inputs: Vec<Input>,
}

impl History {
    /// Reads and joins the files of a spec.
    ///
    /// # Errors
    /// Every fault of every file and of the positions.
    pub(super) fn read(spec: &RiskSpec) -> Result<History, Problems> {
        let mut problems = Vec::new();
        let (mut files, mut inputs) = (Vec::new(), Vec::new());
        for (i, path) in spec.prices.iter().enumerate() {
            let columns = match (spec.prices.len(), spec.columns.len()) {
                (1, _) | (_, 0 | 1) => &spec.columns[..],
                _ => spec.columns.get(i..=i).unwrap_or_default(),
            };
            let read = PriceFile::read(path.path(), spec.date_column.as_deref(), columns);
            match read.and_then(|file| Ok((file, input(path.path())?))) {
                Ok((file, input)) => {
                    files.push(file);
                    inputs.push(input);
                }
                Err(more) => problems.extend(more.0),
            }
        }
        // Without every file the assets and the common days are unknown, and more messages would mislead.
        Problems::check(problems)?;
        let positions = positions(spec, &assets(spec, &files)?)?;
        let (days, left_out) = common_days(&files);
        check_length(spec, &files, days.len())?;
        let returns = files.iter().flat_map(|file| file_returns(file, &days)).collect();
        let columns = files.into_iter().flat_map(|file| file.columns).collect();
        Ok(History { positions, columns, days, left_out, returns, inputs })
    }

    /// The number of returns of each asset.
    pub(super) fn len(&self) -> usize {
        self.days.len() - 1
    }

    /// A hash of all that the answer depends on: the returns, and which asset they belong to.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("muster prices v1");
        for (position, returns) in self.positions.iter().zip(&self.returns) {
            hasher.update(&(position.asset.len() as u64).to_le_bytes()).update(position.asset.as_bytes());
            hasher.update(&(returns.len() as u64).to_le_bytes());
            returns.iter().for_each(|r| _ = hasher.update(&r.to_le_bytes()));
        }
        self.days.iter().for_each(|day| _ = hasher.update(day.to_string().as_bytes()));
        hasher.finalize().into()
    }
}

fn input(path: &std::path::Path) -> Result<Input, Problem> {
    Input::of(path).map_err(|e| Problem::new(path.display().to_string(), format!("cannot be looked at: {e}")))
}

/// The assets' names: the file's name without extension, or the columns where the only file gives several.
fn assets(spec: &RiskSpec, files: &[PriceFile]) -> Result<Vec<String>, Problems> {
    let names: Vec<String> = match files {
        [file] if file.columns.len() > 1 => file.columns.clone(),
        _ => {
            let stem = |p: &std::path::Path| p.file_stem().map(|s| s.to_string_lossy().into_owned());
            spec.prices.iter().map(|p| stem(p.path()).unwrap_or_default()).collect()
        }
    };
    let mut problems = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            let problem = Problem::new("--prices", format!("two assets are called '{name}'"));
            problems.push(
                problem.hint(
                    "name each file and column once; an asset is called as its file, without extension",
                ),
            );
        }
    }
    if names.len() > MAX_ASSETS {
        problems.push(Problem::new(
            "--prices",
            format!("{} assets, but at most {MAX_ASSETS} are possible", names.len()),
        ));
    }
    Problems::check(problems)?;
    Ok(names)
}

/// One position for each asset: those of the spec, or [`DEFAULT_VALUE`] split equally where it has none.
fn positions(spec: &RiskSpec, assets: &[String]) -> Result<Vec<Position>, Problems> {
    if spec.positions.is_empty() {
        let value = DEFAULT_VALUE / assets.len() as f64;
        return Ok(assets.iter().map(|asset| Position { asset: asset.clone(), value }).collect());
    }
    let mut problems = Vec::new();
    for position in spec.positions.iter().filter(|p| !assets.contains(&p.asset)) {
        let near = nearest(&position.asset, assets.iter().map(String::as_str));
        let hint = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
        let what = format!("no price file gives '{}'", position.asset);
        problems.push(
            Problem::new("--position", what).hint(format!("{hint}The assets are {}", assets.join(", "))),
        );
    }
    let mut out = Vec::with_capacity(assets.len());
    for asset in assets {
        match spec.positions.iter().find(|p| p.asset == *asset) {
            Some(position) => out.push(position.clone()),
            None => problems.push(
                Problem::new("--position", format!("'{asset}' has none, but other assets have"))
                    .hint(format!("give --position {asset}=VALUE, or leave its prices away")),
            ),
        }
    }
    Problems::check(problems)?;
    Ok(out)
}

/// The days that every file has a price for, and how many others there are.
fn common_days(files: &[PriceFile]) -> (Vec<Day>, usize) {
    let mut days = files[0].days.clone();
    for file in &files[1..] {
        days.retain(|day| file.days.binary_search(day).is_ok());
    }
    let all: BTreeSet<Day> = files.iter().flat_map(|f| f.days.iter().chain(&f.left_out)).copied().collect();
    let left_out = all.len() - days.len();
    (days, left_out)
}

fn check_length(spec: &RiskSpec, files: &[PriceFile], days: usize) -> Result<(), Problem> {
    let returns = days.saturating_sub(1);
    if returns < MIN_RETURNS {
        let place = spec.prices.first().map_or(String::new(), ToString::to_string);
        let joined = if files.len() > 1 { " that all files have" } else { "" };
        let what = format!("{returns} daily returns{joined}, but at least {MIN_RETURNS} are needed");
        return Err(Problem::new(place, what).hint("give a longer history"));
    }
    if returns > MAX_RETURNS {
        return Err(Problem::new(
            "--prices",
            format!("{returns} daily returns, but at most {MAX_RETURNS} are possible"),
        ));
    }
    Ok(())
}

/// The log returns of every column of one file between the days that are used.
fn file_returns(file: &PriceFile, days: &[Day]) -> Vec<Vec<f64>> {
    let rows: Vec<usize> = days.iter().filter_map(|day| file.days.binary_search(day).ok()).collect();
    let column = |prices: &Vec<f64>| {
        // The quotient of two prices may leave the range of f64, the difference of their logarithms cannot.
        rows.windows(2).map(|w| math::ln(prices[w[1]]) - math::ln(prices[w[0]])).collect()
    };
    file.prices.iter().map(column).collect()
}
