//! The trait of a kernel that goes round: `finish` returns an answer, or the state that the next round begins from.
//!
//! Step 10 of a job's way (DESIGN section 4). The runtime knows this trait alone: a [`Kernel`] is one of these with a
//! single round and no state.

use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Order, Partial, Work};
use muster_spec::{Class, Grid, Problems};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Display;

/// What a round leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn<S, A> {
    /// It was the last.
    Answer(A),
    /// Another one, which begins from this state.
    Next(S),
}

/// How a kernel uses the index space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Each block is folded once.
    Reduce,
    /// Each block is folded once in each round.
    Iterate,
}

/// A computation in rounds over an index space, such as k-means: in each round every block is folded, with the round's
/// state at hand, and the partials merge; [`Iterate::finish`] then returns the answer or the next round's state.
///
/// Write this trait *instead of* [`Kernel`], which it equals but for `State`, `start`, and the state in `fold` and
/// `finish`. Every rank has a round's state before it folds a block of it, and gets it in its encoding (postcard over
/// serde), as the ledger and the receipt do: a kill costs what was folded in this round since the last commit, no
/// earlier round, and no bit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kernel",
    note = "implement `Kernel` (each block is folded once) or `Iterate` (in rounds, with a state)"
)]
pub trait Iterate: Sized + Send + Sync + 'static {
    /// As [`Kernel::Spec`].
    type Spec: clap::Args + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a round begins from, the same on every rank. Equal states encode to equal bytes: no hash maps.
    type State: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// As [`Kernel::Partial`].
    type Partial: Partial;
    /// As [`Kernel::Answer`].
    type Answer: Serialize + Display;

    /// As [`Kernel::NAME`].
    const NAME: &'static str;

    /// What the trait says: leave it as it is.
    const PATTERN: Pattern = Pattern::Iterate;

    /// As [`Kernel::resolve`].
    ///
    /// # Errors
    /// Every problem of the spec at once.
    fn resolve(spec: Self::Spec) -> Result<Self::Spec, Problems> {
        Ok(spec)
    }

    /// As [`Kernel::identity`].
    fn identity(spec: &Self::Spec) -> Self::Spec {
        spec.clone()
    }

    /// As [`Kernel::prepare`].
    ///
    /// # Errors
    /// Every problem of the spec and its inputs at once.
    fn prepare(spec: &Self::Spec) -> Result<Self, Problems>;

    /// As [`Kernel::merge`].
    ///
    /// # Errors
    /// Why the two do not merge; the job ends.
    fn merge(&self, left: Self::Partial, right: Self::Partial) -> Result<Self::Partial, Problems> {
        Ok(left.merge(right))
    }

    /// As [`Kernel::grid`]; the same in every round.
    fn grid(&self) -> Grid;

    /// As [`Kernel::class`].
    fn class(&self) -> Class;

    /// As [`Kernel::order`].
    fn order(&self) -> Order {
        Order::Tree
    }

    /// How much work one round is.
    fn work(&self) -> Work;

    /// As [`Kernel::inputs`].
    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }

    /// The state that the first round begins from, from the spec and inputs alone. Called on rank 0, on one thread,
    /// while the others wait: what takes long is a round of its own.
    ///
    /// # Errors
    /// Why there is none.
    fn start(&self) -> Result<Self::State, Problems>;

    /// As [`Kernel::fold`], in the round that began from `state`.
    ///
    /// # Errors
    /// What is wrong with the input, by file and line.
    fn fold(&self, state: &Self::State, block: u32, cx: &mut Fold) -> Result<Self::Partial, Problems>;

    /// As [`Kernel::add`], in the round that began from `state`.
    ///
    /// # Errors
    /// As [`Iterate::fold`]; what was there is lost then.
    fn add(
        &self,
        state: &Self::State,
        block: u32,
        cx: &mut Fold,
        to: &mut Option<Self::Partial>,
    ) -> Result<(), Problems> {
        let partial = self.fold(state, block, cx)?;
        *to = Some(match to.take() {
            Some(before) => self.merge(before, partial)?,
            None => partial,
        });
        Ok(())
    }

    /// What the round that began from `state` leads to, from the partial of the whole grid. Called on rank 0, on one
    /// thread, while the others wait. Rounds must come to an end: the state counts them, where nothing else does.
    ///
    /// # Errors
    /// Why there is no answer, such as too few values.
    fn finish(
        &self,
        state: &Self::State,
        root: Self::Partial,
    ) -> Result<Turn<Self::State, Self::Answer>, Problems>;
}

impl<K: Kernel> Iterate for K {
    type Spec = <K as Kernel>::Spec;
    type State = ();
    type Partial = <K as Kernel>::Partial;
    type Answer = <K as Kernel>::Answer;

    const NAME: &'static str = <K as Kernel>::NAME;
    const PATTERN: Pattern = Pattern::Reduce;

    fn resolve(spec: Self::Spec) -> Result<Self::Spec, Problems> {
        <K as Kernel>::resolve(spec)
    }

    fn identity(spec: &Self::Spec) -> Self::Spec {
        <K as Kernel>::identity(spec)
    }

    fn prepare(spec: &Self::Spec) -> Result<Self, Problems> {
        <K as Kernel>::prepare(spec)
    }

    fn merge(&self, left: Self::Partial, right: Self::Partial) -> Result<Self::Partial, Problems> {
        Kernel::merge(self, left, right)
    }

    fn grid(&self) -> Grid {
        Kernel::grid(self)
    }

    fn class(&self) -> Class {
        Kernel::class(self)
    }

    fn order(&self) -> Order {
        Kernel::order(self)
    }

    fn work(&self) -> Work {
        Kernel::work(self)
    }

    fn inputs(&self) -> Vec<Input> {
        Kernel::inputs(self)
    }

    fn start(&self) -> Result<(), Problems> {
        Ok(())
    }

    fn fold(&self, (): &(), block: u32, cx: &mut Fold) -> Result<Self::Partial, Problems> {
        Kernel::fold(self, block, cx)
    }

    fn add(
        &self,
        (): &(),
        block: u32,
        cx: &mut Fold,
        to: &mut Option<Self::Partial>,
    ) -> Result<(), Problems> {
        Kernel::add(self, block, cx, to)
    }

    fn finish(&self, (): &(), root: Self::Partial) -> Result<Turn<(), Self::Answer>, Problems> {
        Kernel::finish(self, root).map(Turn::Answer)
    }
}
