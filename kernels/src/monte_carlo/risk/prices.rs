//! One file of daily prices: a CSV with a header, a column of increasing days, and one or more columns of
//! prices.
//!
//! Reading never stops at the first fault: every line is looked at, and the faults come back with file and
//! line. A row with an empty price is left out and counted.

use super::day::Day;
use csv::{Reader, ReaderBuilder, StringRecord};
use muster_spec::{Problem, Problems};
use std::path::Path;

/// How many faulty lines of one file are told one by one.
const TOLD: usize = 20;

/// What one file holds.
#[derive(Debug)]
pub(super) struct PriceFile {
    /// The names of the price columns that were read.
    pub columns: Vec<String>,
    /// Increasing days, those with an empty price left out.
    pub days: Vec<Day>,
    /// The days that were left out for an empty price.
    pub left_out: Vec<Day>,
    /// Prices, positive and finite: `prices[column][row]`, one row for each of `days`.
    pub prices: Vec<Vec<f64>>,
}

impl PriceFile {
    /// Reads `path`: the days of `date_column` (the first where it is `None`) and the prices of `columns` (a
    /// guess where there are none: "Adj Close", else "Close", else the only column of numbers).
    ///
    /// # Errors
    /// Every fault of the file, by line: no such file, empty, no header, a column that is not there, ragged
    /// rows, days that do not parse or do not increase, prices that are not positive numbers.
    pub(super) fn read(
        path: &Path,
        date_column: Option<&str>,
        columns: &[String],
    ) -> Result<PriceFile, Problems> {
        let place = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|e| {
            Problem::new(&place, format!("cannot be read: {e}")).hint("check the path and its permissions")
        })?;
        let mut reader = ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
        let header =
            reader.headers().map_err(|e| Problem::new(&place, format!("cannot be read: {e}")))?.clone();
        let header: StringRecord = header.iter().map(|name| name.trim_start_matches('\u{feff}')).collect();
        check_header(&place, &header)?;
        let mut faults = Faults { place, told: Vec::new(), more: 0 };
        let rows = rows(&mut reader, header.len(), &mut faults);
        let which = Columns::find(&faults.place, &header, (date_column, columns), rows.first())?;
        let file = PriceFile {
            columns: which.prices.iter().map(|&c| header[c].to_owned()).collect(),
            days: Vec::new(),
            left_out: Vec::new(),
            prices: vec![Vec::new(); which.prices.len()],
        };
        let mut reading = Reading { which, last: None, file, faults };
        rows.iter().for_each(|row| reading.take(row));
        reading.faults.check()?;
        Ok(reading.file)
    }
}

/// A file while its rows are taken in one after the other.
struct Reading {
    which: Columns,
    last: Option<Day>,
    file: PriceFile,
    faults: Faults,
}

impl Reading {
    /// Adds one row, or notes what is wrong with it.
    fn take(&mut self, row: &StringRecord) {
        let line = row.position().map_or(0, |p| p.line());
        let text = &row[self.which.date];
        let Some(day) = Day::parse(text) else {
            return self.faults.add(line, format!("'{text}' is not a day such as 2018-12-31 or 12/31/2018"));
        };
        if let Some(last) = self.last.filter(|&last| last >= day) {
            return self.faults.add(line, format!("{day} does not come after {last}: days must increase"));
        }
        self.last = Some(day);
        let mut prices = Vec::with_capacity(self.which.prices.len());
        let mut empty = false;
        for (&column, name) in self.which.prices.iter().zip(&self.file.columns) {
            let text = &row[column];
            match text.parse::<f64>() {
                _ if text.is_empty() => empty = true,
                Ok(price) if price > 0.0 && price.is_finite() => prices.push(price),
                Ok(price) => {
                    self.faults.add(line, format!("{name}: {price} is no price: not positive and finite"))
                }
                Err(_) => self.faults.add(line, format!("{name}: '{text}' is not a number")),
            }
        }
        if empty {
            self.file.left_out.push(day);
        } else if prices.len() == self.which.prices.len() {
            self.file.days.push(day);
            self.file.prices.iter_mut().zip(prices).for_each(|(column, price)| column.push(price));
        }
    }
}

/// Every row that has as many fields as the header; the others are noted.
fn rows<R: std::io::Read>(reader: &mut Reader<R>, fields: usize, faults: &mut Faults) -> Vec<StringRecord> {
    let mut out = Vec::new();
    for record in reader.records() {
        match record {
            Ok(row) if row.len() == fields => out.push(row),
            Ok(row) => {
                let line = row.position().map_or(0, |p| p.line());
                faults.add(line, format!("{} fields, but the header has {fields}", row.len()));
            }
            Err(e) => faults.add(e.position().map_or(0, |p| p.line()), format!("cannot be read: {e}")),
        }
    }
    out
}

/// Refuses a file without text or without names in its first line.
fn check_header(place: &str, header: &StringRecord) -> Result<(), Problem> {
    if header.iter().all(str::is_empty) {
        return Err(Problem::new(place, "is empty")
            .hint("a header such as 'Date,Close' and one line a day are needed"));
    }
    if header.iter().any(|name| name.parse::<f64>().is_ok() || Day::parse(name).is_some()) {
        let what = "has no header: its first line holds values, not names";
        return Err(Problem::new(format!("{place}:1"), what).hint("put a line such as 'Date,Close' on top"));
    }
    Ok(())
}

/// Where in a row the day and the prices stand.
struct Columns {
    date: usize,
    prices: Vec<usize>,
}

impl Columns {
    /// Finds the columns by the names asked for, or guesses; `first` is the first row of values.
    fn find(
        place: &str,
        header: &StringRecord,
        (date, prices): (Option<&str>, &[String]),
        first: Option<&StringRecord>,
    ) -> Result<Columns, Problems> {
        let mut problems = Vec::new();
        let mut named = |name: &str| {
            let found = header.iter().position(|n| n == name);
            if found.is_none() {
                problems.push(unknown_column(place, header, name));
            }
            found
        };
        let date = date.map_or(Some(0), &mut named);
        let mut columns: Vec<usize> = prices.iter().filter_map(|name| named(name)).collect();
        if prices.is_empty() {
            match guess(header, date.unwrap_or(0), first) {
                Some(column) => columns.push(column),
                None => problems.push(no_guess(place, header)),
            }
        }
        Problems::check(problems)?;
        Ok(Columns { date: date.unwrap_or(0), prices: columns })
    }
}

/// The price column of a file for which none is named.
fn guess(header: &StringRecord, date: usize, first: Option<&StringRecord>) -> Option<usize> {
    let named = |wanted: &str| header.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    named("Adj Close").or_else(|| named("Close")).or_else(|| {
        let numeric = |&c: &usize| c != date && first.is_some_and(|row| row[c].parse::<f64>().is_ok());
        let mut columns = (0..header.len()).filter(numeric);
        columns.next().filter(|_| columns.next().is_none())
    })
}

fn no_guess(place: &str, header: &StringRecord) -> Problem {
    let what = "no column is called 'Adj Close' or 'Close', and not exactly one holds numbers";
    Problem::new(place, what).hint(format!("name one with --column: {}", names(header)))
}

fn unknown_column(place: &str, header: &StringRecord, name: &str) -> Problem {
    let nearest = nearest(name, header.iter());
    let hint = match nearest {
        Some(near) => format!("did you mean '{near}'? It has {}", names(header)),
        None => format!("it has {}", names(header)),
    };
    Problem::new(format!("{place}:1"), format!("has no column '{name}'")).hint(hint)
}

/// The columns of a header, for a message.
fn names(header: &StringRecord) -> String {
    header.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// The candidate that is most like `word`, if one is like it at all.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&word, &name.to_lowercase());
    candidates
        .map(|name| (name, likeness(name)))
        .filter(|(_, like)| *like > 0.75)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(name, _)| name)
}

/// What is wrong with the lines of one file, the first [`TOLD`] in words.
struct Faults {
    place: String,
    told: Vec<Problem>,
    more: usize,
}

impl Faults {
    fn add(&mut self, line: u64, what: String) {
        if self.told.len() < TOLD {
            self.told.push(Problem::new(format!("{}:{line}", self.place), what));
        } else {
            self.more += 1;
        }
    }

    fn check(mut self) -> Result<(), Problems> {
        if self.more > 0 {
            self.told.push(Problem::new(&self.place, format!("{} more faults like these", self.more)));
        }
        Problems::check(self.told)
    }
}
