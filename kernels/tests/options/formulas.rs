//! Prices in closed form, for continuous time. They are tested here themselves, against published values.

use libm::{erfc, exp, log, pow, sqrt};

/// Spot, strike, years, rate, cost of carry (rate less dividend yield), volatility.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) s: f64,
    pub(crate) k: f64,
    pub(crate) t: f64,
    pub(crate) r: f64,
    pub(crate) b: f64,
    pub(crate) v: f64,
}

pub(crate) fn n(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

impl Case {
    pub(crate) fn new([s, k, t, r, q, v]: [f64; 6]) -> Case {
        Case { s, k, t, r, b: r - q, v }
    }

    /// The flags of this market.
    pub(crate) fn flags(&self) -> String {
        let Case { s, k, t, r, b, v } = self;
        format!("--spot {s} --strike {k} --expiry {t} --rate {r} --dividend {} --volatility {v}", r - b)
    }

    fn root(&self) -> f64 {
        self.v * sqrt(self.t)
    }

    fn d1(&self, strike: f64) -> f64 {
        (log(self.s / strike) + (self.b + 0.5 * self.v * self.v) * self.t) / self.root()
    }

    fn grown(&self) -> f64 {
        self.s * exp((self.b - self.r) * self.t)
    }

    fn discount(&self) -> f64 {
        exp(-self.r * self.t)
    }

    /// Black and Scholes (1973), Merton (1973); `phi` is 1 for a call and -1 for a put.
    pub(crate) fn european(&self, phi: f64) -> f64 {
        let d1 = self.d1(self.k);
        phi * (self.grown() * n(phi * d1) - self.k * self.discount() * n(phi * (d1 - self.root())))
    }

    /// Delta, gamma, vega, theta, rho.
    pub(crate) fn greeks(&self, phi: f64) -> [f64; 5] {
        let (d1, carry) = (self.d1(self.k), exp((self.b - self.r) * self.t));
        let (d2, density) = (d1 - self.root(), exp(-0.5 * d1 * d1) / sqrt(std::f64::consts::TAU));
        let decay = -self.grown() * density * self.v / (2.0 * sqrt(self.t));
        let dividends = phi * (self.b - self.r) * self.grown() * n(phi * d1);
        let interest = phi * self.r * self.k * self.discount() * n(phi * d2);
        [
            phi * carry * n(phi * d1),
            carry * density / (self.s * self.root()),
            self.grown() * density * sqrt(self.t),
            decay - dividends - interest,
            phi * self.k * self.t * self.discount() * n(phi * d2),
        ]
    }

    /// The barrier option that a touch brings to life (Reiner and Rubinstein 1991).
    pub(crate) fn knock_in(&self, phi: f64, up: bool, h: f64) -> f64 {
        let (root, eta) = (self.root(), if up { -1.0 } else { 1.0 });
        let mu = (self.b - 0.5 * self.v * self.v) / (self.v * self.v);
        let at = |x: f64| log(x) / root + (1.0 + mu) * root;
        let (x1, x2) = (at(self.s / self.k), at(self.s / h));
        let (y1, y2) = (at(h * h / (self.s * self.k)), at(h / self.s));
        let direct =
            |x: f64| phi * (self.grown() * n(phi * x) - self.k * self.discount() * n(phi * (x - root)));
        let reflected = |y: f64| {
            let (stock, bond) = (pow(h / self.s, 2.0 * (mu + 1.0)), pow(h / self.s, 2.0 * mu));
            phi * (self.grown() * stock * n(eta * y) - self.k * self.discount() * bond * n(eta * (y - root)))
        };
        let (a, b, c, d) = (direct(x1), direct(x2), reflected(y1), reflected(y2));
        match (up, phi > 0.0, self.k > h) {
            (false, true, true) | (true, false, false) => c,
            (false, true, false) | (true, false, true) => a - b + d,
            (true, true, true) | (false, false, false) => a,
            (true, true, false) | (false, false, true) => b - c + d,
        }
    }

    /// What both lookbacks have besides the European option with the strike `k`.
    fn reflection(&self, phi: f64, k: f64) -> f64 {
        let (d1, twice) = (self.d1(k), 2.0 * self.b);
        let shifted = n(phi * (d1 - twice * sqrt(self.t) / self.v));
        let power = pow(self.s / k, -twice / (self.v * self.v));
        let scale = self.s * self.discount() * self.v * self.v / twice;
        phi * scale * (exp(self.b * self.t) * n(phi * d1) - power * shifted)
    }

    /// The extreme so far (`seen`) or to come against the strike (Conze and Viswanathan 1991).
    pub(crate) fn lookback(&self, phi: f64, seen: f64) -> f64 {
        let beyond = phi * (seen - self.k) > 0.0;
        let k = if beyond { seen } else { self.k };
        let paid = if beyond { phi * self.discount() * (seen - self.k) } else { 0.0 };
        paid + Case { k, ..*self }.european(phi) + self.reflection(phi, k)
    }

    /// The price against the extreme so far or to come (Goldman, Sosin and Gatto 1979).
    pub(crate) fn floating_lookback(&self, phi: f64, seen: f64) -> f64 {
        Case { k: seen, ..*self }.european(phi) + self.reflection(-phi, seen)
    }
}

/// The right to exchange the second asset for the first (Margrabe 1978), without dividends.
pub(crate) fn exchange([s1, s2]: [f64; 2], [v1, v2]: [f64; 2], rho: f64, t: f64) -> f64 {
    let root = sqrt((v1 * v1 + v2 * v2 - 2.0 * rho * v1 * v2) * t);
    let d1 = log(s1 / s2) / root + 0.5 * root;
    s1 * n(d1) - s2 * n(d1 - root)
}

#[test]
fn formulas_give_published_values() {
    // Hull, Options, Futures and Other Derivatives, the chapter on Black, Scholes and Merton.
    let hull = Case::new([42.0, 40.0, 0.5, 0.1, 0.0, 0.2]);
    assert!((hull.european(1.0) - 4.76).abs() < 0.005 && (hull.european(-1.0) - 0.81).abs() < 0.005);
    // Haug, The Complete Guide to Option Pricing Formulas: floating and fixed-strike lookbacks.
    let floating = Case::new([120.0, 0.0, 0.5, 0.1, 0.06, 0.3]);
    assert!((floating.floating_lookback(1.0, 100.0) - 25.3533).abs() < 1e-4);
    for (k, v, call, put) in [
        (95.0, 0.1, 13.2687, 0.6899),
        (95.0, 0.3, 24.9857, 8.9213),
        (100.0, 0.2, 14.1702, 8.3177),
        (105.0, 0.1, 4.3908, 8.1478),
        (105.0, 0.3, 15.8512, 17.9140),
    ] {
        let case = Case::new([100.0, k, 0.5, 0.1, 0.0, v]);
        let (c, p) = (case.lookback(1.0, 100.0), case.lookback(-1.0, 100.0));
        assert!((c - call).abs() < 1e-4 && (p - put).abs() < 1e-4, "{k} {v}: {c} {p}");
    }
}
