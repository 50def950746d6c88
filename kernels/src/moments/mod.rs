//! The kernel `moments`: count, mean, variance, skewness, kurtosis, minimum and maximum of columns.

pub mod column;
mod kernel;

pub use column::{ColumnMoments, of_slice};
pub use kernel::{Moments, MomentsAnswer, MomentsPartial};
