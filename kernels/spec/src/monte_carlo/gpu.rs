//! What of a request a GPU does: by name, so that nothing is left out in silence.

use super::MonteCarloSpec;
use super::options::Kind;
use crate::problem::Problem;

/// The most monitoring dates that are summed in f32.
const MAX_GPU_STEPS: u32 = 4096;

impl MonteCarloSpec {
    /// What a GPU does not do of a request whose options are known.
    pub fn not_on_gpu(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut not = |what: String| {
            problems.push(Problem::new("--device", what).hint("--device cpu does"));
        };
        if !self.risk.is_unused() {
            not("GPUs do not estimate the risk of a portfolio".into());
        }
        if self.greeks {
            not("GPUs do not estimate Greeks (--greeks)".into());
        }
        for option in &self.options {
            let label = option.label();
            match option.terms.kind {
                Some(Kind::Asian | Kind::European) | None => {}
                Some(kind) => not(format!("GPUs do not price options of the kind {kind} ({label})")),
            }
            if option.antithetic {
                not(format!("GPUs do not pair paths with their mirror images (--antithetic, {label})"));
            }
            if option.control_variate {
                not(format!("GPUs have no control variate (--control-variate, {label})"));
            }
            if let Some(steps) = option.terms.steps.filter(|steps| *steps > MAX_GPU_STEPS) {
                not(format!("GPUs sum at most {MAX_GPU_STEPS} dates in f32, not {steps} ({label})"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceWord, Target};
    use crate::monte_carlo::{OptionSpec, Terms};

    #[test]
    fn what_a_gpu_does_not_do_is_named() {
        let option = |kind, steps| OptionSpec {
            terms: Terms { kind: Some(kind), steps, ..Terms::default() },
            ..OptionSpec::default()
        };
        let mut spec = MonteCarloSpec {
            device: Some(DeviceWord::On(Target::Software)),
            options: vec![option(Kind::Asian, Some(252)), option(Kind::European, None)],
            ..MonteCarloSpec::default()
        };
        assert_eq!(spec.not_on_gpu(), []);
        spec.greeks = true;
        spec.options.push(option(Kind::Lookback, None));
        spec.options.push(option(Kind::Asian, Some(5000)));
        spec.options[0].antithetic = true;
        spec.options[0].control_variate = true;
        let told: Vec<String> = spec.not_on_gpu().into_iter().map(|problem| problem.what).collect();
        let words = ["--greeks", "--antithetic", "--control-variate", "lookback", "5000"];
        assert_eq!(told.len(), words.len(), "{told:?}");
        for (what, word) in told.iter().zip(words) {
            assert!(what.contains(word), "{what}");
        }
    }
}
