//! What can be asked of the kernel `command`: any program, run once for each block of an index space, and how what
//! the runs hand over merges.

use crate::problem::Problem;
use crate::quantity::{Bytes, Count, InputPath};
use crate::tree::{Grid, MAX_BLOCKS};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// Runs that a job has when `--block` does not say otherwise, and the index space is large enough.
const RUNS: u64 = 256;

/// The most bytes that an answer may have: it goes through the memory of rank 0.
pub const MAX_ANSWER: u64 = 2 << 30;

/// Any program, run once for each block of an index space.
///
/// A run finds its share in the environment: MUSTER_START and MUSTER_END (the indices from start up to, but without,
/// end), MUSTER_BLOCK of MUSTER_BLOCKS, MUSTER_COUNT, MUSTER_SEED (31 bits, another one for every block) and
/// MUSTER_THREADS, which is 1, as are OMP_NUM_THREADS and its like: the runs themselves fill the cores. The words
/// {start}, {end}, {block}, {blocks}, {count} and {seed} in an argument stand for the same numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct CommandSpec {
    /// Size of the index space, such as 1e6
    #[arg(long, value_name = "N")]
    pub count: Count,
    /// Indices in a run [default: so many that there are 256 runs]
    #[arg(long, value_name = "N")]
    pub block: Option<Count>,
    /// How standard outputs, or files of one name, become one
    #[arg(long, value_enum, default_value = "concat", value_name = "HOW", conflicts_with = "merge_with")]
    pub merge: Merge,
    /// A command for sh that prints one partial from two: "$1" (left) and "$2" (right) are files, standard input is both
    #[arg(long, value_name = "COMMAND")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_with: Option<String>,
    /// Take the files that a run writes into the folder MUSTER_OUT, those that match, such as '*.csv'; needs --out DIR
    #[arg(long, value_name = "PATTERN", requires = "out")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// Write the output to this file, byte for byte, or with --files the files into this new folder
    #[arg(long, value_name = "PATH")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<InputPath>,
    /// The longest that a run may take, such as 90s, 10m or 2h; then its processes are ended
    #[arg(long, value_name = "TIME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Try a run that fails again, so many times
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    #[serde(default)]
    pub retries: u32,
    /// The most bytes that one run may hand over
    #[arg(long, value_name = "BYTES", default_value = "64M")]
    pub limit: Bytes,
    /// A file that the runs read; a resume refuses one that changed, as it does the program and files among its words
    #[arg(long = "input", value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputPath>,
    /// Seed of the seeds in MUSTER_SEED
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The folder that the runs start in [default: this one]
    #[arg(long, value_name = "DIR")]
    pub chdir: Option<InputPath>,
    /// The program and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "PROGRAM [ARG]")]
    pub words: Vec<String>,
}

/// How what two runs hand over becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// One after the other, in the order of the blocks, byte for byte
    Concat,
    /// Numbers are summed exactly, as decimals; everything between them must be the same in every run
    Sum,
}

/// A time limit, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeout(pub u64);

impl Timeout {
    /// The same for the clock.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a time such as 90, 90s, 10m, 2h or 1h30m");
        let mut rest = text;
        let mut total = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            let unit_end =
                rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |n| digits + n);
            let scale = match &rest[digits..unit_end] {
                "ms" => 1e-3,
                "s" => 1.0,
                "" if digits == text.len() => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(wrong()),
            };
            total += number * scale;
            rest = &rest[unit_end..];
        }
        let ms = (total * 1000.0).round();
        if (1.0..=1e12).contains(&ms) { Ok(Timeout(ms as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0 as f64 / 1000.0)
    }
}

impl CommandSpec {
    /// Everything that is wrong, as far as it shows without looking at files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        let count = self.count.0;
        if count == 0 {
            out.push(Problem::new("--count", "must be at least 1"));
        }
        match self.block {
            Some(Count(0)) => out.push(Problem::new("--block", "must be at least 1")),
            Some(Count(block)) if count.div_ceil(block) > u64::from(MAX_BLOCKS) => {
                let runs = count.div_ceil(block);
                let least = count.div_ceil(u64::from(MAX_BLOCKS));
                let what = format!("{block} makes {runs} runs, and there can be at most {MAX_BLOCKS}");
                out.push(Problem::new("--block", what).hint(format!("--block {least} is the least")));
            }
            _ => {}
        }
        if self.limit.0 == 0 || self.limit.0 > MAX_ANSWER {
            out.push(Problem::new("--limit", "must be between 1 byte and 2G"));
        }
        if self.words.first().is_none_or(|program| program.is_empty()) {
            out.push(Problem::new("PROGRAM", "is missing").hint("it goes last: ... -- PROGRAM ARG..."));
        }
        if self.merge_with.as_ref().is_some_and(|command| command.trim().is_empty()) {
            out.push(Problem::new("--merge-with", "is empty, and a command for sh was expected"));
        }
        if self.files.is_some() && self.out.is_none() {
            out.push(Problem::new("--files", "needs a folder to write the files to").hint("--out DIR"));
        }
        out
    }

    /// Indices in a run: all have as many, but the last.
    pub fn block_indices(&self) -> u64 {
        self.block.map_or_else(|| self.count.0.div_ceil(RUNS), |block| block.0).max(1)
    }

    /// One block for each run.
    pub fn grid(&self) -> Grid {
        Grid::new(self.count.0.div_ceil(self.block_indices()))
    }

    /// The indices of a block.
    pub fn indices(&self, block: u32) -> Range<u64> {
        let size = self.block_indices();
        let start = u64::from(block) * size;
        start..start.saturating_add(size).min(self.count.0)
    }

    /// The same request without what changes no bit: limits, retries, and where the output goes.
    #[must_use]
    pub fn identity(&self) -> CommandSpec {
        let limit = Bytes(0);
        CommandSpec { out: None, timeout: None, retries: 0, limit, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(count: u64, block: Option<u64>) -> CommandSpec {
        CommandSpec {
            count: Count(count),
            block: block.map(Count),
            merge: Merge::Concat,
            merge_with: None,
            files: None,
            out: None,
            timeout: None,
            retries: 0,
            limit: Bytes(1),
            inputs: Vec::new(),
            seed: 1,
            chdir: None,
            words: vec!["true".into()],
        }
    }

    #[test]
    fn times_are_read() {
        for (text, ms) in
            [("90", 90_000), ("1.5s", 1500), ("10m", 600_000), ("1h30m", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(text.parse(), Ok(Timeout(ms)), "{text}");
        }
        for text in ["", "0", "-1", "m", "10x", "1h30", "1..2s", "1e99d"] {
            assert!(text.parse::<Timeout>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let mut wrong = spec(0, Some(0));
        wrong.words.clear();
        wrong.limit = Bytes(0);
        assert_eq!(wrong.problems().len(), 4);
        let many = spec(1 << 21, Some(1)).problems();
        assert!(
            many[0].to_string().contains("makes 2097152 runs") && many[0].to_string().contains("--block 2")
        );
        assert_eq!(spec(1, None).problems(), []);
    }

    proptest! {
        #[test]
        fn blocks_partition_the_indices(count in 1u64..2_000_000, block in prop::option::of(1u64..5000)) {
            let spec = spec(count, block);
            prop_assume!(spec.problems().is_empty());
            let grid = spec.grid();
            let mut next = 0;
            for block in 0..grid.blocks() {
                let indices = spec.indices(block);
                prop_assert_eq!(indices.start, next);
                prop_assert!(!indices.is_empty());
                next = indices.end;
            }
            prop_assert_eq!(next, count);
        }
    }
}
