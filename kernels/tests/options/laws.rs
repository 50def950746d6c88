//! Laws that prices obey whatever the market: parity, bounds, and that no bit depends on vectors or on the tree.

use crate::{answer, close, fold, prepared, price};
use muster_kernels::monte_carlo::MonteCarloPartial;
use muster_kernels::{Kernel, Simd};

/// One request of every kind of hot loop.
const ALL: [&str; 12] = [
    "--option european --greeks",
    "--option asian --steps 10",
    "--option asian --steps 9 --greeks --antithetic",
    "--option asian --steps 5 --volatility 3",
    "--option asian --steps 6 --control-variate --right put",
    "--option geometric-asian --steps 3",
    "--option barrier --barrier 110 --barrier-kind up-and-out --steps 7 --greeks",
    "--option barrier --barrier 95 --barrier-kind down-and-in --steps 4 --monitoring continuous",
    "--option lookback --steps 5",
    "--option lookback --right put --steps 5 --monitoring continuous",
    "--option floating-lookback --steps 8 --monitoring continuous --greeks",
    "--option basket --spot 90,100,110,100,120 --strike 105 --correlation 0.3 --greeks --antithetic",
];

#[test]
fn every_vector_width_gives_the_same_bits() {
    for line in ALL {
        // Not a multiple of a batch.
        let kernel = prepared(&format!("{line} --paths 1001"));
        let levels = Simd::all();
        let encoded = |simd: Simd| postcard::to_stdvec(&fold(&kernel, simd)).unwrap();
        let first = encoded(levels[0]);
        for &level in &levels[1..] {
            assert_eq!(encoded(level), first, "{line} at {}", level.name());
        }
    }
}

#[test]
fn the_seed_and_the_place_in_the_book_choose_the_draws() {
    let at = |seed: u64| price(&format!("--option european --paths 1000 --seed {seed}")).value;
    assert_eq!(at(7), at(7));
    assert_ne!(at(7), at(8));
    assert_ne!(at(7), at(7 + (1 << 32)));
}

#[test]
fn calls_less_puts_are_forwards() {
    // The value of the mean, less the strike, at 5 % interest and 1 % dividends.
    let mean = |steps: u32| {
        let grown = |i: u32| 100.0 * libm::exp(0.04 * f64::from(i) / f64::from(steps));
        (1..=steps).map(grown).sum::<f64>() / f64::from(steps)
    };
    for (option, forward) in [("european", mean(1)), ("asian --steps 12", mean(12))] {
        let line = |right: &str| {
            format!(
                "--option {option} --dividend 0.01 --strike 97 --paths 100000 --right {right} --antithetic"
            )
        };
        let (call, put) = (price(&line("call")), price(&line("put")));
        let truth = libm::exp(-0.05) * (forward - 97.0);
        let apart = call.value - put.value - truth;
        assert!(apart.abs() < 4.0 * (call.standard_error + put.standard_error), "{option}: {apart}");
    }
}

#[test]
fn ins_and_outs_are_the_option_without_a_barrier() {
    for monitoring in ["discrete", "continuous"] {
        for (side, level, nowhere) in [("up", 112.0, 1e9), ("down", 93.0, 1e-9)] {
            let of = |kind: &str, level: f64| {
                let flags = "--option barrier --steps 4 --paths 20000 --monitoring";
                price(&format!("{flags} {monitoring} --barrier {level} --barrier-kind {side}-and-{kind}"))
                    .value
            };
            let (into, out, free) = (of("in", level), of("out", level), of("out", nowhere));
            assert!(into > 0.1 && out > 0.1);
            assert!((into + out - free).abs() < 1e-12 * free, "{into} + {out} is not {free}");
        }
    }
}

#[test]
fn variance_is_reduced_without_bias() {
    let plain = price("--option asian --steps 20 --paths 40000");
    let mirrored = price("--option asian --steps 20 --paths 40000 --antithetic");
    let controlled = price("--option asian --steps 20 --paths 40000 --control-variate");
    assert!(mirrored.standard_error < 0.6 * plain.standard_error);
    assert!(controlled.standard_error < 0.05 * plain.standard_error);
    close(plain, controlled.value, 4.0 * controlled.standard_error);
    close(mirrored, controlled.value, 4.0 * controlled.standard_error);
    // Its Greeks are those of the same option.
    let greeks = |more: &str| answer(&format!("--option asian --steps 20 --paths 40000 --greeks {more}"));
    let (plain, controlled) = (greeks(""), greeks("--control-variate"));
    for (a, b) in plain.options[0].greeks.iter().zip(&controlled.options[0].greeks) {
        close(a.estimate, b.estimate.value, 4.0 * b.estimate.standard_error);
    }
}

#[test]
fn a_small_variance_beside_a_large_value_is_not_lost() {
    let tiny = price("--option european --volatility 1e-9 --strike 1 --paths 100000");
    // The price moves by 1e-9 of itself; all of it counts, discounted.
    let expected = 100.0 * 1e-9 / libm::sqrt(100_000.0);
    assert!((tiny.standard_error / expected - 1.0).abs() < 0.02, "{}", tiny.standard_error);
}

#[test]
fn prices_that_overflow_are_an_error() {
    let kernel = prepared("--option european --paths 64");
    let MonteCarloPartial::Book(mut root) = fold(&kernel, Simd::all()[0]) else {
        panic!("options were asked for")
    };
    root.0[0].moments[0].mean = f64::INFINITY;
    let problems = kernel.finish(MonteCarloPartial::Book(root)).unwrap_err();
    assert!(problems.to_string().contains("beyond what numbers can hold"), "{problems}");
}
