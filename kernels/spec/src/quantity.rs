//! Quantities as people write them on a command line: counts like `1e9` or `10_000`, sizes like `512M`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A whole number of things, written `1000000`, `1_000_000` or `1e6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.replace('_', "");
        if let Ok(n) = plain.parse() {
            return Ok(Count(n));
        }
        let wrong = || format!("'{text}' is not a whole number such as 1000000, 1_000_000 or 1e6");
        let x: f64 = plain.parse().map_err(|_| wrong())?;
        if x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&x) {
            Ok(Count(x as u64))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount of memory or storage in bytes, written `4096`, `512K`, `64M`, `2G` or `1T` (powers of 1,024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix(['B', 'b']).unwrap_or(text);
        let (digits, shift) = match body.char_indices().last() {
            Some((at, unit)) if unit.is_ascii_alphabetic() => match unit.to_ascii_uppercase() {
                'K' => (&body[..at], 10),
                'M' => (&body[..at], 20),
                'G' => (&body[..at], 30),
                'T' => (&body[..at], 40),
                _ => ("", 0),
            },
            _ => (body, 0),
        };
        let n: u64 = digits.parse().map_err(|_| format!("'{text}' is not a size such as 512M or 2G"))?;
        n.checked_shl(shift).filter(|b| b >> shift == n).map(Bytes).ok_or(format!("{text} is too large"))
    }
}

/// The path of an input file, made absolute when it is parsed, so that the same words in another folder are another
/// request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputPath(pub PathBuf);

impl FromStr for InputPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        std::path::absolute(text).map(InputPath).map_err(|e| format!("'{text}' is not a path: {e}"))
    }
}

impl InputPath {
    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for InputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (text, want) in [("7", 7), ("1e9", 1_000_000_000), ("1_000", 1000), ("2.5e3", 2500)] {
            assert_eq!(text.parse(), Ok(Count(want)), "{text}");
        }
        for text in ["", "-1", "1.5", "1e30", "many", "nan", "inf"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in [("0", 0), ("4096", 4096), ("1k", 1024), ("512M", 512 << 20), ("2GB", 2 << 30)] {
            assert_eq!(text.parse(), Ok(Bytes(want)), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "3X", "99999999999T"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
