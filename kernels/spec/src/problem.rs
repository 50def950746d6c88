//! What is wrong with a request. Checks collect every problem before they report, so that a user mends all at once.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that is wrong: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The parameter, or file with line and column, that is wrong: `--paths`, `prices.csv:17:3`.
    pub place: String,
    /// What is wrong and what was expected, in one sentence without a full stop.
    pub what: String,
    /// The next thing to try, where there is one.
    pub hint: Option<String>,
    /// Whether this host is to blame, not the request: elsewhere the same block may well be folded. Known where the
    /// block was folded alone.
    #[serde(skip)]
    pub of_host: bool,
}

impl Problem {
    /// A problem at `place`.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Problem { place: place.into(), what: what.into(), hint: None, of_host: false }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem, for which this host is to blame.
    #[must_use]
    pub fn of_host(mut self) -> Self {
        self.of_host = true;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// At least one problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// `Ok` when `problems` is empty.
    ///
    /// # Errors
    /// All of `problems`, when there are any.
    pub fn check(problems: Vec<Problem>) -> Result<(), Problems> {
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
