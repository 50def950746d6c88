//! Standard normal numbers by Box and Muller (1958), and the normal distribution.

use super::philox::{BATCH, Draw, Philox, unit};
use super::{ln_unit, sin_cos_turns};
use crate::simd::Lanes;

/// Standard normal numbers. Words 0 and 1 of a path give rows 0 and 1 (cosine and sine), words 2 and 3 give rows 2
/// and 3. Of 32-bit uniforms: magnitudes reach 6.76, which the normal exceeds once in 7e10 draws.
#[inline(always)]
pub fn normals<L: Lanes>(rng: Philox, draw: Draw, out: &mut [[f64; BATCH]; 4]) {
    let mut words = [[0; BATCH]; 4];
    rng.batch::<L>(draw, &mut words);
    let [w0, w1, w2, w3] = &words;
    let [z0, z1, z2, z3] = out;
    pair::<L>((w0, w1), (z0, z1));
    pair::<L>((w2, w3), (z2, z3));
}

#[inline(always)]
fn pair<L: Lanes>(from: (&[u64; BATCH], &[u64; BATCH]), to: (&mut [f64; BATCH], &mut [f64; BATCH])) {
    for i in 0..BATCH {
        let radius = L::pass((-2.0 * ln_unit(unit(from.0[i]))).sqrt());
        let (sine, cosine) = sin_cos_turns(unit(from.1[i]));
        to.0[i] = radius * cosine;
        to.1[i] = radius * sine;
    }
}

/// The standard normal distribution function.
pub fn cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The standard normal density.
pub fn density(x: f64) -> f64 {
    0.3989422804014327 * super::exp(-0.5 * x * x)
}

/// The standard normal quantile of `0 < p < 1`: bisection on [`cdf`] down to neighbouring numbers' width, then two
/// Newton steps. For set-up work.
pub fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-39.0, 39.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if cdf(middle) < p { low = middle } else { high = middle }
    }
    let mut x = 0.5 * (low + high);
    for _ in 0..2 {
        let slope = density(x);
        if slope > 0.0 {
            x -= (cdf(x) - p) / slope;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Simd, Vectorised};

    struct Sample(u64, Vec<f64>);

    impl Vectorised for Sample {
        type Out = Vec<f64>;
        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<f64> {
            let Sample(batches, mut all) = self;
            let mut out = [[0.0; BATCH]; 4];
            for b in 0..batches {
                let draw = Draw { path: b * BATCH as u64, group: 3, stream: 1 };
                normals::<L>(Philox::new(42), draw, &mut out);
                all.extend(out.iter().flatten());
            }
            all
        }
    }

    #[test]
    fn every_level_draws_the_same_bits() {
        let bits =
            |simd: Simd| -> Vec<u64> { simd.run(Sample(50, vec![])).iter().map(|x| x.to_bits()).collect() };
        let all = Simd::all();
        for &level in &all {
            assert_eq!(bits(level), bits(all[0]), "{}", level.name());
        }
        let hash = blake3::hash(&bits(all[0]).iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>());
        assert_eq!(&hash.to_hex()[..16], GOLDEN);
    }

    /// The first digits of the BLAKE3 hash of those numbers: any change of the mathematics changes it.
    const GOLDEN: &str = "74fb3ceb48651d60";

    #[test]
    fn the_numbers_are_normal() {
        let mut x = Simd::choose(None).unwrap().run(Sample(4096, vec![]));
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let moment = |k: i32| x.iter().map(|v| (0..k).fold(1.0, |p, _| p * v)).sum::<f64>() / n;
        assert!(mean.abs() < 4.0 / n.sqrt(), "mean {mean}");
        assert!((moment(2) - 1.0).abs() < 4.0 * (2.0 / n).sqrt());
        assert!(moment(3).abs() < 4.0 * (15.0 / n).sqrt());
        assert!((moment(4) - 3.0).abs() < 4.0 * (96.0 / n).sqrt());
        x.sort_by(f64::total_cmp);
        let distance =
            x.iter().enumerate().map(|(i, &v)| (cdf(v) - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max);
        assert!(distance < 1.63 / n.sqrt(), "Kolmogorov-Smirnov distance {distance}");
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        for (p, z) in
            [(0.5, 0.0), (0.975, 1.959963984540054), (0.99, 2.3263478740408408), (1e-9, -5.997807015008182)]
        {
            assert!((quantile(p) - z).abs() < 1e-12 * (1.0 + z.abs()), "{p}: {}", quantile(p));
        }
    }
}
