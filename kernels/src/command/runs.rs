//! What a run is told of its share: environment variables and the words in braces; and the line that tries it alone.

use crate::math::philox::Philox;
use muster_spec::command::CommandSpec;
use std::path::Path;
use std::process::Command;

/// Variables that keep a library from starting threads of its own: the runs fill the cores.
const THREADS: [&str; 6] = [
    "MUSTER_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

/// The beginnings of variables by which a launcher tells a rank who it is. A run is no rank: a program that uses MPI
/// would take part in the team.
const OF_RANKS: [&str; 6] = ["MUSTER_FOREMAN", "OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_"];

/// The stream of numbers that the blocks' seeds are drawn from.
const STREAM: u32 = 0x636d_6431;

/// One block, as its run is told of it.
pub(super) struct Share {
    /// Name in braces, the variable, the value.
    told: [(&'static str, &'static str, u64); 6],
}

impl Share {
    pub(super) fn of(spec: &CommandSpec, block: u32) -> Share {
        let indices = spec.indices(block);
        Share {
            told: [
                ("{block}", "MUSTER_BLOCK", u64::from(block)),
                ("{blocks}", "MUSTER_BLOCKS", u64::from(spec.grid().blocks())),
                ("{start}", "MUSTER_START", indices.start),
                ("{end}", "MUSTER_END", indices.end),
                ("{count}", "MUSTER_COUNT", spec.count.0),
                ("{seed}", "MUSTER_SEED", u64::from(block_seed(spec.seed, block))),
            ],
        }
    }

    /// A word with the numbers in the places of the braces.
    pub(super) fn fill(&self, word: &str) -> String {
        self.told.iter().fold(word.to_owned(), |word, (braces, _, value)| {
            if word.contains(braces) { word.replace(braces, &value.to_string()) } else { word }
        })
    }

    /// Sets the environment of a run.
    pub(super) fn tell(&self, command: &mut Command) {
        environment(command);
        command.envs(self.told.iter().map(|(_, variable, value)| (variable, value.to_string())));
    }

    /// A line for a shell that does the same by itself.
    pub(super) fn alone(&self, spec: &CommandSpec, folder: &Path) -> String {
        let mut line = format!("cd {} &&", quoted(&folder.display().to_string()));
        for (_, variable, value) in &self.told {
            line += &format!(" {variable}={value}");
        }
        if spec.files.is_some() {
            line += " MUSTER_OUT=$(mktemp -d)";
        }
        line += " MUSTER_THREADS=1";
        for (at, word) in spec.words.iter().enumerate() {
            line += " ";
            line += &quoted(&if at == 0 { word.clone() } else { self.fill(word) });
        }
        line
    }
}

/// Sets what every process of ours gets: one thread, and nothing of the rank's own.
pub(super) fn environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if OF_RANKS.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command.envs(THREADS.map(|name| (name, "1")));
    if std::env::var_os("PYTHONHASHSEED").is_none() {
        // Without it the order of a Python set differs from run to run, and so would the answer's hash.
        command.env("PYTHONHASHSEED", "0");
    }
}

/// A word as a shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The seed of a block: 31 bits, as R, Fortran and old generators take no more, and another one for every block of a
/// job. A keyed permutation of 32 bits (four Feistel rounds, Luby and Rackoff 1988, with Philox as the function),
/// applied until the result has 31.
pub(super) fn block_seed(seed: u64, block: u32) -> u32 {
    let rng = Philox::new(seed);
    let mut value = block;
    loop {
        let (mut left, mut right) = (value >> 16, value & 0xffff);
        for round in 0..4 {
            let word = rng.words([right, round, 0, STREAM])[0] & 0xffff;
            (left, right) = (right, left ^ word);
        }
        value = left << 16 | right;
        if value < 1 << 31 {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_block_has_another_seed() {
        let seeds: BTreeSet<u32> = (0..1 << 20).map(|block| block_seed(7, block)).collect();
        assert_eq!(seeds.len(), 1 << 20);
        assert!(*seeds.last().unwrap() < 1 << 31 && *seeds.first().unwrap() < 1 << 14);
        let ones: u32 = seeds.iter().map(|s| s.count_ones()).sum();
        let mean = f64::from(ones) / f64::from(1 << 20);
        assert!((mean - 15.5).abs() < 0.02, "{mean} of 31 bits are set");
        assert_ne!(block_seed(1, 0), block_seed(2, 0));
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for word in ["plain", "", "a b", "it's", "$x", "{start}", "--a=b,c", "\n", "*"] {
            let said =
                Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output().unwrap();
            assert_eq!(said.stdout, word.as_bytes(), "{word:?}");
        }
    }
}
