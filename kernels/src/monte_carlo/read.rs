//! Reading a book of options: TOML or JSON, told apart by the file's ending.

use muster_spec::monte_carlo::OptionSpec;
use muster_spec::{Problem, Problems};
use serde::Deserialize;
use std::path::Path;

/// The largest book, in options.
const MOST: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BookFile {
    option: Vec<OptionSpec>,
}

/// The options of a book.
///
/// # Errors
/// A file that cannot be read, or an entry that is not an option, with line and column.
pub(super) fn book(path: &Path) -> Result<Vec<OptionSpec>, Problems> {
    let place = path.display().to_string();
    let wrong = |what: String| {
        Problem::new(place.clone(), what)
            .hint("an entry has the keys kind, right, spot, strike, rate, volatility, expiry, ...")
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Problem::new("--book", format!("cannot read {place}: {e}")))?;
    let parsed: Result<BookFile, String> = match path.extension().and_then(|e| e.to_str()) {
        Some("json") => serde_json::from_str(&text).map_err(|e| e.to_string()),
        Some("toml") => toml::from_str(&text).map_err(|e| e.to_string().trim().replace('\n', "\n  ")),
        _ => return Err(Problem::new("--book", format!("{place} is neither .toml nor .json")).into()),
    };
    let options = parsed.map_err(wrong)?.option;
    match options.len() {
        0 => Err(Problem::new(place, "holds no option").into()),
        n if n > MOST => {
            Err(Problem::new(place, format!("holds {n} options, and at most {MOST} are priced at once"))
                .into())
        }
        _ => Ok(options),
    }
}
