//! By what a price grows in one small step.

/// Up to here [`growth`] is good.
pub(super) const SMALL: f64 = 0.25;

/// The largest magnitude of a normal number that Box and Muller's method makes of 32-bit uniforms: `sqrt(66 ln 2)`.
pub(super) const LARGEST_NORMAL: f64 = 6.77;

/// `(exp(x) - 1 - x) / x^2`, a Chebyshev fit over `|x| <= 1/4`: it makes `growth` err by less than 3e-17 relatively.
const Q: [f64; 9] = [
    0.5,
    0.16666666666665322,
    0.04166666666666555,
    0.008333333336202819,
    0.0013888888891279828,
    0.00019841253314374944,
    2.4801573530729414e-05,
    2.7592569930959876e-06,
    2.758669229104366e-07,
];

/// `e` to the power `x` for `|x| <= 1/4`, within 1 ulp. Without a range to reduce and an exponent to put back, it costs
/// half of [`crate::math::exp_bounded`].
#[inline(always)]
pub(super) fn growth(x: f64) -> f64 {
    let mut q = Q[8];
    for c in [Q[7], Q[6], Q[5], Q[4], Q[3], Q[2], Q[1], Q[0]] {
        q = q.mul_add(x, c);
    }
    q.mul_add(x, 1.0).mul_add(x, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_exponential() {
        for i in -25_000..=25_000 {
            let x = f64::from(i) * 1e-5;
            let (got, want) = (growth(x), libm::exp(x));
            assert!((got - want).abs() <= 2.3e-16 * want, "{x}: {got} {want}");
        }
    }

    #[test]
    fn no_normal_is_larger() {
        let least = 0.5 / 4_294_967_296.0;
        assert!((-2.0 * libm::log(least)).sqrt() < LARGEST_NORMAL);
    }
}
