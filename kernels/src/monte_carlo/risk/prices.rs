//! Reading daily prices: CSV files with a header, joined by date, as logarithmic returns.

use crate::csv::{distance, read_all};
use crate::hash::first16;
use crate::kernel::Input;
use crate::math::ln;
use muster_spec::monte_carlo::RiskSpec;
use muster_spec::{Problem, Problems};
use std::collections::BTreeMap;
use std::path::Path;

/// Mistakes of one file that are told at once.
const MOST_MISTAKES: usize = 20;
/// Fewer returns than these say nothing of a distribution.
const LEAST_RETURNS: usize = 30;

/// The past of a portfolio.
pub(super) struct History {
    /// One row of daily logarithmic returns for each file.
    pub(super) returns: Vec<Vec<f64>>,
    /// The files' names.
    pub(super) names: Vec<String>,
    pub(super) first_day: String,
    pub(super) last_day: String,
    /// Days that not every file has a price for.
    pub(super) left_out: u64,
    pub(super) inputs: Vec<Input>,
    /// Of all returns: what every block has read.
    pub(super) hash: [u8; 16],
}

impl History {
    pub(super) fn days(&self) -> usize {
        self.returns[0].len()
    }
}

type Series = BTreeMap<String, f64>;

/// Reads and joins the files of a request.
///
/// # Errors
/// Everything that is wrong with them, with file and line.
pub(super) fn read(spec: &RiskSpec) -> Result<History, Problems> {
    let mut problems = Vec::new();
    let (mut series, mut inputs): (Vec<Series>, Vec<Input>) = (Vec::new(), Vec::new());
    for file in &spec.prices {
        match Input::of(file.path()) {
            Ok(input) => inputs.push(input),
            Err(e) => problems.push(Problem::new(file.to_string(), format!("cannot be read: {e}"))),
        }
        match one_file(file.path(), spec.price_column.as_deref()) {
            Ok(prices) => series.push(prices),
            Err(Problems(more)) if inputs.len() == series.len() + 1 => problems.extend(more),
            Err(_) => {}
        }
    }
    Problems::check(problems)?;
    let all: std::collections::BTreeSet<&String> = series.iter().flat_map(BTreeMap::keys).collect();
    let shared: Vec<&String> =
        all.iter().copied().filter(|day| series.iter().all(|s| s.contains_key(*day))).collect();
    if shared.len() < LEAST_RETURNS + 1 {
        let what =
            format!("have {} days in common, and at least {} are needed", shared.len(), LEAST_RETURNS + 1);
        return Err(Problem::new("--prices", what).into());
    }
    let returns: Vec<Vec<f64>> =
        series.iter().map(|s| shared.windows(2).map(|pair| ln(s[pair[1]] / s[pair[0]])).collect()).collect();
    let mut hasher = blake3::Hasher::new();
    for x in returns.iter().flatten() {
        hasher.update(&x.to_le_bytes());
    }
    let name = |p: &Path| p.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Ok(History {
        hash: first16(&hasher.finalize()),
        returns,
        names: spec.prices.iter().map(|p| name(p.path())).collect(),
        first_day: shared[0].clone(),
        last_day: shared[shared.len() - 1].clone(),
        left_out: (all.len() - shared.len()) as u64,
        inputs,
    })
}

fn one_file(path: &Path, column: Option<&str>) -> Result<Series, Problems> {
    let place = path.display().to_string();
    let text = read_all(path)?;
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).trim(::csv::Trim::All).from_reader(&text[..]);
    let header = reader.headers().map_err(|e| Problem::new(&place, format!("has no header: {e}")))?.clone();
    if header.len() < 2 {
        return Err(Problem::new(place, "needs a header with a date and a price column").into());
    }
    let at = price_column(&place, &header, column)?;
    let (mut prices, mut problems, mut last) = (Series::new(), Vec::new(), String::new());
    for record in reader.records() {
        if problems.len() == MOST_MISTAKES {
            break;
        }
        let record = match record {
            Ok(record) => record,
            Err(e) => {
                problems.push(Problem::new(&place, format!("cannot be read as CSV: {e}")));
                break;
            }
        };
        let line = line_of(&record, &text);
        let mut wrong = |what: String| problems.push(Problem::new(format!("{place}:{line}"), what));
        if record.len() != header.len() {
            wrong(format!("has {} fields, and the header {}", record.len(), header.len()));
            continue;
        }
        let price = &record[at];
        let Some(day) = day_of(&record[0]) else {
            wrong(format!("'{}' is not a date such as 2024-12-31 or 12/31/2024", &record[0]));
            continue;
        };
        if day <= last {
            wrong(format!("the date {day} does not come after {last}"));
        } else {
            last.clone_from(&day);
        }
        match price.parse::<f64>() {
            // A day without a price is left out, and counted by the join.
            _ if price.is_empty() => {}
            Ok(x) if x.is_finite() && x > 0.0 => {
                prices.insert(day, x);
            }
            _ => wrong(format!("'{price}' is not a positive price")),
        }
    }
    Problems::check(problems)?;
    Ok(prices)
}

fn price_column(place: &str, header: &::csv::StringRecord, wanted: Option<&str>) -> Result<usize, Problem> {
    let find = |name: &str| header.iter().position(|h| h == name);
    let Some(name) = wanted else {
        return Ok(find("Adj Close").or_else(|| find("Close")).unwrap_or(1));
    };
    find(name).ok_or_else(|| {
        let nearest = header.iter().min_by_key(|h| distance(h, name)).unwrap_or("");
        Problem::new(place, format!("has no column '{name}'")).hint(format!("the nearest is '{nearest}'"))
    })
}

/// A day written 2024-12-31 or 12/31/2024, as the former.
fn day_of(text: &str) -> Option<String> {
    let parts: Vec<u32> = text.split(['-', '/']).map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let (year, month, day) = match (text.contains('-'), text.contains('/'), &parts[..]) {
        (true, false, [y, m, d]) | (false, true, [m, d, y]) => (*y, *m, *d),
        _ => return None,
    };
    let good = (1000..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    good.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// The line that a record begins on: a reader's position may still lie on the line break before it.
fn line_of(record: &::csv::StringRecord, text: &[u8]) -> u64 {
    record.position().map_or(0, |position| {
        let rest = &text[(position.byte() as usize).min(text.len())..];
        let breaks = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).filter(|b| **b == b'\n');
        position.line() + breaks.count() as u64
    })
}
