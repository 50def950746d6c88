//! Lists of hosts as Slurm writes them: `n[1-3,05-07],login`. Read and printed, in order and with repetitions: the first
//! host of a job is the one that runs its script.

use std::fmt::Write;
use thiserror::Error;

/// The most hosts that a text may stand for: a few characters can name more than there is memory for.
pub const MOST_HOSTS: usize = 1 << 20;

/// What is wrong with a list of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostlistError {
    /// A name between commas is missing.
    #[error("a name is missing in {0:?}")]
    Empty(String),
    /// A bracket without its partner, or inside another.
    #[error("a bracket without its partner in {0:?}")]
    Bracket(String),
    /// What stands in brackets is no number and no range.
    #[error("{0:?} is no number and no range such as 1-3")]
    Range(String),
    /// It stands for more than [`MOST_HOSTS`].
    #[error("more than {MOST_HOSTS} hosts")]
    TooMany,
}

/// The names that a list stands for, in its order.
///
/// # Errors
/// What is wrong first.
pub fn parse(text: &str) -> Result<Vec<String>, HostlistError> {
    let mut hosts = Vec::new();
    for part in parts(text)? {
        let left = MOST_HOSTS - hosts.len();
        hosts.extend(expand(part, left)?);
    }
    Ok(hosts)
}

/// Prints names as Slurm does: neighbours with the same beginning and ascending numbers join into a range.
pub fn print<S: AsRef<str>>(hosts: &[S]) -> String {
    let mut out = String::new();
    let mut rest = hosts.iter().map(|host| numbered(host.as_ref())).peekable();
    while let Some((stem, digits)) = rest.next() {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(stem);
        if digits.is_empty() {
            continue;
        }
        let mut ranges: Vec<(&str, &str)> = vec![(digits, digits)];
        while let Some((_, next)) = rest.next_if(|(other, next)| *other == stem && !next.is_empty()) {
            match ranges.last_mut() {
                Some((_, last)) if follows(last, next) => *last = next,
                _ => ranges.push((next, next)),
            }
        }
        match ranges[..] {
            [(only, last)] if only == last => out.push_str(only),
            _ => print_ranges(&mut out, &ranges),
        }
    }
    out
}

fn print_ranges(out: &mut String, ranges: &[(&str, &str)]) {
    let mut open = '[';
    for (first, last) in ranges {
        out.push(open);
        out.push_str(first);
        if first != last {
            // Writing to a string does not fail.
            let _ = write!(out, "-{last}");
        }
        open = ',';
    }
    out.push(']');
}

/// Parts a name into its stem and the digits at its end; no digits where they are more than a range can count.
fn numbered(host: &str) -> (&str, &str) {
    let stem = host.trim_end_matches(|c: char| c.is_ascii_digit());
    if host.len() - stem.len() > 18 { (host, "") } else { host.split_at(stem.len()) }
}

/// Whether a range that ends with `last` goes on with `next`: the number after it, as wide.
fn follows(last: &str, next: &str) -> bool {
    let (number, width) = (last.parse::<u64>().unwrap_or(u64::MAX - 1), last.len());
    format!("{:0width$}", number + 1) == next
}

/// Parts a list at the commas outside brackets.
fn parts(text: &str) -> Result<Vec<&str>, HostlistError> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match (c, inside) {
            ('[', false) => inside = true,
            (']', true) => inside = false,
            ('[', true) | (']', false) => return Err(HostlistError::Bracket(text.to_owned())),
            (',', false) => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(HostlistError::Bracket(text.to_owned()));
    }
    parts.push(text[start..].trim());
    if parts.iter().any(|part| part.is_empty()) {
        Err(HostlistError::Empty(text.to_owned()))
    } else {
        Ok(parts)
    }
}

/// The names that one part stands for, at most so many. Of several brackets, the last counts fastest.
fn expand(part: &str, most: usize) -> Result<Vec<String>, HostlistError> {
    let mut names = vec![String::new()];
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']').ok_or_else(|| HostlistError::Bracket(part.to_owned()))?;
        let numbers = numbers(inside, most / names.len().max(1))?;
        let with = |name: &String| {
            numbers.iter().map(|number| format!("{name}{before}{number}")).collect::<Vec<_>>()
        };
        names = names.iter().flat_map(with).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    if names.len() > most { Err(HostlistError::TooMany) } else { Ok(names) }
}

/// The numbers of a pair of brackets, as wide as the first of their range; at most so many.
fn numbers(inside: &str, most: usize) -> Result<Vec<String>, HostlistError> {
    let mut out = Vec::new();
    for range in inside.split(',') {
        let wrong = || HostlistError::Range(range.to_owned());
        let number = |text: &str| {
            let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(wrong)
        };
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (first, last, width) = (number(low)?, number(high)?, low.len());
        if first > last {
            return Err(wrong());
        }
        if last - first >= (most - out.len()) as u64 {
            return Err(HostlistError::TooMany);
        }
        out.extend((first..=last).map(|n| format!("{n:0width$}")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_in_their_order() {
        for (text, wanted) in [
            ("n1", &["n1"][..]),
            ("n[1-3,7],a01", &["n1", "n2", "n3", "n7", "a01"]),
            ("tux[08-10]", &["tux08", "tux09", "tux10"]),
            ("a[1-2,05-07]", &["a1", "a2", "a05", "a06", "a07"]),
            ("r[1-2]n[1-2]-ib", &["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib"]),
            ("n2, n1,n2", &["n2", "n1", "n2"]),
            ("login", &["login"]),
        ] {
            assert_eq!(
                parse(text).as_deref(),
                Ok(&wanted.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        use HostlistError::{Bracket, Empty, Range, TooMany};
        for (text, wanted) in [
            ("", Empty(String::new())),
            ("a,,b", Empty("a,,b".into())),
            ("a[1-2", Bracket("a[1-2".into())),
            ("a]1[", Bracket("a]1[".into())),
            ("a[[1]]", Bracket("a[[1]]".into())),
            ("a[3-1]", Range("3-1".into())),
            ("a[]", Range(String::new())),
            ("a[x]", Range("x".into())),
            ("a[1-99999999999999999999]", Range("1-99999999999999999999".into())),
            ("a[1-9999999]", TooMany),
            ("a[1-999]b[1-999]c[1-999]", TooMany),
            ("a[1-999999],b[1-999999]", TooMany),
        ] {
            assert_eq!(parse(text), Err(wanted), "{text}");
        }
    }

    #[test]
    fn names_are_printed_as_slurm_prints_them() {
        for (hosts, wanted) in [
            (&[][..], ""),
            (&["n1"], "n1"),
            (&["n1", "n2", "n3", "x7"], "n[1-3],x7"),
            (&["n1", "n2", "n3", "n5"], "n[1-3,5]"),
            (&["n3", "n1", "n2"], "n[3,1-2]"),
            (&["n09", "n10", "n011"], "n[09-10,011]"),
            (&["n9", "n10"], "n[9-10]"),
            (&["n1", "n01"], "n[1,01]"),
            (&["n1", "n1"], "n[1,1]"),
            (&["login", "n1", "login"], "login,n1,login"),
            (&["7", "8"], "[7-8]"),
        ] {
            assert_eq!(print(hosts), wanted, "{hosts:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(
            hosts in prop::collection::vec("[a-c]{0,1}(n|-|0)?[0-9]{0,3}|[a-z]{1,4}[0-9]{17,20}", 1..12)
        ) {
            let hosts: Vec<String> = hosts.into_iter().filter(|host| !host.is_empty()).collect();
            prop_assume!(!hosts.is_empty());
            let text = print(&hosts);
            prop_assert_eq!(parse(&text), Ok(hosts), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "[an\\[\\],0-9\\- ]{0,24}|\\PC{0,20}") {
            if let Ok(hosts) = parse(&text) {
                let again = print(&hosts);
                prop_assert_eq!(parse(&again).map(|hosts| print(&hosts)), Ok(again));
            }
        }
    }
}
