//! The answer as it is printed, and its receipt: what was computed, by which bits, so that any block can be computed
//! again and compared.
//!
//! Step 12 of a job's way (DESIGN section 4).

use crate::foreman::Answered;
use crate::program::Described;
use crate::progress::{plural, scaled};
use muster_kernels::hash::{self, Hash16};
use muster_kernels::{Class, Grid, Input};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The version of the receipt's format.
const FORMAT: u32 = 2;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The kernel's name.
    pub kernel: String,
    /// The answer.
    pub answer: Box<RawValue>,
    /// What its bits depend on.
    pub class: Class,
    /// BLAKE3 over kernel, class and the canonical encoding of the answer.
    pub hash: String,
    /// How many rounds, where the kernel goes round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// How many blocks, in each round.
    pub blocks: u32,
    /// How many teams were started.
    pub attempts: u32,
    /// The round that an earlier run had come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_round: Option<u32>,
    /// Blocks that an earlier run had finished, of that round.
    pub resumed_blocks: u32,
    /// Ranks of the last team.
    pub ranks: u32,
    /// Threads of the last team, in all ranks together.
    pub threads: u32,
    /// The vector instructions of rank 0.
    pub simd: String,
    /// Seconds from the start of the first team to the answer.
    pub elapsed_s: f64,
    /// Seconds from the first span to the root's partial, in the last team.
    pub fold_s: f64,
    /// Work a second, over `elapsed_s` and what this run computed.
    pub rate: Rate,
    /// Where the receipt is.
    pub receipt: Option<PathBuf>,
    #[serde(skip)]
    text: String,
}

/// A speed.
#[derive(Debug, Serialize)]
pub struct Rate {
    /// Units a second.
    pub value: f64,
    /// The unit.
    pub unit: String,
}

impl Answer {
    /// The answer to a request that took `elapsed_s`.
    ///
    /// # Panics
    /// Never: rank 0 sent JSON.
    pub fn new(described: &Described, answered: &Answered, elapsed_s: f64) -> Answer {
        let blocks = described.grid.blocks();
        let fresh = answered.mark.passes_to_end() - answered.resumed.passes();
        Answer {
            kernel: described.kernel.clone(),
            answer: RawValue::from_string(answered.finished.json.clone()).expect("rank 0 sends JSON"),
            class: described.class,
            hash: answered.finished.hash.clone(),
            rounds: answered.mark.round,
            blocks,
            attempts: answered.attempts,
            resumed_round: answered.resumed.round,
            resumed_blocks: answered.resumed.done,
            ranks: answered.team.ranks,
            threads: answered.team.threads,
            simd: answered.team.simd.clone(),
            elapsed_s,
            fold_s: answered.finished.fold_s,
            rate: Rate {
                value: described.work.total * fresh / elapsed_s.max(1e-9),
                unit: format!("{}/s", described.work.unit),
            },
            receipt: None,
            text: answered.finished.text.clone(),
        }
    }

    /// The answer as one JSON object.
    ///
    /// # Panics
    /// Never: every field encodes.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an answer encodes") + "\n"
    }

    /// The answer for people.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n\n", self.text.trim_end());
        let resumed = match (self.resumed_round.filter(|&round| round > 1), self.resumed_blocks) {
            (Some(round), n) => format!(", {n} of round {round} and all before it from an earlier run"),
            (None, 0) => String::new(),
            (None, n) => format!(", {n} of them from an earlier run"),
        };
        let rounds = match self.rounds {
            None => String::new(),
            Some(1) => " in one round".into(),
            Some(n) => format!(" in each of {n} rounds"),
        };
        out += &format!("class    {}\nhash     {}\n", self.class, self.hash);
        out += &format!("blocks   {}{rounds}{resumed}, {}\n", self.blocks, plural(self.attempts, "attempt"));
        out += &format!(
            "team     {}, {}, {}\n",
            plural(self.ranks, "rank"),
            plural(self.threads, "thread"),
            self.simd
        );
        out += &format!("time     {:.3} s, {} {}\n", self.elapsed_s, scaled(self.rate.value), self.rate.unit);
        if let Some(receipt) = &self.receipt {
            out += &format!("receipt  {}\n", receipt.display());
        }
        out
    }
}

/// What `verify` and `replay` need to know of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of muster.
    pub muster: String,
    /// The kernel's name.
    pub kernel: String,
    /// The program that has the kernel, when it is not built in.
    pub program: Option<PathBuf>,
    /// What the bits depend on.
    pub class: Class,
    /// The resolved spec.
    pub spec: Box<RawValue>,
    /// How many blocks.
    pub blocks: u32,
    /// How many rounds there were, where the kernel goes round; the leaves are those of the last.
    pub round: Option<u32>,
    /// What the last round began from: the bytes of its encoding in hexadecimal.
    pub state: String,
    /// The files that were read.
    pub inputs: Vec<Input>,
    /// The answer.
    pub answer: Box<RawValue>,
    /// Its hash.
    pub hash: String,
    /// The Merkle root over the leaves, along the block tree.
    pub root: String,
    /// The leaf hashes, 32 hexadecimal digits each.
    pub leaves: String,
    /// Host of each rank of the last team.
    pub hosts: Vec<String>,
    /// How many teams were started.
    pub attempts: u32,
}

/// Why a receipt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It cannot be read.
    #[error("cannot read the receipt {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Its parts do not fit together.
    #[error("the receipt {path} was changed: {what}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
}

impl Receipt {
    /// The receipt of an answer.
    pub fn new(described: &Described, answered: &Answered, answer: &Answer) -> Receipt {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("a resolved spec is JSON");
        Receipt {
            format: FORMAT,
            muster: env!("CARGO_PKG_VERSION").into(),
            kernel: described.kernel.clone(),
            program: described.program.as_ref().map(|p| p.path.clone()),
            class: described.class,
            spec: raw(&described.spec_json),
            blocks: described.grid.blocks(),
            round: answered.mark.round,
            state: answered.state.iter().map(|byte| format!("{byte:02x}")).collect(),
            inputs: described.inputs.clone(),
            answer: answer.answer.clone(),
            hash: answer.hash.clone(),
            root: hex(&hash::merkle_root(described.grid, &answered.leaves)),
            leaves: answered.leaves.iter().map(hex).collect(),
            hosts: answered.team.members.iter().map(|m| m.0.clone()).collect(),
            attempts: answered.attempts,
        }
    }

    /// Reads a receipt and checks that its root fits its leaves.
    ///
    /// # Errors
    /// When it cannot be read, has another format, or was changed.
    pub fn read(path: &Path) -> Result<Receipt, ReceiptError> {
        let unreadable = |why: String| ReceiptError::Unreadable { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
        let receipt: Receipt = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
        if receipt.format != FORMAT {
            return Err(unreadable(format!("it has format {}, this is format {FORMAT}", receipt.format)));
        }
        let inconsistent = |what| ReceiptError::Inconsistent { path: path.to_owned(), what };
        let leaves = receipt.leaves().ok_or(inconsistent("its leaf hashes cannot be read"))?;
        if leaves.len() != receipt.blocks as usize || receipt.blocks == 0 {
            return Err(inconsistent("it has not one leaf hash for each block"));
        }
        if hex(&hash::merkle_root(Grid::new(u64::from(receipt.blocks)), &leaves)) != receipt.root {
            return Err(inconsistent("its root is not that of its leaves"));
        }
        receipt.state().ok_or(inconsistent("its state cannot be read"))?;
        Ok(receipt)
    }

    /// What the last round began from, encoded; `None` when it is not hexadecimal.
    pub fn state(&self) -> Option<Vec<u8>> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        self.state.as_bytes().chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect()
    }

    /// The leaf hashes; `None` when they are not hexadecimal.
    pub fn leaves(&self) -> Option<Vec<Hash16>> {
        let digits = self.leaves.as_bytes();
        digits
            .chunks(32)
            .map(|chunk| {
                let text = std::str::from_utf8(chunk).ok().filter(|t| t.len() == 32)?;
                Some(u128::from_str_radix(text, 16).ok()?.to_be_bytes())
            })
            .collect()
    }
}

/// A hash in hexadecimal.
pub fn hex(hash: &Hash16) -> String {
    format!("{:032x}", u128::from_be_bytes(*hash))
}

/// Writes a file as a whole or not at all: beside its place first, then renamed.
///
/// # Errors
/// The operating system's; nothing is left behind then.
pub fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe is written to, not replaced.
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
    }
    let name = path.file_name().ok_or(std::io::ErrorKind::IsADirectory)?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_data()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let scratch = Scratch::new("atomic");
        let path = scratch.path().join("answer.json");
        write_atomically(&path, "one").unwrap();
        write_atomically(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert!(write_atomically(Path::new("/dev/full"), "x").is_err(), "a full disk");
        write_atomically(Path::new("/dev/null"), "x").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file(), "a device is not replaced");
        assert!(write_atomically(&scratch.path().join("nosuch/x"), "x").is_err());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn hashes_read_back() {
        let leaf = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(hex(&leaf), "000102030405060708090a0b0c0d0eff");
    }
}
