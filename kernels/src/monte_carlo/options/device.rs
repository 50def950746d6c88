//! Options whose paths a device walks: the class `gpu-f32`.
//!
//! Invariant: nothing is opened before the first block is folded, so that a request can be described, and its job
//! queued, where there is no card.

use super::partial::Moments;
use crate::gpu::asian::Asian;
use crate::gpu::{Device, GpuError};
use crate::math::philox::Philox;
use crate::simd::Simd;
use muster_spec::monte_carlo::Contract;
use muster_spec::{Problems, Target};
use std::ops::Range;
use std::sync::OnceLock;

/// The launches of every option of a book.
pub(super) struct OnDevice {
    target: Target,
    asians: Vec<Asian>,
    device: OnceLock<Result<Device, GpuError>>,
}

impl OnDevice {
    pub(super) fn new(target: Target, contracts: &[Contract], rng: Philox) -> OnDevice {
        let asians = contracts.iter().zip(0..).map(|(contract, i)| Asian::new(contract, rng, i)).collect();
        OnDevice { target, asians, device: OnceLock::new() }
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// The moments of a block, in one launch.
    ///
    /// # Errors
    /// What is wrong with the card.
    pub(super) fn fold(&self, option: usize, paths: &Range<u64>, simd: Simd) -> Result<Moments, Problems> {
        let device = self.device.get_or_init(|| Device::open(self.target)).as_ref().map_err(Clone::clone)?;
        let asian = self.asians[option].over(paths);
        let (mean, m2) = asian.moments(device.asian(&asian, simd)?);
        Ok(Moments::new(mean, m2))
    }
}
