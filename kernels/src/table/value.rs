//! Values of CSV fields: whole numbers, floating point, decimals, timestamps.

use muster_spec::table::Kind;

/// Why a field is no value of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is no such thing.
    Form,
    /// It is one, beyond what 64 bits hold.
    Size,
}

/// A whole number, with or without a sign.
///
/// # Errors
/// When it is none, or beyond 64 bits.
#[inline]
pub fn int(text: &[u8]) -> Result<i64, Wrong> {
    let (negative, digits) = signed(text);
    if digits.is_empty() {
        return Err(Wrong::Form);
    }
    let mut value = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Wrong::Form);
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    if digits.len() > 18 {
        return std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(Wrong::Size);
    }
    Ok(if negative { -(value as i64) } else { value as i64 })
}

#[inline]
fn signed(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Powers of ten that are exact.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The finite number nearest to a decimal one. Up to 15 digits it is one exact quotient (Clinger 1990), else
/// `fast-float2` finds it.
///
/// # Errors
/// When it is no number, or none that is finite.
#[inline]
pub fn float(text: &[u8]) -> Result<f64, Wrong> {
    let (negative, rest) = signed(text);
    let (mut value, mut digits, mut behind, mut point) = (0u64, 0, 0, false);
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            digits += 1;
            behind += usize::from(point);
        } else if byte == b'.' && !point {
            point = true;
        } else {
            digits = usize::MAX;
            break;
        }
    }
    if digits == 0 {
        return Err(Wrong::Form);
    }
    if digits <= 15 {
        let size = value as f64 / TENS[behind];
        return Ok(if negative { -size } else { size });
    }
    match fast_float2::parse::<f64, _>(text) {
        Ok(x) if x.is_finite() => Ok(x),
        Ok(x) if x.is_infinite() && text.iter().any(u8::is_ascii_digit) => Err(Wrong::Size),
        _ => Err(Wrong::Form),
    }
}

/// A decimal number as a whole number of units of `10^-scale`.
///
/// # Errors
/// When it is no decimal number, has more digits behind the point, or is beyond 64 bits.
pub fn decimal(text: &[u8], scale: u8) -> Result<i64, Wrong> {
    let (negative, rest) = signed(text);
    let (whole, part) = match memchr::memchr(b'.', rest) {
        Some(point) => (&rest[..point], &rest[point + 1..]),
        None => (rest, &rest[rest.len()..]),
    };
    // Zeros at the end say nothing.
    let part = &part[..part.iter().rposition(|&b| b != b'0').map_or(0, |last| last + 1)];
    if whole.is_empty() && part.is_empty() && !rest.contains(&b'0') || part.len() > usize::from(scale) {
        return Err(Wrong::Form);
    }
    let mut value = 0i64;
    let zeros = usize::from(scale) - part.len();
    for &byte in whole.iter().chain(part).chain(std::iter::repeat_n(&b'0', zeros)) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Wrong::Form);
        }
        let digit = if negative { -i64::from(digit) } else { i64::from(digit) };
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(Wrong::Size)?;
    }
    Ok(value)
}

/// Microseconds since 1970 (UTC) of a date with or without time of day (ISO 8601): `2026-11-23`, `2026-11-23 07:19`,
/// `2026-11-23T07:19:41.25Z`, `2026-11-23T07:19:41+01:00`, `2026-11-23 07:19:41+01`. Without a zone it is UTC.
///
/// # Errors
/// When it is no such thing.
pub fn timestamp(text: &[u8]) -> Result<i64, Wrong> {
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    let text = std::str::from_utf8(text).map_err(|_| Wrong::Form)?;
    if text.len() < 10 || !text.as_bytes()[0].is_ascii_digit() {
        return Err(Wrong::Form);
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(day.and_hms_opt(0, 0, 0).expect("midnight").and_utc().timestamp_micros());
    }
    let spaced = text.replacen(' ', "T", 1);
    // What databases write has an offset of hours alone at times: `+00`.
    let zoned = DateTime::parse_from_rfc3339(&spaced);
    if let Ok(time) = zoned.or_else(|_| DateTime::parse_from_str(&spaced, "%Y-%m-%dT%H:%M:%S%.f%#z")) {
        return Ok(time.timestamp_micros());
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&spaced, form).ok())
        .map(|time| time.and_utc().timestamp_micros())
        .ok_or(Wrong::Form)
}

/// True or false.
///
/// # Errors
/// When it is neither.
pub fn boolean(text: &[u8]) -> Result<i64, Wrong> {
    match text.to_ascii_lowercase().as_slice() {
        b"true" | b"1" => Ok(1),
        b"false" | b"0" => Ok(0),
        _ => Err(Wrong::Form),
    }
}

/// A value that is kept as an integer, as people write it.
pub fn show(kind: Kind, value: i64) -> String {
    match kind {
        Kind::Bool => (value != 0).to_string(),
        Kind::Timestamp => chrono::DateTime::from_timestamp_micros(value).map_or_else(
            || value.to_string(),
            |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        ),
        Kind::Decimal(scale) => {
            let (scale, size) = (usize::from(scale), value.unsigned_abs().to_string());
            let padded = format!("{size:0>width$}", width = scale + 1);
            let (whole, part) = padded.split_at(padded.len() - scale);
            let sign = if value < 0 { "-" } else { "" };
            if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers_and_their_limits() {
        for (text, want) in [
            ("0", Ok(0)),
            ("-17", Ok(-17)),
            ("+5", Ok(5)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(Wrong::Size)),
            ("", Err(Wrong::Form)),
            ("-", Err(Wrong::Form)),
            ("1.0", Err(Wrong::Form)),
            ("1e3", Err(Wrong::Form)),
        ] {
            assert_eq!(int(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        for (text, want) in [
            ("1.5", Ok(150)),
            ("-0.05", Ok(-5)),
            (".5", Ok(50)),
            ("7", Ok(700)),
            ("0.000", Ok(0)),
            ("1.500", Ok(150)),
            ("1.005", Err(Wrong::Form)),
            (".", Err(Wrong::Form)),
            ("1e2", Err(Wrong::Form)),
            ("99999999999999999999", Err(Wrong::Size)),
            ("-92233720368547758.08", Ok(i64::MIN)),
        ] {
            assert_eq!(decimal(text.as_bytes(), 2), want, "{text}");
        }
        for (value, text) in [(-5, "-0.05"), (150, "1.50"), (i64::MIN, "-92233720368547758.08")] {
            assert_eq!(show(Kind::Decimal(2), value), text);
        }
    }

    #[test]
    fn times_of_day_and_zones() {
        let second = 1_000_000;
        for (text, want) in [
            ("1970-01-02", 86_400 * second),
            ("1970-01-01 00:01", 60 * second),
            ("1970-01-01T00:00:01.25Z", second + 250_000),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01 01:00:00.5+01", 500_000),
            ("1970-01-01 00:00:00-0130", 5_400_000_000),
            ("1969-12-31 23:59:59", -second),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Ok(want), "{text}");
        }
        for text in ["", "1970-13-01", "today", "1970-01-01 25:00", "12345678901"] {
            assert_eq!(timestamp(text.as_bytes()), Err(Wrong::Form), "{text}");
        }
        assert_eq!(show(Kind::Timestamp, 1_250_000), "1970-01-01T00:00:01.250Z");
    }

    proptest! {
        #[test]
        fn floats_are_the_nearest(text in "[-+]?[0-9]{0,25}(\\.[0-9]{0,25})?(e-?[0-9]{1,3})?") {
            let want = text.parse::<f64>().ok().filter(|x| x.is_finite());
            prop_assert_eq!(float(text.as_bytes()).ok().map(f64::to_bits), want.map(f64::to_bits), "{}", text);
        }
    }
}
