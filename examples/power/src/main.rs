//! The largest eigenvalue of a matrix by power iteration. The matrix is `1 / (1 + |i - j|)`, and is never stored.
//!
//! An *iterate* kernel: each round multiplies the matrix with the state's vector, a block of rows at a time.

use muster_kernels::{Class, Fold, Grid, Iterate, Partial, Problems, Turn, Work};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Multiplications of one block: some ten milliseconds.
const BLOCK: u64 = 1 << 22;

/// Computes the largest eigenvalue of the matrix with elements 1 / (1 + |i - j|).
#[derive(clap::Args, Clone, Serialize, Deserialize)]
struct PowerSpec {
    /// Rows and columns of the matrix
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Rounds at most; fewer, once the eigenvalue stands still
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
}

/// What a round begins from; the vector has length 1.
#[derive(Serialize, Deserialize)]
struct PowerState {
    round: u32,
    eigenvalue: f64,
    vector: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct Rows(Vec<f64>);

impl Partial for Rows {
    fn merge(mut self, right: Self) -> Self {
        self.0.extend(right.0);
        self
    }
}

#[derive(Serialize)]
struct Eigenvalue(f64);

impl fmt::Display for Eigenvalue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "largest eigenvalue {}", self.0)
    }
}

struct Power(PowerSpec);

impl Iterate for Power {
    type Spec = PowerSpec;
    type State = PowerState;
    type Partial = Rows;
    type Answer = Eigenvalue;

    const NAME: &'static str = "power";

    fn prepare(spec: &PowerSpec) -> Result<Self, Problems> {
        Ok(Power(spec.clone()))
    }

    fn grid(&self) -> Grid {
        Grid::new((u64::from(self.0.rows).pow(2)).div_ceil(BLOCK))
    }

    fn class(&self) -> Class {
        Class::PortableF64
    }

    fn work(&self) -> Work {
        Work { total: f64::from(self.0.rows).powi(2), unit: "multiplications".into() }
    }

    fn start(&self) -> Result<PowerState, Problems> {
        let rows = self.0.rows as usize;
        Ok(PowerState { round: 1, eigenvalue: 0.0, vector: vec![1.0 / (rows as f64).sqrt(); rows] })
    }

    fn fold(&self, state: &PowerState, block: u32, _: &mut Fold) -> Result<Rows, Problems> {
        let row = |i: u64| (0..).zip(&state.vector).map(|(j, x)| x / (1 + i.abs_diff(j)) as f64).sum();
        Ok(Rows(self.grid().share(self.0.rows.into(), block).map(row).collect()))
    }

    fn finish(&self, state: &PowerState, root: Rows) -> Result<Turn<PowerState, Eigenvalue>, Problems> {
        let eigenvalue = root.0.iter().map(|x| x * x).sum::<f64>().sqrt();
        if eigenvalue == state.eigenvalue || state.round >= self.0.rounds {
            return Ok(Turn::Answer(Eigenvalue(eigenvalue)));
        }
        let vector = root.0.iter().map(|x| x / eigenvalue).collect();
        Ok(Turn::Next(PowerState { round: state.round + 1, eigenvalue, vector }))
    }
}

muster_rank::main!(Power);
