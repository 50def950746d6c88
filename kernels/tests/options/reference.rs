//! A naive reference: one path after the other, by the book, over the same draws. It shares no code with the hot loop
//! but the generator's words.

use crate::{answer, spec};
use libm::{cos, exp, log, sin, sqrt};
use muster_kernels::math::philox::Philox;
use muster_spec::monte_carlo::{Contract, Monitoring, Payoff, Right};

struct Reference<'a> {
    contract: &'a Contract,
    rng: Philox,
}

impl Reference<'_> {
    fn uniform(&self, path: u64, (group, word): (u32, u32)) -> f64 {
        let words = self.rng.words([path as u32, (path >> 32) as u32, group, 0]);
        (f64::from(words[word as usize]) + 0.5) / 4_294_967_296.0
    }

    /// Normal number `index` of a path (Box and Muller 1958).
    fn normal(&self, path: u64, index: u32) -> f64 {
        let (group, word) = (index / 4, index % 4);
        let radius = sqrt(-2.0 * log(self.uniform(path, (group, word & 2))));
        let angle = std::f64::consts::TAU * self.uniform(path, (group, word | 1));
        radius * if word % 2 == 0 { cos(angle) } else { sin(angle) }
    }

    fn gain(&self, price: f64, strike: f64) -> f64 {
        let gain = if self.contract.right == Right::Call { price - strike } else { strike - price };
        exp(-self.contract.rate * self.contract.expiry) * f64::max(gain, 0.0)
    }

    /// What one path pays, discounted.
    fn pays(&self, path: u64) -> f64 {
        let contract = self.contract;
        if contract.payoff == Payoff::Basket {
            return self.basket(path);
        }
        let (asset, n) = (contract.assets[0], contract.steps);
        let (v, dt) = (asset.volatility, contract.expiry / f64::from(n));
        let mut prices = vec![asset.spot];
        for i in 0..n {
            let drift = (contract.rate - asset.dividend - 0.5 * v * v) * dt;
            prices.push(prices[i as usize] * exp(drift + v * sqrt(dt) * self.normal(path, i)));
        }
        let (last, dates) = (prices[n as usize], &prices[1..]);
        let mean = |f: fn(f64) -> f64| dates.iter().map(|&p| f(p)).sum::<f64>() / f64::from(n);
        let call = contract.right == Right::Call;
        match contract.payoff {
            Payoff::Asian => self.gain(mean(|p| p), contract.strike),
            Payoff::GeometricAsian => self.gain(exp(mean(log)), contract.strike),
            Payoff::Lookback(_) => self.gain(self.extreme(path, &prices, call), contract.strike),
            Payoff::FloatingLookback(_) => self.gain(last, self.extreme(path, &prices, !call)),
            Payoff::Barrier { level, kind, monitoring } => {
                let beyond = |p: f64| if kind.is_up() { p >= level } else { p <= level };
                let mut untouched = f64::from(u8::from(!prices.iter().any(|&p| beyond(p))));
                if monitoring == Monitoring::Continuous && untouched > 0.0 {
                    for step in prices.windows(2) {
                        let product = log(level / step[0]) * log(level / step[1]);
                        untouched *= 1.0 - exp(-2.0 * product / (v * v * dt));
                    }
                }
                let weight = if kind.is_in() { 1.0 - untouched } else { untouched };
                weight * self.gain(last, contract.strike)
            }
            _ => self.gain(last, contract.strike),
        }
    }

    fn extreme(&self, path: u64, prices: &[f64], up: bool) -> f64 {
        let monitoring = match self.contract.payoff {
            Payoff::Lookback(monitoring) | Payoff::FloatingLookback(monitoring) => monitoring,
            _ => Monitoring::Discrete,
        };
        let variance =
            self.contract.assets[0].volatility * self.contract.assets[0].volatility * self.contract.expiry
                / f64::from(self.contract.steps);
        let mut seen = prices.to_vec();
        if monitoring == Monitoring::Continuous {
            for (i, step) in (0u32..).zip(prices.windows(2)) {
                let u = self.uniform(path, (i / 4 + (1 << 31), i % 4));
                let (a, b) = (log(step[0]), log(step[1]));
                let width = sqrt((b - a) * (b - a) - 2.0 * variance * log(u));
                seen.push(exp(0.5 * (a + b + if up { width } else { -width })));
            }
        }
        seen.into_iter().reduce(if up { f64::max } else { f64::min }).unwrap()
    }

    fn basket(&self, path: u64) -> f64 {
        let (contract, t) = (self.contract, self.contract.expiry);
        let price = |(asset, row): (&muster_spec::monte_carlo::Asset, &Vec<f64>)| {
            let z: f64 = (0..).zip(row).map(|(k, factor)| factor * self.normal(path, k)).sum();
            let drift = (contract.rate - asset.dividend - 0.5 * asset.volatility * asset.volatility) * t;
            asset.weight * asset.spot * exp(drift + asset.volatility * sqrt(t) * z)
        };
        self.gain(contract.assets.iter().zip(&contract.factor).map(price).sum(), contract.strike)
    }
}

#[test]
fn the_hot_loop_agrees_with_the_reference() {
    for line in [
        "--option european --right put --dividend 0.03",
        "--option asian --steps 10 --strike 98",
        "--option asian --steps 5 --volatility 2",
        "--option geometric-asian --steps 7 --right put",
        "--option barrier --barrier 112 --barrier-kind up-and-out --steps 6",
        "--option barrier --barrier 96 --barrier-kind down-and-in --steps 9 --right put",
        "--option barrier --barrier 112 --barrier-kind up-and-in --steps 6 --monitoring continuous",
        "--option barrier --barrier 96 --barrier-kind down-and-out --steps 3 --monitoring continuous",
        "--option lookback --steps 5",
        "--option lookback --steps 5 --right put --monitoring continuous",
        "--option floating-lookback --steps 11",
        "--option floating-lookback --steps 11 --right put --monitoring continuous",
        "--option basket --spot 90,100,110,100,120 --volatility 0.1,0.2,0.3,0.4,0.5 --correlation 0.3 --strike 105",
    ] {
        let line = format!("{line} --paths 1500 --seed 12345678901");
        let (contracts, _) = spec(&line).unwrap().contracts().unwrap();
        let reference = Reference { contract: &contracts[0], rng: Philox::new(12_345_678_901) };
        let values: Vec<f64> = (0..1500).map(|path| reference.pays(path)).collect();
        let mean = values.iter().sum::<f64>() / 1500.0;
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1499.0;
        let (got, error) = (answer(&line).options[0].price, sqrt(variance / 1500.0));
        assert!(
            mean > 0.0 && (got.value - mean).abs() < 1e-12 * mean.max(1.0),
            "{line}: {} {mean}",
            got.value
        );
        assert!((got.standard_error - error).abs() < 1e-12 * error.max(1.0), "{line}");
    }
}
