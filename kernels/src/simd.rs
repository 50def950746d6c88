//! placeholder
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Simd { Scalar }
