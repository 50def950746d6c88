//! A calendar day as price files write it, ordered by time.

use serde::{Serialize, Serializer};
use std::fmt;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// Reads `2018-12-31` or, as American sources write it, `12/31/2018`. `None` when the text is neither, or
    /// names a day that the calendar lacks.
    pub(super) fn parse(text: &str) -> Option<Day> {
        let (year, month, day) = if text.contains('/') {
            let mut parts = text.splitn(3, '/');
            let (month, day) = (number(parts.next()?, 1..=2)?, number(parts.next()?, 1..=2)?);
            (number(parts.next()?, 4..=4)?, month, day)
        } else {
            let mut parts = text.splitn(3, '-');
            let year = number(parts.next()?, 4..=4)?;
            (year, number(parts.next()?, 2..=2)?, number(parts.next()?, 2..=2)?)
        };
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u16::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Day { year, month: month as u8, day: day as u8 })
    }
}

/// The number that consists of so many digits and nothing else.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let plain = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_day() {
        for text in ["1999-01-04", "1/4/1999", "01/04/1999"] {
            assert_eq!(Day::parse(text).unwrap().to_string(), "1999-01-04", "{text}");
        }
        assert!(Day::parse("2000-02-29") < Day::parse("3/1/2000"));
        assert!(Day::parse("1999-12-31") < Day::parse("2000-01-01"));
    }

    #[test]
    fn what_is_no_day() {
        let texts = [
            "",
            "1999",
            "1999-1-4",
            "1999-02-29",
            "1900-02-29",
            "13/1/1999",
            "1999-04-31",
            "2018-12-31T00:00",
        ];
        for text in texts.into_iter().chain(["1/4/99", "+1/4/1999", "1999-00-10", "1999-10-00", "31.12.2018"])
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
