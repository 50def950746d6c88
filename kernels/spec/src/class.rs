//! The arithmetic class: what a block's bits depend on. Answers are comparable bit for bit within one class only.

use crate::device::Target;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the bits of a block depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Integers, minimum and maximum: the same bits on any hardware.
    Exact,
    /// Muster's own mathematics in f64: fixed lanes, fused multiply-add where written and nowhere else. Needs FMA.
    PortableF64,
    /// Paths in f32 with a GPU's approximate instructions, sums in f64: the bits depend on the architecture.
    GpuF32(Target),
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Exact => f.write_str("exact"),
            Class::PortableF64 => f.write_str("portable-f64"),
            Class::GpuF32(target) => write!(f, "gpu-f32@{target}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_gpus_names_the_architecture() {
        let class = Class::GpuF32(Target::Sm(90));
        assert_eq!(class.to_string(), "gpu-f32@sm_90");
        let json = serde_json::to_string(&class).unwrap();
        assert_eq!(json, r#"{"gpu-f32":"sm_90"}"#);
        assert_eq!(serde_json::from_str::<Class>(&json).unwrap(), class);
    }
}
