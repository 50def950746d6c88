//! Reads a book of options, TOML or JSON by the ending of its name, and says everything that is wrong with it.
//!
//! TOML is parsed for values and, a second time, for the places of keys, so that messages name lines. Of JSON, only
//! syntax errors have lines.

use muster_spec::monte_carlo::{KEYS, MAX_OPTIONS, OptionSpec};
use muster_spec::{Problem, Problems};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The one key of a book.
const LIST: &str = "option";

/// A parsed file, before its entries are understood.
struct Parsed {
    top: Map<String, Value>,
    /// By entry and key: the line, and the value as it is written. The key `""` is the entry itself.
    lines: BTreeMap<(usize, String), (usize, String)>,
}

/// The options of the book at `path`, checked and with their defaults.
///
/// # Errors
/// Everything that is wrong with the file and its entries.
pub(in crate::monte_carlo) fn book(path: &Path) -> Result<Vec<OptionSpec>, Problems> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        Problem::new("--book", format!("cannot read {file}: {e}")).hint("give a TOML or JSON file")
    })?;
    let parsed = match path.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => parse_toml(&file, &text)?,
        Some("json") => parse_json(&file, &text)?,
        _ => {
            let what = format!("{file} ends neither in .toml nor in .json");
            return Err(Problem::new("--book", what).hint("the ending says how it is written").into());
        }
    };
    let entries = entries(&file, &parsed.top)?;
    let (mut options, mut problems) = (Vec::new(), Vec::new());
    for (i, entry) in entries.iter().enumerate() {
        match option(&file, &parsed, (i, entry)) {
            Ok(option) => options.push(option),
            Err(more) => problems.extend(more),
        }
    }
    Problems::check(problems)?;
    Ok(options)
}

fn parse_toml(file: &str, text: &str) -> Result<Parsed, Problems> {
    let (places, errors) = DeTable::parse_recoverable(text);
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let problem = |error: &toml::de::Error| {
        let place =
            error.span().map_or_else(|| file.to_owned(), |span| format!("{file}:{}", line(span.start)));
        Problem::new(place, error.message().trim()).hint("the file must be valid TOML")
    };
    Problems::check(errors.iter().map(problem).collect())?;
    let top: toml::Table = toml::from_str(text).map_err(|error| Problems(vec![problem(&error)]))?;
    let top = match serde_json::to_value(top) {
        Ok(Value::Object(top)) => top,
        _ => return Err(Problem::new(file, "is not a table").into()),
    };
    let mut lines = BTreeMap::new();
    if let Some(DeValue::Array(entries)) = places.get_ref().get(LIST).map(|list| list.get_ref()) {
        for (i, entry) in entries.iter().enumerate() {
            lines.insert((i, String::new()), (line(entry.span().start), String::new()));
            for (key, value) in entry.get_ref().as_table().into_iter().flatten() {
                let written = text.get(value.span()).unwrap_or_default().to_owned();
                lines.insert((i, key.get_ref().to_string()), (line(key.span().start), written));
            }
        }
    }
    Ok(Parsed { top, lines })
}

fn parse_json(file: &str, text: &str) -> Result<Parsed, Problems> {
    match serde_json::from_str(text) {
        Ok(Value::Object(top)) => Ok(Parsed { top, lines: BTreeMap::new() }),
        Ok(_) => Err(Problem::new(file, "is not an object").hint(r#"write {"option": [...]}"#).into()),
        Err(error) => {
            let place = format!("{file}:{}:{}", error.line(), error.column());
            Err(Problem::new(place, error.to_string()).hint("the file must be valid JSON").into())
        }
    }
}

/// The list of entries, the only thing in a book.
fn entries<'a>(file: &str, top: &'a Map<String, Value>) -> Result<&'a Vec<Value>, Problems> {
    let hint = "a book is a list of options, in TOML each under the heading [[option]]";
    let mut problems: Vec<Problem> = top
        .keys()
        .filter(|key| *key != LIST)
        .map(|key| Problem::new(file, format!("'{key}' has no meaning in a book")).hint(hint))
        .collect();
    let nothing = Vec::new();
    let entries = match top.get(LIST) {
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            problems.push(Problem::new(file, format!("'{LIST}' is not a list")).hint(hint));
            &nothing
        }
        None => &nothing,
    };
    if problems.is_empty() && entries.is_empty() {
        problems.push(Problem::new(file, "holds no option").hint(hint));
    }
    if entries.len() > MAX_OPTIONS {
        let what = format!("holds {} options, but at most {MAX_OPTIONS} are priced at once", entries.len());
        problems.push(Problem::new(file, what).hint("cut it into several books"));
    }
    Problems::check(problems)?;
    match top.get(LIST) {
        Some(Value::Array(entries)) => Ok(entries),
        _ => Err(Problem::new(file, "holds no option").hint(hint).into()),
    }
}

/// One entry.
fn option(file: &str, parsed: &Parsed, (i, entry): (usize, &Value)) -> Result<OptionSpec, Vec<Problem>> {
    let line = |key: &str| parsed.lines.get(&(i, key.to_owned())).or(parsed.lines.get(&(i, String::new())));
    let name = entry.get("name").and_then(Value::as_str).map(|name| format!(" '{name}'")).unwrap_or_default();
    let place = |key: &str| {
        let file = line(key).map_or_else(|| file.to_owned(), |(line, _)| format!("{file}:{line}"));
        format!("{file}: option {}{name}, {key}", i + 1)
    };
    let Value::Object(keys) = entry else {
        return Err(vec![Problem::new(place("kind"), "is missing: the entry is not a table of keys")]);
    };
    let mut problems = Vec::new();
    for (key, value) in keys {
        let written = match parsed.lines.get(&(i, key.clone())) {
            Some((_, written)) => written.clone(),
            None => value.to_string(),
        };
        problems.extend(key_problem(place(key), (key, value), &written));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let option: OptionSpec = serde_json::from_value(entry.clone())
        .map_err(|error| vec![Problem::new(place("entry"), error.to_string())])?;
    let option = option.with_defaults();
    option.contract(&place).map(|_| option)
}

/// What is wrong with one key of an entry, looked at by itself.
fn key_problem(place: String, (key, value): (&str, &Value), written: &str) -> Option<Problem> {
    let Some((_, expected)) = KEYS.iter().find(|(known, _)| *known == key) else {
        let problem = Problem::new(place, "is not a key of an option");
        return Some(match nearest(key, KEYS.iter().map(|(known, _)| *known)) {
            Some(known) => problem.hint(format!("did you mean '{known}'?")),
            None => problem.hint(format!("the keys are {}", KEYS.map(|(known, _)| known).join(", "))),
        });
    };
    let alone = Map::from_iter([(key.to_owned(), value.clone())]);
    let fits = !value.is_null() && serde_json::from_value::<OptionSpec>(Value::Object(alone)).is_ok();
    let printable = key != "name" || value.as_str().is_some_and(|name| !name.contains(char::is_control));
    if fits && printable {
        return None;
    }
    let problem = Problem::new(place, format!("is {written}, but must be {expected}"));
    let words = expected.split([',', ' ']).filter(|word| word.len() > 2);
    Some(match value.as_str().and_then(|word| nearest(word, words)) {
        Some(word) => problem.hint(format!("did you mean '{word}'?")),
        None => problem,
    })
}

/// The candidate that `word` is most likely a misspelling of.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &&str| strsim::damerau_levenshtein(&word.to_lowercase(), candidate);
    candidates.min_by_key(likeness).filter(|best| likeness(best) <= 2.max(word.len() / 3))
}
