//! What a policy plans over: resources that are taken now and given back at estimated times.
//!
//! Two implement it: a pool of processors that are counted, as in workload traces; and the hosts of a
//! cluster, down to the NUMA domain. A pass over the queue is written once, over this trait.

use crate::time::Time;

/// What runs, by a number of the caller's that no other running thing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Running(pub u64);

/// Resources that running jobs hold until their estimated ends.
pub trait Machine {
    /// What a job asks for. Equal requests fit or do not fit together, so a pass asks once: it remembers what it has
    /// tried by a small number that equal requests share and no others do.
    type Request: Copy + Eq + Into<u32>;
    /// Where a started job runs.
    type Place;
    /// Resources promised to one waiting job at a time to come.
    type Promise: Promise;

    /// Nothing wider than this fits now, in the width that the queue's entries carry: a pass does not ask for more. It
    /// may be more than what fits, never less.
    fn free(&self) -> u32;

    /// How many processors there are, in the width that the queue's entries carry.
    fn size(&self) -> u32;

    /// When the last of what runs has ended by its estimate; `now` when nothing runs, or all of it should have ended.
    fn drained(&self, now: Time) -> Time;

    /// Whether `request` could start now if nothing were promised to anybody.
    fn fits(&mut self, request: Self::Request) -> bool;

    /// Whether a job that fits may be refused for its end alone, without a promise to anybody: it would run into
    /// resources that are kept for others later. A shorter one may start then.
    fn minds_ends(&self) -> bool {
        false
    }

    /// Takes resources for `running`, to be given back at `end` by its estimate, and tells where; none when it does not
    /// fit. With a promise it starts only if that is not delayed: it ends by then, or takes what is spare beside it,
    /// which is less thereafter.
    fn start(
        &mut self,
        running: Running,
        request: Self::Request,
        end: Time,
        beside: Option<&mut Self::Promise>,
    ) -> Option<Self::Place>;

    /// Gives back what `running` holds; nothing when it holds nothing.
    fn finish(&mut self, running: Running);

    /// The earliest promise that can be made to `request`, for a job that `lasts` so many ticks by its estimate, by the
    /// estimates of what runs, those that have passed counting as `now`; none when it would not fit an empty machine.
    fn promise(&mut self, request: Self::Request, now: Time, lasts: i64) -> Option<Self::Promise>;
}

/// Resources promised to one waiting job.
pub trait Promise {
    /// When its job can start.
    fn at(&self) -> Time;

    /// Nothing wider than this may start and outlive [`Promise::at`]. It may be more than what may, never less.
    fn spare(&self) -> u32;
}
