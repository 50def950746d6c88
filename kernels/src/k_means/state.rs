//! What a round begins from, and what its blocks yield.
//!
//! Round 1 surveys the columns and draws a sample. The rounds of Lloyd move the centroids. The last one measures the
//! clusters of the centroids that stay.

use super::survey::Survey;
use crate::kernel::Partial;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where distances are taken: each column less its mean, in its own unit or in standard deviations. Subtracting the
/// mean keeps digits where values lie far from zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// What is subtracted from each column: its mean.
    pub offset: Vec<f64>,
    /// By what it is then multiplied: 1, or 1 over its standard deviation.
    pub factor: Vec<f64>,
    /// The largest size that a value then has.
    pub reach: Vec<f64>,
    /// The mean variance of the columns then (divided by n, as in scikit-learn's tolerance).
    pub variance: f64,
    /// Rows that take part.
    pub rows: u64,
    /// Rows that the filter takes, but a value is missing.
    pub missing: u64,
}

/// What a round of k-means begins from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KMeansState {
    /// The columns and a sample are to be looked at.
    Survey,
    /// Each row is to be given to its nearest centroid.
    Lloyd(Standing),
    /// The clusters of the final centroids are to be measured; whether these stand still.
    Measure(Standing, bool),
}

/// Centroids in their frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Where distances are taken.
    pub frame: Frame,
    /// How often the centroids were moved.
    pub moves: u32,
    /// Row by row, in the frame.
    pub centroids: Vec<f64>,
}

/// What blocks of k-means yield.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KMeansPartial {
    /// Of the first round.
    Survey(Survey),
    /// Of a round of Lloyd.
    Sums(ClusterSums),
    /// Of the last round.
    Spread(Spread),
}

/// Sizes of clusters and sums of their rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterSums {
    /// Rows of each cluster.
    pub counts: Vec<u64>,
    /// Sums of whole numbers of quanta: cluster by cluster, column by column. They do not round, so the order of the
    /// rows is of no matter, and a row may leave a cluster without a trace.
    #[serde(with = "halves")]
    pub sums: Vec<i128>,
}

/// Sizes of clusters and how far their rows lie from the centroids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Rows of each cluster.
    pub counts: Vec<u64>,
    /// The sums of their squared distances.
    pub inertia: Vec<f64>,
}

impl Partial for KMeansPartial {
    fn merge(self, right: Self) -> Self {
        match (self, right) {
            (Self::Survey(a), Self::Survey(b)) => Self::Survey(a.merge(b)),
            (Self::Sums(mut a), Self::Sums(b)) => {
                a.counts.iter_mut().zip(b.counts).for_each(|(a, b)| *a += b);
                a.sums.iter_mut().zip(b.sums).for_each(|(a, b)| *a += b);
                Self::Sums(a)
            }
            (Self::Spread(mut a), Self::Spread(b)) => {
                a.counts.iter_mut().zip(b.counts).for_each(|(a, b)| *a += b);
                a.inertia.iter_mut().zip(b.inertia).for_each(|(a, b)| *a += b);
                Self::Spread(a)
            }
            _ => unreachable!("blocks of one round yield partials of one kind"),
        }
    }
}

/// Whole numbers of 128 bits as two of 64, which every format has.
mod halves {
    use super::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(sums: &[i128], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(sums.iter().map(|&x| ((x >> 64) as i64, x as u64)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i128>, D::Error> {
        let halves = Vec::<(i64, u64)>::deserialize(deserializer)?;
        Ok(halves.into_iter().map(|(high, low)| i128::from(high) << 64 | i128::from(low)).collect())
    }
}
