//! The cluster: hosts down to their NUMA domains, what jobs ask of them, and what is taken until when.
//!
//! Part of step 5 of a job's way (DESIGN section 4). [`Hosts`] is the [`Machine`](crate::policy::machine::Machine) of a
//! real cluster. What fits is decided by counts of a host (CPUs, memory, GPUs); which cores and whose memory, down to
//! the domain, is chosen when a job starts, and never turns a start that fits into one that does not.
//!
//! Cost follows request classes and changed hosts, never the queue: equal requests are one class, and each class
//! keeps a summary of where it has room, brought up to date from a log of the hosts that changed.

mod bits;
mod class;
mod constraint;
mod course;
mod free;
mod held;
mod host;
mod hosts;
mod licence;
mod machine;
mod misfit;
mod place;
mod promise;
pub(crate) mod promises;
mod request;
mod room;
mod roster;
mod select;
mod shape;
mod stopped;
mod synthetic;
mod wait;

mod window;

pub use bits::Bits;
pub use class::ClassId;
pub use constraint::{Constraint, ConstraintError, Expr};
pub(crate) use course::Wish;
pub use held::{Allocation, Part};
pub use host::{Host, HostId, HostState};
pub use hosts::{Hosts, HostsError};
pub use misfit::Misfit;
pub use promise::{Earmark, EarmarkedHost};
pub use request::{Gpus, Layout, Only, Per, Request, Sharing, Tasks};
pub use shape::{Domain, Gpu, Shape, ShapeError};

pub use synthetic::synthetic;
pub use wait::{Holder, Missing, Scarce, Wait};
pub use window::{Purpose, ReservationId, Window};
