//! The answer: each cluster's size, inertia and centroid, in the columns' own units.

use super::state::{Spread, Standing};
use serde::Serialize;
use std::fmt;

/// Columns of centroids that are printed for people.
const SHOWN: usize = 8;

/// The clusters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KMeansAnswer {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// In the order of the start.
    pub clusters: Vec<Cluster>,
    /// The sum of squared distances of the rows from their centroids; with `--scale`, in standard deviations.
    pub inertia: f64,
    /// How often the centroids were moved.
    pub rounds: u32,
    /// Whether they moved by no more than the tolerance in the end.
    pub converged: bool,
    /// Rows that took part.
    pub rows: u64,
    /// Rows that were left out, as a value is missing.
    pub missing: u64,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Rows in it.
    pub size: u64,
    /// The sum of their squared distances from the centroid.
    pub inertia: f64,
    /// The mean of its rows, column by column; where there are none, what it began from.
    pub centroid: Vec<f64>,
}

pub(super) fn of(names: &[String], standing: &Standing, converged: bool, spread: &Spread) -> KMeansAnswer {
    let frame = &standing.frame;
    let outside = |centroid: &[f64]| {
        let columns = centroid.iter().zip(&frame.factor).zip(&frame.offset);
        columns.map(|((c, factor), offset)| c / factor + offset).collect()
    };
    let clusters = standing.centroids.chunks_exact(names.len()).zip(&spread.counts).zip(&spread.inertia);
    KMeansAnswer {
        columns: names.to_vec(),
        clusters: clusters
            .map(|((c, &size), &inertia)| Cluster { size, inertia, centroid: outside(c) })
            .collect(),
        inertia: spread.inertia.iter().sum(),
        rounds: standing.moves,
        converged,
        rows: frame.rows,
        missing: frame.missing,
    }
}

impl fmt::Display for KMeansAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.columns.iter().take(SHOWN).map(|name| cut(name)).collect();
        write!(f, "{:>7} {:>13} {:>12}", "cluster", "rows", "inertia")?;
        names.iter().try_for_each(|name| write!(f, " {name:>12}"))?;
        writeln!(f)?;
        for (k, cluster) in self.clusters.iter().enumerate() {
            write!(f, "{k:>7} {:>13} {:>12}", cluster.size, short(cluster.inertia))?;
            cluster.centroid.iter().take(SHOWN).try_for_each(|&c| write!(f, " {:>12}", short(c)))?;
            writeln!(f)?;
        }
        if self.columns.len() > SHOWN {
            writeln!(f, "{} more columns are in --json", self.columns.len() - SHOWN)?;
        }
        let end = if self.converged { "then they stood still" } else { "and they still moved" };
        let rounds = if self.rounds == 1 { "once" } else { &format!("{} times", self.rounds) };
        writeln!(f, "inertia {}; centroids moved {rounds}, {end}", self.inertia)?;
        let empty = self.clusters.iter().filter(|c| c.size == 0).count();
        if empty > 0 {
            writeln!(f, "{empty} clusters are empty: their centroids lie where they began or were left")?;
        }
        if self.missing > 0 {
            writeln!(f, "left out: {} rows in which a value is missing", self.missing)?;
        }
        Ok(())
    }
}

/// A name in at most 12 characters.
fn cut(name: &str) -> String {
    if name.chars().count() <= 12 { name.to_owned() } else { name.chars().take(11).chain(['…']).collect() }
}

/// A number in at most 12 characters.
fn short(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || (1e-3..1e6).contains(&size) { format!("{x:.4}") } else { format!("{x:.4e}") }
}
