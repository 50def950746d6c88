//! How long the words of a text file are. A word is what stands between bytes of white space.
//!
//! A *reduce* kernel that reads a file: blocks are ranges of bytes, cut by the file alone, and a line belongs to the
//! block in whose range its first byte lies.

use muster_kernels::quantity::InputPath;
use muster_kernels::{Class, Fold, Grid, Input, Kernel, Partial, Problem, Problems, Work};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, fs::File, io::BufRead, io::BufReader};

/// Bytes of one block: some ten milliseconds.
const BLOCK: u64 = 4 << 20;

/// Counts the words of a text file by their length in bytes.
#[derive(clap::Args, Clone, Serialize, Deserialize)]
struct WordsSpec {
    /// A text file
    file: InputPath,
}

/// How many words there are of each length: the partial, and the answer, too.
#[derive(Serialize, Deserialize)]
struct Lengths(BTreeMap<usize, u64>);

impl Partial for Lengths {
    fn merge(mut self, right: Self) -> Self {
        right.0.into_iter().for_each(|(length, words)| *self.0.entry(length).or_default() += words);
        self
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(length, words)| writeln!(f, "{length:>6} {words:>12}"))
    }
}

struct Words(Input);

impl Words {
    fn count(&self, block: u32, cx: &mut Fold) -> std::io::Result<Lengths> {
        let range = self.grid().share(self.0.bytes, block);
        let (mut at, mut line, mut lengths) = (range.start.saturating_sub(1), Vec::new(), BTreeMap::new());
        let mut text = BufReader::new(File::open(&self.0.path)?);
        text.seek_relative(at as i64)?;
        if range.start > 0 {
            at += text.read_until(b'\n', &mut line)? as u64; // The block before has this line.
        }
        while at < range.end {
            line.clear();
            at += text.read_until(b'\n', &mut line)?.max(1) as u64;
            cx.note_read(&line);
            for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
                *lengths.entry(word.len()).or_default() += 1;
            }
        }
        Ok(Lengths(lengths))
    }
}

impl Kernel for Words {
    type Spec = WordsSpec;
    type Partial = Lengths;
    type Answer = Lengths;

    const NAME: &'static str = "words";

    fn prepare(spec: &WordsSpec) -> Result<Self, Problems> {
        let unreadable = |e| Problem::new(spec.file.to_string(), format!("cannot be read: {e}"));
        Ok(Words(Input::of(spec.file.path()).map_err(unreadable)?))
    }

    fn grid(&self) -> Grid {
        Grid::new(self.0.bytes.div_ceil(BLOCK))
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        Work { total: self.0.bytes as f64, unit: "bytes".into() }
    }

    fn inputs(&self) -> Vec<Input> {
        vec![self.0.clone()]
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<Lengths, Problems> {
        self.count(block, cx)
            .map_err(|e| Problem::new(self.0.path.display().to_string(), e.to_string()).into())
    }

    fn finish(&self, root: Lengths) -> Result<Lengths, Problems> {
        Ok(root)
    }
}

muster_rank::main!(Words);
