//! The two traits that a kernel is made of. The same traits serve the built-in kernels and a user's own crate.
//! A kernel that goes round implements `Iterate` (`iterate.rs`) in the place of [`Kernel`].

use crate::fold::Fold;
use muster_spec::{Class, Grid, Problems};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The mergeable result of a node of the block tree.
///
/// The encoding (postcard over serde) is what the ledger stores and the leaf hashes cover: equal partials must encode
/// to equal bytes, so maps are sorted by key and NaN, where it can occur, has one bit pattern.
pub trait Partial: Serialize + DeserializeOwned + Send + 'static {
    /// The partial of a parent from its left child (`self`) and its right child. Under [`Order::Free`] it is called
    /// with any two partials of disjoint blocks, and must be exact, commutative and associative.
    #[must_use]
    fn merge(self, right: Self) -> Self;

    /// Puts into `hasher` what tells this partial from others: the hash of a leaf covers it. By default that is the
    /// whole encoding; a large partial may have something cheaper.
    fn digest(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&postcard::to_stdvec(self).expect("a partial encodes"));
    }

    /// About how many bytes its encoding has, where that may be much: a large partial is committed the more seldom, the
    /// first time, too.
    fn bytes(&self) -> u64 {
        0
    }
}

/// In which order partials merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Up the canonical tree, always `left.merge(right)`: for anything that rounds.
    Tree,
    /// In any order, because merging is exact: integers, minimum and maximum, fixed-bin accumulators, sets.
    Free,
    /// As [`Order::Free`], for partials that are large beside a block, such as tables of many groups: every thread adds
    /// its blocks to a partial of its own, by [`Kernel::add`], and these merge for a commit and at the end. The hash of
    /// a leaf covers what the block notes as read ([`Fold::note_read`]), and no partial.
    Running,
}

/// What an answer's rate counts: `total` units of work over the whole grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Units in the whole job, such as paths times steps.
    pub total: f64,
    /// The plural name of the unit, such as `path-steps`.
    pub unit: String,
}

/// A file that the answer depends on, as it was found when the job was prepared. A resume refuses one that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Absolute path.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub modified_ns: u64,
}

impl Input {
    /// Looks at the file.
    ///
    /// # Errors
    /// The operating system's, where the file cannot be looked at.
    pub fn of(path: &Path) -> std::io::Result<Input> {
        let meta = std::fs::metadata(path)?;
        let since = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Input { path: path.to_owned(), bytes: meta.len(), modified_ns: since.as_nanos() as u64 })
    }
}

/// A computation over an index space: the mathematics of one block, one merge, and the last step.
pub trait Kernel: Sized + Send + Sync + 'static {
    /// The parameters: command-line flags by clap, the canonical request by serde. Two specs that encode to the same
    /// JSON are the same job.
    type Spec: clap::Args + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a block yields and nodes merge.
    type Partial: Partial;
    /// The final value: printed for people by `Display`, for programs by serde.
    type Answer: Serialize + Display;

    /// The name on the command line.
    const NAME: &'static str;

    /// Called once, where the job is asked for: replaces what a spec only points at (a book of options) by its
    /// content, fills in defaults, and checks every parameter.
    ///
    /// # Errors
    /// Every problem of the spec at once.
    fn resolve(spec: Self::Spec) -> Result<Self::Spec, Problems> {
        Ok(spec)
    }

    /// The part of a resolved spec that the answer's bits depend on: it names the job and its ledger. What is left out,
    /// such as a time limit for each block, may differ between a run and its `--resume`.
    fn identity(spec: &Self::Spec) -> Self::Spec {
        spec.clone()
    }

    /// Called on every rank with the resolved spec: opens inputs and computes what all blocks share.
    ///
    /// # Errors
    /// Every problem of the spec and its inputs at once.
    fn prepare(spec: &Self::Spec) -> Result<Self, Problems>;

    /// How the index space is cut: by the spec and the inputs alone, never by the machine; blocks of about 5 to 50 ms.
    fn grid(&self) -> Grid;

    /// What the bits of a block depend on.
    fn class(&self) -> Class;

    /// In which order partials merge.
    fn order(&self) -> Order {
        Order::Tree
    }

    /// How much work the whole grid is.
    fn work(&self) -> Work;

    /// The files that were opened.
    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }

    /// Computes one block, single-threaded and from the spec and inputs alone. The same block gives the same bits on
    /// any thread of any host.
    ///
    /// # Errors
    /// What is wrong with the input, by file and line.
    fn fold(&self, block: u32, cx: &mut Fold) -> Result<Self::Partial, Problems>;

    /// Adds one block to the partial of others, if there is one yet, under [`Order::Running`]: the same as merging what
    /// [`Kernel::fold`] returns, and faster.
    ///
    /// # Errors
    /// As [`Kernel::fold`]; what was there is lost then.
    fn add(&self, block: u32, cx: &mut Fold, to: &mut Option<Self::Partial>) -> Result<(), Problems> {
        let partial = self.fold(block, cx)?;
        *to = Some(match to.take() {
            Some(before) => self.merge(before, partial)?,
            None => partial,
        });
        Ok(())
    }

    /// [`Partial::merge`], for a kernel whose merge can fail or needs what was prepared. The worker merges by this.
    ///
    /// # Errors
    /// Why the two do not merge; the job ends.
    fn merge(&self, left: Self::Partial, right: Self::Partial) -> Result<Self::Partial, Problems> {
        Ok(left.merge(right))
    }

    /// The answer from the partial of the whole grid.
    ///
    /// # Errors
    /// Why there is no answer, such as too few values.
    fn finish(&self, root: Self::Partial) -> Result<Self::Answer, Problems>;
}
