//! Simulated prices and Greeks against closed forms and published values.

use crate::formulas::{Case, exchange};
use crate::{answer, close, price};

/// Spot, strike, years, rate, dividend yield, volatility.
const CASES: [[f64; 6]; 3] = [
    [100.0, 100.0, 1.0, 0.05, 0.0, 0.2],
    [42.0, 45.0, 0.5, 0.1, 0.03, 0.4],
    [1.5, 1.2, 3.0, -0.01, 0.02, 0.1],
];

fn rights() -> [(f64, &'static str); 2] {
    [(1.0, "--right call"), (-1.0, "--right put")]
}

#[test]
fn european_options_are_those_of_black_and_scholes() {
    for case in CASES.map(Case::new) {
        for (phi, right) in rights() {
            let line = format!("--option european --paths 300000 --greeks {right} {}", case.flags());
            let option = &answer(&line).options[0];
            close(option.price, case.european(phi), 0.0);
            assert_eq!(option.paths, 300_000);
            let names: Vec<&str> = option.greeks.iter().map(|g| g.name.as_str()).collect();
            assert_eq!(names, ["delta", "gamma", "vega", "theta", "rho"]);
            for (greek, truth) in option.greeks.iter().zip(case.greeks(phi)) {
                close(greek.estimate, truth, 0.0);
                // The standard error means something, too.
                assert!(greek.estimate.standard_error < 0.05 * truth.abs().max(0.1), "{greek:?}");
            }
        }
    }
}

#[test]
fn geometric_asian_options_have_a_closed_form() {
    for case in CASES.map(Case::new) {
        for (phi, right) in rights() {
            for steps in [1.0, 7.0, 60.0] {
                // The mean of the logarithm is that of a price with other drift and volatility (Kemna, Vorst 1990).
                let v = case.v * libm::sqrt((steps + 1.0) * (2.0 * steps + 1.0) / (6.0 * steps * steps));
                let drift = (case.b - 0.5 * case.v * case.v) * (steps + 1.0) / (2.0 * steps);
                let truth = Case { b: drift + 0.5 * v * v, v, ..case }.european(phi);
                let line = format!(
                    "--option geometric-asian --paths 40000 --steps {steps} {right} {}",
                    case.flags()
                );
                close(price(&line), truth, 0.0);
            }
        }
    }
}

#[test]
fn arithmetic_asian_options_reach_linetskys_values() {
    // Linetsky (2004), "Spectral expansions for Asian (average price) options", continuous averages of calls with
    // strike 2. Means over n dates err by 1/n, which the extrapolation from two numbers of dates removes.
    for (spot, rate, volatility, years, truth) in [
        (2.0, 0.02, 0.1, 1.0, 0.0559860415),
        (2.0, 0.18, 0.3, 1.0, 0.2183875466),
        (2.0, 0.0125, 0.25, 2.0, 0.1722687410),
        (1.9, 0.05, 0.5, 1.0, 0.1931737903),
        (2.1, 0.05, 0.5, 1.0, 0.3062203648),
        (2.0, 0.05, 0.5, 2.0, 0.3500952190),
    ] {
        let at = |steps: u32| {
            price(&format!(
                "--option asian --control-variate --strike 2 --spot {spot} --rate {rate} --expiry {years} \
                 --volatility {volatility} --steps {steps} --paths 60000"
            ))
        };
        let (coarse, fine) = (at(64), at(128));
        let value = 2.0 * fine.value - coarse.value;
        let error = 2.0 * fine.standard_error + coarse.standard_error;
        assert!((value - truth).abs() < 4.0 * error + 1e-4 * truth, "{value} +- {error} is not {truth}");
        assert!(error < 5e-3 * truth, "{error}");
    }
}

#[test]
fn continuous_barriers_are_those_of_reiner_and_rubinstein() {
    for (h, up) in [(90.0, false), (95.0, false), (105.0, true), (115.0, true)] {
        for k in [85.0, 100.0, 110.0] {
            let case = Case::new([100.0, k, 0.5, 0.08, 0.04, 0.25]);
            for (phi, right) in rights() {
                let (side, all) = (if up { "up" } else { "down" }, case.european(phi));
                let knock_in = case.knock_in(phi, up, h);
                for (kind, truth) in [("in", knock_in), ("out", all - knock_in)] {
                    let line = format!(
                        "--option barrier --barrier {h} --barrier-kind {side}-and-{kind} --monitoring continuous \
                         --steps 5 --paths 30000 {right} {}",
                        case.flags()
                    );
                    close(price(&line), truth, 1e-9);
                }
            }
        }
    }
}

#[test]
fn discrete_barriers_are_continuous_ones_a_little_further_away() {
    // Broadie, Glasserman and Kou (1997): the barrier moves by 0.5826 standard deviations of a step.
    for (h, up) in [(90.0, false), (115.0, true)] {
        let case = Case::new([100.0, 100.0, 0.5, 0.08, 0.04, 0.25]);
        let shift = libm::exp((if up { 1.0 } else { -1.0 }) * 0.5826 * case.v * libm::sqrt(case.t / 100.0));
        let truth = case.european(1.0) - case.knock_in(1.0, up, h * shift);
        let side = if up { "up" } else { "down" };
        let line = format!(
            "--option barrier --barrier {h} --barrier-kind {side}-and-out --steps 100 --paths 100000 {}",
            case.flags()
        );
        close(price(&line), truth, 0.002 * truth);
    }
}

#[test]
fn a_barrier_that_is_crossed_already_is_touched() {
    for monitoring in ["discrete", "continuous"] {
        for (kind, level) in [("up-and-out", 90.0), ("up-and-out", 100.0), ("down-and-out", 120.0)] {
            let flags = format!(
                "--option barrier --steps 3 --paths 1000 --monitoring {monitoring} --barrier {level}"
            );
            let out = price(&format!("{flags} --barrier-kind {kind}"));
            assert_eq!((out.value, out.standard_error), (0.0, 0.0), "{kind} {level}");
            let into = price(&format!("{flags} --barrier-kind {}", kind.replace("out", "in")));
            close(into, Case::new(CASES[0]).european(1.0), 0.0);
        }
    }
}

#[test]
fn continuous_lookbacks_have_closed_forms() {
    for case in CASES.map(Case::new) {
        for (phi, right) in rights() {
            for (option, truth) in [
                ("lookback", case.lookback(phi, case.s)),
                ("floating-lookback", case.floating_lookback(phi, case.s)),
            ] {
                let flags = case.flags();
                let flags = match option {
                    "lookback" => flags,
                    _ => flags.replace(&format!("--strike {} ", case.k), ""),
                };
                let line = format!(
                    "--option {option} --monitoring continuous --steps 6 --paths 60000 {right} {flags}"
                );
                close(price(&line), truth, 0.0);
            }
        }
    }
}

#[test]
fn baskets_of_one_are_european_and_baskets_of_two_exchange() {
    let case = Case::new(CASES[1]);
    close(price(&format!("--option basket --paths 200000 {}", case.flags())), case.european(1.0), 0.0);
    for rho in [-0.6, 0.0, 0.9] {
        let line = format!(
            "--option basket --paths 200000 --spot 100,95 --volatility 0.3,0.2 --weights 1,-1 --strike 0 \
             --correlation {rho} --expiry 2 --greeks"
        );
        let option = &answer(&line).options[0];
        close(option.price, exchange([100.0, 95.0], [0.3, 0.2], rho, 2.0), 0.0);
        // Nothing depends on the rate, and the price is homogeneous in the two spots (Euler).
        let named = |name: &str| option.greeks.iter().find(|g| g.name == name).unwrap().estimate;
        close(named("rho"), 0.0, 1e-9 + 0.01);
        let (first, second) = (named("delta-1"), named("delta-2"));
        let sum = 100.0 * first.value + 95.0 * second.value;
        assert!((sum - option.price.value).abs() < 0.01 * option.price.value, "{sum}");
    }
}

#[test]
fn a_matrix_of_correlations_is_used_as_it_is_written() {
    let flags =
        "--option basket --spot 100,100,100 --volatility 0.2,0.3,0.4 --strike 0 --paths 200000 --expiry 1";
    // Only the exchange of the first for the third pays, whose correlation is 0.5.
    let line = format!("{flags} --weights 1,0,-1 --correlation 1,0.1,0.5;0.1,1,-0.3;0.5,-0.3,1");
    close(price(&line), exchange([100.0, 100.0], [0.2, 0.4], 0.5, 1.0), 0.0);
}
