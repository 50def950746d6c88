//! From words to options, as getopt reads them: `--name=value`, `--name value`, `-nvalue`, `-n value`, bundled
//! letters. Directives and command line go through the same function.

use crate::options::{OPTIONS, OptionDef, Place, Support, Takes, find_long, find_short};
use crate::own::OWN;
use std::fmt;

/// Where a word stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    CommandLine,
    /// In a script: line and column from 1.
    Directive {
        /// The line.
        line: usize,
        /// The column of its first character.
        column: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::CommandLine => f.write_str("command line"),
            Origin::Directive { line, column } => write!(f, "line {line}, column {column}"),
        }
    }
}

/// An option that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which.
    pub option: &'static OptionDef,
    /// Its value; empty for an option without one.
    pub value: String,
    /// As it was written.
    pub written: String,
    /// Where.
    pub origin: Origin,
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// What, in Slurm's words where it has any, and what was expected.
    pub what: String,
    /// The exit code that `sbatch` has for it.
    pub slurm_exit: u8,
}

impl Mistake {
    /// A mistake for which sbatch exits with 255.
    pub(crate) fn usage(origin: &Origin, what: impl Into<String>) -> Self {
        Mistake { origin: origin.clone(), what: what.into(), slurm_exit: 255 }
    }

    /// A mistake for which sbatch exits with 1.
    pub(crate) fn refusal(origin: &Origin, what: impl Into<String>) -> Self {
        Mistake { origin: origin.clone(), what: what.into(), slurm_exit: 1 }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)
    }
}

/// Reads options from words until one is no option; how many words were read.
pub fn read(words: &[(String, Origin)], given: &mut Vec<Given>, mistakes: &mut Vec<Mistake>) -> usize {
    let mut at = 0;
    while let Some((word, origin)) = words.get(at) {
        if word == "--" {
            return at + 1;
        }
        if word.len() < 2 || !word.starts_with('-') {
            return at;
        }
        at += 1;
        let mut next = || {
            let value = words.get(at).map(|(text, _)| text.clone());
            at += usize::from(value.is_some());
            value
        };
        let result = match word.strip_prefix("--") {
            Some(long) => read_long(long, word, origin, &mut next).map(|one| given.push(one)),
            None => read_short(&word[1..], word, origin, (&mut next, given)),
        };
        if let Err(mistake) = result {
            mistakes.push(mistake);
        }
    }
    at
}

fn read_long(
    long: &str,
    written: &str,
    origin: &Origin,
    next: &mut dyn FnMut() -> Option<String>,
) -> Result<Given, Mistake> {
    let (name, inline) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    let option = find_long(name).map_err(|candidates| match candidates[..] {
        [] => Mistake::usage(origin, format!("unrecognized option '{written}'{}", nearest(name))),
        _ => {
            let all: Vec<String> = candidates.iter().map(|c| format!("'--{c}'")).collect();
            Mistake::usage(
                origin,
                format!("option '--{name}' is ambiguous; possibilities: {}", all.join(" ")),
            )
        }
    })?;
    let value = match (option.takes, inline) {
        (Takes::Nothing, Some(_)) => {
            return Err(Mistake::usage(
                origin,
                format!("option '--{}' doesn't allow an argument", option.long),
            ));
        }
        (Takes::Nothing, None) | (Takes::Maybe, None) => String::new(),
        (_, Some(value)) => value,
        (Takes::Value, None) => next().ok_or_else(|| {
            Mistake::usage(origin, format!("option '--{}' requires an argument", option.long))
        })?,
    };
    Ok(Given { option, value, written: written.to_owned(), origin: origin.clone() })
}

/// The end of a message that proposes another name.
fn nearest(name: &str) -> String {
    let close = |o: &&OptionDef| {
        o.long.len().abs_diff(name.len()) <= 2 && o.long.chars().next() == name.chars().next()
    };
    let shared = |o: &OptionDef| o.long.chars().zip(name.chars()).filter(|(a, b)| a == b).count();
    let best = OPTIONS.iter().chain(OWN).filter(close).max_by_key(|o| shared(o));
    best.map_or_else(String::new, |o| format!("; the nearest is '--{}'", o.long))
}

type Sinks<'a, 'b> = (&'a mut dyn FnMut() -> Option<String>, &'b mut Vec<Given>);

fn read_short(
    letters: &str,
    written: &str,
    origin: &Origin,
    (next, given): Sinks<'_, '_>,
) -> Result<(), Mistake> {
    let mut rest = letters;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        let option = find_short(letter)
            .ok_or_else(|| Mistake::usage(origin, format!("invalid option -- '{letter}' in '{written}'")))?;
        let mut push = |value: String| {
            given.push(Given { option, value, written: written.to_owned(), origin: origin.clone() });
        };
        if option.takes != Takes::Value {
            push(String::new());
            continue;
        }
        let value = if rest.is_empty() { next() } else { Some(rest.to_owned()) };
        push(
            value.ok_or_else(|| {
                Mistake::usage(origin, format!("option requires an argument -- '{letter}'"))
            })?,
        );
        return Ok(());
    }
    Ok(())
}

/// The options that are refused in a place.
pub fn refusals(given: &[Given], place: Place) -> Vec<Mistake> {
    let refused = |g: &Given| match g.option.support(place) {
        Support::Refused(why) => {
            Some(Mistake::refusal(&g.origin, format!("--{} is refused: {why}", g.option.long)))
        }
        _ => None,
    };
    given.iter().filter_map(refused).collect()
}
