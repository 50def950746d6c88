//! The bins of one column, and which bin a value is in.
//!
//! Edges decide alone, by comparison: a bin holds `edges[i] <= x < edges[i + 1]`, the last one its upper edge, too.
//! Arithmetic only guesses where to look.

use crate::simd::{Lanes, Simd, Vectorised};
use muster_spec::histogram::{Bins, MAX_CELLS, Range};
use serde::{Deserialize, Serialize};

/// Up to here f64 has every whole number.
const WHOLE: f64 = (1u64 << 53) as f64;

/// Bins of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// In the column's units, rising; one more than there are bins.
    pub edges: Vec<f64>,
    /// Bins for each unit, where all are of one width.
    scale: Option<f64>,
}

impl Axis {
    /// The bins that were asked for, where values need not be known.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn asked(bins: &Bins, range: Option<Range>) -> Result<Option<Axis>, String> {
        match (bins, range) {
            (Bins::Edges(edges), _) => Ok(Some(Axis { edges: edges.clone(), scale: None })),
            (Bins::Count(count), Some(range)) => Axis::count(*count, range).map(Some),
            (Bins::Width(width), Some(range)) => Axis::width(*width, (range.low, range), 0.0).map(Some),
            (_, None) => Ok(None),
        }
    }

    /// The bins that were asked for without a range, for values from `low` to `high`: for one value alone, as numpy, a
    /// unit about it; of a width, multiples of it.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn around(bins: &Bins, (low, high): (f64, f64)) -> Result<Axis, String> {
        match bins {
            Bins::Edges(edges) => Ok(Axis { edges: edges.clone(), scale: None }),
            Bins::Count(count) if low == high => {
                Axis::count(*count, Range { low: low - 0.5, high: high + 0.5 })
            }
            Bins::Count(count) => Axis::count(*count, Range { low, high }),
            Bins::Width(width) => {
                let mut first = (low / width).floor();
                if first.abs() > WHOLE {
                    return Err(format!("width={width} is too narrow for f64 at {low}"));
                }
                while first * width > low {
                    first -= 1.0;
                }
                Axis::width(*width, (0.0, Range { low: first * width, high }), first)
            }
        }
    }

    /// The edges of numpy's `linspace`.
    fn count(count: usize, Range { low, high }: Range) -> Result<Axis, String> {
        let step = (high - low) / count as f64;
        let mut edges: Vec<f64> = (0..count).map(|i| i as f64 * step + low).collect();
        edges.push(high);
        Axis::even(edges)
    }

    /// Edges at `origin` and multiples of a width from it, from the `first` one on, until they reach the range's end.
    fn width(width: f64, (origin, range): (f64, Range), first: f64) -> Result<Axis, String> {
        let edge = |i: usize| origin + (first + i as f64) * width;
        let about = (range.high - range.low) / width;
        if about > MAX_CELLS as f64 {
            let Range { low, high } = range;
            return Err(format!(
                "width={width} makes more than {MAX_CELLS} bins from {low} to {high}: too many"
            ));
        }
        let last = (1..).find(|&i| i as f64 >= about - 1.0 && edge(i) >= range.high);
        Axis::even((0..=last.expect("edges rise without end")).map(edge).collect())
    }

    fn even(edges: Vec<f64>) -> Result<Axis, String> {
        let (low, high, bins) = (edges[0], edges[edges.len() - 1], edges.len() - 1);
        let scale = bins as f64 / (high - low);
        if edges.windows(2).all(|pair| pair[0] < pair[1]) && scale.is_finite() && scale > 0.0 {
            return Ok(Axis { edges, scale: Some(scale) });
        }
        Err(format!("{bins} bins of one width from {low} to {high} are too narrow or too wide for f64"))
    }

    /// How many bins there are.
    pub fn bins(&self) -> usize {
        self.edges.len() - 1
    }

    /// The cells of values: 0 below the first bin, then the bins, then one above the last.
    pub(super) fn cells(&self, simd: Simd, values: &[f64], out: &mut Vec<u32>) {
        out.resize(values.len(), 0);
        let Some(scale) = self.scale else {
            values.iter().zip(out).for_each(|(&x, cell)| *cell = self.search(x));
            return;
        };
        let (low, last) = (self.edges[0], self.bins() as i32 - 1);
        simd.run(Guess { values, scale, low, last, out });
        for (&x, cell) in values.iter().zip(out) {
            let guess = *cell as usize;
            *cell = if x >= self.edges[guess] && x < self.edges[guess + 1] {
                guess as u32 + 1
            } else {
                self.search(x)
            };
        }
    }

    fn search(&self, x: f64) -> u32 {
        let below = self.edges.partition_point(|&edge| edge <= x);
        (below - usize::from(x == self.edges[self.bins()])) as u32
    }
}

/// Bins from 0, nearly right for values inside them.
struct Guess<'a> {
    values: &'a [f64],
    scale: f64,
    low: f64,
    last: i32,
    out: &'a mut [u32],
}

impl Vectorised for Guess<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (&x, cell) in self.values.iter().zip(self.out) {
            let guess = ((L::pass(x) - self.low) * self.scale) as i32;
            *cell = guess.clamp(0, self.last) as u32;
        }
    }
}
