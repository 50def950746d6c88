//! What can be asked of the kernel `log-scan`: lines of text that match a regular expression.

use crate::problem::Problem;
use crate::quantity::InputPath;
use crate::tree::{Grid, MAX_BLOCKS};
use serde::{Deserialize, Serialize};
use std::ops::Not;

/// Captured groups that may make up a key.
pub const MAX_KEYS: usize = 8;
/// Bytes of text in a block that is only counted: about a millisecond of a core.
const COUNT_BYTES: u64 = 4 << 20;
/// Bytes of text in a block whose lines are grouped: about 10 ms of a core. Each block has a table of groups of its own.
const GROUP_BYTES: u64 = 16 << 20;
/// Text is cut into so many blocks at least, as long as each has [`LEAST_BYTES`].
const LEAST_BLOCKS: u64 = 32;
const LEAST_BYTES: u64 = 1 << 16;

/// Lines of text that match a regular expression: how many, and how many for each captured text.
///
/// A line ends at a line feed; a match lies within one line. A line counts once, and belongs to the group that its first
/// match captures. Expressions are those of the Rust crate regex.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct LogScanSpec {
    /// The regular expression, such as '" 5\d\d ' or '^(?<host>\S+) '
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// Files of text (plain, gzip or Zstandard); patterns such as 'logs/*.gz'
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<InputPath>,
    /// Count the lines for each text that these groups of the expression capture, by name or number; 0 is the whole match
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// Only the K groups with the most lines; of equal ones the first by key [default: all]
    #[arg(long, value_name = "K")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<u64>,
    /// Let letters match in upper and lower case
    #[arg(long, short)]
    #[serde(default, skip_serializing_if = "Not::not")]
    pub ignore_case: bool,
    /// Match bytes, not characters: \w, \d, \s, \b and case know ASCII alone, and '.' is any byte
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Not::not")]
    pub no_unicode: bool,
    /// Groups to hold at most; each takes its text and about 50 bytes in every thread
    #[arg(long, value_name = "N", default_value_t = 50_000_000)]
    pub max_groups: u64,
}

impl LogScanSpec {
    /// Everything that is wrong, as far as it shows without the expression and the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        if self.files.is_empty() {
            out.push(Problem::new("FILE", "is missing"));
        }
        if self.group_by.len() > MAX_KEYS {
            let what = format!("names {} groups, and at most {MAX_KEYS} make a key", self.group_by.len());
            out.push(Problem::new("--group-by", what));
        }
        if self.top == Some(0) {
            out.push(Problem::new("--top", "must be at least 1"));
        }
        if self.top.is_some() && self.group_by.is_empty() {
            out.push(
                Problem::new("--top", "needs groups").hint("--group-by 0 counts each text that matches"),
            );
        }
        if self.max_groups == 0 || self.max_groups > 1 << 31 {
            out.push(Problem::new("--max-groups", "must be from 1 to 2^31"));
        }
        out
    }

    /// How files of so many bytes altogether, one behind the other, are cut: into ranges of equal size.
    pub fn grid(&self, bytes: u64) -> Grid {
        let most = if self.group_by.is_empty() { COUNT_BYTES } else { GROUP_BYTES };
        let even = bytes.div_ceil(LEAST_BLOCKS).clamp(LEAST_BYTES, most);
        Grid::new(bytes.div_ceil(even.max(bytes.div_ceil(u64::from(MAX_BLOCKS)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(group_by: &[&str]) -> LogScanSpec {
        LogScanSpec {
            pattern: "x".into(),
            files: vec![InputPath("/x".into())],
            group_by: group_by.iter().map(|&g| g.to_owned()).collect(),
            top: None,
            ignore_case: false,
            no_unicode: false,
            max_groups: 10,
        }
    }

    #[test]
    fn grids_have_blocks_of_a_fit_size() {
        let blocks = |group_by: &[&str], bytes| spec(group_by).grid(bytes).blocks();
        assert_eq!([0, 1, 65_536, 65_537].map(|b| blocks(&[], b)), [1, 1, 1, 2]);
        assert_eq!(blocks(&[], 100 << 20), 32);
        assert_eq!((blocks(&[], 2 << 30), blocks(&["0"], 2 << 30)), (512, 128));
        assert_eq!(blocks(&[], 1 << 50), MAX_BLOCKS);
    }

    #[test]
    fn all_problems_at_once() {
        let wrong = LogScanSpec { files: Vec::new(), top: Some(0), max_groups: 0, ..spec(&[]) };
        assert_eq!(wrong.problems().len(), 4);
        assert_eq!(spec(&["1"; MAX_KEYS + 1]).problems().len(), 1);
        assert_eq!(spec(&["1", "2"]).problems(), []);
    }
}
