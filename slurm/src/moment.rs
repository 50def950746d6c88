//! Points in time as people write them to Slurm: `16:00`, `now+1hour`, `2026-12-24T18:00`, `tomorrow`, `teatime`; and as
//! Slurm prints them. The caller says what time it is: nothing here reads a clock.
//!
//! A time of day alone is the next one. A date alone is its midnight. A date without a year is the next one.

use muster_core::time::Time;

/// The time and the place on earth from which words such as `tomorrow` count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970.
    pub at: Time,
    /// Seconds by which local time is ahead of UTC. It is taken for all of time: a date beyond the next change to or
    /// from summer time is an hour off.
    pub utc_offset_s: i32,
}

const DAY_S: i64 = 86_400;

/// What was expected where a time could not be read.
pub const EXPECTED: &str = "expected HH:MM[:SS], YYYY-MM-DD[THH:MM[:SS]], MMDDYY, now+COUNT[minutes|hours|days|weeks], today, tomorrow, \
     midnight, noon, fika or teatime";

/// The point in time that a text stands for, in milliseconds since 1970.
pub fn parse(text: &str, now: Now) -> Option<Time> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(seconds) = text.strip_prefix("uts") {
        return digits(seconds, 1, 12).map(|s| Time(s * 1000));
    }
    if let Some(rest) = text.strip_prefix("now") {
        return Some(Time(now.at.0.checked_add(delta_s(rest)?.checked_mul(1000)?)?));
    }
    let today = local_s(now).div_euclid(DAY_S);
    let clock = local_s(now).rem_euclid(DAY_S);
    let joined = |(at, mark): (usize, char)| {
        let (left, right) = (&text[..at], &text[at + mark.len_utf8()..]);
        let other = || (mark == ' ').then(|| Some((date(right)?, time_of_day(left)?))).flatten();
        date(left).and_then(|d| Some((d, time_of_day(right)?))).or_else(other)
    };
    let seconds = if let Some(time) = time_of_day(&text) {
        // Slurm compares hours and minutes alone: what is in this minute is over.
        let later = time / 60 > clock / 60;
        (today + i64::from(!later)) * DAY_S + time
    } else if let Some(date) = date(&text) {
        date.on_or_after(today, clock, 0)? * DAY_S
    } else {
        let mut marks = text.char_indices().filter(|(_, c)| matches!(c, 't' | '-' | ' '));
        let (date, time) = marks.find_map(joined)?;
        date.on_or_after(today, clock, time)? * DAY_S + time
    };
    Some(Time((seconds - i64::from(now.utc_offset_s)) * 1000))
}

/// As Slurm prints it: `2026-12-24T18:00:00`, in local time.
pub fn print(at: Time, utc_offset_s: i32) -> String {
    let seconds = local_s(Now { at, utc_offset_s });
    let (year, month, day) = civil(seconds.div_euclid(DAY_S));
    let clock = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

fn local_s(now: Now) -> i64 {
    now.at.0.div_euclid(1000) + i64::from(now.utc_offset_s)
}

/// The seconds of what follows `now`: nothing, or a sign, a count and a unit.
fn delta_s(rest: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 5] =
        [("second", 1), ("minute", 60), ("hour", 3600), ("day", DAY_S), ("week", 7 * DAY_S)];
    let rest: String = rest.split_whitespace().collect();
    if rest.is_empty() {
        return Some(0);
    }
    let (sign, rest) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => return None,
    };
    let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let count = digits(&rest[..rest.len() - unit.len()], 1, 12)?;
    let singular = unit.strip_suffix('s').unwrap_or(unit);
    let scale = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| *name == singular)?.1,
    };
    count.checked_mul(scale * sign)
}

/// Seconds since midnight of `HH:MM[:SS][am|pm]`, or of a name.
fn time_of_day(text: &str) -> Option<i64> {
    const NAMES: [(&str, i64); 5] =
        [("midnight", 0), ("noon", 12), ("elevenses", 11), ("fika", 15), ("teatime", 16)];
    if let Some((_, hour)) = NAMES.iter().find(|(name, _)| *name == text) {
        return Some(hour * 3600);
    }
    let half = |suffix: &str| text.strip_suffix(suffix).map(str::trim_end);
    let (body, half) = match (half("am"), half("pm")) {
        (Some(body), _) => (body, Some(0)),
        (_, Some(body)) => (body, Some(12)),
        _ => (text, None),
    };
    let mut parts = body.split(':');
    let hour = digits(parts.next()?, 1, 2)?;
    let minute = digits(parts.next()?, 2, 2)?;
    let second = parts.next().map_or(Some(0), |s| digits(s, 2, 2))?;
    let hour = match half {
        Some(_) if hour > 12 => return None,
        Some(half) => hour % 12 + half,
        None => hour,
    };
    let fits = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    fits.then_some(hour * 3600 + minute * 60 + second)
}

/// A date, as far as it is told.
#[derive(Clone, Copy)]
enum Date {
    /// So many days from today.
    FromToday(i64),
    /// Year, month and day.
    Full(i64, i64, i64),
    /// Month and day of this year or the next.
    NextYears(i64, i64),
}

impl Date {
    /// Its day since 1970, when it is `clock` seconds past the midnight of `today` and the time of day is to be `time`.
    /// None for a day that there is not.
    fn on_or_after(self, today: i64, clock: i64, time: i64) -> Option<i64> {
        match self {
            Date::FromToday(days) => Some(today + days),
            Date::Full(year, month, day) => days(year, month, day),
            Date::NextYears(month, day) => {
                let (year, this_month, this_day) = civil(today);
                let later = (month, day, time / 60) > (this_month, this_day, clock / 60);
                days(year + i64::from(!later), month, day)
            }
        }
    }
}

fn date(text: &str) -> Option<Date> {
    match text {
        "today" => return Some(Date::FromToday(0)),
        "tomorrow" => return Some(Date::FromToday(1)),
        _ => {}
    }
    let dashes: Vec<&str> = text.split('-').collect();
    if let [year, month, day] = dashes[..] {
        return Some(Date::Full(digits(year, 4, 4)?, digits(month, 1, 2)?, digits(day, 1, 2)?));
    }
    let parts: Vec<&str> = text.split(['/', '.']).collect();
    let (month, day, year) = match parts[..] {
        [month, day, year] => (month, day, Some(year)),
        [month, day] => (month, day, None),
        [all] if all.is_ascii() && all.len() == 6 => (&all[..2], &all[2..4], Some(&all[4..])),
        [all] if all.is_ascii() && all.len() == 4 => (&all[..2], &all[2..], None),
        _ => return None,
    };
    let (month, day) = (digits(month, 1, 2)?, digits(day, 1, 2)?);
    match year {
        Some(year) => Some(Date::Full(2000 + digits(year, 2, 2)?, month, day)),
        None => Some(Date::NextYears(month, day)),
    }
}

/// A number of at least and at most so many digits.
fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// Days since 1970 of a date of the Gregorian calendar, for years from 1970; none for a day that there is not.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let known = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !known {
        return None;
    }
    // The year begins in March, so that the day that comes and goes is its last (H. Hinnant, 2013).
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    (civil(days).2 == day).then_some(days)
}

/// Year, month and day of a day since 1970: the inverse of [`days`] (H. Hinnant, 2013).
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0 = days + 719_468;
    let era = from_march_0.div_euclid(146_097);
    let day_of_era = from_march_0.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-26 12:30:40 in a place two hours ahead of UTC: a Thursday.
    const NOW: Now = Now { at: Time(1_795_689_040_500), utc_offset_s: 7200 };

    #[test]
    fn every_format_of_slurm() {
        assert_eq!(print(NOW.at, NOW.utc_offset_s), "2026-11-26T12:30:40");
        for (text, wanted) in [
            ("16:00", "2026-11-26T16:00:00"),
            ("16:00:05", "2026-11-26T16:00:05"),
            ("4:00pm", "2026-11-26T16:00:00"),
            ("4:00 PM", "2026-11-26T16:00:00"),
            ("12:05am", "2026-11-27T00:05:00"),
            ("12:30", "2026-11-27T12:30:00"),
            ("12:31", "2026-11-26T12:31:00"),
            ("8:00", "2026-11-27T08:00:00"),
            ("midnight", "2026-11-27T00:00:00"),
            ("noon", "2026-11-27T12:00:00"),
            ("elevenses", "2026-11-27T11:00:00"),
            ("fika", "2026-11-26T15:00:00"),
            ("teatime", "2026-11-26T16:00:00"),
            ("today", "2026-11-26T00:00:00"),
            ("Tomorrow", "2026-11-27T00:00:00"),
            ("tomorrowT18:30", "2026-11-27T18:30:00"),
            ("noon tomorrow", "2026-11-27T12:00:00"),
            ("today 16:00", "2026-11-26T16:00:00"),
            ("122426", "2026-12-24T00:00:00"),
            ("1224", "2026-12-24T00:00:00"),
            ("0301", "2027-03-01T00:00:00"),
            ("12/24/26", "2026-12-24T00:00:00"),
            ("12/24-18:00", "2026-12-24T18:00:00"),
            ("11/26-12:00", "2027-11-26T12:00:00"),
            ("11/26-13:00", "2026-11-26T13:00:00"),
            ("12.24.26", "2026-12-24T00:00:00"),
            ("2026-12-24", "2026-12-24T00:00:00"),
            ("2026-12-24T18:00", "2026-12-24T18:00:00"),
            ("2026-12-24T18:00:09", "2026-12-24T18:00:09"),
            ("2028-02-29", "2028-02-29T00:00:00"),
            ("2010-01-20T12:34:00", "2010-01-20T12:34:00"),
            ("now+60", "2026-11-26T12:31:40"),
            ("now+1second", "2026-11-26T12:30:41"),
            ("now + 30 minutes", "2026-11-26T13:00:40"),
            ("now+1hour", "2026-11-26T13:30:40"),
            ("now+2days", "2026-11-28T12:30:40"),
            ("now+1weeks", "2026-12-03T12:30:40"),
            ("now-1day", "2026-11-25T12:30:40"),
            ("uts1795696240", "2026-11-26T14:30:40"),
        ] {
            let got = parse(text, NOW).map(|at| print(at, NOW.utc_offset_s));
            assert_eq!(got.as_deref(), Some(wanted), "{text}");
        }
        assert_eq!(parse("now", NOW), Some(NOW.at));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "foo",
            "24:00",
            "12:60",
            "1:2",
            "13:00pm",
            "1:00:00:00",
            "2026-02-30",
            "2027-02-29",
            "1969-01-01",
            "133126",
            "12345",
            "now+",
            "now+1fortnight",
            "now*2",
            "nowadays",
            "2026-12-24T",
            "T12:00",
            "uts",
            "now+99999999999999999999",
            "todaytomorrow",
        ] {
            assert_eq!(parse(text, NOW), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(seconds in 0_i64..250_000_000_000, utc_offset_s in -50_400_i32..50_400) {
            let seconds = seconds.max(DAY_S);
            let now = Now { at: NOW.at, utc_offset_s };
            let at = Time(seconds * 1000);
            prop_assert_eq!(parse(&print(at, utc_offset_s), now), Some(at));
        }

        #[test]
        fn a_time_of_day_is_within_a_day(hour in 0_i64..24, minute in 0_i64..60) {
            let at = parse(&format!("{hour}:{minute:02}"), NOW).expect("a time of day");
            prop_assert!(at > NOW.at && at <= NOW.at + DAY_S * 1000);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|(now|today|[0-9]{1,4}|[-+T:/. ]){0,6}") {
            let _ = parse(&text, NOW);
        }
    }
}
