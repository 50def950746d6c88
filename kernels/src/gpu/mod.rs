//! GPUs: the seam between kernels and cards. Step 10 of a job's way (DESIGN section 4), on a card.
//!
//! A kernel asks a [`Device`] for the sums of one launch; which threads have which part, and in which order sums are
//! added, is written in the kernel's CUDA source and mirrored by the software device, so that everything around a card
//! is tested without one. Everything of CUDA is loaded at run time: a host without a driver runs as if this module were
//! not there.
//!
//! Invariants: a launch's geometry follows from the block alone, never from the card; partial sums are added in the order
//! of their indices; one class has one architecture, and cards of another are not used for it.

pub mod asian;
mod cache;
#[cfg(feature = "gpu")]
mod cuda;
mod software;
pub mod survey;

pub use survey::{Card, Survey, survey};

use crate::simd::Simd;
use asian::{Asian, Sums};
use muster_spec::{Problem, Problems, Target};

/// What folds blocks of the class `gpu-f32`.
pub enum Device {
    /// The cards of this host that have the architecture.
    #[cfg(feature = "gpu")]
    Cuda(cuda::Cards),
    /// None: a CPU computes what a card would, slowly.
    Software,
}

/// Why no card does what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// Built without the feature.
    #[error("this program was built without GPU support (feature `gpu`)")]
    NotBuilt,
    /// No library of the driver.
    #[error("the driver's library libcuda.so.1 is not on this host")]
    NoDriver,
    /// No NVRTC.
    #[error("NVRTC (libnvrtc.so) is not on this host, and what it would compile is not in the cache")]
    NoCompiler,
    /// There are cards, and of another architecture; or there is none.
    #[error("no GPU of the architecture {wanted} is to be seen on this host ({there})")]
    NoCard {
        /// What was asked for.
        wanted: Target,
        /// What there is.
        there: String,
    },
    /// NVRTC refused the source.
    #[error("NVRTC cannot compile for {arch}: {log}")]
    Compile {
        /// For which architecture.
        arch: Target,
        /// What it said.
        log: String,
    },
    /// The driver refused a call, or the card failed in it.
    #[error("{call} failed: {code}")]
    Driver {
        /// What was called.
        call: &'static str,
        /// The driver's word for it.
        code: String,
    },
}

impl From<GpuError> for Problems {
    /// A card that fails is an attempt that failed on this host; elsewhere the block may well be folded.
    fn from(error: GpuError) -> Problems {
        let hint = "`muster doctor` says which GPUs are used and why one is not";
        Problem::new("GPU", error.to_string()).hint(hint).of_host().into()
    }
}

impl Device {
    /// Opens what folds blocks for `target`.
    ///
    /// # Errors
    /// What is missing on this host.
    pub fn open(target: Target) -> Result<Device, GpuError> {
        match target {
            Target::Software => Ok(Device::Software),
            #[cfg(feature = "gpu")]
            Target::Sm(_) => cuda::Cards::open(target).map(Device::Cuda),
            #[cfg(not(feature = "gpu"))]
            Target::Sm(_) => Err(GpuError::NotBuilt),
        }
    }

    /// Walks the paths of `asian`: one launch.
    ///
    /// # Errors
    /// What went wrong on the card.
    pub fn asian(&self, asian: &Asian, simd: Simd) -> Result<Sums, GpuError> {
        match self {
            #[cfg(feature = "gpu")]
            Device::Cuda(cards) => cards.asian(asian),
            Device::Software => Ok(asian::add_up(simd.run(software::Launch(asian)).into_iter())),
        }
    }
}

/// Which architecture `--device gpu` means on this host: that of the first card that can be used.
///
/// # Errors
/// Why there is none.
pub fn here() -> Result<Target, GpuError> {
    #[cfg(feature = "gpu")]
    return cuda::first();
    #[cfg(not(feature = "gpu"))]
    Err(GpuError::NotBuilt)
}
