//! Which table a kernel reads: files, their columns and the columns' types.

use crate::problem::Problem;
use crate::quantity::InputPath;
use crate::tree::{Grid, MAX_BLOCKS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Bytes of text in a block: 5 to 10 ms of a core.
const BLOCK_BYTES: u64 = 4 << 20;
/// Text is cut into so many blocks at least, as long as each has [`LEAST_BYTES`].
const LEAST_BLOCKS: u64 = 32;
const LEAST_BYTES: u64 = 1 << 16;

/// Files, and how to read them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct TableSpec {
    /// Files of one table: CSV with a header line (plain, gzip or Zstandard) or Parquet; patterns such as 'logs/*.csv'
    #[arg(value_name = "FILE")]
    pub files: Vec<InputPath>,
    /// What separates the fields of CSV
    #[arg(long, value_name = "CHARACTER", default_value_t = ',')]
    pub delimiter: char,
    /// Words that stand for a missing value in CSV, as an empty field without quotes does
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Read quotes in CSV as text; a field then ends at every delimiter and line break
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_quotes: bool,
    /// Types of CSV columns, where not as the first file's start suggests: int, float, text, timestamp, decimal(DIGITS)
    #[arg(long, value_name = "COLUMN=TYPE", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<ColumnType>,
    /// The columns of the files, once they were looked at.
    #[arg(skip)]
    #[serde(default)]
    pub schema: Vec<ColumnType>,
}

/// A column's name and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnType {
    /// Its name in the header.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers of 64 bits with a sign.
    Int,
    /// Numbers in binary floating point, 64 bits.
    Float,
    /// Any text.
    Text,
    /// True or false, as 1 and 0.
    Bool,
    /// Microseconds since 1970 (UTC).
    Timestamp,
    /// Whole numbers of 64 bits of so many decimal digits behind the point.
    Decimal(u8),
}

impl Kind {
    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Float | Kind::Decimal(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Int => f.write_str("int"),
            Kind::Float => f.write_str("float"),
            Kind::Text => f.write_str("text"),
            Kind::Bool => f.write_str("bool"),
            Kind::Timestamp => f.write_str("timestamp"),
            Kind::Decimal(digits) => write!(f, "decimal({digits})"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = || text.strip_prefix("decimal(")?.strip_suffix(')')?.parse().ok().filter(|&d| d <= 18);
        match text {
            "int" => Ok(Kind::Int),
            "float" => Ok(Kind::Float),
            "text" => Ok(Kind::Text),
            "bool" => Ok(Kind::Bool),
            "timestamp" => Ok(Kind::Timestamp),
            _ => digits().map(Kind::Decimal).ok_or_else(|| {
                format!("'{text}' is not a type: int, float, text, bool, timestamp or decimal(0 to 18)")
            }),
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = text.rsplit_once('=').ok_or("expected COLUMN=TYPE, such as price=decimal(2)")?;
        Ok(ColumnType { name: name.to_owned(), kind: kind.parse()? })
    }
}

impl TableSpec {
    /// Everything that is wrong, as far as it shows without the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = self.reading_problems();
        if self.files.is_empty() {
            out.push(
                Problem::new("FILE", "is missing")
                    .hint("name a file, several, or a pattern such as 'data/*.csv'"),
            );
        }
        out
    }

    /// Everything that is wrong but missing files.
    pub fn reading_problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\n' | '\r') {
            out.push(Problem::new("--delimiter", "must be one ASCII character, no quote and no line break"));
        }
        out
    }
}

/// How many blocks a text of so many bytes is cut into, in a table of `total` bytes.
pub fn text_blocks(bytes: u64, total: u64) -> Grid {
    // Many small files may have a block each beside those of the large ones.
    let least = total.div_ceil(u64::from(MAX_BLOCKS) / 2);
    let block = BLOCK_BYTES.min(total.div_ceil(LEAST_BLOCKS)).max(LEAST_BYTES).max(least);
    Grid::new(bytes.div_ceil(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written() {
        for text in ["int", "float", "text", "bool", "timestamp", "decimal(0)", "decimal(18)"] {
            assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
        }
        for text in ["", "integer", "decimal", "decimal(19)", "decimal(-1)", "decimal(2"] {
            assert!(text.parse::<Kind>().is_err(), "{text}");
        }
        let column: ColumnType = "a=b=decimal(2)".parse().unwrap();
        assert_eq!(serde_json::to_string(&column).unwrap(), r#"{"name":"a=b","kind":"decimal(2)"}"#);
    }

    #[test]
    fn text_is_cut_into_blocks_of_some_milliseconds() {
        for (bytes, blocks) in [(0, 1), (1, 1), (LEAST_BYTES + 1, 2), (32 << 20, 32), (1 << 30, 256)] {
            assert_eq!(text_blocks(bytes, bytes).blocks(), blocks, "{bytes}");
        }
        assert!(text_blocks(u64::MAX >> 8, u64::MAX >> 8).blocks() <= MAX_BLOCKS);
    }
}
