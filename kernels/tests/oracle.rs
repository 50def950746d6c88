//! exp, ln, sin and cos against big floats: within 1 ulp over all exponents, subnormals and argument reduction, and
//! the same bits at every level of vector instructions.

use astro_float::{BigFloat, Consts, RoundingMode::None as Exactly};
use muster_kernels::math::philox::Philox;
use muster_kernels::math::{cos, exp, exp_bounded, ln, ln_unit, sin, sin_cos_turns};
use muster_kernels::simd::{Lanes, Simd, Vectorised};

type Truth = fn(&BigFloat, usize, &mut Consts) -> BigFloat;

/// 64 random bits, the same in every run.
fn random(n: u64) -> u64 {
    let w = Philox::new(7).words([n as u32, (n >> 32) as u32, 0, 0]);
    u64::from(w[0]) << 32 | u64::from(w[1])
}

/// Doubles with every exponent equally likely.
fn any_exponent(n: u64) -> f64 {
    let r = random(n);
    f64::from_bits(r & 0x800f_ffff_ffff_ffff | ((r >> 3) % 0x7ff) << 52)
}

/// Evenly spread between `low` and `high`.
fn between(low: f64, high: f64, n: u64) -> f64 {
    low + (high - low) * (random(n) >> 11) as f64 / (1u64 << 53) as f64
}

/// A double as a big float; through normal numbers, since the conversion knows no others.
fn big(x: f64) -> BigFloat {
    let up = 2f64.powi(600);
    if x.abs() < f64::MIN_POSITIVE {
        BigFloat::from_f64(x * up, 256).div(&BigFloat::from_f64(up, 256), 256, Exactly)
    } else {
        BigFloat::from_f64(x, 256)
    }
}

/// The error of `got` in units in the last place of the true value.
fn ulps(got: f64, truth: &BigFloat) -> f64 {
    let nearest: f64 = truth.to_string().parse().expect("a big float prints as a number");
    if !nearest.is_finite() || nearest == 0.0 {
        return if got == nearest { 0.0 } else { (got - nearest).abs() / f64::from_bits(1) };
    }
    let exponent = (nearest.abs().to_bits() >> 52).max(1);
    let ulp = f64::from_bits(exponent << 52) * f64::EPSILON;
    let ulp = if ulp == 0.0 { f64::from_bits(1) } else { ulp };
    let ulp = ulp.max(f64::from_bits(1));
    let difference = big(got).sub(truth, 256, Exactly);
    let relative = difference.div(&big(ulp), 256, Exactly);
    relative.abs().to_string().parse().expect("a number")
}

/// The largest error of `ours` over `points`, with where it is.
fn worst(
    ours: impl Fn(f64) -> f64,
    truth: Truth,
    bits: usize,
    points: impl Iterator<Item = f64>,
) -> (f64, f64) {
    let mut consts = Consts::new().expect("constants");
    points
        .map(|x| (ulps(ours(x), &truth(&big(x), bits, &mut consts)), x))
        .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
}

fn big_exp(x: &BigFloat, p: usize, c: &mut Consts) -> BigFloat {
    x.exp(p, Exactly, c)
}

fn big_ln(x: &BigFloat, p: usize, c: &mut Consts) -> BigFloat {
    x.ln(p, Exactly, c)
}

fn big_sin(x: &BigFloat, p: usize, c: &mut Consts) -> BigFloat {
    x.sin(p, Exactly, c)
}

fn big_cos(x: &BigFloat, p: usize, c: &mut Consts) -> BigFloat {
    x.cos(p, Exactly, c)
}

#[test]
fn exp_is_within_one_ulp() {
    let normal = (0..6000).map(|n| between(-708.0, 709.78, n));
    let subnormal = (0..1500).map(|n| between(-745.1, -708.3, n));
    let small = (0..3000).map(any_exponent).filter(|x| x.abs() < 700.0);
    let halves = (-1074..1024).map(|k| (f64::from(k) + 0.5) * std::f64::consts::LN_2);
    let (error, at) = worst(exp, big_exp, 192, normal.chain(subnormal).chain(small).chain(halves));
    assert!(error <= 1.0, "{error} ulp at {at:e}");
    let (error, at) = worst(exp_bounded, big_exp, 192, (0..3000).map(|n| between(-700.0, 700.0, n)));
    assert!(error <= 1.0, "{error} ulp at {at:e}");
}

#[test]
fn ln_is_within_one_ulp() {
    let all = (0..6000).map(|n| any_exponent(n).abs()).filter(|x| *x > 0.0);
    let near_one = (0..4000).map(|n| 1.0 + between(-0.3, 0.42, n));
    let nearer = (1..60).flat_map(|k| [1.0 + 2f64.powi(-k), 1.0 - 2f64.powi(-k)]).filter(|x| *x > 0.0);
    let subnormal = (0..1500).map(|n| f64::from_bits(random(n) >> (12 + n % 50)).max(f64::from_bits(1)));
    let (error, at) = worst(ln, big_ln, 192, all.chain(near_one).chain(nearer).chain(subnormal));
    assert!(error <= 1.0, "{error} ulp at {at:e}");
    let (error, at) = worst(ln_unit, big_ln, 192, (0..4000).map(|n| between(1e-10, 1.0, n)));
    assert!(error <= 1.0, "{error} ulp at {at:e}");
}

/// Arguments that are hard to reduce: near multiples of pi/2, and the double that is nearest to one of all.
fn hard_angles() -> impl Iterator<Item = f64> {
    let multiples = (0..1500).map(|n| {
        let k = (random(n) >> (44 - n % 20)) as f64;
        let x = k * std::f64::consts::FRAC_PI_2;
        f64::from_bits((x.to_bits() as i64 + (n as i64 % 3 - 1)) as u64)
    });
    multiples.chain([
        6381956970095103.0 * 2f64.powi(797),
        1e22,
        5.319372648326541e255,
        f64::MAX,
        999_999.9,
        1_000_000.1,
    ])
}

#[test]
fn sin_and_cos_are_within_one_ulp() {
    let angles = || {
        let near =
            (0..3000).map(|n| between(-1000.0, 1000.0, n)).chain((0..1500).map(|n| between(-1e6, 1e6, n)));
        let first = (0..2500).map(|n| between(-0.8, 0.8, n));
        near.chain(first).chain((0..2500).map(any_exponent)).chain(hard_angles())
    };
    for (name, ours, truth) in [("sin", sin as fn(f64) -> f64, big_sin as Truth), ("cos", cos, big_cos)] {
        let (error, at) = worst(ours, truth, 256, angles().filter(|x| x.abs() > 1e-300));
        assert!(error <= 1.0, "{name}: {error} ulp at {at:e}");
    }
}

#[test]
fn turns_are_within_two_ulp() {
    let points = || (0..4000u64).map(|n| (random(n) >> 32) as f64 / 4294967296.0 + 0.5 / 4294967296.0);
    let two_pi = |x: &BigFloat, p: usize, c: &mut Consts| {
        let pi = c.pi(p, Exactly);
        x.mul(&pi, p, Exactly).mul(&BigFloat::from_f64(2.0, 64), p, Exactly)
    };
    let mut consts = Consts::new().expect("constants");
    for x in points() {
        let angle = two_pi(&BigFloat::from_f64(x, 64), 192, &mut consts);
        let (s, c) = sin_cos_turns(x);
        let (es, ec) =
            (ulps(s, &big_sin(&angle, 192, &mut consts)), ulps(c, &big_cos(&angle, 192, &mut consts)));
        assert!(es <= 2.0 && ec <= 2.0, "{es} and {ec} ulp at {x}");
    }
}

#[test]
fn special_values() {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    assert!(same(exp(f64::NEG_INFINITY), 0.0) && same(exp(f64::INFINITY), f64::INFINITY) && exp(-0.0) == 1.0);
    assert!(same(exp(710.0), f64::INFINITY) && same(exp(-746.0), 0.0) && same(exp(-1e300), 0.0));
    assert!(same(ln(0.0), f64::NEG_INFINITY) && same(ln(-0.0), f64::NEG_INFINITY) && same(ln(1.0), 0.0));
    assert!(same(ln(f64::INFINITY), f64::INFINITY));
    assert!(same(sin(-0.0), -0.0) && same(sin(0.0), 0.0) && same(cos(0.0), 1.0));
    let odd = f64::from_bits(0xfff8_dead_beef_0001);
    for nan in [
        exp(odd),
        ln(odd),
        sin(odd),
        cos(odd),
        ln(-1.0),
        ln(f64::NEG_INFINITY),
        sin(f64::INFINITY),
        cos(f64::NEG_INFINITY),
    ] {
        assert!(same(nan, f64::NAN), "one bit pattern for NaN: {:x}", nan.to_bits());
    }
}

struct All<'a>(&'a [f64], &'a mut [[f64; 8]]);

impl Vectorised for All<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let All(from, to) = self;
        for (x, out) in from.iter().zip(to.iter_mut()) {
            out[0] = L::pass(exp(*x));
        }
        for (x, out) in from.iter().zip(to.iter_mut()) {
            out[1] = L::pass(ln(*x));
        }
        for (x, out) in from.iter().zip(to.iter_mut()) {
            (out[2], out[3]) = (L::pass(sin(*x)), cos(*x));
        }
        for (x, out) in from.iter().zip(to.iter_mut()) {
            let u = x.to_bits() as u32 as f64 / 4294967296.0;
            (out[4], out[5]) = sin_cos_turns(L::pass(u));
            out[6] = exp_bounded(u * 30.0 - 15.0);
            out[7] = ln_unit(u + 1e-12);
        }
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    let points: Vec<f64> =
        (0..5000).map(any_exponent).chain((0..5000).map(|n| between(-50.0, 50.0, n))).collect();
    let bits = |simd: Simd| {
        let mut out = vec![[0.0; 8]; points.len()];
        simd.run(All(&points, &mut out));
        out.iter().flatten().flat_map(|x| x.to_bits().to_le_bytes()).collect::<Vec<u8>>()
    };
    let all = Simd::all();
    for &level in &all {
        assert!(bits(level) == bits(all[0]), "{} differs from {}", level.name(), all[0].name());
    }
    // Any change of the mathematics changes every hash that users have: it must be meant.
    assert_eq!(&blake3::hash(&bits(all[0])).to_hex()[..16], "d9fc18c60e3a6319");
}
